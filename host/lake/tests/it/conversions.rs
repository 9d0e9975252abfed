//! Every type of rows into every type of table: what is written reads back as the value that it was, what cannot be is refused, by
//! column or by row, and never written as something else.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array,
    Int64Array, StringArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow_schema::DataType as ArrowType;
use lakemill_lake::DeltaSink;
use lakemill_model::{CheckpointId, DataType, Field, OutputRows, Sink as _};
use serde_json::json;

use crate::common::*;

const fn decimal(precision: u8, scale: u8) -> DataType {
    DataType::Decimal { precision, scale }
}

const ROWS: [DataType; 13] = [
    DataType::Boolean,
    DataType::Int32,
    DataType::Int64,
    DataType::Float32,
    DataType::Float64,
    decimal(9, 2),
    decimal(20, 0),
    decimal(38, 10),
    DataType::Date,
    DataType::Timestamp,
    DataType::Text,
    DataType::Json,
    DataType::Bytes,
];

const TABLES: [&str; 17] = [
    "boolean",
    "byte",
    "short",
    "integer",
    "long",
    "float",
    "double",
    "decimal(9,2)",
    "decimal(10,0)",
    "decimal(20,4)",
    "decimal(38,10)",
    "decimal(38,18)",
    "date",
    "timestamp",
    "timestamp_ntz",
    "string",
    "binary",
];

/// What must fit, and no more: rows' type, table's type.
fn must_fit(rows: DataType, table: &str) -> bool {
    use DataType::*;
    matches!(
        (rows, table),
        (Boolean, "boolean")
            | (Int32, "byte" | "short" | "integer" | "long" | "double")
            | (Int32, "decimal(10,0)" | "decimal(20,4)" | "decimal(38,10)" | "decimal(38,18)")
            | (Int64, "long" | "decimal(38,10)" | "decimal(38,18)")
            | (Float32, "float" | "double")
            | (Float64, "double")
            | (Decimal { precision: 9, .. }, "decimal(9,2)" | "decimal(20,4)" | "decimal(38,10)" | "decimal(38,18)")
            | (Decimal { precision: 20, .. }, "decimal(38,10)" | "decimal(38,18)")
            | (Decimal { precision: 38, .. }, "decimal(38,10)")
            | (Date, "date")
            | (Timestamp, "timestamp" | "timestamp_ntz")
            | (Boolean | Int32 | Int64 | Float32 | Float64 | Decimal { .. } | Date | Timestamp | Text | Json, "string")
            | (Bytes, "binary")
    )
}

/// Edges of the type, and what chance gives.
fn column(of: DataType, random: &mut fastrand::Rng) -> ArrayRef {
    const COUNT: usize = 40;
    fn cells<T: Copy>(
        random: &mut fastrand::Rng,
        edges: &[T],
        any: impl Fn(&mut fastrand::Rng) -> T,
    ) -> Vec<Option<T>> {
        let cell = |random: &mut fastrand::Rng| match random.u8(0..10) {
            0 => None,
            1..=4 => Some(edges[random.usize(0..edges.len())]),
            _ => Some(any(random)),
        };
        (0..COUNT).map(|_| cell(random)).collect()
    }
    match of {
        DataType::Boolean => Arc::new(BooleanArray::from(cells(random, &[true, false], |r| r.bool()))),
        DataType::Int32 => {
            let edges = [i32::MIN, -32_769, -32_768, -129, -128, -1, 0, 127, 128, 32_767, 32_768, i32::MAX];
            Arc::new(Int32Array::from(cells(random, &edges, |r| r.i32(..))))
        }
        DataType::Int64 => Arc::new(Int64Array::from(cells(random, &[i64::MIN, 0, i64::MAX], |r| r.i64(..)))),
        DataType::Float32 => {
            let edges = [f32::MAX, f32::MIN_POSITIVE, -0.0, 0.1, f32::INFINITY, f32::NAN];
            Arc::new(Float32Array::from(cells(random, &edges, |r| f32::from_bits(r.u32(..)))))
        }
        DataType::Float64 => {
            let edges = [f64::MAX, f64::MIN_POSITIVE, -0.0, 0.1, f64::NEG_INFINITY, f64::NAN];
            Arc::new(Float64Array::from(cells(random, &edges, |r| f64::from_bits(r.u64(..)))))
        }
        DataType::Decimal { precision, scale } => {
            let most = 10i128.pow(precision.into()) - 1;
            let cells = cells(random, &[most, -most, 0, 1, -1], |r| r.i128(-most..=most));
            Arc::new(
                Decimal128Array::from(cells).with_precision_and_scale(precision, scale.cast_signed()).expect("fits"),
            )
        }
        DataType::Date => {
            Arc::new(Date32Array::from(cells(random, &[-719_162, -1, 0, 2_932_896], |r| r.i32(-719_162..=2_932_896))))
        }
        DataType::Timestamp => {
            let range = -62_135_596_800_000_000..=253_402_300_799_999_999;
            let edges = [*range.start(), -1, 0, 1, *range.end()];
            Arc::new(
                TimestampMicrosecondArray::from(cells(random, &edges, |r| r.i64(range.clone()))).with_timezone("UTC"),
            )
        }
        DataType::Text | DataType::Json => {
            Arc::new(StringArray::from(cells(random, &["", "\"x\"", "null", "a/b=%", "\u{1}\u{7f}ü"], |r| {
                ["1", "2"][r.usize(0..2)]
            })))
        }
        DataType::Bytes => {
            Arc::new(BinaryArray::from(cells(random, &[&b""[..], &[0, 255]], |r| [&b"1"[..], b"2"][r.usize(0..2)])))
        }
    }
}

