//! One planned batch becomes staged rows: decode, transform, project, stage; and every record gets its fate.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use lakemill_decode::{Decoded, Undecodable};
use lakemill_failpoint::{Point, reach};
use lakemill_model::{Answer, BatchClock, ChangeBatch, NextOffset, TopicPartition, TransformError};
use lakemill_state::{Cut, Death, Piece};

use crate::clock::elapsed_us;
use crate::counts::{ControlCounts, Counts, Fate, Seen, Spent};
use crate::dead::Reasons;
use crate::error::{OverBudget, PipelineError};
use crate::job::{Job, Prepared, kafka_times_ms};
use crate::late;
use crate::letters::{self, Letter, LetterStage};
use crate::lineup::Lineup;
use crate::poison::{self, Called, Failure, Unsolved};
use crate::project::project;
use crate::ranges::{self, ranged};
use crate::rehearsal::wrong_type;
use crate::rollout::{Call, Sample};
use crate::screening::{Made, joined};
use crate::tap::{self, Point as TapPoint};
use crate::trial::{self, Mode};
use crate::version::{BoundTransform, Version};
use crate::workshop::Workshop;

mod screen;

/// What one version's decoder makes of the records.
struct Part {
    batches: Vec<Arc<ChangeBatch>>,
    dead: Vec<Undecodable>,
}

impl Part {
    fn of(decoded: Decoded) -> Self {
        Self { batches: decoded.batches.into_iter().map(Arc::new).collect(), dead: decoded.dead }
    }
}

/// Which code rows went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Main,
    Canary,
}

/// A batch under way.
struct Bench<'a> {
    shop: &'a Workshop<'a>,
    job: &'a Job,
    /// By record of the raw batch.
    fates: Vec<Fate>,
    letters: Vec<Letter>,
    /// By sink, and by the side that made them.
    rows: BTreeMap<(usize, Side), Vec<Made>>,
    seen: Vec<Seen>,
    control: ControlCounts,
    spent: Spent,
    /// Where transforms failed on this batch, in an earlier run or just now.
    cuts: Vec<Cut>,
    /// Some of it is not in the plan yet.
    cut_anew: bool,
    /// What a shadow is to look at.
    shown: Vec<Call>,
    /// Values that were out of range.
    out_of_range: ranges::Counts,
    ending: &'a dyn Fn() -> bool,
}

/// Turns a planned batch into staged rows. `ending` says that there is no time left.
///
/// # Errors
/// What stopped it: nothing of the batch is visible.
pub(crate) fn prepare(shop: &Workshop<'_>, job: &Job, ending: &dyn Fn() -> bool) -> Result<Prepared, PipelineError> {
    let mut bench = Bench {
        shop,
        job,
        fates: vec![Fate::Control; job.raw.len()],
        letters: Vec::new(),
        rows: BTreeMap::new(),
        seen: vec![Seen::default(); job.lineup.main.transforms.len()],
        control: ControlCounts::default(),
        spent: Spent::default(),
        cuts: job.plan.cuts.clone(),
        cut_anew: false,
        shown: Vec::new(),
        out_of_range: ranges::Counts::new(),
        ending,
    };
    shop.taps.show(TapPoint::Raw, || tap::lines(&job.raw));
    let started = Instant::now();
    let decoded = job.lineup.decoder.decode(&job.raw)?;
    bench.spent.decode_us = elapsed_us(started);
    shop.observe(job, &decoded);
    ranges::tell(&decoded.other_columns);
    bench.out_of_range.clone_from(&decoded.out_of_range);
    decoded.control.iter().for_each(|(_, kind)| bench.control.add(*kind));
    bench.go_through(decoded)?;
    bench.screen()?;
    bench.write_cuts_down()?;
    let example = letters::example(&bench.letters);
    let reasons = Reasons::of(&bench.letters);
    bench.stage_letters();
    let staged = bench.stage()?;
    reach(Point::BatchStaged);
    Ok(Prepared { example, reasons, ..bench.prepared(staged) })
}

