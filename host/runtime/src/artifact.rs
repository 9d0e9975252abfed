//! What a file is, by its first bytes. Whatever is no WebAssembly is refused with words that say what it is and
//! what to do.

use std::fmt;

use lakemill_model::TransformError;
use sha2::{Digest, Sha256};

use crate::scan::{Interfaces, scan};
use crate::text::excerpt;

/// What can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A component as it is.
    Component,
    /// A core module, as `cargo build` makes it; it becomes a component here.
    Module,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Component => "component",
            Kind::Module => "core module",
        })
    }
}

/// The SHA-256 of a file as 64 lower-case hex digits, as `sha256sum` shows it.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a file is.
///
/// # Errors
/// If it is nothing that can be run.
pub(crate) fn kind(bytes: &[u8]) -> Result<Kind, TransformError> {
    match bytes {
        [b'\0', b'a', b's', b'm', 0x01, 0, 0, 0, ..] => Ok(Kind::Module),
        [b'\0', b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(Kind::Component),
        _ => Err(TransformError::Refused(format!("not a WebAssembly component: {}", what_else(bytes)))),
    }
}

/// A file before it is compiled: known for what it is, and in bounds.
pub(crate) struct Prepared<'a> {
    pub(crate) kind: Kind,
    pub(crate) digest: String,
    pub(crate) interfaces: Interfaces,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Prepared<'a> {
    /// # Errors
    /// If it is nothing that can be run, or out of bounds.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, TransformError> {
        let kind = kind(bytes)?;
        Ok(Self { kind, digest: digest(bytes), interfaces: scan(bytes)?, bytes })
    }
}

fn what_else(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(&bytes[..bytes.len().min(4096)]);
    let begins = |with: &[&str]| {
        let text = text.unwrap_or_default().trim_start();
        with.iter().any(|word| text.strip_prefix(word).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric)))
    };
    match (bytes, text) {
        ([], _) => "the file is empty".into(),
        ([b'\0', b'a', b's', b'm', version @ ..], _) if version.len() < 4 => {
            "it ends in the middle of its header".into()
        }
        ([b'\0', b'a', b's', b'm', ..], _) => format!("WebAssembly of an unknown version ({})", hex(&bytes[4..8])),
        ([0x7f, b'E', b'L', b'F', ..], _) => match wasmtime::Engine::detect_precompiled(bytes) {
            Some(_) => "machine code precompiled by wasmtime (.cwasm), which cannot be checked: give the component \
                        itself, its machine code is kept in the cache"
                .into(),
            None => "a native program or library (ELF): build it for `wasm32-unknown-unknown`".into(),
        },
        ([0x1f, 0x8b, ..] | [b'P', b'K', ..] | [0x28, 0xb5, 0x2f, 0xfd, ..], _) => "compressed: unpack it first".into(),
        _ if begins(&["(component", "(module"]) => {
            "WebAssembly as text (.wat): make it binary with `wasm-tools parse FILE -o FILE.wasm`".into()
        }
        _ if begins(&["package", "interface", "world"]) => {
            "an interface (.wit): give the component that implements it".into()
        }
        (_, Ok(text)) => format!(
            "text that begins with {}: build it first (`lakemill build`)",
            excerpt(text.lines().next().unwrap_or_default())
        ),
        _ => format!("it begins with the bytes {}", hex(&bytes[..bytes.len().min(8)])),
    }
}

#[cfg(test)]
mod tests;
