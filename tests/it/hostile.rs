//! Components that misbehave (tests/guests/hostile): the rows that they fail on are dead letters with cause, code and place, their
//! neighbours live; over the error budget nothing of the batch is committed.

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

/// Fails on the rows from 290 on, in the last of three batches: they are dead letters that say why, and nothing else is.
fn dies_alone(mode: &str, words: &[&str]) -> Result<()> {
    dies_from(290, mode, words)
}

fn dies_from(first: i64, mode: &str, words: &[&str]) -> Result<()> {
    let mut pipeline = pipeline(mode)?;
    pipeline.spec["transforms"][0]["config"]["at"] = json!(first);
    let finished = pipeline.run()?;
    let of = || format!("mode {mode}");
    let report = finished.report().with_context(of)?;
    let dead = ROWS as i64 - first;
    ensure!(report["rows_out"] == first && report["rows_dead"] == dead, "{mode}: {report}");
    ensure!(report["traps"] == 1, "{mode}: {report}");
    expect_numbers(&pipeline, first).with_context(of)?;
    let letters = pipeline.table("_dead")?;
    let mut offsets: Vec<i64> = letters.column("offset")?.into_iter().filter_map(serde_json::Value::as_i64).collect();
    offsets.sort_unstable();
    ensure!(offsets.iter().copied().eq(first..ROWS as i64), "{mode}: {offsets:?}");
    let digest = report["digests"][0].clone();
    for letter in &letters.rows {
        ensure!(letter["digest"] == digest && letter["stage"] == "transform", "{mode}: {letter:?}");
        let said = format!("{} {}", letter["reason"], letter["backtrace"]);
        for word in words {
            ensure!(said.contains(word), "{mode}: no `{word}` in {said}");
        }
    }
    Ok(())
}

#[test]
fn well_behaved_it_writes_every_row() -> Result<()> {
    let pipeline = pipeline("behave")?;
    pipeline.run()?.expect(0, &[])?;
    expect_numbers(&pipeline, ROWS as i64)
}

#[test]
fn traps() -> Result<()> {
    dies_alone("trap", &["trap"])?;
    // Without an SDK that says why it panics.
    dies_alone("panic", &["trap"])?;
    dies_alone("last_words", &["the component panicked: too dear"])?;
    dies_alone("stack", &["stack"])?;
    dies_alone("undeclared", &["customer_id"])
}

#[test]
fn loops_for_ever() -> Result<()> {
    // One row: each half of a batch that has it takes its 500 ms.
    dies_from(299, "loop", &["batch_ms_max", "500"])
}

#[test]
fn says_last_words_for_ever() -> Result<()> {
    dies_from(299, "words_without_end", &["batch_ms_max", "500"])
}

/// Words are believed of a guest that aborts, and of no other.
#[test]
fn says_last_words_and_does_not_panic() -> Result<()> {
    dies_alone("words_before_another_end", &["stack"])?;
    for mode in ["words_taken_back", "huge_words"] {
        let pipeline = pipeline(mode)?;
        pipeline.run()?.expect(0, &[])?;
        expect_numbers(&pipeline, ROWS as i64)?;
    }
    Ok(())
}

#[test]
fn eats_memory() -> Result<()> {
    dies_alone("eat", &["memory", "32"])
}

#[test]
fn gives_up() -> Result<()> {
    dies_alone("error", &["I do not like these rows"])
}

#[test]
fn answers_with_rows_that_are_not_there() -> Result<()> {
    dies_alone("no_such_row", &["row"])?;
    dies_alone("no_such_output", &["output", "7"])?;
    dies_alone("reject_nothing", &["row"])?;
    dies_alone("both", &["row"])
}

#[test]
fn answers_with_columns_that_do_not_fit() -> Result<()> {
    dies_alone("short_column", &["number"])?;
    dies_alone("missing_column", &["column"])?;
    dies_alone("wrong_type", &["number"])?;
    dies_alone("null", &["number", "null"])?;
    dies_alone("short_validity", &["text"])?;
    dies_alone("unknown_op", &["op"])?;
    dies_alone("short_ops", &["op"])
}

#[test]
fn answers_with_texts_that_are_none() -> Result<()> {
    dies_alone("not_utf8", &["text", "UTF-8"])?;
    dies_alone("falling_offsets", &["text", "offset"])?;
    dies_alone("far_offsets", &["text", "offset"])
}

#[test]
fn a_backtrace_names_the_functions() -> Result<()> {
    dies_alone("panic", &["trap", "hostile.wasm!", "transform"])
}

/// Each row alone goes well: nobody is to blame.
#[test]
fn fails_on_many_rows_and_on_none_alone() -> Result<()> {
    let mut pipeline = pipeline("split_character")?;
    pipeline.spec["transforms"][0]["config"]["at"] = json!(290);
    let report = pipeline.run()?.report()?;
    ensure!(report["rows_dead"] == 0 && report["traps"] == 1, "{report}");
    expect_numbers(&pipeline, ROWS as i64)
}

/// Every row fails: over the budget, so that nothing of the batch is committed. Mended, it goes on from there.
#[test]
fn stops_over_the_error_budget() -> Result<()> {
    let mut pipeline = pipeline("trap")?;
    pipeline.spec["transforms"][0]["config"]["at"] = json!(150);
    pipeline.spec["error_budget"] = json!({ "share_max": 0.02 });
    for again in 0..2 {
        let stopped = pipeline.run()?;
        stopped.expect(1, &["batch 2", "100..200", "error budget", "trap"]).with_context(|| format!("run {again}"))?;
        expect_numbers(&pipeline, 100).context("the last commit")?;
        let dead = pipeline.path("_dead");
        ensure!(!dead.join("_delta_log").exists() || pipeline.table("_dead")?.rows.is_empty(), "letters");
    }
    // Other settings are other code: the batch that was over the budget is made anew.
    pipeline.spec["transforms"][0]["config"] = json!({});
    pipeline.run()?.expect(0, &[]).context("mended")?;
    expect_numbers(&pipeline, ROWS as i64).context("mended")
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
