//! A worker: turns a planned batch into staged rows: decode, transform, project, stage. Nothing it does is visible
//! outside.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow_select::concat::concat_batches;
use crossbeam_channel::{Receiver, Sender};
use lakemill_decode::Decoded;
use lakemill_failpoint::{Point, reach};
use lakemill_model::{
    Answer, BatchClock, ChangeBatch, NextOffset, OutputRows, Positions, RawBatch, Stage, TopicPartition,
    TransformError, Vouch, Watermarks,
};
use lakemill_state::{Cut, Death, Journal};

use crate::budget::Allowance;
use crate::clock::elapsed_us;
use crate::counts::{Seen, Spent};
use crate::deploy::{self, Mode};
use crate::error::{OverBudget, PipelineError};
use crate::job::{Job, Prepared};
use crate::letters::{self, Letter, LetterStage};
use crate::poison::{self, Called};
use crate::project::project;
use crate::reader::ranges;
use crate::rollout::Sample;
use crate::tap::{self, Point as TapPoint, Taps};
use crate::version::{BoundTransform, Version};

/// How often a worker that waits for the source looks whether the run ends.
const TICK: Duration = Duration::from_millis(100);
/// How long it waits then.
const FAREWELL: Duration = Duration::from_secs(5);

/// What all workers of a pipeline share.
pub(crate) struct Workshop {
    /// By sink index; the dead letters are one of them.
    pub stages: Vec<Arc<dyn Stage>>,
    pub dead_letters: usize,
    /// Where late rows go; `None`: they are processed like the others.
    pub late: Option<usize>,
    pub watermarks: Arc<Mutex<Watermarks>>,
    pub journal: Arc<Mutex<Journal>>,
    pub budget: Allowance,
    pub taps: Arc<Taps>,
    /// By sink index.
    pub sink_names: Vec<Arc<str>>,
}

/// What became of a record; of two fates the later one in this list counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Control,
    Filtered,
    Out,
    Late,
    Dead,
}

/// Which code rows went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Main,
    Canary,
}

/// A batch under way.
struct Bench<'a> {
    shop: &'a Workshop,
    job: &'a Job,
    /// By record of the raw batch.
    fates: Vec<Fate>,
    letters: Vec<Letter>,
    /// By sink, and by the side that made them.
    rows: BTreeMap<(usize, Side), Vec<OutputRows>>,
    seen: Vec<Seen>,
    spent: Spent,
    /// Where transforms failed on this batch just now.
    cuts: Vec<Cut>,
    traps: u64,
}

impl Workshop {
    /// Prepares batches until there are no more. What they were read into goes back to be filled again: fresh memory costs
    /// a page fault per 4 KiB. `ending` says whether the run comes to its end.
    pub fn work(&self, jobs: &Receiver<Job>, emptied: &Sender<RawBatch>, ending: &impl Fn() -> bool) {
        while let Ok(mut job) = jobs.recv() {
            let vouch = job.vouch.take();
            let prepared = self.prepare(&job).and_then(|prepared| vouched(vouch, ending).map(|()| prepared));
            // A committer that is gone has its own reason.
            if job.prepared.send(prepared).is_err() {
                return;
            }
            // One more than the reader can use is given back to the system.
            drop(emptied.try_send(job.raw));
        }
    }

    fn prepare(&self, job: &Job) -> Result<Prepared, PipelineError> {
        let mut bench = Bench {
            shop: self,
            job,
            fates: vec![Fate::Control; job.raw.len()],
            letters: Vec::new(),
            rows: BTreeMap::new(),
            seen: vec![Seen::default(); job.lineup.main.transforms.len()],
            spent: Spent::default(),
            cuts: Vec::new(),
            traps: 0,
        };
        self.taps.show(TapPoint::Raw, || tap::lines(&job.raw));
        let started = Instant::now();
        let decoded = job.lineup.decoder.decode(&job.raw)?;
        bench.spent.decode_us = elapsed_us(started);
        self.observe(&decoded, job.plan.now_us);
        bench.take_dead(&decoded);
        for (number, batch) in (0..).zip(decoded.batches) {
            if let Some(batch) = bench.without_late(batch) {
                self.taps.show(TapPoint::Decoded, || tap::changes(&batch));
                bench.transform(number, &Arc::new(batch))?;
            }
        }
        bench.write_cuts_down()?;
        let example = bench.letters.iter().find(|letter| letter.stage != LetterStage::Late);
        let example = example.map(|letter| letter.reason.clone());
        bench.stage_letters();
        let staged = bench.stage()?;
        reach(Point::BatchStaged);
        Ok(Prepared { example, ..bench.prepared(staged) })
    }

