//! What comes from the environment and from files into a transform's configuration and into Kafka's properties is shown nowhere: not in
//! the state folder, in logs, errors, reports or dead letters. Only in the rows that the transform makes of it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use lakemill_tests::orders::{self, Event, Mix, Orders};
use lakemill_tests::process::{Finished, Lakemill};
use lakemill_tests::spec::Pipeline;
use serde_json::{Value, json};

const SALT: &str = "Tr0ub4dor&3-xyzzy";
const PEPPER: &str = "correct horse \"battery\" staple";
const SHORT: &str = "q7";

fn events(seed: u64, count: usize) -> Vec<u8> {
    let whole = Mix { broken: 0, delete: 0, ..Mix::default() };
    orders::lines(&Orders::new(seed, whole).take(count).collect::<Vec<Event>>())
}

/// A pipeline whose transform says its configuration wherever `mode` can.
fn blurting(mode: &str) -> Result<Pipeline> {
    let mut pipeline = Pipeline::of_files("hostile", &["out"])?;
    pipeline.events("orders.jsonl", &events(81, 40))?;
    std::fs::write(pipeline.folder().join("pepper"), format!("{PEPPER}\n"))?;
    pipeline.spec["transforms"][0]["config"] = json!({
        "mode": mode,
        "salt": "${env:LAKEMILL_TEST_SALT}",
        "deep": [{ "er": ["with ${file:pepper} in it", "${env:LAKEMILL_TEST_SHORT}"] }],
        "count": "${env:LAKEMILL_TEST_COUNT|number}",
        "literal": "$${env:LAKEMILL_TEST_SALT}",
    });
    Ok(pipeline)
}

fn run(pipeline: &Pipeline, salt: &str, more: &[&str]) -> Result<Finished> {
    let file = pipeline.file()?.display().to_string();
    let arguments = [&["run", &file, "--until-caught-up", "--json"], more].concat();
    let given = |command: &mut std::process::Command| {
        command.env("LAKEMILL_LOG", "trace,wasmtime=info,cranelift=info,regalloc2=info");
        command.env("LAKEMILL_TEST_SALT", salt).env("LAKEMILL_TEST_SHORT", SHORT).env("LAKEMILL_TEST_COUNT", "42");
    };
    Lakemill::start_with(arguments, given)?.finish()
}

/// Looks for secrets in a text, also as JSON has them.
fn expect_none(what: &str, text: &[u8]) -> Result<()> {
    for secret in [SALT, PEPPER, &PEPPER.replace('"', "\\\""), "\"q7\"", "xyzzy", "battery"] {
        let found = text.windows(secret.len()).position(|window| window == secret.as_bytes());
        let around =
            |at: usize| String::from_utf8_lossy(&text[at.saturating_sub(200)..(at + 100).min(text.len())]).into_owned();
        ensure!(found.is_none(), "{what} has {secret}: {}", found.map(around).unwrap_or_default());
    }
    Ok(())
}

/// Looks for secrets in all files of a folder.
fn expect_none_in(folder: &Path) -> Result<usize> {
    let mut files = 0;
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            files += expect_none_in(&path)?;
        } else if path.is_file() {
            expect_none(&path.display().to_string(), &std::fs::read(&path)?)?;
            files += 1;
        }
    }
    Ok(files)
}

#[test]
fn a_secret_gets_into_rows_and_nowhere_else() -> Result<()> {
    let mut pipeline = blurting("blurt")?;
    pipeline.spec["error_budget"] = json!({ "share_max": 1.0 });
    let finished = run(&pipeline, SALT, &[])?;
    let report = finished.report()?;
    ensure!(report["rows_dead"] == 39 && report["rows_out"] == 1, "{report}");
    // The component has the values.
    let row = pipeline.table("out")?.rows.remove(0);
    let config: Value = serde_json::from_str(row["text"].as_str().context("text")?)?;
    ensure!(config["salt"] == SALT && config["deep"][0]["er"][1] == SHORT && config["count"] == 42, "{config}");
    ensure!(config["deep"][0]["er"][0] == json!(format!("with {PEPPER} in it")), "{config}");
    ensure!(config["literal"] == "${env:LAKEMILL_TEST_SALT}", "{config}");
    // Nobody else has.
    expect_none("what it says", finished.said().as_bytes())?;
    ensure!(finished.stderr.contains("DEBUG") && finished.stderr.contains("${env:LAKEMILL_TEST_SALT}"), "no log of it");
    ensure!(expect_none_in(&pipeline.folder().join("state"))? > 5, "the state folder is empty");
    expect_none_in(&pipeline.path("_dead"))?;
    let letters = pipeline.table("_dead")?;
    for letter in &letters.rows {
        let reason = letter["reason"].as_str().context("a reason")?;
        ensure!(reason.contains("${env:LAKEMILL_TEST_SALT}") && reason.contains("${file:pepper}"), "{reason}");
        expect_none("a reason", reason.as_bytes())?;
    }
    Ok(())
}

