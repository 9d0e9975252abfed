//! A Kafka broker inside this process, for the demo and for tests without a real one: librdkafka's mock
//! cluster.
//!
//! It keeps 5 MiB or 100,000 records of a partition and forgets the oldest ones, it knows no transactions
//! (aborted records are delivered) and no times, and topics can't be deleted. [`Feed`] writes more than it
//! keeps by never running ahead.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use lakemill_model::{NextOffset, Positions, TopicPartition};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::produce::{ClientError, Outgoing, Producer};

/// What the broker keeps of a partition, in bytes as sent (librdkafka's rdkafka_mock.c).
const KEPT_BYTES: usize = 5 << 20;
/// And in records.
const KEPT_RECORDS: usize = 100_000;

/// A broker that lives as long as this value.
pub struct EmbeddedBroker {
    servers: String,
    // The mock cluster is not to leave its thread.
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

type Done = Sender<Result<(), String>>;

enum Order {
    Create { topic: String, partitions: i32, done: Done },
    Down { down: bool, done: Done },
    RoundTrip { time: Duration, done: Done },
}

impl EmbeddedBroker {
    /// Starts it on a free port of the loopback.
    ///
    /// # Errors
    /// [`ClientError::Config`] if librdkafka can't.
    pub fn start() -> Result<Self, ClientError> {
        let (orders, inbox) = channel();
        let (ready, started) = channel();
        let thread = std::thread::Builder::new()
            .name("embedded-broker".to_owned())
            .spawn(move || serve(&ready, &inbox))
            .map_err(|error| ClientError::Config(error.to_string()))?;
        let servers = started.recv().map_err(|_| ClientError::Config("the embedded broker stopped".to_owned()))?;
        let servers = servers.map_err(ClientError::Config)?;
        Ok(Self { servers, orders: Some(orders), thread: Some(thread) })
    }

    /// Where it listens: `host:port`.
    pub fn servers(&self) -> &str {
        &self.servers
    }

    /// Makes a topic.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it is there.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), ClientError> {
        let name = topic.to_owned();
        self.order("create", topic, |done| Order::Create { topic: name, partitions, done })
    }

    /// Closes all connections and takes no new ones, or takes them again: an outage.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub fn set_down(&self, down: bool) -> Result<(), ClientError> {
        self.order("switch", "the broker", |done| Order::Down { down, done })
    }

    /// Answers every request so much later.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub fn set_round_trip(&self, time: Duration) -> Result<(), ClientError> {
        self.order("slow down", "the broker", |done| Order::RoundTrip { time, done })
    }

    fn order(&self, action: &'static str, what: &str, order: impl FnOnce(Done) -> Order) -> Result<(), ClientError> {
        let (done, answer) = channel();
        let sent = self.orders.as_ref().is_some_and(|orders| orders.send(order(done)).is_ok());
        let answer = if sent { answer.recv().ok() } else { None };
        answer.unwrap_or(Err("it stopped".to_owned())).map_err(|reason| ClientError::refused(action, what, &reason))
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        self.orders = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::debug!("the embedded broker's thread had panicked");
        }
    }
}

fn serve(ready: &Sender<Result<String, String>>, inbox: &Receiver<Order>) {
    let cluster = match MockCluster::new(1) {
        Ok(cluster) => cluster,
        Err(error) => return tell(ready, Err(error.to_string())),
    };
    tell(ready, Ok(cluster.bootstrap_servers()));
    while let Ok(order) = inbox.recv() {
        let (result, done) = match order {
            Order::Create { topic, partitions, done } => (cluster.create_topic(&topic, partitions, 1), done),
            Order::Down { down: true, done } => (cluster.broker_down(1), done),
            Order::Down { down: false, done } => (cluster.broker_up(1), done),
            Order::RoundTrip { time, done } => (cluster.broker_round_trip_time(1, time), done),
        };
        tell(&done, result.map_err(|error| error.to_string()));
    }
}

/// Whoever asked may be gone.
fn tell<T>(to: &Sender<T>, what: T) {
    if to.send(what).is_err() {
        tracing::trace!("nobody waits for the embedded broker's answer");
    }
}

/// Where a group says it is: how a producer sees what a pipeline has reported.
pub struct GroupPositions {
    consumer: BaseConsumer,
    partitions: Vec<TopicPartition>,
}

