//! `lakemill rollback`: drops the components on trial, or brings those back that ran before.

use std::path::PathBuf;

use crate::exit::Failure;
use crate::remote;

/// Drops the components that a running pipeline is trying out, or returns to those before its last change.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  lakemill rollback pipeline.yaml")]
pub struct Args {
    /// The pipeline file.
    file: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Asks for it.
pub fn run(args: &Args) -> Result<(), Failure> {
    remote::change(&args.file, "/v1/rollback", args.json, |answer| {
        let (gone, running) = (remote::digests(answer), remote::listed(&answer["running"]));
        let what = if answer["was_on_trial"] == true { "the trial has ended" } else { "rolled back" };
        if gone == running {
            return format!("{what}: the settings before are in use again; {running} runs on");
        }
        format!("{what}: {running} runs now, and {gone} is not used again until its file changes")
    })
}
