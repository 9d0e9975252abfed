//! A new version again and again under load: none costs a row, and the pause of each is the time between the last commit of the old
//! code and the first one of the new, beyond the usual time between two commits.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use lakemill_tests::broker::Broker;
use lakemill_tests::crash::{Outcome, Ring};
use lakemill_tests::log;
use serde_json::{Value, json};

use crate::quantiles;

/// Versions that take turns: each is compiled once.
const VERSIONS: u32 = 8;

/// Swaps; the pauses are in the outcome's `recoveries`.
pub fn run(broker: &Broker, seed: u64, count: u32, rate: u64) -> Result<Outcome> {
    let mut ring = Ring::new(broker, seed, rate)?;
    // Batches in quick succession, so that a short pause shows.
    ring.spec()["batch"]["latency_ms_max"] = json!(5);
    let mut lakemill = ring.begin()?;
    let table = ring.table();
    let mut newest = 0;
    let mut code = || -> Result<Value> {
        newest = log::newest(&table, newest);
        digests(&table, newest)
    };
    for number in 0..count + VERSIONS {
        let before = code()?;
        ring.install(1 + number % VERSIONS)?;
        lakemill.until("the next version", || Ok((code()? != before).then_some(())))?;
        ring.pause(40_000);
        ring.count();
    }
    lakemill.terminate()?.expect(0, &[])?;
    let (pauses, without) = pauses(&table)?;
    // What the machine does to two commits anyhow: a pause is to be held against it.
    println!("{}", json!({ "between_commits_without_a_swap_ms": quantiles(&without) }));
    let mut outcome = ring.finish()?;
    outcome.recoveries = pauses;
    Ok(outcome)
}

/// The digests that a commit names.
fn digests(table: &Path, version: u64) -> Result<Value> {
    let commit = log::commit(&log::path(table, version))?;
    Ok(commit.info().context("a commit without commitInfo")?["lakemill.digests"].clone())
}

/// What two commits are apart beyond the median: where the code changed between them, and where it did not.
fn pauses(table: &Path) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let commits = log::commits(table)?;
    let seen: Vec<(u64, Value)> = commits
        .iter()
        .filter(|commit| commit.rows_added() > 0)
        .filter_map(|commit| {
            let info = commit.info()?;
            Some((info["timestamp"].as_u64()?, info["lakemill.digests"].clone()))
        })
        .collect();
    let gaps = seen.windows(2).map(|pair| (pair[1].0.saturating_sub(pair[0].0), pair[0].1 != pair[1].1));
    let (swaps, others): (Vec<_>, Vec<_>) = gaps.partition(|(_, swap)| *swap);
    let mut usual: Vec<u64> = others.iter().map(|(gap, _)| *gap).collect();
    usual.sort_unstable();
    let usual = usual.get(usual.len() / 2).copied().context("commits")?;
    let beyond = |(gap, _): (u64, bool)| Duration::from_millis(gap.saturating_sub(usual));
    // The first turn of each version is compiled.
    let swaps = swaps.into_iter().skip(VERSIONS as usize).map(beyond).collect();
    Ok((swaps, others.into_iter().map(beyond).collect()))
}
