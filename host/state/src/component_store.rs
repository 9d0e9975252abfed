//! The component store: the code that plans name, by its SHA-256, so that a replayed batch runs what ran first even if the file
//! is gone. Components and their settings lie side by side, each under the digest of its bytes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use lakemill_failpoint::{Point, reach};
use sha2::{Digest, Sha256};

use crate::durable::{Lock, io_error, replace, sweep, sync_folder};
use crate::error::StateError;

/// What is kept beside that which somebody needs: the last ones, for a look back.
const NEWEST_KEPT: usize = 32;

/// Digits of a digest.
const DIGITS: usize = 64;

/// A folder of content under its digests. Processes of one pipeline share it. Each has a file with the digests of what it has
/// in use, and holds a lock on it: that content stays for as long as the process lives.
#[derive(Debug)]
pub struct ComponentStore {
    folder: PathBuf,
    loaded: Mutex<Loaded>,
}

/// What this process has loaded.
#[derive(Debug)]
struct Loaded {
    /// A line each; locked.
    list: Lock,
    path: PathBuf,
    digests: BTreeSet<String>,
}

impl ComponentStore {
    /// What content is called.
    pub fn name_of(content: &[u8]) -> String {
        sha256(content)
    }

    /// The store in a state folder, which is made if need be.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        let folder = folder.join("components");
        fs::create_dir_all(&folder).map_err(io_error("create", &folder))?;
        sweep(&folder);
        let loaded = Mutex::new(Loaded::claim(&folder)?);
        Ok(Self { folder, loaded })
    }

    /// Keeps content, durably; returns its SHA-256 as 64 lower-case hex digits. It is there until this process ends or collects
    /// without it, whoever else collects.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&self, content: &[u8]) -> Result<String, StateError> {
        let digest = sha256(content);
        self.keep_as(&digest, content)?;
        Ok(digest)
    }

    /// Keeps content whose digest is known already, as [`Self::keep`] does.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep_as(&self, digest: &str, content: &[u8]) -> Result<(), StateError> {
        debug_assert_eq!(sha256(content), digest);
        let path = self.folder.join(digest);
        // Nobody collects between the look at the content and the note of it.
        let _collecting = Lock::shared(&self.collecting())?;
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        // What is there already moves to the end of the queue of what is removed.
        let kept = File::options().append(true).open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        if kept.is_err() || self.get(digest)?.is_none() {
            replace(&path, content, || reach(Point::ComponentWritten))?;
            reach(Point::ComponentDurable);
        } else if !loaded.digests.contains(digest) {
            // Whoever put it there may have died before it did this.
            sync_folder(&self.folder)?;
        }
        loaded.note(digest)
    }

    /// The content of a digest; `None` if it is not there, or not whole.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn get(&self, digest: &str) -> Result<Option<Vec<u8>>, StateError> {
        if !is_digest(digest) {
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

    /// Removes what is neither needed, nor loaded by another process that runs, nor among the last ones. `needed` is also what this process
    /// has in use from now on, of all that it has loaded.
    ///
    /// # Errors
    /// If the folder cannot be read; a file that cannot be removed is left for the next time.
    pub fn collect(&self, needed: &BTreeSet<String>) -> Result<(), StateError> {
        // Somebody loads, or collects as well: there is a next time.
        let Some(_collecting) = Lock::try_alone(&self.collecting())? else { return Ok(()) };
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).keep_only(needed)?;
        let (mut files, mut loaded) = (Vec::new(), BTreeSet::new());
        for entry in fs::read_dir(&self.folder).map_err(io_error("read", &self.folder))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_digest(&name) {
                let Ok(modified) = entry.metadata().and_then(|meta| meta.modified()) else { continue };
                files.push((modified, name));
            } else if name.ends_with(".lock") && entry.path() != self.collecting() {
                loaded.extend(loaded_by_the_living(&entry.path())?);
            }
        }
        files.sort();
        let old = files.len().saturating_sub(NEWEST_KEPT);
        for (_, name) in &files[..old] {
            if !needed.contains(name) && !loaded.contains(name) {
                drop(fs::remove_file(self.folder.join(name)));
            }
        }
        Ok(())
    }

    /// Locked alone by whoever removes, and by any number of those who load.
    fn collecting(&self) -> PathBuf {
        self.folder.join("collect.lock")
    }
}

