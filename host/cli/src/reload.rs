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
        let (tell, changes) = channel();
        let names: BTreeSet<_> = files.iter().filter_map(|file| file.file_name().map(ToOwned::to_owned)).collect();
        let handler = move |event: notify::Result<notify::Event>| {
            let concerns = |event: &notify::Event| {
                !event.kind.is_access()
                    && event.paths.iter().any(|path| path.file_name().is_some_and(|n| names.contains(n)))
            };
            // An error may hide a change.
            if event.as_ref().map_or(true, concerns) {
                // Nobody listens any more: the pipeline has ended.
                tell.send(()).ok();
            }
        };
        let failed =
            |error: notify::Error| Failure::runtime(format!("watch the components: {error}; try `--watch poll`"));
        let mut watcher: Box<dyn Watcher + Send> = match mode {
            WatchMode::Notify => Box::new(RecommendedWatcher::new(handler, Config::default()).map_err(failed)?),
            WatchMode::Poll => {
                let config = Config::default().with_poll_interval(POLL).with_compare_contents(true);
                Box::new(PollWatcher::new(handler, config).map_err(failed)?)
            }
        };
        let folders: BTreeSet<PathBuf> = files.iter().filter_map(|file| file.parent().map(folder)).collect();
        for folder in folders {
            watcher.watch(&folder, RecursiveMode::NonRecursive).map_err(failed)?;
        }
        Ok(Self { changes, _watcher: watcher })
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
        match pipeline.reload(progress, control) {
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
