//! The committer: takes batches in order and alone decides the order of visible steps. See ARCHITECTURE.md, "Exactly once".

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};
use lakemill_failpoint::{Point, reach};
use lakemill_model::{
    CheckpointId, Commit, CommitOutcome, Epochs, OffsetRange, PositionDelta, Positions, Sink, SinkError, Staged,
    TableIdentity,
};
use lakemill_state::{Journal, KnownTable, Plan, StateError};

use crate::budget::Allowance;
use crate::clock::{elapsed_us, now_us};
use crate::counts::Counts;
use crate::deployer::Deployer;
use crate::error::{OverBudget, PipelineError};
use crate::job::{Claimed, Looked, Prepared, Report, Step};
use crate::progress::Progress;
use crate::recover;
use crate::tables::{self, SinkNow};

/// Where rows go.
pub(crate) struct Sinks {
    pub all: Vec<Box<dyn Sink>>,
    /// The sink that commits last, and always, once it has a table: its `done` says that a batch is everywhere.
    pub anchor: usize,
    /// By sink: a console does not.
    pub keeps_positions: Vec<bool>,
}

pub(crate) struct Committer<'a> {
    sinks: Vec<Box<dyn Sink>>,
    anchor: usize,
    keeps_positions: Vec<bool>,
    reports: Sender<Report>,
    progress: &'a Progress,
    journal: &'a Mutex<Journal>,
    deployer: &'a Deployer,
    budget: Allowance<'a>,
    /// By sink: what it holds. A commit never sets a position back.
    held: Vec<Positions>,
    /// By sink: whether it has a table.
    has_table: Vec<bool>,
    epochs: Epochs,
    /// Indexes of the dead letters and the late rows.
    sides: Vec<usize>,
    /// A sink has another table than the journal knows.
    moved: bool,
    /// What the journal is to know of the tables, once the partitions are taken.
    tables: BTreeMap<String, KnownTable>,
}

impl<'a> Committer<'a> {
    pub fn new(
        Sinks { all: sinks, anchor, keeps_positions }: Sinks,
        reports: Sender<Report>,
        progress: &'a Progress,
        journal: &'a Mutex<Journal>,
        deployer: &'a Deployer,
        budget: Allowance<'a>,
        sides: Vec<usize>,
    ) -> Self {
        let (held, has_table) = (vec![Positions::new(); sinks.len()], vec![false; sinks.len()]);
        let epochs = Epochs::default();
        let (moved, tables) = (false, BTreeMap::new());
        Self {
            sinks,
            anchor,
            keeps_positions,
            reports,
            progress,
            journal,
            deployer,
            budget,
            held,
            has_table,
            epochs,
            sides,
            moved,
            tables,
        }
    }

    /// Works until the reader says that there is nothing more, or something fails.
    pub fn run(mut self, steps: &Receiver<Step>) -> Result<(), PipelineError> {
        loop {
            match steps.recv().map_err(|_| PipelineError::Lost("reader"))? {
                Step::Batch { plan, prepared } => {
                    let prepared = prepared.recv().map_err(|_| PipelineError::Lost("worker"))?;
                    let affordable = prepared.and_then(|prepared| self.affordable(&plan, prepared));
                    match affordable.and_then(|prepared| self.commit(&plan, prepared)) {
                        // A reader that is gone has said why, in `steps`.
                        Ok((told, sinks)) => drop(self.reports.send(Report::Committed { plan, told, sinks })),
                        Err(error) => {
                            if error.blames_code() {
                                self.journal.lock().unwrap_or_else(PoisonError::into_inner).refuse(plan.checkpoint)?;
                            }
                            return Err(error);
                        }
                    }
                }
                Step::Look { reply } => {
                    let seen = self.look()?;
                    drop(reply.send(seen));
                }
                Step::Claim { positions, epochs, digests, reply } => {
                    let claimed = self.claim(&positions, epochs, digests)?;
                    drop(reply.send(claimed));
                }
                Step::Drain { reply } => drop(reply.send(())),
                Step::Failed(error) => return Err(error),
                Step::End => return Ok(()),
            }
        }
    }

