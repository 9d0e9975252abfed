//! The component store: the code that plans name, by its SHA-256, so that a replayed batch runs what ran first even if the file
//! is gone. Components and their settings lie side by side, each under the digest of its bytes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lakemill_failpoint::{Point, reach};
use sha2::{Digest, Sha256};

use crate::durable::{io_error, replace, sweep, sync_folder};
use crate::journal::JournalError;

/// What is kept beside that which somebody needs: the last ones, for a look back.
const NEWEST_KEPT: usize = 32;

/// A folder of content under its digests. Processes of one pipeline share it.
#[derive(Debug)]
pub struct ComponentStore {
    folder: PathBuf,
}

impl ComponentStore {
    /// The store in a state folder, which is made if need be.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let folder = folder.join("components");
        fs::create_dir_all(&folder).map_err(io_error("create", &folder))?;
        sweep(&folder);
        Ok(Self { folder })
    }

    /// Keeps content, durably; returns its SHA-256 as 64 lower-case hex digits.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&self, content: &[u8]) -> Result<String, JournalError> {
        let digest = sha256(content);
        self.keep_as(&digest, content)?;
        Ok(digest)
    }

    /// Keeps content whose digest is known already, as [`Self::keep`] does.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep_as(&self, digest: &str, content: &[u8]) -> Result<(), JournalError> {
        debug_assert_eq!(sha256(content), digest);
        let path = self.folder.join(digest);
        // What is there already moves to the end of the queue of what is removed.
        let kept = File::options().append(true).open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        if kept.is_ok() && self.get(digest)?.is_some() {
            // Whoever put it there may have died before it did this.
            return sync_folder(&self.folder);
        }
        replace(&path, content, || reach(Point::ComponentWritten))?;
        reach(Point::ComponentDurable);
        Ok(())
    }

    /// The content of a digest; `None` if it is not there, or not whole.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn get(&self, digest: &str) -> Result<Option<Vec<u8>>, JournalError> {
        let is_digest = digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_digest {
            return Ok(None);
        }
        let path = self.folder.join(digest);
        match fs::read(&path) {
            Ok(content) if sha256(&content) == digest => Ok(Some(content)),
            Ok(_) => {
                tracing::warn!(path = %path.display(), "content of the component store is damaged: it is not used");
                Ok(None)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    /// Removes what is neither needed nor among the last ones.
    ///
    /// # Errors
    /// If the folder cannot be read; a file that cannot be removed is left for the next time.
    pub fn collect(&self, needed: &BTreeSet<String>) -> Result<(), JournalError> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(io_error("read", &self.folder))?.flatten() {
            // Another process may remove as well.
            let Ok(modified) = entry.metadata().and_then(|meta| meta.modified()) else { continue };
            files.push((modified, entry.path()));
        }
        files.sort();
        let old = files.len().saturating_sub(NEWEST_KEPT);
        for (_, path) in &files[..old] {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if !needed.contains(&name) {
                drop(fs::remove_file(path));
            }
        }
        Ok(())
    }
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_what_is_damaged_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = ComponentStore::open(folder.path()).expect("opens");
        let digest = store.keep(b"code").expect("keeps");
        assert_eq!(digest, "5694d08a2e53ffcae0c3103e5ad6f6076abd960eb1f8a56577040bc1028f702b");
        assert_eq!(store.get(&digest).expect("reads"), Some(b"code".to_vec()));
        assert_eq!(store.get(&"0".repeat(64)).expect("reads"), None);
        assert_eq!(store.get("../0.journal").expect("reads"), None);

        let path = folder.path().join("components").join(&digest);
        fs::write(&path, b"cod").expect("writes");
        assert_eq!(store.get(&digest).expect("reads"), None, "it was cut");
        store.keep(b"code").expect("keeps");
        assert_eq!(store.get(&digest).expect("reads"), Some(b"code".to_vec()), "it was mended");
    }

    #[test]
    fn what_is_needed_outlives_what_is_old() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = ComponentStore::open(folder.path()).expect("opens");
        let digests: Vec<String> = (0..NEWEST_KEPT + 5)
            .map(|n| {
                let digest = store.keep(&n.to_le_bytes()).expect("keeps");
                let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(n as u64);
                let file = File::options().append(true).open(folder.path().join("components").join(&digest));
                file.and_then(|file| file.set_modified(at)).expect("sets the time");
                digest
            })
            .collect();
        store.collect(&[digests[1].clone()].into()).expect("collects");
        let there: Vec<bool> = digests.iter().map(|d| store.get(d).expect("reads").is_some()).collect();
        let expected: Vec<bool> = (0..digests.len()).map(|n| n == 1 || n >= 5).collect();
        assert_eq!(there, expected);
    }
}
