//! A place in the pool that one guest has filled shows nothing of it to the next one, also if the first one died in it.

use std::sync::Barrier;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use lakemill_model::{Answer, Transform, TransformError};
use lakemill_runtime::{Engine, EngineOptions, Limits, LoadOptions, TransformComponent};

use crate::batches::{CLOCK, small};
use crate::figures::rounds;
use crate::guests::{options, probe};
use crate::raw::Raw;

/// Places, each with a guest in it at the same time.
const PLACES: u32 = 4;
/// More than stays with a place when its guest is gone, so that both ways of cleaning are seen.
const MEMORY: usize = 40 << 20;

fn pool() -> Result<Engine, String> {
    Engine::new(EngineOptions { calls_max: PLACES, ..EngineOptions::default() }).map_err(|error| error.to_string())
}

/// Every place is filled at once, and then looked through at once.
fn in_turns(
    fill: &TransformComponent,
    look: &TransformComponent,
    clean: impl Fn(Result<Answer, TransformError>) -> Result<(), String> + Sync,
) -> Result<(), String> {
    for round in 0..10 * rounds() {
        let together = Barrier::new(PLACES as usize);
        let turn = || {
            together.wait();
            drop(fill.transform(&small(1), CLOCK));
            together.wait();
            clean(look.transform(&small(1), CLOCK))
        };
        std::thread::scope(|scope| {
            let turns: Vec<_> = (0..PLACES).map(|_| scope.spawn(turn)).collect();
            turns.into_iter().try_for_each(|turn| turn.join().map_err(|_| "a panic".to_owned())?)
        })
        .map_err(|wrong| format!("round {round}: {wrong}"))?;
    }
    Ok(())
}

pub fn memories() -> Result<(), String> {
    let engine = pool()?;
    let limits = Limits { memory_bytes_max: MEMORY, batch_ms_max: 10_000, ..Limits::default() };
    let load = |config: &str| {
        engine
            .load(&probe(), LoadOptions { limits: limits.clone(), ..options(config) })
            .map_err(|error| error.to_string())
    };
    let bytes = MEMORY - (4 << 20);
    let fillers = ["touch", "dirty"].map(|what| format!(r#"{{"do": "{what}", "bytes": {bytes}}}"#));
    let pages = bytes >> 16;
    let look = load(&format!(r#"{{"do": "find_ones", "columns": {{"found": "int64"}}, "pages": {pages}}}"#))?;
    let clean = |answer: Result<Answer, TransformError>| {
        let answer = answer.map_err(|error| error.to_string())?;
        match answer.emissions[0].columns[0].array.as_primitive::<Int64Type>().value(0) {
            0 => Ok(()),
            found => Err(format!("{found} words of the guest before")),
        }
    };
    // One lives through it, the other one dies with its memory full.
    fillers.iter().try_for_each(|config| in_turns(&load(config)?, &look, clean))
}

pub fn tables() -> Result<(), String> {
    let engine = pool()?;
    let load = |raw: Raw| engine.load(&raw.module(), options("{}")).map_err(|error| error.to_string());
    let fill = load(Raw { fills_table: true, ..Raw::default() })?;
    let look = load(Raw { reads_table: true, ..Raw::default() })?;
    in_turns(&fill, &look, |answer| answer.map(|_| ()).map_err(|error| format!("an element is not null: {error}")))
}
