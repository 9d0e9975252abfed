//! What a trial made, as JSON, and how that differs from what was expected or made before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_json::ArrayWriter;
use arrow_schema::ArrowError;
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
        let mut write = |batch| with_exact_decimals(batch).and_then(|batch| writer.write(&batch));
        let written = batches.iter().try_for_each(&mut write).and_then(|()| writer.finish());
        written.map_err(|error| Failure::runtime(error.to_string()))?;
        let mut rows: Vec<Value> =
            serde_json::from_slice(&writer.into_inner()).map_err(|e| Failure::runtime(e.to_string()))?;
        name_floats(batches, &mut rows);
        output.insert(name.clone(), rows);
    }
    Ok(output)
}

/// The same rows with decimals as text: as a JSON number, one of many digits would be another.
fn with_exact_decimals(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let text = |array: &ArrayRef| match array.as_primitive_opt::<Decimal128Type>() {
        Some(decimals) => {
            let cell = |row: usize| decimals.is_valid(row).then(|| decimals.value_as_string(row));
            Arc::new((0..decimals.len()).map(cell).collect::<StringArray>()) as ArrayRef
        }
        None => array.clone(),
    };
    let names = batch.schema_ref().fields().iter().map(|field| field.name().clone());
    // Unlike the batch's own, these fields may all be null, which JSON does not care about.
    RecordBatch::try_from_iter_with_nullable(names.zip(batch.columns()).map(|(name, array)| (name, text(array), true)))
}

/// Puts the words of those floats into `rows` that JSON has no number for.
fn name_floats(batches: &[RecordBatch], rows: &mut [Value]) {
    let mut first = 0;
    for batch in batches {
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let Some(floats) = floats(array) else { continue };
            for (row, float) in floats.into_iter().enumerate().filter_map(|(row, float)| Some((row, float?))) {
                let word = match float {
                    f64::INFINITY => "Infinity",
                    f64::NEG_INFINITY => "-Infinity",
                    _ if float.is_nan() => "NaN",
                    _ => continue,
                };
                rows[first + row][field.name()] = word.into();
            }
        }
        first += batch.num_rows();
    }
}

/// The cells of a column of floats.
fn floats(array: &ArrayRef) -> Option<Vec<Option<f64>>> {
    let single =
        array.as_primitive_opt::<Float32Type>().map(|cells| cells.iter().map(|cell| cell.map(f64::from)).collect());
    single.or_else(|| array.as_primitive_opt::<Float64Type>().map(|cells| cells.iter().collect()))
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
