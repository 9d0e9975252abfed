//! Which folder a row belongs to: partition values as Delta writes them, folder names as Hive writes them. Pure.
//!
//! Of values, folder names keep only unreserved ASCII; all other bytes are percent-encoded, so that no reader and no file system sees a
//! `ü`, a space or a slash in one. Readers should take the values from the log; polars 2.1 takes them from the names, so these must
//! decode to the values. The one that does not, the text `__HIVE_DEFAULT_PARTITION__` itself, is refused. Names of columns polars does
//! not decode: they stand as they are.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Decimal128Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef, UInt32Array};
use lakemill_model::DataType;

use crate::app_id::percent_encode;
use crate::column_type::ColumnType;
use crate::fit::Source;

/// What Hive calls the folder of null, and of the empty string.
pub(crate) const NULL_FOLDER: &str = "__HIVE_DEFAULT_PARTITION__";

/// Bytes of a folder's name at most: where file systems end. A shorter name for a longer value would be one that polars, which takes
/// partition values from names, reads as another value.
const FOLDER_BYTES_MAX: usize = 255;

/// Rows that go into one file.
#[derive(Debug)]
pub(crate) struct Part {
    /// Column and value, in the table's order; `None`: null.
    pub(crate) values: Vec<(Arc<str>, Option<String>)>,
    /// Which; `None`: all of the batch.
    pub(crate) rows: Option<UInt32Array>,
}

impl Part {
    /// The folder, relative to where data files are: `day=2026-01-01/region=eu`. Empty without partition columns.
    pub(crate) fn folder(&self) -> String {
        let folder = |(name, value): &(Arc<str>, Option<String>)| folder_of(name, value.as_deref());
        self.values.iter().map(folder).collect::<Vec<_>>().join("/")
    }
}

fn folder_of(column: &str, value: Option<&str>) -> String {
    let column = percent_encode(column, |byte| is_plain(byte) || !byte.is_ascii());
    format!("{column}={}", value.map_or_else(|| NULL_FOLDER.to_owned(), escape))
}

/// Whether all readers find a column by its name in a folder's.
pub(crate) fn makes_folder(column: &str) -> bool {
    column.bytes().all(|byte| is_plain(byte) || !byte.is_ascii())
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}

/// A value as a part of a folder's name.
fn escape(text: &str) -> String {
    match text {
        "." | ".." => text.replace('.', "%2E"),
        _ => percent_encode(text, is_plain),
    }
}

/// The bytes of the folder's name for a value, and how many it may have, if they are more.
pub(crate) fn folder_bytes_over(column: &str, value: &str) -> Option<(usize, usize)> {
    // No byte becomes more than three.
    if (column.len() + value.len()) * 3 < FOLDER_BYTES_MAX {
        return None;
    }
    let bytes = folder_of(column, Some(value)).len();
    (bytes > FOLDER_BYTES_MAX).then_some((bytes, FOLDER_BYTES_MAX))
}

/// Splits rows by their partition values, of which `cells` has a column each; the order of rows stays within each part.
pub(crate) fn split(columns: &[Source], cells: &[ArrayRef], rows: usize) -> Vec<Part> {
    if columns.is_empty() {
        return vec![Part { values: Vec::new(), rows: None }];
    }
    let mut parts: Vec<(Vec<Option<String>>, Vec<u32>)> = Vec::new();
    let mut by_key: HashMap<Vec<u8>, usize> = HashMap::new();
    let (mut key, mut text, mut last) = (Vec::new(), String::new(), None);
    for row in 0..rows {
        key.clear();
        for (source, cells) in columns.iter().zip(cells) {
            text.clear();
            let there = write_value(source.column_type, cells, row, &mut text);
            // A length before each value: "a","b" is not "ab","".
            key.push(u8::from(there));
            key.extend_from_slice(&(text.len() as u64).to_le_bytes());
            key.extend_from_slice(text.as_bytes());
        }
        let part = match last {
            Some((ref before, part)) if *before == key => part,
            _ => {
                let part = match by_key.get(&key) {
                    Some(part) => *part,
                    None => {
                        let values = columns.iter().zip(cells).map(|(source, cells)| {
                            let mut text = String::new();
                            write_value(source.column_type, cells, row, &mut text).then_some(text)
                        });
                        parts.push((values.collect(), Vec::new()));
                        by_key.insert(key.clone(), parts.len() - 1);
                        parts.len() - 1
                    }
                };
                last = Some((key.clone(), part));
                part
            }
        };
        parts[part].1.push(u32::try_from(row).expect("a batch has fewer than 2^32 rows"));
    }
    let named = |(values, rows): (Vec<Option<String>>, Vec<u32>)| Part {
        values: columns.iter().map(|source| source.name.clone()).zip(values).collect(),
        rows: Some(UInt32Array::from(rows)),
    };
    parts.into_iter().map(named).collect()
}