impl Loaded {
    /// The first list that no running process holds.
    fn claim(folder: &Path) -> Result<Self, StateError> {
        let mut slot = 0;
        loop {
            let path = folder.join(format!("{slot}.lock"));
            if let Some(list) = Lock::try_alone(&path)? {
                list.set_len(0).map_err(io_error("empty", &path))?;
                return Ok(Self { list, path, digests: BTreeSet::new() });
            }
            slot += 1;
        }
    }

    fn keep_only(&mut self, needed: &BTreeSet<String>) -> Result<(), StateError> {
        self.digests.retain(|digest| needed.contains(digest));
        let text: String = self.digests.iter().map(|digest| format!("{digest}\n")).collect();
        let written = self.list.set_len(0).and_then(|()| self.list.write_all_at(text.as_bytes(), 0));
        written.map_err(io_error("write", &self.path))
    }

    fn note(&mut self, digest: &str) -> Result<(), StateError> {
        if !self.digests.contains(digest) {
            // At its place, so that a part of one that failed is written over.
            let at = self.digests.len() * (DIGITS + 1);
            self.list
                .write_all_at(format!("{digest}\n").as_bytes(), at as u64)
                .map_err(io_error("write", &self.path))?;
            self.digests.insert(digest.to_owned());
        }
        Ok(())
    }
}

/// What the process that holds a list has loaded; nothing if it is dead. Not synced and not checked: a power cut ends the processes, too.
fn loaded_by_the_living(list: &Path) -> Result<Vec<String>, StateError> {
    if Lock::try_alone(list)?.is_some() {
        return Ok(Vec::new());
    }
    let text = fs::read(list).map_err(io_error("read", list))?;
    Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
}

fn is_digest(name: &str) -> bool {
    name.len() == DIGITS && name.bytes().all(|b| b.is_ascii_hexdigit())
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

    /// Content that is older than the epoch plus its number of seconds.
    fn age(folder: &Path, digest: &str, seconds: usize) {
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds as u64);
        let file = File::options().append(true).open(folder.join("components").join(digest));
        file.and_then(|file| file.set_modified(at)).expect("sets the time");
    }

    fn keep_many(folder: &Path, count: usize) -> Vec<String> {
        let store = ComponentStore::open(folder).expect("opens");
        let keep = |n: usize| {
            let digest = store.keep(&n.to_le_bytes()).expect("keeps");
            age(folder, &digest, n);
            digest
        };
        (0..count).map(keep).collect()
    }

    #[test]
    fn what_is_needed_outlives_what_is_old() {
        let folder = tempfile::tempdir().expect("a folder");
        let digests = keep_many(folder.path(), NEWEST_KEPT + 5);
        let store = ComponentStore::open(folder.path()).expect("opens");
        store.collect(&[digests[1].clone()].into()).expect("collects");
        let there: Vec<bool> = digests.iter().map(|d| store.get(d).expect("reads").is_some()).collect();
        let expected: Vec<bool> = (0..digests.len()).map(|n| n == 1 || n >= 5).collect();
        assert_eq!(there, expected);
    }

    #[test]
    fn what_another_process_runs_stays_while_it_lives() {
        let folder = tempfile::tempdir().expect("a folder");
        let idle = ComponentStore::open(folder.path()).expect("opens");
        let mut of_idle: Vec<String> = [b"code", b"more"].map(|code| idle.keep(code).expect("keeps")).into();
        keep_many(folder.path(), NEWEST_KEPT + 5);
        // What was there before is its own as well.
        of_idle.push(idle.keep(&0_usize.to_le_bytes()).expect("keeps"));
        of_idle.iter().for_each(|digest| age(folder.path(), digest, 0));
        let store = ComponentStore::open(folder.path()).expect("opens");
        let there = || of_idle.iter().filter(|digest| store.get(digest).expect("reads").is_some()).count();
        store.collect(&BTreeSet::new()).expect("collects");
        assert_eq!(there(), 3, "it lives");
        drop(idle);
        store.collect(&BTreeSet::new()).expect("collects");
        assert_eq!(there(), 0, "it is dead");
    }

    #[test]
    fn nothing_is_removed_while_somebody_loads() {
        let folder = tempfile::tempdir().expect("a folder");
        let old = keep_many(folder.path(), NEWEST_KEPT + 1).remove(0);
        let store = ComponentStore::open(folder.path()).expect("opens");
        let loading = Lock::shared(&store.collecting()).expect("locks");
        store.collect(&BTreeSet::new()).expect("leaves it");
        assert!(store.get(&old).expect("reads").is_some());
        drop(loading);
        store.collect(&BTreeSet::new()).expect("collects");
        assert_eq!(store.get(&old).expect("reads"), None);
    }
}