#[test]
fn errors_name_the_reference_and_not_the_value() -> Result<()> {
    // Over the budget, the error has a reason as an example.
    for mode in ["blurt", "blurt_error"] {
        let pipeline = blurting(mode)?;
        let finished = run(&pipeline, SALT, &[])?;
        expect_none(mode, finished.said().as_bytes())?;
        expect_none_in(&pipeline.folder().join("state"))?;
    }
    // What a component says of its configuration, with the place in the file.
    let pipeline = blurting("describe_blurt")?;
    let finished = run(&pipeline, SALT, &[])?;
    finished.expect(2, &["pipeline.yaml:", "`config.deep` must be a number", "${env:LAKEMILL_TEST_SALT}"])?;
    expect_none("the refusal", finished.said().as_bytes())
}

#[test]
fn kafkas_properties_are_secrets_whatever_they_are_called() -> Result<()> {
    let mut pipeline = Pipeline::of_kafka("localhost:1", "t", "flatten", &["changes"])?;
    pipeline.spec["source"]["kafka"]["properties"] = json!({
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "${env:LAKEMILL_TEST_SALT}",
        "sasl.password": "${file:pepper}",
        "client.rack": "${env:LAKEMILL_TEST_SHORT}",
        "debug": "all",
    });
    std::fs::write(pipeline.folder().join("pepper"), PEPPER)?;
    let finished = run(&pipeline, SALT, &[])?;
    finished.expect(3, &["localhost:1"])?;
    expect_none("what it says", finished.said().as_bytes())?;
    // A value that cannot be.
    pipeline.spec["source"]["kafka"]["properties"]["sasl.mechanism"] = json!("${env:LAKEMILL_TEST_SALT}");
    pipeline.spec["source"]["kafka"]["properties"]["fetch.min.bytes"] = json!("${env:LAKEMILL_TEST_SALT}");
    let finished = run(&pipeline, SALT, &[])?;
    finished.expect(2, &["fetch.min.bytes"])?;
    expect_none("the refusal", finished.said().as_bytes())
}

/// What code is in use, by the state folder.
fn active(pipeline: &Pipeline) -> Result<String> {
    Ok(std::fs::read_to_string(pipeline.folder().join("state/active.json"))?)
}

/// The configuration that made the row of the last file of events.
fn last_config(pipeline: &Pipeline) -> Result<Value> {
    let table = pipeline.table("out")?;
    let last =
        table.rows.iter().max_by_key(|row| (row["_partition"].as_i64(), row["number"].as_i64())).context("a row")?;
    Ok(serde_json::from_str(last["text"].as_str().context("text")?)?)
}

#[test]
fn another_value_is_another_setting() -> Result<()> {
    let mut pipeline = blurting("blurt")?;
    pipeline.spec["error_budget"] = json!({ "share_max": 1.0 });
    run(&pipeline, SALT, &[])?.report()?;
    let first = active(&pipeline)?;
    run(&pipeline, SALT, &[])?.report()?;
    ensure!(active(&pipeline)? == first, "the same value is the same setting");
    run(&pipeline, "another salt", &[])?.report()?;
    ensure!(active(&pipeline)? != first, "another value is another setting");
    run(&pipeline, SALT, &[])?.report()?;
    ensure!(active(&pipeline)? == first, "the first value is the first setting");

    // New settings on trial: what was in use goes on, with its secret, if that is still there.
    pipeline.spec["transforms"][0]["config"]["new"] = json!(true);
    pipeline.events("orders2.jsonl", &events(82, 10))?;
    run(&pipeline, SALT, &["--shadow"])?.report()?;
    let config = last_config(&pipeline)?;
    ensure!(config["new"].is_null() && config["salt"] == SALT, "{config}");
    pipeline.events("orders3.jsonl", &events(83, 10))?;
    run(&pipeline, "another salt", &["--shadow"])?.report()?;
    let config = last_config(&pipeline)?;
    ensure!(
        config["new"] == true && config["salt"] == "another salt",
        "{config}\n{}",
        pipeline.table("out")?.rows.len()
    );
    Ok(())
}
