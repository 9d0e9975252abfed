//! `lakemill tap`: live rows of a running pipeline.

use std::io::Write;
use std::path::PathBuf;

use lakemill_admin::client;
use lakemill_pipeline::spec::Home;

use crate::exit::Failure;
use crate::remote::not_running;

/// Shows live rows of a running pipeline, a JSON object a line; of a busy one, some of them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n\
\x20 lakemill tap pipeline.yaml --point decoded --limit 10\n\
\x20 lakemill tap pipeline.yaml --point raw --limit 1000 > events/live.jsonl")]
pub struct Args {
    /// The pipeline file.
    file: PathBuf,
    /// Where: raw (as lines for `lakemill dev --events`), decoded, transformed or dead.
    #[arg(long, default_value = "transformed", value_parser = ["raw", "decoded", "transformed", "dead"])]
    point: String,
    /// Stop after so many rows; Ctrl-C stops, too.
    #[arg(long)]
    limit: Option<u64>,
    /// Print errors as one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Shows them.
pub fn run(args: &Args) -> Result<(), Failure> {
    let home = Home::read(&args.file)?;
    let (mut shown, mut out) = (0, std::io::stdout());
    let take = |line: &[u8]| {
        shown += 1;
        // A reader that is gone has seen enough.
        out.write_all(line).and_then(|()| out.flush()).is_ok() && args.limit.is_none_or(|limit| shown < limit)
    };
    let path = format!("/v1/tap?point={}", args.point);
    match client::follow(&home.folder, &path, take) {
        Ok(true) => Ok(()),
        Ok(false) => Err(not_running(&home)),
        Err(error) => Err(Failure::runtime(format!("tap: {error}"))),
    }
}
