//! `lakemill validate`: checks a pipeline file and its components, offline.

use std::path::PathBuf;

use lakemill_pipeline::spec::{self, References, SpecFile};
use lakemill_pipeline::{assemble, loader};
use serde_json::json;

use crate::compiler;
use crate::exit::Failure;

/// Checks a pipeline file and its components without touching the network.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n\
\x20 lakemill validate pipeline.yaml\n\
\x20 lakemill validate pipeline.yaml --no-env\n\
\x20 lakemill validate --schema > pipeline.schema.json")]
pub struct Args {
    /// The pipeline file.
    #[arg(required_unless_present = "schema")]
    file: Option<PathBuf>,
    /// Do not look up what `${env:NAME}` and `${file:PATH}` stand for: for a place that does not have them, such as a build server.
    #[arg(long)]
    no_env: bool,
    /// Print the JSON Schema of pipeline files instead.
    #[arg(long)]
    schema: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Checks it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let Some(path) = args.file.as_ref().filter(|_| !args.schema) else {
        println!("{}", spec::json_schema());
        return Ok(());
    };
    let references = if args.no_env { References::Kept } else { References::LookedUp };
    let file = SpecFile::read_with(path, references)?;
    assemble::check_source(&file)?;
    let wiring = loader::check(&file, &compiler::options())?;
    if args.json {
        println!("{}", json!({"ok": true, "pipeline": file.spec.pipeline, "components": wiring}));
        return Ok(());
    }
    println!("{} is valid", path.display());
    for component in &wiring {
        println!("  {} {} (sha256 {})", component.name, component.version, &component.digest[..12]);
        for (output, sink) in &component.outputs {
            println!("    {output} -> {sink}");
        }
    }
    Ok(())
}
