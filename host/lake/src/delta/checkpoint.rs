//! Writes log checkpoints: what a table holds at a version in one file, so that readers need not read its whole log.
//! Nothing of a commit depends on one, and none is trusted before it was read back.
//!
//! The kernel makes the rows; we write them beside the log, read the file back, compare, and only then give it its name: a
//! checkpoint that is cut or wrong would make the table unreadable, since readers take it without asking the entries.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{Array as _, RecordBatch};
use delta_kernel::Engine;
use delta_kernel::checkpoint::LastCheckpointHintStats;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::snapshot::SnapshotRef;
use lakemill_failpoint::{Point, reach};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::LookError;
use super::log::Log;
use super::snapshot::{collect_transactions, with_snapshot};

/// What a checkpoint must hold.
struct Expected {
    rows: usize,
    adds: i64,
}

/// Writes the checkpoint of `version` of the table at `root`. `transactions` are those of ours that it must hold.
///
/// Memory grows with the number of files of the table: the kernel remembers each path once, to leave out what was removed.
pub(crate) fn write(
    root: &Path,
    log: &Arc<Log>,
    version: u64,
    transactions: BTreeMap<String, i64>,
    prefix: String,
) -> Result<(), LookError> {
    let log = log.clone();
    with_snapshot(root, version, move |snapshot, engine| {
        let name = format!("{version:020}.checkpoint.parquet");
        let hidden = log.dir().join(format!(".{name}.{}.tmp", uuid::Uuid::new_v4().simple()));
        let done = write_checked(&hidden, snapshot, engine, &transactions, &prefix);
        let adopted = done.and_then(|finish| {
            log.adopt(&hidden, &name)?;
            reach(Point::CheckpointVisible);
            finish(engine)?;
            reach(Point::CheckpointDurable);
            Ok(())
        });
        if adopted.is_err() {
            drop(std::fs::remove_file(&hidden));
        }
        adopted
    })
}

type Finish = Box<dyn FnOnce(&dyn Engine) -> Result<(), LookError>>;

fn write_checked(
    hidden: &PathBuf,
    snapshot: &SnapshotRef,
    engine: &dyn Engine,
    transactions: &BTreeMap<String, i64>,
    prefix: &str,
) -> Result<Finish, LookError> {
    let writer = snapshot.clone().create_checkpoint_writer(engine)?;
    let mut data = writer.checkpoint_data(engine)?;
    let state = data.state();
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let (mut rows, mut file) = (0, None::<ArrowWriter<File>>);
    for batch in data.by_ref() {
        let batch = batch?.apply_selection_vector()?;
        let batch: RecordBatch = (*ArrowEngineData::try_from_engine_data(batch)?).into();
        rows += batch.num_rows();
        let writer = match &mut file {
            Some(file) => file,
            None => {
                let created = File::create_new(hidden).map_err(|error| LookError::storage(hidden, &error))?;
                file.insert(ArrowWriter::try_new(created, batch.schema(), Some(properties.clone()))?)
            }
        };
        writer.write(&batch)?;
    }
    drop(data);
    let file = file.ok_or_else(|| LookError::Unsupported("its log has no actions".to_owned()))?.into_inner()?;
    file.sync_all().map_err(|error| LookError::storage(hidden, &error))?;
    let bytes = file.metadata().map_err(|error| LookError::storage(hidden, &error))?.len();
    let state = Arc::into_inner(state)
        .ok_or_else(|| LookError::Unsupported("the kernel still writes the checkpoint".to_owned()))?;
    let expected = Expected { rows, adds: state.add_actions_count() };
    verify(hidden, &expected, transactions, prefix)?;
    let stats = LastCheckpointHintStats::from_reconciliation_state(state, bytes, 0)?;
    Ok(Box::new(move |engine| Ok(writer.finalize(engine, &stats)?)))
}

