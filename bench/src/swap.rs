//! How long a pipeline pauses where its code changes: `lakemill run --watch` under a steady load, its component replaced again and again by
//! versions that differ in their digest only.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use crate::commits::{Log, quantiles, until};
use crate::{latency, pipeline, produce};

/// How it is measured.
#[derive(clap::Args)]
pub struct Args {
    /// Swaps, after the first turn of each version, which is compiled.
    #[arg(long, default_value_t = 200)]
    swaps: u32,
    /// Events per second meanwhile.
    #[arg(long, default_value_t = 2_000)]
    rate: u64,
    /// The pipeline's `batch.latency_ms_max`.
    #[arg(long, default_value_t = 2)]
    latency_ms_max: u64,
}

/// Versions that take turns.
const VERSIONS: u32 = 8;

/// Measures; prints what two commits are apart beyond the median, where the code changed between them and where it did not.
pub fn run(brokers: &str, args: &Args) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let module = std::fs::read(pipeline::component("clean")?)?;
    let component = folder.path().join("clean.wasm");
    install(&component, &module, 0)?;
    let topic = produce::new_topic(brokers, 4)?;
    let file = pipeline::write(folder.path(), brokers, &topic, args.latency_ms_max, &component)?;
    let mut log = Log::of(folder.path());
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| latency::load_until(brokers, &topic, args.rate, &ended));
        let swapped = swaps(VERSIONS + args.swaps, &file, &component, &module, &mut log);
        ended.store(true, Ordering::Relaxed);
        load.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        swapped
    })?;
    println!("{}", pauses(&log)?);
    Ok(())
}

fn swaps(count: u32, file: &Path, component: &Path, module: &[u8], log: &mut Log) -> anyhow::Result<()> {
    let mut running = pipeline::watch(file)?;
    let swapped = (1..=count).try_for_each(|number| {
        let before = until("a commit", &mut running, || log.newest().transpose())??;
        install(component, module, number % VERSIONS)?;
        until("a commit by the new code", &mut running, || log.newest_but(&before).transpose())??;
        // Anywhere between two batches.
        std::thread::park_timeout(Duration::from_millis(100 + u64::from(number * 37 % 64)));
        Ok(())
    });
    running.kill()?;
    running.wait()?;
    log.newest()?;
    swapped
}

/// The component with a custom section that holds a number, in place of the file that is there.
fn install(component: &Path, module: &[u8], number: u32) -> anyhow::Result<()> {
    let mut bytes = module.to_vec();
    // WebAssembly core specification, "Custom section": id 0, size, name with its length, anything.
    bytes.extend_from_slice(&[0, 12, 7]);
    bytes.extend_from_slice(b"version");
    bytes.extend_from_slice(&number.to_le_bytes());
    let new = component.with_extension("new");
    std::fs::write(&new, bytes)?;
    Ok(std::fs::rename(&new, component)?)
}

/// What commits are apart beyond the median.
fn pauses(log: &Log) -> anyhow::Result<Value> {
    let gap = |pair: &[(u64, String)]| pair[1].0.saturating_sub(pair[0].0);
    let pairs = log.commits.windows(2).map(|pair| (gap(pair), pair[0].1 != pair[1].1));
    let (with, without): (Vec<_>, Vec<_>) = pairs.partition(|(_, swap)| *swap);
    let mut usual: Vec<u64> = without.iter().map(|(gap, _)| *gap).collect();
    usual.sort_unstable();
    let usual = *usual.get(usual.len() / 2).context("no two commits by one code")?;
    let beyond = |list: Vec<(u64, bool)>| quantiles(list.iter().map(|(gap, _)| gap.saturating_sub(usual)));
    // The first turn of each version is compiled.
    let with = with.into_iter().skip(VERSIONS as usize).collect();
    Ok(json!({
        "between_commits_ms": usual,
        "beyond_with_a_swap_ms": beyond(with),
        "beyond_without_ms": beyond(without),
    }))
}
