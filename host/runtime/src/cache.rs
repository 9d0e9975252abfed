//! Machine code kept on disk, so that a component is compiled once per version of the host.
//!
//! Machine code is trusted without a look into it, so that the only question is who wrote it. Every file carries an
//! HMAC-SHA256 under a key that lies beside it, readable by the user who runs the host and by nobody else: what
//! another user put there, what was cut off or changed, is not used. Whoever can read the key or write as that user
//! can run code as that user anyhow. A cache that others may write to is not used at all.

use std::fs::{self, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::artifact::hex;
use crate::componentize::CONTRACT;

/// The first bytes of every file: what it is, and the version of its layout.
const MAGIC: &[u8; 8] = b"lakemc\x00\x01";
const MAC_BYTES: usize = 32;
const KEY_BYTES: usize = 32;
/// Files that are kept: every edit of a transform makes one.
const FILES_MAX: usize = 64;

/// A folder of machine code.
#[derive(Debug)]
pub(crate) struct CodeCache {
    dir: PathBuf,
    key: [u8; KEY_BYTES],
}

impl CodeCache {
    /// Opens the folder, and makes it if it is not there.
    ///
    /// # Errors
    /// If it cannot be used, or others may write to it.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        ours_alone(dir, 0o022, "written by others")?;
        let path = dir.join("key");
        if !path.try_exists()? {
            make_key(dir, &path)?;
        }
        ours_alone(&path, 0o077, "used by others")?;
        let key = fs::read(&path)?;
        let key = key.try_into().map_err(|_| refused(&path, "is not a key: remove it"))?;
        Ok(Self { dir: dir.to_owned(), key })
    }

    /// The code kept under `name`; `None` if there is none that is whole and ours.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub(crate) fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let mut file = match fs::read(self.path(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let header = MAGIC.len() + MAC_BYTES;
        let good = file.len() > header
            && file.starts_with(MAGIC)
            && same(&file[MAGIC.len()..header], &self.mac(name, &file[header..]));
        if !good {
            let file = self.path(name);
            tracing::warn!(file = %file.display(), "cached machine code is damaged or not ours: compiling anew");
            return Ok(None);
        }
        file.drain(..header);
        Ok(Some(file))
    }

    /// Keeps code under `name`: whole or not at all.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub(crate) fn put(&self, name: &str, code: &[u8]) -> io::Result<()> {
        write_new(&self.dir, |file| {
            file.write_all(MAGIC)?;
            file.write_all(&self.mac(name, code))?;
            file.write_all(code)
        })
        .and_then(|temporary| fs::rename(temporary, self.path(name)))?;
        self.prune()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.code"))
    }

    /// The name is in it, so that one file cannot be given out as another.
    fn mac(&self, name: &str, code: &[u8]) -> [u8; MAC_BYTES] {
        hmac_sha256(&self.key, &[name.as_bytes(), b"\0", code])
    }

    /// Removes the oldest files beyond [`FILES_MAX`].
    fn prune(&self) -> io::Result<()> {
        let mut files: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ext| ext == "code") {
                // Another process may prune as well.
                if let Ok(modified) = fs::metadata(&path).and_then(|meta| meta.modified()) {
                    files.push((modified, path));
                }
            }
        }
        files.sort();
        for (_, path) in &files[..files.len().saturating_sub(FILES_MAX)] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The name of a component's machine code: its digest, and all that the code depends on beside it (the contract,
/// version and settings of wasmtime, features of the processor).
pub(crate) fn name(digest: &str, engine: &wasmtime::Engine) -> String {
    let mut hasher = ShaHasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    (CONTRACT, env!("CARGO_PKG_VERSION")).hash(&mut hasher);
    format!("{digest}-{}", &hex(&hasher.0.finalize())[..16])
}

/// std's hashers may change from one release to the next; this one does not.
struct ShaHasher(Sha256);

impl Hasher for ShaHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let sum = self.0.clone().finalize();
        u64::from_le_bytes(sum[..8].try_into().expect("SHA-256 has 32 bytes"))
    }
}

fn refused(path: &Path, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("{} {why}", path.display()))
}

fn ours_alone(path: &Path, others: u32, what: &str) -> io::Result<()> {
    let found = fs::metadata(path)?;
    if found.uid() != fs::metadata("/proc/self")?.uid() {
        return Err(refused(path, "belongs to another user"));
    }
    if found.mode() & others != 0 {
        return Err(refused(path, &format!("may be {what} (mode {:o})", found.mode() & 0o777)));
    }
    Ok(())
}

fn make_key(dir: &Path, path: &Path) -> io::Result<()> {
    let mut key = [0; KEY_BYTES];
    fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
    let temporary = write_new(dir, |file| file.write_all(&key))?;
    // Unlike a rename this does not replace the key of a process that was quicker.
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// A file of a name that nobody else uses, for us alone.
fn write_new(dir: &Path, write: impl FnOnce(&mut fs::File) -> io::Result<()>) -> io::Result<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let path = dir.join(format!("{}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    write(&mut file)?;
    Ok(path)
}

/// Equal, in a time that does not tell where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

/// RFC 2104 over SHA-256, for keys of at most one block.
fn hmac_sha256(key: &[u8; KEY_BYTES], parts: &[&[u8]]) -> [u8; MAC_BYTES] {
    const BLOCK: usize = 64;
    let padded = |with: u8| {
        let mut block = [with; BLOCK];
        block.iter_mut().zip(key).for_each(|(to, key)| *to ^= key);
        Sha256::new_with_prefix(block)
    };
    let mut inner = padded(0x36);
    parts.iter().for_each(|part| inner.update(part));
    let mut outer = padded(0x5c);
    outer.update(inner.finalize());
    outer.finalize().into()
}

#[cfg(test)]
mod tests;
