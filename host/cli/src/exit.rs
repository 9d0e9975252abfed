//! How a command ends: what it says, and its exit code.

use lakemill_model::TransformError;
use lakemill_pipeline::{PipelineError, Summary, spec::SpecError};
use serde_json::json;

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    /// 1 went wrong while running, 2 invalid input, 3 something is not reachable.
    pub code: u8,
    /// For the person at the terminal.
    pub message: String,
    /// What was done before, for `--json`.
    pub summary: Option<Box<Summary>>,
}

impl Failure {
    /// The user's input is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into(), summary: None }
    }

    /// It went wrong while running.
    pub fn runtime(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into(), summary: None }
    }

    /// Something outside is not there.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self { code: 3, message: message.into(), summary: None }
    }
}

impl From<PipelineError> for Failure {
    fn from(error: PipelineError) -> Self {
        Self { code: error.exit_code(), message: error.to_string(), summary: None }
    }
}

impl From<SpecError> for Failure {
    fn from(error: SpecError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<TransformError> for Failure {
    fn from(error: TransformError) -> Self {
        Self::invalid(error.to_string())
    }
}

/// Prints how a command ended, on standard error or as JSON on standard output; returns the exit code.
pub fn report(as_json: bool, result: Result<(), Failure>) -> u8 {
    let Err(failure) = result else { return 0 };
    if as_json {
        let mut object = match &failure.summary {
            Some(summary) => serde_json::to_value(summary).expect("a summary is plain data"),
            None => json!({}),
        };
        object["ok"] = json!(false);
        object["error"] = json!(failure.message);
        object["exit_code"] = json!(failure.code);
        println!("{object}");
    } else {
        eprintln!("error: {}", failure.message);
    }
    failure.code
}
