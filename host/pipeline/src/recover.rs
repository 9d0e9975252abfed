//! Where to go on: from what the sinks and the journal say to a decision. Pure.

use std::collections::BTreeSet;

use lakemill_model::{
    BatchLimits, CheckpointId, Epoch, Epochs, NextOffset, PositionDelta, Positions, RawBatch, SinkPositions,
    SourceError, TopicIds, TopicPartition,
};
use lakemill_state::{Plan, Remembered};

/// Where partitions go on that were just taken.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Resume {
    /// Go on here.
    pub positions: Positions,
    /// Nothing and nobody knows these: they go on at the configured start, but not after the offset named.
    pub unknown: Vec<(TopicPartition, Option<NextOffset>)>,
    /// The epoch to take the partitions under.
    pub epochs: Epochs,
}

/// Decides where partitions go on.
///
/// | known                      | goes on at                                         |
/// |----------------------------|----------------------------------------------------|
/// | a `done` in some sink      | the largest                                        |
/// | else the journal's start   | there                                              |
/// | else                       | the configured start or the smallest `held`, whichever is earlier |
///
/// Rows between that and a sink's `held` are not written to that sink again. If a sink's table is another one than it was (`moved`), the
/// journal's `done` counts as one of a sink: the table that said it last may be the one that is left behind.
pub(crate) fn resume(
    assigned: &[TopicPartition],
    sinks: &[SinkPositions],
    journal: &Remembered,
    moved: bool,
) -> Resume {
    let mut resume = Resume::default();
    for tp in assigned {
        let left = journal.owned.get(tp).filter(|_| moved).map(|owned| owned.done);
        let done = sinks.iter().filter_map(|sink| sink.done.get(tp)).chain(left).max();
        match done.or_else(|| journal.start.get(tp)) {
            Some(next) => resume.positions.set(tp.clone(), next),
            None => {
                let held = sinks.iter().filter_map(|sink| sink.held.get(tp)).min();
                resume.unknown.push((tp.clone(), held));
            }
        }
        let last = sinks.iter().filter_map(|sink| sink.epochs.get(tp)).max().unwrap_or_default();
        resume.epochs.set(tp.clone(), Epoch(last.0 + 1));
    }
    resume
}

/// Leaves partitions out of what is to be taken; where they stand.
pub(crate) fn leave_out(resume: &mut Resume, wanted: &[TopicPartition]) -> Positions {
    let wanted: BTreeSet<&TopicPartition> = wanted.iter().collect();
    let (taken, rest): (Vec<_>, Vec<_>) =
        resume.positions.iter().map(|(tp, next)| (tp.clone(), next)).partition(|(tp, _)| wanted.contains(tp));
    resume.positions = taken.into_iter().collect();
    resume.unknown.retain(|(tp, _)| wanted.contains(tp));
    resume.epochs = resume.epochs.iter().filter(|(tp, _)| wanted.contains(tp)).map(|(tp, e)| (tp.clone(), e)).collect();
    rest.into_iter().collect()
}

/// The furthest of several positions of each partition.
pub(crate) fn furthest<'a>(all: impl Iterator<Item = (&'a TopicPartition, NextOffset)>) -> Positions {
    let mut furthest = Positions::new();
    furthest.raise(all);
    furthest
}

/// What becomes of the journal's unfinished plans when partitions go on at `positions`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Replay {
    /// To be done again as they were, in this order.
    pub plans: Vec<Plan>,
    /// To be forgotten: their rows are in the sinks, or will come in other batches.
    pub void: Vec<CheckpointId>,
}

/// Decides which plans are replayed: those whose steps begin exactly where all their partitions stand when
/// it is their turn. `held` is what each sink holds.
///
/// A plan names the code that it is replayed with. Only if that code was refused for it, the pipeline has other code by now (`is_current`
/// says whether it is the plan's), and no sink has a part of it, then its records come again in another batch.
pub(crate) fn replay(
    plans: &[Plan],
    positions: &Positions,
    held: &[Positions],
    is_current: impl Fn(&Plan) -> bool,
) -> Replay {
    let (mut replay, mut at) = (Replay::default(), positions.clone());
    for plan in plans {
        let anew = plan.refused && !is_current(plan) && !begun(plan, held);
        if begins_at(plan, &at) && !plan.delta.is_empty() && !anew {
            at.advance(&plan.delta);
            replay.plans.push(plan.clone());
        } else {
            replay.void.push(plan.checkpoint);
        }
    }
    replay
}