    fn look(&mut self) -> Result<Looked, PipelineError> {
        let seen = self.sinks.iter_mut().map(|sink| sink.positions()).collect::<Result<Vec<_>, _>>()?;
        self.held = seen.iter().map(|positions| positions.held.clone()).collect();
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let known = journal.remembered();
        let compared = tables::compare(&known.tables, &known.held, &self.now()).map_err(PipelineError::Invalid)?;
        drop(journal);
        for sink in &compared.moved {
            tracing::warn!(sink, "the sink has a new table, which gets the rows from now on");
        }
        self.moved |= !compared.moved.is_empty();
        self.tables = compared.tables;
        Ok(Looked { sinks: seen, moved: self.moved })
    }

    /// The sinks' tables.
    fn now(&self) -> Vec<SinkNow<'_>> {
        let now = |n: usize| SinkNow {
            name: self.sinks[n].name(),
            table: self.sinks[n].table(),
            held: &self.held[n],
            is_side: self.sides.contains(&n),
        };
        (0..self.sinks.len()).map(now).collect()
    }

    /// Lets the journal know which tables there are by now.
    fn note_tables(&mut self) -> Result<(), StateError> {
        for sink in &self.sinks {
            if let Some(TableIdentity { location, id }) = sink.table() {
                self.tables.insert(sink.name().to_owned(), KnownTable { location, id });
            }
        }
        self.journal.lock().unwrap_or_else(PoisonError::into_inner).tables(self.tables.clone())
    }

    /// Passes on what the error budget allows; and a batch that some sink has a part of: it was allowed then.
    fn affordable(&mut self, plan: &Plan, prepared: Prepared) -> Result<Prepared, PipelineError> {
        if recover::begun(plan, &self.held) {
            return Ok(prepared);
        }
        let Counts { rows_in, rows_dead, .. } = prepared.counts;
        match self.budget.spend(plan.checkpoint, rows_in, rows_dead, now_us()) {
            None => Ok(prepared),
            Some(over) => Err(PipelineError::OverBudget(Box::new(OverBudget {
                checkpoint: plan.checkpoint,
                ranges: plan.delta.to_string(),
                code: plan.codes().cloned().collect(),
                over: over.to_string(),
                example: prepared.example,
            }))),
        }
    }

    fn claim(&mut self, positions: &Positions, epochs: Epochs, digests: Vec<String>) -> Result<Claimed, PipelineError> {
        let step: PositionDelta =
            positions.iter().map(|(tp, at)| (tp.clone(), OffsetRange { start: at, end: at })).collect();
        for (tp, epoch) in epochs.iter() {
            self.epochs.set(tp.clone(), epoch);
        }
        let batch = Batch { checkpoint: CheckpointId(0), digests };
        for sink in 0..self.sinks.len() {
            // What a sink holds beyond the step stays held, and `done` is true in every sink.
            match self.commit_sink(sink, Vec::new(), &batch, &step, step.starts()) {
                Ok(_) => reach(Point::SinkClaimed),
                Err(SinkError::Fenced { .. }) => return Ok(Claimed::LookAgain),
                Err(error) => return Err(error.into()),
            }
        }
        self.note_tables()?;
        Ok(Claimed::Yes(self.held.clone()))
    }

    /// Commits a batch to every sink that has rows of it, and last to one that says that it is done: the anchor, or another one as
    /// long as that has no table. False if none has: then the journal must say it. Also the sinks that hold the batch now.
    fn commit(&mut self, plan: &Arc<Plan>, mut prepared: Prepared) -> Result<(bool, Vec<String>), PipelineError> {
        let had_table = self.has_table.clone();
        let started = Instant::now();
        let mut by_sink: Vec<Vec<Staged>> = self.sinks.iter().map(|_| Vec::new()).collect();
        for (sink, staged) in std::mem::take(&mut prepared.staged) {
            by_sink[sink].push(staged);
        }
        let batch = Batch { checkpoint: plan.checkpoint, digests: plan.digests() };
        let mut sinks = Vec::new();
        let others = (0..by_sink.len()).filter(|sink| *sink != self.anchor);
        let tells = |sink: &usize| self.keeps_positions[*sink] && (self.has_table[*sink] || !by_sink[*sink].is_empty());
        let last = std::iter::once(self.anchor).chain(others).find(tells);
        let of_last = last.map(|last| (last, std::mem::take(&mut by_sink[last])));
        for (sink, staged) in by_sink.into_iter().enumerate() {
            if !staged.is_empty() {
                self.commit_sink(sink, staged, &batch, &plan.delta, plan.delta.starts())?;
                reach(Point::SinkCommitted);
                sinks.push(sink);
            }
        }
        if let Some((last, staged)) = of_last {
            self.commit_sink(last, staged, &batch, &plan.delta, plan.delta.ends())?;
            reach(Point::AnchorCommitted);
            sinks.push(last);
        }
        if had_table != self.has_table {
            self.note_tables()?;
        }
        self.progress.committed(&prepared, sinks.len() as u64, elapsed_us(started), now_us() / 1000);
        self.deployer.look(self.progress);
        for sink in &mut self.sinks {
            if let Err(error) = sink.maintain() {
                tracing::warn!(sink = sink.name(), %error, "maintenance of a table failed; its commits are not affected");
            }
        }
        let holding = sinks.into_iter().filter(|sink| self.has_table[*sink]);
        Ok((last.is_some(), holding.map(|sink| self.sinks[sink].name().to_owned()).collect()))
    }

    fn commit_sink(
        &mut self,
        sink: usize,
        staged: Vec<Staged>,
        batch: &Batch,
        step: &PositionDelta,
        done: Positions,
    ) -> Result<CommitOutcome, SinkError> {
        let delta = never_back(step, &self.held[sink]);
        let Batch { checkpoint, digests } = batch;
        let commit = Commit {
            checkpoint: *checkpoint,
            delta: delta.clone(),
            done,
            epochs: self.epochs.clone(),
            digests: digests.clone(),
        };
        let outcome = self.sinks[sink].commit(staged, &commit)?;
        if outcome == CommitOutcome::AlreadyThere {
            tracing::info!(sink = self.sinks[sink].name(), %checkpoint, "the commit was there already");
        }
        if outcome != CommitOutcome::Deferred {
            self.has_table[sink] = true;
            self.held[sink].advance(&delta);
        }
        Ok(outcome)
    }
}

