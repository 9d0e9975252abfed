//! What a file is, for a person who looks at it: nothing is granted for good, nothing kept.

use std::path::PathBuf;

use lakemill_model::{Description, Secrets, TransformError};

use crate::artifact::{Kind, Prepared};
use crate::component::described;
use crate::engine::{Engine, EngineOptions};
use crate::grants::{Grant, Import, check_interfaces, import};
use crate::limits::Limits;

/// What there is to say about a component.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// What the file is.
    pub kind: Kind,
    /// Its size.
    pub bytes: usize,
    /// Its SHA-256, 64 lower-case hex digits.
    pub digest: String,
    /// The interfaces that it imports, by whole names.
    pub imports: Vec<String>,
    /// Those of them that a pipeline file must grant.
    pub grants: Vec<Grant>,
    /// Those of them that this host does not have: it cannot be loaded.
    pub unknown_imports: Vec<String>,
    /// The interfaces that it exports, by whole names.
    pub exports: Vec<String>,
    /// The time that the compiler took, in milliseconds; 0 if it did not come to that (see `refusal`).
    pub compile_ms: u64,
    /// What it says of itself under the configuration.
    pub description: Option<Description>,
    /// Why there is no description.
    pub refusal: Option<String>,
}

/// Looks into a file; `config_json` is that of [`crate::LoadOptions`], `compiler` is that of [`EngineOptions`]. Starts an engine of its own: for commands that do nothing else.
///
/// # Errors
/// If the file is nothing that could be run, or is out of bounds.
pub fn inspect(
    bytes: &[u8],
    config_json: &str,
    secrets: Secrets,
    compiler: Option<PathBuf>,
) -> Result<Inspection, TransformError> {
    let limits = Limits { component_bytes_max: usize::MAX, memory_bytes_max: 256 << 20, ..Limits::default() };
    let options =
        EngineOptions { calls_max: 1, memory_bytes_max: limits.memory_bytes_max, compiler, ..EngineOptions::default() };
    let engine = Engine::new(options).map_err(|wrong| TransformError::Refused(wrong.to_string()))?;
    let prepared = Prepared::new(bytes)?;
    let mut compile_ms = 0;
    let seen = check_interfaces(&prepared.interfaces, &Grant::ALL)
        .and_then(|()| engine.code(&prepared, None))
        .and_then(|(component, took)| {
            compile_ms = took.map_or(0, |took| took.as_millis() as u64);
            engine.caller(&component, "inspect".into(), config_json.into(), secrets, &Grant::ALL, limits)
        })
        .and_then(|caller| described(&caller));
    let (description, refusal) = match seen {
        Ok(description) => (Some(description), None),
        Err(why) => (None, Some(why.to_string())),
    };
    let imports = prepared.interfaces.imports;
    let wants = |grant: &Grant| imports.iter().any(|name| import(name) == Import::Granted(*grant));
    Ok(Inspection {
        kind: prepared.kind,
        bytes: bytes.len(),
        digest: prepared.digest,
        grants: Grant::ALL.into_iter().filter(wants).collect(),
        unknown_imports: imports.iter().filter(|name| import(name) == Import::Unknown).cloned().collect(),
        imports,
        exports: prepared.interfaces.exports,
        compile_ms,
        description,
        refusal,
    })
}
