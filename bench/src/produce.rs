//! Fills a topic with made-up orders.

use lakemill_cli::orders::{Orders, Shape};
use lakemill_ingest::Properties;
use lakemill_ingest::produce::{Outgoing, Producer, ProducerOptions};
use lakemill_ingest::topics::Topics;

/// What is written.
#[derive(clap::Args)]
pub struct Args {
    /// Change events.
    #[arg(long, default_value_t = 1_000_000)]
    pub events: u64,
    /// Partitions.
    #[arg(long, default_value_t = 4)]
    pub partitions: i32,
    /// Seed.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// A name that no other run has.
pub fn new_topic(brokers: &str, partitions: i32) -> anyhow::Result<String> {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos();
    let topic = format!("bench.{nanos:x}.orders");
    Topics::open(brokers, &Properties::default())?.create(&topic, partitions, &[])?;
    Ok(topic)
}

/// Writes the events; returns the topic.
pub fn produce(brokers: &str, args: &Args) -> anyhow::Result<String> {
    let topic = new_topic(brokers, args.partitions)?;
    let producer = Producer::open(&ProducerOptions::new(brokers))?;
    let mut orders = Orders::new(Shape { seed: args.seed, ..Shape::default() });
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let started = std::time::Instant::now();
    for _ in 0..args.events {
        let id = orders.next(&mut key, &mut value);
        let partition = Some(i32::try_from(id % u64::try_from(args.partitions)?)?);
        producer.send(Outgoing {
            topic: &topic,
            partition,
            key: Some(&key),
            value: Some(&value),
            timestamp_ms: None,
        })?;
    }
    producer.flush()?;
    let rate = args.events as f64 / started.elapsed().as_secs_f64();
    eprintln!("{} events into {topic} at {rate:.0}/s", args.events);
    Ok(topic)
}
