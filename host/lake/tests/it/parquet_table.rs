//! The Parquet table: what its manifest shows, and that it keeps the same promises as Delta.

use std::sync::{Arc, Barrier};

use arrow_array::{Int64Array, StringArray};
use lakemill_lake::{DeltaSink, ParquetSink, TableKind, TableOptions, table_info, visible_files};
use lakemill_model::{CommitOutcome, DataType, Field, Sink, SinkError};

use crate::common::*;

fn open(folder: &Folder) -> ParquetSink {
    ParquetSink::open(folder.options()).expect("opens")
}

fn location(folder: &Folder) -> String {
    folder.table().display().to_string()
}

fn visible_ids(folder: &Folder) -> Vec<i64> {
    let files = visible_files(&location(folder)).expect("a manifest");
    ids_in(files.iter().map(|file| folder.table().join(&file.path)))
}

#[test]
fn rows_and_positions_become_visible_together() {
    let folder = Folder::new();
    let mut sink = open(&folder);
    assert_eq!(sink.commit(vec![], &step(0, 0, 0, 1)).expect("no error"), CommitOutcome::Deferred);
    let orphan = stage(&sink, rows(100, 110));
    let staged = stage(&sink, rows(0, 10));
    assert_eq!(visible_files(&location(&folder)).expect("nothing yet"), []);
    assert_eq!(sink.commit(staged, &step(0, 0, 10, 1)).expect("committed"), CommitOutcome::Committed(Some(0)));
    drop(orphan);
    assert_eq!(visible_ids(&folder), (0..10).collect::<Vec<_>>());
    let mut fresh = open(&folder);
    assert_eq!(held(&fresh.positions().expect("positions"), 0), Some(10));
    let info = table_info(&location(&folder)).expect("a table");
    assert_eq!((info.kind, info.version, info.rows, info.files), (TableKind::Parquet, 0, Some(10), 1));
    assert_eq!(info.columns, [("id".to_owned(), "long".to_owned()), ("note".to_owned(), "string".to_owned())]);

    let mut empty = ParquetSink::open(options(&folder.path().join("empty"))).expect("opens");
    assert!(empty.create(&rows(0, 1).schema).expect("made"));
    assert_eq!(claim(&mut empty, 0).expect("possession of an empty table"), 1);
}

#[test]
fn lost_replies_zombies_and_misfits_end_as_with_delta() {
    let folder = Folder::new();
    let (mut sink, mut after) = (open(&folder), open(&folder));
    let staged = stage(&sink, rows(0, 10));
    sink.commit(staged, &step(0, 0, 10, 1)).expect("committed");
    let staged = stage(&after, rows(0, 10));
    assert_eq!(after.commit(staged, &step(0, 0, 10, 1)).expect("found"), CommitOutcome::AlreadyThere);
    let mut new = open(&folder);
    claim(&mut new, 0).expect("taken over");
    let staged = stage(&sink, rows(10, 20));
    assert!(matches!(sink.commit(staged, &step(0, 10, 20, 1)), Err(SinkError::Fenced { .. })));
    assert_eq!(visible_ids(&folder), (0..10).collect::<Vec<_>>());
    let other = rows_of(vec![(Field::new("id", DataType::Text, true), Arc::new(StringArray::from(vec!["1"])))]);
    let error = new.stage().stage(lakemill_model::CheckpointId(1), other).expect_err("must be refused");
    assert!(error.to_string().contains("column `id`: the table has it as long, the rows have it as string"), "{error}");
}

#[test]
fn neighbours_share_a_table_and_its_lists() {
    let folder = Folder::new();
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        for partition in 0..2 {
            let (folder, start) = (&folder, &start);
            scope.spawn(move || {
                let mut sink = open(folder);
                start.wait();
                for n in 0..130 {
                    let first = i64::from(partition) * 1_000_000 + n;
                    let staged = stage(&sink, rows(first, first + 1));
                    sink.commit(staged, &step(partition, n, n + 1, 1)).expect("nobody is in the way");
                    sink.maintain().expect("no trouble");
                }
            });
        }
    });
    let expected: Vec<i64> = (0..130).chain(1_000_000..1_000_130).collect();
    assert_eq!(visible_ids(&folder), expected);
    let info = table_info(&location(&folder)).expect("a table");
    assert_eq!((info.version, info.rows, info.files), (259, Some(260), 260));
    let manifest = folder.table().join("_manifest");
    for list in ["00000000000000000099.list.json", "00000000000000000199.list.json"] {
        assert!(manifest.join(list).exists(), "{list}");
    }
    // A reader gets the same without them, and the same without what they cover.
    for version in 0..200 {
        std::fs::remove_file(manifest.join(format!("{version:020}.json"))).expect("removed");
    }
    assert_eq!(visible_ids(&folder), expected);
}

