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
use crate::loader::{Loader, Unavailable};
use crate::progress::Progress;
use crate::rollout::Rollout;
use crate::spec::written::Transform;
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

/// What a look at the components came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reload {
    /// What became of them.
    pub outcome: Reloaded,
    /// Keys of the pipeline file that have changed and that only a start takes up.
    pub left: Vec<String>,
}

/// Code that was taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolledBack {
    /// SHA-256 of the components that are out.
    pub gone: Vec<String>,
    /// SHA-256 of those that run now.
    pub running: Vec<String>,
    /// Whether they were on trial only.
    pub was_on_trial: bool,
}

/// Why code goes.
enum Why<'a> {
    /// Somebody wants it so.
    Command,
    /// It is no good.
    Failed(&'a str),
}

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
    /// Why what the pipeline file names was not used when it was last looked at.
    refusal: Mutex<Option<String>>,
    /// Of the run under way: whether rows would fit the tables.
    stages: Mutex<Vec<Arc<dyn Stage>>>,
}

impl Deployer {
    /// With the code that the pipeline file names. If other code is in use and new code is not to take over at once, that goes
    /// on, and the file's is on trial. It goes on as well if the file's was taken back.
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
        let is_out = known.refused.contains(&named.code);
        if (mode != Mode::AtOnce || is_out)
            && let Some(active) = known.active.filter(|active| *active != named.code)
            && let Ok(version) = loader.of_code(&active)?
        {
            main = Arc::new(version);
        }
        if is_out && main.code != named.code {
            tracing::warn!(
                on_disk = named.code.digests.join(", "),
                running = main.code.digests.join(", "),
                "the components on disk were rolled back: those before them run; replace the files, or take them with `lakemill reload`"
            );
        }
        let on_trial = main.code != named.code && !is_out;
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
            refusal: Mutex::default(),
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

