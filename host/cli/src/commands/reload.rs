//! `lakemill reload`: lets a running pipeline look at its components now.

use std::path::PathBuf;

use crate::exit::Failure;
use crate::remote;

/// Lets a running pipeline take up components that have changed on disk, and their `config`, `grants` and `limits` in the pipeline file.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  lakemill reload pipeline.yaml")]
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
            _ => println!("process {process}: the components and their settings have not changed"),
        }
        let left = remote::listed(&answer.body["left"]);
        if !left.is_empty() {
            println!("process {process}: changed in the pipeline file and taken up at the next start only: {left}");
        }
    }
    Ok(())
}
