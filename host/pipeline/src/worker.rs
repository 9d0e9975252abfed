//! A worker: turns a planned batch into staged rows: decode, transform, project, stage. Nothing it does is visible
//! outside.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arrow_select::concat::concat_batches;
use crossbeam_channel::{Receiver, Sender};
use lakemill_decode::{Decoded, Decoder};
use lakemill_failpoint::{Point, reach};
use lakemill_model::{
    Answer, BatchClock, ChangeBatch, NextOffset, OutputRows, Positions, RawBatch, RowSchema, Stage, TopicPartition,
    Transform, Watermarks,
};

use crate::counts::{Seen, Spent};
use crate::error::PipelineError;
use crate::job::{Job, Prepared};
use crate::letters::{self, Letter, LetterStage};
use crate::outputs::OutputPlan;
use crate::project::project;
use crate::reader::ranges;
use crate::spec::written::Metadata;

/// What all workers of a pipeline share.
pub(crate) struct Workshop {
    pub decoder: Decoder,
    pub transforms: Vec<BoundTransform>,
    /// By sink index; the dead letters are one of them.
    pub stages: Vec<Arc<dyn Stage>>,
    pub dead_letters: usize,
    /// Where late rows go; `None`: they are processed like the others.
    pub late: Option<usize>,
    /// Resolved outputs, by transform, output and what they were resolved for.
    pub plans: Mutex<HashMap<PlanKey, Arc<OutputPlan>>>,
    pub watermarks: Arc<Mutex<Watermarks>>,
}

/// A transform and the sinks of its outputs.
pub(crate) struct BoundTransform {
    pub transform: Arc<dyn Transform>,
    /// By output.
    pub outputs: Vec<Destination>,
}

/// Where an output goes: the sink's index and the columns that it adds.
pub(crate) type Destination = (usize, Vec<Metadata>);

type PlanKey = (usize, usize, Arc<str>, Arc<RowSchema>);

/// What became of a record; of two fates the later one in this list counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Control,
    Filtered,
    Out,
    Late,
    Dead,
}

/// A batch under way.
struct Bench<'a> {
    shop: &'a Workshop,
    job: &'a Job,
    /// By record of the raw batch.
    fates: Vec<Fate>,
    letters: Vec<Letter>,
    rows: BTreeMap<usize, Vec<OutputRows>>,
    seen: Vec<Seen>,
    spent: Spent,
}

impl Workshop {
    /// Prepares batches until there are no more. What they were read into goes back to be filled again: fresh memory costs
    /// a page fault per 4 KiB.
    pub fn work(&self, jobs: &Receiver<Job>, emptied: &Sender<RawBatch>) {
        while let Ok(job) = jobs.recv() {
            let prepared = self.prepare(&job);
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
            seen: vec![Seen::default(); self.transforms.len()],
            spent: Spent::default(),
        };
        let started = Instant::now();
        let decoded = self.decoder.decode(&job.raw)?;
        bench.spent.decode_us = micros(started);
        self.observe(&decoded, job.plan.now_us);
        bench.take_dead(&decoded);
        for batch in decoded.batches {
            if let Some(batch) = bench.without_late(batch) {
                bench.transform(&Arc::new(batch))?;
            }
        }
        bench.stage_letters();
        let staged = bench.stage()?;
        reach(Point::BatchStaged);
        Ok(bench.prepared(staged))
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
                    self.letters.push(Letter { record, stage: LetterStage::Late, reason, digest: None });
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

    fn transform(&mut self, batch: &Arc<ChangeBatch>) -> Result<(), PipelineError> {
        let clock = BatchClock { now_us: self.job.plan.now_us, watermark_us: self.job.plan.watermark_us };
        for (index, bound) in self.shop.transforms.iter().enumerate() {
            let started = Instant::now();
            let answer = bound.transform.transform(batch, clock).map_err(|source| PipelineError::Transform {
                component: bound.transform.description().name.clone(),
                digest: bound.transform.digest().into(),
                checkpoint: self.job.plan.checkpoint,
                ranges: ranges(&self.job.plan.delta),
                source: Box::new(source),
            })?;
            self.spent.transform_us += micros(started);
            let started = Instant::now();
            self.apply(index, bound, batch, &answer)?;
            self.spent.project_us += micros(started);
        }
        Ok(())
    }

    fn apply(
        &mut self,
        index: usize,
        bound: &BoundTransform,
        batch: &Arc<ChangeBatch>,
        answer: &Answer,
    ) -> Result<(), PipelineError> {
        let records = &batch.envelope.records;
        self.seen[index].count(batch.len(), answer);
        for emission in &answer.emissions {
            for &row in &emission.rows {
                let fate = &mut self.fates[records[row as usize] as usize];
                *fate = (*fate).max(Fate::Out);
            }
            let (sink, metadata) = &bound.outputs[emission.output];
            let keep = self.keep(*sink, batch, &emission.rows);
            if keep.as_ref().map_or(emission.rows.is_empty(), Vec::is_empty) {
                continue;
            }
            let plan = self.plan(index, emission.output, bound, batch, metadata)?;
            let rows = project(batch, &plan, emission, keep.as_deref()).map_err(|error| {
                PipelineError::Invalid(format!(
                    "output `{}`: the answer passed its checks but makes no table: {error}",
                    bound.transform.description().outputs[emission.output].name
                ))
            })?;
            self.rows.entry(*sink).or_default().push(rows);
        }
        for rejection in &answer.rejections {
            let record = records[rejection.row as usize];
            // Two transforms may refuse one record: it is one dead letter.
            if self.fates[record as usize] != Fate::Dead {
                self.fates[record as usize] = Fate::Dead;
                self.letters.push(Letter {
                    record,
                    stage: LetterStage::Transform,
                    reason: rejection.reason.clone(),
                    digest: Some(bound.transform.digest().into()),
                });
            }
        }
        Ok(())
    }

    fn plan(
        &self,
        index: usize,
        output: usize,
        bound: &BoundTransform,
        batch: &ChangeBatch,
        metadata: &[Metadata],
    ) -> Result<Arc<OutputPlan>, PipelineError> {
        let key = (index, output, batch.envelope.topic.clone(), batch.schema.clone());
        let mut plans = self.shop.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans.get(&key) {
            return Ok(plan.clone());
        }
        let spec = &bound.transform.description().outputs[output];
        let plan = OutputPlan::resolve(spec, &batch.schema, &batch.envelope.topic, metadata).map_err(|reason| {
            PipelineError::Invalid(format!("component {}: {reason}", bound.transform.description().name))
        })?;
        let plan = Arc::new(plan);
        plans.insert(key, plan.clone());
        Ok(plan)
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
                self.rows.entry(sink).or_default().push(rows);
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
        for (sink, parts) in std::mem::take(&mut self.rows) {
            for rows in joined(parts) {
                staged.push((sink, self.shop.stages[sink].stage(self.job.plan.checkpoint, rows)?));
            }
        }
        self.spent.stage_us = micros(started);
        Ok(staged)
    }

    fn prepared(self, staged: Vec<(usize, lakemill_model::Staged)>) -> Prepared {
        let mut prepared = Prepared { spent: self.spent, seen: self.seen, ..Prepared::default() };
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
        self.rows_in += rows as u64;
        self.rows_filtered += dropped.into_iter().filter(|dropped| *dropped).count() as u64;
        self.rows_dead += answer.rejections.len() as u64;
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

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}
