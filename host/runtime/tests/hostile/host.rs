//! The host that all guests of this program share, and the honest neighbour that shows that it is well.

use std::sync::OnceLock;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use lakemill_model::Transform;
use lakemill_runtime::{Engine, EngineOptions, TransformComponent};

use crate::batches::{CLOCK, small};
use crate::guests::{options, probe};

/// The engine of a host with tenants: everything is compiled in a process of its own.
pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let compiler = std::env::current_exe().expect("is this program");
        Engine::new(EngineOptions { calls_max: 8, compiler: Some(compiler), ..EngineOptions::default() })
            .expect("starts")
    })
}

/// The honest neighbour gets its answer, and no guest holds memory.
///
/// # Errors
/// If not.
pub fn is_well() -> Result<(), String> {
    static HONEST: OnceLock<TransformComponent> = OnceLock::new();
    let honest = HONEST.get_or_init(|| {
        let config = r#"{"do": "count_calls", "columns": {"calls": "int64"}}"#;
        engine().load(&probe(), options(config)).expect("is honest")
    });
    let answer = honest.transform(&small(100), CLOCK).map_err(|error| format!("the honest neighbour: {error}"))?;
    let calls = answer.emissions[0].columns[0].array.as_primitive::<Int64Type>();
    if calls.len() != 100 || calls.values().iter().any(|calls| *calls != 1) {
        return Err(format!("the honest neighbour answers {calls:?}"));
    }
    match engine().memory_bytes() {
        0 => Ok(()),
        held => Err(format!("{held} bytes are still held for guests")),
    }
}
