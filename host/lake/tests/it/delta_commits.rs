//! Exactly once in a Delta table: replays, lost replies, zombies, neighbours, and other writers.

use std::sync::Barrier;

use deltalake::kernel::transaction::{CommitBuilder, CommitProperties, TableReference};
use deltalake::kernel::{Action, Add, Remove};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::writer::{DeltaWriter as _, RecordBatchWriter};
use deltalake::{DeltaTable, DeltaTableBuilder};
use lakemill_lake::{DeltaSink, TableOptions};
use lakemill_model::{CommitOutcome, Sink, SinkError};

use crate::common::*;

#[test]
fn rows_and_positions_land_in_one_entry() {
    let folder = Folder::new();
    let mut sink = folder.sink();
    assert_eq!(sink.positions().expect("no table is no position"), Default::default());
    let staged = stage(&sink, rows(0, 10));
    assert_eq!(sink.commit(staged, &step(3, 0, 10, 1)).expect("committed"), CommitOutcome::Committed(Some(0)));
    let staged = stage(&sink, rows(10, 15));
    assert_eq!(sink.commit(staged, &step(3, 10, 20, 1)).expect("committed"), CommitOutcome::Committed(Some(1)));
    assert_eq!(ids(&folder.table()), (0..15).collect::<Vec<_>>());

    let entries = log(&folder.table());
    let txn = |entry: usize| -> Vec<(String, i64)> {
        let txns = entries[entry].iter().filter_map(|action| action.get("txn"));
        txns.map(|txn| (txn["appId"].as_str().expect("an id").to_owned(), txn["version"].as_i64().expect("a number")))
            .collect()
    };
    let id = |kind: &str| format!("lakemill/default/shop/{kind}/shop.public.orders/3");
    assert_eq!(txn(0), [(id("done"), 10), (id("epoch"), 1), (id("orders"), 10)]);
    assert_eq!(txn(1), [(id("done"), 20), (id("orders"), 20)], "what did not change is not said again");
    let info = &entries[1][0]["commitInfo"];
    assert_eq!(
        (&info["operation"], &info["lakemill.ranges"]),
        (&"WRITE".into(), &serde_json::json!([["shop.public.orders", 3, 10, 20]]))
    );

    let seen = folder.sink().positions().expect("a fresh look");
    assert_eq!(seen, sink.positions().expect("the same look"));
    assert_eq!(
        (held(&seen, 3), seen.done.get(&tp(3)).map(|n| n.0), seen.epochs.get(&tp(3)).map(|e| e.0)),
        (Some(20), Some(20), Some(1))
    );
}

#[test]
fn without_a_table_and_without_rows_nothing_is_made() {
    let folder = Folder::new();
    let mut sink = folder.sink();
    assert_eq!(sink.commit(vec![], &step(0, 5, 5, 1)).expect("no error"), CommitOutcome::Deferred);
    assert_eq!(sink.commit(vec![], &step(0, 5, 9, 1)).expect("no error"), CommitOutcome::Deferred);
    assert!(!folder.table().exists());
    let staged = stage(&sink, rows(0, 1));
    assert_eq!(sink.commit(staged, &step(0, 9, 10, 1)).expect("committed"), CommitOutcome::Committed(Some(0)));
    assert_eq!(sink.commit(vec![], &step(0, 10, 99, 1)).expect("committed"), CommitOutcome::Committed(Some(1)));
    assert_eq!(held(&sink.positions().expect("positions"), 0), Some(99));
}

#[test]
fn a_table_is_made_empty_when_its_columns_are_known() {
    let folder = Folder::new();
    let mut sink = folder.sink();
    let rows = rows(0, 4);
    assert!(sink.create(&rows.schema).expect("made"));
    assert!(!sink.create(&rows.schema).expect("there"));
    assert!(!folder.sink().create(&rows.schema).expect("there for others, too"));
    assert_eq!(claim(&mut sink, 0).expect("possession of an empty table"), 1);
    let staged = stage(&sink, rows);
    assert_eq!(sink.commit(staged, &step(0, 0, 4, 1)).expect("committed"), CommitOutcome::Committed(Some(2)));
    assert_eq!(ids(&folder.table()), [0, 1, 2, 3]);
}

