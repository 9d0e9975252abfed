//! Events per second of whole runs, the component and its native twin by turns, so that both meet the same machine.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

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
    let mut runs: Vec<Vec<Run>> = kinds.iter().map(|_| Vec::new()).collect();
    for round in 0..args.rounds {
        // There and back again: what drifts meets each kind as often early as late.
        let mut turns: Vec<usize> = (0..kinds.len()).collect();
        if round % 2 == 1 {
            turns.reverse();
        }
        for turn in turns {
            let (before_s, started) = (children_cpu_s()?, Instant::now());
            let summary = once(brokers, &topic, kinds[turn], args)?;
            let took = started.elapsed();
            println!("{}", json!({"kind": kinds[turn], "round": round, "summary": summary}));
            runs[turn].push(Run::of(&summary, took, children_cpu_s()? - before_s));
        }
    }
    let mut line = json!({});
    for (kind, list) in kinds.iter().zip(&runs) {
        line[*kind] = json!({
            "median_events_per_s": median(list.iter().map(|run| run.events_per_s)),
            "median_cpu_us_per_event": median(list.iter().map(|run| run.cpu_us)),
            "max_rss_bytes": list.iter().map(|run| run.rss_bytes_max).max(),
        });
    }
    for (kind, list) in kinds.iter().zip(&runs).skip(1) {
        let pairs = || runs[0].iter().zip(list);
        line[format!("costs_percent_against_{kind}")] = json!({
            "events_per_s": percent(pairs().map(|(ours, other)| other.events_per_s / ours.events_per_s)),
            "cpu": percent(pairs().map(|(ours, other)| ours.cpu_us / other.cpu_us)),
        });
    }
    println!("{line}");
    print_stages(&runs[0]);
    Ok(())
}

/// One run.
struct Run {
    /// By the clock of this process: from its start to its end, whatever a run calls its beginning.
    events_per_s: f64,
    /// Of the whole process, user and system, per event.
    cpu_us: f64,
    rss_bytes_max: u64,
    /// By name; microseconds per event, summed over threads.
    stages_us: Vec<(String, f64)>,
}

impl Run {
    fn of(summary: &Value, took: Duration, cpu_s: f64) -> Self {
        let per_event = |seconds: f64| seconds * 1e6 / summary["rows_in"].as_f64().unwrap_or(0.0).max(1.0);
        let stages = summary["stages"].as_object().into_iter().flatten();
        let of_stage = |(name, s): (&String, &Value)| (name.clone(), per_event(s.as_f64().unwrap_or(0.0)));
        let mut stages_us: Vec<(String, f64)> = stages.map(of_stage).collect();
        stages_us.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let events_per_s = summary["rows_in"].as_f64().unwrap_or(0.0) / took.as_secs_f64();
        let rss_bytes_max = summary["rss_bytes_max"].as_u64().unwrap_or(0);
        Run { events_per_s, cpu_us: per_event(cpu_s), rss_bytes_max, stages_us }
    }
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

/// The stages of the run in the middle.
fn print_stages(runs: &[Run]) {
    let mut runs: Vec<_> = runs.iter().collect();
    runs.sort_by(|a, b| a.cpu_us.total_cmp(&b.cpu_us));
    println!("microseconds per event, each stage summed over the threads that share the cores:");
    if let Some(run) = runs.get(runs.len() / 2) {
        for (name, us) in &run.stages_us {
            println!("  {us:6.3}  {}", name.trim_end_matches("_s"));
        }
        println!("  {:6.3}  the whole process, CPU", run.cpu_us);
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

/// The median of pairs' ratios, as what it is over one; and the quartiles beside it.
fn percent(ratios: impl Iterator<Item = f64>) -> Value {
    let mut list: Vec<f64> = ratios.map(|ratio| (ratio - 1.0) * 100.0).collect();
    list.sort_by(f64::total_cmp);
    let at = |quarter: usize| list.get(list.len() * quarter / 4).or(list.last());
    json!({"median": at(2), "quartiles": [at(1), at(3)]})
}

fn median(list: impl Iterator<Item = f64>) -> f64 {
    let mut list: Vec<f64> = list.collect();
    list.sort_by(f64::total_cmp);
    list.get(list.len() / 2).copied().unwrap_or(0.0)
}
