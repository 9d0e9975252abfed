//! Commits that land and say that they failed, under live load: one in so many.

use anyhow::{Context, Result, ensure};
use lakemill_tests::broker::Broker;
use lakemill_tests::crash::{Outcome, Ring};

/// Loses so many replies of commits.
pub fn run(broker: &Broker, seed: u64, count: u32, rate: u64) -> Result<Outcome> {
    let mut ring = Ring::new(broker, seed, rate)?;
    let every = ring.random().u32(3..12);
    ring.lose_replies(every, count).with_context(|| format!("every {every}th is lost"))?;
    let outcome = ring.finish()?;
    ensure!(outcome.kills >= count, "{outcome:?}");
    Ok(outcome)
}
