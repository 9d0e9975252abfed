//! The Delta log as files: reads the entries that came since a look, and writes the next one. Never decides anything.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::LookError;
use super::actions::{Seen, read_entry};
use crate::disk::{Disk, DiskError, Ground, Published, read};

/// The age at which a hidden file is nobody's.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 60 * 60);

/// The `_delta_log` folder of a table.
pub(crate) struct Log {
    dir: PathBuf,
    disk: Disk,
}

/// What the entries say that came since.
pub(crate) enum Since {
    /// Each of them, in order; none if there is none.
    Entries(Vec<Seen>),
    /// More than entries can tell: look afresh. The table's columns or properties changed, or the entry that we stand
    /// on is gone, with a log cleaned up or a table replaced behind us.
    LookAgain,
}

impl Log {
    pub(crate) fn new(root: &Path, disk: Disk) -> Self {
        Self { dir: root.join("_delta_log"), disk }
    }

    /// The entries after `version`.
    pub(crate) fn since(&self, version: u64) -> Result<Since, LookError> {
        if !self.path(version).exists() {
            return Ok(Since::LookAgain);
        }
        let mut entries = Vec::new();
        for next in version + 1.. {
            let path = self.path(next);
            let Some(bytes) = read(&path)? else { break };
            let seen = read_entry(&bytes).map_err(|error| LookError::Storage {
                path: path.display().to_string(),
                reason: format!("not a log entry: {error}"),
            })?;
            if seen.table_changed {
                return Ok(Since::LookAgain);
            }
            entries.push(seen);
        }
        Ok(Since::Entries(entries))
    }

    /// The entry of `version` as a file. If it is gone, versions after it may have been cleaned up as well, and an entry written after
    /// it would be one in the past, which nobody reads; if it is another one, so may be the table.
    pub(crate) fn ground(&self, version: u64) -> Option<Ground> {
        Ground::of(&self.path(version))
    }

    /// Writes the entry of `version`, if nobody has.
    pub(crate) fn publish(&self, version: u64, bytes: &[u8]) -> Result<Published, DiskError> {
        if version == 0 {
            self.disk.make_dir(&self.dir)?;
        }
        self.disk.publish(&self.dir, &format!("{version:020}.json"), bytes)
    }

    /// Makes the entries that are there durable.
    pub(crate) fn settle(&self) -> Result<(), DiskError> {
        self.disk.sync_dir(&self.dir)
    }

    /// Puts a finished and checked file in place.
    pub(crate) fn adopt(&self, hidden: &Path, name: &str) -> Result<(), DiskError> {
        self.disk.adopt(hidden, &self.dir.join(name))
    }

    /// Removes what writers that died left in the folder: hidden files that nobody has touched for a day.
    pub(crate) fn sweep(&self) -> Result<(), LookError> {
        let failed = |error: &std::io::Error| LookError::storage(&self.dir, error);
        for entry in std::fs::read_dir(&self.dir).map_err(|error| failed(&error))? {
            let entry = entry.map_err(|error| failed(&error))?;
            let name = entry.file_name();
            let ours = name.to_str().is_some_and(|name| name.starts_with('.') && name.ends_with(".tmp"));
            let age = || entry.metadata().and_then(|metadata| metadata.modified()).ok()?.elapsed().ok();
            if ours && age().is_some_and(|age| age > LEFT_BEHIND) {
                // Another process may sweep as well.
                drop(std::fs::remove_file(entry.path()));
            }
        }
        Ok(())
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, version: u64) -> PathBuf {
        self.dir.join(format!("{version:020}.json"))
    }
}

/// Whether the table's `_last_checkpoint` names a version, and which. A hint: wrong or absent is no error.
pub(crate) fn last_checkpoint(log: &Log) -> Option<u64> {
    let bytes = read(&log.dir.join("_last_checkpoint")).ok().flatten()?;
    serde_json::from_slice::<serde_json::Value>(&bytes).ok()?["version"].as_u64()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn only_old_hidden_files_are_swept() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Log::new(folder.path(), Disk { fsync: false });
        log.publish(0, b"{}").expect("written");
        for (name, age) in [(".1.json.a.tmp", 2), (".1.json.b.tmp", 0), ("1.json.tmp", 2), (".keep", 2)] {
            let file = File::create_new(log.dir().join(name)).expect("made");
            file.set_modified(SystemTime::now() - age * LEFT_BEHIND).expect("aged");
        }
        log.sweep().expect("swept");
        let mut names: Vec<_> =
            std::fs::read_dir(log.dir()).expect("a folder").map(|entry| entry.expect("a file").file_name()).collect();
        names.sort();
        assert_eq!(names, [".1.json.b.tmp", ".keep", "00000000000000000000.json", "1.json.tmp"]);
    }
}
