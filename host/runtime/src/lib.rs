//! Components: compile, cache, limit, instantiate, call, validate (the only door to wasmtime).
//!
//! ```text
//! file ─ artifact ─ scan ─ componentize ─ compile ─ cache     once, at load: what is it, is it in bounds, machine
//! code
//!                                      │
//!                          describe ─ component               what it says it is, checked
//!                                      │
//! ChangeBatch ─ batch ─ column ─ row ─ call ─ answer ─ cells ─ Answer       per batch: a fresh instance,
//!                                      │                                    its answer checked before a row is used
//!                            engine, meter, ticker, limits
//! ```
//! A guest can do nothing but compute on what `batch` hands it: there are no files, no sockets, no clock but the
//! batch's. Whatever it does wrong ends its call with an error that says what, and touches no other call.

mod answer;
mod artifact;
mod backtrace;
mod batch;
mod bindings;
mod cache;
mod call;
mod cells;
mod child;
mod column;
mod compile;
mod component;
mod componentize;
mod confine;
mod convert;
mod describe;
mod engine;
mod grants;
mod inspect;
mod limits;
mod list;
mod log;
mod meter;
mod panic;
mod reads;
mod scan;
mod text;
mod ticker;

pub use artifact::Kind;
pub use child::{COMPILE_VERB, compile_child};
pub use component::{LoadOptions, LoadReport, TransformComponent, read_component};
pub use engine::{Engine, EngineError, EngineOptions};
pub use grants::Grant;
pub use inspect::{Inspection, inspect};
pub use limits::Limits;
pub use log::{BatchLog, LogLevel};

/// What is done with a file before a compiler sees it: for the fuzz target `scan`.
///
/// # Errors
/// If it is nothing that could be run, is out of bounds, imports what there is not, or asks for more memory than usual.
#[doc(hidden)]
pub fn prescan(bytes: &[u8]) -> Result<(), lakemill_model::TransformError> {
    component::admitted(bytes, &Grant::ALL, &Limits::default()).map(drop)
}
