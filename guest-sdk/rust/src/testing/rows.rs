//! From an answer to rows as JSON: what the host's projection does, with its checks of the answer.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::input::{Rows, cell_json};
use crate::{Answer, BatchSource, Column, DataType, Description, Emission, Field, Image, OutputColumn, OutputSpec};

/// Rows by output. The error is for the author: how the answer breaks the contract.
pub(super) fn rows(
    description: &Description,
    input: &Rows,
    answer: &Answer,
) -> Result<BTreeMap<String, Vec<Value>>, String> {
    let mut outputs: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for emission in &answer.emissions {
        let spec = description
            .outputs
            .get(emission.output as usize)
            .ok_or_else(|| format!("an emission is for output {}, which is not declared", emission.output))?;
        check(spec, input, answer, emission).map_err(|wrong| format!("output `{}`: {wrong}", spec.name))?;
        let columns = columns(spec, input, emission)?;
        for (at, &row) in emission.rows.iter().enumerate() {
            let op = emission.ops.as_ref().map_or(input.op(row as usize), |ops| ops[at]);
            let mut object = Map::new();
            for OutputCells { name, column, scale, made } in &columns {
                let at = if *made { at } else { row as usize };
                if let Some(value) = cell_json(column, *scale, at) {
                    object.insert(name.clone(), value);
                }
            }
            object.insert("_op".into(), op.letter().into());
            outputs.entry(spec.name.clone()).or_default().push(Value::Object(object));
        }
    }
    Ok(outputs)
}

fn check(spec: &OutputSpec, input: &Rows, answer: &Answer, emission: &Emission) -> Result<(), String> {
    let count = emission.rows.len();
    if let Some(row) = emission.rows.iter().find(|row| **row as usize >= input.len()) {
        return Err(format!("row {row} is emitted, the batch has {}", input.len()));
    }
    let rejected = |row: &&u32| answer.rejections.iter().any(|rejection| rejection.row == **row);
    if let Some(row) = emission.rows.iter().find(rejected) {
        return Err(format!("row {row} is emitted and rejected"));
    }
    if let Some(ops) = emission.ops.as_ref().filter(|ops| ops.len() != count) {
        return Err(format!("{} ops for {count} rows", ops.len()));
    }
    let made: Vec<&Field> = spec.columns.iter().filter_map(made).collect();
    if made.len() != emission.columns.len() {
        return Err(format!(
            "{} made columns are declared, the emission brings {}",
            made.len(),
            emission.columns.len()
        ));
    }
    for (field, column) in made.into_iter().zip(&emission.columns) {
        if !column.values.fits(field.data_type) {
            return Err(format!("column `{}` is declared {}, found another type", field.name, field.data_type));
        }
        let cells = column.values.len();
        let is_bits = field.data_type == DataType::Boolean;
        if cells != if is_bits { count.next_multiple_of(8) } else { count } {
            return Err(format!("column `{}` has {cells} cells for {count} rows", field.name));
        }
        let gap = (0..count).find(|row| !field.nullable && cell_json(column, 0, *row).is_none());
        if let Some(row) = gap {
            return Err(format!("column `{}` may not be null, its cell {row} is", field.name));
        }
    }
    Ok(())
}

fn made(column: &OutputColumn) -> Option<&Field> {
    match column {
        OutputColumn::Made(field) => Some(field),
        OutputColumn::Copied { .. } | OutputColumn::CopiedAll { .. } => None,
    }
}

struct OutputCells {
    name: String,
    column: Column<'static>,
    scale: u8,
    /// By output row; otherwise by input row.
    made: bool,
}

fn columns(spec: &OutputSpec, input: &Rows, emission: &Emission) -> Result<Vec<OutputCells>, String> {
    let mut made = emission.columns.iter();
    let mut all = Vec::new();
    let copied = |image: Image, column: &str, name: String| {
        let of_column = input.schema(image).into_iter().find(|field| field.name == column);
        let scale = match of_column.map(|field| field.data_type) {
            Some(DataType::Decimal { scale, .. }) => scale,
            _ => 0,
        };
        let cells = input
            .cells(image, column)
            .ok_or_else(|| format!("output `{}` copies {image}.{column}, which the records do not have", spec.name))?;
        Ok::<_, String>(OutputCells { name, column: cells, scale, made: false })
    };
    for column in &spec.columns {
        match column {
            OutputColumn::Made(field) => {
                let scale = if let DataType::Decimal { scale, .. } = field.data_type { scale } else { 0 };
                let column = made.next().cloned().ok_or("a made column is missing")?;
                all.push(OutputCells { name: field.name.clone(), column, scale, made: true });
            }
            OutputColumn::Copied { image, column, name } => all.push(copied(*image, column, name.clone())?),
            OutputColumn::CopiedAll { image, prefix, except } => {
                let fields = input.schema(*image).into_iter().filter(|field| !except.contains(&field.name));
                for field in fields {
                    all.push(copied(*image, &field.name, format!("{prefix}{}", field.name))?);
                }
            }
        }
    }
    Ok(all)
}
