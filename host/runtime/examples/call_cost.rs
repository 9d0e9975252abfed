//! What a call costs: `cargo run --release -p lakemill-runtime --example call_cost -- target/guests/probe.wasm`.
//!
//! Prints the rows per second of a filter with one derived column (two lazy columns of six), beside the same work
//! in native code; of the row view, as `clean.wasm` beside it uses it; of columns put together from two images; of all columns copied in and out; the cost of an empty
//! call (a fresh instance); and what several threads reach together. A second argument: MiB that stay with an
//! instance's slot.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::{Array, ArrayRef, BinaryArray, Float64Array, Int64Array, StringArray, new_null_array};
use lakemill_model::{BatchClock, Cells, ChangeBatch, DataType, Envelope, Field, ImageData, Op, RowSchema, Transform};
use lakemill_runtime::{Engine, EngineOptions, LoadOptions, TransformComponent};

const CLOCK: BatchClock = BatchClock { now_us: 0, watermark_us: None };
const RUNS: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "target/guests/probe.wasm".into());
    let mut options = EngineOptions::default();
    if let Some(mib) = std::env::args().nth(2) {
        options.keep_resident_bytes = mib.parse::<usize>()? << 20;
    }
    let engine = Engine::new(options)?;
    let load = |config: &str| {
        engine.load_file(path.as_ref(), LoadOptions { config_json: config.into(), ..LoadOptions::default() })
    };
    let empty = load("{}")?;
    println!("compile: {:?}", empty.report().compile_time);
    let filter = load(r#"{"do": "filter_derive", "columns": {"gross": "float64"}, "reads": ["total", "status"]}"#)?;

    let one = Arc::new(batch(1));
    report("empty call (fresh instance)", 1, median(|| call(&empty, &one)));
    for rows in [1_000, 20_000, 100_000] {
        let batch = Arc::new(batch(rows));
        report("native filter + derive", rows, median(|| drop(black_box(native(&batch)))));
        report("wasm filter + derive", rows, median(|| call(&filter, &batch)));
    }
    let mixed = Arc::new(with_deletes(batch(100_000)));
    report("… every tenth a delete", mixed.len(), median(|| call(&filter, &mixed)));
    // The SDK's row view: three columns into a struct per row, a filter, a mask and a derived column.
    let clean = std::path::Path::new(&path).with_file_name("clean.wasm");
    let clean = engine.load_file(&clean, LoadOptions::default())?;
    for rows in [20_000, 100_000] {
        let batch = Arc::new(batch(rows));
        let answer = clean.transform(&batch, CLOCK)?;
        assert_eq!(answer.emissions[0].rows.len(), rows * 3 / 4, "every fourth is cancelled");
        report("row view: clean", rows, median(|| call(&clean, &batch)));
    }
    let echo = load(
        r#"{"do": "echo", "columns": {"id": "int64", "customer_id": "int64", "total": "float64", "status": "text",
            "email": "text", "note": "text"}}"#,
    )?;
    let whole = Arc::new(batch(100_000));
    report("all six columns and back", whole.len(), median(|| call(&echo, &whole)));
    for threads in [1, 2, 4] {
        together(&filter, threads);
    }
    Ok(())
}

/// A call that fails would be a fast one.
fn call(component: &TransformComponent, batch: &Arc<ChangeBatch>) {
    black_box(component.transform(batch, CLOCK)).expect("it answers");
}

fn median(mut run: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[RUNS / 2]
}

fn report(what: &str, rows: usize, seconds: f64) {
    println!("{what:<28} {rows:>7} rows  {:>9.1} us  {:>7.2} Mrow/s", seconds * 1e6, rows as f64 / seconds / 1e6);
}

fn together(filter: &TransformComponent, threads: usize) {
    const ROWS: usize = 20_000;
    let batch = Arc::new(batch(ROWS));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..RUNS).for_each(|_| call(filter, &batch)));
        }
    });
    let seconds = start.elapsed().as_secs_f64();
    let rows = ROWS * RUNS * threads;
    println!(
        "{threads} threads at once            {ROWS:>7} rows                 {:>7.2} Mrow/s",
        rows as f64 / seconds / 1e6
    );
}

fn native(batch: &ChangeBatch) -> (Vec<u32>, Vec<f64>) {
    let column = |n: usize| &batch.after.columns[n].as_ref().expect("decoded").array;
    let status = column(3).as_any().downcast_ref::<StringArray>().expect("text");
    let total = column(2).as_any().downcast_ref::<Float64Array>().expect("numbers");
    let rows: Vec<u32> = (0..batch.len() as u32).filter(|row| status.value(*row as usize) != "cancelled").collect();
    let gross = rows.iter().map(|row| total.value(*row as usize) * 1.2).collect();
    (rows, gross)
}

/// Every tenth row has its columns in `before`.
fn with_deletes(mut batch: ChangeBatch) -> ChangeBatch {
    batch.before = batch.after.clone();
    let deleted = |row: usize| row.is_multiple_of(10);
    let rows = 0..batch.len();
    batch.envelope.ops = rows.clone().map(|row| if deleted(row) { Op::Delete } else { Op::Create }).collect();
    batch.before.present = Some(rows.clone().map(deleted).collect());
    batch.after.present = Some(rows.map(|row| !deleted(row)).collect());
    batch
}

fn batch(rows: usize) -> ChangeBatch {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    let schema = RowSchema {
        key: vec![field("id", DataType::Int64)],
        row: vec![
            field("id", DataType::Int64),
            field("customer_id", DataType::Int64),
            field("total", DataType::Float64),
            field("status", DataType::Text),
            field("email", DataType::Text),
            field("note", DataType::Text),
        ],
    };
    let status = ["new", "paid", "cancelled", "shipped"];
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
    let text =
        |cell: &dyn Fn(usize) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values((0..rows).map(cell))) };
    let columns: Vec<ArrayRef> = vec![
        ids.clone(),
        Arc::new(Int64Array::from_iter_values((0..rows as i64).map(|n| n % 977))),
        Arc::new(Float64Array::from_iter_values((0..rows).map(|n| n as f64 * 0.37))),
        text(&|n| status[n % 4].into()),
        text(&|n| format!("user{n}@example.com")),
        text(&|n| format!("a note of moderate length, number {n}, to be carried along")),
    ];
    let image = |columns: Vec<ArrayRef>| ImageData {
        columns: columns.into_iter().map(|array| Some(Cells { array, unchanged: None })).collect(),
        present: None,
    };
    let absent = |array: &ArrayRef| Cells { array: new_null_array(array.data_type(), rows), unchanged: None };
    let nothing = ImageData {
        columns: columns.iter().map(|array| Some(absent(array))).collect(),
        present: Some((0..rows).map(|_| false).collect()),
    };
    ChangeBatch {
        schema: Arc::new(schema),
        key: image(vec![ids]),
        before: nothing,
        after: image(columns),
        envelope: Envelope {
            topic: "orders".into(),
            ops: vec![Op::Create; rows],
            event_time_us: vec![None; rows],
            partitions: vec![0; rows],
            offsets: (0..rows as i64).collect(),
            kafka_time_ms: vec![None; rows],
            positions: BinaryArray::from_iter_values((0..rows).map(|n| (n as u64).to_be_bytes())),
            snapshots: vec![false; rows],
            records: (0..rows as u32).collect(),
            origins: None,
        },
    }
}
