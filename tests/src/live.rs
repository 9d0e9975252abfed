//! Load that keeps coming while processes are killed: a producer on a thread of its own, which writes down what it sends.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::broker::{Broker, Producer};
use crate::orders::{self, Event, Fate, Mix, Orders};

/// A producer that sends events of a seed until it is asked to stop.
pub struct Live {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<Sent>>>,
}

/// What was sent.
#[derive(Debug)]
pub struct Sent {
    /// Records.
    pub records: u64,
    /// One past the last offset of each partition.
    pub ends: BTreeMap<i32, i64>,
    /// What must become of each record, as tests/readers/oracle.py reads it.
    pub expected: PathBuf,
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct Load {
    /// The topic; nobody else writes to it.
    pub topic: String,
    /// Its partitions.
    pub partitions: i32,
    /// Of the events.
    pub seed: u64,
    /// Of the events.
    pub mix: Mix,
    /// Events per second.
    pub rate: u64,
}

/// Between two handfuls of events.
const STEP: Duration = Duration::from_millis(5);

impl Live {
    /// Starts to send; what is sent is written down in `folder`.
    ///
    /// # Errors
    /// If the producer or the file cannot be made.
    pub fn start(broker: &Broker, load: Load, folder: &Path) -> Result<Self> {
        let producer = broker.producer(&["acks=all", "enable.idempotence=true"])?;
        let expected = folder.join("expected.csv");
        let mut file = BufWriter::new(File::create(&expected)?);
        writeln!(file, "partition,offset,fate,op,id,total")?;
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (stop.clone(), sent.clone());
        let thread = std::thread::Builder::new()
            .name("live-load".into())
            .spawn(move || send(producer, &load, file, expected, &stopped, &count))?;
        Ok(Self { stop, sent, thread: Some(thread) })
    }

    /// Records sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Stops, and waits until the broker has everything.
    ///
    /// # Errors
    /// If it did not take everything.
    pub fn finish(mut self) -> Result<Sent> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("it runs")?;
        thread.join().map_err(|_| anyhow!("the producer panicked"))?
    }
}

fn send(
    mut producer: Producer,
    load: &Load,
    mut file: BufWriter<File>,
    expected: PathBuf,
    stop: &AtomicBool,
    count: &AtomicU64,
) -> Result<Sent> {
    let mut orders = Orders::new(load.seed, load.mix);
    let mut ends: BTreeMap<i32, i64> = (0..load.partitions).map(|partition| (partition, 0)).collect();
    let started = Instant::now();
    let mut records = 0;
    while !stop.load(Ordering::Relaxed) {
        let due = (started.elapsed().as_secs_f64() * load.rate as f64) as u64;
        let handful: Vec<Event> = orders.by_ref().take(usize::try_from(due.saturating_sub(records))?).collect();
        for (event, record) in handful.iter().zip(orders::records(&handful, load.partitions)) {
            let end = ends.entry(record.partition).or_default();
            writeln!(file, "{},{},{}", record.partition, *end, fate(event))?;
            *end += 1;
            producer.send(&load.topic, &record)?;
        }
        producer.flush()?;
        records += handful.len() as u64;
        count.store(records, Ordering::Relaxed);
        // The pace of the load: nothing is waited for.
        std::thread::park_timeout(STEP);
    }
    producer.finish()?;
    file.flush()?;
    Ok(Sent { records, ends, expected })
}

/// Fate, op, key and total, as a line of the expectations has them after partition and offset.
pub fn fate(event: &Event) -> String {
    match &event.fate {
        Fate::Control => "control,,,".into(),
        Fate::Dead(_) => "dead,,,".into(),
        Fate::Change(change) => {
            let order = change.after.as_ref().or(change.before.as_ref());
            let total = order.map_or_else(String::new, |order| order.total.to_string());
            let fate = if order.is_some_and(|order| order.total >= orders::POISON) { "poison" } else { "change" };
            format!("{fate},{},{},{total}", change.op, change.id)
        }
    }
}
