//! `lakemill promote`: lets the components on trial take over.

use std::path::PathBuf;

use crate::exit::Failure;
use crate::remote;

/// Switches a running pipeline to the components that it is trying out (`run --shadow`, `run --canary`).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  lakemill promote pipeline.yaml")]
pub struct Args {
    /// The pipeline file.
    file: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Asks for it.
pub fn run(args: &Args) -> Result<(), Failure> {
    remote::change(&args.file, "/v1/promote", args.json, |answer| {
        format!("promoted; {} runs now", remote::digests(answer))
    })
}
