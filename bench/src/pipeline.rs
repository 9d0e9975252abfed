//! The pipeline file that the benchmarks run: a topic through one component into a Delta table.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context;

/// Where the shipped components are, beside this binary.
pub fn component(name: &str) -> anyhow::Result<PathBuf> {
    let binary = std::env::current_exe()?;
    let target = binary.parent().and_then(Path::parent).context("the binary is in target/release")?;
    let path = target.join("guests").join(format!("{name}.wasm"));
    anyhow::ensure!(path.is_file(), "{} is not there: run `make guests`", path.display());
    Ok(path)
}

/// The `lakemill` command, beside this binary.
pub fn lakemill() -> anyhow::Result<PathBuf> {
    let binary = std::env::current_exe()?;
    Ok(binary.parent().context("a binary is in a folder")?.join("lakemill"))
}

/// Writes a pipeline file into `folder`. Its table has Kafka's timestamps, so that others can measure latencies in it.
pub fn write(
    folder: &Path,
    brokers: &str,
    topic: &str,
    latency_ms_max: u64,
    component: &Path,
) -> anyhow::Result<PathBuf> {
    let text = format!(
        "\
pipeline: bench
source:
  kafka: {{ brokers: \"{brokers}\", topics: [{topic}], start: earliest }}
batch: {{ latency_ms_max: {latency_ms_max} }}
transforms:
  - component: {}
sinks:
  orders: {{ delta: {{ path: ./lake/orders, metadata: [op, event_time, kafka_time, partition, offset] }} }}
",
        component.display()
    );
    let path = folder.join("pipeline.yaml");
    std::fs::write(&path, text)?;
    Ok(path)
}

/// A pipeline that looks out for new code.
pub fn watch(file: &Path) -> anyhow::Result<Child> {
    let mut command = Command::new(lakemill()?);
    command.arg("run").arg(file).arg("--watch").env("LAKEMILL_LOG", "warn");
    Ok(command.stdout(Stdio::null()).spawn()?)
}
