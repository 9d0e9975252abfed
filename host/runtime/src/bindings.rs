//! The contract (`wit/`) as Rust types: what crosses the component boundary. Generated; never seen outside this crate.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "transform",
    imports: { default: trappable },
    with: { "lakemill:transform/batches.batch": crate::batch::BatchView },
});

pub(crate) use lakemill::transform::{config, log, panic, types};

/// The package of all interfaces.
pub(crate) const PACKAGE: &str = "lakemill:transform";

/// The interface of the input, by its whole name.
pub(crate) const BATCHES: &str = "lakemill:transform/batches@0.1.0";
