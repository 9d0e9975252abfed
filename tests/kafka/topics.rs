//! Topics that change behind a pipeline's back, and clusters that answer with errors, in short: `make torture` has the long form.

use anyhow::{Result, ensure};
use lakemill_tests::broker::Broker;
use lakemill_tests::faults;
use lakemill_tests::topics::{Anew, deleted_records, made_anew};

/// Events per second: several of these run beside other tests.
const RATE: u64 = 1_000;

fn expect_made_anew(seed: u64, how: Anew) -> Result<()> {
    let outcome = made_anew(&Broker::of_environment()?, seed, RATE, how)?;
    ensure!(outcome.sums.rows > 0, "{outcome:?}");
    Ok(())
}

#[test]
fn deleted_records_do_not_matter_or_are_told() -> Result<()> {
    let outcome = deleted_records(&Broker::of_environment()?, 81, RATE)?;
    ensure!(outcome.sums.rows > 1_000, "{outcome:?}");
    Ok(())
}

#[test]
fn a_topic_that_was_made_anew_is_not_read() -> Result<()> {
    expect_made_anew(82, Anew::Shorter)?;
    expect_made_anew(83, Anew::Longer)
}

#[test]
fn a_topic_that_is_made_anew_while_it_is_read_is_read_no_further() -> Result<()> {
    expect_made_anew(84, Anew::Running)?;
    expect_made_anew(85, Anew::Frozen)
}

#[test]
fn errors_of_the_cluster_cost_no_row() -> Result<()> {
    let outcome = faults::run(86, 8)?;
    ensure!(outcome.kills == 8 && outcome.errors >= 8 && outcome.sums.rows > 1_000, "{outcome:?}");
    Ok(())
}

#[test]
fn what_nobody_vouches_for_is_not_committed() -> Result<()> {
    let outcome = faults::nobody_vouches(87)?;
    ensure!(outcome.sums.rows > 1_000, "{outcome:?}");
    Ok(())
}
