//! `lakemill reload`: lets a running pipeline look at its components now.

use std::path::PathBuf;

use crate::exit::Failure;
use crate::remote;

/// Lets components that have changed on disk take over in a running pipeline.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pipeline file.
    file: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Asks for it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let answers = remote::ask(&args.file, "POST", "/v1/reload", None)?;
    if args.json {
        println!("{}", remote::as_json(&answers));
        return Ok(());
    }
    for answer in &answers {
        let digests: Vec<&str> =
            answer.body["digests"].as_array().into_iter().flatten().filter_map(|digest| digest.as_str()).collect();
        match digests[..] {
            [] => println!("process {}: nothing has changed", answer.process),
            _ => println!("process {}: {} took over", answer.process, digests.join(", ")),
        }
    }
    Ok(())
}
