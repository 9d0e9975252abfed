//! Statistics of files that the real encoder wrote.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array,
    Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use serde_json::{Value, json};

use super::*;
use crate::column_type::Conversion;
use crate::encode::encode;
use crate::options::Compression;

fn stats_by(columns: &[(&str, DataType, ArrayRef)], nan: &[bool], row_group_rows_max: usize) -> Value {
    let sources: Vec<Source> = columns
        .iter()
        .enumerate()
        .map(|(at, (name, data_type, _))| Source {
            at: Some((at, Conversion::Same)),
            name: (*name).into(),
            column_type: ColumnType::Own(*data_type),
            nullable: true,
            stats: true,
        })
        .collect();
    let field = |source: &Source| arrow_schema::Field::new(&*source.name, source.column_type.to_arrow(), true);
    let schema = arrow_schema::Schema::new(sources.iter().map(field).collect::<Vec<_>>());
    let arrays = columns.iter().map(|(.., array)| array.clone()).collect();
    let batch = RecordBatch::try_new(Arc::new(schema), arrays).expect("a batch");
    let encoded = encode(&batch, Compression::Zstd, row_group_rows_max).expect("encodes");
    serde_json::from_str(&to_json(&encoded.metadata, &sources, nan)).expect("JSON")
}

fn stats(columns: &[(&str, DataType, ArrayRef)]) -> Value {
    stats_by(columns, &vec![false; columns.len()], 1 << 20)
}

#[test]
fn every_type_has_what_readers_expect() {
    let decimal = |precision, scale, cells: Vec<Option<i128>>| -> (DataType, ArrayRef) {
        let scale_i8 = i8::try_from(scale).expect("small");
        let array = Decimal128Array::from(cells).with_precision_and_scale(precision, scale_i8).expect("fits");
        (DataType::Decimal { precision, scale }, Arc::new(array))
    };
    let (d9, c9) = decimal(9, 2, vec![Some(-1), Some(12_345), None]);
    let (d18, c18) = decimal(18, 0, vec![Some(-7), Some(7), None]);
    let (d38, c38) = decimal(38, 10, vec![Some(i128::from(i64::MIN) * 1000), Some(5), None]);
    let found = stats(&[
        ("i32", DataType::Int32, Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(2), None]))),
        ("i64", DataType::Int64, Arc::new(Int64Array::from(vec![Some(i64::MAX), Some(-2), None]))),
        ("f32", DataType::Float32, Arc::new(Float32Array::from(vec![Some(0.1), Some(-0.0), None]))),
        ("f64", DataType::Float64, Arc::new(Float64Array::from(vec![Some(0.1), Some(1e300), None]))),
        ("d9", d9, c9),
        ("d18", d18, c18),
        ("d38", d38, c38),
        ("date", DataType::Date, Arc::new(Date32Array::from(vec![Some(0), Some(20_454), None]))),
        (
            "time",
            DataType::Timestamp,
            Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), Some(1_001), None]).with_timezone("UTC")),
        ),
        ("text", DataType::Text, Arc::new(StringArray::from(vec![Some(""), Some("z\"ü"), None]))),
        ("bool", DataType::Boolean, Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("bytes", DataType::Bytes, Arc::new(BinaryArray::from(vec![Some(&b"a"[..]), None, None]))),
        ("void", DataType::Int64, Arc::new(Int64Array::from(vec![None; 3]))),
    ]);
    assert_eq!(found["numRecords"], 3);
    // Numbers are compared as their text: JSON has decimals that no float holds.
    let text = |value: &Value| value.to_string();
    assert_eq!(
        text(&found["minValues"]),
        text(
            &json!({"i32": i32::MIN, "i64": -2, "f32": -0.0, "f64": 0.1, "d9": -0.01, "d18": -7, "d38": -922_337_203_685.477_6,
            "date": "1970-01-01", "time": "1969-12-31T23:59:59.999Z", "text": ""})
        )
    );
    assert_eq!(
        text(&found["maxValues"]),
        text(
            &json!({"i32": 2, "i64": i64::MAX, "f32": 0.1, "f64": 1e300, "d9": 123.45, "d18": 7, "d38": 0.000_000_000_5,
            "date": "2026-01-01", "time": "1970-01-01T00:00:00.002Z", "text": "z\"ü"})
        )
    );
    assert_eq!(found["nullCount"]["bytes"], 2);
    assert_eq!(found["nullCount"]["void"], 3);
    assert_eq!(found["nullCount"].as_object().expect("an object").len(), 13);
}

#[test]
fn cut_texts_stay_bounds() {
    let long = "m".repeat(100);
    let wide = "ü".repeat(100);
    let found = stats(&[
        ("long", DataType::Text, Arc::new(StringArray::from(vec![long.as_str()]))),
        ("wide", DataType::Text, Arc::new(StringArray::from(vec![wide.as_str()]))),
        // Nothing follows it: it cannot be rounded up.
        ("last", DataType::Text, Arc::new(StringArray::from(vec!["\u{10FFFF}".repeat(100).as_str()]))),
    ]);
    for (name, value) in [("long", &long), ("wide", &wide)] {
        let min = found["minValues"][name].as_str().expect("a minimum");
        let max = found["maxValues"][name].as_str().expect("a maximum");
        assert!(min.len() <= 32 && min <= value.as_str(), "{min}");
        assert!(max.len() <= 32 && max > value.as_str(), "{max}");
    }
    assert!(found["minValues"]["last"].is_string());
    assert_eq!(found["maxValues"].get("last"), None, "no bound rather than a wrong one");
}

#[test]
fn a_nan_or_an_infinity_leaves_no_bound() {
    let floats = |cells: Vec<f64>| -> ArrayRef { Arc::new(Float64Array::from(cells)) };
    let columns = [
        ("nan", DataType::Float64, floats(vec![1.0, f64::NAN])),
        ("inf", DataType::Float64, floats(vec![1.0, f64::INFINITY])),
    ];
    let found = stats_by(&columns, &[true, false], 1 << 20);
    assert_eq!(found["maxValues"], json!({}));
    assert_eq!(found["minValues"], json!({"inf": 1.0}));
}

#[test]
fn times_that_have_no_four_digit_year_have_no_bound() {
    let found = stats(&[
        ("d", DataType::Date, Arc::new(Date32Array::from(vec![-800_000, 3_000_000]))),
        (
            "t",
            DataType::Timestamp,
            Arc::new(TimestampMicrosecondArray::from(vec![i64::MIN, i64::MAX]).with_timezone("UTC")),
        ),
    ]);
    assert_eq!((&found["minValues"], &found["maxValues"]), (&json!({}), &json!({})));
}

#[test]
fn row_groups_are_taken_together() {
    let ids: Vec<Option<i64>> = [Some(5), Some(9), None, None, Some(-3), Some(0)].to_vec();
    let column: ArrayRef = Arc::new(Int64Array::from(ids));
    let found = stats_by(&[("id", DataType::Int64, column)], &[false], 2);
    assert_eq!(
        found,
        json!({"numRecords": 6, "minValues": {"id": -3}, "maxValues": {"id": 9}, "nullCount": {"id": 2}})
    );
}