/// A cell in words that do not depend on its type: numbers as scaled integers, floats by their bits as doubles.
fn plain(cells: &dyn Array, row: usize) -> String {
    if cells.is_null(row) {
        return "null".to_owned();
    }
    const SCALE: i128 = 10i128.pow(10);
    let whole = |value: i128| {
        format!("number {}", value.checked_mul(SCALE).map_or_else(|| format!("{value}e10"), |n| n.to_string()))
    };
    match cells.data_type() {
        ArrowType::Boolean => cells.as_boolean().value(row).to_string(),
        ArrowType::Int8 => whole(cells.as_primitive::<Int8Type>().value(row).into()),
        ArrowType::Int16 => whole(cells.as_primitive::<Int16Type>().value(row).into()),
        ArrowType::Int32 => whole(cells.as_primitive::<Int32Type>().value(row).into()),
        ArrowType::Int64 => whole(cells.as_primitive::<Int64Type>().value(row).into()),
        ArrowType::Decimal128(_, scale) => {
            let value = cells.as_primitive::<Decimal128Type>().value(row);
            let shift = i32::from(*scale) - 10;
            let power = 10i128.pow(shift.unsigned_abs());
            if shift >= 0 {
                format!("number {}", value / power)
            } else {
                format!(
                    "number {}",
                    value.checked_mul(power).map_or_else(
                        || format!("{}e10", value / 10i128.pow((*scale).unsigned_abs().into())),
                        |n| n.to_string()
                    )
                )
            }
        }
        ArrowType::Float32 => format!("float {}", f64::from(cells.as_primitive::<Float32Type>().value(row))),
        ArrowType::Float64 => {
            let value = cells.as_primitive::<Float64Type>().value(row);
            format!("float {value}")
        }
        ArrowType::Date32 => format!("day {}", cells.as_primitive::<Date32Type>().value(row)),
        ArrowType::Timestamp(..) => format!("us {}", cells.as_primitive::<TimestampMicrosecondType>().value(row)),
        ArrowType::Utf8 => format!("text {}", cells.as_string::<i32>().value(row)),
        ArrowType::Binary => format!("bytes {:?}", cells.as_binary::<i32>().value(row)),
        other => panic!("{other} in a file"),
    }
}

/// The same for a whole number in a column of doubles.
fn as_read(expected: &str, table: &str) -> String {
    match expected.strip_prefix("number ") {
        Some(number) if table == "double" => {
            let number: i128 = number.parse().expect("an int32");
            format!("float {}", (number / 10i128.pow(10)) as f64)
        }
        _ => expected.to_owned(),
    }
}

/// What a text of a column of strings says, in the words of [`plain`] for cells of `of`.
fn as_said(text: &str, of: DataType) -> String {
    let Some(value) = text.strip_prefix("text ") else { return text.to_owned() };
    let number = |value: &str, scale: i32| {
        let cells = arrow_cast::cast(&StringArray::from(vec![value]), &ArrowType::Decimal128(38, scale as i8))
            .expect("a number");
        plain(&cells, 0)
    };
    match of {
        DataType::Boolean => value.to_owned(),
        DataType::Int32 | DataType::Int64 => number(value, 0),
        DataType::Decimal { scale, .. } => number(value, scale.into()),
        DataType::Float32 => format!("float {}", f64::from(value.parse::<f32>().expect("a number"))),
        DataType::Float64 => format!("float {}", value.parse::<f64>().expect("a number")),
        DataType::Date => {
            let cells = arrow_cast::cast(&StringArray::from(vec![value]), &ArrowType::Date32).expect("a date");
            plain(&cells, 0)
        }
        DataType::Timestamp => {
            let cells = arrow_cast::cast(&StringArray::from(vec![value]), &of.to_arrow()).expect("a timestamp");
            plain(&cells, 0)
        }
        DataType::Text | DataType::Json | DataType::Bytes => text.to_owned(),
    }
}

fn without(rows: &OutputRows, refused: &[u32]) -> OutputRows {
    let count = u32::try_from(rows.batch.num_rows()).expect("few");
    let keep = UInt32Array::from_iter_values((0..count).filter(|row| !refused.contains(row)));
    let batch = arrow_select::take::take_record_batch(&rows.batch, &keep).expect("rows");
    OutputRows { schema: rows.schema.clone(), ops: rows.ops[..batch.num_rows()].to_vec(), batch }
}