impl Bench<'_> {
    /// What the records decode to, through the code that the plan names.
    fn go_through(&mut self, decoded: Decoded) -> Result<(), PipelineError> {
        let (lineup, ours) = (self.job.lineup.clone(), Part::of(decoded));
        let Some((canary, rollout)) = self.job.plan.canary.as_ref().zip(lineup.rollout.as_ref()) else {
            self.part(Side::Main, &lineup.main, &ours, None)?;
            self.show_shadow(&lineup);
            return Ok(());
        };
        let (raw, percent) = (&self.job.raw, canary.percent);
        let is_canary = |record: u32| {
            let record = &raw.records()[record as usize];
            trial::is_canary(record, raw.key(record), percent)
        };
        self.part(Side::Main, &lineup.main, &ours, Some(&|record| !is_canary(record)))?;
        let theirs = match &lineup.trial_decoder {
            None => ours,
            Some(decoder) => {
                let started = Instant::now();
                let theirs = Part::of(decoder.decode(raw)?);
                self.spent.decode_us += elapsed_us(started);
                theirs
            }
        };
        self.part(Side::Canary, &rollout.version, &theirs, Some(&is_canary))
    }

    /// Records through one version: all of them, or those that are its.
    fn part(
        &mut self,
        side: Side,
        version: &Arc<Version>,
        part: &Part,
        is_its: Option<&dyn Fn(u32) -> bool>,
    ) -> Result<(), PipelineError> {
        for dead in part.dead.iter().filter(|dead| is_its.is_none_or(|is_its| is_its(dead.record))) {
            self.fates[dead.record as usize] = Fate::Dead;
            self.letters.push(Letter {
                record: dead.record,
                stage: LetterStage::Decode,
                reason: dead.reason.to_string(),
                digest: None,
                backtrace: None,
            });
        }
        for batch in &part.batches {
            let rows = is_its.map(|is_its| {
                let its = batch.envelope.records.iter().zip(0..).filter(|(record, _)| is_its(**record));
                its.map(|(_, row)| row).collect::<Vec<u32>>()
            });
            let its = match rows {
                Some(rows) if rows.is_empty() => continue,
                Some(rows) if rows.len() < batch.len() => Arc::new(batch.select(&rows)),
                _ => batch.clone(),
            };
            if let Some(batch) = self.without_late(its) {
                self.shop.taps.show(TapPoint::Decoded, || tap::changes(&batch));
                self.side(side, version, &batch)?;
            }
        }
        Ok(())
    }

    /// Sends late rows aside if the pipeline has a place for them.
    fn without_late(&mut self, batch: Arc<ChangeBatch>) -> Option<Arc<ChangeBatch>> {
        for &record in &batch.envelope.records {
            self.fates[record as usize] = Fate::Filtered;
        }
        let Some(low) = self.late_before_us() else { return Some(batch) };
        let mut on_time = Vec::with_capacity(batch.len());
        for row in 0..batch.len() {
            match late::behind_us(&batch, row, low) {
                None => on_time.push(row as u32),
                Some(us) => {
                    let record = batch.envelope.records[row];
                    self.fates[record as usize] = Fate::Late;
                    self.letters.push(Letter {
                        record,
                        stage: LetterStage::Late,
                        reason: format!("event time is {} ms behind the watermark", us / 1000),
                        digest: None,
                        backtrace: None,
                    });
                }
            }
        }
        match on_time.len() {
            0 => None,
            all if all == batch.len() => Some(batch),
            _ => Some(Arc::new(batch.select(&on_time))),
        }
    }

    /// The event time, in microseconds since 1970, before which rows are late; `None`: none is.
    fn late_before_us(&self) -> Option<i64> {
        self.shop.late.and(self.job.plan.watermark_us)
    }

    /// Lets new code on trial look at what the old code has made.
    fn show_shadow(&mut self, lineup: &Lineup) {
        let calls = std::mem::take(&mut self.shown);
        let Some(rollout) = &lineup.rollout else { return };
        rollout.show(calls, |calls| {
            let raw = lineup.trial_decoder.clone().map(|decoder| (decoder, self.job.raw.clone()));
            let (old, clock, late_before_us) = (lineup.main.clone(), self.clock(), self.late_before_us());
            Sample { old, clock, late_before_us, calls, raw }
        });
    }

    /// Rows that one version is for.
    fn side(&mut self, side: Side, version: &Arc<Version>, batch: &Arc<ChangeBatch>) -> Result<(), PipelineError> {
        for (index, bound) in version.transforms.iter().enumerate() {
            let started = Instant::now();
            let called = Arc::new(match side {
                Side::Main => self.call(index, bound, batch)?,
                Side::Canary => self.call_canary(bound, batch)?,
            });
            let call_us = elapsed_us(started);
            self.spent.transform_us += call_us;
            self.note(side, index, version, batch, &called, call_us);
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

    /// Keeps what a trial is to know of a call.
    fn note(
        &mut self,
        side: Side,
        index: usize,
        version: &Version,
        batch: &Arc<ChangeBatch>,
        called: &Arc<Vec<Called>>,
        call_us: u64,
    ) {
        let Some(rollout) = &self.job.lineup.rollout else { return };
        match rollout.mode {
            Mode::Shadow => {
                self.shown.push(Call { transform: index, batch: batch.clone(), called: called.clone(), call_us });
            }
            Mode::Canary(_) => rollout.note(side == Side::Canary, version, batch.len(), called, call_us),
            Mode::AtOnce => {}
        }
    }

    fn clock(&self) -> BatchClock {
        BatchClock { now_us: self.job.plan.now_us, watermark_us: self.job.plan.watermark_us }
    }

    /// A canary that fails is taken back, and its batch is done without it; unless some sink has a part of it, which this code made.
    fn call_canary(&self, bound: &BoundTransform, batch: &Arc<ChangeBatch>) -> Result<Vec<Called>, PipelineError> {
        poison::whole(bound, batch, self.clock()).map_err(|error| {
            self.shop.progress.trapped();
            self.of_canary(self.failed(bound, error))
        })
    }

    /// What a canary's failure is.
    fn of_canary(&self, error: PipelineError) -> PipelineError {
        match &self.job.plan.canary {
            Some(canary) if !self.job.begun => {
                PipelineError::Canary { code: Box::new(canary.code.clone()), reason: error.to_string() }
            }
            _ => error,
        }
    }

    /// What a failure of rows that one side made is.
    fn of_side(&self, side: Side, error: impl Into<PipelineError>) -> PipelineError {
        match (side, error.into()) {
            (Side::Canary, error) if error.blames_code() => self.of_canary(error),
            (_, error) => error,
        }
    }

    /// Calls a transform; where it fails, finds the rows that it fails on. A plan that knows from an earlier run says how the batch is
    /// cut.
    fn call(
        &mut self,
        index: usize,
        bound: &BoundTransform,
        batch: &Arc<ChangeBatch>,
    ) -> Result<Vec<Called>, PipelineError> {
        let (plan, clock, started) = (&self.job.plan, self.clock(), Instant::now());
        let called = match self.known_pieces(index, batch) {
            Some(pieces) => {
                poison::again(bound, batch, clock, |partition, offset| pieces.get(&(partition, offset)).copied())
            }
            None => poison::whole(bound, batch, clock),
        };
        let error = match called {
            Ok(called) => return Ok(called),
            Err(error @ TransformError::Refused(_)) => return Err(self.failed(bound, error)),
            // Some sink has rows of the batch, made when this call went well: it will again.
            Err(error) if self.job.begun => return Err(self.failed(bound, error)),
            Err(error) => error,
        };
        if let Some(wrong) = wrong_type(bound, &error, batch) {
            return Err(wrong);
        }
        self.shop.progress.trapped();
        let dead_max = self.shop.budget.of_batch(plan.checkpoint, batch.len() as u32);
        let failure = Failure { error, took: started.elapsed() };
        let isolated = poison::isolate(bound, batch, clock, failure, dead_max, self.ending);
        let (called, pieces) = isolated.map_err(|unsolved| self.unsolved(bound, dead_max, &unsolved))?;
        let dead = called.iter().filter(|called| called.outcome.is_err()).count();
        tracing::warn!(
            component = %bound.transform.description().name,
            digest = bound.transform.digest(),
            checkpoint = %plan.checkpoint,
            rows = batch.len(),
            dead,
            "the component failed on a batch: the rows that it fails on go to the dead letters"
        );
        self.keep_pieces(index, batch, pieces);
        Ok(called)
    }

    /// How a batch was cut for a transform in an earlier run, by partition and offset; `None`: it was not.
    fn known_pieces(&self, index: usize, batch: &ChangeBatch) -> Option<HashMap<(i32, i64), &Piece>> {
        let of_these = self.cuts.iter().filter(|cut| is_of(cut, index, batch));
        let pieces: HashMap<_, _> =
            of_these.flat_map(|cut| &cut.pieces).map(|piece| ((piece.partition, piece.offset), piece)).collect();
        // Most batches were never cut: their rows are not looked at.
        let is_cut = !pieces.is_empty() && places(batch).any(|place| pieces.contains_key(&place));
        is_cut.then_some(pieces)
    }

    /// In place of those that its rows had before.
    fn keep_pieces(&mut self, index: usize, batch: &ChangeBatch, pieces: Vec<Piece>) {
        let these: HashSet<(i32, i64)> = places(batch).collect();
        for cut in self.cuts.iter_mut().filter(|cut| is_of(cut, index, batch)) {
            cut.pieces.retain(|piece| !these.contains(&(piece.partition, piece.offset)));
        }
        self.cuts.retain(|cut| !cut.pieces.is_empty());
        self.cuts.push(Cut { transform: index as u32, topic: batch.envelope.topic.to_string(), pieces });
        self.cut_anew = true;
    }

    fn unsolved(&self, bound: &BoundTransform, dead_max: u32, unsolved: &Unsolved) -> PipelineError {
        let name = &bound.transform.description().name;
        let (over, example) = match unsolved {
            Unsolved::Ending => return PipelineError::Ending,
            Unsolved::TooMany(error) => {
                (format!("component {name} fails on more than {dead_max} of its rows"), Some(error.to_string()))
            }
            Unsolved::TooLong(most) => {
                let over =
                    format!("to find the rows that component {name} fails on takes more than {} s", most.as_secs());
                (over, None)
            }
        };
        let (checkpoint, ranges) = (self.job.plan.checkpoint, self.job.plan.delta.to_string());
        // A canary is not searched: it is taken back.
        let code = vec![self.job.plan.code.clone()];
        PipelineError::OverBudget(Box::new(OverBudget { checkpoint, ranges, code, over, example }))
    }

    fn failed(&self, bound: &BoundTransform, source: TransformError) -> PipelineError {
        PipelineError::Transform {
            component: bound.transform.description().name.clone(),
            digest: bound.transform.digest().into(),
            checkpoint: self.job.plan.checkpoint,
            ranges: self.job.plan.delta.to_string(),
            source: Box::new(source),
        }
    }

    /// Before anything of the batch can be committed: a failure for want of time may not come again in a replay.
    fn write_cuts_down(&mut self) -> Result<(), PipelineError> {
        if self.cut_anew {
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
        let (outputs, policy) = (&bound.transform.description().outputs, self.job.lineup.decoder.out_of_range());
        let answer = &*ranged(answer, outputs, policy, &mut self.out_of_range);
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
            let plan = version.plan(index, emission.output, batch).map_err(|error| self.of_side(side, error))?;
            let rows = project(batch, &plan, emission, keep.as_deref()).map_err(|error| {
                PipelineError::Invalid(format!(
                    "output `{}`: the answer passed its checks but makes no table: {error}",
                    bound.transform.description().outputs[emission.output].name
                ))
            })?;
            let record = |row: &u32| records[*row as usize];
            let records = match &keep {
                Some(keep) => keep.iter().map(|&n| record(&emission.rows[n as usize])).collect(),
                None => emission.rows.iter().map(record).collect(),
            };
            self.rows.entry((*sink, side)).or_default().push(Made { rows, records });
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
        let mut wanted = |row: &u32| envelope.offsets[*row as usize] >= from(envelope.partitions[*row as usize]);
        Some((0..rows.len() as u32).filter(|&n| wanted(&rows[n as usize])).collect())
    }

    fn stage_letters(&mut self) {
        let mut letters = std::mem::take(&mut self.letters);
        // In the order of the records: a canary's came after the others.
        letters.sort_by_key(|letter| letter.record);
        let (late, dead): (Vec<_>, Vec<_>) = letters.into_iter().partition(|letter| letter.stage == LetterStage::Late);
        let sinks = [(Some(self.shop.dead_letters), dead), (self.shop.late, late)];
        for (sink, letters) in sinks {
            let Some(sink) = sink else { continue };
            let letters = self.new_letters(sink, letters);
            if !letters.is_empty() {
                let rows = letters::rows(&self.job.raw, &letters, self.job.plan.now_us);
                let records = letters.iter().map(|letter| letter.record).collect();
                self.rows.entry((sink, Side::Main)).or_default().push(Made { rows, records });
            }
        }
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
            for rows in joined(parts.into_iter().map(|made| made.rows)) {
                self.shop.taps.show(point, || Some(tap::first(self.shop.sink_names[sink].clone(), &rows.batch)));
                let staged_part = self.shop.stages[sink].stage(plan.checkpoint, rows);
                let files = staged_part.map_err(|error| self.of_side(side, error))?;
                staged.push((sink, lakemill_model::Staged { made_by: made_by.clone().unwrap_or_default(), ..files }));
            }
        }
        self.spent.stage_us = elapsed_us(started);
        Ok(staged)
    }

    fn prepared(self, staged: Vec<(usize, lakemill_model::Staged)>) -> Prepared {
        let mut prepared =
            Prepared { spent: self.spent, seen: self.seen, out_of_range: self.out_of_range, ..Prepared::default() };
        let counts = &mut prepared.counts;
        *counts = Counts { control: self.control, ..Counts::of_fates(&self.fates) };
        prepared.rows_staged = staged.iter().map(|(sink, staged)| (*sink, staged.rows)).collect();
        let letters = [Some(self.shop.dead_letters), self.shop.late];
        let rows = prepared.rows_staged.iter().filter(|(sink, _)| !letters.contains(&Some(*sink)));
        counts.rows_written = rows.map(|(_, rows)| rows).sum();
        prepared.kafka_times_ms = kafka_times_ms(&self.job.raw);
        prepared.staged = staged;
        prepared
    }
}

/// Whether a cut is of this transform and topic.
fn is_of(cut: &Cut, index: usize, batch: &ChangeBatch) -> bool {
    cut.transform as usize == index && *cut.topic == *batch.envelope.topic
}

/// Partition and offset of each row.
fn places(batch: &ChangeBatch) -> impl Iterator<Item = (i32, i64)> {
    batch.envelope.partitions.iter().copied().zip(batch.envelope.offsets.iter().copied())
}
