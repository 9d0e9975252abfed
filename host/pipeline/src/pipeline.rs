//! A pipeline for as long as its process lives: run after run, with its code changed in between or under way.
//!
//! A fault that may pass is a restart without losing the process: the run ends at its last commit, waits, and recovers as after
//! a crash, by the same decisions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use lakemill_model::{CheckpointId, Disposition, SourceError};
use lakemill_state::{Code, Journal, Running, Turn};

use crate::assemble::{self, dead_letters_path, micros, sink_names};
use crate::breaker::{Breaker, Circuit};
use crate::budget::Spending;
use crate::changes::changed_keys;
use crate::control::Control;
use crate::deployer::{Deployer, Reload, Reloaded, RolledBack};
use crate::error::PipelineError;
use crate::loader::Loader;
use crate::options::Options;
use crate::parking::Unparked;
use crate::progress::{Progress, Summary};
use crate::spec::SpecFile;
use crate::spec::written::Transform;
use crate::tap::{Point, Tapped, Taps};
use crate::version::Version;

/// A pipeline, its code loaded.
pub struct Pipeline {
    pub(crate) file: SpecFile,
    options: Options,
    pub(crate) deployer: Arc<Deployer>,
    taps: Arc<Taps>,
    /// What was spent of the error budget.
    spending: Mutex<Spending>,
    /// It is parked, and looks at its tables now and then.
    pub(crate) looks: AtomicBool,
}

impl Pipeline {
    /// Loads the components of a pipeline file and wires them to its sinks. Touches neither source nor tables.
    ///
    /// # Errors
    /// What must be changed before it can run.
    pub fn open(file: SpecFile, options: Options) -> Result<Self, PipelineError> {
        let loader = Loader::open(&file, &options)?;
        let version = loader.named(&file.spec.transforms)?;
        Self::of(file, options, loader, version)
    }

    /// A pipeline over transforms that are loaded already: benchmarks put native code in a component's place.
    ///
    /// # Errors
    /// Like [`Pipeline::open`].
    pub fn with_transforms(
        file: SpecFile,
        options: Options,
        transforms: Vec<Arc<dyn lakemill_model::Transform>>,
    ) -> Result<Self, PipelineError> {
        let loader = Loader::of_native(&file, &options)?;
        let digests: Vec<String> = transforms.iter().map(|transform| transform.digest().to_owned()).collect();
        let version = loader.wired(Code { settings: digests.clone(), digests }, transforms)?;
        Self::of(file, options, loader, version)
    }

    fn of(file: SpecFile, options: Options, loader: Loader, version: Version) -> Result<Self, PipelineError> {
        let deployer = Deployer::new(loader, version, options.mode, options.bounds, file.state_folder())?;
        Ok(Self {
            file,
            options,
            deployer: Arc::new(deployer),
            taps: Arc::default(),
            spending: Mutex::default(),
            looks: AtomicBool::default(),
        })
    }

    /// Memory that components hold right now, in bytes.
    pub fn guest_memory_bytes(&self) -> u64 {
        self.deployer.loader.guest_memory_bytes()
    }

    /// A fresh progress for [`Pipeline::run`].
    pub fn progress(&self) -> Progress {
        let main = self.deployer.lineup().main.clone();
        let spec = &self.file.spec;
        let dead_letters = dead_letters_path(&self.file).display().to_string();
        Progress::new(&spec.pipeline, main.code.digests.clone(), &main.names(), &sink_names(spec))
            .with(dead_letters, micros(spec.watermark.delay.0))
    }

