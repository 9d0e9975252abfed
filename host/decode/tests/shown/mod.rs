//! Decoded cells as text, so that a test can say what it expects.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef};
use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta};
use lakemill_decode::Decoded;
use lakemill_model::{DataType, RowSource};

/// Why records are dead, in order.
pub fn dead(decoded: &Decoded) -> Vec<String> {
    decoded.dead.iter().map(|dead| dead.reason.to_string()).collect()
}

/// The columns of the one row schema, with their types.
pub fn types(decoded: &Decoded) -> Vec<String> {
    assert_eq!(decoded.batches.len(), 1, "{decoded:?}");
    decoded.batches[0].schema.row.iter().map(|field| format!("{} {}", field.name, field.data_type)).collect()
}

/// The cells of a column of all rows, of `after` or, for a delete, of `before`: type and value, `null`, `unchanged`.
pub fn shown(decoded: &Decoded, column: &str) -> Vec<String> {
    let mut shown = Vec::new();
    for batch in &decoded.batches {
        let place = batch.schema.row_index(column).unwrap_or_else(|| panic!("no column {column}: {decoded:?}"));
        let of = batch.schema.row[place].data_type;
        let source = RowSource::of_rows(batch, 0..batch.len());
        let image = match &source {
            RowSource::Before => &batch.before,
            RowSource::After => &batch.after,
            RowSource::Mixed(_) => panic!("rows of one image, please"),
        };
        let cells = image.columns[place].as_ref().expect("is read");
        shown.extend((0..batch.len()).map(|row| match &cells.unchanged {
            Some(bits) if bits.value(row) => "unchanged".into(),
            _ if cells.array.is_null(row) => "null".into(),
            _ => format!("{of} {}", value(of, &cells.array, row)),
        }));
    }
    shown
}

fn value(of: DataType, array: &ArrayRef, row: usize) -> String {
    match of {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float32 => array.as_primitive::<Float32Type>().value(row).to_string(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).to_string(),
        DataType::Decimal { .. } => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Date => {
            let days = array.as_primitive::<Date32Type>().value(row);
            (NaiveDate::default() + TimeDelta::days(days.into())).to_string()
        }
        DataType::Timestamp => {
            let us = array.as_primitive::<TimestampMicrosecondType>().value(row);
            let time = DateTime::from_timestamp_micros(us).expect("is in range");
            time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
        }
        DataType::Text | DataType::Json => array.as_string::<i32>().value(row).to_owned(),
        DataType::Bytes => format!("{:?}", array.as_binary::<i32>().value(row)),
    }
}
