//! A file of lines as a source, in batches of a few records: what it delivers is what a second, simple reader finds.

use std::time::{Duration, Instant};

use lakemill_ingest::{FileOptions, FileSource, LineFormat, OnDataLoss};
use lakemill_model::files::Unremembered;
use lakemill_model::{
    BatchLimits, NextOffset, OffsetRange, Polled, PositionDelta, Positions, RawBatch, Source, SourceError,
    TopicPartition,
};

/// Number, key and value.
type Record = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

/// Nothing here waits so long.
const LONG: Duration = Duration::from_secs(3600);

/// Reads the file, counts it, and reads it again; the first byte says how.
pub fn lines(data: &[u8]) {
    let Some((how, content)) = data.split_first() else { return };
    let format = if how & 1 == 0 { LineFormat::Value } else { LineFormat::KeyValue };
    let bytes_max = if how & 2 == 0 { 16 } else { 1 << 20 };
    let limits = BatchLimits { rows_max: 1 + usize::from(how >> 2), bytes_max, latency_max: LONG };
    let folder = crate::folder();
    let path = folder.path().join("t.jsonl");
    std::fs::write(&path, content).expect("writes");
    let paths = vec![path.to_str().expect("a plain path").to_owned()];
    let options = FileOptions { paths, topic: None, format, follow: false, on_data_loss: OnDataLoss::Fail };
    let is_packed =
        matches!(content, [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]);
    let mut source = match FileSource::open(options, Box::<Unremembered>::default()) {
        Err(SourceError::NotLines(why)) => return assert!(why.contains("t.jsonl: this is "), "{why}"),
        // It is not whole.
        Err(SourceError::File { path, .. }) if is_packed => return assert!(path.ends_with("t.jsonl"), "{path}"),
        opened => opened.expect("opens"),
    };
    if is_packed {
        return unpacked(&mut source);
    }
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let (records, count) = records(format, content);

    let tp = TopicPartition::new("t", 0);
    let until = Instant::now() + LONG;
    let mut batch = RawBatch::default();
    let assigned = source.poll(&mut batch, &limits, until).expect("says what it has");
    if assigned == Polled::CaughtUp {
        // A few bytes that may become a line.
        return assert!(count == 0 && content.len() < 16, "a file that is not seen");
    }
    assert_eq!(assigned, Polled::Assigned(vec![tp.clone()]));
    source.start(&Positions::from_iter([(tp.clone(), NextOffset(0))])).expect("starts");

    let (mut read, mut next) = (Vec::new(), NextOffset(0));
    loop {
        batch.clear();
        let polled = source.poll(&mut batch, &limits, until).expect("reads");
        if let Some(range) = source.take_ranges().get(&tp) {
            assert_eq!(range.start, next, "a gap between batches");
            next = range.end;
        }
        if polled == Polled::CaughtUp {
            break;
        }
        assert!(batch.len() <= limits.rows_max && (batch.len() <= 1 || batch.bytes() <= limits.bytes_max));
        read.extend(delivered(&batch));
        assert!(read.len() <= records.len(), "more than there is");
    }
    assert_eq!((next, &read), (NextOffset(count), &records));
    batch.clear();
    let mut all = PositionDelta::default();
    all.set(tp, OffsetRange { start: NextOffset(0), end: next });
    source.reread(&all, &mut batch).expect("reads again");
    assert_eq!(delivered(&batch), records, "another time");
}

fn delivered(batch: &RawBatch) -> Vec<Record> {
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let records = batch.records().iter();
    records.map(|record| (record.offset, owned(batch.key(record)), owned(batch.value(record)))).collect()
}

/// Compressed, perhaps: it is read to its end, or to an error.
fn unpacked(source: &mut FileSource) {
    let limits = BatchLimits { rows_max: 100, bytes_max: 1 << 20, latency_max: LONG };
    let until = Instant::now() + LONG;
    let mut batch = RawBatch::default();
    while let Ok(polled) = source.poll(&mut batch, &limits, until) {
        match polled {
            Polled::Assigned(partitions) => {
                source.start(&partitions.into_iter().map(|tp| (tp, NextOffset(0))).collect()).expect("starts");
            }
            Polled::CaughtUp => return,
            _ => batch.clear(),
        }
    }
}

/// The records of a file, and the number of its lines; a last one without its end is one if it is a whole JSON text.
fn records(format: LineFormat, content: &[u8]) -> (Vec<Record>, i64) {
    let (mut records, mut count) = (Vec::new(), 0);
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        if !line.ends_with(b"\n") && !is_whole(format, line) {
            break;
        }
        let line = line.strip_suffix(b"\r\n").or(line.strip_suffix(b"\n")).unwrap_or(line);
        let some = |bytes: &[u8]| (!bytes.is_empty()).then(|| bytes.to_vec());
        let tab = line.iter().position(|byte| *byte == b'\t').filter(|_| format == LineFormat::KeyValue);
        match tab {
            Some(tab) => records.push((count, some(&line[..tab]), some(&line[tab + 1..]))),
            None if line.trim_ascii().is_empty() => {}
            None => records.push((count, None, Some(line.to_vec()))),
        }
        count += 1;
    }
    (records, count)
}

fn is_whole(format: LineFormat, line: &[u8]) -> bool {
    let value = match (format, line.iter().position(|byte| *byte == b'\t')) {
        (LineFormat::Value, _) => line,
        (LineFormat::KeyValue, Some(tab)) => &line[tab + 1..],
        // A key, perhaps, whose value is still to come.
        (LineFormat::KeyValue, None) => return false,
    };
    let value = value.trim_ascii();
    let text = value.starts_with(b"{") || value.starts_with(b"[") || value.starts_with(b"\"");
    let is_json = |text| serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok();
    text && std::str::from_utf8(value).is_ok_and(is_json)
}

/// Ends of lines of all kinds, in batches of several sizes.
pub fn seeds() -> Vec<Vec<u8>> {
    const FILES: [&[u8]; 5] = [
        b"{\"id\":1}\t{\"op\":\"c\"}\n{\"id\":1}\t\n\t{\"op\":\"d\"}\r\n\n \r\nno tab\n\t\nlast",
        b"\n\n\r\n\n",
        b"",
        b"a\r\nb\r\r\n\xff\x00\nlonger than sixteen bytes\nc\n",
        b"only\r",
    ];
    [0, 1, 6, 7, 0xff].iter().flat_map(|how| FILES.iter().map(move |file| [&[*how], *file].concat())).collect()
}
