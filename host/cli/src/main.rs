//! The `lakemill` command: reads the arguments, runs one verb, ends with its exit code.

use std::process::ExitCode;

use clap::Parser;
use lakemill_cli::{Cli, compiler, logging, memory};

fn main() -> ExitCode {
    if let Some(ended) = compiler::child() {
        return ended;
    }
    memory::settle();
    // clap's own errors end with 2, the code for invalid input.
    let cli = Cli::parse();
    logging::start(cli.log_format);
    ExitCode::from(lakemill_cli::dispatch(cli))
}