#[test]
fn a_commit_whose_reply_was_lost_is_not_written_again() {
    let folder = Folder::new();
    let mut sink = folder.sink();
    // This one knows what the process knew before it died, or before the reply came.
    let mut after = folder.sink();
    let staged = stage(&sink, rows(0, 10));
    sink.commit(staged, &step(0, 0, 10, 1)).expect("committed");
    let staged = stage(&after, rows(0, 10));
    assert_eq!(after.commit(staged, &step(0, 0, 10, 1)).expect("found"), CommitOutcome::AlreadyThere);
    assert_eq!(ids(&folder.table()), (0..10).collect::<Vec<_>>(), "the second file belongs to nothing");
    // It goes on from there.
    let staged = stage(&after, rows(10, 12));
    assert_eq!(after.commit(staged, &step(0, 10, 12, 1)).expect("committed"), CommitOutcome::Committed(Some(1)));
}

#[test]
fn files_of_no_commit_are_not_in_the_table() {
    let folder = Folder::new();
    let mut sink = folder.sink();
    let lost = stage(&sink, rows(0, 10));
    let staged = stage(&sink, rows(10, 12));
    sink.commit(staged, &step(0, 0, 12, 1)).expect("committed");
    drop(lost);
    let parquet = std::fs::read_dir(folder.table()).expect("a folder").filter(|entry| {
        entry.as_ref().expect("a file").path().extension().is_some_and(|extension| extension == "parquet")
    });
    assert_eq!(parquet.count(), 2);
    assert_eq!(ids(&folder.table()), [10, 11]);
}

#[test]
fn a_zombie_is_fenced_and_writes_nothing() {
    let folder = Folder::new();
    let mut old = folder.sink();
    let staged = stage(&old, rows(0, 10));
    old.commit(staged, &step(0, 0, 10, 1)).expect("committed");
    let mut new = folder.sink();
    assert_eq!(claim(&mut new, 0).expect("taken over"), 2);
    // At the very offsets that the table shows.
    let staged = stage(&old, rows(10, 20));
    let error = old.commit(staged, &step(0, 10, 20, 1)).expect_err("fenced");
    assert_eq!(
        error.to_string(),
        "sink orders: another process writes as this pipeline: shop.public.orders/0 should be at epoch 1, is at epoch 2; stop the \
         other one, or give one of them another `pipeline` name"
    );
    let staged = stage(&new, rows(10, 30));
    new.commit(staged, &step(0, 10, 30, 2)).expect("the new owner goes on");
    let staged = stage(&old, rows(10, 20));
    assert!(matches!(old.commit(staged, &step(0, 10, 20, 1)), Err(SinkError::Fenced { .. })), "not skipped either");
    assert_eq!(ids(&folder.table()), (0..30).collect::<Vec<_>>());
}

#[test]
fn of_two_processes_that_take_over_at_once_one_looks_again() {
    let folder = Folder::new();
    let mut first = folder.sink();
    let staged = stage(&first, rows(0, 10));
    first.commit(staged, &step(0, 0, 10, 1)).expect("committed");
    let (mut a, mut b) = (folder.sink(), folder.sink());
    a.commit(vec![], &step(0, 10, 10, 2)).expect("first");
    assert!(matches!(b.commit(vec![], &step(0, 10, 10, 2)), Err(SinkError::Fenced { .. })));
    assert_eq!(claim(&mut b, 0).expect("looks again"), 3);
}

/// Two processes believe that they own the same partition; whatever happens, every row is there once.
#[test]
fn racing_zombies_never_double_a_row() {
    for _ in 0..5 {
        let folder = Folder::new();
        let start = Barrier::new(2);
        let outcomes: Vec<Result<(), SinkError>> = std::thread::scope(|scope| {
            let race = |_| {
                scope.spawn(|| {
                    let mut sink = folder.sink();
                    start.wait();
                    for n in 0..40 {
                        let staged = stage(&sink, rows(n * 10, n * 10 + 10));
                        sink.commit(staged, &step(0, n * 10, n * 10 + 10, 1))?;
                    }
                    Ok(())
                })
            };
            let racers: Vec<_> = (0..2).map(race).collect();
            racers.into_iter().map(|racer| racer.join().expect("no panic")).collect()
        });
        for outcome in &outcomes {
            assert!(matches!(outcome, Ok(()) | Err(SinkError::Fenced { .. })), "{outcome:?}");
        }
        let seen = held(&folder.sink().positions().expect("positions"), 0).expect("somebody committed");
        assert_eq!(ids(&folder.table()), (0..seen).collect::<Vec<_>>());
        assert!(outcomes.iter().any(Result::is_ok) || seen < 400, "whoever was not fenced got to the end");
    }
}

