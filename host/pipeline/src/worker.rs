//! A worker: takes planned batches, prepares them (`preparing`), and lets none go on before the source has vouched for its records. Nothing it
//! does is visible outside.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use lakemill_decode::Decoded;
use lakemill_model::{RawBatch, Stage, Vouch, Watermarks};
use lakemill_state::Journal;

use crate::breaker::Circuit;
use crate::budget::Allowance;
use crate::control::Control;
use crate::error::PipelineError;
use crate::job::{Job, Prepared};
use crate::preparing::prepare;
use crate::progress::Progress;
use crate::tap::Taps;

/// How often a worker that waits for the source looks whether the run ends.
const TICK: Duration = Duration::from_millis(100);
/// How long it works on then.
const FAREWELL: Duration = Duration::from_secs(5);
/// And how long before it is said that nobody answers; the next commit takes that back.
const SILENCE: Duration = Duration::from_secs(10);

/// What all workers of a pipeline share.
pub(crate) struct Workshop<'a> {
    /// By sink index; the dead letters are one of them.
    pub stages: Vec<Arc<dyn Stage>>,
    pub dead_letters: usize,
    /// Where late rows go; `None`: they are processed like the others.
    pub late: Option<usize>,
    pub watermarks: Arc<Mutex<Watermarks>>,
    pub journal: Arc<Mutex<Journal>>,
    pub taps: Arc<Taps>,
    /// By sink index.
    pub sink_names: Vec<Arc<str>>,
    pub budget: Allowance<'a>,
    pub progress: &'a Progress,
    pub control: &'a Control,
    /// The run comes to its end: reader or committer is gone.
    pub ended: &'a AtomicBool,
}

impl Workshop<'_> {
    /// Prepares batches until there are no more. What they were read into goes back to be filled again: fresh memory costs
    /// a page fault per 4 KiB.
    pub fn work(&self, jobs: &Receiver<Job>, emptied: &Sender<RawBatch>) {
        while let Ok(mut job) = jobs.recv() {
            let vouch = job.vouch.take();
            let prepared = self.prepare(&job).and_then(|prepared| self.vouched(vouch).map(|()| prepared));
            // A committer that is gone has its own reason.
            if job.prepared.send(prepared).is_err() {
                return;
            }
            // One more than the reader can use is given back to the system.
            drop(emptied.try_send(job.raw));
        }
    }

    /// A stop ends a search for guilty rows that takes long: the batch is read again.
    fn prepare(&self, job: &Job) -> Result<Prepared, PipelineError> {
        let stopped_at = Cell::new(None);
        prepare(self, job, &|| {
            if !self.control.is_stopped() {
                return false;
            }
            let at = stopped_at.get().unwrap_or_else(Instant::now);
            stopped_at.set(Some(at));
            at.elapsed() > FAREWELL
        })
    }

    /// Waits until the source says that the records are of the topics that they are taken for; while the run ends, not for long: what is
    /// not committed is read again.
    fn vouched(&self, vouch: Option<Box<dyn Vouch>>) -> Result<(), PipelineError> {
        let Some(mut vouch) = vouch else { return Ok(()) };
        let (started, mut ending_since, mut is_told) = (Instant::now(), None, false);
        loop {
            if let Some(answer) = vouch.answer(TICK) {
                return Ok(answer?);
            }
            let ending = self.control.is_stopped() || self.ended.load(Ordering::Relaxed);
            if ending && ending_since.get_or_insert_with(Instant::now).elapsed() > FAREWELL {
                return Err(vouch.unanswered().into());
            }
            if !is_told && started.elapsed() > SILENCE {
                is_told = true;
                let trouble = PipelineError::from(vouch.unanswered()).to_string();
                tracing::warn!(trouble, "nothing is committed until the brokers answer");
                self.progress.restarting(Circuit::Open, Some(trouble));
            }
        }
    }

    pub fn observe(&self, decoded: &Decoded, now_us: i64) {
        let mut watermarks = self.watermarks.lock().unwrap_or_else(PoisonError::into_inner);
        for (tp, event_time_us) in &decoded.event_time_us_max {
            watermarks.observe(tp, *event_time_us, now_us);
        }
    }
}
