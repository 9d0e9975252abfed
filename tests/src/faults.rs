//! A cluster that answers with errors, late, or not at all, while a pipeline reads from it: librdkafka's mock cluster, in a process of
//! its own (host/ingest/examples/mock_cluster.rs).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::broker::Broker;
use crate::crash::{MIX, Outcome, PARTITIONS, Ring};
use crate::live::{Sent, fate};
use crate::orders::{self, Event, Orders};
use crate::places;
use crate::process::Lakemill;

/// Its brokers.
const BROKERS: i32 = 3;

/// Events between two faults.
const HANDFUL: usize = 300;

const TOPIC: &str = "faults";

/// A fault that takes longer to get over is named.
const LONG: Duration = Duration::from_secs(3);

/// Errors that a reader may get at any time, and gets over.
const OF_FETCH: [&str; 14] = [
    "broker-not-available",
    "disconnect",
    "fenced-leader-epoch",
    "leader-not-available",
    "not-leader",
    "offset-not-available",
    "offset-out-of-range",
    "replica-not-available",
    "request-timed-out",
    "storage",
    "throttled",
    "unknown",
    "unknown-leader-epoch",
    "unknown-topic",
];
const OF_OFFSETS: [&str; 6] =
    ["broker-not-available", "disconnect", "leader-not-available", "not-leader", "request-timed-out", "storage"];
const OF_GROUPS: [&str; 4] = ["coordinator-load", "coordinator-not-available", "disconnect", "not-coordinator"];
const OF_TOPICS: [&str; 3] = ["leader-not-available", "request-timed-out", "broker-not-available"];

/// The cluster. It ends with this value.
pub struct Cluster {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// Where it listens.
    pub broker: Broker,
}

impl Cluster {
    /// Starts it.
    ///
    /// # Errors
    /// If it has not been built.
    pub fn start(brokers: i32) -> Result<Self> {
        let mut command = Command::new(places::mock_cluster()?);
        command.arg(brokers.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("start the mock cluster")?;
        let commands = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().context("its standard output")?);
        let mut address = String::new();
        answers.read_line(&mut address)?;
        Ok(Self { child, commands, answers, broker: Broker { address: address.trim().to_owned() } })
    }

