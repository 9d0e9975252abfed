//! What a trial made, as JSON, and how that differs from what was expected or made before.

use std::collections::{BTreeMap, BTreeSet};

use arrow_json::ArrayWriter;
use lakemill_pipeline::tryout::Tryout;
use serde_json::Value;

use crate::exit::Failure;

/// Rows by output.
pub type Rows = BTreeMap<String, Vec<Value>>;

/// The rows of a trial.
///
/// # Errors
/// If a cell cannot be written as JSON.
pub fn rows(trial: &Tryout) -> Result<Rows, Failure> {
    let mut output = BTreeMap::new();
    for (name, batches) in &trial.outputs {
        let mut writer = ArrayWriter::new(Vec::new());
        let written = batches.iter().try_for_each(|batch| writer.write(batch)).and_then(|()| writer.finish());
        written.map_err(|error| Failure::runtime(error.to_string()))?;
        let rows: Vec<Value> =
            serde_json::from_slice(&writer.into_inner()).map_err(|e| Failure::runtime(e.to_string()))?;
        output.insert(name.clone(), rows);
    }
    Ok(output)
}

/// A row that differs.
#[derive(Debug)]
pub struct Change<'a> {
    /// Of which output.
    pub output: &'a str,
    /// Its place there, from 0.
    pub row: usize,
    /// `None`: there was none.
    pub before: Option<&'a Value>,
    /// `None`: there is none.
    pub after: Option<&'a Value>,
}

/// The rows that differ, row by row in the order of each output.
pub fn changes<'a>(before: &'a Rows, after: &'a Rows) -> Vec<Change<'a>> {
    let outputs: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut changes = Vec::new();
    for output in outputs {
        let of = |rows: &'a Rows| rows.get(output).map(Vec::as_slice).unwrap_or_default();
        let (old, new) = (of(before), of(after));
        for row in 0..old.len().max(new.len()) {
            if old.get(row) != new.get(row) {
                changes.push(Change { output, row, before: old.get(row), after: new.get(row) });
            }
        }
    }
    changes
}
