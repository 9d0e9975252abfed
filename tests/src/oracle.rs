//! The judge of tables: another process, with its own reader of the Delta log (tests/readers/oracle.py).

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::live::Sent;
use crate::places;

/// What it says about a table.
#[derive(Clone, Debug, Deserialize)]
pub struct Verdict {
    /// Rows that are there.
    pub rows: u64,
    /// Rows that are not.
    pub missing: u64,
    /// Rows that are there twice, or that nobody sent.
    pub surplus: u64,
    /// Rows that come after a later one of their key.
    pub disordered: u64,
    /// Rows that are not in the ranges of their commit.
    pub beyond: u64,
    /// The last number of each application id.
    pub positions: BTreeMap<String, i64>,
    /// Commits.
    pub commits: u64,
    /// The first few rows that are wrong.
    #[serde(default)]
    pub example: serde_json::Value,
}

#[derive(Deserialize)]
struct Judgement {
    tables: BTreeMap<String, Verdict>,
    mixed: u64,
}

/// Over all tables.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Sums {
    /// Rows that are there.
    pub rows: u64,
    /// Rows that are not.
    pub lost: u64,
    /// Rows that are there too often.
    pub doubled: u64,
    /// Rows that are out of order.
    pub out_of_order: u64,
}

/// Judges tables: path and the ops of its rows, or `dead`.
///
/// # Errors
/// If one cannot be read.
pub fn judge(sent: &Sent, tables: &[(&Path, &str)]) -> Result<BTreeMap<String, Verdict>> {
    Ok(judgement(sent, tables)?.tables)
}

fn judgement(sent: &Sent, tables: &[(&Path, &str)]) -> Result<Judgement> {
    let output = Command::new(places::python()?)
        .arg(places::root().join("tests/readers/oracle.py"))
        .arg(&sent.expected)
        .args(tables.iter().map(|(path, ops)| format!("{}={ops}", path.display())))
        .output()
        .context("start the oracle")?;
    ensure!(output.status.success(), "the oracle:\n{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("what the oracle says")
}

/// Judges tables, and demands that nothing is wrong. The first table is the one that commits last: it must hold everything up
/// to the ends.
///
/// # Errors
/// What is wrong.
pub fn expect_exact(sent: &Sent, tables: &[(&Path, &str)]) -> Result<Sums> {
    let Judgement { tables: verdicts, mixed } = judgement(sent, tables)?;
    ensure!(mixed == 0, "{mixed} commits have rows of another code than the one that they name");
    let mut sums = Sums::default();
    for (table, verdict) in &verdicts {
        let Verdict { missing, surplus, disordered, beyond, .. } = verdict;
        ensure!(
            [*missing, *surplus, *disordered, *beyond] == [0; 4],
            "{table}: {missing} rows are missing, {surplus} too many, {disordered} out of order, {beyond} beyond their commit: {verdict:?}"
        );
        sums.rows += verdict.rows;
        sums.lost += missing;
        sums.doubled += surplus;
        sums.out_of_order += disordered;
    }
    let (anchor, _) = tables.first().context("a table")?;
    let positions = &verdicts[&anchor.display().to_string()].positions;
    for (partition, end) in &sent.ends {
        let done = positions.iter().find(|(id, _)| id.contains("/done/") && id.ends_with(&format!("/{partition}")));
        ensure!(done.is_some_and(|(_, at)| at == end), "partition {partition} ends at {end}, and {positions:?}");
    }
    Ok(sums)
}
