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

/// The variable that says what is logged.
const VARIABLE: &str = "LAKEMILL_LOG";

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Starts logging; once per process.
///
/// # Errors
/// If the variable holds what is no level.
pub fn start(format: Format) -> Result<(), String> {
    let asked = match std::env::var(VARIABLE) {
        Ok(text) => text,
        Err(std::env::VarError::NotPresent) => String::new(),
        Err(std::env::VarError::NotUnicode(_)) => return Err(refused("what is not UTF-8")),
    };
    let filter = EnvFilter::try_new(directives(&asked)?).map_err(|_| refused(&format!("`{asked}`")))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        Format::Text => builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).init(),
        Format::Json => builder.json().init(),
    }
    Ok(())
}

/// What is logged: of ours down to the level asked for, of the libraries only what is wrong, unless one is asked for by its name. A
/// directive covers every target that begins with it.
///
/// # Errors
/// If a word of `asked` is neither a level nor a target with one.
fn directives(asked: &str) -> Result<String, String> {
    let (mut level, mut targets) = ("info".to_owned(), String::new());
    for word in asked.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let (target, word_level) = match word.split_once('=') {
            Some((target, level)) => (Some(target.trim()), level.trim().to_ascii_lowercase()),
            None => (None, word.to_ascii_lowercase()),
        };
        if !LEVELS.contains(&word_level.as_str()) {
            return Err(refused(&format!("`{word}`")));
        }
        match target {
            Some(target)
                if target.is_empty() || target.contains(|c: char| !(c.is_alphanumeric() || "_-:".contains(c))) =>
            {
                return Err(refused(&format!("`{word}`")));
            }
            Some(target) => targets += &format!(",{target}={word_level}"),
            None => level = word_level,
        }
    }
    let others = if level == "off" || level == "error" { &level } else { "warn" };
    Ok(format!("{others},lakemill={level}{targets}"))
}

fn refused(what: &str) -> String {
    format!(
        "the environment variable {VARIABLE} has {what}: it takes one of {}, and TARGET=LEVEL for single targets, such as \
         info,lakemill_ingest=debug,wasmtime=info",
        LEVELS.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_of_what_is_ours() {
        for (asked, expected) in [
            ("", "warn,lakemill=info"),
            ("info", "warn,lakemill=info"),
            ("DEBUG", "warn,lakemill=debug"),
            ("error", "error,lakemill=error"),
            ("off", "off,lakemill=off"),
            ("wasmtime=debug", "warn,lakemill=info,wasmtime=debug"),
            ("debug, delta_kernel = info", "warn,lakemill=debug,delta_kernel=info"),
        ] {
            assert_eq!(directives(asked).as_deref(), Ok(expected), "{asked}");
        }
    }

    #[test]
    fn what_is_no_level_is_refused_with_what_is() {
        for asked in ["bogus", "info,bogus", "lakemill=loud", "=info", "a b=info", "a[x]=info", "1"] {
            let message = directives(asked).expect_err(asked);
            assert!(message.contains("off, error, warn, info, debug, trace"), "{asked}: {message}");
        }
        // The example of the message is one.
        let example = refused("").split("such as ").nth(1).map(str::to_owned).expect("has an example");
        assert!(directives(&example).is_ok(), "{example}");
    }
}
