//! Files that are whole or not there, whatever ends the process: written beside, synced, renamed, and the folder synced.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::journal::JournalError;

/// Puts `bytes` in place of `path`, durably. `written` is called when they are on the disk under `temporary`, a name in the same
/// folder that nobody reads.
pub(crate) fn replace(path: &Path, temporary: &Path, bytes: &[u8], written: impl FnOnce()) -> Result<(), JournalError> {
    let write = || {
        let mut file = File::create(temporary)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(io_error("write", temporary))?;
    written();
    fs::rename(temporary, path).map_err(io_error("rename", temporary))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error("sync", folder))
}

/// The error of a step on a path.
pub(crate) fn io_error<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> JournalError + 'a {
    move |source| JournalError::Io { action, path: path.into(), source }
}
