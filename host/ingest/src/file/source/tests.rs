//! Files as a source, through the trait.

mod following;
mod histories;
mod packed;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use lakemill_model::KnownFile;
use lakemill_model::files::Unremembered;

use super::*;
use crate::OnDataLoss;
use crate::file::packing::{gzip, zstd};

const LIMITS: BatchLimits = BatchLimits { rows_max: 1000, bytes_max: 1 << 20, latency_max: Duration::from_secs(60) };

/// Topic and partition, offset, key, value.
type Row = (String, i64, Option<Vec<u8>>, Option<Vec<u8>>);

/// Files in a directory, and what is remembered of them however often the source is opened.
struct Files {
    directory: tempfile::TempDir,
    memory: Kept,
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Unremembered>>);

impl FileMemory for Kept {
    fn known(&self) -> Vec<KnownFile> {
        self.0.lock().expect("whole").known()
    }

    fn keep(&mut self, files: &[KnownFile]) -> Result<(), SourceError> {
        self.0.lock().expect("whole").keep(files)
    }

    fn place(&self) -> String {
        "files.log".to_owned()
    }
}

impl Files {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, content) in files {
            std::fs::write(directory.path().join(name), content).expect("a file");
        }
        Self { directory, memory: Kept::default() }
    }

    fn options(&self, format: LineFormat, topic: Option<&str>) -> FileOptions {
        let paths = vec![self.directory.path().join("*").display().to_string()];
        let on_data_loss = OnDataLoss::Fail;
        FileOptions { paths, topic: topic.map(str::to_owned), format, follow: false, on_data_loss }
    }

    fn source(&self, format: LineFormat, topic: Option<&str>) -> FileSource {
        FileSource::open(self.options(format, topic), Box::new(self.memory.clone())).expect("files")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn append(&self, name: &str, content: &[u8]) {
        let file = std::fs::File::options().append(true).create(true).open(self.path(name));
        file.and_then(|mut file| file.write_all(content)).expect("writes");
    }
}

fn rows(batch: &RawBatch) -> Vec<Row> {
    let row = |record| {
        let tp = batch.topic_partition(record).to_string();
        (tp, record.offset, batch.key(record).map(<[u8]>::to_vec), batch.value(record).map(<[u8]>::to_vec))
    };
    batch.records().iter().map(row).collect()
}

fn value(tp: &str, offset: i64, value: &[u8]) -> Row {
    (tp.to_owned(), offset, None, Some(value.to_vec()))
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Starts what is assigned, reads to the end: all rows, and the ranges of every batch.
fn read(source: &mut FileSource, limits: &BatchLimits, at: StartAt) -> (Vec<Row>, Vec<PositionDelta>) {
    let (mut all, mut steps) = (Vec::new(), Vec::new());
    let mut batch = RawBatch::default();
    loop {
        match source.poll(&mut batch, limits, soon()).expect("readable") {
            Polled::Assigned(partitions) => {
                let positions = source.resolve(&partitions, at).expect("there");
                source.start(&positions).expect("there");
            }
            Polled::Records => {
                all.extend(rows(&batch));
                steps.push(source.take_ranges());
                batch = RawBatch::default();
            }
            Polled::CaughtUp => {
                let rest = source.take_ranges();
                if !rest.is_empty() {
                    steps.push(rest);
                }
                return (all, steps);
            }
            Polled::Revoked(_) => panic!("files are nobody else's"),
        }
    }
}

fn ends(steps: &[PositionDelta]) -> Vec<(String, i64)> {
    let mut positions = Positions::new();
    for step in steps {
        for (tp, range) in step.iter() {
            assert_eq!(range.start, positions.get(tp).unwrap_or(NextOffset(0)), "steps have no holes");
        }
        positions.advance(step);
    }
    positions.iter().map(|(tp, next)| (tp.to_string(), next.0)).collect()
}

#[test]
fn every_line_is_a_record_and_blank_ones_count() {
    let files = Files::new(&[("a.jsonl", b"{}\r\n\n  \n[1]\n\n"), ("b.jsonl", b"\xff\t7\n"), ("c.jsonl", b"")]);
    let mut source = files.source(LineFormat::Value, None);
    let (rows, steps) = read(&mut source, &LIMITS, StartAt::Earliest);
    assert_eq!(rows, [value("a/0", 0, b"{}"), value("a/0", 3, b"[1]"), value("b/0", 0, b"\xff\t7")]);
    assert_eq!(ends(&steps), [("a/0".to_owned(), 5), ("b/0".to_owned(), 1)]);
    assert_eq!(source.lag(), Some(0));
    assert_eq!(source.poll(&mut RawBatch::default(), &LIMITS, soon()).expect("the end"), Polled::CaughtUp);
}

#[test]
fn keys_values_and_tombstones() {
    let files = Files::new(&[("t", b"k\tv\tw\nk\t\n\tv\nv\n\t\n\n k \t \n")]);
    let (rows, steps) = read(&mut files.source(LineFormat::KeyValue, None), &LIMITS, StartAt::Earliest);
    let row = |offset, key: Option<&[u8]>, value: Option<&[u8]>| {
        ("t/0".to_owned(), offset, key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec))
    };
    assert_eq!(
        rows,
        [
            row(0, Some(b"k"), Some(b"v\tw")),
            row(1, Some(b"k"), None),
            row(2, None, Some(b"v")),
            row(3, None, Some(b"v")),
            row(4, None, None),
            row(6, Some(b" k "), Some(b" ")),
        ]
    );
    assert_eq!(ends(&steps), [("t/0".to_owned(), 7)]);
}

