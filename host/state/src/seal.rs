//! What tells whether a secret is still the same, without telling the secret.
//!
//! A plain digest of a short password is as good as the password: whoever has it tries all short passwords. So it is keyed with random
//! bytes that only the pipeline's user may read, and made slow: whoever has read those as well tries some hundreds of passwords a second and core.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::durable::{beside, io_error, sync_folder};
use crate::error::StateError;

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// Rounds of SHA-256: 2 ms.
const ROUNDS: u32 = 20_000;

/// The key of a state folder.
#[derive(Clone)]
pub struct Seal([u8; KEY_BYTES]);

impl Seal {
    /// The key of a state folder, which is made if there is none. Under another key every secret is another one.
    ///
    /// # Errors
    /// If it cannot be read or made.
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        let path = folder.join("secrets.key");
        loop {
            match fs::read(&path) {
                Ok(bytes) => match <[u8; KEY_BYTES]>::try_from(bytes.as_slice()) {
                    Ok(key) => return Ok(Self(key)),
                    // Nothing is lost with it but the knowledge that secrets are the same.
                    Err(_) => fs::remove_file(&path).map_err(io_error("remove", &path))?,
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => make(folder, &path)?,
                Err(error) => return Err(io_error("read", &path)(error)),
            }
        }
    }

    /// 64 hex digits that are the same for the same content.
    pub fn of(&self, content: &[u8]) -> String {
        let first = Sha256::new().chain_update(self.0).chain_update(content).finalize();
        let round = |digest, _| Sha256::new().chain_update(self.0).chain_update(digest).finalize();
        let last = (0..ROUNDS).fold(first, round);
        last.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A new key, whole under its name or not there. Of two processes that make one, one wins.
fn make(folder: &Path, path: &Path) -> Result<(), StateError> {
    let random = Path::new("/dev/urandom");
    let mut key = [0; KEY_BYTES];
    fs::File::open(random).and_then(|mut file| file.read_exact(&mut key)).map_err(io_error("read", random))?;
    let (temporary, mut file) = beside(path)?;
    let private = file.set_permissions(fs::Permissions::from_mode(0o600));
    let written = private.and_then(|()| file.write_all(&key)).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&temporary, path));
    drop(fs::remove_file(&temporary));
    match linked {
        Ok(()) => sync_folder(folder),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(io_error("create", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_the_same_in_a_folder_and_nowhere_else() {
        let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let seal =
            |folder: usize, content: &str| Seal::open(folders[folder].path()).expect("opens").of(content.as_bytes());
        let sealed = seal(0, "hunter2");
        assert_eq!(sealed.len(), 64);
        assert_eq!(seal(0, "hunter2"), sealed);
        assert_ne!(seal(0, "hunter3"), sealed);
        assert_ne!(seal(1, "hunter2"), sealed);
        let key = folders[0].path().join("secrets.key");
        assert_eq!(fs::metadata(&key).expect("is there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folders[0].path()).expect("lists").count(), 1);
        // A torn key is another one.
        fs::write(&key, "short").expect("writes");
        assert_ne!(seal(0, "hunter2"), sealed);
    }

    #[test]
    fn of_many_that_make_a_key_all_have_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let seals: Vec<_> = std::thread::scope(|scope| {
            let open = || scope.spawn(|| Seal::open(folder.path()).map(|seal| seal.0));
            let threads: Vec<_> = (0..8).map(|_| open()).collect();
            threads.into_iter().map(|thread| thread.join().expect("ends")).collect()
        });
        let keys: std::collections::BTreeSet<_> = seals.into_iter().map(|key| key.expect("opens")).collect();
        assert_eq!(keys.len(), 1);
    }
}
