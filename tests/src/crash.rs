//! Kills under live load: a pipeline of five tables and the dead letters is ended again and again, at random instants or at a
//! failpoint, and goes on each time. In the end the oracle looks at everything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::broker::Broker;
use crate::live::{Live, Load};
use crate::oracle::Sums;
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
    /// Records sent meanwhile.
    pub records: u64,
    /// What the oracle says of all tables.
    pub sums: Sums,
    /// From a kill to the next process's first commit.
    pub recoveries: Vec<Duration>,
}

/// A pipeline under load.
pub struct Ring {
    pipeline: Pipeline,
    /// What is run: with or without failpoints.
    program: PathBuf,
    component: PathBuf,
    module: Vec<u8>,
    versions: u32,
    live: Live,
    random: fastrand::Rng,
    outcome: Outcome,
    killed_at: Option<Instant>,
}

const PARTITIONS: i32 = 4;

/// The tables and the ops of their rows; the first one by name commits last.
const TABLES: [(&str, &str); 5] =
    [("deletes", "d"), ("inserts", "rc"), ("out", "rcud"), ("twin", "rcud"), ("updates", "u")];

/// Variants of the component from here on do the same, and say in each row which they are.
const FIRST_VARIANT: u32 = 100;

/// Longer than any start takes on a slow machine.
const LIMIT: Duration = Duration::from_secs(60);

/// How long a failpoint may take to be reached before the process is killed anyhow.
const PATIENCE: Duration = Duration::from_secs(8);

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
        let topic = broker.topic("crash", PARTITIONS, &[])?;
        let mut pipeline = Pipeline::of_kafka(&broker.address, &topic, "vary", &TABLES.map(|(table, _)| table))?;
        let component = pipeline.folder().join("vary.wasm");
        let module = std::fs::read(places::guest("vary")?)?;
        std::fs::write(&component, wasm::variant(&module, FIRST_VARIANT)?)?;
        pipeline.spec["transforms"] = json!([{ "component": "vary.wasm" }, { "component": places::guest("split")? }]);
        pipeline.spec["batch"] = json!({ "rows_max": 2_000, "latency_ms_max": 20 });
        let load = Load { topic, partitions: PARTITIONS, seed, mix: Mix { broken: 100, ..Mix::default() }, rate };
        let live = Live::start(broker, load, pipeline.folder())?;
        let (program, random) = (failing()?, fastrand::Rng::with_seed(seed));
        let outcome = Outcome::default();
        Ok(Self { pipeline, program, component, module, versions: 0, live, random, outcome, killed_at: None })
    }

    /// Starts a process, which may end at a failpoint.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(&self, point: Option<(&str, u32)>) -> Result<Lakemill> {
        let file = self.pipeline.file()?;
        Lakemill::start_program(&self.program, ["run".as_ref(), file.as_os_str(), "--watch".as_ref()], |command| {
            if let Some((name, count)) = point {
                command.env("LAKEMILL_FAILPOINT", format!("{name}:{count}"));
            }
        })
    }

    /// The number of commits in the table that commits last.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn newest(&self) -> Result<usize> {
        let log = self.table().join("_delta_log");
        let Ok(entries) = std::fs::read_dir(log) else { return Ok(0) };
        let is_commit = |name: &str| name.ends_with(".json") && !name.starts_with('.');
        Ok(entries.flatten().filter(|entry| is_commit(&entry.file_name().to_string_lossy())).count())
    }

    /// Waits for a commit with rows: one beyond those that take possession. False if the process ended before.
    ///
    /// # Errors
    /// If none comes.
    pub fn first_commit(&mut self, lakemill: &mut Lakemill, before: usize) -> Result<bool> {
        let came = wait::until(LIMIT, "a commit", || {
            if self.newest()? > before + 1 {
                return Ok(Some(true));
            }
            Ok((!lakemill.is_running()?).then_some(false))
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
                let mut lakemill = self.start(Some((name, *count)))?;
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
        lakemill.kill()?;
        Ok(())
    }

    /// Ends the load, lets the pipeline catch up, and asks the oracle.
    ///
    /// # Errors
    /// If a row is lost, doubled or out of order.
    pub fn finish(mut self) -> Result<Outcome> {
        let sent = self.live.finish()?;
        self.pipeline.run()?.expect(0, &[]).context("catch up")?;
        let path = |table: &str| self.pipeline.path(table);
        let tables = TABLES.into_iter().chain([("_dead", "dead")]);
        let paths: Vec<(PathBuf, &str)> = tables.map(|(table, ops)| (path(table), ops)).collect();
        let paths: Vec<(&Path, &str)> = paths.iter().map(|(path, ops)| (path.as_path(), *ops)).collect();
        self.outcome.sums = oracle::expect_exact(&sent, &paths)?;
        self.outcome.records = sent.records;
        one_code_per_batch(&paths)?;
        Ok(self.outcome)
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
