//! Delta's per-file statistics, from what the Parquet writer counted. Bounds only: a minimum is never too large, a maximum
//! never too small, and where that cannot be promised there is none.
//!
//! PROTOCOL.md, "Per-file Statistics": `numRecords`, `minValues`, `maxValues`, `nullCount`, as JSON by column name.

use std::fmt::Write as _;

use lakemill_model::DataType;
use lakemill_model::range::{date, timestamp};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;

use crate::column_type::ColumnType;
use crate::fit::Source;
use crate::partition::{write_clock, write_date, write_decimal, write_timestamp};

/// A text bound longer than this is left out: the writer cuts at 32 bytes where it can round up.
const TEXT_BYTES_MAX: usize = 256;

/// A bound as the file has it.
#[derive(Clone, Debug, PartialEq)]
enum Bound {
    /// Integers, decimals' unscaled values, days, microseconds.
    Int(i128),
    /// Floats; never NaN.
    Float(f64),
    /// Text; UTF-8 orders by its bytes.
    Text(Vec<u8>),
}

/// What all row groups say of a column together.
struct ColumnStats {
    min: Option<Bound>,
    max: Option<Bound>,
    nulls: Option<u64>,
}

/// The statistics of a file as JSON. `columns` are its columns in order; those with `nan` set hold a NaN, which the Parquet writer
/// leaves out of its bounds while Delta's readers may sort it above all numbers.
pub(crate) fn to_json(metadata: &ParquetMetaData, columns: &[Source], nan: &[bool]) -> String {
    let (mut mins, mut maxes, mut nulls) = (String::new(), String::new(), String::new());
    for (n, (column, nan)) in columns.iter().zip(nan).enumerate() {
        if !column.stats {
            continue;
        }
        let stats = column_stats(metadata, n, column.column_type);
        let name = serde_json::Value::from(&*column.name).to_string();
        let put = |list: &mut String, text: &str| {
            let comma = if list.is_empty() { "" } else { "," };
            write!(list, "{comma}{name}:{text}").expect("a String takes everything");
        };
        let bounds = if *nan { (None, None) } else { (stats.min.as_ref(), stats.max.as_ref()) };
        if let Some(text) = bounds.0.and_then(|bound| bound_json(bound, column.column_type, false)) {
            put(&mut mins, &text);
        }
        if let Some(text) = bounds.1.and_then(|bound| bound_json(bound, column.column_type, true)) {
            put(&mut maxes, &text);
        }
        if let Some(count) = stats.nulls {
            put(&mut nulls, &count.to_string());
        }
    }
    let rows = metadata.file_metadata().num_rows();
    format!(r#"{{"numRecords":{rows},"minValues":{{{mins}}},"maxValues":{{{maxes}}},"nullCount":{{{nulls}}}}}"#)
}

fn column_stats(metadata: &ParquetMetaData, column: usize, column_type: ColumnType) -> ColumnStats {
    let groups = || metadata.row_groups().iter().map(|group| (group.num_rows(), group.column(column).statistics()));
    let nulls = groups().map(|(_, stats)| stats?.null_count_opt()).sum::<Option<u64>>();
    // A row group of nulls has no bounds and needs none; where another one has none, nobody knows.
    let of_values = |max: bool| -> Option<Vec<Bound>> {
        let only_nulls = |rows: i64, stats: &Statistics| {
            stats.null_count_opt().is_some_and(|nulls| i64::try_from(nulls) == Ok(rows))
        };
        groups()
            .filter(|(rows, stats)| !stats.is_some_and(|stats| only_nulls(*rows, stats)))
            .map(|(_, stats)| bound(stats?, column_type, max))
            .collect()
    };
    let min = of_values(false).and_then(|bounds| bounds.into_iter().reduce(|a, b| if b.below(&a) { b } else { a }));
    let max = of_values(true).and_then(|bounds| bounds.into_iter().reduce(|a, b| if a.below(&b) { b } else { a }));
    ColumnStats { min, max, nulls }
}

impl Bound {
    fn below(&self, other: &Bound) -> bool {
        match (self, other) {
            (Bound::Int(a), Bound::Int(b)) => a < b,
            (Bound::Float(a), Bound::Float(b)) => a < b,
            (Bound::Text(a), Bound::Text(b)) => a < b,
            _ => false,
        }
    }
}

fn bound(stats: &Statistics, column_type: ColumnType, max: bool) -> Option<Bound> {
    fn pick<'a, T>(min: Option<&'a T>, max_value: Option<&'a T>, max: bool) -> Option<&'a T> {
        if max { max_value } else { min }
    }
    Some(match stats {
        Statistics::Int32(s) => Bound::Int(i128::from(*pick(s.min_opt(), s.max_opt(), max)?)),
        Statistics::Int64(s) => Bound::Int(i128::from(*pick(s.min_opt(), s.max_opt(), max)?)),
        Statistics::Float(s) => Bound::Float(f64::from(*pick(s.min_opt(), s.max_opt(), max)?)),
        Statistics::Double(s) => Bound::Float(*pick(s.min_opt(), s.max_opt(), max)?),
        Statistics::ByteArray(s) if matches!(column_type, ColumnType::Own(DataType::Text | DataType::Json)) => {
            Bound::Text(pick(s.min_opt(), s.max_opt(), max)?.data().to_vec())
        }
        Statistics::FixedLenByteArray(s) if matches!(column_type, ColumnType::Own(DataType::Decimal { .. })) => {
            // Big-endian two's complement, as long as the precision needs.
            let bytes = pick(s.min_opt(), s.max_opt(), max)?.data();
            let negative = bytes.first()? & 0x80 != 0;
            let mut wide = [if negative { 0xFF } else { 0 }; 16];
            wide[16usize.checked_sub(bytes.len())?..].copy_from_slice(bytes);
            Bound::Int(i128::from_be_bytes(wide))
        }
        _ => return None,
    })
}

fn bound_json(bound: &Bound, column_type: ColumnType, max: bool) -> Option<String> {
    let mut out = String::new();
    let own = match (column_type, bound) {
        (ColumnType::Byte | ColumnType::Short, Bound::Int(value)) => return Some(value.to_string()),
        (ColumnType::TimestampNtz, Bound::Int(us)) => {
            out.push('"');
            write_clock(milliseconds(*us, max)?, 3, 'T', &mut out);
            out.push('"');
            return Some(out);
        }
        (ColumnType::Own(own), _) => own,
        _ => return None,
    };
    match (own, bound) {
        (DataType::Int32 | DataType::Int64, Bound::Int(value)) => write!(out, "{value}").ok()?,
        (DataType::Decimal { scale, .. }, Bound::Int(value)) => write_decimal(*value, scale, &mut out),
        (DataType::Date, Bound::Int(days)) => {
            out.push('"');
            write_date(date(i64::try_from(*days).ok()?).ok()?.into(), &mut out);
            out.push('"');
        }
        (DataType::Timestamp, Bound::Int(us)) => {
            out.push('"');
            write_timestamp(milliseconds(*us, max)?, 3, &mut out);
            out.push('"');
        }
        (DataType::Float32, Bound::Float(value)) if value.is_finite() => {
            #[expect(clippy::cast_possible_truncation, reason = "it came from an f32")]
            let value = *value as f32;
            write!(out, "{value:?}").ok()?;
        }
        (DataType::Float64, Bound::Float(value)) if value.is_finite() => write!(out, "{value:?}").ok()?,
        (DataType::Text | DataType::Json, Bound::Text(bytes)) if bytes.len() <= TEXT_BYTES_MAX => {
            out = serde_json::Value::from(std::str::from_utf8(bytes).ok()?).to_string();
        }
        _ => return None,
    }
    Some(out)
}

/// A bound in microseconds as the start of whole milliseconds, which all readers take: a maximum is rounded up. None where that is in a
/// year of five digits.
fn milliseconds(us: i128, max: bool) -> Option<i64> {
    timestamp(if max { us + 999 } else { us }).ok()
}

#[cfg(test)]
mod tests;
