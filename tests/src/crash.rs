//! Kills under live load: a pipeline of five tables and the dead letters is ended again and again, at random instants or at a
//! failpoint, and goes on each time. In the end the oracle looks at everything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::broker::Broker;
use crate::live::{Live, Load, Sent};
use crate::oracle::{Gone, Sums};
use crate::orders::Mix;
use crate::process::Lakemill;
use crate::spec::Pipeline;
use crate::{log, oracle, places, wait, wasm};

/// How a process ends.
#[derive(Clone, Debug)]
pub enum Kill {
    /// At a random instant of its start.
    Early,
    /// At a random instant after its first commit.
    Late,
    /// At a failpoint, when it comes there for the n-th time.
    At(String, u32),
}

/// What a round of kills came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Processes that were killed.
    pub kills: u32,
    /// Of them, those that were to end at a failpoint and never came there.
    pub missed: u32,
    /// Errors of the cluster, if it made any: several make one fault, which counts among the kills.
    pub errors: u32,
    /// Records sent meanwhile.
    pub records: u64,
    /// What the oracle says of all tables.
    pub sums: Sums,
    /// From a kill to the next process's first commit.
    pub recoveries: Vec<Duration>,
    /// Components on trial that took over, as the processes said.
    pub promoted: u32,
    /// Components that were taken back.
    pub rolled_back: u32,
}

/// A pipeline under load.
pub struct Ring {
    pipeline: Pipeline,
    /// What is run: with or without failpoints.
    program: PathBuf,
    /// How processes start, beside `--watch`.
    options: &'static [&'static str],
    component: PathBuf,
    module: Vec<u8>,
    versions: u32,
    topic: String,
    live: Option<Live>,
    /// What was sent, once no more is.
    sent: Option<Sent>,
    random: fastrand::Rng,
    outcome: Outcome,
    killed_at: Option<Instant>,
}

/// Partitions of its topic.
pub const PARTITIONS: i32 = 4;

/// What is sent: one in a hundred is broken, and `vary` fails on some two in a hundred.
pub const MIX: Mix = Mix { broken: 100, toast: 10, delete: 10, poison: 50, snapshot_rows: 20 };

/// The tables and the ops of their rows, as the oracle reads them; the first one by name commits last. `vary` writes `out` and `twin`,
/// and `split`, which fails on nothing, the others.
const TABLES: [(&str, &str); 5] =
    [("deletes", "d*"), ("inserts", "rc*"), ("out", "rcud"), ("twin", "rcud"), ("updates", "u*")];

/// Variants of the component from here on do the same, and say in each row which they are.
const FIRST_VARIANT: u32 = 100;

/// How far the tables of a ring are.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// By table and partition: rows before are in the table.
    pub held: BTreeMap<PathBuf, BTreeMap<i32, i64>>,
    /// By partition: rows before are in all tables.
    pub done: BTreeMap<i32, i64>,
}

/// Longer than any start takes on a slow machine.
const LIMIT: Duration = Duration::from_secs(60);

/// How long a failpoint may take to be reached before the process is killed anyhow.
const PATIENCE: Duration = Duration::from_secs(8);

/// A trial that ends with the first order that the component fails on.
const CANARY: &[&str] = &["--canary", "20", "--slowdown-max", "1000"];

/// The names of all failpoints, from the code.
///
/// # Errors
/// If there are none.
pub fn failpoints() -> Result<Vec<String>> {
    let source = std::fs::read_to_string(places::root().join("host/failpoint/src/lib.rs"))?;
    let names: Vec<String> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Point::")?.split_once("=> \"")?.1.strip_suffix("\","))
        .map(str::to_owned)
        .collect();
    ensure!(names.len() >= 14, "{names:?}");
    Ok(names)
}

/// The `lakemill` that has failpoints.
///
/// # Errors
/// If it has not been built.
pub fn failing() -> Result<PathBuf> {
    let path = places::target()?.join("failpoints/lakemill");
    ensure!(path.is_file(), "{} is not there: run scripts/failpoints.sh", path.display());
    Ok(path)
}

impl Ring {
    /// Starts the load.
    ///
    /// # Errors
    /// If anything is not there.
    pub fn new(broker: &Broker, seed: u64, rate: u64) -> Result<Self> {
        Self::with_mix(broker, seed, rate, MIX)
    }

    /// As [`Ring::new`], with other events.
    ///
    /// # Errors
    /// If anything is not there.
    pub fn with_mix(broker: &Broker, seed: u64, rate: u64, mix: Mix) -> Result<Self> {
        let mut ring = Self::without_load(broker, broker.topic("crash", PARTITIONS, &[])?, seed)?;
        let load = Load { topic: ring.topic.clone(), partitions: PARTITIONS, seed, mix, rate };
        ring.live = Some(Live::start(broker, load, ring.pipeline.folder())?);
        Ok(ring)
    }