/// What commits call a batch.
struct Batch {
    checkpoint: CheckpointId,
    digests: Vec<String>,
}

/// A step for a sink that may be ahead of it: where the sink holds more than the step's end, it goes on holding that.
fn never_back(step: &PositionDelta, held: &Positions) -> PositionDelta {
    step.iter()
        .map(|(tp, range)| {
            let at_least = |next| held.get(tp).map_or(next, |held| held.max(next));
            let moves = range.start != range.end;
            let end = at_least(range.end);
            // An empty step stays empty: it takes possession where the sink stands.
            (tp.clone(), OffsetRange { start: if moves { range.start } else { end }, end })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use lakemill_model::{NextOffset, TopicPartition};

    use super::*;

    #[test]
    fn a_sink_that_is_ahead_is_not_set_back() {
        let tp = |n| TopicPartition::new("t", n);
        let range = |start, end| OffsetRange { start: NextOffset(start), end: NextOffset(end) };
        let step: PositionDelta =
            [(tp(0), range(60, 65)), (tp(1), range(0, 10)), (tp(2), range(5, 5))].into_iter().collect();
        let held: Positions =
            [(tp(0), NextOffset(70)), (tp(1), NextOffset(3)), (tp(2), NextOffset(9))].into_iter().collect();
        let moved = never_back(&step, &held);
        let expected = [(tp(0), range(60, 70)), (tp(1), range(0, 10)), (tp(2), range(9, 9))].into_iter().collect();
        assert_eq!(moved, expected);
    }
}