/// Two consumers of a group that share the partitions start at once, on no table.
#[test]
fn neighbours_with_other_partitions_both_go_on() {
    let folder = Folder::new();
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        for partition in 0..2 {
            let (folder, start) = (&folder, &start);
            scope.spawn(move || {
                let mut sink = folder.sink();
                start.wait();
                for n in 0..100 {
                    let first = i64::from(partition) * 1_000_000 + n * 10;
                    let staged = stage(&sink, rows(first, first + 10));
                    sink.commit(staged, &step(partition, n * 10, n * 10 + 10, 1)).expect("nobody is in the way");
                }
            });
        }
    });
    let mut sink = folder.sink();
    assert_eq!(sink.version(), Some(199));
    let seen = sink.positions().expect("positions");
    assert_eq!((held(&seen, 0), held(&seen, 1)), (Some(1000), Some(1000)));
    assert_eq!(ids(&folder.table()), (0..1000).chain(1_000_000..1_001_000).collect::<Vec<_>>());
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

async fn open(folder: &Folder) -> DeltaTable {
    let url = url::Url::from_directory_path(folder.table()).expect("absolute");
    DeltaTableBuilder::from_url(url).expect("a location").load().await.expect("a table")
}

#[test]
fn deltalake_may_append_meanwhile_and_compact() {
    let folder = Folder::new();
    let mut sink = folder.sink();
    let staged = stage(&sink, rows(0, 10));
    sink.commit(staged, &step(0, 0, 10, 1)).expect("committed");
    let other = runtime();
    for n in 1..6 {
        // It appends between our staging and our commit.
        let staged = stage(&sink, rows(n * 10, n * 10 + 10));
        other.block_on(async {
            let mut table = open(&folder).await;
            let mut writer = RecordBatchWriter::for_table(&table).expect("a writer");
            writer.write(rows(-n, -n + 1).batch).await.expect("written");
            writer.flush_and_commit(&mut table).await.expect("committed");
        });
        sink.commit(staged, &step(0, n * 10, n * 10 + 10, 1)).expect("committed");
    }
    let expected: Vec<i64> = (-5..60).collect();
    assert_eq!(ids(&folder.table()), expected);
    // It rewrites a file of ours while we stage.
    let staged = stage(&sink, rows(60, 61));
    other.block_on(compact(&folder));
    sink.commit(staged, &step(0, 60, 61, 1)).expect("committed");
    assert_eq!(ids(&folder.table()), (-5..61).collect::<Vec<_>>());
    let version = other.block_on(async { open(&folder).await.version() });
    assert_eq!(version, sink.version(), "deltalake reads what came about");
}

/// What OPTIMIZE does: a file is replaced by another one with the same rows, and no data changes.
async fn compact(folder: &Folder) {
    let table = open(folder).await;
    let add = adds(&folder.table()).remove(0);
    let old = data_file(&folder.table(), &add);
    std::fs::copy(&old, folder.table().join("compacted.parquet")).expect("copied");
    let size = i64::try_from(std::fs::metadata(&old).expect("a file").len()).expect("small");
    let path = add["path"].as_str().expect("a path").to_owned();
    let actions = vec![
        Action::Remove(Remove { path, data_change: false, deletion_timestamp: Some(1), ..Default::default() }),
        Action::Add(Add {
            path: "compacted.parquet".to_owned(),
            size,
            modification_time: 1,
            data_change: false,
            ..Default::default()
        }),
    ];
    let operation = DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None };
    let state = table.snapshot().expect("loaded");
    let commit = CommitBuilder::from(CommitProperties::default()).with_actions(actions);
    commit.build(Some(state as &dyn TableReference), table.log_store(), operation).await.expect("committed");
}

