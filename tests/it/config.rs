//! Pipeline files that are accepted, and those that are refused, with the exact message: tests/fixtures/config.
//! `LAKEMILL_BLESS=1` writes the messages anew.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lakemill_tests::places;
use lakemill_tests::process::{Finished, Lakemill};

/// Cases of a folder: name and text.
fn cases(folder: &str) -> Result<Vec<(PathBuf, String)>> {
    let folder = places::root().join("tests/fixtures/config").join(folder);
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path)?;
            cases.push((path, text));
        }
    }
    ensure!(cases.len() >= 3, "only {} cases", cases.len());
    Ok(cases)
}

/// Validates a text by the name of `pipeline.yaml`, beside a component `flatten.wasm`.
fn validate(text: &str, more: &[&str]) -> Result<Finished> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("pipeline.yaml"), text)?;
    std::fs::copy(places::guest("flatten")?, folder.path().join("flatten.wasm"))?;
    let inside = |command: &mut Command| {
        command.current_dir(folder.path()).env("KAFKA_PASSWORD", "hunter2");
    };
    Lakemill::start_with([&["validate", "pipeline.yaml"], more].concat(), inside)?.finish()
}

#[test]
fn good_files_are_accepted() -> Result<()> {
    for (path, text) in cases("valid")? {
        validate(&text, &[])?.expect(0, &[]).with_context(|| path.display().to_string())?;
        let finished = validate(&text, &["--json"])?;
        finished.report().with_context(|| path.display().to_string())?;
    }
    Ok(())
}

#[test]
fn bad_files_are_refused_with_the_exact_message() -> Result<()> {
    for (path, text) in cases("invalid")? {
        let what = || path.display().to_string();
        let finished = validate(&text, &[])?;
        finished.expect(2, &["pipeline.yaml"]).with_context(what)?;
        let golden = path.with_extension("err");
        let message = finished.stderr.trim_end();
        if std::env::var_os("LAKEMILL_BLESS").is_some() {
            std::fs::write(&golden, message.to_owned() + "\n")?;
        }
        let expected = std::fs::read_to_string(&golden).with_context(what)?;
        ensure!(message == expected.trim_end(), "{}:\nit says     {message}\ninstead of {expected}", what());
    }
    Ok(())
}

#[test]
fn run_refuses_what_validate_refuses() -> Result<()> {
    for (path, text) in cases("invalid")? {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("pipeline.yaml"), text)?;
        let inside = |command: &mut Command| {
            command.current_dir(folder.path());
        };
        let finished = Lakemill::start_with(["run", "pipeline.yaml", "--until-caught-up"], inside)?.finish()?;
        finished.expect(2, &["pipeline.yaml"]).with_context(|| path.display().to_string())?;
        let left: Vec<_> = std::fs::read_dir(folder.path())?.filter_map(Result::ok).map(|e| e.file_name()).collect();
        ensure!(left.len() == 1, "{}: a refused file left something behind: {left:?}", path.display());
    }
    Ok(())
}

#[test]
fn a_file_that_is_not_there_is_invalid_input() -> Result<()> {
    lakemill_tests::process::run(["validate", "no-such-file.yaml"])?.expect(2, &["no-such-file.yaml"])
}
