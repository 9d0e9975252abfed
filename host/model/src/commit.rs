//! A commit: what it says beside the rows, and the decision that keeps it exactly-once. Pure.

use crate::{CheckpointId, Epoch, Epochs, NextOffset, PositionDelta, Positions, TopicPartition};

/// What a commit says beside the rows; all of it lands in one transaction with them.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The batch; 0 when possession is taken.
    pub checkpoint: CheckpointId,
    /// Its ranges: the ends become `held`. A step that moves nothing takes possession of its partitions.
    pub delta: PositionDelta,
    /// Up to here every sink of the pipeline holds everything, once this commit is in: a restart goes on from there.
    /// The step's ends at the sink that commits last, its starts at the others.
    pub done: Positions,
    /// The epoch of every partition of the step.
    pub epochs: Epochs,
    /// SHA-256 of every component that the batch went through.
    pub digests: Vec<String>,
}

/// How far a sink says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkPositions {
    /// Rows up to here are in this sink.
    pub held: Positions,
    /// Rows up to here are in every sink of the pipeline, or need not be in any.
    pub done: Positions,
    /// Who owns the partitions, as far as this sink was told.
    pub epochs: Epochs,
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// It is in; the table's new version where it has one.
    Committed(Option<i64>),
    /// It was in already.
    AlreadyThere,
    /// There is no table yet and nothing to write: nobody was told.
    Deferred,
}

/// What a sink may do with a commit ([`Commit::decide`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitDecision {
    /// The sink holds it already.
    Skip,
    /// The sink stands where we left it.
    Commit,
    /// Another process was here: write nothing.
    Fenced {
        /// The partition that gave it away.
        partition: TopicPartition,
        /// The epoch or offset that we know.
        expected: String,
        /// What the sink shows.
        found: String,
    },
}

impl Commit {
    /// Decides what may be done with this commit at a sink that shows `found` now and whose `held` was `expected` after our
    /// last look or commit. Partitions that the step does not name do not matter.
    ///
    /// | the sink shows                                        | decision |
    /// |-------------------------------------------------------|----------|
    /// | a partition under another epoch than ours             | `Fenced`: another process took it over |
    /// | every partition at or past the step's end, and `done` likewise | `Skip`: it is in, its reply was lost |
    /// | every partition where `expected` has it               | `Commit` |
    /// | anything else                                         | `Fenced`: somebody writes under our name |
    ///
    /// A step that moves nothing takes possession: its epochs must be later than those that are there, since two
    /// processes that read the same epoch try the same next one, and only one of them may have it. It is never skipped.
    pub fn decide(&self, found: &SinkPositions, expected: &Positions) -> CommitDecision {
        let taking = self.delta.is_empty();
        for (tp, _) in self.delta.iter() {
            let (ours, theirs) = (self.epochs.get(tp).unwrap_or_default(), found.epochs.get(tp));
            if theirs.is_some_and(|theirs| if taking { theirs >= ours } else { theirs != ours }) {
                return fenced(tp, describe_epoch(Some(ours)), describe_epoch(theirs));
            }
        }
        let reached = |(tp, range): (&TopicPartition, crate::OffsetRange)| {
            let done = self.done.get(tp).is_none_or(|done| found.done.get(tp).is_some_and(|there| there >= done));
            done && found.held.get(tp).is_some_and(|next| next >= range.end)
        };
        if !taking && self.delta.iter().all(reached) {
            return CommitDecision::Skip;
        }
        match self.delta.iter().find(|(tp, _)| found.held.get(tp) != expected.get(tp)) {
            None => CommitDecision::Commit,
            Some((tp, _)) => fenced(tp, describe_offset(expected.get(tp)), describe_offset(found.held.get(tp))),
        }
    }
}

fn fenced(partition: &TopicPartition, expected: String, found: String) -> CommitDecision {
    CommitDecision::Fenced { partition: partition.clone(), expected, found }
}

fn describe_epoch(epoch: Option<Epoch>) -> String {
    epoch.map_or("no epoch".into(), |epoch| format!("epoch {epoch}"))
}

