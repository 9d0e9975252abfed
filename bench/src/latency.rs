//! Kafka's timestamp to the commit under a steady load.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use lakemill_cli::orders::{Orders, Shape};
use lakemill_ingest::produce::{Outgoing, Producer, ProducerOptions};
use serde_json::Value;

use crate::{pipeline, produce};

/// How it is measured.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    load: Load,
    /// The pipeline's `batch.latency_ms_max`.
    #[arg(long, default_value_t = 100)]
    latency_ms_max: u64,
    /// Keep the table here, for a look by somebody else's reader.
    #[arg(long)]
    out: Option<std::path::PathBuf>,
}

/// A steady load.
#[derive(clap::Args)]
pub struct Load {
    /// Events per second.
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    /// Seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// A steady load for somebody else.
#[derive(clap::Args)]
pub struct LoadArgs {
    #[command(flatten)]
    load: Load,
    /// A topic of 4 partitions that is there.
    #[arg(long)]
    topic: String,
}

/// Measures; prints the run's summary.
pub fn run(brokers: &str, args: &Args) -> anyhow::Result<()> {
    let topic = produce::new_topic(brokers, 4)?;
    let temporary = tempfile::tempdir()?;
    let folder = args.out.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(folder)?;
    let file = pipeline::write(folder, brokers, &topic, args.latency_ms_max, &pipeline::component("clean")?)?;
    let child = Command::new(pipeline::lakemill()?)
        .args(["run", "--json"])
        .arg(&file)
        .env("LAKEMILL_LOG", "warn")
        .stdout(Stdio::piped())
        .spawn()?;
    let load = load(brokers, &topic, &args.load);
    // SIGTERM lets the run end with its summary.
    Command::new("kill").arg(child.id().to_string()).status()?;
    let output = child.wait_with_output()?;
    load?;
    let text = String::from_utf8(output.stdout)?;
    let summary: Value = serde_json::from_str(text.lines().last().context("a run ends with its summary")?)?;
    println!("{summary}");
    Ok(())
}

/// Writes the load.
pub fn run_load(brokers: &str, args: &LoadArgs) -> anyhow::Result<()> {
    load(brokers, &args.topic, &args.load)
}

fn load(brokers: &str, topic: &str, args: &Load) -> anyhow::Result<()> {
    send(brokers, topic, args.rate, |sent| sent < args.rate * args.seconds)?;
    // The last events are to be committed before the run is told to end.
    std::thread::park_timeout(Duration::from_secs(2));
    Ok(())
}

/// A steady load until it is to end.
pub fn load_until(brokers: &str, topic: &str, rate: u64, ended: &AtomicBool) -> anyhow::Result<()> {
    send(brokers, topic, rate, |_| !ended.load(Ordering::Relaxed))
}

fn send(brokers: &str, topic: &str, rate: u64, goes_on: impl Fn(u64) -> bool) -> anyhow::Result<()> {
    let mut options = ProducerOptions::new(brokers);
    options.linger = Duration::from_millis(5);
    let producer = Producer::open(&options)?;
    let mut orders = Orders::new(Shape::default());
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let started = Instant::now();
    let mut sent = 0;
    while goes_on(sent) {
        let due = (started.elapsed().as_secs_f64() * rate as f64) as u64;
        while sent < due && goes_on(sent) {
            let id = orders.next(&mut key, &mut value);
            let partition = Some(i32::try_from(id % 4)?);
            producer.send(Outgoing { topic, partition, key: Some(&key), value: Some(&value), timestamp_ms: None })?;
            sent += 1;
        }
        producer.serve(Duration::from_millis(2))?;
    }
    producer.flush()?;
    Ok(())
}
