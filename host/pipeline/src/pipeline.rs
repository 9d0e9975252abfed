//! A pipeline for as long as its process lives: run after run, with its code changed in between or under way.
//!
//! A fault that may pass is a restart without losing the process: the run ends at its last commit, waits, and recovers as after
//! a crash, by the same decisions.

use std::sync::{Arc, Mutex};

use lakemill_model::{CheckpointId, Disposition, SourceError, Transform};
use lakemill_state::{Code, Journal};

use crate::assemble::{self, sink_names};
use crate::breaker::{Breaker, Circuit};
use crate::budget::Spending;
use crate::control::{Control, Wish};
use crate::deployer::{Deployer, Reloaded};
use crate::error::PipelineError;
use crate::loader::Loader;
use crate::options::Options;
use crate::progress::{Progress, Summary};
use crate::spec::SpecFile;
use crate::tap::{Point, Tapped, Taps};
use crate::version::Version;

/// A pipeline, its code loaded.
pub struct Pipeline {
    file: SpecFile,
    options: Options,
    deployer: Arc<Deployer>,
    taps: Arc<Taps>,
    /// What was spent of the error budget.
    spending: Mutex<Spending>,
}

impl Pipeline {
    /// Loads the components of a pipeline file and wires them to its sinks. Touches neither source nor tables.
    ///
    /// # Errors
    /// What must be changed before it can run.
    pub fn open(file: SpecFile, options: Options) -> Result<Self, PipelineError> {
        let loader = Loader::open(&file, &options)?;
        let version = loader.named()?;
        Self::of(file, options, loader, version)
    }

    /// A pipeline over transforms that are loaded already: benchmarks put native code in a component's place.
    ///
    /// # Errors
    /// Like [`Pipeline::open`].
    pub fn with_transforms(
        file: SpecFile,
        options: Options,
        transforms: Vec<Arc<dyn Transform>>,
    ) -> Result<Self, PipelineError> {
        let loader = Loader::of_native(&file, &options)?;
        let digests: Vec<String> = transforms.iter().map(|transform| transform.digest().to_owned()).collect();
        let version = loader.wired(Code { settings: digests.clone(), digests }, transforms)?;
        Self::of(file, options, loader, version)
    }

    fn of(file: SpecFile, options: Options, loader: Loader, version: Version) -> Result<Self, PipelineError> {
        let deployer = Deployer::new(loader, version, options.mode, options.bounds, file.state_folder())?;
        Ok(Self { file, options, deployer: Arc::new(deployer), taps: Arc::default(), spending: Mutex::default() })
    }

    /// Memory that components hold right now, in bytes.
    pub fn guest_memory_bytes(&self) -> u64 {
        self.deployer.loader.guest_memory_bytes()
    }

    /// A fresh progress for [`Pipeline::run`].
    pub fn progress(&self) -> Progress {
        let main = self.deployer.lineup().main.clone();
        Progress::new(&self.file.spec.pipeline, main.code.digests.clone(), &main.names(), &sink_names(&self.file.spec))
    }

    /// Runs until the source is read up or a stop is asked for; batches that have a plan by then are committed. Returns the
    /// summary at the end; after an error, `progress` has it.
    ///
    /// Once it has committed something, a pipeline that is to run on waits faults out and tries again, and parks when it is over
    /// its error budget; one that ends with its source stops at both, as a job should.
    ///
    /// # Errors
    /// What stopped the pipeline. Everything before is committed, nothing after is visible.
    pub fn run(&self, progress: &Progress, control: &Control) -> Result<Summary, PipelineError> {
        let mut breaker = Breaker::default();
        let mut forgiven = None;
        loop {
            let committed = progress.batches();
            let result = self.run_once(progress, control, forgiven.take());
            let committed = progress.batches() > committed;
            let error = match result {
                Ok(()) => return Ok(self.status(progress)),
                Err(error) => error,
            };
            let is_left =
                matches!(error, PipelineError::Ending | PipelineError::Source(SourceError::Unreachable { .. }));
            if control.is_stopped() && is_left {
                // Nobody vouched for the last batches in time, or they were not brought to an end: they are read again.
                return Ok(self.status(progress));
            }
            if let PipelineError::Canary { code, .. } = &error {
                // One that is gone already made this batch before it went: it is made anew.
                self.deployer.take_back(std::slice::from_ref(code), &error.to_string(), progress);
                continue;
            }
            let ends_with_files = self.file.spec.source.files.as_ref().is_some_and(|files| !files.follow);
            if self.options.until_caught_up || ends_with_files {
                return Err(error);
            }
            // New code that cannot live with the error budget goes before the pipeline parks; and what other code made than
            // the one that is there now is made anew.
            if let PipelineError::OverBudget(over) = &error
                && self.deployer.take_back(&over.code, &error.to_string(), progress)
            {
                continue;
            }
            match error.disposition() {
                Disposition::Park => match self.park(progress, control, &error) {
                    Some(wish) => forgiven = wish,
                    None => return Ok(self.status(progress)),
                },
                _ if progress.batches() > 0 && may_pass(&error) => {
                    let wait = breaker.failed(committed, fastrand::f64());
                    tracing::warn!(
                        %error,
                        attempt = breaker.failures(),
                        wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                        "the pipeline stopped at its last commit and tries again"
                    );
                    progress.restarting(Circuit::Open, Some(error.to_string()));
                    control.wait(Some(wait));
                    if control.is_stopped() {
                        return Ok(self.status(progress));
                    }
                    progress.restarting(Circuit::HalfOpen, Some(error.to_string()));
                }
                _ => return Err(error),
            }
        }
    }

