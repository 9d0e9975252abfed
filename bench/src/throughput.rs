//! Events per second of whole runs, the component and its native twin by turns, so that both meet the same machine.

use std::cmp::Ordering;
use std::path::PathBuf;
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
    /// Another `lakemill` that takes turns with this one: an older build, or a script that starts this one in another way.
    #[arg(long, value_name = "PROGRAM")]
    beside: Option<PathBuf>,
    /// Keep the last run's tables here, for a look by somebody else's reader.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Measures; prints a line a run and the medians.
pub fn run(brokers: &str, args: &Args) -> anyhow::Result<()> {
    let topic = match &args.topic {
        Some(topic) => topic.clone(),
        None => produce::produce(brokers, &args.produce)?,
    };
    let mut kinds = vec!["wasm"];
    kinds.extend((!args.no_native).then_some("native"));
    kinds.extend(args.beside.as_ref().map(|_| "beside"));
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); kinds.len()];
    let mut costs = Vec::new();
    for round in 0..args.rounds {
        for (kind, rates) in kinds.iter().zip(&mut rates) {
            let before_s = children_cpu_s()?;
            let summary = once(brokers, &topic, kind, args)?;
            rates.push(summary["events_per_s"].as_f64().unwrap_or(0.0));
            if *kind == "wasm" {
                costs.push(cost(&summary, children_cpu_s()? - before_s));
            }
            println!("{}", json!({"kind": kind, "round": round, "summary": summary}));
        }
    }
    let medians: Vec<f64> = rates.iter_mut().map(|list| median(list)).collect();
    let mut line = json!({"median_events_per_s": medians.first()});
    for (kind, other) in kinds.iter().zip(&medians).skip(1) {
        line[format!("{kind}_median_events_per_s")] = json!(other);
        line[format!("costs_percent_against_{kind}")] = json!((other / medians[0] - 1.0) * 100.0);
    }
    println!("{line}");
    print_costs(&costs);
    Ok(())
}

/// CPU-seconds, user and system, of the child processes that have ended: fields 16 and 17 of proc_pid_stat(5).
fn children_cpu_s() -> anyhow::Result<f64> {
    /// USER_HZ, which Linux has kept at 100 on every architecture that we build for.
    const TICKS_PER_S: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("/proc/self/stat has a name in brackets")?;
    let ticks = fields.split_whitespace().skip(13).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / TICKS_PER_S)
}

/// What each stage of a run took, in microseconds per event, and last the whole process in CPU time.
fn cost(summary: &Value, cpu_s: f64) -> Vec<(String, f64)> {
    let events = summary["rows_in"].as_f64().unwrap_or(0.0).max(1.0);
    let stages = summary["stages"].as_object().into_iter().flatten();
    let of_stage = |(name, seconds): (&String, &Value)| (name.clone(), seconds.as_f64().unwrap_or(0.0));
    let mut costs: Vec<(String, f64)> = stages.map(of_stage).collect();
    costs.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    costs.push(("the whole process, CPU".into(), cpu_s));
    costs.into_iter().map(|(name, seconds)| (name, seconds * 1e6 / events)).collect()
}

/// The costs of the run in the middle.
fn print_costs(runs: &[Vec<(String, f64)>]) {
    let mut runs: Vec<_> = runs.iter().collect();
    runs.sort_by(|a, b| {
        a.last().map(|(_, cpu)| *cpu).partial_cmp(&b.last().map(|(_, cpu)| *cpu)).unwrap_or(Ordering::Equal)
    });
    println!("microseconds per event, each stage summed over the threads that share the cores:");
    for (name, us) in runs.get(runs.len() / 2).copied().into_iter().flatten() {
        println!("  {us:6.3}  {}", name.trim_end_matches("_s"));
    }
}

fn once(brokers: &str, topic: &str, kind: &str, args: &Args) -> anyhow::Result<Value> {
    let temporary = tempfile::tempdir()?;
    let folder = args.out.as_deref().filter(|_| kind == "wasm").unwrap_or(temporary.path());
    std::fs::create_dir_all(folder)?;
    let file = pipeline::write(folder, brokers, topic, 200, &pipeline::component("clean")?)?;
    let mut command = match (kind, &args.beside) {
        ("native", _) => Command::new(std::env::current_exe()?),
        ("beside", Some(program)) => Command::new(program),
        _ => Command::new(pipeline::lakemill()?),
    };
    match kind {
        "native" => command.arg("native"),
        _ => command.args(["run", "--until-caught-up", "--json"]),
    };
    command.arg(&file);
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