fn describe_offset(next: Option<NextOffset>) -> String {
    next.map_or("no offset".into(), |next| format!("offset {next}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::OffsetRange;

    fn tp(partition: i32) -> TopicPartition {
        TopicPartition::new("t", partition)
    }

    fn at(list: &[(i32, i64)]) -> Positions {
        list.iter().map(|&(p, next)| (tp(p), NextOffset(next))).collect()
    }

    fn epochs(epoch: i64) -> Epochs {
        (0..3).map(|p| (tp(p), Epoch(epoch))).collect()
    }

    /// A commit of these ranges under epoch 3 at the sink that commits last.
    fn commit(list: &[(i32, i64, i64)]) -> Commit {
        let range = |start, end| OffsetRange { start: NextOffset(start), end: NextOffset(end) };
        let delta: PositionDelta = list.iter().map(|&(p, start, end)| (tp(p), range(start, end))).collect();
        Commit { checkpoint: CheckpointId(1), done: delta.ends(), delta, epochs: epochs(3), digests: vec![] }
    }

    fn found(held: &[(i32, i64)], epoch: i64) -> SinkPositions {
        SinkPositions { held: at(held), done: at(held), epochs: epochs(epoch) }
    }

    fn is_fenced(decision: &CommitDecision) -> bool {
        matches!(decision, CommitDecision::Fenced { .. })
    }

    #[test]
    fn a_sink_at_the_end_is_skipped_even_if_we_never_heard() {
        let commit = commit(&[(0, 5, 9), (1, 0, 3)]);
        assert_eq!(commit.decide(&found(&[(0, 9), (1, 3)], 3), &at(&[(0, 5)])), CommitDecision::Skip);
        assert_eq!(commit.decide(&found(&[(0, 12), (1, 3)], 3), &at(&[])), CommitDecision::Skip);
    }

    #[test]
    fn rows_that_are_there_do_not_excuse_a_done_that_is_not() {
        // The sink was ahead when it came to commit last: it must still say that everybody has the batch.
        let sink = SinkPositions { done: at(&[(0, 5)]), ..found(&[(0, 20)], 3) };
        assert_eq!(commit(&[(0, 5, 9)]).decide(&sink, &at(&[(0, 20)])), CommitDecision::Commit);
    }

    #[test]
    fn a_sink_where_we_left_it_takes_the_step() {
        assert_eq!(commit(&[(0, 0, 3)]).decide(&SinkPositions::default(), &at(&[])), CommitDecision::Commit);
        // A sink that lags behind the step (it had no rows in between) stands where we left it, too.
        assert_eq!(commit(&[(0, 7, 9)]).decide(&found(&[(0, 4)], 3), &at(&[(0, 4)])), CommitDecision::Commit);
    }

    #[test]
    fn a_sink_that_moved_without_us_fences() {
        let decision = commit(&[(0, 5, 9)]).decide(&found(&[(0, 7)], 3), &at(&[(0, 5)]));
        let (expected, found_there) = ("offset 5".to_owned(), "offset 7".to_owned());
        assert_eq!(decision, CommitDecision::Fenced { partition: tp(0), expected, found: found_there });
        // Half of the step is there: a batch of ours is atomic, so this is not ours.
        assert!(is_fenced(&commit(&[(0, 5, 9), (1, 0, 3)]).decide(&found(&[(0, 9)], 3), &at(&[(0, 5)]))));
    }

    #[test]
    fn another_epoch_fences_even_where_the_offsets_agree() {
        for (epoch, next) in [(4, 5), (4, 9), (2, 5), (2, 9)] {
            let decision = commit(&[(0, 5, 9)]).decide(&found(&[(0, next)], epoch), &at(&[(0, 5)]));
            assert!(is_fenced(&decision), "epoch {epoch}, offset {next}: {decision:?}");
        }
    }

    #[test]
    fn possession_needs_a_later_epoch_and_is_never_skipped() {
        let take = commit(&[(0, 5, 5)]);
        assert_eq!(take.decide(&found(&[(0, 5)], 2), &at(&[(0, 5)])), CommitDecision::Commit);
        for epoch in [3, 4] {
            assert!(is_fenced(&take.decide(&found(&[(0, 5)], epoch), &at(&[(0, 5)]))), "epoch {epoch}");
        }
        // What a former owner slipped in since the look shows.
        assert!(is_fenced(&take.decide(&found(&[(0, 8)], 2), &at(&[(0, 5)]))));
    }

    proptest! {
        #[test]
        fn after_a_commit_the_same_step_is_skipped(start in 0i64..50, len in 1i64..50, other in 0i64..50) {
            let commit = commit(&[(0, start, start + len)]);
            let mut sink = found(&[(0, start), (1, other)], 3);
            let before = sink.held.clone();
            prop_assert_eq!(commit.decide(&sink, &before), CommitDecision::Commit);
            sink.held.advance(&commit.delta);
            sink.done.advance(&commit.delta);
            prop_assert_eq!(commit.decide(&sink, &before), CommitDecision::Skip);
            prop_assert_eq!(commit.decide(&sink, &sink.held.clone()), CommitDecision::Skip);
        }
    }
}
