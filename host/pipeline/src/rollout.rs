//! New code on trial: what it sees, and where its results are noted. A shadow has a thread of its own, which falls behind rather
//! than hold up the pipeline.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use lakemill_decode::Decoder;
use lakemill_model::{BatchClock, ChangeBatch, RawBatch};
use lakemill_runtime::BatchLog;

use crate::clock::elapsed_us;
use crate::diff::compare;
use crate::error::PipelineError;
use crate::late;
use crate::poison::{self, Called};
use crate::trial::{Bounds, Mode, Side, TrialReport, Verdict};
use crate::version::Version;

/// New code on trial.
pub(crate) struct Rollout {
    pub version: Arc<Version>,
    pub mode: Mode,
    bounds: Bounds,
    report: Arc<Mutex<TrialReport>>,
    /// To the shadow's thread, which ends when this is dropped.
    samples: Option<Sender<Sample>>,
}

/// What the transforms made of the records of a batch.
pub(crate) struct Sample {
    pub old: Arc<Version>,
    pub clock: BatchClock,
    /// Rows behind this event time, in microseconds since 1970, went through no transform.
    pub late_before_us: Option<i64>,
    pub calls: Vec<Call>,
    /// The records, and who decodes them for the new code; `None`: it reads what the old one reads.
    pub raw: Option<(Arc<Decoder>, RawBatch)>,
}

/// What one transform made of rows.
pub(crate) struct Call {
    pub transform: usize,
    pub batch: Arc<ChangeBatch>,
    pub called: Arc<Vec<Called>>,
    /// Microseconds that it took.
    pub call_us: u64,
}

impl Rollout {
    /// Starts a trial, which `about` says something of already; `None` for code that takes over at once.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        version: Arc<Version>,
        mode: Mode,
        bounds: Bounds,
        about: TrialReport,
    ) -> std::io::Result<Option<Self>> {
        let (name, percent) = match mode {
            Mode::AtOnce => return Ok(None),
            Mode::Shadow => ("shadow", None),
            Mode::Canary(percent) => ("canary", Some(percent)),
        };
        let digests = version.code.digests.clone();
        let report = Arc::new(Mutex::new(TrialReport { mode: name, percent, digests, ..about }));
        let mut samples = None;
        if mode == Mode::Shadow {
            let (sender, receiver) = bounded(1);
            let (version, report) = (version.clone(), report.clone());
            std::thread::Builder::new()
                .name("lakemill-shadow".into())
                .spawn(move || shadow(&version, &receiver, &report))?;
            samples = Some(sender);
        }
        Ok(Some(Self { version, mode, bounds, report, samples }))
    }

    /// Where it is.
    pub fn report(&self) -> TrialReport {
        self.noted().clone()
    }

    /// What is to be done by its bounds.
    pub fn judge(&self) -> Option<Verdict> {
        self.noted().judge(&self.bounds)
    }

    /// Lets a shadow see a batch, unless it is busy: then the rows are counted, and no sample is made.
    pub fn show(&self, calls: Vec<Call>, sample: impl FnOnce(Vec<Call>) -> Sample) {
        let Some(samples) = &self.samples else { return };
        // Each transform has seen the same rows.
        let of_first = calls.iter().filter(|call| call.transform == 0);
        let rows: u64 = of_first.map(|call| call.batch.len() as u64).sum();
        if samples.is_full() || samples.try_send(sample(calls)).is_err() {
            self.noted().rows_skipped += rows;
        }
    }

    /// Notes a call of one of a canary's sides.
    pub fn note(&self, is_new: bool, version: &Version, rows: usize, called: &[Called], call_us: u64) {
        let mut report = self.noted();
        let side = if is_new { &mut report.new } else { &mut report.old };
        note(side, version, rows, called, call_us);
    }

    fn noted(&self) -> MutexGuard<'_, TrialReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note(side: &mut Side, version: &Version, rows: usize, called: &[Called], call_us: u64) {
    let memory = version.transforms.iter().map(|bound| bound.transform.memory_bytes_max()).max();
    let memory_bytes_max = memory.unwrap_or(0);
    *side += Side { rows: rows as u64, dead: dead(called), traps: 0, call_us, memory_bytes_max };
}

fn dead(called: &[Called]) -> u64 {
    let of = |called: &Called| called.outcome.as_ref().map_or(1, |answer| answer.rejections.len() as u64);
    called.iter().map(of).sum()
}

fn shadow(version: &Version, samples: &Receiver<Sample>, report: &Mutex<TrialReport>) {
    while let Ok(sample) = samples.recv() {
        // Made beside the report: who asks for it does not wait.
        let mut of_batch = TrialReport::default();
        if let Err(error) = look(version, sample, &mut of_batch) {
            tracing::warn!(%error, "the shadow failed on a batch");
        }
        report.lock().unwrap_or_else(PoisonError::into_inner).add(of_batch);
    }
}

/// Runs the new code on what the old one has run on, and compares.
fn look(version: &Version, sample: Sample, report: &mut TrialReport) -> Result<(), PipelineError> {
    let Sample { old, clock, late_before_us, calls, raw } = sample;
    let _log = BatchLog::begin();
    let mut decoded = None;
    if let Some((decoder, raw)) = &raw {
        let on_time = |batch: ChangeBatch| match late_before_us {
            Some(low) => batch.select(&late::on_time(&batch, low)),
            None => batch,
        };
        let batches = decoder.decode(raw)?.batches.into_iter().map(on_time).filter(|batch| !batch.is_empty());
        decoded = Some(batches.map(Arc::new).collect::<Vec<_>>());
    }
    let old_has = |index: usize| calls.iter().filter(move |call| call.transform == index);
    for (index, bound) in version.transforms.iter().enumerate() {
        let theirs = decoded.iter().flatten().map(|batch| &batch.envelope.topic);
        let topics: BTreeSet<_> = old_has(index).map(|call| &call.batch.envelope.topic).chain(theirs).collect();
        for topic in topics {
            let is_its = |batch: &Arc<ChangeBatch>| batch.envelope.topic == *topic;
            let before: Vec<&Call> = old_has(index).filter(|call| is_its(&call.batch)).collect();
            for Call { batch, called, call_us, .. } in &before {
                note(&mut report.old, &old, batch.len(), called, *call_us);
            }
            let batches: Vec<Arc<ChangeBatch>> = match &decoded {
                Some(decoded) => decoded.iter().filter(|batch| is_its(batch)).cloned().collect(),
                None => before.iter().map(|call| call.batch.clone()).collect(),
            };
            let mut called = Vec::new();
            for batch in batches {
                let started = Instant::now();
                match poison::whole(bound, &batch, clock) {
                    Ok(its) => {
                        note(&mut report.new, version, batch.len(), &its, elapsed_us(started));
                        called.extend(its);
                    }
                    Err(error) => {
                        report.new.rows += batch.len() as u64;
                        report.new.traps += 1;
                        return Err(PipelineError::Invalid(error.to_string()));
                    }
                }
            }
            let before = before.iter().flat_map(|call| call.called.iter());
            // Rows that make no table are as bad as none.
            compare(index, (&old, before), (version, called.iter()), report).inspect_err(|_| report.new.traps += 1)?;
        }
    }
    Ok(())
}