    fn observe(&self, decoded: &Decoded, now_us: i64) {
        let mut watermarks = self.watermarks.lock().unwrap_or_else(PoisonError::into_inner);
        for (tp, event_time_us) in &decoded.event_time_us_max {
            watermarks.observe(tp, *event_time_us, now_us);
        }
    }
}

impl Bench<'_> {
    fn take_dead(&mut self, decoded: &Decoded) {
        for dead in &decoded.dead {
            self.fates[dead.record as usize] = Fate::Dead;
            self.letters.push(Letter {
                record: dead.record,
                stage: LetterStage::Decode,
                reason: dead.reason.to_string(),
                digest: None,
                backtrace: None,
            });
        }
    }

    /// Sends late rows aside if the pipeline has a place for them.
    fn without_late(&mut self, batch: ChangeBatch) -> Option<ChangeBatch> {
        for &record in &batch.envelope.records {
            self.fates[record as usize] = Fate::Filtered;
        }
        let (Some(_), Some(low)) = (self.shop.late, self.job.plan.watermark_us) else { return Some(batch) };
        let mut on_time = Vec::with_capacity(batch.len());
        for row in 0..batch.len() {
            let (event_time, snapshot) = (batch.envelope.event_time_us[row], batch.envelope.snapshots[row]);
            match event_time {
                Some(time) if time < low && !snapshot => {
                    let record = batch.envelope.records[row];
                    self.fates[record as usize] = Fate::Late;
                    let reason = format!("event time is {} ms behind the watermark", (low - time) / 1000);
                    self.letters.push(Letter {
                        record,
                        stage: LetterStage::Late,
                        reason,
                        digest: None,
                        backtrace: None,
                    });
                }
                _ => on_time.push(row as u32),
            }
        }
        match on_time.len() {
            0 => None,
            all if all == batch.len() => Some(batch),
            _ => Some(batch.select(&on_time)),
        }
    }

    fn transform(&mut self, number: u32, batch: &Arc<ChangeBatch>) -> Result<(), PipelineError> {
        let lineup = self.job.lineup.clone();
        let canary = self.job.plan.canary.as_ref().zip(lineup.rollout.as_ref());
        let Some((canary, rollout)) = canary else { return self.side(number, Side::Main, &lineup.main, batch) };
        let is_canary = |row: &u32| {
            let record = &self.job.raw.records()[batch.envelope.records[*row as usize] as usize];
            deploy::is_canary(self.job.raw.key(record), canary.percent)
        };
        let (new, old): (Vec<u32>, Vec<u32>) = (0..batch.len() as u32).partition(is_canary);
        for (rows, side, version) in [(old, Side::Main, &lineup.main), (new, Side::Canary, &rollout.version)] {
            match rows.len() {
                0 => {}
                all if all == batch.len() => self.side(number, side, version, batch)?,
                _ => self.side(number, side, version, &Arc::new(batch.select(&rows)))?,
            }
        }
        Ok(())
    }

    /// Rows that one version is for.
    fn side(
        &mut self,
        number: u32,
        side: Side,
        version: &Arc<Version>,
        batch: &Arc<ChangeBatch>,
    ) -> Result<(), PipelineError> {
        for (index, bound) in version.transforms.iter().enumerate() {
            let started = Instant::now();
            let called = Arc::new(match side {
                Side::Main => self.call(number, index, bound, batch)?,
                Side::Canary => self.call_canary(bound, batch)?,
            });
            let call_us = elapsed_us(started);
            self.spent.transform_us += call_us;
            self.show(side, index, version, batch, &called, call_us);
            let started = Instant::now();
            if let Some(seen) = self.seen.get_mut(index) {
                seen.rows_in += batch.len() as u64;
                seen.call_us += call_us;
                seen.memory_bytes_max = seen.memory_bytes_max.max(bound.transform.memory_bytes_max());
            }
            for Called { batch, outcome } in &*called {
                match outcome {
                    Ok(answer) => self.apply(index, side, version, batch, answer)?,
                    Err(death) => self.die(index, bound, batch, death),
                }
            }
            self.spent.project_us += elapsed_us(started);
        }
        Ok(())
    }

    /// Lets a trial know of a call.
    fn show(
        &self,
        side: Side,
        index: usize,
        version: &Arc<Version>,
        batch: &Arc<ChangeBatch>,
        called: &Arc<Vec<Called>>,
        call_us: u64,
    ) {
        let Some(rollout) = &self.job.lineup.rollout else { return };
        match rollout.mode {
            Mode::Shadow => rollout.show(Sample {
                old: version.clone(),
                index,
                batch: batch.clone(),
                clock: self.clock(),
                called: called.clone(),
                call_us,
            }),
            Mode::Canary(_) => rollout.note(side == Side::Canary, version, batch.len(), called, call_us),
            Mode::AtOnce => {}
        }
    }

    fn clock(&self) -> BatchClock {
        BatchClock { now_us: self.job.plan.now_us, watermark_us: self.job.plan.watermark_us }
    }

    /// A canary that fails is taken back, and its batch is done without it.
    fn call_canary(&self, bound: &BoundTransform, batch: &Arc<ChangeBatch>) -> Result<Vec<Called>, PipelineError> {
        poison::whole(bound, batch, self.clock()).map_err(|error| {
            if self.job.begun {
                return self.failed(bound, error);
            }
            let error = self.failed(bound, error);
            PipelineError::Canary(error.to_string())
        })
    }

    /// Calls a transform; where it fails, finds the rows that it fails on. A plan that knows from an earlier run says how the batch is
    /// cut.
    fn call(
        &mut self,
        number: u32,
        index: usize,
        bound: &BoundTransform,
        batch: &Arc<ChangeBatch>,
    ) -> Result<Vec<Called>, PipelineError> {
        let (plan, clock) = (&self.job.plan, self.clock());
        let is_this = |cut: &&Cut| cut.batch == number && cut.transform as usize == index;
        if let Some(cut) = plan.cuts.iter().find(is_this) {
            return poison::again(bound, batch, clock, cut).map_err(|error| self.failed(bound, error));
        }
        let error = match poison::whole(bound, batch, clock) {
            Ok(called) => return Ok(called),
            Err(error @ TransformError::Refused(_)) => return Err(self.failed(bound, error)),
            // Some sink has rows of the batch, made when this call went well: it will again.
            Err(error) if self.job.begun => return Err(self.failed(bound, error)),
            Err(error) => error,
        };
        self.traps += 1;
        let dead_max = self.shop.budget.of_batch(plan.checkpoint, batch.len() as u32);
        let (called, pieces) = poison::isolate(bound, batch, clock, error, dead_max).map_err(|too_many| {
            let of = bound.transform.description();
            PipelineError::OverBudget(Box::new(OverBudget {
                checkpoint: plan.checkpoint,
                ranges: ranges(&plan.delta),
                over: format!("component {} fails on more than {dead_max} of its rows", of.name),
                example: Some(too_many.error.to_string()),
            }))
        })?;
        let dead = called.iter().filter(|called| called.outcome.is_err()).count();
        tracing::warn!(
            component = %bound.transform.description().name,
            digest = bound.transform.digest(),
            checkpoint = %plan.checkpoint,
            rows = batch.len(),
            dead,
            "the component failed on a batch: the rows that it fails on go to the dead letters"
        );
        self.cuts.push(Cut { batch: number, transform: index as u32, pieces });
        Ok(called)
    }

    fn failed(&self, bound: &BoundTransform, source: TransformError) -> PipelineError {
        PipelineError::Transform {
            component: bound.transform.description().name.clone(),
            digest: bound.transform.digest().into(),
            checkpoint: self.job.plan.checkpoint,
            ranges: ranges(&self.job.plan.delta),
            source: Box::new(source),
        }
    }

    /// Before anything of the batch can be committed: a failure for want of time may not come again in a replay.
    fn write_cuts_down(&mut self) -> Result<(), PipelineError> {
        if !self.cuts.is_empty() {
            let cuts = std::mem::take(&mut self.cuts);
            self.shop.journal.lock().unwrap_or_else(PoisonError::into_inner).cut(self.job.plan.checkpoint, cuts)?;
        }
        Ok(())
    }

    /// A row that no call survives.
    fn die(&mut self, index: usize, bound: &BoundTransform, batch: &ChangeBatch, death: &Death) {
        let record = batch.envelope.records[0];
        if let Some(seen) = self.seen.get_mut(index) {
            seen.rows_dead += 1;
        }
        self.dead(record, bound, death.reason.clone(), death.backtrace.clone());
    }

    /// Two transforms may refuse one record: it is one dead letter.
    fn dead(&mut self, record: u32, bound: &BoundTransform, reason: String, backtrace: Option<String>) {
        if self.fates[record as usize] != Fate::Dead {
            self.fates[record as usize] = Fate::Dead;
            let digest = Some(bound.transform.digest().into());
            self.letters.push(Letter { record, stage: LetterStage::Transform, reason, digest, backtrace });
        }
    }

    fn apply(
        &mut self,
        index: usize,
        side: Side,
        version: &Version,
        batch: &Arc<ChangeBatch>,
        answer: &Answer,
    ) -> Result<(), PipelineError> {
        let bound = &version.transforms[index];
        let records = &batch.envelope.records;
        if let Some(seen) = self.seen.get_mut(index) {
            seen.count(batch.len(), answer);
        }
        for emission in &answer.emissions {
            for &row in &emission.rows {
                let fate = &mut self.fates[records[row as usize] as usize];
                *fate = (*fate).max(Fate::Out);
            }
            let (sink, _) = &bound.outputs[emission.output];
            let keep = self.keep(*sink, batch, &emission.rows);
            if keep.as_ref().map_or(emission.rows.is_empty(), Vec::is_empty) {
                continue;
            }
            let plan = version.plan(index, emission.output, batch)?;
            let rows = project(batch, &plan, emission, keep.as_deref()).map_err(|error| {
                PipelineError::Invalid(format!(
                    "output `{}`: the answer passed its checks but makes no table: {error}",
                    bound.transform.description().outputs[emission.output].name
                ))
            })?;
            self.rows.entry((*sink, side)).or_default().push(rows);
        }
        for rejection in &answer.rejections {
            self.dead(records[rejection.row as usize], bound, rejection.reason.clone(), None);
        }
        Ok(())
    }

    /// Which of `rows` the sink does not hold yet; `None`: all of them.
    fn keep(&self, sink: usize, batch: &ChangeBatch, rows: &[u32]) -> Option<Vec<u32>> {
        let held = self.ahead(sink)?;
        let envelope = &batch.envelope;
        let mut of_partition: HashMap<i32, i64> = HashMap::new();
        let mut from = |partition: i32| {
            *of_partition.entry(partition).or_insert_with(|| {
                let tp = TopicPartition::new(envelope.topic.clone(), partition);
                held.get(&tp).map_or(0, |NextOffset(next)| next)
            })
        };
        let wanted = |row: &u32| envelope.offsets[*row as usize] >= from(envelope.partitions[*row as usize]);
        let mut wanted = wanted;
        Some((0..rows.len() as u32).filter(|&n| wanted(&rows[n as usize])).collect())
    }

    /// What a sink holds, if it holds part of this batch.
    fn ahead(&self, sink: usize) -> Option<&Positions> {
        let held = &self.job.held[sink];
        let ahead = self.job.plan.delta.iter().any(|(tp, range)| held.get(tp).is_some_and(|next| next > range.start));
        ahead.then_some(held)
    }

    fn stage_letters(&mut self) {
        let (late, dead): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.letters).into_iter().partition(|letter| letter.stage == LetterStage::Late);
        let sinks = [(Some(self.shop.dead_letters), dead), (self.shop.late, late)];
        for (sink, letters) in sinks {
            let Some(sink) = sink else { continue };
            let letters = self.new_letters(sink, letters);
            if !letters.is_empty() {
                let rows = letters::rows(&self.job.raw, &letters, self.job.plan.now_us);
                self.rows.entry((sink, Side::Main)).or_default().push(rows);
            }
        }
    }

    fn new_letters(&self, sink: usize, mut letters: Vec<Letter>) -> Vec<Letter> {
        if let Some(held) = self.ahead(sink) {
            let raw: &RawBatch = &self.job.raw;
            letters.retain(|letter| {
                let record = &raw.records()[letter.record as usize];
                held.get(&raw.topic_partition(record)).is_none_or(|next| NextOffset(record.offset) >= next)
            });
        }
        letters
    }

    fn stage(&mut self) -> Result<Vec<(usize, lakemill_model::Staged)>, PipelineError> {
        let started = Instant::now();
        let mut staged = Vec::new();
        let plan = &self.job.plan;
        for ((sink, side), parts) in std::mem::take(&mut self.rows) {
            // A batch of one code is named by its commit.
            let made_by = plan.canary.as_ref().map(|canary| match side {
                Side::Main => plan.code.digests.clone(),
                Side::Canary => canary.code.digests.clone(),
            });
            let is_letters = [Some(self.shop.dead_letters), self.shop.late].contains(&Some(sink));
            let point = if is_letters { TapPoint::Dead } else { TapPoint::Transformed };
            for rows in joined(parts) {
                self.shop.taps.show(point, || Some(tap::first(self.shop.sink_names[sink].clone(), &rows.batch)));
                let files = self.shop.stages[sink].stage(plan.checkpoint, rows)?;
                staged.push((sink, lakemill_model::Staged { made_by: made_by.clone().unwrap_or_default(), ..files }));
            }
        }
        self.spent.stage_us = elapsed_us(started);
        Ok(staged)
    }

    fn prepared(self, staged: Vec<(usize, lakemill_model::Staged)>) -> Prepared {
        let mut prepared = Prepared { spent: self.spent, seen: self.seen, traps: self.traps, ..Prepared::default() };
        let counts = &mut prepared.counts;
        for fate in &self.fates {
            match fate {
                Fate::Control => counts.records_control += 1,
                Fate::Filtered => counts.rows_filtered += 1,
                Fate::Out => counts.rows_out += 1,
                Fate::Late => counts.rows_late += 1,
                Fate::Dead => counts.rows_dead += 1,
            }
        }
        counts.rows_in = counts.rows_filtered + counts.rows_out + counts.rows_late + counts.rows_dead;
        prepared.rows_staged = staged.iter().map(|(sink, staged)| (*sink, staged.rows)).collect();
        let letters = [Some(self.shop.dead_letters), self.shop.late];
        let rows = prepared.rows_staged.iter().filter(|(sink, _)| !letters.contains(&Some(*sink)));
        counts.rows_written = rows.map(|(_, rows)| rows).sum();
        for record in self.job.raw.records() {
            let Some(at) = record.timestamp_ms else { continue };
            match prepared.kafka_times_ms.last_mut() {
                Some((last, count)) if *last == at => *count += 1,
                _ => prepared.kafka_times_ms.push((at, 1)),
            }
        }
        prepared.staged = staged;
        prepared
    }
}

