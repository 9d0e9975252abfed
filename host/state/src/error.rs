//! What is wrong with a file of the state folder, and who must act.

use std::io;
use std::path::PathBuf;

use lakemill_model::Disposition;

/// A file of the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file system refuses.
    #[error("{action} {path}: {source}")]
    Io {
        /// A verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A file is damaged.
    #[error("{path} is damaged at byte {at}: {reason}; {remedy}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where.
        at: usize,
        /// How it shows.
        reason: String,
        /// What to do about it, and what it costs to delete the file.
        remedy: &'static str,
    },
    /// A newer Lakemill wrote it.
    #[error(
        "{path} has format {found}, this version reads up to {known}: run the newer lakemill, or set another state path"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that is read.
        known: u32,
    },
    /// It belongs to another pipeline.
    #[error("{path} belongs to pipeline `{found}`: give this pipeline a `state.path` of its own")]
    OtherPipeline {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
    },
    /// An earlier write failed, and what the file holds since is not known.
    #[error("{path} takes nothing more until it is opened again: {reason}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// What failed.
        reason: String,
    },
    /// All slots are taken.
    #[error("{path} is in use by {processes} processes: stop some, or set another `state.path`")]
    Busy {
        /// The folder.
        path: PathBuf,
        /// By how many: there are no more places.
        processes: usize,
    },
    /// Another process has it, and one has it at a time.
    #[error(
        "{path} is in use by another process, and the files of a pipeline are read by one at a time: stop that one; with another \
         `state.path` all files would be read again"
    )]
    Taken {
        /// The list of files.
        path: PathBuf,
    },
}

impl StateError {
    /// A file of JSON that does not read.
    pub(crate) fn corrupt(path: PathBuf, bytes: &[u8], error: &serde_json::Error, remedy: &'static str) -> Self {
        let before: usize =
            bytes.split_inclusive(|byte| *byte == b'\n').take(error.line().max(1) - 1).map(<[u8]>::len).sum();
        StateError::Corrupt { path, at: before + error.column(), reason: error.to_string(), remedy }
    }

    /// What the pipeline does about it: a disk that is full now may have room later.
    pub fn disposition(&self) -> Disposition {
        match self {
            StateError::Io { .. } | StateError::Broken { .. } => Disposition::Retry,
            StateError::Corrupt { .. }
            | StateError::Newer { .. }
            | StateError::OtherPipeline { .. }
            | StateError::Busy { .. }
            | StateError::Taken { .. } => Disposition::Halt,
        }
    }
}