    /// A pipeline that somebody else sends events to.
    ///
    /// # Errors
    /// If anything is not there.
    pub fn without_load(broker: &Broker, topic: String, seed: u64) -> Result<Self> {
        let mut pipeline = Pipeline::of_kafka(&broker.address, &topic, "vary", &TABLES.map(|(table, _)| table))?;
        let component = pipeline.folder().join("vary.wasm");
        let module = std::fs::read(places::guest("vary")?)?;
        std::fs::write(&component, wasm::variant(&module, FIRST_VARIANT)?)?;
        pipeline.spec["transforms"] = json!([{ "component": "vary.wasm" }, { "component": places::guest("split")? }]);
        pipeline.spec["batch"] = json!({ "rows_max": 2_000, "latency_ms_max": 20 });
        let (program, random) = (failing()?, fastrand::Rng::with_seed(seed));
        let outcome = Outcome::default();
        let (live, sent, versions, killed_at, options) = (None, None, 0, None, [].as_slice());
        Ok(Self {
            pipeline,
            program,
            options,
            component,
            module,
            versions,
            topic,
            live,
            sent,
            random,
            outcome,
            killed_at,
        })
    }

    /// Starts a process, with something that happens at a failpoint, as `LAKEMILL_FAILPOINT` says it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(&self, failpoint: Option<&str>) -> Result<Lakemill> {
        let file = self.pipeline.file()?;
        Lakemill::start_program(&self.program, ["run".as_ref(), file.as_os_str(), "--watch".as_ref()], |command| {
            command.args(self.options);
            if let Some(failpoint) = failpoint {
                command.env("LAKEMILL_FAILPOINT", failpoint);
            }
        })
    }

    /// The next processes start with these options.
    pub fn options(&mut self, options: &'static [&'static str]) {
        self.options = options;
    }

    /// The number of commits in the table that commits last.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn newest(&self) -> Result<usize> {
        Ok(log::files(&self.table())?.len())
    }

    /// Waits for a commit with rows: one beyond those that take possession. False if the process ended before.
    ///
    /// # Errors
    /// If none comes.
    pub fn first_commit(&mut self, lakemill: &mut Lakemill, before: usize) -> Result<bool> {
        let sent = self.records();
        let came = wait::until(LIMIT, "a commit", || {
            if self.newest()? > before + 1 {
                return Ok(Some(true));
            }
            Ok((!lakemill.is_running()?).then_some(false))
        });
        let came = came.with_context(|| {
            let more = self.records() - sent;
            format!("{more} records were sent meanwhile; it said:\n{}", lakemill.stderr_so_far())
        })?;
        if let Some(killed) = self.killed_at.take().filter(|_| came) {
            self.outcome.recoveries.push(killed.elapsed());
        }
        Ok(came)
    }

    /// One process, from its start to its end.
    ///
    /// # Errors
    /// If it ends in another way than it was to.
    pub fn cycle(&mut self, kill: &Kill) -> Result<()> {
        let before = self.newest()?;
        match kill {
            Kill::Early => {
                let lakemill = self.start(None)?;
                let delay = Duration::from_micros(self.random.u64(0..400_000));
                park(delay);
                self.killed(lakemill)?;
            }
            Kill::Late => {
                let mut lakemill = self.start(None)?;
                ensure!(self.first_commit(&mut lakemill, before)?, "it ended by itself:\n{}", lakemill.stderr_so_far());
                if self.random.bool() {
                    self.swap()?;
                }
                park(Duration::from_micros(self.random.u64(0..500_000)));
                self.killed(lakemill)?;
            }
            Kill::At(name, count) => {
                if name == "plan-voided" {
                    // Such a plan is what a death between the last sink's commit and the note of it leaves.
                    let left = self.start(Some("anchor-committed"))?.finish()?;
                    ensure!(left.code.is_none(), "it was to be killed:\n{}", left.said());
                }
                let options = self.options;
                if name == "refusal-durable" {
                    self.options = CANARY;
                }
                let mut lakemill = self.start(Some(&format!("{name}:{count}")))?;
                self.options = options;
                self.first_commit(&mut lakemill, before)?;
                self.swap()?;
                let ended = wait::until(PATIENCE, name, || Ok((!lakemill.is_running()?).then_some(())));
                if ended.is_err() {
                    self.outcome.missed += 1;
                    return self.killed(lakemill);
                }
                self.outcome.kills += 1;
                self.killed_at = Some(Instant::now());
                let finished = lakemill.finish()?;
                ensure!(finished.code.is_none(), "{name}:{count}: exit code {:?}:\n{}", finished.code, finished.said());
                self.trials_in(&finished.said());
            }
        }
        Ok(())
    }

    /// Another version of the component takes over, or tries to.
    fn swap(&mut self) -> Result<()> {
        self.versions += 1;
        self.install(self.versions)
    }

    /// Puts a version of the component in place.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn install(&self, version: u32) -> Result<()> {
        wasm::replace(&self.component, &wasm::variant(&self.module, FIRST_VARIANT + version)?)
    }

    /// The table that commits last.
    pub fn table(&self) -> PathBuf {
        self.pipeline.path(TABLES[0].0)
    }

    fn killed(&mut self, mut lakemill: Lakemill) -> Result<()> {
        if !lakemill.is_running()? {
            let finished = lakemill.finish()?;
            bail!("it ended by itself with {:?}:\n{}", finished.code, finished.said());
        }
        self.outcome.kills += 1;
        self.killed_at = Some(Instant::now());
        self.trials_in(&lakemill.stderr_so_far());
        lakemill.kill()?;
        Ok(())
    }

    /// Counts what became of components, as a process said it.
    fn trials_in(&mut self, said: &str) {
        let count = |what| said.matches(what).count() as u32;
        self.outcome.promoted += count("promoted: ");
        self.outcome.rolled_back += count("rolled back: ");
    }

    /// Ends the load, lets the pipeline catch up, and asks the oracle.
    ///
    /// # Errors
    /// If a row is lost, doubled or out of order.
    pub fn finish(self) -> Result<Outcome> {
        self.finish_without(&[])
    }

    /// As [`Ring::finish`], where some records were gone before they were read.
    ///
    /// # Errors
    /// If a row is lost that was not gone, or one is doubled or out of order.
    pub fn finish_without(mut self, gone: &[Gone]) -> Result<Outcome> {
        self.stop_load()?;
        self.pipeline.run()?.expect(0, &[]).context("catch up")?;
        let sent = self.sent.take().context("nobody sent anything")?;
        self.judge(&sent, gone, true)
    }

    /// Asks the oracle about the tables as they are: they hold what they say, and nothing of what comes after.
    ///
    /// # Errors
    /// If a row is lost, doubled or out of order, or one is there that should not be.
    pub fn finish_as_it_is(mut self) -> Result<Outcome> {
        self.stop_load()?;
        let (sent, marks) = (self.sent.take().context("nobody sent anything")?, self.marks()?);
        let gone: Vec<Gone> = marks.done.keys().flat_map(|p| marks.gone(*p, 0, i64::MAX)).collect();
        self.judge(&sent, &gone, false)
    }

    /// `to_the_end`: everything has been read.
    fn judge(mut self, sent: &Sent, gone: &[Gone], to_the_end: bool) -> Result<Outcome> {
        let paths: Vec<(PathBuf, &str)> = self.tables().map(|(path, _, ops)| (path, ops)).collect();
        let paths: Vec<(&Path, &str)> = paths.iter().map(|(path, ops)| (path.as_path(), *ops)).collect();
        let expect = if to_the_end { oracle::expect_exact } else { oracle::expect_left };
        self.outcome.sums = expect(sent, &paths, gone)?;
        self.outcome.records = sent.records;
        one_code_per_batch(&paths)?;
        Ok(self.outcome)
    }

    /// Every table with its sink's name and the ops of its rows.
    fn tables(&self) -> impl Iterator<Item = (PathBuf, &'static str, &'static str)> {
        let tables = TABLES.into_iter().map(|(table, ops)| (table, table, ops));
        tables
            .chain([("_dead", "dead_letters", "dead")])
            .map(|(table, sink, ops)| (self.pipeline.path(table), sink, ops))
    }

    /// Ends the load.
    ///
    /// # Errors
    /// If the broker did not take everything.
    pub fn stop_load(&mut self) -> Result<()> {
        if let Some(live) = self.live.take() {
            self.sent = Some(live.finish()?);
        }
        Ok(())
    }

    /// Records sent so far.
    pub fn records(&self) -> u64 {
        let sent = || self.sent.as_ref().map_or(0, |sent| sent.records);
        self.live.as_ref().map_or_else(sent, Live::sent)
    }

    /// What was sent by somebody else.
    pub fn sent(&mut self, sent: Sent) {
        self.sent = Some(sent);
    }

    /// How far the tables say they are.
    ///
    /// # Errors
    /// If a log cannot be read.
    pub fn marks(&self) -> Result<Marks> {
        // Of a partition of which no batch has had a record, no table says anything.
        let mut marks = Marks { done: (0..PARTITIONS).map(|partition| (partition, 0)).collect(), ..Marks::default() };
        for (table, sink, _) in self.tables() {
            let held = marks.held.entry(table.clone()).or_default();
            for (id, at) in log::commits(&table)?.iter().flat_map(log::Commit::transactions) {
                // lakemill/<tenant>/<pipeline>/<sink>/<topic>/<partition>
                let words: Vec<&str> = id.split('/').collect();
                let [.., of, _, partition] = words[..] else { bail!("the application id {id}") };
                let partition = partition.parse()?;
                if of == sink {
                    held.insert(partition, at);
                } else if of == "done" {
                    let done = marks.done.entry(partition).or_default();
                    *done = at.max(*done);
                }
            }
        }
        Ok(marks)
    }

    /// By partition: rows before are in all tables. From the newest commits only.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn done(&self) -> Result<BTreeMap<i32, i64>> {
        let mut done = BTreeMap::new();
        for file in log::files(&self.table())?.iter().rev() {
            for (id, at) in log::commit(file)?.transactions().iter().filter(|(id, _)| id.contains("/done/")) {
                let partition = id.rsplit('/').next().and_then(|partition| partition.parse().ok());
                done.entry(partition.with_context(|| format!("the application id {id}"))?).or_insert(*at);
            }
            if done.len() == PARTITIONS as usize {
                break;
            }
        }
        Ok(done)
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Where the pipeline lives.
    pub fn folder(&self) -> &Path {
        self.pipeline.folder()
    }

    /// Starts a process and waits until it has committed rows.
    ///
    /// # Errors
    /// If it does not.
    pub fn begin(&mut self) -> Result<Lakemill> {
        let before = self.newest()?;
        let mut lakemill = self.start(None)?;
        ensure!(self.first_commit(&mut lakemill, before)?, "it ended by itself:\n{}", lakemill.stderr_so_far());
        Ok(lakemill)
    }

    /// Runs a process in which one in `every` commits to a table lands and says that it failed, until `count` have been found.
    ///
    /// # Errors
    /// If it ends, or does not find them.
    pub fn lose_replies(&mut self, every: u32, count: u32) -> Result<()> {
        let mut lakemill = self.start(Some(&format!("entry-durable:{every}:lost")))?;
        lakemill.until_it_says("the commit was there already", usize::try_from(count)?)?;
        lakemill.terminate()?.expect(0, &[])?;
        (0..count).for_each(|_| self.count());
        Ok(())
    }

    /// Lets the others go on for a random time of at most that many microseconds.
    pub fn pause(&mut self, us_max: u64) {
        park(Duration::from_micros(self.random.u64(0..us_max)));
    }

    /// Counts a fault that was made from outside.
    pub fn count(&mut self) {
        self.outcome.kills += 1;
    }

    /// What the pipeline file will say.
    pub fn spec(&mut self) -> &mut Value {
        &mut self.pipeline.spec
    }

    /// What it came to so far.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Random choices of this round.
    pub fn random(&mut self) -> &mut fastrand::Rng {
        &mut self.random
    }
}

