//! Files that survive a power cut, and files that only one writer can create. Never writes into a file that has its name.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lakemill_failpoint::{Point, answer, reach};
use lakemill_model::SinkError;

/// A failed step, before anybody knows for which sink.
#[derive(Debug)]
pub(crate) struct DiskError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl DiskError {
    pub(crate) fn into_sink_error(self, sink: &str) -> SinkError {
        SinkError::Storage {
            sink: sink.to_owned(),
            action: self.action,
            path: self.path.display().to_string(),
            reason: self.source.to_string(),
        }
    }
}

/// Names the step and the path that an I/O error belongs to.
pub(crate) trait Doing<T> {
    fn doing(self, action: &'static str, path: &Path) -> Result<T, DiskError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, action: &'static str, path: &Path) -> Result<T, DiskError> {
        self.map_err(|source| DiskError { action, path: path.to_owned(), source })
    }
}

/// Whether a file was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// It is there, and it is ours.
    Created,
    /// Another writer was first; nothing changed.
    Exists,
}

/// Writes to disks, with or without waiting until the disk has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Disk {
    pub(crate) fsync: bool,
}

impl Disk {
    /// Makes `dir` and what is missing of its parents.
    pub(crate) fn make_dir(self, dir: &Path) -> Result<(), DiskError> {
        if dir.is_dir() {
            return Ok(());
        }
        if let Some(parent) = dir.parent() {
            self.make_dir(parent)?;
        }
        match fs::create_dir(dir) {
            // Another worker was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
            made => {
                made.doing("create", dir)?;
                dir.parent().map_or(Ok(()), |parent| self.sync_dir(parent))
            }
        }
    }

    /// Writes a file that does not exist yet. Its name is durable after [`Disk::sync_dir`] of its folder.
    pub(crate) fn write_new(self, path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
        let mut file = File::create_new(path).doing("create", path)?;
        let written = file
            .write_all(bytes)
            .doing("write", path)
            .and_then(|()| if self.fsync { file.sync_all().doing("sync", path) } else { Ok(()) });
        if written.is_err() {
            // On a full disk the half of a file takes the room that the next try needs.
            drop(fs::remove_file(path));
        }
        written
    }

    /// Makes the names in `dir` durable.
    pub(crate) fn sync_dir(self, dir: &Path) -> Result<(), DiskError> {
        if !self.fsync {
            return Ok(());
        }
        File::open(dir).and_then(|dir| dir.sync_all()).doing("sync", dir)
    }

    /// Creates `dir/name` with `bytes`, all or nothing, if nobody has: of several writers in several processes one wins. The
    /// content is there before the name is (`link(2)` gives an existing file a second name, and fails if that is taken).
    ///
    /// After an error the file may be there or not.
    pub(crate) fn publish(self, dir: &Path, name: &str, bytes: &[u8]) -> Result<Published, DiskError> {
        let path = dir.join(name);
        let hidden = dir.join(format!(".{name}.{}.tmp", uuid::Uuid::new_v4().simple()));
        self.write_new(&hidden, bytes)?;
        reach(Point::EntryWritten);
        let linked = fs::hard_link(&hidden, &path);
        reach(Point::EntryVisible);
        // Should this fail, or we die before it, then a file stays that no reader looks at.
        let removed = fs::remove_file(&hidden);
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(Published::Exists),
            linked => linked.doing("create", &path)?,
        }
        removed.doing("remove", &hidden)?;
        self.sync_dir(dir)?;
        answer(Point::EntryDurable).doing("publish", &path)?;
        Ok(Published::Created)
    }

    /// Gives a finished, synced file its name; what had that name is replaced.
    pub(crate) fn adopt(self, hidden: &Path, path: &Path) -> Result<(), DiskError> {
        fs::rename(hidden, path).doing("replace", path)?;
        path.parent().map_or(Ok(()), |dir| self.sync_dir(dir))
    }
}

/// What tells a file from another one that has its name by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ground {
    inode: u64,
    modified: SystemTime,
    bytes: u64,
}

impl Ground {
    /// The file at `path`; `None` if it is not there.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        Some(Self { inode: metadata.ino(), modified, bytes: metadata.len() })
    }
}

/// The content of a file; `None` if it is not there.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some).doing("read", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: Disk = Disk { fsync: true };

    #[test]
    fn of_many_writers_one_publishes() {
        let dir = tempfile::tempdir().expect("a folder");
        let won: Vec<Published> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8)
                .map(|n| {
                    let dir = dir.path();
                    scope.spawn(move || DISK.publish(dir, "1.json", format!("writer {n}").as_bytes()).expect("a disk"))
                })
                .collect();
            writers.into_iter().map(|writer| writer.join().expect("no panic")).collect()
        });
        assert_eq!(won.iter().filter(|won| **won == Published::Created).count(), 1);
        let names: Vec<_> =
            fs::read_dir(dir.path()).expect("a folder").map(|entry| entry.expect("a file").file_name()).collect();
        assert_eq!(names, ["1.json"], "no temporary file stays");
        let winner = won.iter().position(|won| *won == Published::Created).expect("one won");
        let text = read(&dir.path().join("1.json")).expect("readable").expect("there");
        assert_eq!(text, format!("writer {winner}").as_bytes());
    }

    #[test]
    fn folders_are_made_by_several_at_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let deep = dir.path().join("a/b/c");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| DISK.make_dir(&deep).expect("made"));
            }
        });
        assert!(deep.is_dir());
    }

    #[test]
    fn an_error_names_the_step_and_the_path() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("file");
        DISK.write_new(&file, b"x").expect("written");
        let error = DISK.make_dir(&file.join("below")).expect_err("a file is no folder");
        let SinkError::Storage { action, path, .. } = error.into_sink_error("orders") else {
            panic!("a storage error")
        };
        assert_eq!((action, path), ("create", file.display().to_string()));
        assert!(DISK.write_new(&file, b"y").is_err(), "a file that exists is not overwritten");
        assert_eq!(read(&file).expect("readable"), Some(b"x".to_vec()));
        assert_eq!(read(&dir.path().join("none")).expect("no error"), None);
    }
}
