//! `lakemill status`: where a running pipeline is.

use std::path::PathBuf;

use crate::exit::Failure;
use crate::remote;

/// Shows where a running pipeline is.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pipeline file.
    file: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

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
        println!("  lag        {} records", of["lag"]);
        println!("  latency    p50 {} ms, p99 {} ms", of["latency_ms"]["p50"], of["latency_ms"]["p99"]);
        let digests: Vec<&str> = of["digests"].as_array().into_iter().flatten().filter_map(|d| d.as_str()).collect();
        println!("  components {} ({} swaps)", digests.join(", "), of["swaps"]);
    }
    Ok(())
}
