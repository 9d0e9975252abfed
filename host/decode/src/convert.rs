//! From one JSON value to one cell: what each conversion takes, exactly, and what it refuses. By kind of value: `numbers`, `decimals`,
//! `times`, `binary`, `json`, and `placeholder` for cells that the source left out.

mod binary;
mod decimals;
mod json;
mod numbers;
mod placeholder;
mod times;

use std::sync::Arc;

use lakemill_model::{DataType, OutOfRange};

pub(crate) use binary::Encoding;
pub(crate) use decimals::DecimalForm;
pub(crate) use json::Shape;
pub(crate) use numbers::{is_exact, is_whole, named, whole};
pub(crate) use placeholder::{DEFAULT as PLACEHOLDER, Placeholder};
pub(crate) use times::{DateForm, TimestampForm, UNITS, YEARS_BELIEVED};

use crate::column::Builder;
use crate::scan::{Broken, Cursor, Kind};

/// How the JSON of a column becomes its cells.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Conversion {
    /// The type's plain JSON form.
    Plain,
    /// A float64 that was inferred: what it holds exactly.
    Exact,
    /// Bytes as text.
    Binary(Encoding),
    /// A decimal that the column's type holds.
    Decimal(DecimalForm),
    /// A decimal that no type holds, with its scale, as text.
    WideDecimal(i32),
    /// `{"scale": n, "value": base64}`: Debezium's VariableScaleDecimal, as text.
    VariableScale,
    /// A date; as text if the column is text.
    Date(DateForm),
    /// A timestamp; as text if the column is text.
    Timestamp(TimestampForm),
    /// A whole number of this many nanoseconds, as int64 microseconds.
    TimeOf(i64),
    /// An array, a map or a struct with parts that have types, as JSON.
    Nested(Arc<Shape>),
}

impl Conversion {
    /// What values of a type are if nobody has said in which form they are: in any that cannot be taken for another one.
    pub fn of(data_type: DataType) -> Self {
        match data_type {
            DataType::Date => Conversion::Date(DateForm::Either(YEARS_BELIEVED)),
            DataType::Timestamp => Conversion::Timestamp(TimestampForm::Either),
            DataType::Decimal { .. } => Conversion::Decimal(DecimalForm::Either),
            DataType::Bytes => Conversion::Binary(Encoding::Base64),
            _ => Conversion::Plain,
        }
    }
}

/// What holds for all values of a pipeline.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    /// What stands for cells that the source left out.
    pub placeholder: Placeholder,
    /// What becomes of dates and timestamps that no table can hold.
    pub out_of_range: OutOfRange,
}

/// Why a value is no cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The text is no JSON.
    Broken(Broken),
    /// The value is not what the column takes.
    Value(String),
}

impl From<Broken> for Refusal {
    fn from(broken: Broken) -> Self {
        Refusal::Broken(broken)
    }
}

/// Refuses a cell that a column has no room for: all of its text is at most 2 GiB.
#[inline]
pub(crate) fn check_room(out: &Builder, bytes: usize) -> Result<(), Refusal> {
    if out.has_room(bytes) {
        Ok(())
    } else {
        Err(Refusal::Value("the batch has too many bytes in it; allow smaller ones".into()))
    }
}

/// Appends text that may be longer than what it was made of.
fn append_made(out: &mut Builder, text: &str) -> Result<(), Refusal> {
    check_room(out, text.len())?;
    out.bytes(text.as_bytes());
    Ok(())
}

/// Appends the next value to `out`.
#[inline]
pub(crate) fn append(
    cursor: &mut Cursor<'_>,
    data_type: DataType,
    conversion: &Conversion,
    values: &Values,
    out: &mut Builder,
) -> Result<(), Refusal> {
    let kind = cursor.kind()?;
    if kind == Kind::Null {
        cursor.null()?;
        out.null();
        return Ok(());
    }
    match conversion {
        Conversion::Plain => plain(cursor, kind, data_type, values, out),
        Conversion::Exact => numbers::exact_float(cursor, kind).map(|value| out.float64(value)),
        Conversion::Binary(encoding) => binary::bytes(cursor, kind, *encoding, values, out),
        Conversion::Decimal(form) => match data_type {
            DataType::Decimal { precision, scale } => {
                decimals::decimal(cursor, kind, (precision, scale), *form, values, out)
            }
            _ => mismatch(cursor, kind, "a value of the column's type"),
        },
        Conversion::WideDecimal(scale) => decimals::wide(cursor, kind, *scale, values, out),
        Conversion::VariableScale => decimals::variable_scale(cursor, kind, values, out),
        Conversion::Date(form) => times::date(cursor, kind, data_type, *form, values, out),
        Conversion::Timestamp(form) => times::timestamp(cursor, kind, data_type, *form, values, out),
        Conversion::TimeOf(nanos) => times::time(cursor, kind, *nanos).map(|us| out.int64(us)),
        Conversion::Nested(shape) => json::nested(cursor, kind, shape, values, out),
    }
}

#[inline]
fn plain(
    cursor: &mut Cursor<'_>,
    kind: Kind,
    data_type: DataType,
    values: &Values,
    out: &mut Builder,
) -> Result<(), Refusal> {
    match data_type {
        DataType::Text => text(cursor, kind, &values.placeholder, out),
        DataType::Int64 => numbers::int(cursor, kind, i64::MIN, i64::MAX, "int64").map(|value| out.int64(value)),
        DataType::Int32 => {
            let value = numbers::int(cursor, kind, i32::MIN.into(), i32::MAX.into(), "int32")?;
            out.int32(value as i32);
            Ok(())
        }
        DataType::Float64 => numbers::float(cursor, kind).map(|value| out.float64(value)),
        DataType::Float32 => numbers::float32(cursor, kind).map(|value| out.float32(value)),
        DataType::Boolean => match kind {
            Kind::Bool => {
                out.boolean(cursor.bool()?);
                Ok(())
            }
            _ => mismatch(cursor, kind, "true or false"),
        },
        DataType::Json => json::json(cursor, kind, values, out),
        DataType::Date | DataType::Timestamp | DataType::Decimal { .. } | DataType::Bytes => {
            mismatch(cursor, kind, "a value of the column's type")
        }
    }
}

#[inline]
fn text(cursor: &mut Cursor<'_>, kind: Kind, placeholder: &Placeholder, out: &mut Builder) -> Result<(), Refusal> {
    if kind != Kind::Text {
        return mismatch(cursor, kind, "text");
    }
    let value = cursor.string()?;
    if placeholder.is_text(&value) {
        out.unchanged();
    } else {
        out.bytes(value.as_bytes());
    }
    Ok(())
}

fn mismatch<T>(cursor: &mut Cursor<'_>, kind: Kind, wanted: &str) -> Result<T, Refusal> {
    let text = cursor.skip()?;
    Err(Refusal::Value(format!("expected {wanted}, found {} {}", kind.name(), shortened(text))))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
