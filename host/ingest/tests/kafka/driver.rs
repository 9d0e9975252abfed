//! Drives a source as a pipeline does, and checks what holds for every source: steps have no holes, and name
//! what they hold.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lakemill_ingest::produce::{Outgoing, Producer, ProducerOptions};
use lakemill_ingest::{KafkaOptions, KafkaSource};
use lakemill_model::{
    BatchLimits, NextOffset, Polled, PositionDelta, Positions, RawBatch, Source, SourceError, StartAt, TopicPartition,
};

pub const LIMITS: BatchLimits =
    BatchLimits { rows_max: 10_000, bytes_max: 8 << 20, latency_max: Duration::from_millis(20) };

/// Offset, key, value.
pub type Row = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

/// A source and what came of it.
pub struct Reader {
    pub source: KafkaSource,
    /// Where partitions start that are not in `positions`.
    pub at: StartAt,
    pub limits: BatchLimits,
    /// How far the "tables" are.
    pub positions: Positions,
    pub rows: BTreeMap<TopicPartition, Vec<Row>>,
    pub steps: Vec<PositionDelta>,
    pub assigned: Vec<Vec<TopicPartition>>,
}

impl Reader {
    pub fn open(options: KafkaOptions, at: StartAt) -> Result<Self, SourceError> {
        Ok(Self {
            source: KafkaSource::open(options)?,
            at,
            limits: LIMITS,
            positions: Positions::new(),
            rows: BTreeMap::new(),
            steps: Vec::new(),
            assigned: Vec::new(),
        })
    }

    /// One word of the source, with the answer of a pipeline that holds nothing back.
    pub fn turn(&mut self, until: Instant) -> Result<Polled, SourceError> {
        let mut batch = RawBatch::default();
        let polled = self.source.poll(&mut batch, &self.limits, until)?;
        match &polled {
            Polled::Assigned(partitions) => self.assign(partitions)?,
            Polled::Revoked(partitions) => self.source.release(partitions)?,
            Polled::Records | Polled::CaughtUp => self.keep(&batch),
        }
        assert!(matches!(polled, Polled::Records) || batch.is_empty(), "records come alone");
        Ok(polled)
    }

    pub fn assign(&mut self, partitions: &[TopicPartition]) -> Result<(), SourceError> {
        self.assigned.push(partitions.to_vec());
        let (known, new): (Vec<_>, Vec<_>) =
            partitions.iter().cloned().partition(|tp| self.positions.get(tp).is_some());
        let mut positions = self.source.resolve(&new, self.at)?;
        for tp in known {
            let next = self.positions.get(&tp).expect("known");
            positions.set(tp, next);
        }
        self.source.start(&positions)?;
        for (tp, next) in positions.iter() {
            self.positions.set(tp.clone(), next);
        }
        Ok(())
    }

    fn keep(&mut self, batch: &RawBatch) {
        let step = self.source.take_ranges();
        for record in batch.records() {
            let tp = batch.topic_partition(record);
            let range = step.get(&tp).expect("the step names every partition of the batch");
            assert!((range.start.0..range.end.0).contains(&record.offset), "{tp} {} in {range}", record.offset);
            let row = (record.offset, batch.key(record).map(<[u8]>::to_vec), batch.value(record).map(<[u8]>::to_vec));
            let rows = self.rows.entry(tp).or_default();
            assert!(rows.last().is_none_or(|(last, _, _)| *last < row.0), "offsets grow");
            rows.push(row);
        }
        for (tp, range) in step.iter() {
            assert!(range.start < range.end, "{tp} did not move");
            assert_eq!(self.positions.get(tp), Some(range.start), "{tp}: steps have no holes");
        }
        self.positions.advance(&step);
        if !step.is_empty() {
            self.steps.push(step);
        }
    }

    /// Turns until `done`, or for a minute.
    pub fn run(&mut self, mut done: impl FnMut(&Self, &Polled) -> bool) -> Result<(), SourceError> {
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            let polled = self.turn(Instant::now() + Duration::from_millis(200))?;
            if done(self, &polled) {
                return Ok(());
            }
        }
        panic!("not done after a minute: at {:?}", self.positions);
    }

    /// Reads to the end.
    pub fn run_to_end(&mut self) -> Result<(), SourceError> {
        self.run(|_, polled| *polled == Polled::CaughtUp)
    }

    pub fn count(&self) -> usize {
        self.rows.values().map(Vec::len).sum()
    }

    pub fn values(&self, topic: &str, partition: i32) -> Vec<String> {
        let rows = self.rows.get(&TopicPartition::new(topic, partition)).map(Vec::as_slice).unwrap_or_default();
        let text = |(_, _, value): &Row| String::from_utf8(value.clone().expect("a value")).expect("text");
        rows.iter().map(text).collect()
    }
}

/// Options that read to the end.
pub fn options(brokers: &str, topics: &[&str]) -> KafkaOptions {
    let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
    KafkaOptions { until_caught_up: true, ..KafkaOptions::new("test", brokers, topics) }
}

/// All rows of topics, from the start.
pub fn read(brokers: &str, topics: &[&str]) -> Reader {
    let mut reader = Reader::open(options(brokers, topics), StartAt::Earliest).expect("topics");
    reader.run_to_end().expect("readable");
    reader
}

pub fn producer(brokers: &str) -> Producer {
    Producer::open(&ProducerOptions::new(brokers)).expect("a producer")
}

pub fn outgoing<'a>(topic: &'a str, partition: i32, key: &'a [u8], value: &'a [u8]) -> Outgoing<'a> {
    Outgoing { topic, partition: Some(partition), key: Some(key), value: Some(value), timestamp_ms: None }
}

/// Writes `count` records, their values counted from `from`, and waits until they are there.
pub fn write(producer: &Producer, topic: &str, partition: i32, from: usize, count: usize) {
    for n in from..from + count {
        producer.send(outgoing(topic, partition, b"k", n.to_string().as_bytes())).expect("taken");
    }
    producer.flush().expect("delivered");
}

/// The texts that [`write`] wrote.
pub fn numbers(from: usize, count: usize) -> Vec<String> {
    (from..from + count).map(|n| n.to_string()).collect()
}

pub fn tp(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

pub fn at(list: &[(&TopicPartition, i64)]) -> Positions {
    list.iter().map(|(tp, next)| ((*tp).clone(), NextOffset(*next))).collect()
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(mut seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        bytes.extend_from_slice(&seed.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
