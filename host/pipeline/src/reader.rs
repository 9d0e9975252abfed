//! The reader: polls the source, closes batches, writes plans, and takes and gives back partitions. It alone touches the
//! source; of the journal, workers write how a batch was cut, and the committer that one was refused.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use lakemill_model::{
    BatchLimits, CheckpointId, NextOffset, OffsetRange, Polled, PositionDelta, Positions, RawBatch, Source, StartAt,
    TopicIds, TopicPartition, Watermarks,
};
use lakemill_state::{Journal, Owned, Plan};

use crate::clock::{elapsed_us, now_us};
use crate::control::Control;
use crate::deployer::Deployer;
use crate::error::PipelineError;
use crate::job::{Claimed, Job, Looked, Report, Step};
use crate::lineup::Lineup;
use crate::loader::Unavailable;
use crate::progress::Progress;
use crate::recover;

/// How long a poll may keep the reader from its other duties.
const TICK: Duration = Duration::from_millis(100);

/// Partitions that a line of the log names.
const NAMED_MAX: usize = 20;

/// How often taking possession is tried against a former owner that still writes.
const CLAIMS_MAX: usize = 20;

/// The other end of a channel is gone: that thread has said, or will say, why.
pub(crate) struct Gone;

impl<T> From<crossbeam_channel::SendError<T>> for Gone {
    fn from(_: crossbeam_channel::SendError<T>) -> Self {
        Gone
    }
}

/// Why the reader stops before its time.
enum Stop {
    Failed(PipelineError),
    Gone,
}

impl<E: Into<PipelineError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Stop::Failed(error.into())
    }
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Stop::Gone
    }
}

pub(crate) struct Reader<'a> {
    pub source: Box<dyn Source>,
    pub journal: &'a Mutex<Journal>,
    pub limits: BatchLimits,
    pub start: StartAt,
    /// What new batches go through.
    pub lineup: Arc<Lineup>,
    pub deployer: &'a Deployer,
    pub steps: Sender<Step>,
    pub jobs: Sender<Job>,
    pub reports: Receiver<Report>,
    /// Batches whose memory may be used again.
    pub emptied: Receiver<RawBatch>,
    pub control: &'a Control,
    /// The run comes to its end: reader or committer is gone.
    pub ended: &'a AtomicBool,
    pub progress: &'a Progress,
    /// Workers add the event times that they see; a plan takes the watermark as it is by then.
    pub watermarks: &'a Mutex<Watermarks>,
    pub held: Arc<Vec<Positions>>,
    pub owned: Vec<TopicPartition>,
    /// Batches that went to the workers.
    pub jobs_sent: u64,
}

/// What came of taking partitions.
struct Taken {
    /// Where they go on.
    positions: Positions,
    /// Those that have something to come.
    wanted: Vec<TopicPartition>,
}

/// A batch that is being filled.
#[derive(Default)]
struct Filling {
    raw: RawBatch,
    /// What it covers so far; gaps that came without records wait here for the next batch.
    delta: PositionDelta,
    since: Option<Instant>,
}