#[test]
fn a_gap_or_a_damaged_entry_is_told_and_not_skipped() {
    let folder = Folder::new();
    let mut sink = open(&folder);
    for n in 0..3 {
        let staged = stage(&sink, rows(n, n + 1));
        sink.commit(staged, &step(0, n, n + 1, 1)).expect("committed");
    }
    let entry = folder.table().join("_manifest/00000000000000000001.json");
    let whole = std::fs::read(&entry).expect("readable");
    std::fs::write(&entry, &whole[..whole.len() / 2]).expect("written");
    let error = visible_files(&location(&folder)).expect_err("damaged");
    assert!(error.to_string().contains("00000000000000000001.json: its checksum does not match"), "{error}");
    // A whole entry, but of another table.
    let other = Folder::new();
    let mut sink = open(&other);
    for n in 0..2 {
        let staged = stage(&sink, rows(n, n + 1));
        sink.commit(staged, &step(0, n, n + 1, 1)).expect("committed");
    }
    std::fs::copy(other.table().join("_manifest/00000000000000000001.json"), &entry).expect("copied");
    let error = visible_files(&location(&folder)).expect_err("a stranger");
    assert!(error.to_string().contains("it follows another entry than the one that is there"), "{error}");
    std::fs::remove_file(&entry).expect("removed");
    let error = visible_files(&location(&folder)).expect_err("a gap");
    assert!(error.to_string().contains("it is missing, and later entries are there"), "{error}");
}

#[test]
fn a_folder_is_one_kind_of_table() {
    let folder = Folder::new();
    let mut sink = open(&folder);
    let staged = stage(&sink, rows(0, 1));
    sink.commit(staged, &step(0, 0, 1, 1)).expect("committed");
    let Err(error) = DeltaSink::open(folder.options()) else { panic!("it was opened") };
    assert!(error.to_string().contains("holds a Parquet table"), "{error}");
    let other = Folder::new();
    let mut sink = other.sink();
    let staged = stage(&sink, rows(0, 1));
    sink.commit(staged, &step(0, 0, 1, 1)).expect("committed");
    let Err(error) = ParquetSink::open(other.options()) else { panic!("it was opened") };
    assert!(error.to_string().contains("holds a Delta table"), "{error}");
}

#[test]
fn files_hold_their_partition_columns_too() {
    let folder = Folder::new();
    let options = TableOptions { partition_columns: vec!["p".into()], ..folder.options() };
    let mut sink = ParquetSink::open(options).expect("opens");
    let rows = rows_of(vec![
        (Field::new("p", DataType::Text, true), Arc::new(StringArray::from(vec![Some("a/b"), None, Some("a/b")]))),
        (Field::new("id", DataType::Int64, true), Arc::new(Int64Array::from(vec![1, 2, 3]))),
    ]);
    let staged = stage(&sink, rows);
    sink.commit(staged, &step(0, 0, 3, 1)).expect("committed");
    let files = visible_files(&location(&folder)).expect("a manifest");
    assert!(files[0].path.starts_with("data/p=a%2Fb/part-"), "{}", files[0].path);
    let batch = &read_parquet(&folder.table().join(&files[0].path))[0];
    let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["p", "id"]);
    assert_eq!(visible_ids(&folder), [1, 2, 3]);
    // The same table opened without naming them.
    let mut sink = open(&folder);
    let staged =
        stage(&sink, rows_of(vec![(Field::new("id", DataType::Int64, true), Arc::new(Int64Array::from(vec![4])))]));
    sink.commit(staged, &step(0, 3, 4, 1)).expect("committed");
    assert_eq!(visible_files(&location(&folder)).expect("a manifest").len(), 3);
}
