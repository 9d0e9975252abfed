//! A Delta log read by hand, file by file: what each commit says. An own small reader, so that what the writer's
//! library believes does not count.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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
    files(table)?.iter().map(|path| commit(path)).collect()
}

/// The files of the log that hold a commit, oldest first; none if there is no table.
///
/// # Errors
/// If the folder cannot be read.
pub fn files(table: &Path) -> Result<Vec<PathBuf>> {
    let Ok(folder) = std::fs::read_dir(table.join("_delta_log")) else { return Ok(Vec::new()) };
    let mut files = folder.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|path| version(path).is_some());
    files.sort_unstable_by_key(|path| version(path));
    Ok(files)
}

/// The newest version that has a commit, looking on from one that has: a look at the whole of a long log takes longer than a commit.
pub fn newest(table: &Path, from: u64) -> u64 {
    (from..).take_while(|version| path(table, *version).exists()).last().unwrap_or(from)
}

/// The file that holds the commit of a version.
pub fn path(table: &Path, version: u64) -> PathBuf {
    table.join("_delta_log").join(format!("{version:020}.json"))
}

/// The version whose commit a file of the log holds, if it holds one.
fn version(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(".json")?.parse().ok()
}

/// The commit in a file of the log.
///
/// # Errors
/// If it cannot be read or is no JSON.
pub fn commit(path: &Path) -> Result<Commit> {
    let version = version(path).with_context(|| format!("{} has no version", path.display()))?;
    let actions = std::fs::read_to_string(path)?.lines().map(serde_json::from_str).collect::<Result<_, _>>();
    Ok(Commit { version, actions: actions.with_context(|| format!("the commit {}", path.display()))? })
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