impl Seen {
    fn count(&mut self, rows: usize, answer: &Answer) {
        let mut dropped = vec![true; rows];
        let emitted = answer.emissions.iter().flat_map(|emission| &emission.rows);
        for &row in emitted.chain(answer.rejections.iter().map(|rejection| &rejection.row)) {
            dropped[row as usize] = false;
        }
        self.rows_filtered += dropped.into_iter().filter(|dropped| *dropped).count() as u64;
        self.rows_dead += answer.rejections.len() as u64;
    }
}

/// Waits until the source says that the records are of the topics that they are taken for; while the run ends, not for long: what is not
/// committed is read again.
fn vouched(vouch: Option<Box<dyn Vouch>>, ending: &impl Fn() -> bool) -> Result<(), PipelineError> {
    let Some(mut vouch) = vouch else { return Ok(()) };
    let mut since = None;
    loop {
        if let Some(answer) = vouch.answer(TICK) {
            return Ok(answer?);
        }
        if ending() && since.get_or_insert_with(Instant::now).elapsed() > FAREWELL {
            return Err(vouch.unanswered().into());
        }
    }
}

/// Joins neighbours of one schema, so that a commit has few files.
fn joined(parts: Vec<OutputRows>) -> Vec<OutputRows> {
    let mut out: Vec<OutputRows> = Vec::new();
    let mut rest = parts.into_iter().peekable();
    while let Some(first) = rest.next() {
        let mut run = vec![first];
        while let Some(next) = rest.next_if(|next| next.schema == run[0].schema) {
            run.push(next);
        }
        if run.len() == 1 {
            out.append(&mut run);
            continue;
        }
        let batch = concat_batches(&run[0].batch.schema(), run.iter().map(|rows| &rows.batch))
            .expect("the parts have one schema");
        let schema = run[0].schema.clone();
        out.push(OutputRows { schema, batch, ops: run.into_iter().flat_map(|rows| rows.ops).collect() });
    }
    out
}
