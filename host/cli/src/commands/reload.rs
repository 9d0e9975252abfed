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
        let (process, digests) = (answer.process, remote::digests(&answer.body));
        match (answer.body["swapped"] == true, answer.body["on_trial"] == true) {
            (true, _) => println!("process {process}: {digests} took over"),
            (_, true) => println!("process {process}: {digests} are on trial"),
            _ => println!("process {process}: nothing has changed"),
        }
    }
    Ok(())
}