#[test]
fn batches_are_bounded_and_a_large_line_is_alone() {
    let lines: Vec<_> = (0..100).map(|n| format!("{n:04}\n")).collect();
    let large = "x".repeat(100);
    let content = format!("{}{large}\n{}", lines.concat(), lines.concat());
    let files = Files::new(&[("t", content.as_bytes()), ("u", b"1\n")]);
    let limits = BatchLimits { rows_max: 7, bytes_max: 20, ..LIMITS };
    let mut source = files.source(LineFormat::Value, None);
    let mut sizes = Vec::new();
    let mut seen = Vec::new();
    loop {
        let mut batch = RawBatch::default();
        match source.poll(&mut batch, &limits, soon()).expect("readable") {
            Polled::Assigned(partitions) => {
                let positions = source.resolve(&partitions, StartAt::Earliest).expect("there");
                source.start(&positions).expect("there");
            }
            Polled::Records => {
                sizes.push((batch.len(), batch.bytes()));
                seen.extend(rows(&batch));
            }
            _ => break,
        }
    }
    assert!(sizes.iter().all(|(rows, bytes)| *rows <= 7 && (*bytes <= 20 || *rows == 1)), "{sizes:?}");
    assert!(sizes.contains(&(1, 100)));
    assert_eq!(seen.len(), 202);
    assert_eq!(seen[100], value("t/0", 100, large.as_bytes()));
}

#[test]
fn it_resumes_at_a_line_and_rereads_a_range() {
    let content: String = (0..10).map(|n| format!("{n}\n")).collect();
    let files = Files::new(&[("a", content.as_bytes()), ("b", content.as_bytes())]);
    let mut source = files.source(LineFormat::Value, Some("t"));
    let tps = [TopicPartition::new("t", 0), TopicPartition::new("t", 1)];
    let positions = [(tps[0].clone(), NextOffset(8)), (tps[1].clone(), NextOffset(10))];
    assert!(
        matches!(source.poll(&mut RawBatch::default(), &LIMITS, soon()), Ok(Polled::Assigned(list)) if list == tps)
    );
    source.start(&positions.into_iter().collect()).expect("there");
    let (rows, _) = read(&mut source, &LIMITS, StartAt::Earliest);
    assert_eq!(rows, [value("t/0", 8, b"8"), value("t/0", 9, b"9")]);

    let range = lakemill_model::source::range;
    let ranges: PositionDelta = [(tps[0].clone(), range(2, 4)), (tps[1].clone(), range(0, 1))].into_iter().collect();
    let mut batch = RawBatch::default();
    source.reread(&ranges, &mut batch).expect("there");
    assert_eq!(self::rows(&batch), [value("t/0", 2, b"2"), value("t/0", 3, b"3"), value("t/1", 0, b"0")]);
    let (rows, _) = read(&mut source, &LIMITS, StartAt::Earliest);
    assert_eq!((rows.len(), &rows[0]), (15, &value("t/0", 4, b"4")), "it stands at the ends");
}

#[test]
fn positions_that_are_not_there_are_refused_by_name() {
    let files = Files::new(&[("t", b"0\n1\n")]);
    let mut source = files.source(LineFormat::Value, None);
    let tp = TopicPartition::new("t", 0);
    assert!(source.resolve(std::slice::from_ref(&tp), StartAt::Latest).is_err());
    let beyond = [(tp.clone(), lakemill_model::source::range(1, 3))].into_iter().collect();
    source.start(&[(tp.clone(), NextOffset(3))].into_iter().collect()).expect("is looked at later");
    for error in [
        source.poll(&mut RawBatch::default(), &LIMITS, soon()).map(|_| ()),
        source.poll(&mut RawBatch::default(), &LIMITS, soon()).map(|_| ()),
        source.reread(&beyond, &mut RawBatch::default()).map(|_| ()),
    ]
    .into_iter()
    .filter_map(Result::err)
    {
        let said = error.to_string();
        assert!(said.contains("/t at byte 4: it ends before line 3"), "{said}");
    }
    let shown = [(tp, NextOffset(3))].into_iter().collect();
    let error = files.source(LineFormat::Value, None).recognise(&shown).expect_err("never read").to_string();
    assert!(error.contains("files.log: the tables have 3 lines of t/0"), "{error}");
}
