//! The file book: which partition each file of a source is, and how it is known again. Written down before anything of a file is
//! read, and before the plan of a batch that has lines of it, so that a position in a table always has a file behind it.
//!
//! One line a file as of then; the last one of a partition counts. A torn last line is cut off: nothing was planned on it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use lakemill_model::{FileMemory, KnownFile, SourceError, TopicPartition};
use serde::{Deserialize, Serialize};

use crate::durable::{Lock, io_error, replace};
use crate::error::StateError;
use crate::record::{Line, frame, split_first};

/// The file in the state folder.
const FILE: &str = "files.log";

/// The version of its records; a reader refuses a newer one.
const FORMAT: u32 = 1;

/// It is written anew when it has become so many times as long as what still matters, and at least so many bytes.
const GROWTH_MAX: u64 = 4;
const LENGTH_MIN: u64 = 1 << 20;

/// What it costs to delete the file.
const REMEDY: &str = "restore it; without it nobody knows which file a position in the tables is of, so that everything would have to be \
                      read again: under another `pipeline` name, into other tables";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record<'a> {
    Format { version: u32, pipeline: String },
    File(std::borrow::Cow<'a, KnownFile>),
}

/// The files of a pipeline. One process has it at a time.
#[derive(Debug)]
pub struct FileBook {
    path: PathBuf,
    pipeline: String,
    file: File,
    length: u64,
    /// Its length when it was written anew.
    compact: u64,
    /// Why nothing more may be written.
    broken: Option<String>,
    files: BTreeMap<TopicPartition, KnownFile>,
    _lock: Lock,
}

