//! From the save of a transform's Rust file to the first commit that its rows are in: `lakemill build` beside `lakemill run --watch`
//! under a load, which is how a team deploys.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value, json};

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
/// Far longer than a save may take.
const PATIENCE: Duration = Duration::from_secs(120);

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
    let table = folder.path().join("lake/orders/_delta_log");
    let ended = AtomicBool::new(false);
    let times = std::thread::scope(|scope| {
        let load = scope.spawn(|| latency::load_until(brokers, &topic, args.rate, &ended));
        let times = saves(args.rounds, &file, &project, &source, &table);
        ended.store(true, Ordering::Relaxed);
        load.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        times
    });
    let mut times = times?;
    times.sort_unstable();
    let at = |share: f64| times.get(((times.len() as f64 * share).ceil() as usize).saturating_sub(1));
    println!("{}", json!({ "save_to_commit_ms": { "p50": at(0.5), "p99": at(0.99), "max": times.last() } }));
    Ok(())
}

fn saves(rounds: u32, file: &Path, project: &Path, source: &Path, table: &Path) -> anyhow::Result<Vec<u128>> {
    let mut running = start(file)?;
    let times = (1..=rounds).map(|round| save(round, project, source, table)).collect();
    running.kill()?;
    running.wait()?;
    times
}

/// Milliseconds from a save to the first commit that names the new code.
fn save(round: u32, project: &Path, source: &Path, table: &Path) -> anyhow::Result<u128> {
    let before = until("a commit", || newest_code(table))?;
    let changed = TRANSFORM.replace(LINE, &LINE.replace("0.0", &format!("{round}.0")));
    ensure!(changed != TRANSFORM, "{LINE} is not in the transform");
    let saved = Instant::now();
    std::fs::write(source, changed)?;
    let built = build(project)?;
    until("a commit by the new code", || newest_code(table).filter(|code| *code != before))?;
    let took = saved.elapsed().as_millis();
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

/// A pipeline that looks out for new code.
pub fn start(file: &Path) -> anyhow::Result<Child> {
    let mut command = Command::new(pipeline::lakemill()?);
    command.arg("run").arg(file).arg("--watch").env("LAKEMILL_LOG", "warn");
    Ok(command.stdout(Stdio::null()).spawn()?)
}

/// Asks again and again.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    anyhow::bail!("waited {} s for {what}", PATIENCE.as_secs())
}

/// The digests of the newest commit that has rows.
fn newest_code(log: &Path) -> Option<Value> {
    let names = std::fs::read_dir(log).ok()?.flatten().map(|entry| entry.file_name());
    let newest = names.filter(|name| name.to_string_lossy().ends_with(".json")).max()?;
    let text = std::fs::read_to_string(log.join(newest)).ok()?;
    let info: Value = serde_json::from_str(text.lines().next()?).ok()?;
    let has_rows = text.lines().any(|line| line.starts_with("{\"add\""));
    has_rows.then(|| info["commitInfo"]["lakemill.digests"].clone())
}
