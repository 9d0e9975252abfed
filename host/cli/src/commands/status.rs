//! `lakemill status`: where a running pipeline is.

use std::path::PathBuf;

use serde_json::Value;

use crate::exit::Failure;
use crate::{remote, show};

/// Shows where a running pipeline is.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  lakemill status pipeline.yaml\n  lakemill status pipeline.yaml --json")]
pub struct Args {
    /// The pipeline file.
    file: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Differences that are shown; `--json` has more.
const SAMPLES_SHOWN: usize = 5;

/// Shows it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let answers = remote::ask(&args.file, "GET", "/v1/status", None)?;
    if args.json {
        println!("{}", remote::as_json(&answers));
        return Ok(());
    }
    for answer in &answers {
        let of = &answer.body;
        let state = match (of["parked"].as_bool(), of["circuit"].as_str()) {
            (Some(true), _) => "parked",
            (_, Some("closed")) => "running",
            _ => "waiting after a fault",
        };
        println!("process {} of {}: {state}", answer.process, of["pipeline"].as_str().unwrap_or_default());
        if let Some(trouble) = of["trouble"].as_str() {
            println!("  trouble    {trouble}");
        }
        println!(
            "  rows       {} in = {} out + {} filtered + {} late + {} dead",
            of["rows_in"], of["rows_out"], of["rows_filtered"], of["rows_late"], of["rows_dead"]
        );
        print_dead(of);
        for column in of["out_of_range"].as_array().into_iter().flatten() {
            let text = |key: &str| column[key].as_str().unwrap_or_default();
            println!("  range      {} values of {}.{} were out of range", column["values"], text("of"), text("column"));
        }
        let kinds: Vec<_> = of["control"].as_object().into_iter().flatten().collect();
        let kinds: Vec<_> = kinds.iter().map(|(kind, count)| (kind.as_str(), count.as_u64().unwrap_or(0))).collect();
        println!(
            "  records    {} read = {} in + {} control ({})",
            of["records_read"],
            of["rows_in"],
            of["records_control"],
            show::kinds(&kinds)
        );
        println!("  lag        {} records", of["lag"]);
        println!("  latency    p50 {} ms, p99 {} ms", of["latency_ms"]["p50"], of["latency_ms"]["p99"]);
        println!("  components {} ({} swaps, {} rollbacks)", remote::digests(of), of["swaps"], of["rollbacks"]);
        if let Some(refusal) = of["refusal"].as_str() {
            println!("  refused    the components on disk are not used: {refusal}");
        }
        if let Some(next) = of["next_start"].as_str() {
            println!("  next start {next}");
        }
        if of["trial"].is_object() {
            print_trial(&of["trial"]);
        }
    }
    Ok(())
}

/// Reasons that are shown; `--json` has more.
const REASONS_SHOWN: usize = 5;

/// Why rows are dead, and event times that are ahead of the clock.
fn print_dead(of: &Value) {
    for reason in of["dead_reasons"].as_array().into_iter().flatten().take(REASONS_SHOWN) {
        println!(
            "  dead       {} in {}: {}",
            reason["rows"],
            reason["stage"].as_str().unwrap_or_default(),
            reason["reason"].as_str().unwrap_or_default()
        );
    }
    if of["rows_dead"].as_u64() > Some(0) {
        println!("             they are in {}", of["dead_letters"].as_str().unwrap_or_default());
    }
    if of["event_times_ahead"].as_u64() > Some(0) {
        println!("  clock      {} event times are ahead and moved no watermark", of["event_times_ahead"]);
    }
}

/// A shadow run or a canary.
fn print_trial(of: &Value) {
    let percent = of["percent"].as_u64().map(|percent| format!(" {percent}%")).unwrap_or_default();
    println!("  trial      {}{percent} of {}", of["mode"].as_str().unwrap_or_default(), remote::digests(of));
    for (side, settings) in [("old", "old_settings"), ("new", "settings")] {
        println!("    {side}      settings {}", remote::listed(&of[settings]));
    }
    let changed = remote::listed(&of["settings_changed"]);
    if !changed.is_empty() {
        println!("    settings {changed} differ");
    }
    if let Some(outcome) = of["outcome"].as_str() {
        println!("    outcome  {outcome}");
    }
    for side in ["old", "new"] {
        let side_of = &of[side];
        let us = side_of["call_us"].as_f64().unwrap_or(0.0) / side_of["rows"].as_f64().unwrap_or(0.0).max(1.0);
        let mib = side_of["memory_bytes_max"].as_u64().unwrap_or(0) >> 20;
        println!(
            "    {side}      {} rows, {} dead, {} traps, {us:.3} us a row, {mib} MiB",
            side_of["rows"], side_of["dead"], side_of["traps"]
        );
    }
    if of["mode"] == "shadow" {
        println!(
            "    rows     {} compared: {} added, {} missing, {} changed; {} skipped",
            of["rows_compared"], of["rows_added"], of["rows_missing"], of["rows_changed"], of["rows_skipped"]
        );
        for (column, count) in of["columns_changed"].as_object().into_iter().flatten() {
            println!("    column   {column}: {count} changed");
        }
        for sample in of["samples"].as_array().into_iter().flatten().take(SAMPLES_SHOWN) {
            println!(
                "    {:<8} {} partition {} offset {}",
                sample["kind"].as_str().unwrap_or_default(),
                sample["output"].as_str().unwrap_or_default(),
                sample["partition"],
                sample["offset"]
            );
            for (column, cells) in sample["columns"].as_object().into_iter().flatten() {
                println!("               {column}: {} -> {}", cells[0], cells[1]);
            }
        }
    }
}
