//! Changes the code of a running pipeline: loads, checks, tries, promotes and takes back. What runs is never touched by code that
//! is no good.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lakemill_model::Stage;
use lakemill_state::{ActiveCode, Code, Plan};

use crate::control::Control;
use crate::error::PipelineError;
use crate::lineup::Lineup;
use crate::loader::Loader;
use crate::progress::Progress;
use crate::rollout::Rollout;
use crate::trial::{Bounds, Mode, TrialReport, Verdict};
use crate::version::Version;

/// What became of a look at the pipeline's components.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// They are what runs, or what is on trial.
    Unchanged,
    /// New batches go through these.
    Swapped {
        /// SHA-256 of the components, in the order of the pipeline file.
        digests: Vec<String>,
        /// What loading and checking took.
        took: Duration,
    },
    /// They are on trial beside what runs.
    OnTrial {
        /// SHA-256 of the components, in the order of the pipeline file.
        digests: Vec<String>,
    },
}

/// Code that a swap has replaced.
struct Probation {
    previous: Arc<Version>,
    /// Batches for which the new code is taken back by itself; by command, always.
    batches_left: u32,
}

const PROBATION_BATCHES: u32 = 1_000;

/// The code of a pipeline, and how it changes.
pub(crate) struct Deployer {
    pub loader: Loader,
    mode: Mode,
    bounds: Bounds,
    folder: PathBuf,
    lineup: Mutex<Arc<Lineup>>,
    /// Held by whoever changes the code: one at a time, from the look at what runs to the last word about it.
    changes: Mutex<()>,
    /// Held by whoever looks at the pipeline file's paths: what was loaded first takes over first.
    reloads: Mutex<()>,
    /// What ran before the last change.
    previous: Mutex<Option<Probation>>,
    /// The last trial that has ended.
    last_trial: Mutex<Option<TrialReport>>,
    /// Of the run under way: whether rows would fit the tables.
    stages: Mutex<Vec<Arc<dyn Stage>>>,
}

impl Deployer {
    /// With the code that the pipeline file names. If other code is in use and new code is not to take over at once, that goes
    /// on, and the file's is on trial.
    pub fn new(
        loader: Loader,
        named: Version,
        mode: Mode,
        bounds: Bounds,
        folder: PathBuf,
    ) -> Result<Self, PipelineError> {
        let known = ActiveCode::read(&folder)?;
        let named = Arc::new(named);
        let mut main = named.clone();
        if mode != Mode::AtOnce
            && let Some(active) = known.active.filter(|active| *active != named.code)
            && let Some(version) = loader.of_code(&active)?
        {
            main = Arc::new(version);
        }
        let on_trial = main.code != named.code && !known.refused.contains(&named.code);
        let lineup = Arc::new(loader.lineup(main, None, None));
        let deployer = Self {
            loader,
            mode,
            bounds,
            folder,
            lineup: Mutex::new(lineup),
            changes: Mutex::default(),
            reloads: Mutex::default(),
            previous: Mutex::default(),
            last_trial: Mutex::default(),
            stages: Mutex::default(),
        };
        if on_trial {
            deployer.try_out(named)?;
        }
        Ok(deployer)
    }

    /// What the next batch goes through.
    pub fn lineup(&self) -> Arc<Lineup> {
        lock(&self.lineup).clone()
    }

    /// What a plan asks for, if it is another one than new batches have; `None` if the store does not have all of it.
    pub fn lineup_of(&self, plan: &Plan) -> Result<Option<Arc<Lineup>>, PipelineError> {
        let Some(main) = self.loader.of_code(&plan.code)? else { return Ok(None) };
        let rollout = match &plan.canary {
            None => None,
            Some(canary) => {
                let Some(version) = self.loader.of_code(&canary.code)? else { return Ok(None) };
                self.rollout(Arc::new(version), Mode::Canary(canary.percent))?
            }
        };
        Ok(Some(Arc::new(self.loader.lineup(Arc::new(main), rollout, Some(&self.lineup())))))
    }

    /// A run has begun with these sinks.
    pub fn begin(&self, stages: Vec<Arc<dyn Stage>>) {
        let _change = lock(&self.changes);
        *lock(&self.stages) = stages;
        let lineup = self.lineup();
        self.remember(|known| known.active = Some(lineup.main.code.clone()));
    }