/// Writes a cell as Delta serializes partition values (PROTOCOL.md, "Partition Value Serialization"); false for null. The
/// empty string is null there: the format has no other way to say null.
fn write_value(column_type: ColumnType, cells: &dyn Array, row: usize, out: &mut String) -> bool {
    if cells.is_null(row) {
        return false;
    }
    write_cell(column_type, cells, row, out);
    !out.is_empty()
}

fn write_cell(column_type: ColumnType, cells: &dyn Array, row: usize, out: &mut String) {
    let own = match column_type {
        ColumnType::Own(own) => own,
        ColumnType::Byte => return write_integer(cells.as_primitive::<Int8Type>().value(row).into(), out),
        ColumnType::Short => return write_integer(cells.as_primitive::<Int16Type>().value(row).into(), out),
        ColumnType::TimestampNtz => {
            let us = cells.as_primitive::<TimestampMicrosecondType>().value(row);
            return write_clock(us, 6, ' ', out);
        }
    };
    match own {
        DataType::Boolean => out.push_str(if cells.as_boolean().value(row) { "true" } else { "false" }),
        DataType::Int32 => write_integer(cells.as_primitive::<Int32Type>().value(row).into(), out),
        DataType::Int64 => write_integer(cells.as_primitive::<Int64Type>().value(row), out),
        DataType::Decimal { scale, .. } => {
            write_decimal(cells.as_primitive::<Decimal128Type>().value(row), scale, out);
        }
        DataType::Date => write_date(i64::from(cells.as_primitive::<Date32Type>().value(row)), out),
        DataType::Timestamp => write_timestamp(cells.as_primitive::<TimestampMicrosecondType>().value(row), 6, out),
        DataType::Text | DataType::Json => out.push_str(cells.as_string::<i32>().value(row)),
        DataType::Float32 | DataType::Float64 | DataType::Bytes => {
            unreachable!("`Shape::fit` refuses tables partitioned by these")
        }
    }
}

fn write_integer(value: i64, out: &mut String) {
    write!(out, "{value}").expect("a String takes everything");
}

/// `unscaled` / 10^`scale`, all its digits.
pub(crate) fn write_decimal(unscaled: i128, scale: u8, out: &mut String) {
    if unscaled < 0 {
        out.push('-');
    }
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = usize::from(scale) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    out.push_str(whole);
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
}

/// `days` since 1970-01-01 as `YYYY-MM-DD` in the proleptic Gregorian calendar.
pub(crate) fn write_date(days: i64, out: &mut String) {
    // Years that begin in March, in eras of 400: the leap day is the last of its year.
    let since_march = days + 719_468;
    let (era, day) = (since_march.div_euclid(146_097), since_march.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    write!(out, "{year:04}-{month:02}-{day:02}").expect("a String takes everything");
}

/// Microseconds since 1970 as `YYYY-MM-DDTHH:MM:SS.ffffffZ`, with 3 or 6 `digits` after the point.
pub(crate) fn write_timestamp(us: i64, digits: usize, out: &mut String) {
    write_clock(us, digits, 'T', out);
    out.push('Z');
}

/// The same as a wall clock: no `Z`, and `between` date and time.
pub(crate) fn write_clock(us: i64, digits: usize, between: char, out: &mut String) {
    let (seconds, fraction) = (us.div_euclid(1_000_000), us.rem_euclid(1_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    write_date(days, out);
    let fraction = if digits == 3 { fraction / 1000 } else { fraction };
    write!(out, "{between}{:02}:{:02}:{:02}.{fraction:0digits$}", second / 3600, second / 60 % 60, second % 60)
        .expect("a String takes everything");
}

#[cfg(test)]
mod tests;
