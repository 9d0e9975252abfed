//! Rows, commits, and a reader of tables that shares no code with the sinks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use lakemill_lake::{DeltaSink, TableOptions};
use lakemill_model::{
    CheckpointId, Commit, DataType, Epoch, Field, NextOffset, OffsetRange, Op, OutputRows, Sink, SinkError,
    SinkPositions, Staged, TableSchema, TopicPartition,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

/// A folder for one test.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn table(&self) -> PathBuf {
        self.path().join("orders")
    }

    pub fn options(&self) -> TableOptions {
        options(&self.table())
    }

    pub fn sink(&self) -> DeltaSink {
        DeltaSink::open(self.options()).expect("opens")
    }
}

pub fn options(table: &Path) -> TableOptions {
    TableOptions { fsync: false, ..TableOptions::new("shop", "orders", table.display().to_string()) }
}

pub fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("shop.public.orders", partition)
}

pub fn range(start: i64, end: i64) -> OffsetRange {
    OffsetRange { start: NextOffset(start), end: NextOffset(end) }
}

/// The step `start..end` of one partition, as the sink that commits last gets it.
pub fn step(partition: i32, start: i64, end: i64, epoch: i64) -> Commit {
    Commit {
        checkpoint: CheckpointId(start.unsigned_abs() + 1),
        delta: [(tp(partition), range(start, end))].into_iter().collect(),
        done: [(tp(partition), NextOffset(end))].into_iter().collect(),
        epochs: [(tp(partition), Epoch(epoch))].into_iter().collect(),
        digests: vec!["cafe".repeat(16)],
    }
}

/// Takes possession where the sink stands, under the next epoch.
pub fn claim(sink: &mut impl Sink, partition: i32) -> Result<i64, SinkError> {
    let seen = sink.positions()?;
    let epoch = seen.epochs.get(&tp(partition)).map_or(1, |epoch| epoch.0 + 1);
    let at = seen.held.get(&tp(partition)).map_or(0, |next| next.0);
    sink.commit(vec![], &step(partition, at, at, epoch))?;
    Ok(epoch)
}

pub fn held(positions: &SinkPositions, partition: i32) -> Option<i64> {
    positions.held.get(&tp(partition)).map(|next| next.0)
}

pub fn rows_of(columns: Vec<(Field, ArrayRef)>) -> OutputRows {
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let schema = Arc::new(TableSchema { fields, key: vec![] });
    let batch = RecordBatch::try_new(schema.to_arrow(), arrays).expect("a batch");
    let ops = vec![Op::Create; batch.num_rows()];
    OutputRows { schema, batch, ops }
}

/// Rows `start..end` with columns `id` and `note`.
pub fn rows(start: i64, end: i64) -> OutputRows {
    rows_of(vec![
        (Field::new("id", DataType::Int64, false), Arc::new(Int64Array::from_iter_values(start..end))),
        (
            Field::new("note", DataType::Text, true),
            Arc::new(StringArray::from_iter((start..end).map(|n| (n % 3 != 0).then(|| format!("note {n}"))))),
        ),
    ])
}

pub fn stage(sink: &impl Sink, rows: OutputRows) -> Vec<Staged> {
    vec![sink.stage().stage(CheckpointId(1), rows).expect("staged")]
}

/// The commits of a Delta log, oldest first; each is a list of actions.
pub fn log(table: &Path) -> Vec<Vec<Value>> {
    let mut entries: Vec<_> = std::fs::read_dir(table.join("_delta_log"))
        .expect("a log")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    entries.sort();
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).expect("readable");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    entries.iter().map(read).collect()
}

/// The `add` actions that were not removed.
pub fn adds(table: &Path) -> Vec<Value> {
    let actions: Vec<Value> = log(table).into_iter().flatten().collect();
    let removed: Vec<&Value> =
        actions.iter().filter_map(|action| action.get("remove")).map(|remove| &remove["path"]).collect();
    actions
        .iter()
        .filter_map(|action| action.get("add"))
        .filter(|add| !removed.contains(&&add["path"]))
        .cloned()
        .collect()
}

/// The path of a data file from its URI in the log.
pub fn data_file(table: &Path, add: &Value) -> PathBuf {
    let url = url::Url::from_directory_path(table)
        .expect("absolute")
        .join(add["path"].as_str().expect("a path"))
        .expect("a URI");
    url.to_file_path().expect("a file")
}

pub fn read_parquet(path: &Path) -> Vec<RecordBatch> {
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file").build().expect("a reader");
    reader.collect::<Result<_, _>>().expect("rows")
}

/// The `id` of every row of a Delta table, sorted, by its log and files.
pub fn ids(table: &Path) -> Vec<i64> {
    ids_in(adds(table).iter().map(|add| data_file(table, add)))
}

pub fn ids_in(files: impl Iterator<Item = PathBuf>) -> Vec<i64> {
    let mut ids = Vec::new();
    for file in files {
        for batch in read_parquet(&file) {
            let column = batch.column_by_name("id").expect("the column id");
            let column = column.as_any().downcast_ref::<Int64Array>().expect("longs");
            assert_eq!(column.null_count(), 0);
            ids.extend(column.values().iter());
        }
    }
    ids.sort_unstable();
    ids
}

/// A table that another writer made: its first log entry, by hand.
pub fn foreign_table(
    table: &Path,
    fields: &Value,
    protocol: &Value,
    configuration: &Value,
    partition_columns: &[&str],
) {
    let metadata = serde_json::json!({
        "id": "11111111-2222-3333-4444-555555555555",
        "format": {"provider": "parquet", "options": {}},
        "schemaString": serde_json::json!({"type": "struct", "fields": fields}).to_string(),
        "partitionColumns": partition_columns,
        "configuration": configuration,
        "createdTime": 1,
    });
    let log = table.join("_delta_log");
    std::fs::create_dir_all(&log).expect("a folder");
    let entry =
        format!("{}\n{}\n", serde_json::json!({"protocol": protocol}), serde_json::json!({"metaData": metadata}));
    std::fs::write(log.join("00000000000000000000.json"), entry).expect("written");
}

pub fn field(name: &str, kind: &str, nullable: bool) -> Value {
    serde_json::json!({"name": name, "type": kind, "nullable": nullable, "metadata": {}})
}
