//! Runs an assembled pipeline: starts the reader and the workers, commits on the calling thread.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crossbeam_channel::{bounded, unbounded};
use lakemill_decode::Decoder;
use lakemill_model::{BatchLimits, Positions, Sink, Source, StartAt, Watermarks};
use lakemill_state::Journal;

use crate::committer::Committer;
use crate::error::PipelineError;
use crate::progress::{Progress, Summary};
use crate::reader::Reader;
use crate::worker::{BoundTransform, Workshop};

/// Everything a run needs, built and checked; [`crate::assemble`] makes it from a pipeline file.
pub struct Assembly {
    pub(crate) pipeline: String,
    pub(crate) source: Box<dyn Source>,
    pub(crate) start: StartAt,
    pub(crate) limits: BatchLimits,
    pub(crate) journal: Journal,
    pub(crate) decoder: Decoder,
    pub(crate) transforms: Vec<BoundTransform>,
    pub(crate) sinks: Vec<Box<dyn Sink>>,
    /// Index into `sinks`.
    pub(crate) anchor: usize,
    /// Index into `sinks`.
    pub(crate) dead_letters: usize,
    /// Index into `sinks`.
    pub(crate) late: Option<usize>,
    pub(crate) watermarks: Watermarks,
    pub(crate) workers: usize,
}

impl Assembly {
    /// The SHA-256 of its components, in the order of the pipeline file.
    pub fn digests(&self) -> Vec<String> {
        self.transforms.iter().map(|bound| bound.transform.digest().to_owned()).collect()
    }

    /// A fresh progress for [`Assembly::run`].
    pub fn progress(&self) -> Progress {
        let transforms: Vec<_> = self.transforms.iter().map(|t| t.transform.description().name.as_str()).collect();
        let sinks: Vec<_> = self.sinks.iter().map(|sink| sink.name()).collect();
        Progress::new(&self.pipeline, self.digests(), &transforms, &sinks)
    }

    /// Runs until the source is read up or `stop` is set; batches that have a plan by then are committed. Returns the
    /// summary at the end; after an error, `progress` has it.
    ///
    /// # Errors
    /// What stopped the pipeline. Everything before is committed, nothing after is visible.
    pub fn run(self, progress: &Progress, stop: &AtomicBool) -> Result<Summary, PipelineError> {
        let digests = self.digests();
        let stages = self.sinks.iter().map(|sink| sink.stage()).collect();
        let sinks = self.sinks.len();
        let workshop = Workshop {
            decoder: self.decoder,
            transforms: self.transforms,
            stages,
            dead_letters: self.dead_letters,
            late: self.late,
            plans: Mutex::new(HashMap::new()),
            watermarks: Arc::new(Mutex::new(self.watermarks)),
        };
        // One batch for each worker, and one that waits for the first free one; the reader fills the next one meanwhile.
        let (steps_in, steps) = bounded(self.workers);
        let (jobs_in, jobs) = bounded(1);
        let (reports_in, reports) = unbounded();
        let (emptied_in, emptied) = bounded(self.workers);
        let watermarks = &workshop.watermarks.clone();
        let reader = Reader {
            source: self.source,
            journal: self.journal,
            limits: self.limits,
            start: self.start,
            digests: digests.clone(),
            steps: steps_in,
            jobs: jobs_in,
            reports,
            emptied,
            stop,
            progress,
            watermarks,
            held: Arc::new(vec![Positions::new(); sinks]),
            owned: Vec::new(),
        };
        let committer = Committer::new(self.sinks, self.anchor, digests, reports_in, progress);
        let result = std::thread::scope(|scope| {
            spawn(scope, "reader", move || reader.run());
            for _ in 0..self.workers {
                let (workshop, jobs, emptied) = (&workshop, jobs.clone(), emptied_in.clone());
                spawn(scope, "worker", move || workshop.work(&jobs, &emptied));
            }
            drop(jobs);
            let result = committer.run(&steps);
            // The committer's channels close here; a reader that waits for records looks at `stop`.
            stop.store(true, Ordering::Relaxed);
            drop(steps);
            result
        });
        result.map(|()| progress.summary())
    }
}

/// Starts a thread. If it panics, the panic is printed and its channels close: whoever waits for it says so.
fn spawn<'scope>(scope: &'scope std::thread::Scope<'scope, '_>, name: &str, work: impl FnOnce() + Send + 'scope) {
    let work = || drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)));
    std::thread::Builder::new()
        .name(format!("lakemill-{name}"))
        .spawn_scoped(scope, work)
        .expect("the system starts a few threads");
}
