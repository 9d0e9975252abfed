//! Commits that land and whose writer is told of an error, by a system that fails: each is found, and none is written twice.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use lakemill_lake::{DeltaSink, ParquetSink, TableOptions, visible_files};
use lakemill_model::{CommitOutcome, Sink, SinkError};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};

use crate::common::*;

/// What the system refuses it refuses to a process, so these tests run themselves again in one; here is its folder.
const CHILD: &str = "LAKEMILL_TEST_LOST_REPLIES";

/// Lost replies by table.
const REPLIES: i64 = 100;

fn child_folder() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

/// Runs a test of this file in a process of its own, by way of `through`.
fn run_in_child(test: &str, folder: &Path, through: &[&str]) {
    let this = std::env::current_exe().expect("this test");
    let name = format!("lost_replies::{test}");
    let mut words = through.iter().map(PathBuf::from).chain([this, "--exact".into(), name.into()]);
    let output =
        Command::new(words.next().expect("a program")).args(words).env(CHILD, folder).output().expect("starts");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// From now on nothing is removed in this process: a file that gets its name keeps its hidden one, and whoever wanted to remove that is
/// told of an error.
fn refuse_to_remove() {
    let calls = [
        #[cfg(target_arch = "x86_64")]
        libc::SYS_unlink,
        libc::SYS_unlinkat,
    ];
    let refused: BTreeMap<i64, Vec<_>> = calls.into_iter().map(|call| (call, Vec::new())).collect();
    let errno = SeccompAction::Errno(libc::EIO.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into().expect("a machine that seccomp knows");
    let filter = SeccompFilter::new(refused, SeccompAction::Allow, errno, arch).expect("a filter");
    let program: BpfProgram = filter.try_into().expect("a program");
    apply_filter_all_threads(&program).expect("the system takes it");
}

fn durable(table: &Path) -> TableOptions {
    TableOptions { fsync: true, ..options(table) }
}

fn commits_without_replies(sink: &mut impl Sink) {
    for n in 1..=REPLIES {
        let staged = stage(sink, rows(n * 10, n * 10 + 10));
        let outcome = sink.commit(staged, &step(0, n * 10, n * 10 + 10, 1)).expect("found");
        assert_eq!(outcome, CommitOutcome::AlreadyThere, "commit {n}");
    }
    let seen = sink.positions().expect("readable");
    assert_eq!(held(&seen, 0), Some(REPLIES * 10 + 10));
}

fn begin(sink: &mut impl Sink) {
    let staged = stage(sink, rows(0, 10));
    assert!(matches!(sink.commit(staged, &step(0, 0, 10, 1)), Ok(CommitOutcome::Committed(Some(0)))));
}

/// Entries of a log and files that have kept their hidden names.
fn entries(dir: &Path) -> (usize, usize) {
    let names: Vec<String> = fs::read_dir(dir)
        .expect("a folder")
        .map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned())
        .collect();
    let hidden = names.iter().filter(|name| name.starts_with('.')).count();
    (names.iter().filter(|name| name.ends_with(".json") && !name.starts_with('.')).count(), hidden)
}

#[test]
fn a_commit_that_landed_and_failed_is_found() {
    if let Some(folder) = child_folder() {
        let mut delta = DeltaSink::open(durable(&folder.join("delta"))).expect("opens");
        let mut parquet = ParquetSink::open(durable(&folder.join("parquet"))).expect("opens");
        begin(&mut delta);
        begin(&mut parquet);
        refuse_to_remove();
        commits_without_replies(&mut delta);
        return commits_without_replies(&mut parquet);
    }
    let folder = Folder::new();
    run_in_child("a_commit_that_landed_and_failed_is_found", folder.path(), &[]);
    let (delta, parquet) = (folder.path().join("delta"), folder.path().join("parquet"));
    let rows: Vec<i64> = (0..REPLIES * 10 + 10).collect();
    assert_eq!(ids(&delta), rows);
    let files = visible_files(&parquet.display().to_string()).expect("readable");
    assert_eq!(ids_in(files.iter().map(|file| parquet.join(&file.path))), rows);
    let lost = usize::try_from(REPLIES).expect("small");
    assert_eq!(entries(&delta.join("_delta_log")), (lost + 1, lost), "each landed once, and each failed");
    assert_eq!(entries(&parquet.join("_manifest")).1, lost);
}

/// A folder that cannot be opened cannot be synced, and it cannot be looked at either.
#[test]
fn a_commit_that_can_not_be_looked_for_is_found_later() {
    if let Some(table) = child_folder() {
        let log = table.join("_delta_log");
        let mode = |mode| fs::set_permissions(&log, Permissions::from_mode(mode)).expect("it is ours");
        let mut sink = DeltaSink::open(durable(&table)).expect("opens");
        begin(&mut sink);
        for n in 1..20 {
            let (from, to) = (n * 20, n * 20 + 10);
            mode(0o300);
            let staged = stage(&sink, rows(from, to));
            let error = sink.commit(staged, &step(0, from - 10, to, 1)).expect_err("not on the disk");
            assert!(
                matches!(&error, SinkError::Storage { action: "sync", path, .. } if path.ends_with("_delta_log")),
                "{error}"
            );
            mode(0o700);
            // As the next run of the pipeline, in this process or in another one.
            let mut again = DeltaSink::open(durable(&table)).expect("opens");
            assert_eq!(held(&again.positions().expect("readable"), 0), Some(to), "it landed");
            let staged = stage(&again, rows(from, to));
            let outcome = again.commit(staged, &step(0, from - 10, to, 1)).expect("found");
            assert_eq!(outcome, CommitOutcome::AlreadyThere);
            assert_eq!(held(&sink.positions().expect("readable"), 0), Some(to));
            let staged = stage(&sink, rows(to, to + 10));
            assert!(matches!(sink.commit(staged, &step(0, to, to + 10, 1)), Ok(CommitOutcome::Committed(_))));
        }
        return;
    }
    let folder = Folder::new();
    let probe = folder.path().join("probe");
    fs::create_dir(&probe).expect("made");
    fs::set_permissions(&probe, Permissions::from_mode(0o300)).expect("it is ours");
    // Who may read everything gives that up.
    let through: &[&str] = match fs::read_dir(&probe) {
        Ok(_) => &["setpriv", "--bounding-set=-dac_override,-dac_read_search"],
        Err(_) => &[],
    };
    fs::set_permissions(&probe, Permissions::from_mode(0o700)).expect("it is ours");
    run_in_child("a_commit_that_can_not_be_looked_for_is_found_later", &folder.table(), through);
    assert_eq!(ids(&folder.table()), (0..10).chain(20..400).collect::<Vec<_>>());
}