impl FileBook {
    /// Opens the book in a state folder.
    ///
    /// # Errors
    /// [`StateError::Taken`] if another process has it; if it cannot be written, or is damaged, newer, or another pipeline's.
    pub fn open(folder: &Path, pipeline: &str) -> Result<Self, StateError> {
        fs::create_dir_all(folder).map_err(io_error("create", folder))?;
        let path = folder.join(FILE);
        let lock = Lock::try_alone(&folder.join("files.lock"))?;
        let lock = lock.ok_or_else(|| StateError::Taken { path: path.clone() })?;
        let files = match fs::read(&path) {
            Ok(bytes) => read(&path, pipeline, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        let (file, length) = rewrite(&path, pipeline, &files)?;
        Ok(Self { path, pipeline: pipeline.into(), file, length, compact: length, broken: None, files, _lock: lock })
    }

    fn write(&mut self, files: &[KnownFile]) -> Result<(), StateError> {
        if let Some(reason) = &self.broken {
            return Err(StateError::Broken { path: self.path.clone(), reason: reason.clone() });
        }
        if self.length > LENGTH_MIN.max(self.compact.saturating_mul(GROWTH_MAX)) {
            let anew = rewrite(&self.path, &self.pipeline, &self.files);
            (self.file, self.length) = anew.inspect_err(|error| self.broken = Some(error.to_string()))?;
            self.compact = self.length;
        }
        let text: String = files.iter().map(line).collect();
        if let Err(error) = self.file.write_all(text.as_bytes()) {
            let error = io_error("write", &self.path)(error);
            // A part of it may be there.
            if self.file.set_len(self.length).and_then(|()| self.file.sync_data()).is_err() {
                self.broken = Some(error.to_string());
            }
            return Err(error);
        }
        self.length += text.len() as u64;
        // After a sync that failed, one that succeeds proves nothing.
        let synced = self.file.sync_data().map_err(io_error("sync", &self.path));
        synced.inspect_err(|error| self.broken = Some(error.to_string()))?;
        self.files.extend(files.iter().map(|file| (file.tp(), file.clone())));
        Ok(())
    }
}

impl FileMemory for FileBook {
    fn known(&self) -> Vec<KnownFile> {
        self.files.values().cloned().collect()
    }

    fn keep(&mut self, files: &[KnownFile]) -> Result<(), SourceError> {
        self.write(files).map_err(|error| SourceError::Memory(error.to_string()))
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

fn line(file: &KnownFile) -> String {
    frame(&to_json(&Record::File(std::borrow::Cow::Borrowed(file))))
}

fn to_json(record: &Record<'_>) -> String {
    serde_json::to_string(record).expect("records are plain data with string keys")
}

fn read(path: &Path, pipeline: &str, bytes: &[u8]) -> Result<BTreeMap<TopicPartition, KnownFile>, StateError> {
    let corrupt =
        |at, reason: &str| StateError::Corrupt { path: path.into(), at, reason: reason.into(), remedy: REMEDY };
    let (mut files, mut rest, mut first) = (BTreeMap::new(), bytes, true);
    while let Some((line, after)) = split_first(rest) {
        let at = bytes.len() - rest.len();
        let json = match line {
            Line::Whole(json) => json,
            Line::Torn => {
                tracing::info!(path = %path.display(), at, "cut a torn record off the list of files");
                break;
            }
            Line::Corrupt => return Err(corrupt(at, "the checksum does not match")),
        };
        match serde_json::from_str(json).map_err(|error| corrupt(at, &error.to_string()))? {
            Record::Format { version, .. } if version > FORMAT => {
                return Err(StateError::Newer { path: path.into(), found: version, known: FORMAT });
            }
            Record::Format { pipeline: found, .. } if found != pipeline => {
                return Err(StateError::OtherPipeline { path: path.into(), found });
            }
            Record::Format { .. } => {}
            Record::File(_) if first => return Err(corrupt(at, "the first record is not the format")),
            Record::File(file) => drop(files.insert(file.tp(), file.into_owned())),
        }
        first = false;
        rest = after;
    }
    Ok(files)
}

/// Writes a book with what is known in place of the old one, durably, and opens it for appending; also its length.
fn rewrite(
    path: &Path,
    pipeline: &str,
    files: &BTreeMap<TopicPartition, KnownFile>,
) -> Result<(File, u64), StateError> {
    let mut text = frame(&to_json(&Record::Format { version: FORMAT, pipeline: pipeline.into() }));
    text.extend(files.values().map(line));
    replace(path, text.as_bytes(), || ())?;
    let file = OpenOptions::new().append(true).open(path).map_err(io_error("open", path))?;
    Ok((file, text.len() as u64))
}

#[cfg(test)]
mod tests {
    use lakemill_model::{FileLook, FileMark};

    use super::*;

    fn file(partition: i32, path: &str, lines: i64) -> KnownFile {
        KnownFile {
            topic: "t".into(),
            partition,
            path: path.into(),
            device: 7,
            inode: u64::MAX,
            head: vec![1, 2],
            marks: vec![FileMark { line: lines, byte: 5_000_000_000, tail: 9 }],
            records: lines,
            ended: Some(FileLook { size: 10, modified_ns: -1 }),
            open_end: None,
            displaced: false,
            given_up: false,
        }
    }

    #[test]
    fn what_was_kept_last_is_known_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut book = FileBook::open(folder.path(), "p").expect("opens");
        assert_eq!(book.known(), []);
        book.keep(&[file(0, "/a", 1), file(1, "/b", 2)]).expect("writes");
        book.keep(&[file(0, "/c", 3)]).expect("writes");
        let taken = FileBook::open(folder.path(), "p").expect_err("it is ours").to_string();
        assert!(taken.contains("files.log") && taken.contains("stop that one"), "{taken}");
        drop(book);
        let book = FileBook::open(folder.path(), "p").expect("opens");
        assert_eq!(book.known(), [file(0, "/c", 3), file(1, "/b", 2)]);
        drop(book);
        assert!(matches!(FileBook::open(folder.path(), "q"), Err(StateError::OtherPipeline { .. })));
    }

    #[test]
    fn it_stays_short_however_long_it_is_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut book = FileBook::open(folder.path(), "p").expect("opens");
        let name = "x".repeat(10_000);
        for n in 0..500 {
            book.keep(&[file(n % 3, &name, i64::from(n))]).expect("writes");
        }
        assert!(book.length < 2 * LENGTH_MIN, "{}", book.length);
        drop(book);
        let lines = |file: &KnownFile| file.records;
        let book = FileBook::open(folder.path(), "p").expect("opens");
        assert_eq!(book.known().iter().map(lines).collect::<Vec<_>>(), [498, 499, 497]);
    }

    #[test]
    fn every_cut_and_every_flip_is_taken_off_or_refused_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut book = FileBook::open(folder.path(), "p").expect("opens");
        book.keep(&[file(0, "/a", 1), file(1, "/b", 2)]).expect("writes");
        drop(book);
        let path = folder.path().join(FILE);
        let whole = fs::read(&path).expect("reads");
        let known = |bytes: &[u8]| read(&path, "p", bytes).map(|files| files.len());
        for at in 0..whole.len() {
            assert!(known(&whole[..at]).is_ok_and(|count| count < 2), "cut at {at}");
            let mut flipped = whole.clone();
            flipped[at] ^= 0x40;
            match known(&flipped) {
                // The last line's end is gone, or a letter of a checksum has another case.
                Ok(count) => assert!(count == 2 || at == whole.len() - 1, "flipped at {at}: {count}"),
                Err(error) => assert!(error.to_string().contains(FILE), "{error}"),
            }
        }
    }
}
