//! The commits of a running pipeline: waiting for them, and what their times come to.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

/// Far longer than a commit may take to come.
const PATIENCE: Duration = Duration::from_secs(120);

/// Asks again and again while the pipeline runs.
pub fn until<T>(what: &str, running: &mut Child, mut ask: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        if let Some(status) = running.try_wait()? {
            anyhow::bail!("the pipeline ended ({status}) before {what} came");
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    anyhow::bail!("waited {} s for {what}", PATIENCE.as_secs())
}

/// A table's log, each commit of which is looked at once.
pub struct Log {
    folder: PathBuf,
    next: u64,
    /// Of commits with rows: when they were made, in milliseconds since 1970, and the digests that they name.
    pub commits: Vec<(u64, String)>,
}

impl Log {
    /// Of the table that `pipeline::write` names, in the pipeline's folder.
    pub fn of(folder: &Path) -> Self {
        Self { folder: folder.join("lake/orders/_delta_log"), next: 0, commits: Vec::new() }
    }

    /// The digests of the newest commit with rows.
    pub fn newest(&mut self) -> anyhow::Result<Option<String>> {
        loop {
            let path = self.folder.join(format!("{:020}.json", self.next));
            let Ok(file) = std::fs::File::open(&path) else {
                return Ok(self.commits.last().map(|(_, code)| code.clone()));
            };
            let lines = std::io::BufReader::new(file).lines().collect::<Result<Vec<_>, _>>()?;
            let info: Value = serde_json::from_str(lines.first().context("an empty commit")?)?;
            if lines.iter().any(|line| line.starts_with("{\"add\"")) {
                let info = &info["commitInfo"];
                let at = info["timestamp"].as_u64().context("a commit without a time")?;
                self.commits.push((at, info["lakemill.digests"].to_string()));
            }
            self.next += 1;
        }
    }

    /// As [`Log::newest`], if they are other ones.
    pub fn newest_but(&mut self, before: &str) -> anyhow::Result<Option<String>> {
        Ok(self.newest()?.filter(|code| code != before))
    }
}

/// How many there are, and some of them in order.
pub fn quantiles(list: impl Iterator<Item = u64>) -> Value {
    let mut list: Vec<u64> = list.collect();
    list.sort_unstable();
    let at = |share: f64| list.get(((list.len() as f64 * share).ceil() as usize).saturating_sub(1));
    json!({ "count": list.len(), "p50": at(0.5), "p99": at(0.99), "max": list.last() })
}