impl GroupPositions {
    /// For partitions `0..partitions` of `topic`.
    ///
    /// # Errors
    /// [`ClientError::Config`].
    pub fn open(brokers: &str, group: &str, topic: &str, partitions: i32) -> Result<Self, ClientError> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("group.id", group).set("enable.auto.commit", "false");
        let consumer = config.create().map_err(|error| ClientError::config(&error, &crate::Properties::default()))?;
        let partitions = (0..partitions).map(|partition| TopicPartition::new(topic, partition)).collect();
        Ok(Self { consumer, partitions })
    }

    /// The positions that the group has committed.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub fn read(&self) -> Result<Positions, ClientError> {
        let refused = |error| ClientError::refused("read", "the group's positions", &error);
        let mut list = TopicPartitionList::new();
        for tp in &self.partitions {
            list.add_partition(&tp.topic, tp.partition);
        }
        let committed = self.consumer.committed_offsets(list, Duration::from_secs(10)).map_err(refused)?;
        let position = |tp: &TopicPartition| match committed.find_partition(&tp.topic, tp.partition)?.offset() {
            Offset::Offset(next) => Some((tp.clone(), NextOffset(next))),
            _ => None,
        };
        Ok(self.partitions.iter().filter_map(position).collect())
    }
}

/// What became of a record that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It was taken over.
    Taken,
    /// The reader is too far behind: the broker would forget what was not read. Offer it again later.
    Ahead,
}

/// Writes to an embedded topic without losing what was not read yet. It must be the topic's only producer.
pub struct Feed {
    producer: Producer,
    topic: String,
    lanes: Vec<Lane>,
}

/// The records of one partition that the reader may still need.
#[derive(Debug, Default)]
struct Lane {
    /// The offset of the first of `sizes`.
    first: i64,
    sizes: VecDeque<usize>,
    bytes: usize,
}

impl Lane {
    /// What the broker adds to a record and to a batch is far less than the rest of what it keeps.
    const RECORD_OVERHEAD: usize = 70;

    fn has_room(&self, bytes: usize) -> bool {
        // Half of it: the broker forgets whole batches.
        self.sizes.is_empty() || (self.bytes + bytes <= KEPT_BYTES / 2 && self.sizes.len() < KEPT_RECORDS / 2)
    }

    fn sent(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.sizes.push_back(bytes);
    }

    fn read_up_to(&mut self, next: i64) {
        while self.first < next
            && let Some(size) = self.sizes.pop_front()
        {
            self.first += 1;
            self.bytes -= size;
        }
    }
}

impl Feed {
    /// A feed of a topic that nothing was written to yet, with `partitions` partitions.
    pub fn new(producer: Producer, topic: impl Into<String>, partitions: usize) -> Self {
        Self { producer, topic: topic.into(), lanes: std::iter::repeat_with(Lane::default).take(partitions).collect() }
    }

    /// Writes a record, unless the reader is too far behind.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the partition isn't there, or what was sent did not arrive.
    pub fn offer(&mut self, partition: usize, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Offer, ClientError> {
        let lane = self.lanes.get_mut(partition);
        let lane = lane.ok_or_else(|| ClientError::refused("write to", &self.topic, &"no such partition"))?;
        let bytes = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + Lane::RECORD_OVERHEAD;
        if !lane.has_room(bytes) {
            self.producer.serve(Duration::ZERO)?;
            return Ok(Offer::Ahead);
        }
        let partition = i32::try_from(partition).ok();
        self.producer.send(Outgoing { topic: &self.topic, partition, key, value, timestamp_ms: None })?;
        lane.sent(bytes);
        Ok(Offer::Taken)
    }

    /// Says how far the reader is: what it has done with may be forgotten.
    pub fn consumed(&mut self, positions: &Positions) {
        for (tp, next) in positions.iter().filter(|(tp, _)| *tp.topic == *self.topic) {
            if let Some(lane) = usize::try_from(tp.partition).ok().and_then(|at| self.lanes.get_mut(at)) {
                lane.read_up_to(next.0);
            }
        }
    }

    /// Waits until all has arrived.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub fn flush(&self) -> Result<(), ClientError> {
        self.producer.flush()
    }

    /// Lets the producer work, for up to `wait`: what to do while the reader is behind.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub fn serve(&self, wait: Duration) -> Result<(), ClientError> {
        self.producer.serve(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_full_at_half_of_what_is_kept_and_empties_as_it_is_read() {
        let mut lane = Lane::default();
        assert!(lane.has_room(KEPT_BYTES * 2), "a large record is alone");
        while lane.has_room(1 << 20) {
            lane.sent(1 << 20);
        }
        assert_eq!(lane.sizes.len(), 2);
        lane.read_up_to(1);
        assert!(lane.has_room(1 << 20) && lane.bytes == 1 << 20);
        lane.read_up_to(0);
        lane.read_up_to(9);
        assert_eq!((lane.first, lane.bytes), (2, 0));
        for _ in 0..KEPT_RECORDS / 2 {
            assert!(lane.has_room(1));
            lane.sent(1);
        }
        assert!(!lane.has_room(1));
    }
}
