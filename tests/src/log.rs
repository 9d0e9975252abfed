//! A Delta log read by hand, file by file: what each commit says. An own small reader, so that what the writer's
//! library believes does not count.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// The actions of one commit.
#[derive(Debug)]
pub struct Commit {
    /// The table version that it made.
    pub version: u64,
    /// One JSON object each: add, remove, txn, metaData, protocol, commitInfo.
    pub actions: Vec<Value>,
}

/// All commits that are in the log as JSON, oldest first; none if there is no table.
///
/// # Errors
/// If a file cannot be read or is no JSON.
pub fn commits(table: &Path) -> Result<Vec<Commit>> {
    let Ok(folder) = std::fs::read_dir(table.join("_delta_log")) else { return Ok(Vec::new()) };
    let mut commits = Vec::new();
    for entry in folder {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(Ok(version)) = name.strip_suffix(".json").map(str::parse) else { continue };
        let text = std::fs::read_to_string(&path)?;
        let actions = text
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()
            .with_context(|| format!("the commit {}", path.display()))?;
        commits.push(Commit { version, actions });
    }
    commits.sort_by_key(|commit| commit.version);
    Ok(commits)
}

impl Commit {
    /// Rows that it adds, by the statistics.
    pub fn rows_added(&self) -> u64 {
        let stats = |action: &Value| serde_json::from_str::<Value>(action["add"]["stats"].as_str()?).ok();
        self.actions.iter().filter_map(stats).filter_map(|stats| stats["numRecords"].as_u64()).sum()
    }

    /// The `txn` actions: application id and version.
    pub fn transactions(&self) -> BTreeMap<String, i64> {
        let of = |action: &Value| {
            let txn = action.get("txn")?;
            Some((txn["appId"].as_str()?.to_owned(), txn["version"].as_i64()?))
        };
        self.actions.iter().filter_map(of).collect()
    }

    /// What it says about itself.
    pub fn info(&self) -> Option<&Value> {
        self.actions.iter().find_map(|action| action.get("commitInfo"))
    }
}

/// Rows in the table by its log, where every commit only adds.
///
/// # Errors
/// See [`commits`].
pub fn rows(table: &Path) -> Result<u64> {
    Ok(commits(table)?.iter().map(Commit::rows_added).sum())
}