impl Reader<'_> {
    /// Runs until the source is read up, a stop is asked for, or something fails; says which to the committer.
    pub fn run(mut self) {
        let read = self.read();
        self.ended.store(true, Ordering::Relaxed);
        let last = match read {
            Ok(()) => Step::End,
            Err(Stop::Failed(error)) => Step::Failed(error),
            Err(Stop::Gone) => return,
        };
        // If the committer is gone, it has its own reason.
        if self.steps.send(last).is_ok() {
            // Batches on their way still report; the journal is to know them done.
            while let Ok(report) = self.reports.recv() {
                if self.note(report).is_err() {
                    break;
                }
            }
        }
    }

    fn read(&mut self) -> Result<(), Stop> {
        let mut filling = Filling::default();
        while !self.control.is_stopped() && !self.ended.load(Ordering::Relaxed) {
            self.note_all()?;
            let polled_at = Instant::now();
            let until = polled_at + TICK.min(self.limits.latency_max.max(Duration::from_millis(1)));
            let until = filling.since.map_or(until, |since| until.min(since + self.limits.latency_max));
            let polled = self.source.poll(&mut filling.raw, &self.limits, until)?;
            self.progress.read(elapsed_us(polled_at), 0, self.source.lag(), self.watermark());
            self.progress.lost(self.source.take_lost());
            merge(&mut filling.delta, &self.source.take_ranges());
            if !filling.raw.is_empty() {
                filling.since.get_or_insert(polled_at);
            }
            match polled {
                // Before its time: nothing more fits.
                Polled::Records => {
                    if self.is_full(&filling) || Instant::now() < until {
                        self.send(&mut filling)?;
                    }
                }
                Polled::Assigned(partitions) => {
                    self.send(&mut filling)?;
                    self.take(partitions)?;
                }
                Polled::Revoked(partitions) => {
                    self.send(&mut filling)?;
                    self.give_back(&partitions, &mut filling)?;
                }
                Polled::CaughtUp => {
                    self.send(&mut filling)?;
                    return Ok(());
                }
            }
        }
        // What has no plan yet was not begun: it is read again after the restart.
        Ok(())
    }

    fn is_full(&self, filling: &Filling) -> bool {
        filling.raw.len() >= self.limits.rows_max
            || filling.raw.bytes() >= self.limits.bytes_max
            || filling.since.is_some_and(|since| since.elapsed() >= self.limits.latency_max)
    }

    /// Plans the batch that was filled and sends it on its way.
    fn send(&mut self, filling: &mut Filling) -> Result<(), Stop> {
        if filling.raw.is_empty() {
            return Ok(());
        }
        let Filling { raw, delta, .. } = std::mem::take(filling);
        debug_assert!(
            raw.records().iter().all(|record| delta.get(&raw.topic_partition(record)).is_some()),
            "a record whose position no table would have"
        );
        if let Ok(mut emptied) = self.emptied.try_recv() {
            emptied.clear();
            filling.raw = emptied;
        }
        self.lineup = self.deployer.lineup();
        let (watermark_us, overtaken) = (self.watermark(), recover::overtaken(&delta, &self.held));
        let planned_at = Instant::now();
        let mut journal = self.journal();
        let plan = Plan {
            checkpoint: CheckpointId(journal.remembered().last + 1),
            delta,
            now_us: now_us(),
            watermark_us,
            code: self.lineup.main.code.clone(),
            canary: self.lineup.canary(),
            cuts: Vec::new(),
            refused: false,
            overtaken,
            unfit: Vec::new(),
        };
        journal.plan(plan.clone())?;
        drop(journal);
        self.progress.read(0, elapsed_us(planned_at), self.source.lag(), watermark_us);
        let lineup = self.lineup.clone();
        self.dispatch(plan, lineup, raw)
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dispatch(&mut self, plan: Plan, lineup: Arc<Lineup>, raw: RawBatch) -> Result<(), Stop> {
        let plan = Arc::new(plan);
        let (prepared_in, prepared) = bounded(1);
        let begun = recover::begun(&plan, &self.held);
        let (held, vouch) = (self.held.clone(), self.source.vouch(&plan.delta));
        let number = self.jobs_sent;
        self.jobs_sent += 1;
        let job = Job { number, plan: plan.clone(), lineup, raw, begun, held, vouch, prepared: prepared_in };
        // First the place in the order, then the work: the bound of `steps` bounds what is on its way.
        self.steps.send(Step::Batch { plan, prepared }).map_err(|_| Gone)?;
        self.jobs.send(job).map_err(|_| Gone)?;
        Ok(())
    }

    /// Takes partitions: see ARCHITECTURE.md, "Exactly once".
    fn take(&mut self, partitions: Vec<TopicPartition>) -> Result<(), Stop> {
        // What was committed before partitions went is no plan any more.
        self.note_all()?;
        let Taken { mut positions, wanted } = self.claim(&partitions)?;
        self.owned.extend(wanted.iter().cloned());
        let now = now_us();
        let mut watermarks = self.watermarks.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.iter().for_each(|tp| watermarks.assign(tp.clone(), now));
        drop(watermarks);
        let partitions: BTreeSet<TopicPartition> = partitions.into_iter().collect();
        let is_theirs = |plan: &&Plan| plan.delta.iter().any(|(tp, _)| partitions.contains(tp));
        let remembered: Vec<Plan> = self.journal().remembered().plans.iter().filter(is_theirs).cloned().collect();
        let recover::Replay { plans, void } =
            recover::replay(&remembered, &positions, &self.held, |plan| self.lineup.fits(plan));
        for checkpoint in void {
            self.journal().void(checkpoint)?;
        }
        let mut lineup = self.lineup.clone();
        for plan in plans {
            if !lineup.fits(&plan) {
                match self.first_code(&plan)? {
                    Some(first) => lineup = first,
                    // Its records, and those of the plans after it, come again in batches of the code that is there.
                    None => {
                        self.journal().void(plan.checkpoint)?;
                        continue;
                    }
                }
            }
            if !recover::begins_at(&plan, &positions) {
                self.journal().void(plan.checkpoint)?;
                continue;
            }
            tracing::info!(checkpoint = %plan.checkpoint, ranges = %plan.delta, "replay an unfinished batch");
            let mut raw = RawBatch::default();
            if !self.source.reread(&plan.delta, &mut raw)? {
                self.journal().void(plan.checkpoint)?;
                continue;
            }
            if plan.refused && !recover::begun(&plan, &self.held) && recover::is_larger(&raw, &self.limits) {
                tracing::info!(checkpoint = %plan.checkpoint, rows = raw.len(), "a refused batch is made anew: `batch` allows less by now");
                self.journal().void(plan.checkpoint)?;
                continue;
            }
            positions.advance(&plan.delta);
            self.dispatch(plan, lineup.clone(), raw)?;
        }
        let wanted = wanted.into_iter().filter_map(|tp| positions.get(&tp).map(|next| (tp, next)));
        self.source.start(&wanted.collect())?;
        Ok(())
    }

    /// The code that a plan was made for, from the store. `None` if it is gone and no sink has a part of the batch, so
    /// that other code may do it.
    fn first_code(&self, plan: &Plan) -> Result<Option<Arc<Lineup>>, Stop> {
        let gone = match self.deployer.lineup_of(plan)? {
            Ok(lineup) => {
                tracing::info!(checkpoint = %plan.checkpoint, "an unfinished batch is done with the components that it began with");
                return Ok(Some(lineup));
            }
            Err(gone) => gone,
        };
        let (checkpoint, digests) = (plan.checkpoint, plan.digests().join(", "));
        if !recover::begun(plan, &self.held) {
            let why = match &gone {
                Unavailable::Lost => "they are not in the state folder",
                Unavailable::Changed(why) => why,
            };
            tracing::warn!(%checkpoint, digests, why, "the components of an unfinished batch are gone; no sink has a part of it");
            return Ok(None);
        }
        Err(Stop::Failed(PipelineError::Invalid(match gone {
            Unavailable::Lost => format!(
                "batch {checkpoint} is in some sinks and not in others, and the components that made it ({digests}) are not in the \
                 state folder any more: name them in the pipeline file for one run"
            ),
            Unavailable::Changed(why) => format!(
                "batch {checkpoint} is in some sinks and not in others, and the settings that made it are not to be had: {why}; give it \
                 the value that it had for one run, until the batch is whole, and the new one after that"
            ),
        })))
    }

    /// Finds out where partitions go on and writes our name into every sink; returns where.
    fn claim(&mut self, partitions: &[TopicPartition]) -> Result<Taken, Stop> {
        let topics: BTreeSet<Arc<str>> = partitions.iter().map(|tp| tp.topic.clone()).collect();
        let ids = self.source.identify(&topics.into_iter().collect::<Vec<_>>())?;
        for _ in 0..CLAIMS_MAX {
            let (reply, answer) = bounded(1);
            self.steps.send(Step::Look { reply }).map_err(|_| Gone)?;
            let Looked { sinks, moved } = wait_for(&answer, self.ended)?;
            let (mut resume, contradiction, disowned) = {
                let journal = self.journal();
                let known = journal.remembered();
                if let Some(made_anew) = recover::made_anew(partitions, &ids, &sinks, known) {
                    return Err(made_anew.into());
                }
                (
                    recover::resume(partitions, &sinks, known, moved),
                    recover::contradiction(partitions, &sinks, known, moved),
                    recover::disowned(partitions, &sinks, known),
                )
            };
            if let Some(contradiction) = contradiction {
                return Err(Stop::Failed(PipelineError::Invalid(format!(
                    "{contradiction}: a sink's log was changed by something else, or restored; if the tables are right, delete the \
                     *.journal files in the state folder"
                ))));
            }
            let shown = sinks.iter().flat_map(|sink| sink.held.iter().chain(sink.done.iter()));
            self.source.recognise(&recover::furthest(shown))?;
            let wanted = self.source.wanted(partitions, &resume.positions)?;
            // A table that took another's place says of every partition how far we are, as that one did.
            let rest = if moved { Positions::new() } else { recover::leave_out(&mut resume, &wanted) };
            self.resolve_unknown(&mut resume)?;
            if moved {
                // No table may say it any more.
                self.journal().start(&resume.positions)?;
            }
            // A sink that has moved since refuses the claim.
            for plan in disowned {
                self.journal().plan(plan)?;
            }
            self.journal().claim(&resume.epochs)?;
            if wanted.is_empty() && !moved {
                // Nobody else's either, as far as we know: sinks are told when there is something to write.
                return Ok(Taken { positions: rest, wanted });
            }
            let (reply, answer) = bounded(1);
            let (positions, epochs) = (resume.positions.clone(), resume.epochs.clone());
            let digests = self.lineup.main.code.digests.clone();
            self.steps.send(Step::Claim { positions, epochs, digests, reply }).map_err(|_| Gone)?;
            if let Claimed::Yes(held) = wait_for(&answer, self.ended)? {
                self.own(&resume, &held, &ids)?;
                self.held = Arc::new(held);
                let named = resume.positions.iter().take(NAMED_MAX).map(|(tp, next)| format!("{tp} at {next}"));
                let positions = named.collect::<Vec<_>>().join(", ");
                tracing::info!(partitions = wanted.len(), positions, "go on");
                let mut positions = rest;
                resume.positions.iter().for_each(|(tp, next)| positions.set(tp.clone(), next));
                return Ok(Taken { positions, wanted });
            }
            tracing::warn!("another process of this pipeline wrote while we took over: looking again");
        }
        Err(Stop::Failed(PipelineError::Invalid(format!(
            "another process keeps writing as this pipeline to {}: stop it, or give one of them another `pipeline` name",
            partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        ))))
    }

    /// Remembers how far the partitions are that are ours now.
    fn own(&self, resume: &recover::Resume, held: &[Positions], ids: &TopicIds) -> Result<(), Stop> {
        let of = |(tp, done): (&TopicPartition, NextOffset)| {
            let held_max = held.iter().filter_map(|held| held.get(tp)).max().unwrap_or(done);
            let (epoch, topic_id) =
                (resume.epochs.get(tp).unwrap_or_default(), ids.get(&tp.topic).map(ToString::to_string));
            (tp.clone(), Owned { epoch, claimed: None, done, held_max, topic_id })
        };
        self.journal().own(&resume.positions.iter().map(of).collect())?;
        Ok(())
    }

    fn resolve_unknown(&mut self, resume: &mut recover::Resume) -> Result<(), Stop> {
        if resume.unknown.is_empty() {
            return Ok(());
        }
        // A partition that was added to a topic that we read already starts at its beginning, whatever the configured start:
        // what was produced before we noticed it is ours, too.
        let known = |tp: &TopicPartition| {
            let ours = self.owned.iter().chain(resume.positions.iter().map(|(tp, _)| tp));
            ours.into_iter().any(|other| other.topic == tp.topic)
        };
        let (added, new): (Vec<_>, Vec<_>) = resume.unknown.iter().map(|(tp, _)| tp.clone()).partition(known);
        let mut start = self.source.resolve(&new, self.start)?;
        for (tp, next) in self.source.resolve(&added, StartAt::Earliest)?.iter() {
            start.set(tp.clone(), next);
        }
        for (tp, held) in &resume.unknown {
            let resolved = start.get(tp).unwrap_or(NextOffset(0));
            start.set(tp.clone(), held.map_or(resolved, |held| held.min(resolved)));
        }
        self.journal().start(&start)?;
        for (tp, next) in start.iter() {
            resume.positions.set(tp.clone(), next);
        }
        Ok(())
    }

    /// Gives partitions back: everything of them that is on its way is committed first.
    fn give_back(&mut self, partitions: &[TopicPartition], filling: &mut Filling) -> Result<(), Stop> {
        let (reply, answer) = bounded(1);
        self.steps.send(Step::Drain { reply }).map_err(|_| Gone)?;
        wait_for(&answer, self.ended)?;
        self.owned.retain(|tp| !partitions.contains(tp));
        filling.delta =
            filling.delta.iter().filter(|(tp, _)| !partitions.contains(tp)).map(|(tp, r)| (tp.clone(), r)).collect();
        let mut watermarks = self.watermarks.lock().unwrap_or_else(PoisonError::into_inner);
        partitions.iter().for_each(|tp| watermarks.revoke(tp));
        drop(watermarks);
        self.source.release(partitions)?;
        Ok(())
    }

    fn watermark(&self) -> Option<i64> {
        self.watermarks.lock().unwrap_or_else(PoisonError::into_inner).combined(now_us())
    }

    /// What has been reported so far.
    fn note_all(&mut self) -> Result<(), Stop> {
        while let Ok(report) = self.reports.try_recv() {
            self.note(report)?;
        }
        Ok(())
    }

    fn note(&mut self, report: Report) -> Result<(), Stop> {
        let Report::Committed { plan, told, sinks } = report;
        let mut journal = self.journal();
        if !told {
            journal.start(&plan.delta.ends())?;
        }
        journal.done(plan.checkpoint, sinks)?;
        drop(journal);
        self.source.report(&plan.delta.ends());
        Ok(())
    }
}

