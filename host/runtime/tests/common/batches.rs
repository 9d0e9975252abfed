//! Batches that the tests feed: all types, nulls, unchanged cells, slices.

use std::sync::Arc;

use arrow_array::types::Decimal128Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array,
    Int64Array, PrimitiveArray, StringArray, TimestampMicrosecondArray,
};
use lakemill_model::{BatchClock, Cells, ChangeBatch, DataType, Envelope, Field, ImageData, Op, RowSchema};

pub const CLOCK: BatchClock = BatchClock { now_us: 1_700_000_000_000_000, watermark_us: Some(1_600_000_000_000_000) };

/// A column of every type, by name; `n` cells, every third one null.
pub fn all_types(n: usize) -> Vec<(Field, ArrayRef)> {
    fn cells<T>(n: usize, of: impl Fn(usize) -> T) -> impl Iterator<Item = Option<T>> {
        (0..n).map(move |row| (row % 3 != 1).then(|| of(row)))
    }
    let decimal = DataType::Decimal { precision: 12, scale: 2 };
    let decimals: PrimitiveArray<Decimal128Type> =
        cells(n, |row| row as i128 * 100_000 - 7).collect::<Decimal128Array>();
    let columns: Vec<(&str, DataType, ArrayRef)> = vec![
        ("boolean", DataType::Boolean, Arc::new(cells(n, |row| row % 2 == 0).collect::<BooleanArray>())),
        ("int32", DataType::Int32, Arc::new(cells(n, |row| row as i32 - 5).collect::<Int32Array>())),
        ("int64", DataType::Int64, Arc::new(cells(n, |row| row as i64 * -1_000_000_007).collect::<Int64Array>())),
        ("float32", DataType::Float32, Arc::new(cells(n, |row| row as f32 / 3.0).collect::<Float32Array>())),
        ("float64", DataType::Float64, Arc::new(cells(n, |row| row as f64 / 7.0).collect::<Float64Array>())),
        ("decimal", decimal, Arc::new(decimals.with_precision_and_scale(12, 2).expect("fits"))),
        ("date", DataType::Date, Arc::new(cells(n, |row| row as i32 * 365).collect::<Date32Array>())),
        (
            "timestamp",
            DataType::Timestamp,
            Arc::new(
                cells(n, |row| row as i64 * 86_400_000_001).collect::<TimestampMicrosecondArray>().with_timezone("UTC"),
            ),
        ),
        ("text", DataType::Text, Arc::new(cells(n, |row| "é".repeat(row % 5)).collect::<StringArray>())),
        ("bytes", DataType::Bytes, Arc::new(cells(n, |row| vec![0xff; row % 4]).collect::<BinaryArray>())),
        ("json", DataType::Json, Arc::new(cells(n, |row| format!("[{row}]")).collect::<StringArray>())),
    ];
    columns.into_iter().map(|(name, data_type, array)| (Field::new(name, data_type, true), array)).collect()
}

/// Inserts of the given columns; the row image is `after`.
pub fn inserts(columns: Vec<(Field, Cells)>) -> ChangeBatch {
    let rows = columns[0].1.array.len();
    let (fields, cells): (Vec<Field>, Vec<Cells>) = columns.into_iter().unzip();
    let absent = ImageData { columns: vec![None; fields.len()], present: Some((0..rows).map(|_| false).collect()) };
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
    ChangeBatch {
        schema: Arc::new(RowSchema { key: vec![Field::new("id", DataType::Int64, false)], row: fields }),
        key: ImageData { columns: vec![Some(Cells { array: ids, unchanged: None })], present: None },
        before: absent,
        after: ImageData { columns: cells.into_iter().map(Some).collect(), present: None },
        envelope: envelope(rows),
    }
}

pub fn plain(columns: Vec<(Field, ArrayRef)>) -> Vec<(Field, Cells)> {
    columns.into_iter().map(|(field, array)| (field, Cells { array, unchanged: None })).collect()
}

pub fn envelope(rows: usize) -> Envelope {
    Envelope {
        topic: "shop.orders".into(),
        ops: vec![Op::Create; rows],
        event_time_us: (0..rows).map(|row| (row % 2 == 0).then_some(row as i64)).collect(),
        partitions: (0..rows).map(|row| row as i32 % 3).collect(),
        offsets: (0..rows).map(|row| row as i64 + 40).collect(),
        kafka_time_ms: (0..rows).map(|row| Some(row as i64)).collect(),
        positions: (0..rows).map(|row| (row != 2).then(|| (row as u64).to_be_bytes())).collect(),
        snapshots: (0..rows).map(|row| row == 0).collect(),
        records: (0..rows as u32).collect(),
        origins: Some(lakemill_model::Origins {
            db: vec![Some("shop"); rows].into(),
            schema: vec![None::<&str>; rows].into(),
            table: (0..rows).map(|row| Some(format!("t{row}"))).collect(),
        }),
    }
}

/// A batch of one column `id`, for guests that look at nothing else.
pub fn small(rows: usize) -> Arc<ChangeBatch> {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
    Arc::new(inserts(plain(vec![(Field::new("id", DataType::Int64, false), ids)])))
}
