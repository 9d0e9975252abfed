//! From a file to machine code. The one place where an encoder and a compiler see a guest's bytes; `child` runs it in a
//! process that may be killed.

use std::borrow::Cow;

use lakemill_model::TransformError;
use wasmtime::component::Component;

use crate::artifact::{Kind, Prepared};
use crate::componentize::componentize;
use crate::engine::Engine;

/// The machine code of a file. Everything that an encoder or a compiler does with a guest's bytes is done in here, and
/// nothing goes in or out but bytes and names.
///
/// # Errors
/// If it does not fit the contract, is not valid, or uses what is switched off.
pub(crate) fn compile(engine: &wasmtime::Engine, file: &Prepared<'_>) -> Result<Vec<u8>, TransformError> {
    let component = match file.kind {
        Kind::Component => Cow::Borrowed(file.bytes),
        Kind::Module => Cow::Owned(componentize(file.bytes, &file.interfaces)?),
    };
    engine
        .precompile_component(&component)
        .map_err(|wrong| TransformError::Refused(format!("the component does not compile: {wrong:#}")))
}

/// The component of machine code that this process has made, or that the cache vouches for.
///
/// # Errors
/// If it is of another version of wasmtime, or made with other settings.
pub(crate) fn link(engine: &Engine, code: &[u8]) -> Result<Component, TransformError> {
    #[expect(unsafe_code, reason = "machine code cannot be checked, only trusted: see the callers")]
    // SAFETY: `code` is what `compile` gave, now or (by the cache's keyed checksum) earlier.
    let component = unsafe { Component::deserialize(engine.wasmtime(), code) };
    component.map_err(|wrong| TransformError::Refused(format!("the machine code cannot be used: {wrong:#}")))
}
