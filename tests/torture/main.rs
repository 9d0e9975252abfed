//! The long form of the crash lane: `scripts/torture.sh` runs it with a broker. Each scenario prints one JSON line, with its seed.

mod groups;
mod replies;
mod restarts;
mod swaps;
mod topics;
mod torn;
mod trials;
mod zombies;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lakemill_tests::broker::Broker;
use lakemill_tests::crash::{Kill, Outcome, Ring, failpoints};
use lakemill_tests::faults;
use serde_json::{Value, json};

/// Events per second of the load.
const RATE: u64 = 4_000;

/// Kills between two looks of the oracle.
const KILLS_PER_ROUND: u32 = 50;

fn main() -> Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let seed = match arguments.iter().position(|argument| argument == "--seed") {
        Some(at) => {
            let seed = arguments.get(at + 1).context("--seed N")?.parse()?;
            arguments.drain(at..at + 2);
            seed
        }
        None => fastrand::u64(..1 << 32),
    };
    let broker = Broker::of_environment()?;
    for scenario in arguments.chunks(2) {
        let [name, count] = scenario else { bail!("usage: torture [--seed N] [SCENARIO COUNT]...") };
        let count: u32 = count.parse()?;
        let started = Instant::now();
        let outcome = match name.as_str() {
            "kills" => kills(&broker, seed, count)?,
            "failpoints" => at_failpoints(&broker, seed, count, &failpoints()?)?,
            "zombies" => zombies::run(&broker, seed, count, RATE)?,
            "rebalances" => groups::run(&broker, seed, count, RATE / 4)?,
            "restarts" => restarts::run(&broker, seed, count, RATE / 4)?,
            "swaps" => swaps::run(&broker, seed, count, RATE / 2)?,
            "replies" => replies::run(&broker, seed, count, RATE)?,
            "trials" => trials::run(&broker, seed, count, RATE)?,
            "topics" => topics::run(&broker, seed, count, RATE / 4)?,
            "faults" => faults::run(seed, count)?,
            "torn" => torn::run(seed, count)?,
            point if failpoints()?.iter().any(|name| name == point) => {
                at_failpoints(&broker, seed, count, &[point.to_owned()])?
            }
            other => bail!(
                "no scenario {other}: there are kills, failpoints (or the name of one), replies, zombies, rebalances, \
                 restarts, faults, topics, swaps, trials and torn"
            ),
        };
        report(name, seed, &outcome, started.elapsed());
    }
    Ok(())
}

fn kills(broker: &Broker, seed: u64, count: u32) -> Result<Outcome> {
    let cycle = |ring: &mut Ring| {
        let kill = if ring.random().u32(0..4) == 0 { Kill::Early } else { Kill::Late };
        ring.cycle(&kill)
    };
    rounds(seed, count, |seed| Ring::new(broker, seed, RATE), cycle)
}

/// Kills, with a look of the oracle after some of them.
fn rounds(
    seed: u64,
    count: u32,
    ring: impl Fn(u64) -> Result<Ring>,
    cycle: impl Fn(&mut Ring) -> Result<()>,
) -> Result<Outcome> {
    let mut all = Outcome::default();
    let mut round = 0;
    while all.kills < count {
        let seed = seed + round;
        let mut ring = ring(seed)?;
        for _ in 0..KILLS_PER_ROUND.min(count - all.kills) {
            cycle(&mut ring).with_context(|| format!("seed {seed}"))?;
        }
        add(&mut all, ring.finish().with_context(|| format!("seed {seed}"))?);
        round += 1;
    }
    Ok(all)
}

fn at_failpoints(broker: &Broker, seed: u64, count: u32, points: &[String]) -> Result<Outcome> {
    let mut all = Outcome::default();
    for point in points {
        // Starts and columns are written down once in the life of a pipeline.
        let once = ["start", "schemas"].iter().any(|once| point.starts_with(once));
        let (rings, kills) = if once { (count, 1) } else { (1, count) };
        let mut of_point = Outcome::default();
        for ring in 0..rings {
            let seed = seed + u64::from(ring);
            add(
                &mut of_point,
                at_failpoint(broker, seed, point, kills).with_context(|| format!("{point}, seed {seed}"))?,
            );
        }
        let Outcome { kills, missed, sums, .. } = &of_point;
        let died = kills - missed;
        println!("{}", json!({ "failpoint": point, "kills": died, "missed": missed, "sums": sums }));
        ensure!(died == count, "{point}, seed {seed}: {died} of {count} processes died there");
        add(&mut all, of_point);
    }
    Ok(all)
}

fn at_failpoint(broker: &Broker, seed: u64, point: &str, count: u32) -> Result<Outcome> {
    let mut ring = Ring::new(broker, seed, RATE)?;
    let mut missed = 0;
    for _ in 0..3 * count {
        if ring.outcome().kills - ring.outcome().missed == count {
            break;
        }
        // Some are reached once or twice in the life of a process.
        let rare = ["start", "schemas", "component", "sink-claimed", "claim", "plan-voided", "refusal"];
        let often = !rare.iter().any(|rare| point.starts_with(rare));
        let times = if often && ring.outcome().missed == missed { ring.random().u32(1..8) } else { 1 };
        missed = ring.outcome().missed;
        ring.cycle(&Kill::At(point.to_owned(), times))?;
    }
    ring.finish()
}

fn add(all: &mut Outcome, more: Outcome) {
    all.kills += more.kills;
    all.missed += more.missed;
    all.errors += more.errors;
    all.records += more.records;
    all.sums.rows += more.sums.rows;
    all.sums.lost += more.sums.lost;
    all.sums.doubled += more.sums.doubled;
    all.sums.out_of_order += more.sums.out_of_order;
    all.recoveries.extend(more.recoveries);
    all.promoted += more.promoted;
    all.rolled_back += more.rolled_back;
}

/// What the times of a scenario are.
fn recovery(scenario: &str) -> &'static str {
    if scenario == "swaps" { "pause_ms" } else { "recovery_ms" }
}

fn report(scenario: &str, seed: u64, outcome: &Outcome, took: Duration) {
    println!(
        "{}",
        json!({
            "scenario": scenario,
            "seed": seed,
            "kills": outcome.kills,
            "missed": outcome.missed,
            "errors": outcome.errors,
            "records": outcome.records,
            "sums": outcome.sums,
            "promoted": outcome.promoted,
            "rolled_back": outcome.rolled_back,
            (recovery(scenario)): quantiles(&outcome.recoveries),
            "seconds": took.as_secs(),
        })
    );
}

/// Of times, in milliseconds.
fn quantiles(times: &[Duration]) -> Value {
    let mut times: Vec<u128> = times.iter().map(Duration::as_millis).collect();
    times.sort_unstable();
    let at = |share: f64| times.get(((times.len() as f64 * share).ceil() as usize).saturating_sub(1));
    json!({ "count": times.len(), "p50": at(0.5), "p99": at(0.99), "max": times.last() })
}
