//! How far: offsets, ranges, positions, epochs.
//!
//! Every number here is the *next offset to read*, the meaning that Kafka's committed offsets have, so that the
//! end of a range, a table's `txn` action and a Kafka commit hold the same number. The offset of the last message
//! is never stored: control records and compaction leave gaps after it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A partition of a Kafka topic (or one file of a file source).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// The next offset to read, at least 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NextOffset(pub i64);

impl fmt::Display for NextOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The offsets `start..end` of one partition: `end` is the next offset to read after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetRange {
    /// The first offset of the range.
    pub start: NextOffset,
    /// One past the last.
    pub end: NextOffset,
}

impl OffsetRange {
    /// `start..end`; `None` if `end` is before `start`.
    pub fn new(start: NextOffset, end: NextOffset) -> Option<Self> {
        (start <= end).then_some(Self { start, end })
    }
}

impl fmt::Display for OffsetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// How far each partition has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(String, i32, i64)>", into = "Vec<(String, i32, i64)>")]
pub struct Positions(BTreeMap<TopicPartition, NextOffset>);

impl Positions {
    /// No position at all.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The next offset to read of `tp`, if it is known.
    pub fn get(&self, tp: &TopicPartition) -> Option<NextOffset> {
        self.0.get(tp).copied()
    }

    /// Sets one.
    pub fn set(&mut self, tp: TopicPartition, next: NextOffset) {
        self.0.insert(tp, next);
    }

    /// Forgets one.
    pub fn remove(&mut self, tp: &TopicPartition) {
        self.0.remove(tp);
    }

    /// All of them, by topic and partition.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicPartition, NextOffset)> {
        self.0.iter().map(|(tp, next)| (tp, *next))
    }

    /// True if nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets those that are further by `others`.
    pub fn raise<'a>(&mut self, others: impl IntoIterator<Item = (&'a TopicPartition, NextOffset)>) {
        for (tp, next) in others {
            if self.get(tp).is_none_or(|known| known < next) {
                self.set(tp.clone(), next);
            }
        }
    }

    /// Moves every partition of `delta` to the end of its range.
    pub fn advance(&mut self, delta: &PositionDelta) {
        for (tp, range) in delta.iter() {
            self.0.insert(tp.clone(), range.end);
        }
    }
}

impl FromIterator<(TopicPartition, NextOffset)> for Positions {
    fn from_iter<I: IntoIterator<Item = (TopicPartition, NextOffset)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

impl From<Vec<(String, i32, i64)>> for Positions {
    fn from(list: Vec<(String, i32, i64)>) -> Self {
        list.into_iter()
            .map(|(topic, partition, next)| (TopicPartition::new(topic, partition), NextOffset(next)))
            .collect()
    }
}

impl From<Positions> for Vec<(String, i32, i64)> {
    fn from(positions: Positions) -> Self {
        positions.0.into_iter().map(|(tp, next)| (tp.topic.to_string(), tp.partition, next.0)).collect()
    }
}

/// The step that a batch takes: one range per partition that it holds records, or gaps, of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(String, i32, OffsetRange)>", into = "Vec<(String, i32, OffsetRange)>")]
pub struct PositionDelta(BTreeMap<TopicPartition, OffsetRange>);

impl fmt::Display for PositionDelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (tp, range)) in self.0.iter().enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            write!(f, "{comma}{tp} {range}")?;
        }
        Ok(())
    }
}

impl PositionDelta {
    /// The range of `tp`, if the batch has one.
    pub fn get(&self, tp: &TopicPartition) -> Option<OffsetRange> {
        self.0.get(tp).copied()
    }

    /// Sets one.
    pub fn set(&mut self, tp: TopicPartition, range: OffsetRange) {
        self.0.insert(tp, range);
    }

    /// All of them, by topic and partition.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicPartition, OffsetRange)> {
        self.0.iter().map(|(tp, range)| (tp, *range))
    }

    /// True if the batch moves nothing.
    pub fn is_empty(&self) -> bool {
        self.0.values().all(|range| range.start == range.end)
    }

    /// Where the step starts, as positions.
    pub fn starts(&self) -> Positions {
        self.iter().map(|(tp, range)| (tp.clone(), range.start)).collect()
    }

    /// Where the step ends, as positions.
    pub fn ends(&self) -> Positions {
        self.iter().map(|(tp, range)| (tp.clone(), range.end)).collect()
    }
}

impl FromIterator<(TopicPartition, OffsetRange)> for PositionDelta {
    fn from_iter<I: IntoIterator<Item = (TopicPartition, OffsetRange)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

impl From<Vec<(String, i32, OffsetRange)>> for PositionDelta {
    fn from(list: Vec<(String, i32, OffsetRange)>) -> Self {
        list.into_iter().map(|(topic, partition, range)| (TopicPartition::new(topic, partition), range)).collect()
    }
}

impl From<PositionDelta> for Vec<(String, i32, OffsetRange)> {
    fn from(delta: PositionDelta) -> Self {
        delta.0.into_iter().map(|(tp, range)| (tp.topic.to_string(), tp.partition, range)).collect()
    }
}

/// How often a partition has been taken over by a process of the pipeline. Each takeover writes the next epoch into every
/// sink; a process that finds a later one than its own has been replaced and must not write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub i64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The epoch of each partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs(BTreeMap<TopicPartition, Epoch>);

impl Epochs {
    /// The epoch of `tp`, if it has ever been taken.
    pub fn get(&self, tp: &TopicPartition) -> Option<Epoch> {
        self.0.get(tp).copied()
    }

    /// Sets one.
    pub fn set(&mut self, tp: TopicPartition, epoch: Epoch) {
        self.0.insert(tp, epoch);
    }

    /// All of them, by topic and partition.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicPartition, Epoch)> {
        self.0.iter().map(|(tp, epoch)| (tp, *epoch))
    }
}

impl FromIterator<(TopicPartition, Epoch)> for Epochs {
    fn from_iter<I: IntoIterator<Item = (TopicPartition, Epoch)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

/// The number of a batch within a pipeline, from 1, growing with every plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CheckpointId(pub u64);

impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tp(partition: i32) -> TopicPartition {
        TopicPartition::new("t", partition)
    }

    proptest! {
        #[test]
        fn positions_and_deltas_survive_json(list in prop::collection::vec((0i32..9, 0i64..99, 0i64..99), 0..9)) {
            let delta: PositionDelta = list
                .iter()
                .map(|&(p, a, n)| (tp(p), OffsetRange { start: NextOffset(a), end: NextOffset(a + n) }))
                .collect();
            let mut positions = Positions::new();
            positions.advance(&delta);
            let text = serde_json::to_string(&(&delta, &positions)).expect("to JSON");
            let back: (PositionDelta, Positions) = serde_json::from_str(&text).expect("from JSON");
            prop_assert_eq!(back, (delta, positions));
        }
    }
}
