//! The cases of a transform (`cases/*.yaml`), run natively: the same files as `lakemill test` runs against the component.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::schema::Schema;
use super::{Dead, Record, Trial, run_by};
use crate::Transform;

/// A file of cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    #[serde(default)]
    schema: Option<Value>,
    cases: Vec<Case>,
}

/// Records, and what must become of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    config: Map<String, Value>,
    #[serde(default)]
    schema: Option<Value>,
    #[serde(default)]
    native: Option<bool>,
    input: Vec<Given>,
    #[serde(default)]
    output: BTreeMap<String, Vec<Value>>,
    #[serde(default)]
    dead: Vec<Letter>,
}

/// A record: its value as Kafka holds it, as JSON or as text that is to be taken as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    #[serde(default)]
    key: Option<Value>,
    #[serde(default)]
    value: Option<Value>,
    #[serde(default)]
    text: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Letter {
    record: usize,
    reason: String,
}

/// Runs every case of every `*.yaml` file in a folder (relative to the crate's own, as cargo runs tests there) and returns how
/// many there were.
///
/// A dead letter's reason need only contain what the case expects. The words of records that never reach the transform are the
/// host's; here only their numbers are compared. A case with `native: false` is for `lakemill test` alone.
///
/// # Panics
/// If a case fails, with every row that differs; if a file cannot be read, or has a key that is none; if there is no case.
pub fn run_cases(transform: &Transform, folder: impl AsRef<Path>) -> usize {
    let (mut count, mut failures) = (0, Vec::new());
    for path in files(folder.as_ref()) {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
        let file: Cases = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for case in file.cases.iter().filter(|case| case.native != Some(false)) {
            count += 1;
            if let Err(difference) = check(transform, case, file.schema.as_ref()) {
                failures.push(format!("{}: {}\n{difference}", path.display(), case.name));
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

/// The error says what differs, or what ended the case.
fn check(transform: &Transform, case: &Case, of_file: Option<&Value>) -> Result<(), String> {
    let schema = case.schema.as_ref().or(of_file).map_or(Ok(Schema::default()), Schema::read)?;
    let config = Value::Object(case.config.clone()).to_string();
    let records: Vec<Record> = case.input.iter().map(record).collect();
    // One case that panics is one that fails. Its words are on standard error, where a panic puts them.
    let trial = catch_unwind(AssertUnwindSafe(|| run_by(transform, &config, &schema, &records)))
        .map_err(|_| "  the transform panicked: its message is above")??;
    let mut lines = rows_that_differ(case, &trial);
    lines.extend(dead_that_differ(case, &trial.dead));
    if lines.is_empty() { Ok(()) } else { Err(lines.join("\n")) }
}

fn record(given: &Given) -> Record {
    let value = given.text.clone().or_else(|| given.value.as_ref().map(Value::to_string));
    Record { key: given.key.as_ref().map(Value::to_string), value }
}

fn rows_that_differ(case: &Case, trial: &Trial) -> Vec<String> {
    let names: BTreeSet<&String> = case.output.keys().chain(trial.outputs.keys()).collect();
    let mut lines = Vec::new();
    for name in names {
        let expected = case.output.get(name).map(Vec::as_slice).unwrap_or_default();
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

fn dead_that_differ(case: &Case, found: &[Dead]) -> Option<String> {
    let same = |(expected, found): (&Letter, &Dead)| {
        expected.record == found.record && (!found.by_transform || found.reason.contains(&expected.reason))
    };
    if case.dead.len() == found.len() && case.dead.iter().zip(found).all(same) {
        return None;
    }
    let expected = case.dead.iter().map(|dead| format!("record {}: {}", dead.record, dead.reason));
    let found = found.iter().map(|dead| format!("record {}: {}", dead.record, dead.reason));
    let listed = |list: Vec<String>| list.join(", ");
    Some(format!(
        "  dead letters expected {}\n  dead letters found    {}",
        listed(expected.collect()),
        listed(found.collect())
    ))
}
