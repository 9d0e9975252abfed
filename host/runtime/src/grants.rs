//! What a component may import, and what it must export. Decides by names alone; types are checked when it is linked.

use lakemill_model::TransformError;

use crate::bindings::PACKAGE;
use crate::scan::{Interfaces, ours};

/// What a pipeline file may let a component import, beside its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Grant {
    /// Its configuration.
    Config,
    /// Lines in the host's log.
    Log,
}

impl Grant {
    /// Every one.
    pub const ALL: [Grant; 2] = [Grant::Config, Grant::Log];

    /// Its name, which is that of the interface and that in the pipeline file.
    pub fn name(self) -> &'static str {
        match self {
            Grant::Config => "config",
            Grant::Log => "log",
        }
    }
}

/// Where an import stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Import {
    /// Every component may have it.
    Free,
    /// A pipeline file grants it.
    Granted(Grant),
    /// There is no such thing here.
    Unknown,
}

pub(crate) fn import(name: &str) -> Import {
    match ours(name) {
        Some(("types" | "batches" | "panic", _)) => Import::Free,
        Some((interface, _)) => {
            Grant::ALL.into_iter().find(|grant| grant.name() == interface).map_or(Import::Unknown, Import::Granted)
        }
        None => Import::Unknown,
    }
}

/// Refuses what is not granted or not there, and what does not export a transform.
///
/// # Errors
/// For the person who writes the pipeline file, or the transform.
pub(crate) fn check_interfaces(interfaces: &Interfaces, grants: &[Grant]) -> Result<(), TransformError> {
    let unknown: Vec<&str> =
        interfaces.imports.iter().map(String::as_str).filter(|name| import(name) == Import::Unknown).collect();
    if !unknown.is_empty() {
        return Err(TransformError::Refused(unknown_imports(&unknown)));
    }
    for name in &interfaces.imports {
        if let Import::Granted(grant) = import(name)
            && !grants.contains(&grant)
        {
            let mut wanted: Vec<&str> = grants.iter().map(|grant| grant.name()).collect();
            wanted.push(grant.name());
            return Err(TransformError::Refused(format!(
                "it imports `{name}`, which the pipeline file does not grant: write `grants: [{}]` for this transform",
                wanted.join(", ")
            )));
        }
    }
    if interfaces.exports.iter().any(|name| ours(name).is_some_and(|(interface, _)| interface == "transformer")) {
        return Ok(());
    }
    let found = if interfaces.exports.is_empty() { "nothing".into() } else { list(interfaces.exports.iter()) };
    Err(TransformError::Refused(format!(
        "it does not export `{PACKAGE}/transformer@0.1.0`, so that there is nothing to call; it exports {found}. \
         A Rust transform needs `crate-type = [\"cdylib\", \"rlib\"]` and the `lakemill-guest` crate; anything else is \
         built for the world `{PACKAGE}/transform`"
    )))
}

fn unknown_imports(names: &[&str]) -> String {
    let advice = if names.iter().all(|name| name.starts_with("wasi:") || name.starts_with("wasi_")) {
        "WASI is not available in this version; a Rust transform built for `wasm32-unknown-unknown` needs none"
    } else {
        "available are `types`, `batches` and `panic` of `lakemill:transform@0.1`, and `config` and `log` if granted"
    };
    format!("it imports {}: {advice}", list(names.iter()))
}

/// The first few names.
fn list(names: impl ExactSizeIterator<Item = impl AsRef<str>>) -> String {
    const SHOWN: usize = 5;
    let more = names.len().saturating_sub(SHOWN);
    let mut shown: Vec<String> = names.take(SHOWN).map(|name| format!("`{}`", name.as_ref())).collect();
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests;