/// Reads a checkpoint back and compares it with what it must hold.
fn verify(
    path: &Path,
    expected: &Expected,
    transactions: &BTreeMap<String, i64>,
    prefix: &str,
) -> Result<(), LookError> {
    let file = File::open(path).map_err(|error| LookError::storage(path, &error))?;
    let (mut rows, mut adds, mut metadata, mut protocol) = (0, 0, 0, 0);
    let mut found = BTreeMap::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(file)?.build()? {
        let batch = batch.map_err(parquet::errors::ParquetError::from)?;
        let count = |name: &str| batch.column_by_name(name).map_or(0, |column| column.len() - column.null_count());
        rows += batch.num_rows();
        adds += count("add");
        metadata += count("metaData");
        protocol += count("protocol");
        collect_transactions(&batch, prefix, &mut found)?;
    }
    let adds_agree = i64::try_from(adds) == Ok(expected.adds);
    // Another pipeline of ours may have gone on: more than expected is fine, less or older is not.
    let held = transactions.iter().all(|(id, version)| found.get(id).is_some_and(|found| found >= version));
    if rows == expected.rows && adds_agree && metadata == 1 && protocol == 1 && held {
        return Ok(());
    }
    Err(LookError::Storage {
        path: path.display().to_string(),
        reason: format!(
            "the checkpoint reads back wrong: {rows} of {} rows, {adds} of {} files, {metadata} metaData, {protocol} protocol, \
             positions {}; it was not put in place",
            expected.rows,
            expected.adds,
            if held { "whole" } else { "missing" }
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeltaSink, TableOptions};
    use lakemill_model::{
        CheckpointId, Commit, DataType, Epochs, Field, NextOffset, OffsetRange, Sink as _, TableSchema, TopicPartition,
    };

    /// A table with one position and a checkpoint; the checkpoint's path, its table's folder, and what it must hold.
    fn checkpoint() -> (tempfile::TempDir, PathBuf, BTreeMap<String, i64>) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut sink =
            DeltaSink::open(TableOptions::new("p", "s", folder.path().display().to_string())).expect("opens");
        let schema = TableSchema { fields: vec![Field::new("id", DataType::Int64, true)], key: vec![] };
        sink.create(&Arc::new(schema)).expect("made");
        let range = OffsetRange { start: NextOffset(0), end: NextOffset(7) };
        let delta = [(TopicPartition::new("t", 0), range)].into_iter().collect();
        let (done, epochs) = (lakemill_model::Positions::new(), Epochs::default());
        let commit = Commit { checkpoint: CheckpointId(1), delta, done, epochs, digests: vec![] };
        sink.commit(vec![], &commit).expect("committed");
        assert_eq!(sink.checkpoint().expect("written"), 1);
        let path = folder.path().join("_delta_log/00000000000000000001.checkpoint.parquet");
        (folder, path, [("lakemill/default/p/s/t/0".to_owned(), 7)].into())
    }

    #[test]
    fn what_reads_back_otherwise_is_not_put_in_place() {
        let (_folder, path, transactions) = checkpoint();
        let prefix = "lakemill/default/p/";
        // protocol, metaData, txn
        let right = Expected { rows: 3, adds: 0 };
        verify(&path, &right, &transactions, prefix).expect("it is right");
        let wrong = |expected: &Expected, transactions: &BTreeMap<String, i64>| match verify(
            &path,
            expected,
            transactions,
            prefix,
        ) {
            Err(LookError::Storage { reason, .. }) => reason,
            other => panic!("{other:?}"),
        };
        assert!(wrong(&Expected { rows: 4, adds: 0 }, &transactions).contains("3 of 4 rows"));
        assert!(wrong(&Expected { rows: 3, adds: 1 }, &transactions).contains("0 of 1 files"));
        let later = [("lakemill/default/p/s/t/0".to_owned(), 8)].into();
        assert!(wrong(&right, &later).contains("positions missing"));
        let whole = std::fs::read(&path).expect("readable");
        for cut in [0, 10, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).expect("written");
            assert!(verify(&path, &right, &transactions, prefix).is_err(), "cut at {cut}");
        }
    }
}
