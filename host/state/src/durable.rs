//! Files that are whole or not there, whatever ends the process: written beside, synced, renamed, and the folder synced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::error::StateError;

/// What was written beside a file and has not got its name for so long will not get it: whoever wrote it is dead.
const LEFT_AFTER: Duration = Duration::from_secs(3_600);

/// Puts `bytes` in place of `path`, durably. `written` is called when they are on the disk under a name in the same folder that
/// nobody reads.
pub(crate) fn replace(path: &Path, bytes: &[u8], written: impl FnOnce()) -> Result<(), StateError> {
    let (temporary, mut file) = beside(path)?;
    let write = file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_error("write", &temporary));
    let named = write.and_then(|()| {
        written();
        fs::rename(&temporary, path).map_err(io_error("rename", &temporary))
    });
    if named.is_err() {
        // On a full disk, each try would leave one.
        drop(fs::remove_file(&temporary));
    }
    named?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// A new file beside `path`. No two writers have the same one: neither threads, nor processes that have one number in two containers.
pub(crate) fn beside(path: &Path) -> Result<(PathBuf, File), StateError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.{}.tmp", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        let temporary = path.with_file_name(name);
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return opened.map_err(io_error("create", &temporary)).map(|file| (temporary.clone(), file)),
        }
    }
}

/// Removes what dead processes left beside the files of a folder. Nobody reads it: what cannot be removed stays.
pub(crate) fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let modified = entry.metadata().and_then(|meta| meta.modified());
        let age = modified.map(|modified| SystemTime::now().duration_since(modified).unwrap_or_default());
        if is_temporary(&entry.file_name().to_string_lossy()) && age.is_ok_and(|age| age > LEFT_AFTER) {
            drop(fs::remove_file(entry.path()));
        }
    }
}

/// Whether [`beside`] gives such names.
fn is_temporary(name: &str) -> bool {
    let mut words = name.rsplit('.');
    let is_number = |word: Option<&str>| word.is_some_and(|word| word.parse::<u64>().is_ok());
    words.next() == Some("tmp") && is_number(words.next()) && is_number(words.next()) && words.next().is_some()
}

/// A file that is locked for as long as this lives. It is unlocked by a call and not by being closed: a process that is being started has all
/// open files of this one, and their locks, until it runs its program.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// Nobody else has it; `None` if somebody does.
    pub fn try_alone(path: &Path) -> Result<Option<Self>, StateError> {
        let file = Self::file(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(io_error("lock", path)(error)),
        }
    }

    /// Nobody has it alone; `None` if somebody does.
    pub fn try_shared(path: &Path) -> Result<Option<Self>, StateError> {
        let file = Self::file(path)?;
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Self(file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(io_error("lock", path)(error)),
        }
    }

    /// Waits until nobody else has it.
    pub fn alone(path: &Path) -> Result<Self, StateError> {
        let file = Self::file(path)?;
        file.lock().map_err(io_error("lock", path)).map(|()| Self(file))
    }

    /// Waits until nobody has it alone.
    pub fn shared(path: &Path) -> Result<Self, StateError> {
        let file = Self::file(path)?;
        file.lock_shared().map_err(io_error("lock", path)).map(|()| Self(file))
    }

    fn file(path: &Path) -> Result<File, StateError> {
        OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(io_error("open", path))
    }
}

impl Deref for Lock {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // What fails here ends when the file is closed.
        drop(self.0.unlock());
    }
}

/// Names in the folder survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), StateError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error("sync", folder))
}

/// The error of a step on a path.
pub(crate) fn io_error<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> StateError + 'a {
    move |source| StateError::Io { action, path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("lists").flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn writers_at_the_same_time_do_not_meet() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.json");
        std::thread::scope(|scope| {
            for letter in b'a'..b'e' {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..100 {
                        replace(path, &[letter; 5_000], || ()).expect("writes");
                        let there = fs::read(path).expect("reads");
                        assert!(there.len() == 5_000 && there.iter().all(|byte| *byte == there[0]), "a mixture");
                    }
                });
            }
        });
        assert_eq!(names(folder.path()), ["a.json"]);
    }

    #[test]
    fn what_is_left_of_the_dead_is_in_nobodys_way_and_goes_when_it_is_old() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, mine) = (folder.path().join("a.json"), std::process::id());
        let left: Vec<_> = (0..2_000).map(|n| folder.path().join(format!("a.json.{mine}.{n}.tmp"))).collect();
        left.iter().for_each(|left| fs::write(left, "half").expect("writes"));
        replace(&path, b"whole", || ()).expect("writes");
        sweep(folder.path());
        assert!(left.iter().all(|left| fs::read(left).is_ok_and(|left| left == b"half")), "one was of use to somebody");
        let others = ["a.tmp", "a.json.tmp", "a.1.tmp", "a.1.x.tmp", "1.2.tmp"];
        others.iter().for_each(|other| fs::write(folder.path().join(other), "").expect("writes"));
        for entry in fs::read_dir(folder.path()).expect("lists").flatten() {
            let file = File::options().append(true).open(entry.path()).expect("opens");
            file.set_modified(SystemTime::now() - LEFT_AFTER - Duration::from_secs(60)).expect("sets the time");
        }
        sweep(folder.path());
        assert_eq!(names(folder.path()), ["1.2.tmp", "a.1.tmp", "a.1.x.tmp", "a.json", "a.json.tmp", "a.tmp"]);
        assert_eq!(fs::read(&path).expect("reads"), b"whole");
    }

    #[test]
    fn a_write_that_fails_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("taken");
        fs::create_dir(&path).expect("creates");
        // A file cannot have the name of a folder.
        assert!(matches!(replace(&path, b"x", || ()), Err(StateError::Io { action: "rename", .. })));
        assert_eq!(names(folder.path()), ["taken"]);
    }
}