#[test]
fn log_checkpoints_carry_positions_and_rows() {
    let folder = Folder::new();
    let options = TableOptions { checkpoint_interval: 10, ..folder.options() };
    let mut sink = DeltaSink::open(options.clone()).expect("opens");
    for n in 0..25 {
        let staged = stage(&sink, rows(n, n + 1));
        sink.commit(staged, &step(0, n, n + 1, 1)).expect("committed");
        sink.maintain().expect("no trouble");
    }
    // Waits for a checkpoint that is being written.
    drop(sink);
    let names = |suffix: &str| {
        let log = std::fs::read_dir(folder.table().join("_delta_log")).expect("a log");
        let names = log.map(|entry| entry.expect("a file").file_name().into_string().expect("UTF-8"));
        let mut names: Vec<String> = names.filter(|name| name.ends_with(suffix)).collect();
        names.sort();
        names
    };
    assert!(!names(".checkpoint.parquet").is_empty() && names(".tmp").is_empty(), "{:?}", names(""));
    let mut sink = DeltaSink::open(options).expect("opens");
    assert_eq!(sink.checkpoint().expect("written"), 24);
    let hint = std::fs::read_to_string(folder.table().join("_delta_log/_last_checkpoint")).expect("a hint");
    assert!(hint.contains("\"version\":24"), "{hint}");

    // A reader who has nothing but the checkpoint and its own entry.
    for entry in &names(".json")[..24] {
        std::fs::remove_file(folder.table().join("_delta_log").join(entry)).expect("removed");
    }
    let mut fresh = folder.sink();
    assert_eq!(fresh.version(), Some(24));
    assert_eq!(held(&fresh.positions().expect("positions"), 0), Some(25));
    let table = runtime().block_on(open(&folder));
    assert_eq!(table.get_file_uris().expect("files").count(), 25);
    let staged = stage(&fresh, rows(25, 26));
    assert_eq!(fresh.commit(staged, &step(0, 25, 26, 1)).expect("committed"), CommitOutcome::Committed(Some(25)));
}

/// A writer that stood still while others went on and cleaned up: its next number was taken long ago and deleted since.
#[test]
fn a_writer_behind_a_cleaned_up_log_does_not_write_into_the_past() {
    let folder = Folder::new();
    let mut slow = folder.sink();
    let staged = stage(&slow, rows(0, 1));
    slow.commit(staged, &step(0, 0, 1, 1)).expect("committed");
    let retention = Some(std::time::Duration::ZERO);
    let mut fast = DeltaSink::open(TableOptions { log_retention: retention, ..folder.options() }).expect("opens");
    for n in 1..20 {
        let staged = stage(&fast, rows(n, n + 1));
        fast.commit(staged, &step(1, n - 1, n, 1)).expect("committed");
    }
    fast.checkpoint().expect("written and cleaned up");
    assert!(!folder.table().join("_delta_log/00000000000000000001.json").exists());
    let staged = stage(&slow, rows(20, 21));
    assert_eq!(slow.commit(staged, &step(0, 1, 2, 1)).expect("committed"), CommitOutcome::Committed(Some(20)));
    let seen = folder.sink().positions().expect("positions");
    assert_eq!((held(&seen, 0), held(&seen, 1)), (Some(2), Some(19)));
}

/// A listing of a folder that somebody writes to may show a file and not the one before it, which was there first.
#[test]
fn a_look_beside_a_writer_is_whole() {
    const COMMITS: i64 = 2_000;
    let folder = Folder::new();
    let mut sink = folder.sink();
    let staged = stage(&sink, rows(0, 1));
    sink.commit(staged, &step(0, 0, 1, 1)).expect("committed");
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || {
            for at in 1..COMMITS {
                sink.commit(vec![], &step(0, at, at + 1, 1)).expect("committed");
            }
        });
        let mut last = 0;
        while !writing.is_finished() {
            let seen = held(&folder.sink().positions().expect("a look"), 0).expect("there is one");
            assert!(seen >= last, "{seen} after {last}");
            last = seen;
        }
    });
    assert_eq!(held(&folder.sink().positions().expect("a look"), 0), Some(COMMITS));
}
