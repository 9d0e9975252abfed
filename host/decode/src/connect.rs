//! Columns from the schema part of Connect's JSON converter. Names of types: Debezium's `io.debezium.time`, `io.debezium.data` and Connect's
//! logical types.

use std::sync::Arc;

use lakemill_model::{DataType, Field};
use serde_json::Value;

use crate::convert::{Conversion, DateForm, DecimalForm, Encoding, Shape, TimestampForm};
use crate::layout::Slot;

const DECIMAL: &str = "org.apache.kafka.connect.data.Decimal";
const MILLI: i64 = 1_000_000;
const MICRO: i64 = 1_000;
const NANO: i64 = 1;

/// The row's columns from the schema part of an envelope.
pub(crate) fn row_slots(schema: &Value) -> Result<Vec<Slot>, String> {
    let fields = schema["fields"].as_array().ok_or("its schema part has no fields")?;
    let image = |name: &str| fields.iter().find(|field| field["field"] == name);
    let row = image("after").or_else(|| image("before")).ok_or("its schema part has neither before nor after")?;
    slots(row)
}

/// The columns of a struct in a schema part.
pub(crate) fn slots(of: &Value) -> Result<Vec<Slot>, String> {
    let fields = of["fields"].as_array().ok_or("its schema part has a struct without fields")?;
    fields.iter().map(slot).collect()
}

/// A column from its Connect schema: type, semantic name, parameters.
pub(crate) fn slot(of: &Value) -> Result<Slot, String> {
    let name = of["field"].as_str().unwrap_or("key");
    let connect = of["type"].as_str().ok_or_else(|| format!("its schema part gives column {name} no type"))?;
    let semantic = of["name"].as_str().unwrap_or_default();
    let (data_type, conversion) =
        typed(connect, semantic, of).map_err(|what| format!("its schema part gives column {name} {what}"))?;
    let nullable = of["optional"].as_bool().unwrap_or(false);
    Ok(Slot::new(Field::new(name, data_type, nullable), conversion))
}

/// The table of types. The error ends "gives column x ...".
fn typed(connect: &str, semantic: &str, of: &Value) -> Result<(DataType, Conversion), String> {
    use Conversion::{Plain, TimeOf, VariableScale};
    use DataType::{Boolean, Bytes, Date, Float32, Float64, Int32, Int64, Json, Text, Timestamp};
    let timestamp = |nanos| (Timestamp, Conversion::Timestamp(TimestampForm::Of(nanos)));
    Ok(match (connect, semantic) {
        ("int32", "io.debezium.time.Date" | "org.apache.kafka.connect.data.Date") => {
            (Date, Conversion::Date(DateForm::Days))
        }
        ("int64", "io.debezium.time.Timestamp" | "org.apache.kafka.connect.data.Timestamp") => timestamp(MILLI),
        ("int64", "io.debezium.time.MicroTimestamp") => timestamp(MICRO),
        ("int64", "io.debezium.time.NanoTimestamp") => timestamp(NANO),
        ("string", "io.debezium.time.ZonedTimestamp") => (Timestamp, Conversion::Timestamp(TimestampForm::Iso)),
        ("int32", "io.debezium.time.Time" | "org.apache.kafka.connect.data.Time") => (Int64, TimeOf(MILLI)),
        ("int64", "io.debezium.time.MicroTime") => (Int64, TimeOf(MICRO)),
        ("int64", "io.debezium.time.NanoTime") => (Int64, TimeOf(NANO)),
        ("string", "io.debezium.data.Json") => (Json, Plain),
        ("bytes", DECIMAL) => decimal(of)?,
        ("struct", "io.debezium.data.VariableScaleDecimal") => (Text, VariableScale),
        ("boolean", _) => (Boolean, Plain),
        ("int8" | "int16" | "int32", _) => (Int32, Plain),
        ("int64", _) => (Int64, Plain),
        ("float" | "float32", _) => (Float32, Plain),
        ("double" | "float64", _) => (Float64, Plain),
        ("string", _) => (Text, Plain),
        ("bytes", _) => (Bytes, Conversion::Binary(Encoding::Base64)),
        ("struct" | "array" | "map", _) => match shape(of)? {
            Shape::Plain => (Json, Plain),
            shape => (Json, Conversion::Nested(Arc::new(shape))),
        },
        _ => return Err(format!("the unknown type {connect}")),
    })
}

