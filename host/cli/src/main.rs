//! The `lakemill` command: reads the arguments, runs one verb, ends with its exit code.

use std::process::ExitCode;

use clap::Parser;
use lakemill_cli::exit::{self, Failure};
use lakemill_cli::{Cli, compiler, logging, memory};

/// Whoever reads our output has seen enough (`lakemill status | head`): that is no fault of ours.
fn end_with_the_reader() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let is_pipe = |text: &str| text.starts_with("failed printing to stdout") && text.contains("Broken pipe");
        if info.payload_as_str().is_some_and(is_pipe) {
            std::process::exit(0);
        }
        tell(info);
    }));
}

fn main() -> ExitCode {
    if let Some(ended) = compiler::child() {
        return ended;
    }
    memory::settle();
    end_with_the_reader();
    // clap's own errors end with 2, the code for invalid input.
    let cli = Cli::parse();
    if let Err(message) = logging::start(cli.log_format) {
        return ExitCode::from(exit::report(false, Err(Failure::invalid(message))));
    }
    ExitCode::from(lakemill_cli::dispatch(cli))
}