    fn run_once(
        &self,
        progress: &Progress,
        control: &Control,
        forgiven: Option<CheckpointId>,
    ) -> Result<(), PipelineError> {
        let assembly = assemble::assemble(&self.file, &self.options, &self.deployer, &self.taps)?;
        self.clean_up();
        self.deployer.begin(assembly.sinks.all.iter().map(|sink| sink.stage()).collect());
        assembly.run(progress, control, &self.spending, forgiven)
    }

    /// Removes code that nobody needs any more.
    fn clean_up(&self) {
        let Some(store) = self.deployer.loader.store() else { return };
        let planned = Journal::content(&self.file.state_folder(), &self.file.spec.pipeline);
        let cleaned = planned.and_then(|mut needed| {
            needed.extend(self.deployer.content());
            store.collect(&needed)
        });
        if let Err(error) = cleaned {
            tracing::warn!(%error, "old components were not removed from the state folder");
        }
    }

    /// Waits for a command or new code. The batch to forgive, if any; `None`: stop.
    fn park(&self, progress: &Progress, control: &Control, error: &PipelineError) -> Option<Option<CheckpointId>> {
        tracing::error!(
            %error,
            "parked: the pipeline keeps its place; mend the component, or let the batch pass with `lakemill resume \
             --over-budget`"
        );
        // What was asked for before is no answer to this; what is asked for from now on is.
        control.forget();
        progress.parked(Some(error.to_string()));
        loop {
            let wish = control.wait(None);
            if control.is_stopped() {
                return None;
            }
            let Some(wish) = wish else { continue };
            progress.parked(None);
            tracing::info!("resumed");
            let refused = match error {
                PipelineError::OverBudget(over) => Some(over.checkpoint),
                _ => None,
            };
            return Some(refused.filter(|_| wish == Wish::ResumeOverBudget));
        }
    }

    /// Rows at a point from now on, until the receiver is dropped.
    pub fn tap(&self, point: Point) -> crossbeam_channel::Receiver<Tapped> {
        self.taps.open(point)
    }

    /// Where it is, with what is on trial.
    pub fn status(&self, progress: &Progress) -> Summary {
        Summary { trial: self.deployer.trial(), ..progress.summary() }
    }

    /// Looks at what the pipeline file's paths hold now; if it is other code than what runs, loads and checks it, and lets new
    /// batches go through it, or puts it on trial. What runs is not touched if it is no good.
    ///
    /// # Errors
    /// Why the new code is not used.
    pub fn reload(&self, progress: &Progress, control: &Control) -> Result<Reloaded, PipelineError> {
        let reloaded = self.deployer.reload(progress, control)?;
        if reloaded != Reloaded::Unchanged {
            self.clean_up();
        }
        Ok(reloaded)
    }

    /// The code on trial takes over; its digests. `None` if there is none.
    pub fn promote(&self, progress: &Progress, control: &Control) -> Option<Vec<String>> {
        let digests = self.deployer.promote(progress)?;
        control.resume(false);
        Some(digests)
    }

    /// The code on trial is dropped, or, without one, the code before the last change comes back; the digests of what is gone.
    /// `None` if there is neither.
    pub fn roll_back(&self, progress: &Progress) -> Option<Vec<String>> {
        self.deployer.roll_back("by command", progress)
    }
}

/// Whether to try again may help a pipeline that ran: brokers that answered once are waited for, too.
fn may_pass(error: &PipelineError) -> bool {
    error.disposition() == Disposition::Retry || matches!(error, PipelineError::Source(SourceError::Unreachable { .. }))
}
