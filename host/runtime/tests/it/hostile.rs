//! Every misbehaviour of the hostile guest: contained, named, and the next call is fine.

use lakemill_model::{Answer, Transform, TransformError};
use lakemill_runtime::Limits;

use crate::batches::{CLOCK, small};
use crate::guests::{hostile, limit, load, load_limited, probe, trap};
use crate::raw::{Raw, Realloc};

const ROWS: usize = 10;

fn run(mode: &str) -> Result<Answer, TransformError> {
    let component = load(&hostile(), &format!(r#"{{"mode": "{mode}"}}"#)).expect("loads");
    let result = component.transform(&small(ROWS), CLOCK);
    // Whatever happened: the next call of another transform, and of this one where it behaves, is fine.
    let behaved = load(&hostile(), &format!(r#"{{"mode": "{mode}", "at": 1000}}"#)).expect("loads");
    let answer = behaved.transform(&small(ROWS), CLOCK).expect("behaves");
    assert_eq!(answer.emissions[0].rows.len(), ROWS);
    result
}

fn act(what: &str) -> Result<Answer, TransformError> {
    let config = format!(r#"{{"do": "{what}", "columns": {{"n": "int64"}}}}"#);
    load(&probe(), &config).expect("loads").transform(&small(ROWS), CLOCK)
}

#[track_caller]
fn wrong(mode: &str, says: &str) {
    match run(mode) {
        Err(TransformError::Answer(message)) => assert!(message.contains(says), "{message}"),
        other => panic!("{mode}: {other:?}"),
    }
}

#[test]
fn it_behaves_if_told_so() {
    let answer = run("behave").expect("behaves");
    assert_eq!(answer.emissions[0].columns.len(), 2);
}

#[test]
fn traps_name_the_code_and_the_place() {
    trap(run("trap"), "wasm `unreachable` instruction executed");
    trap(run("panic"), "wasm `unreachable` instruction executed");
    match run("last_words") {
        Err(TransformError::Panic { words, backtrace }) => {
            let beginning = "too dear\\n\\u{1b}[2J";
            assert_eq!(words, format!("{beginning}{}", "é".repeat((1_024 - beginning.len()) / 2)));
            assert!(backtrace.is_some_and(|lines| lines.contains("transform")));
        }
        other => panic!("{other:?}"),
    }
    assert!(run("words_taken_back").is_ok());
    limit(run("words_before_another_end"), "of call stack", "");
    let raw = Raw { traps: true, ..Raw::default() }.module();
    let result = load(&raw, "{}").expect("loads").transform(&small(ROWS), CLOCK);
    trap(result, "raw::transform_orders");
}

#[test]
fn a_loop_without_end() {
    let limits = Limits { batch_ms_max: 250, ..Limits::default() };
    let component = load_limited(&hostile(), r#"{"mode": "loop"}"#, limits.clone()).expect("loads");
    let result = component.transform(&small(ROWS), CLOCK);
    limit(result, "250 ms for one call (`limits.batch_ms_max`)", "look for a loop that does not end");
    let result = load_limited(&hostile(), r#"{"mode": "describe_loop"}"#, limits).map(|_| ());
    limit(result, "250 ms for one call", "wasm backtrace");
}

#[test]
fn a_recursion_without_end() {
    limit(run("stack"), "512 KiB of call stack", "look for a recursion that does not end");
}

#[test]
fn memory_without_end() {
    limit(run("eat"), "64 MiB of memory (`limits.memory`)", "it asked for 6");
}

#[test]
fn its_own_error() {
    match run("error") {
        Err(TransformError::Guest(words)) => assert_eq!(words, "I do not like these rows"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn wrong_answers() {
    wrong("no_such_output", "emission 0: there is no output 7, the description declares 1");
    wrong("no_such_row", "emission 0, output `out`: `rows[0]` is 10, the batch has rows 0 to 9");
    wrong("short_column", "column `number`: it has 9 values for 10 rows");
    wrong("missing_column", "it has 1 columns, the description declares 2 that are made");
    wrong("wrong_type", "column `number`: the description says int64, the values are int32");
    wrong("null", "column `number`: row 0 is null, but the description says `nullable: false`");
    wrong("short_validity", "column `text`: `validity` has 0 bytes, 10 rows need 2");
    wrong("not_utf8", "column `text`: row 0 is not UTF-8");
    wrong("split_character", "column `text`: row 0 is not UTF-8");
    wrong("falling_offsets", "column `text`: its first offset is 10, it must be 0");
    wrong("far_offsets", "column `text`: its first offset is 4294967295");
    wrong("unknown_op", "`ops[0]` is 9, ops are 0 to 4");
    wrong("short_ops", "`ops` has 0 entries for 10 rows");
    wrong("both", "row 0 is both rejected and emitted (emission 0)");
    wrong("reject_nothing", "rejection 0: row 4294967295 is not one of the batch's rows 0 to 9");
    match act("reject_twice") {
        Err(TransformError::Answer(message)) => assert!(message.contains("row 0 is rejected twice"), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn rejections_are_cut() {
    let answer = run("reject").expect("is an answer");
    assert_eq!(answer.rejections.len(), ROWS);
    assert!(answer.rejections.iter().all(|rejection| rejection.reason.len() == 1_024));
}

#[test]
fn undeclared_columns() {
    // The batch has no such column: none, and that is an answer. With it: see columns.rs.
    assert!(run("undeclared").is_ok());
}

#[test]
fn misused_handles_trap() {
    trap(act("bogus_handle"), "unknown handle index 99");
    trap(act("drop_the_borrow"), "handle");
    trap(act("bogus_image"), "discriminant");
    assert!(act("nothing").is_ok());
}

#[test]
fn a_lying_allocator() {
    let run = |realloc| {
        let limits = Limits { batch_ms_max: 250, ..Limits::default() };
        let raw = Raw { realloc, ..Raw::default() }.module();
        load_limited(&raw, "{}", limits).expect("loads").transform(&small(ROWS), CLOCK)
    };
    trap(run(Realloc::Lies), "realloc return: beyond end of memory");
    trap(run(Realloc::CallsBack), "cannot leave component instance");
    limit(run(Realloc::Loops), "250 ms for one call", "");
}

#[test]
fn a_flood_of_calls_to_the_host() {
    let limits = Limits { batch_ms_max: 250, ..Limits::default() };
    let component = load_limited(&probe(), r#"{"do": "flood_of_calls"}"#, limits).expect("loads");
    limit(component.transform(&small(100_000), CLOCK), "250 ms for one call", "");
}

#[test]
fn wrong_descriptions() {
    let refused = |mode: &str, says: &str| match load(&hostile(), &format!(r#"{{"mode": "{mode}"}}"#)).map(|_| ()) {
        Err(TransformError::Refused(message)) => assert!(message.contains(says), "{message}"),
        other => panic!("{mode}: {other:?}"),
    };
    refused("describe_error", "the component refuses its configuration: the config has no taste");
    refused("no_outputs", "the component's description is wrong: `outputs` has 0 entries");
    refused("twin_outputs", "two outputs are called `out`");
    refused("output_name", "the name of output 0 must be 1 to 64 characters of [a-z0-9_], it is \"../../etc\"");
    refused("many_outputs", "`outputs` has 65 entries");
    refused("twin_columns", "output `out`: two columns are called `number`");
    refused("decimal", "column `money`: decimal(99,100)");
    refused("copy_of_nothing", "the envelope has no column `nothing`");
    refused("long_name", "`name` must be 1 to 64 characters");
    trap(load(&hostile(), r#"{"mode": "describe_trap"}"#).map(|_| Answer::default()), "unreachable");
}
