//! Disks that are full, and places where nothing can be written.

use std::process::Command;
use std::sync::Arc;

use arrow_array::Int64Array;
use lakemill_lake::{DeltaSink, ParquetSink, TableOptions};
use lakemill_model::{CheckpointId, CommitOutcome, DataType, Field, OutputRows, Sink, SinkError};

use crate::common::*;

/// Rows that no encoding makes smaller than 8 bytes each.
fn noise(rows: usize) -> OutputRows {
    let mut random = fastrand::Rng::with_seed(1);
    let ids = Int64Array::from_iter_values((0..rows).map(|_| random.i64(..)));
    let notes = arrow_array::StringArray::from(vec![None::<&str>; rows]);
    rows_of(vec![
        (Field::new("id", DataType::Int64, false), Arc::new(ids)),
        (Field::new("note", DataType::Text, true), Arc::new(notes)),
    ])
}

const CHILD: &str = "LAKEMILL_TEST_FULL_DISK";

/// The system refuses to let files grow beyond 16 KiB, as it does on a full disk; it does so for a process, so this test runs
/// itself again in one.
#[test]
fn a_full_disk_is_told_with_the_path_and_leaves_nothing_behind() {
    if let Some(table) = std::env::var_os(CHILD) {
        let mut sink = DeltaSink::open(options(table.as_ref())).expect("opens");
        let error = sink.stage().stage(CheckpointId(1), noise(10_000)).expect_err("does not fit");
        assert!(
            matches!(&error, SinkError::Storage { action: "write", path, .. } if path.ends_with(".zstd.parquet")),
            "{error}"
        );
        // What fits goes through.
        let staged = stage(&sink, rows(0, 10));
        sink.commit(staged, &step(0, 0, 10, 1)).expect("committed");
        return;
    }
    let folder = Folder::new();
    let test = std::env::current_exe().expect("this test");
    // Units of 512 bytes; with the signal ignored, writes fail instead of killing the process.
    let limited = "trap '' XFSZ; ulimit -f 32; exec \"$0\" --exact storage::a_full_disk_is_told_with_the_path_and_leaves_nothing_behind";
    let output = Command::new("sh").args(["-c", limited]).arg(test).env(CHILD, folder.table()).output().expect("sh");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // There is room again.
    let mut sink = folder.sink();
    let staged = stage(&sink, noise(10_000));
    assert_eq!(sink.commit(staged, &step(0, 10, 20, 1)).expect("committed"), CommitOutcome::Committed(Some(1)));
    let parquet = std::fs::read_dir(folder.table()).expect("a folder").filter(|entry| {
        entry.as_ref().expect("a file").path().extension().is_some_and(|extension| extension == "parquet")
    });
    assert_eq!(parquet.count(), 2, "the half of a file is gone");
    assert_eq!(ids(&folder.table()).len(), 10_010);
}

#[test]
fn a_place_that_takes_no_files_is_told_with_the_path() {
    let folder = Folder::new();
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").expect("written");
    let below = TableOptions::new("shop", "orders", file.join("table").display().to_string());
    let told = |error: SinkError| match error {
        SinkError::Storage { path, .. } => assert!(path.starts_with(&file.display().to_string()), "{path}"),
        other => panic!("another error: {other}"),
    };
    match DeltaSink::open(below.clone()) {
        Err(error) => told(error),
        Ok(sink) => told(sink.stage().stage(CheckpointId(1), rows(0, 1)).expect_err("no folder can be made")),
    }
    match ParquetSink::open(below) {
        Err(error) => told(error),
        Ok(sink) => told(sink.stage().stage(CheckpointId(1), rows(0, 1)).expect_err("no folder can be made")),
    }
}

#[test]
fn a_log_that_cannot_be_written_fails_the_commit_and_not_the_table() {
    let folder = Folder::new();
    let mut sink = folder.sink();
    let staged = stage(&sink, rows(0, 10));
    std::fs::write(folder.table().join("_delta_log"), "in the way").expect("written");
    let error = sink.commit(staged, &step(0, 0, 10, 1)).expect_err("no log can be made");
    assert!(matches!(&error, SinkError::Storage { path, .. } if path.ends_with("_delta_log")), "{error}");
    std::fs::remove_file(folder.table().join("_delta_log")).expect("removed");
    let staged = stage(&sink, rows(0, 10));
    assert_eq!(sink.commit(staged, &step(0, 0, 10, 1)).expect("committed"), CommitOutcome::Committed(Some(0)));
    assert_eq!(ids(&folder.table()), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_damaged_log_is_told_and_not_skipped() {
    let folder = Folder::new();
    let mut sink = folder.sink();
    for n in 0..3 {
        let staged = stage(&sink, rows(n, n + 1));
        sink.commit(staged, &step(0, n, n + 1, 1)).expect("committed");
    }
    let mut behind = folder.sink();
    let staged = stage(&sink, rows(3, 4));
    sink.commit(staged, &step(0, 3, 4, 1)).expect("committed");
    let entry = folder.table().join("_delta_log/00000000000000000003.json");
    let whole = std::fs::read(&entry).expect("readable");
    for cut in [1, whole.len() / 2, whole.len() - 3] {
        std::fs::write(&entry, &whole[..cut]).expect("written");
        assert!(behind.positions().is_err(), "cut at {cut}");
        assert!(DeltaSink::open(folder.options()).is_err(), "cut at {cut}");
    }
    std::fs::write(&entry, &whole).expect("written");
    assert_eq!(held(&behind.positions().expect("whole again"), 0), Some(4));
}

#[test]
fn a_table_that_vanished_is_not_made_anew() {
    let folder = Folder::new();
    let mut sink = folder.sink();
    let staged = stage(&sink, rows(0, 10));
    sink.commit(staged, &step(0, 0, 10, 1)).expect("committed");
    std::fs::remove_dir_all(folder.table()).expect("removed");
    for _ in 0..2 {
        let staged = stage(&sink, rows(10, 20));
        let error = sink.commit(staged, &step(0, 10, 20, 1)).expect_err("must be refused");
        assert!(error.to_string().contains("was deleted while it was written: put it back"), "{error}");
        assert!(!folder.table().join("_delta_log").exists());
    }
}

#[test]
fn a_table_in_the_place_of_another_is_not_written() {
    let (folder, other) = (Folder::new(), Folder::new());
    for folder in [&folder, &other] {
        let mut sink = folder.sink();
        for start in 0..3 {
            let staged = stage(&sink, rows(start, start + 1));
            sink.commit(staged, &step(0, start, start + 1, 1)).expect("committed");
        }
    }
    let mut sink = folder.sink();
    // The same positions, the same number of versions, another table.
    std::fs::remove_dir_all(folder.table()).expect("removed");
    std::fs::rename(other.table(), folder.table()).expect("moved");
    let staged = stage(&sink, rows(3, 4));
    let error = sink.commit(staged, &step(0, 3, 4, 1)).expect_err("must be refused");
    assert!(error.to_string().contains("was replaced by another one while it was written"), "{error}");
    assert_eq!(log(&folder.table()).len(), 3);
}