    /// Gives it a command.
    ///
    /// # Errors
    /// If it does not obey.
    pub fn tell(&mut self, command: &str) -> Result<()> {
        writeln!(self.commands.as_mut().context("its standard input")?, "{command}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        ensure!(answer.trim() == "ok", "the mock cluster, told to {command}: {answer}");
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.commands = None;
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A pipeline that reads while the cluster fails.
struct Stage {
    cluster: Cluster,
    ring: Ring,
    orders: Orders,
    file: BufWriter<File>,
    sent: Sent,
    /// Errors that the cluster was told to answer with, and what else it was told to do: several make one fault.
    errors: u32,
}

/// Makes so many faults, one handful of events after the other, and waits after each until all of them are committed: that many times
/// the pipeline has to recover.
///
/// # Errors
/// If the pipeline ends, or a row is lost, doubled or out of order.
pub fn run(seed: u64, count: u32) -> Result<Outcome> {
    let mut stage = Stage::new(seed)?;
    let mut lakemill = stage.ring.start(None)?;
    stage.handful(&mut lakemill).context("before any fault")?;
    let mut recoveries = Vec::new();
    for made in 0..count {
        let at = Instant::now();
        let what = stage.fault(&mut lakemill).with_context(|| format!("fault {made}"))?;
        stage.handful(&mut lakemill).with_context(|| format!("after fault {made}, {what}"))?;
        let took = at.elapsed();
        if took > LONG {
            println!("{} ms after {what}", took.as_millis());
        }
        recoveries.push(took);
        stage.ring.count();
        stage.mend()?;
    }
    lakemill.terminate()?.expect(0, &[])?;
    let errors = stage.errors;
    Ok(Outcome { recoveries, errors, ..stage.finish()? })
}

/// The cluster does not say whether its topic is the one that was read: nothing is committed, and a stop is obeyed. Afterwards all of it
/// comes.
///
/// # Errors
/// If it is not so.
pub fn nobody_vouches(seed: u64) -> Result<Outcome> {
    let mut stage = Stage::new(seed)?;
    let mut lakemill = stage.ring.start(None)?;
    stage.handful(&mut lakemill)?;
    let before = stage.ring.done()?;
    lakemill.signal("STOP")?;
    stage.send()?;
    stage.cluster.tell(&format!("topic-error {TOPIC} leader-not-available"))?;
    lakemill.signal("CONT")?;
    stage.ring.pause(1_000_000);
    lakemill.terminate()?.expect(0, &[])?;
    ensure!(stage.ring.done()? == before, "{:?} after {before:?}", stage.ring.done()?);
    stage.mend()?;
    let mut lakemill = stage.ring.start(None)?;
    stage.handful(&mut lakemill)?;
    lakemill.terminate()?.expect(0, &[])?;
    stage.finish()
}

impl Stage {
    fn new(seed: u64) -> Result<Self> {
        let mut cluster = Cluster::start(BROKERS)?;
        cluster.tell(&format!("topic {TOPIC} {PARTITIONS}"))?;
        let ring = Ring::without_load(&cluster.broker, TOPIC.to_owned(), seed)?;
        let expected = ring.folder().join("expected.csv");
        let mut file = BufWriter::new(File::create(&expected)?);
        writeln!(file, "partition,offset,fate,op,id,total")?;
        let ends: BTreeMap<i32, i64> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
        let orders = Orders::new(seed, MIX);
        Ok(Self { cluster, ring, orders, file, sent: Sent { records: 0, ends, expected }, errors: 0 })
    }

    /// Sends some events, and waits until they are in all tables.
    fn handful(&mut self, lakemill: &mut Lakemill) -> Result<()> {
        self.send()?;
        let ends = &self.sent.ends;
        lakemill.until("all events to be committed", || Ok((self.ring.done()? == *ends).then_some(())))
    }

    fn send(&mut self) -> Result<()> {
        let events: Vec<Event> = self.orders.by_ref().take(HANDFUL).collect();
        let records = orders::records(&events, PARTITIONS);
        for (event, record) in events.iter().zip(&records) {
            let end = self.sent.ends.entry(record.partition).or_default();
            writeln!(self.file, "{},{},{}", record.partition, *end, fate(event))?;
            *end += 1;
        }
        self.cluster.broker.send(TOPIC, &records, &[])?;
        self.sent.records += records.len() as u64;
        Ok(())
    }

    fn finish(self) -> Result<Outcome> {
        let Self { cluster: _cluster, mut ring, mut file, sent, .. } = self;
        file.flush()?;
        ring.sent(sent);
        ring.finish()
    }

    /// Makes a fault of any kind; what it was.
    fn fault(&mut self, lakemill: &mut Lakemill) -> Result<String> {
        let random = self.ring.random();
        let (broker, partition) = (random.i32(1..=BROKERS), random.i32(0..PARTITIONS));
        let command = match random.u32(0..12) {
            0..5 => self.errors("fetch", &OF_FETCH),
            5 => self.errors("offset-commit", &OF_GROUPS),
            6 => {
                let error = self.ring.random().choice(OF_TOPICS).context("an error")?;
                format!("topic-error {TOPIC} {error}")
            }
            7 => format!("delay -1 {}", self.ring.random().u32(1..400)),
            8 => {
                // Who takes the lead is asked where the log of the former one ended.
                let errors = self.errors("offset-for-leader-epoch", &OF_OFFSETS);
                self.cluster.tell(&errors)?;
                let leader = format!("leader {TOPIC} {partition} {broker}");
                self.cluster.tell(&leader)?;
                self.errors += 1;
                return Ok(format!("{errors}, {leader}"));
            }
            9 => {
                let away = if self.ring.random().bool() { -1 } else { broker };
                self.cluster.tell(&format!("down {away}"))?;
                self.ring.pause(400_000);
                self.cluster.tell(&format!("up {away}"))?;
                self.errors += 1;
                return Ok(format!("down {away}"));
            }
            _ => return self.restart(lakemill),
        };
        self.cluster.tell(&command)?;
        if !command.starts_with("errors") {
            self.errors += 1;
        }
        if command.starts_with("topic-error") {
            // Whoever asks is told so, meanwhile.
            self.ring.pause(300_000);
            self.mend()?;
        }
        Ok(command)
    }

    /// Errors for the next requests of a kind, each counted.
    fn errors(&mut self, request: &str, of: &[&str]) -> String {
        let mut command = format!("errors {request}");
        for _ in 0..self.ring.random().u32(1..8) {
            let at = self.ring.random().usize(0..of.len());
            command = command + " " + of[at];
            self.errors += 1;
        }
        command
    }

    /// Another process takes over, and none of its first questions is answered.
    fn restart(&mut self, lakemill: &mut Lakemill) -> Result<String> {
        let next = self.ring.start(None)?;
        lakemill.signal("KILL")?;
        drop(std::mem::replace(lakemill, next));
        let (offsets, coordinator) =
            (self.errors("list-offsets", &OF_OFFSETS), self.errors("find-coordinator", &OF_GROUPS));
        self.cluster.tell(&offsets)?;
        self.cluster.tell(&coordinator)?;
        Ok(format!("a restart, {offsets}, {coordinator}"))
    }

    /// Ends what does not end by itself.
    fn mend(&mut self) -> Result<()> {
        self.cluster.tell("no-errors")?;
        self.cluster.tell("delay -1 0")?;
        self.cluster.tell(&format!("topic-error {TOPIC} none"))
    }
}
