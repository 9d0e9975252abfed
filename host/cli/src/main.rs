//! The `lakemill` command: reads the arguments, runs one verb, ends with its exit code.

use std::process::ExitCode;

use clap::Parser;
use lakemill_cli::exit::{self, Failure};
use lakemill_cli::{Cli, compiler, logging, memory};

fn main() -> ExitCode {
    if let Some(ended) = compiler::child() {
        return ended;
    }
    memory::settle();
    // clap's own errors end with 2, the code for invalid input.
    let cli = Cli::parse();
    if let Err(message) = logging::start(cli.log_format) {
        return ExitCode::from(exit::report(false, Err(Failure::invalid(message))));
    }
    ExitCode::from(lakemill_cli::dispatch(cli))
}