/// What the committer answers. A question that it has not taken out of the channel when it ends stays in there, with its reply's other
/// end: nobody answers, and nobody is gone.
fn wait_for<T>(answer: &Receiver<T>, ended: &AtomicBool) -> Result<T, Gone> {
    loop {
        match answer.recv_timeout(TICK) {
            Ok(answer) => return Ok(answer),
            Err(RecvTimeoutError::Timeout) if !ended.load(Ordering::Relaxed) => {}
            Err(_) => return Err(Gone),
        }
    }
}

/// Extends ranges: those of one partition follow each other.
fn merge(into: &mut PositionDelta, more: &PositionDelta) {
    for (tp, range) in more.iter() {
        let start = into.get(tp).map_or(range.start, |before| before.start);
        into.set(tp.clone(), OffsetRange { start, end: range.end });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_nobody_takes_is_not_waited_for_for_ever() {
        let (question, questions) = bounded::<Sender<()>>(1);
        let (reply, answer) = bounded(1);
        question.send(reply).expect("there is room");
        // It stays in the channel, as long as there is somebody who sends.
        drop(questions);
        assert!(wait_for(&answer, &AtomicBool::new(true)).is_err());
        let (reply, answer) = bounded(1);
        reply.send(7).expect("there is room");
        assert!(matches!(wait_for(&answer, &AtomicBool::new(true)), Ok(7)), "an answer is an answer");
    }
}
