//! One run of a pipeline: starts the reader and the workers, commits on the calling thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crossbeam_channel::{bounded, unbounded};
use lakemill_model::{BatchLimits, CheckpointId, Positions, Source, StartAt, Watermarks};
use lakemill_state::Journal;

use crate::budget::{Allowance, Budget, Spending};
use crate::committer::{Committer, Sinks};
use crate::control::Control;
use crate::deployer::Deployer;
use crate::error::PipelineError;
use crate::progress::Progress;
use crate::reader::Reader;
use crate::tap::Taps;
use crate::worker;
use crate::workshop::Workshop;

/// Everything one run needs, opened and checked.
pub(crate) struct Assembly {
    pub source: Box<dyn Source>,
    pub start: StartAt,
    pub limits: BatchLimits,
    pub journal: Arc<Mutex<Journal>>,
    pub deployer: Arc<Deployer>,
    pub sinks: Sinks,
    /// Index into `sinks`.
    pub dead_letters: usize,
    /// Index into `sinks`.
    pub late: Option<usize>,
    pub budget: Budget,
    pub taps: Arc<Taps>,
    pub watermarks: Watermarks,
    pub workers: usize,
}

impl Assembly {
    /// Runs until the source is read up or a stop is asked for; batches that have a plan by then are committed. `forgiven` is a
    /// batch that the error budget does not count for.
    ///
    /// # Errors
    /// What stopped the run. Everything before is committed, nothing after is visible.
    pub fn run(
        self,
        progress: &Progress,
        control: &Control,
        spending: &Mutex<Spending>,
        forgiven: Option<CheckpointId>,
    ) -> Result<(), PipelineError> {
        let budget = Allowance { budget: self.budget, spending, forgiven };
        let ended = &AtomicBool::new(false);
        let workshop = Workshop {
            stages: self.sinks.all.iter().map(|sink| sink.stage()).collect(),
            dead_letters: self.dead_letters,
            late: self.late,
            watermarks: Arc::new(Mutex::new(self.watermarks)),
            observed: Mutex::default(),
            journal: self.journal.clone(),
            budget,
            taps: self.taps,
            progress,
            control,
            ended,
            sink_names: self.sinks.all.iter().map(|sink| sink.name().into()).collect(),
        };
        // One batch for each worker, and one that waits for the first free one; the reader fills the next one meanwhile.
        let (steps_in, steps) = bounded(self.workers);
        let (jobs_in, jobs) = bounded(1);
        let (reports_in, reports) = unbounded();
        let (emptied_in, emptied) = bounded(self.workers);
        let watermarks = &workshop.watermarks.clone();
        let reader = Reader {
            source: self.source,
            journal: &self.journal,
            limits: self.limits,
            start: self.start,
            lineup: self.deployer.lineup(),
            deployer: &self.deployer,
            steps: steps_in,
            jobs: jobs_in,
            reports,
            emptied,
            control,
            ended,
            progress,
            watermarks,
            held: Arc::new(vec![Positions::new(); self.sinks.all.len()]),
            owned: Vec::new(),
            jobs_sent: 0,
        };
        let sides = std::iter::once(self.dead_letters).chain(self.late).collect();
        let committer = Committer::new(self.sinks, reports_in, progress, &self.journal, &self.deployer, budget, sides);
        std::thread::scope(|scope| {
            spawn(scope, "reader", move || reader.run());
            for _ in 0..self.workers {
                let (workshop, jobs, emptied) = (&workshop, jobs.clone(), emptied_in.clone());
                spawn(scope, "worker", move || worker::work(workshop, &jobs, &emptied));
            }
            drop(jobs);
            // The committer's channels close with its end, in whatever way that comes; a reader that waits for records looks at
            // this.
            let _ended = SetAtEnd(ended);
            let result = committer.run(&steps);
            drop(steps);
            result
        })
    }
}

/// Sets a flag when it is dropped.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
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
