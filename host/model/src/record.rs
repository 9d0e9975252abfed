//! Records as the source delivers them: bytes with a place.

use std::ops::Range;
use std::sync::Arc;

use crate::TopicPartition;

/// Where a record stands, and where its bytes are in the batch's arena.
#[derive(Clone, Debug)]
pub struct RawRecord {
    /// Index into [`RawBatch::topics`].
    pub topic: u16,
    /// The partition's number.
    pub partition: i32,
    /// The record's own offset.
    pub offset: i64,
    /// Kafka's timestamp, in milliseconds since 1970; `None` if the broker keeps none.
    pub timestamp_ms: Option<i64>,
    key: Option<Range<u32>>,
    value: Option<Range<u32>>,
}

/// The records of a micro-batch: one arena of bytes, in the order of each partition.
///
/// Copying a record's bytes once, on arrival, frees the client's buffers at once and bounds the memory of a batch.
#[derive(Clone, Debug, Default)]
pub struct RawBatch {
    topics: Vec<Arc<str>>,
    records: Vec<RawRecord>,
    arena: Vec<u8>,
}

/// A record to append.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition's number.
    pub partition: i32,
    /// The record's own offset.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// `None` if the record has a null key.
    pub key: Option<&'a [u8]>,
    /// `None` if the record is a tombstone.
    pub value: Option<&'a [u8]>,
}

impl RawBatch {
    /// The most bytes that a batch holds, whatever its limits say: places in the arena are 32 bits wide.
    pub const BYTES_MAX: usize = 1 << 31;

    /// An empty batch with room for `bytes` of keys and values.
    pub fn with_capacity(records: usize, bytes: usize) -> Self {
        Self { topics: Vec::new(), records: Vec::with_capacity(records), arena: Vec::with_capacity(bytes) }
    }

    /// Orders the records by topic, partition and offset, whichever way they came: fetched again, they come in another one.
    pub fn sort(&mut self) {
        let mut names: Vec<usize> = (0..self.topics.len()).collect();
        names.sort_by_key(|topic| &self.topics[*topic]);
        let mut ranks = vec![0; names.len()];
        names.into_iter().enumerate().for_each(|(rank, topic)| ranks[topic] = rank);
        self.records.sort_by_key(|record| (ranks[usize::from(record.topic)], record.partition, record.offset));
    }

    /// Appends a record.
    ///
    /// # Panics
    /// If the batch would hold more than [`Self::BYTES_MAX`] bytes; sources close a batch long before.
    pub fn push(&mut self, record: RecordRef<'_>) {
        let topic = self.topic_index(record.topic);
        let mut store = |bytes: &[u8]| {
            let start = self.arena.len();
            assert!(start + bytes.len() <= Self::BYTES_MAX, "a batch's arena is bounded by its source");
            self.arena.extend_from_slice(bytes);
            start as u32..self.arena.len() as u32
        };
        let (key, value) = (record.key.map(&mut store), record.value.map(&mut store));
        self.records.push(RawRecord {
            topic,
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key,
            value,
        });
    }

    /// Empties the batch and keeps its memory for the next one.
    pub fn clear(&mut self) {
        self.topics.clear();
        self.records.clear();
        self.arena.clear();
    }

    fn topic_index(&mut self, topic: &str) -> u16 {
        if let Some(last) = self.records.last()
            && &*self.topics[usize::from(last.topic)] == topic
        {
            return last.topic;
        }
        let at = self.topics.iter().position(|t| &**t == topic).unwrap_or_else(|| {
            self.topics.push(topic.into());
            self.topics.len() - 1
        });
        u16::try_from(at).expect("a pipeline reads fewer than 65,536 topics")
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// The records.
    pub fn records(&self) -> &[RawRecord] {
        &self.records
    }

    /// The topics that [`RawRecord::topic`] counts.
    pub fn topics(&self) -> &[Arc<str>] {
        &self.topics
    }

    /// The topic of a record.
    pub fn topic(&self, record: &RawRecord) -> &Arc<str> {
        &self.topics[usize::from(record.topic)]
    }

    /// The topic and partition of a record.
    pub fn topic_partition(&self, record: &RawRecord) -> TopicPartition {
        TopicPartition { topic: self.topic(record).clone(), partition: record.partition }
    }

    /// The key's bytes; `None` for a null key.
    pub fn key(&self, record: &RawRecord) -> Option<&[u8]> {
        record.key.as_ref().map(|at| &self.arena[at.start as usize..at.end as usize])
    }

    /// The value's bytes; `None` for a tombstone.
    pub fn value(&self, record: &RawRecord) -> Option<&[u8]> {
        record.value.as_ref().map(|at| &self.arena[at.start as usize..at.end as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_one_order_however_they_came() {
        let record = |topic, partition, offset| RecordRef {
            topic,
            partition,
            offset,
            timestamp_ms: None,
            key: None,
            value: None,
        };
        let came = [("b", 0, 3), ("a", 1, 7), ("b", 0, 4), ("a", 0, 9), ("a", 1, 8)];
        let sorted = |order: &[usize]| {
            let mut batch = RawBatch::default();
            order.iter().map(|n| came[*n]).for_each(|(topic, partition, offset)| {
                batch.push(record(topic, partition, offset));
            });
            batch.sort();
            let places = batch.records().iter().map(|r| format!("{} {}", batch.topic_partition(r), r.offset));
            places.collect::<Vec<_>>()
        };
        let expected = ["a/0 9", "a/1 7", "a/1 8", "b/0 3", "b/0 4"];
        assert_eq!(sorted(&[0, 1, 2, 3, 4]), expected);
        assert_eq!(sorted(&[1, 4, 3, 0, 2]), expected);
    }

    #[test]
    fn keeps_null_and_empty_apart() {
        let mut batch = RawBatch::default();
        let base = RecordRef { topic: "a", partition: 1, offset: 7, timestamp_ms: None, key: None, value: Some(b"") };
        batch.push(base);
        batch.push(RecordRef { topic: "b", key: Some(b"k"), value: None, offset: 8, ..base });
        batch.push(RecordRef { offset: 9, value: Some(b"v"), ..base });
        let all: Vec<_> = batch
            .records()
            .iter()
            .map(|r| (batch.topic_partition(r).to_string(), r.offset, batch.key(r), batch.value(r)))
            .collect();
        assert_eq!(
            all,
            [
                ("a/1".to_owned(), 7, None, Some(&b""[..])),
                ("b/1".to_owned(), 8, Some(&b"k"[..]), None),
                ("a/1".to_owned(), 9, None, Some(&b"v"[..])),
            ]
        );
        assert_eq!((batch.len(), batch.bytes(), batch.topics().len()), (3, 2, 2));
    }
}
