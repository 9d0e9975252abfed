//! A worker: takes planned batches, prepares them (`preparing`), and lets none go on before the source has vouched for its records. Nothing it
//! does is visible outside.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use lakemill_model::{RawBatch, Vouch};
use lakemill_runtime::BatchLog;

use crate::breaker::Circuit;
use crate::error::PipelineError;
use crate::job::{Job, Prepared};
use crate::preparing::prepare;
use crate::workshop::Workshop;

/// How often a worker that waits for the source looks whether the run ends.
const TICK: Duration = Duration::from_millis(100);
/// How long it works on then.
const FAREWELL: Duration = Duration::from_secs(5);
/// And how long before it is said that nobody answers; the next commit takes that back.
const SILENCE: Duration = Duration::from_secs(10);

/// Prepares batches until there are no more. What they were read into goes back to be filled again: fresh memory costs
/// a page fault per 4 KiB.
pub(crate) fn work(shop: &Workshop<'_>, jobs: &Receiver<Job>, emptied: &Sender<RawBatch>) {
    while let Ok(mut job) = jobs.recv() {
        let vouch = job.vouch.take();
        job.raw.sort();
        let prepared = prepared(shop, &job).and_then(|prepared| vouched(shop, vouch).map(|()| prepared));
        // A committer that is gone has its own reason.
        if job.prepared.send(prepared).is_err() {
            return;
        }
        // One more than the reader can use is given back to the system.
        drop(emptied.try_send(job.raw));
    }
}

/// A stop ends a search for guilty rows that takes long: the batch is read again. The end of the reader does not: what it has read is
/// brought to an end.
fn prepared(shop: &Workshop<'_>, job: &Job) -> Result<Prepared, PipelineError> {
    let farewell = Farewell::default();
    // However many calls a batch takes, it is one to the log.
    let _log = BatchLog::begin();
    prepare(shop, job, &|| farewell.is_over(shop.control.is_stopped()))
}

/// What is left of [`FAREWELL`].
#[derive(Default)]
struct Farewell(Cell<Option<Instant>>);

impl Farewell {
    /// Whether it is over; it begins when `is_ending` is true for the first time.
    fn is_over(&self, is_ending: bool) -> bool {
        if !is_ending {
            return false;
        }
        let since = self.0.get().unwrap_or_else(Instant::now);
        self.0.set(Some(since));
        since.elapsed() > FAREWELL
    }
}

/// Waits until the source says that the records are of the topics that they are taken for; while the run ends, not for long: what is
/// not committed is read again.
fn vouched(shop: &Workshop<'_>, vouch: Option<Box<dyn Vouch>>) -> Result<(), PipelineError> {
    let Some(mut vouch) = vouch else { return Ok(()) };
    let (started, farewell, mut is_told) = (Instant::now(), Farewell::default(), false);
    loop {
        if let Some(answer) = vouch.answer(TICK) {
            return Ok(answer?);
        }
        if farewell.is_over(shop.control.is_stopped() || shop.ended.load(Ordering::Relaxed)) {
            return Err(vouch.unanswered().into());
        }
        if !is_told && started.elapsed() > SILENCE {
            is_told = true;
            let trouble = PipelineError::from(vouch.unanswered()).to_string();
            tracing::warn!(trouble, "nothing is committed until the brokers answer");
            shop.progress.restarting(Circuit::Open, Some(trouble));
        }
    }
}
