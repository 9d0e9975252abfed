//! `lakemill resume`: lets a parked pipeline go on.

use std::path::PathBuf;

use serde_json::json;

use crate::exit::Failure;
use crate::remote;

/// Resumes a parked pipeline, or ends the wait of one that tries again after a fault.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  lakemill resume pipeline.yaml\n  lakemill resume pipeline.yaml --over-budget")]
pub struct Args {
    /// The pipeline file.
    file: PathBuf,
    /// Let the batch pass that was over the error budget: its dead rows go to the dead letters.
    #[arg(long)]
    over_budget: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Asks for it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let wish = json!({ "over_budget": args.over_budget });
    let answers = remote::ask(&args.file, "POST", "/v1/resume", Some(&wish))?;
    if args.json {
        println!("{}", remote::as_json(&answers));
        return Ok(());
    }
    for answer in &answers {
        let was = if answer.body["was_parked"] == true { "goes on" } else { "was not parked" };
        println!("process {}: {was}", answer.process);
    }
    Ok(())
}