    /// All that the component store must keep for it.
    pub fn content(&self) -> Vec<String> {
        let lineup = self.lineup();
        let codes = [Some(&lineup.main.code), lineup.rollout.as_ref().map(|rollout| &rollout.version.code)];
        let known = ActiveCode::read(&self.folder).unwrap_or_default();
        let previous = lock(&self.previous).as_ref().map(|probation| probation.previous.code.clone());
        let all = codes.into_iter().flatten().chain(&known.active).chain(&previous);
        all.flat_map(Code::content).map(str::to_owned).collect()
    }

    /// Looks at what the pipeline file's paths hold now; if it is new code, loads and checks it, and lets it take over or puts it
    /// on trial.
    ///
    /// # Errors
    /// Why the new code is not used.
    pub fn reload(&self, progress: &Progress, control: &Control) -> Result<Reloaded, PipelineError> {
        let started = Instant::now();
        let _reload = lock(&self.reloads);
        let version = self.loader.named()?;
        // Loading takes long, and changes nothing.
        let _change = lock(&self.changes);
        let current = self.lineup();
        let on_trial = current.rollout.as_ref().is_some_and(|rollout| rollout.version.code == version.code);
        if version.code == current.main.code || on_trial {
            return Ok(Reloaded::Unchanged);
        }
        if self.mode != Mode::AtOnce && ActiveCode::read(&self.folder)?.refused.contains(&version.code) {
            return Err(PipelineError::Invalid(
                "these components were taken back before: they are not tried again until they change".into(),
            ));
        }
        self.fits_tables(&version, &current)?;
        let digests = version.code.digests.clone();
        // A pipeline that is parked has no batches to try anything on.
        if self.mode != Mode::AtOnce && !progress.is_parked() {
            self.end_trial("other components came");
            self.try_out(Arc::new(version))?;
            return Ok(Reloaded::OnTrial { digests });
        }
        self.end_trial("other components took over");
        self.take_over(Arc::new(version), progress);
        control.resume(false);
        Ok(Reloaded::Swapped { digests, took: started.elapsed() })
    }

    /// The code on trial takes over; its digests. `None` if there is none.
    pub fn promote(&self, progress: &Progress) -> Option<Vec<String>> {
        let _change = lock(&self.changes);
        self.promote_now(progress)
    }

    fn promote_now(&self, progress: &Progress) -> Option<Vec<String>> {
        let rollout = self.lineup().rollout.clone()?;
        self.end_trial("promoted");
        let digests = rollout.version.code.digests.clone();
        tracing::info!(digests = digests.join(", "), "promoted: the components on trial take over");
        self.take_over(rollout.version.clone(), progress);
        Some(digests)
    }

    /// The code on trial is dropped, or, without one, the code before the last change comes back; the digests of what is gone.
    /// `None` if there is neither.
    pub fn roll_back(&self, why: &str, progress: &Progress) -> Option<Vec<String>> {
        let _change = lock(&self.changes);
        match self.lineup().rollout {
            Some(_) => self.drop_trial(why, progress),
            None => self.go_back(why, progress),
        }
    }

    /// Code has failed on a batch of which nothing was committed: the canary among it is dropped, or the code before the last change
    /// comes back. False if it is to be asked again and would do the same: it is what runs, and nothing was before it.
    pub fn take_back(&self, failed: &[Code], why: &str, progress: &Progress) -> bool {
        let _change = lock(&self.changes);
        let current = self.lineup();
        if let Some(canary) = current.canary()
            && failed.contains(&canary.code)
        {
            return self.drop_trial(why, progress).is_some();
        }
        // Other code runs by now, or a canary that may be the guilty one is gone already.
        if failed.iter().any(|code| *code != current.main.code) {
            return true;
        }
        let is_new = lock(&self.previous).as_ref().is_some_and(|probation| probation.batches_left > 0);
        is_new && self.go_back(why, progress).is_some()
    }

    /// The code on trial is dropped.
    fn drop_trial(&self, why: &str, progress: &Progress) -> Option<Vec<String>> {
        let current = self.lineup();
        let rollout = current.rollout.as_ref()?;
        self.end_trial(&format!("taken back: {why}"));
        self.set(current.main.clone(), None);
        Some(self.gone(rollout.version.code.clone(), why, progress))
    }

