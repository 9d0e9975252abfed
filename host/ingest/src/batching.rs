//! When a batch is full, and the record that came too late for it. Pure.

use std::time::{Duration, Instant};

use lakemill_model::{BatchLimits, RawBatch, RecordRef};

/// Only what a batch can hold.
pub(crate) const NO_LIMITS: BatchLimits =
    BatchLimits { rows_max: usize::MAX, bytes_max: usize::MAX, latency_max: Duration::MAX };

/// A batch that is being filled.
#[derive(Debug, Default)]
pub(crate) struct Filling {
    /// When its first record came.
    opened: Option<Instant>,
}

impl Filling {
    /// To be called before a batch is filled: an empty one has not been opened.
    pub fn resume(&mut self, batch: &RawBatch) {
        if batch.is_empty() {
            self.opened = None;
        }
    }

    /// Appends a record.
    pub fn push(&mut self, batch: &mut RawBatch, record: RecordRef<'_>) {
        if self.opened.is_none() {
            self.opened = Some(Instant::now());
        }
        batch.push(record);
    }

    /// When the batch has to go.
    pub fn deadline(&self, limits: &BatchLimits, until: Instant) -> Instant {
        self.opened.map_or(until, |opened| until.min(opened + limits.latency_max))
    }
}

/// True if nothing more is to be added.
pub(crate) fn full(batch: &RawBatch, limits: &BatchLimits) -> bool {
    !batch.is_empty() && (batch.len() >= limits.rows_max || batch.bytes() >= limits.bytes_max)
}

/// True if a record of `len` bytes may be added: a large one only to an empty batch.
pub(crate) fn fits(batch: &RawBatch, limits: &BatchLimits, len: usize) -> bool {
    batch.is_empty() || batch.bytes() + len <= limits.bytes_max.min(RawBatch::BYTES_MAX)
}

/// Bytes of a record.
pub(crate) fn len(record: &RecordRef<'_>) -> usize {
    record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)
}

/// How long to wait from `now` for something to come: at most until `deadline`, and not for so long that
/// everything else waits.
pub(crate) fn wait(now: Instant, deadline: Instant) -> Duration {
    deadline.saturating_duration_since(now).min(Duration::from_millis(100))
}

/// A record that did not fit into a batch: the first of the next one.
#[derive(Clone, Debug)]
pub(crate) struct Carry {
    topic: String,
    partition: i32,
    offset: i64,
    timestamp_ms: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

impl Carry {
    /// The record.
    pub fn record(&self) -> RecordRef<'_> {
        RecordRef {
            topic: &self.topic,
            partition: self.partition,
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
        }
    }
}

impl From<RecordRef<'_>> for Carry {
    fn from(record: RecordRef<'_>) -> Self {
        Self {
            topic: record.topic.to_owned(),
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: &[u8]) -> RecordRef<'_> {
        RecordRef { topic: "t", partition: 0, offset: 0, timestamp_ms: None, key: Some(b"k"), value: Some(value) }
    }

    #[test]
    fn a_large_record_is_alone() {
        let limits = BatchLimits { rows_max: 3, bytes_max: 10, latency_max: Duration::from_secs(1) };
        let mut batch = RawBatch::default();
        let large = [0; 50];
        assert!(fits(&batch, &limits, len(&record(&large))) && !full(&batch, &limits));
        batch.push(record(&large));
        assert!(full(&batch, &limits) && !fits(&batch, &limits, 1));
        let mut batch = RawBatch::default();
        batch.push(record(b"12345678"));
        assert!(!full(&batch, &limits) && fits(&batch, &limits, 1) && !fits(&batch, &limits, 2));
    }

    #[test]
    fn a_batch_goes_by_the_time_of_its_first_record() {
        let limits = BatchLimits { rows_max: 3, bytes_max: 10, latency_max: Duration::from_secs(1) };
        let (mut filling, mut batch) = (Filling::default(), RawBatch::default());
        let until = Instant::now() + Duration::from_secs(60);
        assert_eq!(filling.deadline(&limits, until), until);
        filling.push(&mut batch, record(b""));
        let deadline = filling.deadline(&limits, until);
        assert!(deadline <= Instant::now() + limits.latency_max);
        filling.push(&mut batch, record(b""));
        filling.resume(&batch);
        assert_eq!(filling.deadline(&limits, until), deadline, "the first record counts");
        filling.resume(&RawBatch::default());
        assert_eq!(filling.deadline(&limits, until), until);
    }
}
