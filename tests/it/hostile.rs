//! Components that misbehave (tests/guests/hostile): the pipeline stops at its last commit with an error that names
//! component and cause, and goes on from there when the component has been mended.

use anyhow::{Context, Result, ensure};
use lakemill_tests::orders::{self, Event, Mix, Orders};
use lakemill_tests::spec::Pipeline;
use serde_json::json;

const ROWS: usize = 300;

fn pipeline(mode: &str) -> Result<Pipeline> {
    let events: Vec<Event> = Orders::new(71, Mix { broken: 0, delete: 0, ..Mix::default() }).take(ROWS).collect();
    let mut pipeline = Pipeline::of_files("hostile", &["out"])?;
    pipeline.spec["transforms"][0]["config"] = json!({ "mode": mode });
    pipeline.spec["transforms"][0]["limits"] = json!({ "memory": "32MiB", "batch_ms_max": 500 });
    pipeline.spec["batch"] = json!({ "rows_max": 100 });
    pipeline.events("orders.jsonl", &orders::lines(&events))?;
    Ok(pipeline)
}

/// The numbers in the table, in order.
fn numbers(pipeline: &Pipeline) -> Result<Vec<i64>> {
    let table = pipeline.table("out")?;
    let mut numbers: Vec<i64> = table.column("number")?.into_iter().filter_map(serde_json::Value::as_i64).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn expect_numbers(pipeline: &Pipeline, end: i64) -> Result<()> {
    let found = numbers(pipeline)?;
    ensure!(found.iter().copied().eq(0..end), "{} rows instead of {end}: {found:?}", found.len());
    Ok(())
}

/// Misbehaves in the second of three batches.
fn stops_in_the_second_batch(mode: &str, words: &[&str]) -> Result<()> {
    let mut pipeline = pipeline(mode)?;
    pipeline.spec["transforms"][0]["config"]["at"] = json!(150);
    let stopped = pipeline.run()?;
    let all = [&["component hostile", "batch 2", "100..200"], words].concat();
    stopped.expect(1, &all).with_context(|| format!("mode {mode}"))?;
    expect_numbers(&pipeline, 100).with_context(|| format!("mode {mode}: the last commit"))?;
    ensure!(!pipeline.path("_dead").join("_delta_log").exists() || pipeline.table("_dead")?.rows.is_empty(), "{mode}");

    pipeline.spec["transforms"][0]["config"] = json!({});
    pipeline.run()?.expect(0, &[]).with_context(|| format!("mode {mode}, mended"))?;
    expect_numbers(&pipeline, ROWS as i64).with_context(|| format!("mode {mode}, mended"))
}

#[test]
fn well_behaved_it_writes_every_row() -> Result<()> {
    let pipeline = pipeline("behave")?;
    pipeline.run()?.expect(0, &[])?;
    expect_numbers(&pipeline, ROWS as i64)
}

#[test]
fn traps() -> Result<()> {
    stops_in_the_second_batch("trap", &["trap"])?;
    stops_in_the_second_batch("panic", &["trap"])?;
    stops_in_the_second_batch("stack", &["stack"])?;
    stops_in_the_second_batch("undeclared", &["customer_id"])
}

#[test]
fn loops_for_ever() -> Result<()> {
    stops_in_the_second_batch("loop", &["batch_ms_max", "500"])
}

#[test]
fn eats_memory() -> Result<()> {
    stops_in_the_second_batch("eat", &["memory", "32"])
}

#[test]
fn gives_up() -> Result<()> {
    stops_in_the_second_batch("error", &["I do not like these rows"])
}

#[test]
fn answers_with_rows_that_are_not_there() -> Result<()> {
    stops_in_the_second_batch("no_such_row", &["row"])?;
    stops_in_the_second_batch("no_such_output", &["output", "7"])?;
    stops_in_the_second_batch("reject_nothing", &["row"])?;
    stops_in_the_second_batch("both", &["row"])
}

#[test]
fn answers_with_columns_that_do_not_fit() -> Result<()> {
    stops_in_the_second_batch("short_column", &["number"])?;
    stops_in_the_second_batch("missing_column", &["column"])?;
    stops_in_the_second_batch("wrong_type", &["number"])?;
    stops_in_the_second_batch("null", &["number", "null"])?;
    stops_in_the_second_batch("short_validity", &["text"])?;
    stops_in_the_second_batch("unknown_op", &["op"])?;
    stops_in_the_second_batch("short_ops", &["op"])
}

#[test]
fn answers_with_texts_that_are_none() -> Result<()> {
    stops_in_the_second_batch("not_utf8", &["text", "UTF-8"])?;
    stops_in_the_second_batch("split_character", &["text", "UTF-8"])?;
    stops_in_the_second_batch("falling_offsets", &["text", "offset"])?;
    stops_in_the_second_batch("far_offsets", &["text", "offset"])
}

#[test]
fn describes_what_cannot_be() -> Result<()> {
    for (mode, word) in [
        ("describe_error", "the config has no taste"),
        ("describe_trap", "trap"),
        ("describe_loop", "500 ms"),
        ("no_outputs", "output"),
        ("twin_outputs", "out"),
        ("output_name", "../../etc"),
        ("many_outputs", "65"),
        ("twin_columns", "number"),
        ("key_of_nothing", "nothing"),
        ("decimal", "money"),
        ("copy_of_nothing", "nothing"),
        ("long_name", "name"),
    ] {
        let stopped = pipeline(mode)?.run()?;
        stopped.expect(2, &["hostile", word]).with_context(|| format!("mode {mode}"))?;
    }
    Ok(())
}

#[test]
fn chatter_is_cut() -> Result<()> {
    let pipeline = pipeline("chatter")?;
    let finished = pipeline.run()?;
    finished.expect(0, &["line 0"])?;
    ensure!(!finished.said().contains("line 900"), "the 900th line of a call was logged");
    ensure!(finished.stderr.lines().all(|line| line.len() < 2_000), "a line is too long");
    expect_numbers(&pipeline, ROWS as i64)
}

#[test]
fn rejected_rows_are_dead_letters() -> Result<()> {
    let mut pipeline = pipeline("reject")?;
    pipeline.spec["transforms"][0]["config"]["at"] = json!(200);
    let report = pipeline.run()?.report()?;
    ensure!(report["rows_dead"] == 100 && report["rows_out"] == 200 && report["rows_in"] == 300, "{report}");
    expect_numbers(&pipeline, 200)?;
    let letters = pipeline.table("_dead")?;
    ensure!(letters.rows.len() == 100, "{} letters", letters.rows.len());
    for letter in &letters.rows {
        ensure!(letter["stage"] == "transform", "{letter:?}");
        ensure!(letter["reason"].as_str().is_some_and(|reason| reason.len() <= 1_024), "{letter:?}");
        ensure!(letter["value"].as_str().is_some_and(|value| value.len() > 1_000), "{letter:?}");
        ensure!(letter["digest"].as_str().is_some_and(|digest| digest.len() == 64), "{letter:?}");
    }
    Ok(())
}

#[test]
fn imports_that_are_not_granted_are_refused() -> Result<()> {
    let mut pipeline = pipeline("behave")?;
    pipeline.spec["transforms"][0]["grants"] = json!([]);
    pipeline.run()?.expect(2, &["hostile.wasm", "config"])
}

#[test]
fn what_is_no_component_is_refused() -> Result<()> {
    let mut pipeline = pipeline("behave")?;
    let file = pipeline.folder().join("fake.wasm");
    pipeline.spec["transforms"][0]["component"] = json!(file);
    pipeline.run()?.expect(2, &["fake.wasm"]).context("no file")?;
    let whole = std::fs::read(lakemill_tests::places::guest("hostile")?)?;
    // A module that does nothing, and one that wants a clock.
    let empty: &[u8] = b"\0asm\x01\0\0\0";
    for (what, bytes) in [
        ("nothing", &b""[..]),
        ("a text", b"this is no component"),
        ("an empty module", empty),
        ("half of one", &whole[..whole.len() / 2]),
        ("a core dump", &[0; 10_000]),
    ] {
        std::fs::write(&file, bytes)?;
        pipeline.run()?.expect(2, &["fake.wasm"]).context(what)?;
    }
    Ok(())
}
