//! Components as bytes: versions of one that differ in nothing but their digest, and files that are replaced whole.

use std::path::Path;

use anyhow::{Context, Result};

/// The module with a custom section that holds a number: another digest, the same behaviour.
pub fn version(module: &[u8], number: u32) -> Vec<u8> {
    let name = b"version";
    let mut section = vec![u8::try_from(name.len()).unwrap_or(0)];
    section.extend_from_slice(name);
    section.extend_from_slice(&number.to_le_bytes());
    let mut bytes = module.to_vec();
    // WebAssembly core specification, "Custom section": id 0, then the size.
    bytes.push(0);
    bytes.push(u8::try_from(section.len()).unwrap_or(0));
    bytes.extend(section);
    bytes
}

/// The `vary` component (tests/guests/vary) with another variant in its data.
///
/// # Errors
/// If it has no place for it.
pub fn variant(module: &[u8], number: u32) -> Result<Vec<u8>> {
    let marker = b"lakemill-test-variant:";
    let at = module.windows(marker.len()).position(|bytes| bytes == marker).context("no place for a variant")?;
    let mut bytes = module.to_vec();
    let digits = at + marker.len();
    bytes[digits..digits + 6].copy_from_slice(format!("{number:06}").as_bytes());
    Ok(bytes)
}

/// Puts a file in place of another one at once, as build tools do.
///
/// # Errors
/// If it cannot be written.
pub fn replace(file: &Path, bytes: &[u8]) -> Result<()> {
    let new = file.with_extension("new");
    std::fs::write(&new, bytes)?;
    std::fs::rename(&new, file).with_context(|| format!("replace {}", file.display()))
}