    /// What a plan asks for, if it is another one than new batches have, and is to be had.
    pub fn lineup_of(&self, plan: &Plan) -> Result<Result<Arc<Lineup>, Unavailable>, PipelineError> {
        let main = match self.loader.of_code(&plan.code)? {
            Ok(main) => main,
            Err(gone) => return Ok(Err(gone)),
        };
        let rollout = match &plan.canary {
            None => None,
            Some(canary) => {
                let version = match self.loader.of_code(&canary.code)? {
                    Ok(version) => version,
                    Err(gone) => return Ok(Err(gone)),
                };
                self.rollout(Arc::new(version), Mode::Canary(canary.percent), TrialReport::default())?
            }
        };
        Ok(Ok(Arc::new(self.loader.lineup(Arc::new(main), rollout, Some(&self.lineup())))))
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
    /// on trial. `transforms` are those of the pipeline file. Code that was taken back is used only if `commanded`, and on no trial.
    ///
    /// # Errors
    /// Why the new code is not used.
    pub fn reload(
        &self,
        transforms: &[Transform],
        commanded: bool,
        progress: &Progress,
        control: &Control,
    ) -> Result<Reloaded, PipelineError> {
        let reloaded = self.try_reload(transforms, commanded, progress, control);
        *lock(&self.refusal) = reloaded.as_ref().err().map(ToString::to_string);
        reloaded
    }

    fn try_reload(
        &self,
        transforms: &[Transform],
        commanded: bool,
        progress: &Progress,
        control: &Control,
    ) -> Result<Reloaded, PipelineError> {
        let started = Instant::now();
        let _reload = lock(&self.reloads);
        let version = self.loader.named(transforms)?;
        // Loading takes long, and changes nothing.
        let _change = lock(&self.changes);
        let current = self.lineup();
        let on_trial = current.rollout.as_ref().is_some_and(|rollout| rollout.version.code == version.code);
        if version.code == current.main.code || on_trial {
            return Ok(Reloaded::Unchanged);
        }
        let is_tried = self.mode != Mode::AtOnce;
        if (is_tried || !commanded) && ActiveCode::read(&self.folder)?.refused.contains(&version.code) {
            let way_out = if is_tried { "" } else { "; `lakemill reload` takes them nevertheless" };
            return Err(PipelineError::Invalid(format!(
                "these components were rolled back before: they are not used again until they change{way_out}"
            )));
        }
        let stages = lock(&self.stages).clone();
        Self::fits_tables(&stages, &version, &current)?;
        let digests = version.code.digests.clone();
        // A pipeline that is parked has no batches to try anything on.
        if is_tried && !progress.is_parked() {
            self.end_trial("other components came");
            self.try_out(Arc::new(version))?;
            return Ok(Reloaded::OnTrial { digests });
        }
        self.end_trial("other components took over");
        self.take_over(Arc::new(version), progress);
        control.resume(false);
        Ok(Reloaded::Swapped { digests, took: started.elapsed() })
    }

    /// Why the components were not used when they were last looked at.
    pub fn refusal(&self) -> Option<String> {
        lock(&self.refusal).clone()
    }

    /// What a start would run now, in words, if it is not what runs.
    pub fn next_start(&self, transforms: &[Transform]) -> Option<String> {
        let current = self.lineup();
        let (on_disk, changed) = match self.loader.code_of(transforms, &current.main.code) {
            Ok(of_disk) => of_disk,
            Err(error) => return Some(format!("it would fail: {error}")),
        };
        if on_disk == current.main.code {
            return None;
        }
        let digests = on_disk.digests.join(", ");
        let known = ActiveCode::read(&self.folder).unwrap_or_default();
        Some(if known.refused.contains(&on_disk) {
            format!(
                "what runs now: the components on disk ({digests}) were rolled back, and are not used until they change"
            )
        } else if self.mode != Mode::AtOnce {
            format!("what runs now, with the components on disk ({digests}) on trial")
        } else if let Some(refusal) = self.refusal() {
            format!("it would fail, or run the components on disk ({digests}), which were refused: {refusal}")
        } else if on_disk.digests != current.main.code.digests {
            format!("the components on disk ({digests}); `lakemill reload` takes them now")
        } else if changed.is_empty() {
            "the same components with other settings; `lakemill reload` takes them now".to_owned()
        } else {
            format!(
                "the same components with other settings ({}); `lakemill reload` takes them now",
                changed.join(", ")
            )
        })
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

    /// By command, the code on trial is dropped, or, without one, the code before the last change comes back. `None` if there is
    /// neither.
    pub fn roll_back(&self, progress: &Progress) -> Option<RolledBack> {
        let _change = lock(&self.changes);
        let was_on_trial = self.lineup().rollout.is_some();
        let gone = if was_on_trial {
            self.drop_trial(&Why::Command, progress)?
        } else {
            self.go_back(&Why::Command, progress)?
        };
        Some(RolledBack { gone, running: self.lineup().main.code.digests.clone(), was_on_trial })
    }

    /// Code has failed on a batch of which nothing was committed: the canary among it is dropped, or the code before the last change
    /// comes back. False if it is to be asked again and would do the same: it is what runs, and nothing was before it.
    pub fn take_back(&self, failed: &[Code], why: &str, progress: &Progress) -> bool {
        let _change = lock(&self.changes);
        let current = self.lineup();
        if let Some(canary) = current.canary()
            && failed.contains(&canary.code)
        {
            return self.drop_trial(&Why::Failed(why), progress).is_some();
        }
        // Other code runs by now, or a canary that may be the guilty one is gone already.
        if failed.iter().any(|code| *code != current.main.code) {
            return true;
        }
        let is_new = lock(&self.previous).as_ref().is_some_and(|probation| probation.batches_left > 0);
        is_new && self.go_back(&Why::Failed(why), progress).is_some()
    }

    /// The code on trial is dropped.
    fn drop_trial(&self, why: &Why<'_>, progress: &Progress) -> Option<Vec<String>> {
        let current = self.lineup();
        let rollout = current.rollout.as_ref()?;
        self.end_trial(&match why {
            Why::Command => "rolled back by command".to_owned(),
            Why::Failed(why) => format!("rolled back: {why}"),
        });
        self.set(current.main.clone(), None);
        Some(self.gone(rollout.version.code.clone(), why, progress))
    }

    /// The code before the last change comes back; what is on trial stays there.
    fn go_back(&self, why: &Why<'_>, progress: &Progress) -> Option<Vec<String>> {
        let current = self.lineup();
        let Probation { previous, .. } = lock(&self.previous).take()?;
        self.set(previous.clone(), current.rollout.clone());
        progress.swapped(previous.code.digests.clone(), &previous.names());
        Some(self.gone(current.main.code.clone(), why, progress))
    }

    /// Remembers code that was taken back; its digests.
    fn gone(&self, gone: Code, why: &Why<'_>, progress: &Progress) -> Vec<String> {
        progress.rolled_back();
        let (digests, running) = (gone.digests.join(", "), self.lineup().main.code.digests.join(", "));
        match why {
            Why::Command => tracing::info!(digests, running, "rolled back by command"),
            Why::Failed(reason) => {
                tracing::error!(digests, running, reason, "rolled back: the last good components run")
            }
        }
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
            Some(Verdict::RollBack(why)) => drop(self.drop_trial(&Why::Failed(&why), progress)),
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
        let main = self.lineup().main.clone();
        let about = TrialReport {
            settings: version.code.settings.clone(),
            old_digests: main.code.digests.clone(),
            old_settings: main.code.settings.clone(),
            settings_changed: self.loader.settings_changed(&main.code, &version.code),
            ..TrialReport::default()
        };
        let settings_changed = about.settings_changed.join(", ");
        let rollout = self.rollout(version, self.mode, about)?;
        tracing::info!(digests, settings_changed, mode = ?self.mode, "new components are on trial");
        self.set(main, rollout);
        Ok(())
    }

    fn rollout(
        &self,
        version: Arc<Version>,
        mode: Mode,
        about: TrialReport,
    ) -> Result<Option<Arc<Rollout>>, PipelineError> {
        let started = Rollout::start(version, mode, self.bounds, about);
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

    /// Whether tables take what the code that is in use makes of rows like those that came so far.
    pub fn fits(&self, stages: &[Arc<dyn Stage>]) -> Result<(), PipelineError> {
        let current = self.lineup();
        Self::fits_tables(stages, &current.main, &current)
    }

    /// Whether tables would take what a version makes of rows like those that came so far.
    fn fits_tables(stages: &[Arc<dyn Stage>], version: &Version, current: &Lineup) -> Result<(), PipelineError> {
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