/// Connect's Decimal: a column of its precision, or text if it has more digits than a column.
fn decimal(of: &Value) -> Result<(DataType, Conversion), String> {
    let scale = scale(of)?;
    let precision = of["parameters"]["connect.decimal.precision"].as_str().and_then(|text| text.parse::<i64>().ok());
    // A negative scale is that many zeros before the point that the value does not hold.
    let zeros = i64::from(scale.min(0).unsigned_abs());
    // A precision may be less than the scale: PostgreSQL's numeric(2,5) is 0.00099 at most.
    let digits = precision.map_or(DataType::DECIMAL_PRECISION_MAX.into(), |precision| {
        precision.max(1).saturating_add(zeros).max(scale.into())
    });
    let scale_of_column = u8::try_from(scale.max(0)).ok().filter(|scale| i64::from(*scale) <= digits);
    Ok(match (u8::try_from(digits), scale_of_column, u8::try_from(zeros)) {
        (Ok(precision @ 1..=DataType::DECIMAL_PRECISION_MAX), Some(scale), Ok(zeros)) => {
            (DataType::Decimal { precision, scale }, Conversion::Decimal(DecimalForm::Base64(zeros)))
        }
        _ => (DataType::Text, Conversion::WideDecimal(scale)),
    })
}

fn scale(of: &Value) -> Result<i32, String> {
    let text = of["parameters"]["scale"].as_str();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| "a decimal without a scale".into())
}

/// What the parts of a value are; plain if all of them say everything themselves.
fn shape(of: &Value) -> Result<Shape, String> {
    let connect = of["type"].as_str().unwrap_or_default();
    let is_plain = |shape: &Shape| *shape == Shape::Plain;
    Ok(match (connect, of["name"].as_str().unwrap_or_default()) {
        ("int32", "io.debezium.time.Date" | "org.apache.kafka.connect.data.Date") => Shape::Date,
        ("int64", "io.debezium.time.Timestamp" | "org.apache.kafka.connect.data.Timestamp") => Shape::Timestamp(MILLI),
        ("int64", "io.debezium.time.MicroTimestamp") => Shape::Timestamp(MICRO),
        ("int64", "io.debezium.time.NanoTimestamp") => Shape::Timestamp(NANO),
        ("string", "io.debezium.time.ZonedTimestamp") => Shape::Zoned,
        ("int32", "io.debezium.time.Time" | "org.apache.kafka.connect.data.Time") => Shape::Time(MILLI),
        ("int64", "io.debezium.time.MicroTime") => Shape::Time(MICRO),
        ("int64", "io.debezium.time.NanoTime") => Shape::Time(NANO),
        ("bytes", DECIMAL) => Shape::Decimal(scale(of)?),
        ("struct", "io.debezium.data.VariableScaleDecimal") => Shape::VariableScale,
        ("array", _) => match shape(&of["items"])? {
            // What the elements are tells a placeholder from an array of booleans.
            Shape::Plain if of["items"]["type"] != "boolean" => Shape::Plain,
            element => Shape::Array(Box::new(element), of["items"]["type"].as_str().unwrap_or_default().into()),
        },
        ("map", _) => match (shape(&of["keys"])?, shape(&of["values"])?) {
            (Shape::Plain, Shape::Plain) => Shape::Plain,
            (keys, values) => Shape::Map(Box::new(keys), Box::new(values)),
        },
        ("struct", _) => {
            let fields = of["fields"].as_array().map(Vec::as_slice).unwrap_or_default();
            let member = |field: &Value| Ok((field["field"].as_str().unwrap_or_default().into(), shape(field)?));
            let mut members = fields.iter().map(member).collect::<Result<Vec<(Box<str>, Shape)>, String>>()?;
            members.retain(|(_, shape)| !is_plain(shape));
            if members.is_empty() { Shape::Plain } else { Shape::Struct(members) }
        }
        _ => Shape::Plain,
    })
}