/// Whether a plan begins exactly where all its partitions stand.
pub(crate) fn begins_at(plan: &Plan, at: &Positions) -> bool {
    plan.delta.iter().all(|(tp, range)| at.get(tp) == Some(range.start))
}

/// Holds what the sinks say against what the journal remembers: under the epoch that we had, nobody else has moved them, so that
/// they can only stand where we left them. A log entry, or a log checkpoint, that was changed on the disk shows here: Delta has
/// no checksum for either.
///
/// The error names the partition and both numbers. If a sink's table is another one than it was (`moved`), the others may be behind.
pub(crate) fn contradiction(
    assigned: &[TopicPartition],
    sinks: &[SinkPositions],
    journal: &Remembered,
    moved: bool,
) -> Option<String> {
    for tp in assigned {
        let Some(owned) = journal.owned.get(tp) else { continue };
        // Somebody has taken it since, or we began to: each sink says something of its own until all are taken.
        if sinks.iter().any(|sink| sink.epochs.get(tp).is_some_and(|epoch| epoch > owned.epoch)) {
            continue;
        }
        let ours: Vec<&SinkPositions> = sinks.iter().filter(|sink| sink.epochs.get(tp) == Some(owned.epoch)).collect();
        let under_way =
            |at: NextOffset| journal.plans.iter().any(|plan| plan.delta.get(tp).is_some_and(|r| r.end == at));
        let done = ours.iter().filter_map(|sink| sink.done.get(tp)).max();
        let is_behind = |done: NextOffset| moved && done < owned.done;
        if let Some(done) = done.filter(|done| *done != owned.done && !under_way(*done) && !is_behind(*done)) {
            return Some(format!("{tp}: the tables are done up to {done}, and we left them at {}", owned.done));
        }
        let most = owned.done.max(owned.held_max);
        let held = ours.iter().filter_map(|sink| sink.held.get(tp)).find(|held| *held > most && !under_way(*held));
        if let Some(held) = held {
            return Some(format!("{tp}: a table holds rows up to {held}, and we left it at {most} at most"));
        }
    }
    None
}

/// Unfinished plans whose partitions somebody else has had since we had them, as they are to be remembered: what sinks hold of them by
/// now may not be ours.
pub(crate) fn disowned(assigned: &[TopicPartition], sinks: &[SinkPositions], journal: &Remembered) -> Vec<Plan> {
    let is_theirs = |tp: &TopicPartition| {
        let ours = journal.owned.get(tp).map(|owned| owned.claimed.unwrap_or_default().max(owned.epoch));
        assigned.contains(tp) && ours.is_some() && sinks.iter().any(|sink| sink.epochs.get(tp) > ours)
    };
    let held: Vec<Positions> = sinks.iter().map(|sink| sink.held.clone()).collect();
    let stale = journal.plans.iter().filter(|plan| plan.delta.iter().any(|(tp, _)| is_theirs(tp)));
    let anew = stale.map(|plan| (overtaken(&plan.delta, &held), plan));
    anew.filter(|(overtaken, plan)| *overtaken != plan.overtaken)
        .map(|(overtaken, plan)| Plan { overtaken, ..plan.clone() })
        .collect()
}

/// A topic that is not the one that the journal remembers, with both ids: the positions are those of another one. Not if nothing of it
/// was ever read, and it was to be read from its beginning: then it does not matter.
pub(crate) fn made_anew(
    assigned: &[TopicPartition],
    ids: &TopicIds,
    sinks: &[SinkPositions],
    journal: &Remembered,
) -> Option<SourceError> {
    for tp in assigned {
        let Some(owned) = journal.owned.get(tp) else { continue };
        let (Some(known), Some(found)) = (&owned.topic_id, ids.get(&tp.topic)) else { continue };
        let of_sinks = sinks.iter().flat_map(|sink| [sink.held.get(tp), sink.done.get(tp)]);
        let mut reached = of_sinks.chain([journal.start.get(tp), Some(owned.done)]).flatten();
        if **known != **found && reached.any(|next| next > NextOffset(0)) {
            let topic = tp.topic.to_string();
            return Some(SourceError::MadeAnew { topic, known: known.clone(), found: found.to_string() });
        }
    }
    None
}

