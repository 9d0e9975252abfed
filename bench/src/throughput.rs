//! Events per second of whole runs, the component and its native twin by turns, so that both meet the same machine.

use std::process::{Command, Stdio};

use anyhow::Context;
use serde_json::{Value, json};

use crate::{pipeline, produce};

/// How it is measured.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    produce: produce::Args,
    /// Runs of each kind.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// A topic that is filled already, in place of a new one.
    #[arg(long)]
    topic: Option<String>,
    /// Leave the native twin out.
    #[arg(long)]
    no_native: bool,
}

/// Measures; prints a line a run and the medians.
pub fn run(brokers: &str, args: &Args) -> anyhow::Result<()> {
    let topic = match &args.topic {
        Some(topic) => topic.clone(),
        None => produce::produce(brokers, &args.produce)?,
    };
    let kinds: &[&str] = if args.no_native { &["wasm"] } else { &["wasm", "native"] };
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); kinds.len()];
    for round in 0..args.rounds {
        for (kind, rates) in kinds.iter().zip(&mut rates) {
            let summary = once(brokers, &topic, kind)?;
            rates.push(summary["events_per_s"].as_f64().unwrap_or(0.0));
            println!("{}", json!({"kind": kind, "round": round, "summary": summary}));
        }
    }
    let medians: Vec<f64> = rates.iter_mut().map(|list| median(list)).collect();
    let mut line = json!({"median_events_per_s": medians.first()});
    if let [wasm, native] = medians[..] {
        line["native_median_events_per_s"] = json!(native);
        line["wasm_costs_percent"] = json!((native / wasm - 1.0) * 100.0);
    }
    println!("{line}");
    Ok(())
}

fn once(brokers: &str, topic: &str, kind: &str) -> anyhow::Result<Value> {
    let folder = tempfile::tempdir()?;
    let file = pipeline::write(folder.path(), brokers, topic, "earliest", 200)?;
    let mut command = match kind {
        "native" => {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("native").arg(&file);
            command
        }
        _ => {
            let mut command = Command::new(pipeline::lakemill()?);
            command.args(["run", "--until-caught-up", "--json"]).arg(&file);
            command
        }
    };
    let output = command.stderr(Stdio::inherit()).env("LAKEMILL_LOG", "warn").output()?;
    let text = String::from_utf8(output.stdout)?;
    let last = text.lines().last().context("a run ends with its summary")?;
    anyhow::ensure!(output.status.success(), "{kind} failed: {last}");
    Ok(serde_json::from_str(last)?)
}

fn median(list: &mut [f64]) -> f64 {
    list.sort_by(f64::total_cmp);
    list.get(list.len() / 2).copied().unwrap_or(0.0)
}
