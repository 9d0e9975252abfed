//! Watches the components of a running pipeline on disk, and lets it take over what has changed.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use lakemill_pipeline::{Control, Pipeline, Progress, Reloaded};
use notify::{Config, PollWatcher, RecommendedWatcher, RecursiveMode, Watcher};

use crate::exit::Failure;

/// How changes of files are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum WatchMode {
    /// The system tells.
    Notify,
    /// By looking again and again: for file systems that do not tell, such as those over a network.
    Poll,
}

/// A file that is still being written changes again within this time.
const QUIET: Duration = Duration::from_millis(60);

/// Between two looks, when looking.
const POLL: Duration = Duration::from_millis(500);

/// How often the end of the pipeline is looked for.
const TICK: Duration = Duration::from_millis(200);

/// Watches files; holds as long as it lives.
pub struct Watch {
    changes: Receiver<()>,
    _watcher: Box<dyn Watcher + Send>,
}

impl Watch {
    /// Watches the folders of `files`: whoever replaces a file makes a new one of its name.
    ///
    /// # Errors
    /// If the system does not let us.
    pub fn of(files: &[PathBuf], mode: WatchMode) -> Result<Self, Failure> {
        let names: BTreeSet<_> = files.iter().filter_map(|file| file.file_name().map(ToOwned::to_owned)).collect();
        let folders: BTreeSet<PathBuf> = files.iter().filter_map(|file| file.parent().map(folder)).collect();
        let folders: Vec<PathBuf> = folders.into_iter().collect();
        let is_one = move |path: &std::path::Path| path.file_name().is_some_and(|name| names.contains(name));
        Self::start(&folders, RecursiveMode::NonRecursive, mode, is_one)
    }

    fn start(
        folders: &[PathBuf],
        depth: RecursiveMode,
        mode: WatchMode,
        concerns: impl Fn(&std::path::Path) -> bool + Send + 'static,
    ) -> Result<Self, Failure> {
        let (tell, changes) = channel();
        let handler = move |event: notify::Result<notify::Event>| {
            let told = |event: &notify::Event| !event.kind.is_access() && event.paths.iter().any(|path| concerns(path));
            // An error may hide a change.
            if event.as_ref().map_or(true, told) {
                // Nobody listens any more: whoever watched has ended.
                tell.send(()).ok();
            }
        };
        let failed = |error: notify::Error| Failure::runtime(format!("watch files: {error}; try `--watch=poll`"));
        let mut watcher: Box<dyn Watcher + Send> = match mode {
            WatchMode::Notify => Box::new(RecommendedWatcher::new(handler, Config::default()).map_err(failed)?),
            WatchMode::Poll => {
                let config = Config::default().with_poll_interval(POLL).with_compare_contents(true);
                Box::new(PollWatcher::new(handler, config).map_err(failed)?)
            }
        };
        for folder in folders {
            watcher.watch(folder, depth).map_err(failed)?;
        }
        Ok(Self { changes, _watcher: watcher })
    }

    /// Watches sources: everything under `folders` but what builds leave there.
    ///
    /// # Errors
    /// If the system does not let us.
    pub fn of_sources(folders: &[PathBuf], mode: WatchMode) -> Result<Self, Failure> {
        let is_source = |path: &std::path::Path| {
            let built = path.components().any(|part| part.as_os_str() == "target");
            !built
                && path
                    .extension()
                    .is_some_and(|kind| ["rs", "toml", "yaml", "jsonl"].iter().any(|known| kind == *known))
        };
        Self::start(folders, RecursiveMode::Recursive, mode, is_source)
    }

    /// Waits for a change, and then until the files are quiet; false when `most` is over before.
    pub fn wait(&self, most: Duration) -> bool {
        if self.changes.recv_timeout(most).is_err() {
            return false;
        }
        while self.changes.recv_timeout(QUIET) != Err(RecvTimeoutError::Timeout) {}
        true
    }
}

fn folder(path: &std::path::Path) -> PathBuf {
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() }
}

/// Lets the pipeline take over what changes, until it ends.
pub fn follow(watch: &Watch, pipeline: &Pipeline, progress: &Progress, control: &Control) {
    while !control.is_stopped() {
        if !watch.wait(TICK) {
            continue;
        }
        match pipeline.reload(false, progress, control).map(|reload| reload.outcome) {
            // The trial says so itself.
            Ok(Reloaded::Unchanged | Reloaded::OnTrial { .. }) => {}
            Ok(Reloaded::Swapped { digests, took }) => {
                let digests = digests.join(", ");
                tracing::info!(
                    digests,
                    took_ms = u64::try_from(took.as_millis()).unwrap_or(0),
                    "new components took over"
                );
            }
            Err(error) => tracing::error!(%error, "the new components are not used: what runs stays"),
        }
    }
}
