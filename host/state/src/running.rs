//! Who runs a pipeline out of a state folder: one process, or those of a consumer group.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::durable::{Lock, io_error, replace};
use crate::error::StateError;

/// A process as others see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runner {
    /// Its number, on its machine or in its container.
    pub process: u32,
    /// The name of that.
    pub host: String,
}

impl Runner {
    fn this() -> Self {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self { process: std::process::id(), host: host.trim().to_owned() }
    }
}

/// This process runs the pipeline of a state folder, for as long as this lives.
#[derive(Debug)]
pub struct Running {
    lock: Arc<Mutex<Option<Lock>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Whether a process may run the pipeline of a folder.
#[derive(Debug)]
pub enum Turn {
    /// It may.
    Ours(Running),
    /// Another one runs it; who, as far as is known.
    Theirs(Option<Runner>),
}

impl Running {
    /// Begins to run: alone, or, `in_group`, beside others that share the partitions.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn begin(folder: &Path, in_group: bool) -> Result<Turn, StateError> {
        fs::create_dir_all(folder).map_err(io_error("create", folder))?;
        let (path, runner) = paths(folder);
        let lock = if in_group { Lock::try_shared(&path)? } else { Lock::try_alone(&path)? };
        let Some(lock) = lock else {
            let known = fs::read(&runner).ok().and_then(|text| serde_json::from_slice(&text).ok());
            return Ok(Turn::Theirs(known));
        };
        let text = serde_json::to_vec(&Runner::this()).expect("a runner is plain data");
        replace(&runner, &text, || ())?;
        Ok(Turn::Ours(Self { lock: Arc::new(Mutex::new(Some(lock))) }))
    }

    /// Begins to run although another process does. Once that has ended, it is as if this one had begun then.
    ///
    /// # Errors
    /// If the folder cannot be written, or the system gives no thread.
    pub fn take_over(folder: &Path) -> Result<Self, StateError> {
        let (path, runner) = paths(folder);
        let text = serde_json::to_vec(&Runner::this()).expect("a runner is plain data");
        replace(&runner, &text, || ())?;
        let lock = Arc::new(Mutex::new(None));
        let (later, at) = (lock.clone(), path.clone());
        let wait = move || match Lock::alone(&at) {
            Ok(lock) => *later.lock().unwrap_or_else(PoisonError::into_inner) = Some(lock),
            Err(error) => tracing::warn!(%error, "another process may be started on this state folder"),
        };
        let started = std::thread::Builder::new().name("lakemill-take-over".into()).spawn(wait);
        started.map_err(io_error("wait for", &path))?;
        Ok(Self { lock })
    }
}

fn paths(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("run.lock"), folder.join("run.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(folder: &Path, in_group: bool) -> Option<Running> {
        match Running::begin(folder, in_group).expect("can be written") {
            Turn::Ours(running) => Some(running),
            Turn::Theirs(by) => {
                assert_eq!(by, Some(Runner::this()));
                None
            }
        }
    }

    #[test]
    fn one_runs_alone_and_a_group_together() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path();
        let alone = begin(at, false).expect("nobody else");
        assert!(begin(at, false).is_none() && begin(at, true).is_none());
        drop(alone);
        let group = [begin(at, true), begin(at, true)];
        assert!(group.iter().all(Option::is_some));
        assert!(begin(at, false).is_none(), "a group is not joined by one that takes all");
        drop(group);
        begin(at, false).expect("all have gone");
    }

    #[test]
    fn who_takes_over_is_the_one_once_the_other_has_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = begin(folder.path(), false).expect("nobody else");
        let second = Running::take_over(folder.path()).expect("can be written");
        drop(first);
        // The lock comes by itself.
        while second.lock.lock().expect("no panic").is_none() {
            std::thread::yield_now();
        }
        assert!(begin(folder.path(), false).is_none());
        drop(second);
        begin(folder.path(), false).expect("all have gone");
    }
}
