//! Rows of a running pipeline for people to look at: at a named point, while it runs, without holding it up. Rows that nobody
//! fetches in time are not shown.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use lakemill_model::{ChangeBatch, EnvelopeColumn, ImageData, RawBatch};

/// Where rows are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Records as they came from the topic.
    Raw,
    /// Change events, with the columns that somebody reads.
    Decoded,
    /// Rows as they go to the sinks.
    Transformed,
    /// Rows for the dead letters.
    Dead,
}

impl Point {
    /// Every one.
    pub const ALL: [Point; 4] = [Point::Raw, Point::Decoded, Point::Transformed, Point::Dead];

    /// As commands name it.
    pub fn name(self) -> &'static str {
        match self {
            Point::Raw => "raw",
            Point::Decoded => "decoded",
            Point::Transformed => "transformed",
            Point::Dead => "dead",
        }
    }
}

/// Rows at a point.
#[derive(Clone, Debug)]
pub enum Tapped {
    /// Records as lines of a `key_value` file: key, tab, value.
    Lines(Vec<u8>),
    /// Rows of a topic or a sink.
    Rows {
        /// The topic's or the sink's name.
        of: Arc<str>,
        /// The rows.
        rows: RecordBatch,
    },
}

/// Rows of one batch that are shown at most.
const ROWS_MAX: usize = 100;

/// Batches that wait for whoever looks.
const WAITING_MAX: usize = 8;

/// Who looks at what.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    open: AtomicUsize,
    list: Mutex<Vec<(Point, Sender<Tapped>)>>,
}

impl Taps {
    /// Rows of a point from now on, until the receiver is dropped.
    pub fn open(&self, point: Point) -> Receiver<Tapped> {
        let (sender, receiver) = bounded(WAITING_MAX);
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.push((point, sender));
        self.open.store(list.len(), Ordering::Relaxed);
        receiver
    }

    /// Shows rows to whoever looks at the point; they are only made if somebody does.
    pub fn show(&self, point: Point, make: impl FnOnce() -> Option<Tapped>) {
        if self.open.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if !list.iter().any(|(of, _)| *of == point) {
            return;
        }
        let Some(tapped) = make() else { return };
        let stays = |(of, sender): &(Point, Sender<Tapped>)| {
            *of != point || !matches!(sender.try_send(tapped.clone()), Err(TrySendError::Disconnected(_)))
        };
        list.retain(stays);
        self.open.store(list.len(), Ordering::Relaxed);
    }
}

/// The first rows of a batch.
pub(crate) fn first(of: Arc<str>, rows: &RecordBatch) -> Tapped {
    Tapped::Rows { of, rows: rows.slice(0, rows.num_rows().min(ROWS_MAX)) }
}

/// The first records of a batch.
pub(crate) fn lines(raw: &RawBatch) -> Option<Tapped> {
    let mut lines = Vec::new();
    for record in raw.records().iter().take(ROWS_MAX) {
        lines.extend_from_slice(raw.key(record).unwrap_or_default());
        lines.push(b'\t');
        lines.extend_from_slice(raw.value(record).unwrap_or_default());
        lines.push(b'\n');
    }
    (!lines.is_empty()).then_some(Tapped::Lines(lines))
}

/// The first changes of a batch: op, place, time, and all cells that were decoded.
pub(crate) fn changes(batch: &ChangeBatch) -> Option<Tapped> {
    use EnvelopeColumn::{EventTime, Offset, Op, Partition, SourceDb, SourceSchema, SourceTable};
    let rows: Vec<u32> = (0..batch.len().min(ROWS_MAX) as u32).collect();
    let mut columns: Vec<(String, ArrayRef)> = [Op, Partition, Offset, EventTime]
        .map(|column| (format!("_{}", column.name()), column.gather(&batch.envelope, &rows, None)))
        .to_vec();
    if batch.envelope.origins.is_some() {
        for column in [SourceDb, SourceSchema, SourceTable] {
            columns.push((format!("_{}", column.name()), column.gather(&batch.envelope, &rows, None)));
        }
    }
    let mut image = |name: &str, data: &ImageData, fields: &[lakemill_model::Field]| {
        for (field, cells) in fields.iter().zip(&data.columns) {
            let Some(cells) = cells else { continue };
            columns.push((format!("{name}.{}", field.name), cells.array.slice(0, rows.len())));
        }
    };
    image("key", &batch.key, &batch.schema.key);
    image("before", &batch.before, &batch.schema.row);
    image("after", &batch.after, &batch.schema.row);
    let field = |(name, array): &(String, ArrayRef)| Field::new(name, array.data_type().clone(), true);
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let rows = RecordBatch::try_new(schema, arrays).ok()?;
    Some(Tapped::Rows { of: batch.envelope.topic.clone(), rows })
}

#[cfg(test)]
mod tests {
    use lakemill_model::RecordRef;

    use super::*;

    #[test]
    fn only_who_looks_sees_and_nobody_is_waited_for() {
        let taps = Taps::default();
        let mut raw = RawBatch::default();
        let (key, value) = (Some(&b"k"[..]), Some(&b"{}"[..]));
        raw.push(RecordRef { topic: "t", partition: 0, offset: 0, timestamp_ms: None, key, value });
        taps.show(Point::Raw, || panic!("nobody looks"));
        let (receiver, other) = (taps.open(Point::Raw), taps.open(Point::Dead));
        for _ in 0..WAITING_MAX + 5 {
            taps.show(Point::Raw, || lines(&raw));
        }
        assert_eq!(receiver.len(), WAITING_MAX);
        assert!(matches!(receiver.recv(), Ok(Tapped::Lines(lines)) if lines == b"k\t{}\n"));
        assert!(other.is_empty());
        drop(receiver);
        taps.show(Point::Raw, || lines(&raw));
        assert_eq!(taps.open.load(Ordering::Relaxed), 1, "who is gone is forgotten");
    }
}
