//! Which code is in use: what a restart needs to know while other code is on trial, or was taken back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable::{io_error, replace};
use crate::error::StateError;
use crate::plan::Code;

/// What it costs to delete the file.
const REMEDY: &str = "restore it; deleting it costs the knowledge which components are in use and which were taken back: those that \
                      the pipeline file names take over without a trial, even if they were taken back before";

/// Refused code that is remembered.
const REFUSED_MAX: usize = 16;

/// The code that makes the tables, and code that is not to be tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveCode {
    /// What new batches go through; `None`: nothing has run yet.
    pub active: Option<Code>,
    /// What was taken back, the last one last.
    #[serde(default)]
    pub refused: Vec<Code>,
}

impl ActiveCode {
    /// What the state folder says; nothing if it says nothing.
    ///
    /// # Errors
    /// If the file cannot be read, or is damaged.
    pub fn read(folder: &Path) -> Result<Self, StateError> {
        let path = path(folder);
        match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| StateError::corrupt(path, &bytes, &error, REMEDY))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    /// Writes it down in place of what was there, durably.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), StateError> {
        let text = serde_json::to_vec(self).expect("codes are plain data");
        replace(&path(folder), &text, || ())
    }

    /// This code is not to be tried again.
    pub fn refuse(&mut self, code: Code) {
        self.refused.retain(|known| *known != code);
        self.refused.push(code);
        let old = self.refused.len().saturating_sub(REFUSED_MAX);
        self.refused.drain(..old);
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("active.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(name: &str) -> Code {
        Code { digests: vec![name.into()], settings: vec![name.into()] }
    }

    #[test]
    fn what_is_written_is_read_and_what_is_refused_is_kept_a_while() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(ActiveCode::read(folder.path()).expect("reads"), ActiveCode::default());
        let mut active = ActiveCode { active: Some(code("a")), refused: vec![] };
        for n in 0..REFUSED_MAX + 2 {
            active.refuse(code(&n.to_string()));
        }
        active.refuse(code("5"));
        active.write(folder.path()).expect("writes");
        let read = ActiveCode::read(folder.path()).expect("reads");
        assert_eq!(read, active);
        assert_eq!((read.refused.len(), read.refused.last()), (REFUSED_MAX, Some(&code("5"))));
        fs::write(path(folder.path()), "{\"active\":").expect("writes");
        let error = ActiveCode::read(folder.path()).expect_err("is damaged").to_string();
        let told = ["active.json is damaged at byte 10: ", "which components are in use", "without a trial"];
        assert!(told.iter().all(|words| error.contains(words)), "{error}");
        assert!(!error.contains("can be deleted"), "{error}");
    }

    /// The file stops every start if it is not whole.
    #[test]
    fn many_writers_and_what_a_crash_left_stop_no_start() {
        let folder = tempfile::tempdir().expect("a folder");
        for left in ["active.json.1.tmp".to_owned(), format!("active.json.{}.0.tmp", std::process::id())] {
            fs::write(folder.path().join(left), "{\"active\":").expect("writes");
        }
        std::thread::scope(|scope| {
            for name in ["a", "a much longer one"] {
                let folder = folder.path();
                scope.spawn(move || {
                    let active = ActiveCode { active: Some(code(name)), refused: vec![] };
                    for _ in 0..100 {
                        active.write(folder).expect("writes");
                        assert!(ActiveCode::read(folder).expect("is whole").active.is_some());
                    }
                });
            }
        });
    }
}
