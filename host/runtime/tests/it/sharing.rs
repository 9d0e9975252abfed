//! Many threads, many instances: each call sees nothing but its own, and more calls than places wait.

use arrow_array::cast::AsArray;
use lakemill_model::{Transform, TransformError};
use lakemill_runtime::{Engine, EngineOptions, Limits, LoadOptions};

use crate::batches::{CLOCK, small};
use crate::guests::{hostile, load, load_limited, options, probe};

const COUNT: &str = r#"{"do": "count_calls", "columns": {"calls": "int64"}}"#;

#[test]
fn every_call_has_an_instance_that_has_seen_nothing() {
    let component = load(&probe(), COUNT).expect("loads");
    for _ in 0..20 {
        let answer = component.transform(&small(1), CLOCK).expect("answers");
        let calls = answer.emissions[0].columns[0].array.as_primitive::<arrow_array::types::Int64Type>().value(0);
        assert_eq!(calls, 1);
    }
}

#[test]
fn eight_threads_at_once_and_half_of_them_hostile() {
    let good = load(&probe(), COUNT).expect("loads");
    let limits = Limits { batch_ms_max: 100, ..Limits::default() };
    let bad: Vec<_> = ["trap", "loop", "eat", "not_utf8"]
        .iter()
        .map(|mode| load_limited(&hostile(), &format!(r#"{{"mode": "{mode}"}}"#), limits.clone()).expect("loads"))
        .collect();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (good, bad) = (&good, &bad);
            scope.spawn(move || {
                for round in 0..20 {
                    if thread % 2 == 0 {
                        let rows = 1 + thread * 100 + round;
                        let answer = good.transform(&small(rows), CLOCK).expect("answers");
                        assert_eq!(answer.emissions[0].rows.len(), rows);
                    } else {
                        let error = bad[thread / 2].transform(&small(10), CLOCK).expect_err("is hostile");
                        assert!(!matches!(error, TransformError::Refused(_) | TransformError::Guest(_)), "{error}");
                    }
                }
            });
        }
    });
}

#[test]
fn more_calls_than_places_wait_for_one() {
    let engine = Engine::new(EngineOptions { calls_max: 2, ..EngineOptions::default() }).expect("an engine");
    let component = engine.load(&probe(), options(COUNT)).expect("loads");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..50).for_each(|_| assert!(component.transform(&small(100), CLOCK).is_ok())));
        }
    });
    assert_eq!(engine.memory_bytes(), 0);
}

#[test]
fn a_slot_shows_nothing_of_its_last_owner() {
    // One place, so that every call gets the same slot; a guest that fills it, one that looks.
    let engine = Engine::new(EngineOptions { calls_max: 1, ..EngineOptions::default() }).expect("an engine");
    let limits = Limits { memory_bytes_max: 32 << 20, ..Limits::default() };
    let load =
        |config: &str| engine.load(&probe(), LoadOptions { limits: limits.clone(), ..options(config) }).expect("loads");
    let fill = load(r#"{"do": "touch", "bytes": 20000000}"#);
    let look = load(r#"{"do": "find_ones", "columns": {"found": "int64"}}"#);
    for _ in 0..50 {
        assert!(fill.transform(&small(1), CLOCK).is_ok());
        let answer = look.transform(&small(1), CLOCK).expect("answers");
        let found = answer.emissions[0].columns[0].array.as_primitive::<arrow_array::types::Int64Type>().value(0);
        assert_eq!(found, 0, "bytes of the call before");
    }
}
