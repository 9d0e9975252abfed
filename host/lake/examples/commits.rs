//! What a Delta table costs its writer: encoding per row, milliseconds per commit as the table grows, log checkpoints, and what a
//! fresh reader of the log pays at the end. Prints figures; promises nothing.
//!
//! usage: commits [COMMITS] [CHECKPOINT_INTERVAL] [FOLDER]    (5000 commits, the default interval, a temporary folder)

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use lakemill_lake::{Compression, DeltaSink, TableOptions, table_info};
use lakemill_model::{
    CheckpointId, Commit, DataType, Epoch, Field, NextOffset, OffsetRange, Op, OutputRows, Sink, Staged, TableSchema,
    TopicPartition,
};

/// As the command has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let commits: u64 = args.next().map_or(Ok(5000), |text| text.parse())?;
    let default = TableOptions::new("", "", "").checkpoint_interval;
    let interval: u64 = args.next().map_or(Ok(default), |text| text.parse())?;
    let temporary = tempfile::tempdir()?;
    let folder = args.next().map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    encode(&folder)?;
    if commits == 0 {
        return Ok(());
    }
    grow(&folder.join("durable"), commits, interval, true)?;
    grow(&folder.join("cached"), commits, interval, false)
}

/// Stages batches of several sizes that are never committed.
fn encode(folder: &std::path::Path) -> Result<(), Box<dyn Error>> {
    println!("encode and write, one thread, best of 25, 12 columns");
    for (name, compression) in [
        ("zstd", Compression::Zstd),
        ("snappy", Compression::Snappy),
        ("gzip", Compression::Gzip),
        ("none", Compression::None),
    ] {
        for rows in [100_000, 10_000, 1_000] {
            let location = folder.join(format!("encode-{name}")).display().to_string();
            let options = TableOptions { compression, fsync: false, ..TableOptions::new("bench", "orders", location) };
            let stage = DeltaSink::open(options)?.stage();
            let batch = orders(rows, 0);
            let mut best = (Duration::MAX, 0);
            for _ in 0..25 {
                let started = Instant::now();
                let staged = stage.stage(CheckpointId(1), batch.clone())?;
                best = best.min((started.elapsed(), staged.bytes));
            }
            let (us, bytes) = (best.0.as_secs_f64() * 1e6 / rows as f64, best.1 as f64 / rows as f64);
            println!("  {name:6} {rows:>7} rows  {us:.3} us/row  {bytes:5.1} bytes/row");
        }
    }
    Ok(())
}

/// Commits one small batch after the other.
fn grow(folder: &std::path::Path, commits: u64, interval: u64, fsync: bool) -> Result<(), Box<dyn Error>> {
    println!(
        "{commits} commits of 100 rows, a checkpoint every {interval}, {}",
        if fsync { "each on the disk" } else { "not waiting for the disk" }
    );
    let location = folder.display().to_string();
    let options =
        TableOptions { fsync, checkpoint_interval: interval, ..TableOptions::new("bench", "orders", location) };
    let mut sink = DeltaSink::open(options.clone())?;
    let stage = sink.stage();
    let batch = orders(100, 0);
    let (mut staging, mut committing) = (Vec::new(), Vec::new());
    for n in 1..=commits {
        let started = Instant::now();
        let staged: Staged = stage.stage(CheckpointId(n), batch.clone())?;
        let staged_at = Instant::now();
        sink.commit(vec![staged], &step(n))?;
        staging.push(staged_at - started);
        committing.push(staged_at.elapsed());
        sink.maintain()?;
        if [10, 100, 1000, 2000, 5000, 10_000, 20_000, 50_000].contains(&n) {
            let last = |times: &[Duration]| {
                let mut times = times[times.len().saturating_sub(100)..].to_vec();
                times.sort();
                format!("{:.2} (max {:.2})", ms(times[times.len() / 2]), ms(times[times.len() - 1]))
            };
            let (staging, committing) = (last(&staging), last(&committing));
            let (now, peak) = (resident_mib("VmRSS:"), resident_mib("VmHWM:"));
            println!(
                "  commit {n:>6}: stage {staging} ms, commit {committing} ms (median of the last 100); resident {now} MiB, peak {peak}"
            );
        }
    }
    let started = Instant::now();
    drop(sink);
    println!("  waiting for the last background checkpoint: {:.1} ms", ms(started.elapsed()));
    let mut sink = DeltaSink::open(options.clone())?;
    let started = Instant::now();
    sink.checkpoint()?;
    println!("  one checkpoint, in the foreground: {:.1} ms", ms(started.elapsed()));
    let started = Instant::now();
    let version = DeltaSink::open(options)?.version();
    println!("  a fresh look at version {version:?}: {:.1} ms", ms(started.elapsed()));
    let started = Instant::now();
    let info = table_info(&folder.display().to_string())?;
    println!("  counting its {} files: {:.1} ms", info.files, ms(started.elapsed()));
    Ok(())
}

