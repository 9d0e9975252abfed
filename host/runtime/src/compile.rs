//! From a component to machine code. The one place where a compiler sees a guest's bytes, so that it can move into a
//! process that may be killed.

use lakemill_model::TransformError;
use wasmtime::component::Component;

use crate::engine::Engine;

/// The machine code of a component that [`crate::scan`] has let through.
///
/// # Errors
/// If it is not valid, or uses what is switched off.
pub(crate) fn compile(engine: &Engine, component: &[u8]) -> Result<Vec<u8>, TransformError> {
    engine
        .wasmtime()
        .precompile_component(component)
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
