//! The Delta log as files: reads the entries that came since a look, and writes the next one. Never decides anything.

use std::path::{Path, PathBuf};

use super::actions::{Seen, read_entry};
use super::LookError;
use crate::disk::{Disk, DiskError, Published, read};

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
            let seen = read_entry(&bytes)
                .map_err(|error| LookError::Storage { path: path.display().to_string(), reason: format!("not a log entry: {error}") })?;
            if seen.table_changed {
                return Ok(Since::LookAgain);
            }
            entries.push(seen);
        }
        Ok(Since::Entries(entries))
    }

    /// Whether the entry of `version` is there. If not, versions after it may have been cleaned up as well, and an
    /// entry written after it would be one in the past, which nobody reads.
    pub(crate) fn stands_on(&self, version: u64) -> bool {
        self.path(version).exists()
    }

    /// Writes the entry of `version`, if nobody has.
    pub(crate) fn publish(&self, version: u64, bytes: &[u8]) -> Result<Published, DiskError> {
        if version == 0 {
            self.disk.make_dir(&self.dir)?;
        }
        self.disk.publish(&self.dir, &format!("{version:020}.json"), bytes)
    }

    /// Puts a finished and checked file in place.
    pub(crate) fn adopt(&self, hidden: &Path, name: &str) -> Result<(), DiskError> {
        self.disk.adopt(hidden, &self.dir.join(name))
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