fn step(n: u64) -> Commit {
    let n = i64::try_from(n).unwrap_or(i64::MAX);
    let tp = TopicPartition::new("shop.public.orders", 0);
    let range = OffsetRange { start: NextOffset((n - 1) * 100), end: NextOffset(n * 100) };
    Commit {
        checkpoint: CheckpointId(n.unsigned_abs()),
        done: [(tp.clone(), range.end)].into_iter().collect(),
        epochs: [(tp.clone(), Epoch(1))].into_iter().collect(),
        delta: [(tp, range)].into_iter().collect(),
        digests: vec!["0".repeat(64)],
    }
}

/// Rows as the demo's generator makes them.
fn orders(rows: usize, first: i64) -> OutputRows {
    let mut random = fastrand::Rng::with_seed(7);
    let mut ints = |range: std::ops::Range<i64>| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values((0..rows).map(|_| random.i64(range.clone()))))
    };
    let (id, customer) = (ints(0..1_000_000), ints(0..200_000));
    let mut random = fastrand::Rng::with_seed(8);
    let mut floats = |range: std::ops::Range<i64>, unit: f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values((0..rows).map(|_| random.i64(range.clone()) as f64 / unit)))
    };
    let (total, discount) = (floats(100..90_000, 100.0), floats(0..1000, 1000.0));
    let mut random = fastrand::Rng::with_seed(9);
    let mut texts = |make: &dyn Fn(&mut fastrand::Rng) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values((0..rows).map(|_| make(&mut random))))
    };
    let status = texts(&|r| ["new", "paid", "shipped", "cancelled", "returned"][r.usize(0..5)].to_owned());
    let email = texts(&|r| format!("user{}@example.com", r.u32(0..1_000_000)));
    let note = texts(&|r| format!("please leave the parcel at the back door no {}", r.u32(0..1_000_000_000)));
    let sku = texts(&|r| format!("SKU-{:06}", r.u32(0..100_000)));
    let region = texts(&|r| ["eu-west", "us-east", "ap-south"][r.usize(0..3)].to_owned());
    let mut random = fastrand::Rng::with_seed(10);
    let quantity: ArrayRef = Arc::new(Int32Array::from_iter_values((0..rows).map(|_| random.i32(1..20))));
    let paid: ArrayRef = Arc::new((0..rows).map(|_| Some(random.bool())).collect::<BooleanArray>());
    let created: ArrayRef =
        Arc::new(Int64Array::from_iter_values((first..).take(rows).map(|n| 1_760_000_000_000_000 + n * 1000)));
    let columns = [
        ("id", DataType::Int64, id),
        ("customer_id", DataType::Int64, customer),
        ("total", DataType::Float64, total),
        ("status", DataType::Text, status),
        ("email", DataType::Text, email),
        ("note", DataType::Text, note),
        ("quantity", DataType::Int32, quantity),
        ("created_at", DataType::Int64, created),
        ("paid", DataType::Boolean, paid),
        ("sku", DataType::Text, sku),
        ("region", DataType::Text, region),
        ("discount", DataType::Float64, discount),
    ];
    let (fields, arrays) = columns.into_iter().map(|(name, kind, array)| (Field::new(name, kind, true), array)).unzip();
    let schema = Arc::new(TableSchema { fields, key: vec!["id".into()] });
    let batch = RecordBatch::try_new(schema.to_arrow(), arrays).expect("columns of one length");
    OutputRows { schema, batch, ops: vec![Op::Create; rows] }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn resident_mib(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(what));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
