//! How long a pipeline pauses where its code changes: `lakemill run --watch` under a steady load, its component replaced again and again by
//! versions that differ in their digest only.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use crate::save::{start, until};
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
    let mut log = Log { folder: folder.path().join("lake/orders/_delta_log"), next: 0, commits: Vec::new() };
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| latency::load_until(brokers, &topic, args.rate, &ended));
        let swapped = swaps(VERSIONS + args.swaps, &file, &component, &module, &mut log);
        ended.store(true, Ordering::Relaxed);
        load.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        swapped
    })?;
    println!("{}", log.pauses()?);
    Ok(())
}

fn swaps(count: u32, file: &Path, component: &Path, module: &[u8], log: &mut Log) -> anyhow::Result<()> {
    let mut running = start(file)?;
    let mut random: u32 = 1;
    let swapped = (1..=count).try_for_each(|number| {
        let before = until("a commit", || log.newest().transpose())??;
        install(component, module, number % VERSIONS)?;
        until("a commit by the new code", || {
            log.newest().transpose().filter(|code| code.as_ref().ok() != Some(&before))
        })??;
        // Anywhere between two batches.
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        std::thread::park_timeout(Duration::from_millis(100 + u64::from(random >> 26)));
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

/// A table's log, each commit of which is looked at once.
struct Log {
    folder: PathBuf,
    next: u64,
    /// Of commits with rows: when they were made, in milliseconds since 1970, and the digests that they name.
    commits: Vec<(u64, String)>,
}

impl Log {
    /// The digests of the newest commit with rows.
    fn newest(&mut self) -> anyhow::Result<Option<String>> {
        loop {
            let path = self.folder.join(format!("{:020}.json", self.next));
            let Ok(file) = std::fs::File::open(&path) else {
                return Ok(self.commits.last().map(|(_, code)| code.clone()));
            };
            let lines = std::io::BufReader::new(file).lines().collect::<Result<Vec<_>, _>>()?;
            let info: Value = serde_json::from_str(lines.first().context("an empty commit")?)?;
            if lines.iter().any(|line| line.starts_with("{\"add\"")) {
                let info = &info["commitInfo"];
                let at = info["timestamp"].as_u64().context("a commit without a time")?;
                self.commits.push((at, info["lakemill.digests"].to_string()));
            }
            self.next += 1;
        }
    }

    fn pauses(&self) -> anyhow::Result<Value> {
        let gap = |pair: &[(u64, String)]| pair[1].0.saturating_sub(pair[0].0);
        let pairs = self.commits.windows(2).map(|pair| (gap(pair), pair[0].1 != pair[1].1));
        let (with, without): (Vec<_>, Vec<_>) = pairs.partition(|(_, swap)| *swap);
        let mut usual: Vec<u64> = without.iter().map(|(gap, _)| *gap).collect();
        usual.sort_unstable();
        let usual = *usual.get(usual.len() / 2).context("no two commits by one code")?;
        let quantiles = |list: Vec<(u64, bool)>| {
            let mut list: Vec<u64> = list.iter().map(|(gap, _)| gap.saturating_sub(usual)).collect();
            list.sort_unstable();
            let at = |share: f64| list.get(((list.len() as f64 * share).ceil() as usize).saturating_sub(1));
            json!({ "count": list.len(), "p50": at(0.5), "p99": at(0.99), "max": list.last() })
        };
        // The first turn of each version is compiled.
        let with = with.into_iter().skip(VERSIONS as usize).collect();
        Ok(json!({
            "between_commits_ms": usual,
            "beyond_with_a_swap_ms": quantiles(with),
            "beyond_without_ms": quantiles(without),
        }))
    }
}