    /// Runs until the source is read up or a stop is asked for; batches that have a plan by then are committed. Returns the
    /// summary at the end; after an error, `progress` has it.
    ///
    /// Once it has committed something, a pipeline that is to run on waits faults out and tries again. It parks when it is over its error
    /// budget, and, from its first start on, when rows do not fit a table. One that ends with its source stops at all of these, as a job
    /// should.
    ///
    /// # Errors
    /// What stopped the pipeline. Everything before is committed, nothing after is visible.
    pub fn run(&self, progress: &Progress, control: &Control) -> Result<Summary, PipelineError> {
        let _turn = self.turn()?;
        let mut breaker = Breaker::default();
        let (mut forgiven, mut in_vain) = (None, 0);
        loop {
            let committed = progress.batches();
            let result = self.run_once(progress, control, forgiven.take());
            let committed = progress.batches() > committed;
            if committed {
                in_vain = 0;
            }
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
                Disposition::Park | Disposition::Misfit => match self.park(progress, control, &error, &mut in_vain) {
                    Unparked::GoOn(forgive) => forgiven = forgive,
                    Unparked::Stop => return Ok(self.status(progress)),
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

    /// One process at a time, or those of a group.
    fn turn(&self) -> Result<Running, PipelineError> {
        let folder = self.file.state_folder();
        let in_group = self.file.spec.source.kafka.as_ref().is_some_and(|kafka| kafka.group.is_some());
        let by = match Running::begin(&folder, in_group)? {
            Turn::Ours(running) => return Ok(running),
            Turn::Theirs(by) => by,
        };
        let by = by.map_or("another process".into(), |by| format!("process {} on {}", by.process, by.host));
        let reads_files = self.file.spec.source.files.is_some();
        if self.options.take_over && !reads_files {
            tracing::warn!(%by, "takes over: that one ends with its next commit, which is refused");
            return Ok(Running::take_over(&folder)?);
        }
        let advice = match (reads_files, self.options.take_over) {
            (true, true) => "stop that one first: `--take-over` is for Kafka, files are read by one process at a time",
            (true, false) => "stop that one first",
            (false, _) => {
                "stop that one, or take its place with `run --take-over`; several processes share the partitions with `source.kafka.group`"
            }
        };
        Err(PipelineError::Invalid(format!(
            "pipeline `{}` runs already: {by} has its state folder {}; {advice}",
            self.file.spec.pipeline,
            folder.display()
        )))
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

    /// Rows at a point from now on, until the receiver is dropped.
    pub fn tap(&self, point: Point) -> crossbeam_channel::Receiver<Tapped> {
        self.taps.open(point)
    }

    /// Where it is, with what is on trial.
    pub fn status(&self, progress: &Progress) -> Summary {
        Summary { trial: self.deployer.trial(), ..progress.summary() }
    }

    /// The same with what whoever asks may have changed on disk: components that were refused, and what the next start would run.
    pub fn status_and_files(&self, progress: &Progress) -> Summary {
        let next_start = match self.transforms_now() {
            Ok((transforms, _)) => self.deployer.next_start(&transforms),
            Err(error) => Some(format!("it would fail: {error}")),
        };
        Summary { refusal: self.deployer.refusal(), next_start, ..self.status(progress) }
    }

    /// The transforms that the pipeline file names now, and the keys of the file that have changed and that only a start takes up.
    fn transforms_now(&self) -> Result<(Vec<Transform>, Vec<String>), PipelineError> {
        let started = &self.file.spec;
        let Some(path) = &self.options.file else { return Ok((started.transforms.clone(), Vec::new())) };
        let mut now = SpecFile::read(path)?.spec;
        let transforms = std::mem::replace(&mut now.transforms, started.transforms.clone());
        let mut left = changed_keys(started, &now);
        if transforms.len() == started.transforms.len() {
            return Ok((transforms, left));
        }
        left.push("transforms (one more or less)".to_owned());
        Ok((started.transforms.clone(), left))
    }

    /// Looks at the pipeline file's transforms, and at what its paths hold now; if it is other code than what runs, or has other settings,
    /// loads and checks it, and lets new batches go through it, or puts it on trial. What runs is not touched if it is no good. Code that
    /// was rolled back is used only if `commanded`.
    ///
    /// # Errors
    /// Why the new code is not used.
    pub fn reload(&self, commanded: bool, progress: &Progress, control: &Control) -> Result<Reload, PipelineError> {
        let (transforms, left) = self.transforms_now()?;
        let outcome = self.deployer.reload(&transforms, commanded, progress, control)?;
        if outcome != Reloaded::Unchanged {
            self.clean_up();
        } else if self.looks.load(Ordering::Relaxed) {
            // Whoever asks has perhaps changed the table.
            control.resume(false);
        }
        Ok(Reload { outcome, left })
    }

    /// The code on trial takes over; its digests. `None` if there is none.
    pub fn promote(&self, progress: &Progress, control: &Control) -> Option<Vec<String>> {
        let digests = self.deployer.promote(progress)?;
        control.resume(false);
        Some(digests)
    }

    /// The code on trial is dropped, or, without one, the code before the last change comes back. `None` if there is neither.
    pub fn roll_back(&self, progress: &Progress) -> Option<RolledBack> {
        self.deployer.roll_back(progress)
    }
}

/// Whether to try again may help a pipeline that ran: brokers that answered once are waited for, too.
fn may_pass(error: &PipelineError) -> bool {
    error.disposition() == Disposition::Retry || matches!(error, PipelineError::Source(SourceError::Unreachable { .. }))
}