#[test]
fn every_type_into_every_type_is_exact_or_refused() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for (of, table) in ROWS.iter().flat_map(|of| TABLES.iter().map(move |table| (*of, *table))) {
        for (nullable, partition) in [(true, false), (false, false), (true, true)] {
            let told = format!("{of} into {table}, nullable {nullable}, partition {partition}, seed {seed}");
            let folder = Folder::new();
            let ntz = json!({"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["timestampNtz"], "writerFeatures": ["timestampNtz"]});
            let fields = json!([field("id", "long", true), field("c", table, nullable)]);
            foreign_table(&folder.table(), &fields, &ntz, &json!({}), if partition { &["c"] } else { &[] });
            let mut sink = folder.sink();
            let cells = column(of, &mut random);
            let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..cells.len() as i64));
            let rows = rows_of(vec![
                (Field::new("id", DataType::Int64, true), ids),
                (Field::new("c", of, true), cells.clone()),
            ]);
            let no_folders = partition && ["float", "double", "binary"].contains(&table);
            let Ok(refusals) = sink.stage().refusals(&rows) else {
                assert!(!must_fit(of, table) || no_folders, "{told}: refused");
                assert!(sink.stage().stage(CheckpointId(1), rows).is_err(), "{told}");
                continue;
            };
            assert!(must_fit(of, table) && !no_folders, "{told}: taken");
            let refused: Vec<u32> = refusals.iter().map(|refusal| refusal.row).collect();
            for row in 0..cells.len() {
                let beyond = |least: i32, most: i32| {
                    cells.is_valid(row) && !(least..=most).contains(&cells.as_primitive::<Int32Type>().value(row))
                };
                let expected = (!nullable && cells.is_null(row))
                    || (table == "byte" && beyond(-128, 127))
                    || (table == "short" && beyond(-32_768, 32_767));
                assert_eq!(refused.contains(&(row as u32)), expected, "{told}: row {row}: {}", plain(&cells, row));
            }
            if !refused.is_empty() {
                assert!(sink.stage().stage(CheckpointId(1), rows.clone()).is_err(), "{told}: rows that were refused");
            }
            let kept = without(&rows, &refused);
            let staged = stage(&sink, kept.clone());
            sink.commit(staged, &step(0, 0, 10, 1)).expect("committed");
            let mut found = Vec::new();
            for add in adds(&folder.table()) {
                for batch in read_parquet(&data_file(&folder.table(), &add)) {
                    let ids = batch["id"].as_primitive::<Int64Type>();
                    for row in 0..batch.num_rows() {
                        let value = match partition {
                            true => add["partitionValues"]["c"].as_str().unwrap_or("null").to_owned(),
                            false => plain(&batch["c"], row),
                        };
                        found.push((ids.value(row), value));
                    }
                }
            }
            found.sort();
            assert_eq!(found.len(), kept.batch.num_rows(), "{told}");
            // Values of folders are read back by those who know them: tests/it/folders.rs.
            if !partition {
                for (id, value) in found {
                    let value = if table == "string" { as_said(&value, of) } else { value };
                    assert_eq!(value, as_read(&plain(&cells, id as usize), table), "{told}: row {id}");
                }
            }
        }
    }
}

#[test]
fn rows_from_several_workers_grow_a_table_in_any_order() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let folder = Folder::new();
        let mut sink = folder.sink();
        let first = stage(&sink, rows(0, 2));
        sink.commit(first, &step(0, 0, 2, 1)).expect("committed");
        let more = |n: i64, names: &[&str]| -> OutputRows {
            let mut columns: Vec<(Field, ArrayRef)> =
                vec![(Field::new("id", DataType::Int64, false), Arc::new(Int64Array::from(vec![n])))];
            for name in names {
                columns.push((Field::new(*name, DataType::Text, false), Arc::new(StringArray::from(vec![*name]))));
            }
            rows_of(columns)
        };
        let batches = [more(2, &["a"]), more(3, &[]), more(4, &["b", "a"])];
        let mut staged: Vec<_> = order.iter().map(|n| (*n, stage(&sink, batches[*n].clone()))).collect();
        staged.sort_by_key(|(n, _)| *n);
        let columns = || {
            let info = lakemill_lake::table_info(&folder.table().display().to_string()).expect("a table");
            info.columns.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        let mut seen = Vec::new();
        for (n, staged) in staged {
            let at = 2 + n as i64;
            sink.commit(staged, &step(0, at, at + 1, 1)).expect("committed");
            seen.push(columns().len());
        }
        assert_eq!(seen, [3, 3, 4], "no column before the rows that need it");
        assert_eq!(columns(), ["id", "note", "a", "b"]);
        assert_eq!(ids(&folder.table()), [0, 1, 2, 3, 4]);
        let again = DeltaSink::open(folder.options()).expect("it opens");
        assert!(again.version().is_some());
    }
}
