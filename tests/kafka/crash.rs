//! Kills under live load, in short: at each failpoint, and at random instants. `make torture` has the long form.

use anyhow::{Context, Result, ensure};
use lakemill_tests::broker::Broker;
use lakemill_tests::crash::{Kill, Ring, failpoints};

/// Events per second: two rings run beside other tests.
const RATE: u64 = 1_000;

#[test]
fn no_row_is_lost_or_doubled_by_a_kill_at_any_failpoint() -> Result<()> {
    let mut ring = Ring::new(&Broker::of_environment()?, 71, RATE)?;
    for point in failpoints()? {
        ring.cycle(&Kill::At(point.clone(), 1)).context(point)?;
    }
    let outcome = ring.finish()?;
    ensure!(outcome.kills == u32::try_from(failpoints()?.len())? && outcome.missed == 0, "{outcome:?}");
    Ok(())
}

#[test]
fn no_row_is_lost_or_doubled_by_kills_at_random_instants() -> Result<()> {
    let mut ring = Ring::new(&Broker::of_environment()?, 72, RATE)?;
    for n in 0..25 {
        ring.cycle(if n % 4 == 0 { &Kill::Early } else { &Kill::Late })?;
    }
    let outcome = ring.finish()?;
    ensure!(outcome.kills == 25 && outcome.sums.rows > 1_000, "{outcome:?}");
    Ok(())
}

#[test]
fn no_row_is_lost_or_doubled_by_replies_that_are_lost() -> Result<()> {
    let mut ring = Ring::new(&Broker::of_environment()?, 73, RATE)?;
    ring.lose_replies(5, 20)?;
    let outcome = ring.finish()?;
    ensure!(outcome.sums.rows > 1_000, "{outcome:?}");
    Ok(())
}
