//! Each limit has a guest that hits it, and the error names it, its value, and what to do.

use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use lakemill_model::{Answer, Transform, TransformError};
use lakemill_runtime::{Engine, EngineOptions, Limits, LoadOptions};

use crate::batches::{CLOCK, small};
use crate::guests::{engine, hostile, limit, load, load_limited, options, probe, trap};
use crate::raw::{Raw, component};

const MIB: usize = 1 << 20;

fn act(config: &str, limits: Limits) -> Result<Answer, TransformError> {
    load_limited(&probe(), config, limits).expect("loads").transform(&small(4), CLOCK)
}

#[test]
fn component_bytes() {
    let limits = Limits { component_bytes_max: 100 << 10, ..Limits::default() };
    let result = load_limited(&probe(), "{}", limits.clone()).map(|_| ());
    limit(result, "100 KiB for a component's file", "build it for release");
    let file = tempfile::NamedTempFile::new().expect("a file");
    file.as_file().set_len(1 << 40).expect("is sparse");
    let result = engine().load_file(file.path(), LoadOptions { limits, ..options("{}") }).map(|_| ());
    limit(result, "100 KiB for a component's file", "it has 1024 GiB");
}

#[test]
fn memory_that_a_guest_can_do_without() {
    let config = r#"{"do": "grow_and_go_on", "columns": {"pages": "int64"}}"#;
    let limits = Limits { memory_bytes_max: 8 * MIB, ..Limits::default() };
    let answer = act(config, limits).expect("it went on");
    let pages = answer.emissions[0].columns[0].array.as_primitive::<arrow_array::types::Int64Type>().value(0);
    assert!((112..=128).contains(&pages), "{pages} pages of 64 KiB");
}

#[test]
fn memory_that_it_cannot_do_without() {
    let config = |bytes: usize| format!(r#"{{"do": "touch", "bytes": {bytes}}}"#);
    let limits = Limits { memory_bytes_max: 8 * MIB, ..Limits::default() };
    assert!(act(&config(6 * MIB), limits.clone()).is_ok());
    limit(act(&config(8 * MIB), limits.clone()), "8 MiB of memory (`limits.memory`)", "or raise the limit");
    let raised = Limits { memory_bytes_max: 200 * MIB, ..Limits::default() };
    assert!(act(&config(180 * MIB), raised).is_ok());
    // Not even its own data fits.
    let limits = Limits { memory_bytes_max: MIB, ..limits };
    limit(load_limited(&probe(), "{}", limits).map(|_| ()), "1 MiB of memory", "it asked for 1.");
}

#[test]
fn memory_for_what_the_host_copies_in() {
    let limits = Limits { memory_bytes_max: 4 * MIB, ..Limits::default() };
    let config = r#"{"do": "echo", "columns": {"id": "int64"}, "image": "after"}"#;
    let component = load_limited(&probe(), config, limits).expect("loads");
    assert!(component.transform(&small(100_000), CLOCK).is_ok());
    let result = component.transform(&small(1_000_000), CLOCK);
    limit(result, "4 MiB of memory", "let it read fewer columns");
}

#[test]
fn memory_beyond_what_the_host_allows() {
    let limits = Limits { memory_bytes_max: 300 * MIB, ..Limits::default() };
    let error = load_limited(&probe(), "{}", limits).map(|_| ()).expect_err("is too much").to_string();
    assert!(error.contains("`limits.memory` is 300 MiB, this host allows at most 256 MiB"), "{error}");
}

#[test]
fn memory_of_the_process() {
    let small_host = EngineOptions { process_memory_bytes_max: 16 * MIB, calls_max: 2, ..EngineOptions::default() };
    let engine = Engine::new(small_host).expect("an engine");
    let touch = format!(r#"{{"do": "touch", "bytes": {}}}"#, 20 * MIB);
    let component = engine.load(&probe(), options(&touch)).expect("loads");
    let result = component.transform(&small(1), CLOCK);
    limit(result, "16 MiB of memory for all components of this process together", "run fewer pipelines");
    assert_eq!(engine.memory_bytes(), 0, "all is given back");
    let component = engine.load(&probe(), options("{}")).expect("loads");
    assert!(component.transform(&small(1), CLOCK).is_ok());
}

#[test]
fn time_is_up_soon_after() {
    let limits = Limits { batch_ms_max: 250, ..Limits::default() };
    let component = load_limited(&hostile(), r#"{"mode": "loop"}"#, limits).expect("loads");
    let start = Instant::now();
    let result = component.transform(&small(4), CLOCK);
    let took = start.elapsed();
    limit(result, "250 ms for one call", "wasm backtrace:\n    0:");
    assert!(took >= Duration::from_millis(250), "{took:?}");
    // Two ticks, and what a busy machine adds.
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn time_of_bulk_operations() {
    let limits = Limits { batch_ms_max: 250, ..Limits::default() };
    limit(act(r#"{"do": "bulk_loop"}"#, limits), "250 ms for one call", "");
}

#[test]
fn time_of_a_start_function() {
    let limits = Limits { batch_ms_max: 250, ..Limits::default() };
    let bytes = Raw { start_loops: true, ..Raw::default() }.module();
    limit(load_limited(&bytes, "{}", limits).map(|_| ()), "250 ms for one call", "");
}

#[test]
fn output_bytes() {
    let config = |bytes: usize| format!(r#"{{"do": "huge_output", "columns": {{"t": "text"}}, "bytes": {bytes}}}"#);
    let limits = Limits { output_bytes_max: MIB, ..Limits::default() };
    let result = act(&config(2 * MIB), limits.clone());
    limit(result, "1 MiB of output in one call", "let the host copy columns (`copied`, `copied-all`)");
    match act(&config(MIB / 2), limits.clone()) {
        Err(TransformError::Answer(_)) => {}
        other => panic!("half of it is read and found wrong: {other:?}"),
    }
    limit(
        act(r#"{"do": "huge_error"}"#, Limits { output_bytes_max: MIB / 2, ..limits.clone() }),
        "512 KiB of output",
        "",
    );
    match act(r#"{"do": "huge_error"}"#, Limits { output_bytes_max: 2 * MIB, ..limits }) {
        Err(TransformError::Guest(words)) => assert_eq!(words.len(), 4_096),
        other => panic!("{other:?}"),
    }
}

#[test]
fn handles() {
    let raw = component(&Raw { floods_handles: true, ..Raw::default() }.module());
    let component = load(&raw, "{}").expect("loads");
    limit(component.transform(&small(1), CLOCK), "1000 resource handles", "drop the handles that it no longer needs");
}

#[test]
fn table_elements() {
    let raw = Raw { table_grows: true, ..Raw::default() }.module();
    let component = load(&raw, "{}").expect("loads");
    limit(component.transform(&small(1), CLOCK), "20000 elements in a table", "it wanted");
    let raw = Raw { table_elements: 20_001, ..Raw::default() }.module();
    limit(load(&raw, "{}").map(|_| ()), "20000 elements in a table", "it wanted 20001");
}

#[test]
fn first_memory() {
    let raw = Raw { memory_pages: 1_025, ..Raw::default() }.module();
    limit(load(&raw, "{}").map(|_| ()), "64 MiB of memory", "it asked for 64.1 MiB;");
}

#[test]
fn a_borrow_that_is_kept_traps() {
    let raw = Raw { keeps_borrow: true, ..Raw::default() }.module();
    let component = load(&raw, "{}").expect("loads");
    trap(component.transform(&small(1), CLOCK), "borrow");
    let component = load(&Raw::default().module(), "{}").expect("loads");
    assert!(component.transform(&small(1), CLOCK).is_ok());
}