/// Whether some sink has rows of a plan that were made by its code and cut as it says.
pub(crate) fn begun(plan: &Plan, held: &[Positions]) -> bool {
    let now = overtaken(&plan.delta, held);
    let count = |list: &[(String, i32, i64)], at| list.iter().filter(|one| *one == at).count();
    now.iter().any(|at| count(&now, at) > count(&plan.overtaken, at))
}

/// Whether a batch is larger than one that would be closed today: a source closes it before the record that would be too many, or is one too
/// large by itself.
pub(crate) fn is_larger(raw: &RawBatch, limits: &BatchLimits) -> bool {
    raw.len() > limits.rows_max.max(1) || (raw.len() > 1 && raw.bytes() > limits.bytes_max)
}

/// Where sinks stand that hold rows of a step, as [`Plan::overtaken`] has them.
pub(crate) fn overtaken(step: &PositionDelta, held: &[Positions]) -> Vec<(String, i32, i64)> {
    let mut all = Vec::new();
    for held in held {
        let beyond = step.iter().filter_map(|(tp, range)| Some((tp, held.get(tp).filter(|next| *next > range.start)?)));
        all.extend(beyond.map(|(tp, next)| (tp.topic.to_string(), tp.partition, next.0)));
    }
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use lakemill_model::OffsetRange;
    use lakemill_state::{Code, Owned};

    use super::*;

    fn tp(n: i32) -> TopicPartition {
        TopicPartition::new("t", n)
    }

    fn at(list: &[(i32, i64)]) -> Positions {
        list.iter().map(|&(p, next)| (tp(p), NextOffset(next))).collect()
    }

    fn sink(held: &[(i32, i64)], done: &[(i32, i64)], epoch: i64) -> SinkPositions {
        SinkPositions { held: at(held), done: at(done), epochs: [(tp(0), Epoch(epoch))].into_iter().collect() }
    }

    fn plan(id: u64, ranges: &[(i32, i64, i64)]) -> Plan {
        let delta: PositionDelta =
            ranges.iter().map(|&(p, a, b)| (tp(p), OffsetRange { start: NextOffset(a), end: NextOffset(b) })).collect();
        Plan {
            checkpoint: CheckpointId(id),
            delta,
            now_us: 0,
            watermark_us: None,
            code: code("a"),
            canary: None,
            cuts: Vec::new(),
            refused: false,
            overtaken: Vec::new(),
            unfit: Vec::new(),
        }
    }

    fn owned(epoch: i64, claimed: Option<i64>) -> Owned {
        let (done, held_max) = (NextOffset(40), NextOffset(40));
        Owned { epoch: Epoch(epoch), claimed: claimed.map(Epoch), done, held_max, topic_id: None }
    }

    fn code(digest: &str) -> Code {
        Code { digests: vec![digest.into()], settings: vec![] }
    }

    #[test]
    fn the_largest_done_counts_however_far_sinks_lag_or_lead() {
        let sinks = [sink(&[(0, 10)], &[(0, 40)], 3), sink(&[(0, 70)], &[(0, 60)], 4), sink(&[], &[], 0)];
        let journal = Remembered { start: at(&[(0, 5)]), ..Remembered::default() };
        let resume = resume(&[tp(0)], &sinks, &journal, false);
        assert_eq!(resume.positions, at(&[(0, 60)]));
        assert_eq!(resume.epochs.get(&tp(0)), Some(Epoch(5)));
    }

    #[test]
    fn a_table_that_is_left_behind_takes_nothing_with_it() {
        let known = Owned { done: NextOffset(40), ..owned(3, None) };
        let journal = Remembered { start: at(&[(0, 5)]), owned: [(tp(0), known)].into(), ..Remembered::default() };
        // The anchor has a new table; the other sink was last written at 30.
        let sinks = [sink(&[], &[], 0), sink(&[(0, 35)], &[(0, 30)], 3)];
        assert_eq!(resume(&[tp(0)], &sinks, &journal, true).positions, at(&[(0, 40)]));
        assert_eq!(contradiction(&[tp(0)], &sinks, &journal, true), None);
        assert!(contradiction(&[tp(0)], &sinks, &journal, false).is_some(), "nothing was moved: it was set back");
        assert_eq!(resume(&[tp(0)], &[sink(&[], &[], 0)], &journal, true).positions, at(&[(0, 40)]), "the only one");
        let ahead = [sink(&[], &[], 0), sink(&[(0, 50)], &[(0, 50)], 3)];
        assert!(contradiction(&[tp(0)], &ahead, &journal, true).is_some(), "a sink that is ahead is not explained");
    }

    #[test]
    fn without_done_the_journal_knows_the_start() {
        let journal = Remembered { start: at(&[(0, 5)]), ..Remembered::default() };
        let resume = resume(&[tp(0), tp(1)], &[sink(&[(0, 70)], &[], 1)], &journal, false);
        assert_eq!(resume.positions, at(&[(0, 5)]));
        assert_eq!(resume.unknown, [(tp(1), None)]);
        assert_eq!(resume.epochs.get(&tp(1)), Some(Epoch(1)));
    }

    #[test]
    fn without_a_journal_the_start_is_not_after_what_a_sink_holds() {
        let resume =
            resume(&[tp(0)], &[sink(&[(0, 70)], &[], 1), sink(&[(0, 30)], &[], 1)], &Remembered::default(), false);
        assert_eq!(resume.unknown, [(tp(0), Some(NextOffset(30)))]);
    }

    #[test]
    fn what_is_not_wanted_is_not_taken() {
        let sinks = [sink(&[(0, 10), (1, 5)], &[(0, 10), (1, 5)], 3)];
        let mut resume = resume(&[tp(0), tp(1), tp(2), tp(3)], &sinks, &Remembered::default(), false);
        assert_eq!(leave_out(&mut resume, &[tp(1), tp(2)]), at(&[(0, 10)]));
        assert_eq!((resume.positions, resume.unknown), (at(&[(1, 5)]), vec![(tp(2), None)]));
        assert_eq!(resume.epochs.iter().map(|(tp, _)| tp.partition).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(furthest(at(&[(0, 3), (1, 9)]).iter().chain(at(&[(0, 4), (1, 8)]).iter())), at(&[(0, 4), (1, 9)]));
    }

    #[test]
    fn plans_are_replayed_as_a_chain_and_others_are_void() {
        let plans = [
            plan(1, &[(0, 0, 10)]),
            plan(2, &[(0, 10, 20), (1, 0, 5)]),
            plan(3, &[(0, 20, 30)]),
            plan(4, &[(2, 0, 9)]),
        ];
        let replay = replay(&plans, &at(&[(0, 10), (1, 0)]), &[], |_| false);
        let ids: Vec<_> = replay.plans.iter().map(|p| p.checkpoint.0).collect();
        assert_eq!(ids, [2, 3]);
        assert_eq!(replay.void, [CheckpointId(1), CheckpointId(4)]);
    }

    #[test]
    fn a_refused_plan_is_made_anew_for_other_code_if_nobody_has_a_part_of_it() {
        let refused = Plan { refused: true, ..plan(1, &[(0, 0, 10)]) };
        let plans = [refused, plan(2, &[(0, 10, 20)])];
        let decide = |held: &[(i32, i64)], current: &str| {
            replay(&plans, &at(&[(0, 0)]), &[Positions::new(), at(held)], |plan| plan.code == code(current)).plans.len()
        };
        assert_eq!(decide(&[(0, 0)], "b"), 0, "the one after it is void, too");
        assert_eq!(decide(&[(0, 0)], "a"), 2, "the same code does the same again");
        assert_eq!(decide(&[(0, 3)], "b"), 2, "a sink has a part of it");
        let before = [Positions::new(), at(&[(0, 3)])];
        let plans = [Plan { overtaken: overtaken(&plans[0].delta, &before), ..plans[0].clone() }];
        let decide =
            |held: &[Positions]| replay(&plans, &at(&[(0, 0)]), held, |plan| plan.code == code("b")).plans.len();
        assert_eq!(decide(&before), 0, "another process has made that part");
        assert_eq!(decide(&[at(&[(0, 10)]), at(&[(0, 3)])]), 1, "and this one another part");
        assert_eq!(decide(&[at(&[]), at(&[(0, 10)])]), 1, "or the rest");
    }

    #[test]
    fn what_is_of_a_batch_is_somebody_elses_once_they_had_its_partition() {
        let disowned = |epochs: [i64; 2], claimed: Option<i64>| {
            let journal = Remembered {
                owned: [(tp(0), owned(3, claimed))].into(),
                plans: vec![plan(5, &[(0, 40, 50)])],
                ..Remembered::default()
            };
            let sinks = [sink(&[(0, 45)], &[(0, 40)], epochs[0]), sink(&[(0, 40)], &[(0, 40)], epochs[1])];
            let held: Vec<Positions> = sinks.iter().map(|sink| sink.held.clone()).collect();
            let plans = super::disowned(&[tp(0)], &sinks, &journal);
            plans.first().map(|plan| (plan.overtaken.clone(), begun(plan, &held)))
        };
        assert_eq!(disowned([3, 3], None), None, "ours");
        assert_eq!(disowned([4, 3], Some(4)), None, "we began to take it again");
        let theirs = Some((vec![("t".to_owned(), 0, 45)], false));
        assert_eq!(disowned([4, 4], None), theirs);
        assert_eq!(disowned([5, 4], Some(4)), theirs, "they came after that");
    }

    #[test]
    fn a_sink_that_is_gone_has_no_part_of_a_batch() {
        let plan = Plan { overtaken: vec![("t".into(), 0, 7)], ..plan(1, &[(0, 0, 10)]) };
        assert!(!begun(&plan, &[at(&[(0, 0)])]));
        assert!(begun(&plan, &[at(&[(0, 7)]), at(&[(0, 7)])]), "two hold it now");
    }

    #[test]
    fn tables_that_moved_without_anybody_are_noticed() {
        let owned = |held_max| Owned { held_max: NextOffset(held_max), ..owned(3, None) };
        let journal = |held_max| Remembered {
            owned: [(tp(0), owned(held_max))].into(),
            plans: vec![plan(5, &[(0, 40, 50)])],
            ..Remembered::default()
        };
        let says = |held, done, epoch, held_max| {
            contradiction(&[tp(0), tp(1)], &[sink(&[(0, held)], &[(0, done)], epoch)], &journal(held_max), false)
        };
        for (held, done) in [(40, 40), (30, 40), (50, 40), (50, 50)] {
            assert_eq!(says(held, done, 3, 0), None, "held {held}, done {done}");
        }
        assert!(says(40, 39, 3, 0).is_some_and(|why| why.contains("done up to 39, and we left them at 40")));
        assert!(says(41, 40, 3, 0).is_some_and(|why| why.contains("up to 41, and we left it at 40")));
        assert_eq!(says(70, 40, 3, 70), None, "it was ahead when we took it");
        assert_eq!(says(41, 39, 4, 0), None, "somebody else was there");
        let half_taken = [sink(&[(0, 40)], &[(0, 40)], 4), sink(&[(0, 30)], &[(0, 20)], 3)];
        assert_eq!(contradiction(&[tp(0)], &half_taken, &journal(0), false), None, "we died while we took it");
    }

    #[test]
    fn another_topic_of_the_same_name_is_noticed_if_something_was_read() {
        let says = |known: Option<&str>, found: &str, held: i64, done: i64, start: i64| {
            let owned = Owned {
                done: NextOffset(0),
                held_max: NextOffset(0),
                topic_id: known.map(str::to_owned),
                ..owned(3, None)
            };
            let journal =
                Remembered { start: at(&[(0, start)]), owned: [(tp(0), owned)].into(), ..Remembered::default() };
            let ids: TopicIds = [("t".into(), found.into())].into();
            made_anew(&[tp(0), tp(1)], &ids, &[sink(&[(0, held)], &[(0, done)], 3)], &journal).is_some()
        };
        assert!(says(Some("x"), "y", 40, 40, 0));
        assert!(says(Some("x"), "y", 40, 0, 0), "one sink has rows of it");
        assert!(says(Some("x"), "y", 0, 0, 500), "its end was the start");
        assert!(!says(Some("x"), "y", 0, 0, 0), "nothing was read");
        assert!(!says(Some("x"), "x", 40, 40, 0));
        assert!(!says(None, "y", 40, 40, 0), "a journal of before");
    }
}
