//! Structured log lines on standard error.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Ours in full; of the libraries only what is wrong. A directive covers every target that begins with it.
const DEFAULT_FILTER: &str = "warn,lakemill=info";

/// Starts logging; once per process.
pub fn start(format: Format) {
    let filter = EnvFilter::try_from_env("LAKEMILL_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        Format::Text => builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).init(),
        Format::Json => builder.json().init(),
    }
}
