//! How far: offsets, ranges, positions, and the decision that keeps a commit exactly-once.
//!
//! Every number here is the *next offset to read*, the meaning that Kafka's committed offsets have, so that the
//! end of a range, a table's `txn` action and a Kafka commit hold the same number. The offset of the last message
//! is never stored: control records and compaction leave gaps after it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::SinkPositions;

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
    pub fn new() -> Self {
        Self::default()
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

    /// Decides what may be done with this step at a sink that shows `found` now, when its `held` was `expected` after our
    /// last look or commit, and we took the partitions under `epochs`. Partitions that the step does not name do not
    /// matter.
    ///
    /// | found                                        | decision   |
    /// |----------------------------------------------|------------|
    /// | a partition under a later epoch than ours    | `Fenced`: another process took it over |
    /// | every partition at or past the step's end    | `Skip`: the commit is there, its reply was lost |
    /// | every partition where `expected` has it      | `Commit`   |
    /// | anything else                                | `Fenced`: somebody writes under our name |
    ///
    /// A step that moves nothing is never `Skip`ped: it is used to take possession.
    pub fn decide(&self, found: &SinkPositions, expected: &Positions, epochs: &Epochs) -> CommitDecision {
        let newer = |tp: &TopicPartition| found.epochs.get(tp).filter(|epoch| *epoch > epochs.get(tp).unwrap_or_default());
        if let Some((tp, epoch)) = self.iter().find_map(|(tp, _)| Some((tp, newer(tp)?))) {
            let owner = |epoch: Epoch| format!("epoch {epoch}");
            return CommitDecision::Fenced {
                partition: tp.clone(),
                expected: owner(epochs.get(tp).unwrap_or_default()),
                found: owner(epoch),
            };
        }
        let reached = |(tp, range): (&TopicPartition, OffsetRange)| {
            found.held.get(tp).is_some_and(|next| next >= range.end)
        };
        if !self.is_empty() && self.iter().all(reached) {
            return CommitDecision::Skip;
        }
        let offset = |next: Option<NextOffset>| next.map_or("no offset".to_owned(), |n| format!("offset {n}"));
        match self.iter().find(|(tp, _)| found.held.get(tp) != expected.get(tp)) {
            None => CommitDecision::Commit,
            Some((tp, _)) => CommitDecision::Fenced {
                partition: tp.clone(),
                expected: offset(expected.get(tp)),
                found: offset(found.held.get(tp)),
            },
        }
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
        list.into_iter()
            .map(|(topic, partition, range)| (TopicPartition::new(topic, partition), range))
            .collect()
    }
}

impl From<PositionDelta> for Vec<(String, i32, OffsetRange)> {
    fn from(delta: PositionDelta) -> Self {
        delta.0.into_iter().map(|(tp, range)| (tp.topic.to_string(), tp.partition, range)).collect()
    }
}

/// What a sink may do with a step ([`PositionDelta::decide`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitDecision {
    /// The sink holds the step already.
    Skip,
    /// The sink stands where we left it.
    Commit,
    /// Another writer moved the sink: stop, write nothing.
    Fenced {
        /// The partition that gave it away.
        partition: TopicPartition,
        /// The epoch or offset that we know.
        expected: String,
        /// What the sink shows.
        found: String,
    },
}

/// How often a partition has been taken over by a process of the pipeline. Each takeover writes the next epoch into every
/// sink; a process that finds a later one than its own has been replaced and must not write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
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

    fn at(list: &[(i32, i64)]) -> Positions {
        list.iter().map(|&(p, next)| (tp(p), NextOffset(next))).collect()
    }

    fn step(list: &[(i32, i64, i64)]) -> PositionDelta {
        list.iter()
            .map(|&(p, a, b)| (tp(p), OffsetRange { start: NextOffset(a), end: NextOffset(b) }))
            .collect()
    }

    /// The decision at a sink that shows `held`, with nobody's epoch in it.
    fn decide(step: &PositionDelta, held: &Positions, expected: &Positions) -> CommitDecision {
        let found = SinkPositions { held: held.clone(), ..SinkPositions::default() };
        step.decide(&found, expected, &Epochs::default())
    }

    #[test]
    fn a_sink_at_the_end_is_skipped_even_if_we_never_heard() {
        let step = step(&[(0, 5, 9), (1, 0, 3)]);
        assert_eq!(decide(&step, &at(&[(0, 9), (1, 3)]), &at(&[(0, 5)])), CommitDecision::Skip);
        assert_eq!(decide(&step, &at(&[(0, 12), (1, 3)]), &at(&[])), CommitDecision::Skip);
    }

    #[test]
    fn a_sink_where_we_left_it_takes_the_step() {
        assert_eq!(decide(&step(&[(0, 0, 3)]), &at(&[]), &at(&[])), CommitDecision::Commit);
        // A sink that lags behind the step (it had no rows in between) stands where we left it, too.
        assert_eq!(decide(&step(&[(0, 7, 9)]), &at(&[(0, 4)]), &at(&[(0, 4)])), CommitDecision::Commit);
    }

    #[test]
    fn a_sink_that_moved_without_us_fences() {
        let found = decide(&step(&[(0, 5, 9)]), &at(&[(0, 7)]), &at(&[(0, 5)]));
        let expected = CommitDecision::Fenced {
            partition: tp(0),
            expected: "offset 5".to_owned(),
            found: "offset 7".to_owned(),
        };
        assert_eq!(found, expected);
        // Half of the step is there: a batch of ours is atomic, so this is not ours.
        assert!(matches!(
            decide(&step(&[(0, 5, 9), (1, 0, 3)]), &at(&[(0, 9)]), &at(&[(0, 5)])),
            CommitDecision::Fenced { .. }
        ));
    }

    #[test]
    fn a_later_epoch_fences_even_where_the_offsets_agree() {
        let epochs = |epoch| [(tp(0), Epoch(epoch))].into_iter().collect::<Epochs>();
        let found = |epoch, next| SinkPositions { held: at(&[(0, next)]), epochs: epochs(epoch), ..Default::default() };
        let step = step(&[(0, 5, 9)]);
        assert_eq!(step.decide(&found(3, 5), &at(&[(0, 5)]), &epochs(3)), CommitDecision::Commit);
        assert_eq!(step.decide(&found(2, 5), &at(&[(0, 5)]), &epochs(3)), CommitDecision::Commit);
        for next in [5, 9] {
            let decision = step.decide(&found(4, next), &at(&[(0, 5)]), &epochs(3));
            assert!(matches!(decision, CommitDecision::Fenced { .. }), "{decision:?}");
        }
    }

    #[test]
    fn taking_possession_is_never_skipped() {
        assert_eq!(decide(&step(&[(0, 5, 5)]), &at(&[(0, 5)]), &at(&[(0, 5)])), CommitDecision::Commit);
    }

    proptest! {
        #[test]
        fn after_a_commit_the_same_step_is_skipped(
            start in 0i64..50, len in 1i64..50, other in 0i64..50,
        ) {
            let step = step(&[(0, start, start + len)]);
            let mut held = at(&[(0, start), (1, other)]);
            prop_assert_eq!(decide(&step, &held, &held.clone()), CommitDecision::Commit);
            let before = held.clone();
            held.advance(&step);
            prop_assert_eq!(decide(&step, &held, &before), CommitDecision::Skip);
            prop_assert_eq!(decide(&step, &held, &held.clone()), CommitDecision::Skip);
            prop_assert_eq!(held.get(&tp(1)), Some(NextOffset(other)));
        }

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
