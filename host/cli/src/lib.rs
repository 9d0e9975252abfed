//! The `lakemill` command: a file a verb under [`commands`].

pub mod commands;
pub mod compiler;
pub mod demo;
pub mod edit;
pub mod exit;
pub mod logging;
pub mod memory;
pub mod orders;
pub mod remote;
pub mod rows;
pub mod settings;
pub mod show;
pub mod watch;

use clap::{Parser, Subcommand};

/// Your code, any language, safely next to the stream.
///
/// Runs change-data transforms, sandboxed as WebAssembly components, between Kafka and the lakehouse.
///
/// Exit codes: 0 ok, 1 it went wrong while running, 2 invalid input, 3 something is not reachable.
#[derive(Debug, Parser)]
#[command(name = "lakemill", version, max_term_width = 110)]
pub struct Cli {
    /// How log lines look on standard error; LAKEMILL_LOG sets the level (info).
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub log_format: logging::Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(commands::run::Args),
    Status(commands::status::Args),
    Tap(commands::tap::Args),
    Resume(commands::resume::Args),
    Reload(commands::reload::Args),
    Promote(commands::promote::Args),
    Rollback(commands::rollback::Args),
    Validate(commands::validate::Args),
    New(commands::new::Args),
    Build(commands::build::Args),
    Test(commands::test::Args),
    Dev(commands::dev::Args),
    Inspect(commands::inspect::Args),
    Blame(commands::blame::Args),
    Doctor(commands::doctor::Args),
    Demo(commands::demo::Args),
}

/// Runs the verb; returns the exit code.
pub fn dispatch(cli: Cli) -> u8 {
    match cli.command {
        Command::Run(args) => exit::report(args.json, commands::run::run(&args)),
        Command::Status(args) => exit::report(args.json, commands::status::run(&args)),
        Command::Tap(args) => exit::report(args.json, commands::tap::run(&args)),
        Command::Resume(args) => exit::report(args.json, commands::resume::run(&args)),
        Command::Reload(args) => exit::report(args.json, commands::reload::run(&args)),
        Command::Promote(args) => exit::report(args.json, commands::promote::run(&args)),
        Command::Rollback(args) => exit::report(args.json, commands::rollback::run(&args)),
        Command::Validate(args) => exit::report(args.json, commands::validate::run(&args)),
        Command::New(args) => exit::report(args.json, commands::new::run(&args)),
        Command::Build(args) => exit::report(args.json, commands::build::run(&args)),
        Command::Test(args) => exit::report(args.json, commands::test::run(&args)),
        Command::Dev(args) => exit::report(args.json, commands::dev::run(&args)),
        Command::Inspect(args) => exit::report(args.json, commands::inspect::run(&args)),
        Command::Blame(args) => exit::report(args.json, commands::blame::run(&args)),
        Command::Doctor(args) => exit::report(args.json, commands::doctor::run(&args)),
        Command::Demo(args) => exit::report(args.json, commands::demo::run(&args)),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// The words of a line as a shell has them: single quotes, and what is redirected left out.
    fn words(line: &str) -> Vec<String> {
        let line = line.split(" > ").next().unwrap_or_default();
        let parts = line.split('\'').enumerate();
        parts
            .flat_map(|(n, part)| match n % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect(),
                _ => vec![part.to_owned()],
            })
            .collect()
    }

    #[test]
    fn every_command_has_examples_that_it_understands() {
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<&str> = help.lines().filter(|line| line.trim().starts_with("lakemill ")).collect();
            assert!(help.starts_with("Examples:") && !examples.is_empty(), "{name}: {help}");
            for example in examples {
                let words = words(example);
                assert_eq!(words[1], name, "{example}");
                Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{example}: {error}"));
            }
        }
    }
}
