//! From the save of a transform's Rust file to the first commit that its rows are in: `lakemill build` beside `lakemill run --watch`
//! under a load, which is how a team deploys.

use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;

use crate::commits::{Log, quantiles, until};
use crate::{latency, pipeline, produce};

/// How it is measured.
#[derive(clap::Args)]
pub struct Args {
    /// Saves.
    #[arg(long, default_value_t = 20)]
    rounds: u32,
    /// Events per second meanwhile.
    #[arg(long, default_value_t = 1_000)]
    rate: u64,
}

const TRANSFORM: &str = include_str!("hundred.rs");
const LINE: &str = "const ROUND: f64 = 0.0;";

/// Measures; prints a line a save and the quantiles.
pub fn run(brokers: &str, args: &Args) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let project = folder.path().join("hundred");
    lakemill(folder.path(), &["new", "hundred"])?;
    let source = project.join("src/lib.rs");
    std::fs::write(&source, TRANSFORM)?;
    let first = build(&project)?;
    println!("{}", json!({ "lines": TRANSFORM.lines().count(), "first_build_ms": first.as_millis() }));

    let topic = produce::new_topic(brokers, 4)?;
    let component = project.join("target/guests/hundred.wasm");
    let file = pipeline::write(folder.path(), brokers, &topic, 20, &component)?;
    let mut log = Log::of(folder.path());
    let ended = AtomicBool::new(false);
    let times = std::thread::scope(|scope| {
        let load = scope.spawn(|| latency::load_until(brokers, &topic, args.rate, &ended));
        let times = saves(args.rounds, &file, &project, &source, &mut log);
        ended.store(true, Ordering::Relaxed);
        load.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        times
    });
    println!("{}", json!({ "save_to_commit_ms": quantiles(times?.into_iter()) }));
    Ok(())
}

fn saves(rounds: u32, file: &Path, project: &Path, source: &Path, log: &mut Log) -> anyhow::Result<Vec<u64>> {
    let mut running = pipeline::watch(file)?;
    let times = (1..=rounds).map(|round| save(round, &mut running, project, source, log)).collect();
    running.kill()?;
    running.wait()?;
    times
}

/// Milliseconds from a save to the first commit that names the new code.
fn save(round: u32, running: &mut Child, project: &Path, source: &Path, log: &mut Log) -> anyhow::Result<u64> {
    let before = until("a commit", running, || log.newest().transpose())??;
    let changed = TRANSFORM.replace(LINE, &LINE.replace("0.0", &format!("{round}.0")));
    ensure!(changed != TRANSFORM, "{LINE} is not in the transform");
    let saved = Instant::now();
    std::fs::write(source, changed)?;
    let built = build(project)?;
    until("a commit by the new code", running, || log.newest_but(&before).transpose())??;
    let took = u64::try_from(saved.elapsed().as_millis())?;
    println!("{}", json!({ "round": round, "build_ms": built.as_millis(), "save_to_commit_ms": took }));
    Ok(took)
}

fn build(project: &Path) -> anyhow::Result<Duration> {
    let started = Instant::now();
    lakemill(project, &["build"])?;
    Ok(started.elapsed())
}

fn lakemill(folder: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(pipeline::lakemill()?).args(arguments).current_dir(folder).output()?;
    ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
