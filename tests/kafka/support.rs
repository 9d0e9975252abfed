//! What the tests of this lane share.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use lakemill_tests::broker::{Broker, Record};
use lakemill_tests::orders::{self, Event};
use lakemill_tests::process::Lakemill;
use lakemill_tests::spec::Pipeline;
use lakemill_tests::verdict::{FLATTEN, Place, check};
use serde_json::json;

/// The table of the pipelines here.
pub const TABLE: &str = FLATTEN.1;

/// A topic with events in it, and a pipeline that reads it.
pub struct Scene {
    /// The broker.
    pub broker: Broker,
    /// The topic.
    pub topic: String,
    /// Its partitions.
    pub partitions: i32,
    /// The pipeline.
    pub pipeline: Pipeline,
    /// All that was sent, in order.
    pub sent: Vec<Event>,
}

impl Scene {
    pub fn new(name: &str, partitions: i32) -> Result<Self> {
        let broker = Broker::of_environment()?;
        let topic = broker.topic(name, partitions, &[])?;
        let mut pipeline = Pipeline::of_kafka(&broker.address, &topic, FLATTEN.0, &[TABLE])?;
        // Small batches, so that there are many commits to stop between.
        pipeline.spec["batch"] = json!({ "rows_max": 500, "latency_ms_max": 100 });
        Ok(Self { broker, topic, partitions, pipeline, sent: Vec::new() })
    }

    /// Sends events with settings of the producer.
    pub fn send(&mut self, events: &[Event], settings: &[&str]) -> Result<()> {
        self.broker.send(&self.topic, &orders::records(events, self.partitions), settings)?;
        self.sent.extend_from_slice(events);
        Ok(())
    }

    /// The events with the places that they have in a topic without gaps.
    pub fn placed(&self) -> Vec<(&Event, Place)> {
        let mut next: BTreeMap<i32, i64> = BTreeMap::new();
        let mut place = |record: &Record| {
            let offset = next.entry(record.partition).or_default();
            *offset += 1;
            (record.partition, *offset - 1)
        };
        let records = orders::records(&self.sent, self.partitions);
        self.sent.iter().zip(records.iter().map(&mut place)).collect()
    }

    /// Checks that every event that was sent is where it belongs, once.
    pub fn check(&self) -> Result<()> {
        check(&self.pipeline.table(TABLE)?, &self.pipeline.path("_dead"), &self.placed())
    }

    /// Rows that have been committed so far.
    pub fn rows(&self) -> Result<u64> {
        self.pipeline.rows(TABLE)
    }

    /// Rows that must be there in the end.
    pub fn rows_expected(&self) -> u64 {
        orders::count(&self.sent).0
    }

    /// Waits until all rows are in.
    pub fn wait_for_all(&self, lakemill: &mut Lakemill) -> Result<()> {
        let expected = self.rows_expected();
        lakemill.until("all rows to be committed", || Ok((self.rows()? >= expected).then_some(())))
    }

    /// Runs to the end of the topic and checks that it went well.
    pub fn catch_up(&self) -> Result<()> {
        let finished = self.pipeline.run()?;
        ensure!(finished.code == Some(0), "exit code {:?}:\n{}", finished.code, finished.said());
        Ok(())
    }
}
