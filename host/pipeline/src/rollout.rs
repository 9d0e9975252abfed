//! New code on trial: what it sees, and where its results are noted. A shadow has a thread of its own, which falls behind rather
//! than hold up the pipeline.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use lakemill_model::{BatchClock, ChangeBatch, TransformError};

use crate::clock::elapsed_us;
use crate::deploy::{Bounds, Mode, Side, TrialReport, Verdict};
use crate::diff::compare;
use crate::error::PipelineError;
use crate::poison::{self, Called};
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

/// What one transform made of a batch.
pub(crate) struct Sample {
    pub old: Arc<Version>,
    pub index: usize,
    pub batch: Arc<ChangeBatch>,
    pub clock: BatchClock,
    pub called: Arc<Vec<Called>>,
    /// Microseconds that it took.
    pub call_us: u64,
}

impl Rollout {
    /// Starts a trial; `None` for code that takes over at once.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(version: Arc<Version>, mode: Mode, bounds: Bounds) -> std::io::Result<Option<Self>> {
        let (name, percent) = match mode {
            Mode::AtOnce => return Ok(None),
            Mode::Shadow => ("shadow", None),
            Mode::Canary(percent) => ("canary", Some(percent)),
        };
        let digests = version.code.digests.clone();
        let report = Arc::new(Mutex::new(TrialReport { mode: name, percent, digests, ..TrialReport::default() }));
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

    /// Lets a shadow see a batch, unless it is busy.
    pub fn show(&self, sample: Sample) {
        let Some(samples) = &self.samples else { return };
        let rows = sample.batch.len() as u64;
        if samples.try_send(sample).is_err() {
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
    side.rows += rows as u64;
    side.dead += dead(called);
    side.call_us += call_us;
    let memory = version.transforms.iter().map(|bound| bound.transform.memory_bytes_max()).max();
    side.memory_bytes_max = side.memory_bytes_max.max(memory.unwrap_or(0));
}

fn dead(called: &[Called]) -> u64 {
    let of = |called: &Called| called.outcome.as_ref().map_or(1, |answer| answer.rejections.len() as u64);
    called.iter().map(of).sum()
}

fn shadow(version: &Version, samples: &Receiver<Sample>, report: &Mutex<TrialReport>) {
    while let Ok(sample) = samples.recv() {
        let started = Instant::now();
        let called = call(version, &sample);
        let call_us = elapsed_us(started);
        let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = sample.batch.len();
        note(&mut report.old, &sample.old, rows, &sample.called, sample.call_us);
        let compared = match called {
            Ok(called) => {
                note(&mut report.new, version, rows, &called, call_us);
                compare(sample.index, (&sample.old, &sample.called), (version, &called), &mut report)
            }
            Err(error) => {
                report.new.rows += rows as u64;
                report.new.traps += 1;
                Err(PipelineError::Invalid(error.to_string()))
            }
        };
        if let Err(error) = compared {
            tracing::warn!(%error, "the shadow failed on a batch");
        }
    }
}

/// The same calls as the old code had.
fn call(version: &Version, sample: &Sample) -> Result<Vec<Called>, TransformError> {
    let bound = version.transforms.get(sample.index);
    let bound = bound.ok_or_else(|| TransformError::Refused("there are fewer transforms than before".into()))?;
    poison::whole(bound, &sample.batch, sample.clock)
}