    /// The code before the last change comes back; what is on trial stays there.
    fn go_back(&self, why: &str, progress: &Progress) -> Option<Vec<String>> {
        let current = self.lineup();
        let Probation { previous, .. } = lock(&self.previous).take()?;
        self.set(previous.clone(), current.rollout.clone());
        progress.swapped(previous.code.digests.clone(), &previous.names());
        Some(self.gone(current.main.code.clone(), why, progress))
    }

    /// Remembers code that was taken back; its digests.
    fn gone(&self, gone: Code, why: &str, progress: &Progress) -> Vec<String> {
        progress.rolled_back();
        tracing::error!(digests = gone.digests.join(", "), reason = why, "rolled back: the last good components stay");
        let active = self.lineup().main.code.clone();
        self.remember(|known| {
            known.active = Some(active);
            known.refuse(gone.clone());
        });
        gone.digests
    }

    /// A batch was committed: does what the bounds of a trial ask for.
    pub fn look(&self, progress: &Progress) {
        // Somebody is at it: the next batch comes soon.
        let Ok(_change) = self.changes.try_lock() else { return };
        if let Some(probation) = lock(&self.previous).as_mut() {
            probation.batches_left = probation.batches_left.saturating_sub(1);
        }
        let Some(rollout) = self.lineup().rollout.clone() else { return };
        match rollout.judge() {
            None => {}
            Some(Verdict::Promote) => drop(self.promote_now(progress)),
            Some(Verdict::RollBack(why)) => drop(self.drop_trial(&why, progress)),
        }
    }

    /// The trial under way, or the last one.
    pub fn trial(&self) -> Option<TrialReport> {
        match &self.lineup().rollout {
            Some(rollout) => Some(rollout.report()),
            None => lock(&self.last_trial).clone(),
        }
    }

    fn take_over(&self, version: Arc<Version>, progress: &Progress) {
        let before = self.lineup().main.clone();
        self.set(version.clone(), None);
        *lock(&self.previous) = Some(Probation { previous: before, batches_left: PROBATION_BATCHES });
        self.remember(|known| {
            known.active = Some(version.code.clone());
            known.refused.retain(|refused| *refused != version.code);
        });
        progress.swapped(version.code.digests.clone(), &version.names());
    }

    fn try_out(&self, version: Arc<Version>) -> Result<(), PipelineError> {
        let digests = version.code.digests.join(", ");
        let rollout = self.rollout(version, self.mode)?;
        tracing::info!(digests, mode = ?self.mode, "new components are on trial");
        let main = self.lineup().main.clone();
        self.set(main, rollout);
        Ok(())
    }

    fn rollout(&self, version: Arc<Version>, mode: Mode) -> Result<Option<Arc<Rollout>>, PipelineError> {
        let started = Rollout::start(version, mode, self.bounds);
        let started = started.map_err(|error| PipelineError::Invalid(format!("start a trial: {error}")))?;
        Ok(started.map(Arc::new))
    }

    fn end_trial(&self, outcome: &str) {
        if let Some(rollout) = &self.lineup().rollout {
            let report = TrialReport { outcome: Some(outcome.to_owned()), ..rollout.report() };
            // What rows hold does not belong in a log.
            let shown = TrialReport { samples: Vec::new(), ..report.clone() };
            let shown = serde_json::to_string(&shown).expect("a report is plain data");
            tracing::info!(report = shown, "the trial has ended");
            *lock(&self.last_trial) = Some(report);
        }
    }

    fn set(&self, main: Arc<Version>, rollout: Option<Arc<Rollout>>) {
        let next = self.loader.lineup(main, rollout, Some(&self.lineup()));
        *lock(&self.lineup) = Arc::new(next);
    }

    /// A restart without what could not be written down takes the pipeline file's word.
    fn remember(&self, change: impl FnOnce(&mut ActiveCode)) {
        let known = ActiveCode::read(&self.folder).and_then(|mut known| {
            let before = known.clone();
            change(&mut known);
            if known == before { Ok(()) } else { known.write(&self.folder) }
        });
        if let Err(error) = known {
            tracing::warn!(%error, "which components are in use was not written down");
        }
    }

    /// Whether the tables would take what new code makes of rows like those that came so far.
    fn fits_tables(&self, version: &Version, current: &Lineup) -> Result<(), PipelineError> {
        let stages = lock(&self.stages).clone();
        for (sink, table) in version.tables_for(&current.main)? {
            if let Some(stage) = stages.get(sink) {
                stage.fits(&table)?;
            }
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in there is replaced as a whole: a panic elsewhere leaves it usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
