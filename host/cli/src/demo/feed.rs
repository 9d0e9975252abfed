//! The demo's producer: orders into a topic, no faster than an embedded broker keeps what is not read yet.

use std::time::Duration;

use lakemill_ingest::Properties;
use lakemill_ingest::embedded::{EmbeddedBroker, Feed, GroupPositions, Offer};
use lakemill_ingest::produce::{ClientError, Outgoing, Producer, ProducerOptions};
use lakemill_ingest::topics::Topics;
use lakemill_pipeline::Control;

use crate::exit::Failure;
use crate::orders::{Made, Orders, Shape};

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Failure::unreachable(error.to_string())
    }
}

/// Creates the demo's topic; on a broker of the user's one of its own for every run.
pub fn create_topic(embedded: Option<&EmbeddedBroker>, brokers: &str, partitions: i32) -> Result<String, Failure> {
    let base = "shop.public.orders";
    match embedded {
        Some(broker) => {
            broker.create_topic(base, partitions)?;
            Ok(base.into())
        }
        None => {
            let topic = format!("lakemill.demo.{:08x}.{base}", fastrand::u32(..));
            Topics::open(brokers, &Properties::default())?.create(&topic, partitions, &[])?;
            Ok(topic)
        }
    }
}

/// Writes `events` change events, each delete followed by its tombstone; stops early if it is stopped.
pub fn feed(
    brokers: &str,
    topic: &str,
    partitions: i32,
    events: u64,
    shape: Shape,
    embedded: bool,
    control: &Control,
) -> Result<Made, Failure> {
    let producer = Producer::open(&ProducerOptions::new(brokers))?;
    let mut sender: Box<dyn Sender> = if embedded {
        let group = GroupPositions::open(brokers, "lakemill.demo", topic, partitions)?;
        Box::new(Paced { feed: Feed::new(producer, topic, usize::try_from(partitions).unwrap_or(1)), group })
    } else {
        Box::new(Straight { producer, topic: topic.into() })
    };
    let mut orders = Orders::new(shape);
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let partitions = u64::try_from(partitions).unwrap_or(1);
    for _ in 0..events {
        if control.is_stopped() {
            break;
        }
        let deletes = orders.made().deletes;
        let id = orders.next(&mut key, &mut value);
        // All changes of an order go to one partition, so that they stay in order.
        let partition = usize::try_from(id % partitions).unwrap_or(0);
        sender.send(partition, &key, Some(&value), control)?;
        if orders.made().deletes > deletes {
            sender.send(partition, &key, None, control)?;
        }
    }
    sender.flush()?;
    Ok(orders.made())
}

trait Sender {
    fn send(
        &mut self,
        partition: usize,
        key: &[u8],
        value: Option<&[u8]>,
        control: &Control,
    ) -> Result<(), ClientError>;
    fn flush(&mut self) -> Result<(), ClientError>;
}

struct Straight {
    producer: Producer,
    topic: String,
}

impl Sender for Straight {
    fn send(&mut self, partition: usize, key: &[u8], value: Option<&[u8]>, _: &Control) -> Result<(), ClientError> {
        let partition = i32::try_from(partition).ok();
        self.producer.send(Outgoing { topic: &self.topic, partition, key: Some(key), value, timestamp_ms: None })
    }

    fn flush(&mut self) -> Result<(), ClientError> {
        self.producer.flush()
    }
}

struct Paced {
    feed: Feed,
    group: GroupPositions,
}

impl Sender for Paced {
    fn send(
        &mut self,
        partition: usize,
        key: &[u8],
        value: Option<&[u8]>,
        control: &Control,
    ) -> Result<(), ClientError> {
        while self.feed.offer(partition, Some(key), value)? == Offer::Ahead && !control.is_stopped() {
            self.feed.serve(Duration::from_millis(1))?;
            self.feed.consumed(&self.group.read()?);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ClientError> {
        self.feed.flush()
    }
}
