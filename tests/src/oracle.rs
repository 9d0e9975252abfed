//! The judge of tables: another process, with its own reader of the Delta log (tests/readers/oracle.py).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
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

/// Records that a table cannot have: they were gone before they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The table.
    pub table: PathBuf,
    /// Their partition.
    pub partition: i32,
    /// The first of them.
    pub from: i64,
    /// One past the last.
    pub to: i64,
}

/// How many of 100 keys a canary gets where commits with one are judged.
pub const CANARY_PERCENT: u8 = 20;

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
    Ok(judgement(sent, tables, &[])?.tables)
}

fn judgement(sent: &Sent, tables: &[(&Path, &str)], gone: &[Gone]) -> Result<Judgement> {
    let mut lines = "table,partition,from,to\n".to_owned();
    for Gone { table, partition, from, to } in gone {
        writeln!(lines, "{},{partition},{from},{to}", table.display())?;
    }
    let list = sent.expected.with_extension("gone.csv");
    std::fs::write(&list, lines)?;
    let output = Command::new(places::python()?)
        .arg(places::root().join("tests/readers/oracle.py"))
        .args([&sent.expected, &list])
        .arg(CANARY_PERCENT.to_string())
        .args(tables.iter().map(|(path, ops)| format!("{}={ops}", path.display())))
        .output()
        .context("start the oracle")?;
    ensure!(output.status.success(), "the oracle:\n{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("what the oracle says")
}

/// Judges tables, and demands that nothing is wrong but for what was gone. The first table is the one that commits last: it must say
/// that everything up to the ends is done; as long as it is not there, another one.
///
/// # Errors
/// What is wrong.
pub fn expect_exact(sent: &Sent, tables: &[(&Path, &str)], gone: &[Gone]) -> Result<Sums> {
    let judgement = judgement(sent, tables, gone)?;
    let sums = exact(&judgement)?;
    let (anchor, _) = tables.first().context("a table")?;
    let telling: Vec<_> = match &judgement.tables[&anchor.display().to_string()].positions {
        none if none.is_empty() => judgement.tables.values().flat_map(|verdict| &verdict.positions).collect(),
        positions => positions.iter().collect(),
    };
    for (partition, end) in &sent.ends {
        let is_done = |id: &str| id.contains("/done/") && id.ends_with(&format!("/{partition}"));
        let done = telling.iter().filter(|(id, _)| is_done(id)).map(|(_, at)| **at).max();
        ensure!(done == Some(*end), "partition {partition} ends at {end}, and {telling:?}");
    }
    Ok(sums)
}

/// As [`expect_exact`], of a pipeline that has not read everything: what it has not is gone.
///
/// # Errors
/// What is wrong.
pub fn expect_left(sent: &Sent, tables: &[(&Path, &str)], gone: &[Gone]) -> Result<Sums> {
    exact(&judgement(sent, tables, gone)?)
}

fn exact(Judgement { tables: verdicts, mixed }: &Judgement) -> Result<Sums> {
    let mixed = *mixed;
    ensure!(mixed == 0, "{mixed} commits have rows of another code than the one that they name");
    let mut sums = Sums::default();
    for (table, verdict) in verdicts {
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
    Ok(sums)
}
