//! Components on trial while processes are killed: as shadows and as canaries, promoted by rule and taken back. Whatever is on trial,
//! a row comes once, is made by the code that its file names, and a key is on one side.

use anyhow::{Context, Result, ensure};
use lakemill_tests::broker::Broker;
use lakemill_tests::crash::{Kill, MIX, Outcome, Ring};
use lakemill_tests::orders::Mix;

use crate::{KILLS_PER_ROUND, rounds};

/// How processes start: the last way takes what another one had on trial at once.
const WAYS: [&[&str]; 5] = [
    &["--shadow"],
    &["--shadow", "--promote-after", "500", "--diff-max", "1"],
    &["--canary", "20", "--slowdown-max", "1000"],
    &["--canary", "20", "--slowdown-max", "1000", "--promote-after", "500"],
    &[],
];

/// Where a process dies, if not anywhere.
const POINTS: [&str; 6] =
    ["component-durable", "plan-durable", "cuts-durable", "sink-committed", "anchor-committed", "refusal-durable"];

/// A trial ends with the first order that the component fails on: some live long enough to be promoted.
const POISON: u32 = 2_000;

pub fn run(broker: &Broker, seed: u64, count: u32, rate: u64) -> Result<Outcome> {
    let ring = |seed| Ring::with_mix(broker, seed, rate, Mix { poison: POISON, ..MIX });
    let all = rounds(seed, count, ring, |ring| {
        let (way, point) = (ring.random().usize(0..WAYS.len()), ring.random().usize(0..POINTS.len()));
        let kill = match ring.random().u32(0..4) {
            0 => Kill::Early,
            1 => Kill::At(POINTS[point].to_owned(), ring.random().u32(1..8)),
            _ => Kill::Late,
        };
        ring.options(WAYS[way]);
        ring.cycle(&kill).with_context(|| format!("{kill:?}, {:?}", WAYS[way]))
    })?;
    ensure!(count < KILLS_PER_ROUND || (all.promoted > 0 && all.rolled_back > 0), "no trial came to an end: {all:?}");
    Ok(all)
}
