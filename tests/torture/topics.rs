//! Topics that change behind a pipeline's back: each round does everything of `lakemill_tests::topics` once.

use anyhow::{Context, Result};
use lakemill_tests::broker::Broker;
use lakemill_tests::crash::Outcome;
use lakemill_tests::topics::{ANEW, deleted_records, made_anew};

use crate::add;

/// So many rounds.
pub fn run(broker: &Broker, seed: u64, count: u32, rate: u64) -> Result<Outcome> {
    let mut all = Outcome::default();
    for round in 0..count {
        let seed = seed + u64::from(round);
        add(&mut all, deleted_records(broker, seed, rate).with_context(|| format!("seed {seed}"))?);
        for how in ANEW {
            add(&mut all, made_anew(broker, seed, rate, how).with_context(|| format!("{how:?}, seed {seed}"))?);
        }
    }
    Ok(all)
}
