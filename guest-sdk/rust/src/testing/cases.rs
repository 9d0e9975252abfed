//! The cases of a transform (`cases/*.yaml`), run natively: the same files as `lakemill test` runs against the component.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Dead, Record, Trial, run};
use crate::Transform;

/// Runs every case of every `*.yaml` file in a folder (relative to the crate's own, as cargo runs tests there) and returns how
/// many there were.
///
/// A dead letter's reason need only contain what the case expects. The words of records that never reach the transform are the
/// host's; here only their numbers are compared.
///
/// # Panics
/// If a case fails, with every row that differs; if a file cannot be read; if there is no case.
pub fn run_cases(transform: &Transform, folder: impl AsRef<Path>) -> usize {
    let (mut count, mut failures) = (0, Vec::new());
    for path in files(folder.as_ref()) {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
        let file: Value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let cases = file["cases"].as_array().unwrap_or_else(|| panic!("{} has no list `cases`", path.display()));
        for case in cases {
            count += 1;
            let name = case["name"].as_str().unwrap_or("a case without a name");
            if let Err(difference) = check(transform, case) {
                failures.push(format!("{}: {name}\n{difference}", path.display()));
            }
        }
    }
    assert!(count > 0, "{} has no cases", folder.as_ref().display());
    assert!(failures.is_empty(), "{} of {count} cases failed\n\n{}", failures.len(), failures.join("\n\n"));
    count
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

/// The error says what differs.
fn check(transform: &Transform, case: &Value) -> Result<(), String> {
    let config = if case["config"].is_null() { "{}".to_owned() } else { case["config"].to_string() };
    let input = case["input"].as_array().ok_or("it has no list `input`")?;
    let records: Vec<Record> = input.iter().map(record).collect();
    let trial = run(transform, &config, &records)?;
    let mut lines = rows_that_differ(case, &trial);
    lines.extend(dead_that_differ(case, &trial.dead));
    if lines.is_empty() { Ok(()) } else { Err(lines.join("\n")) }
}

fn record(given: &Value) -> Record {
    let text = |name: &str| given.get(name).filter(|value| !value.is_null()).map(Value::to_string);
    let value = given["text"].as_str().map(str::to_owned).or_else(|| text("value"));
    Record { key: text("key"), value }
}

fn rows_that_differ(case: &Value, trial: &Trial) -> Vec<String> {
    let expected_names = case["output"].as_object().into_iter().flatten().map(|(name, _)| name);
    let names: BTreeSet<&String> = expected_names.chain(trial.outputs.keys()).collect();
    let mut lines = Vec::new();
    for name in names {
        let expected = case["output"][name].as_array().map(Vec::as_slice).unwrap_or_default();
        let found = trial.rows(name);
        for row in 0..expected.len().max(found.len()) {
            if expected.get(row) != found.get(row) {
                let show = |row: Option<&Value>| row.map_or("no row".into(), Value::to_string);
                lines.push(format!("  {name}[{row}] expected {}", show(expected.get(row))));
                lines.push(format!("  {name}[{row}] found    {}", show(found.get(row))));
            }
        }
    }
    lines
}

fn dead_that_differ(case: &Value, found: &[Dead]) -> Option<String> {
    let expected = case["dead"].as_array().map(Vec::as_slice).unwrap_or_default();
    let same = |(expected, found): (&Value, &Dead)| {
        let reason = expected["reason"].as_str().unwrap_or_default();
        expected["record"] == found.record && (!found.by_transform || found.reason.contains(reason))
    };
    if expected.len() == found.len() && expected.iter().zip(found).all(same) {
        return None;
    }
    let expected: Vec<String> = expected.iter().map(Value::to_string).collect();
    let found: Vec<String> = found.iter().map(|dead| format!("record {}: {}", dead.record, dead.reason)).collect();
    Some(format!("  dead letters expected {}\n  dead letters found    {}", expected.join(", "), found.join(", ")))
}