impl Marks {
    /// Records `from..to` of a partition, as gone for every table that does not hold them.
    pub fn gone(&self, partition: i32, from: i64, to: i64) -> Vec<Gone> {
        let done = self.done.get(&partition).copied().unwrap_or(0);
        let of = |(table, held): (&PathBuf, &BTreeMap<i32, i64>)| {
            let from = from.max(done).max(held.get(&partition).copied().unwrap_or(0));
            Gone { table: table.clone(), partition, from, to }
        };
        self.held.iter().map(of).filter(|gone| gone.from < gone.to).collect()
    }
}

/// Whatever was swapped and killed: a batch went through one code, in all of its tables.
fn one_code_per_batch(tables: &[(&Path, &str)]) -> Result<()> {
    let mut codes: BTreeMap<u64, Value> = BTreeMap::new();
    for (table, _) in tables {
        for commit in log::commits(table)?.iter().filter(|commit| commit.rows_added() > 0) {
            let info = commit.info().context("a commit without commitInfo")?;
            let batch = info["lakemill.checkpoint"].as_u64().context("no checkpoint")?;
            let digests = &info["lakemill.digests"];
            let first = codes.entry(batch).or_insert_with(|| digests.clone());
            ensure!(first == digests, "batch {batch}: {first} in one table, {digests} in {}", table.display());
        }
    }
    Ok(())
}

/// Lets the others go on for a while: a kill comes at any instant.
fn park(time: Duration) {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}
