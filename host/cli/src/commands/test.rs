//! `lakemill test`: runs a transform's cases against its component: Debezium messages in, rows and dead letters out.

use std::fs;
use std::path::{Path, PathBuf};

use lakemill_model::{RawBatch, RecordRef};
use lakemill_pipeline::spec::tree::Node;
use lakemill_pipeline::spec::written::Schema;
use lakemill_pipeline::tryout::{self, Tryout};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::commands::build;
use crate::compiler;
use crate::edit::Edits;
use crate::exit::Failure;
use crate::rows::{Change, Rows, changes, rows};

/// Runs the cases of a transform: `cases/*.yaml` in its folder.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  lakemill test\n  lakemill test my-orders --update")]
pub struct Args {
    /// The transform's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// The component; what `lakemill build` makes of the folder if left out.
    #[arg(long)]
    component: Option<PathBuf>,
    /// Write what comes out into the cases in place of what was expected; read the difference.
    #[arg(long)]
    update: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// A file of cases.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    /// What the pipeline file would say under `source.schema`, for cases that do not say it themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema: Option<Schema>,
    cases: Vec<Case>,
}

/// Records, and what must become of them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// What the pipeline file would say under `config`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    config: Map<String, Value>,
    /// What the pipeline file would say under `source.schema`; `infer` if nobody says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema: Option<Schema>,
    /// False: `cargo test` leaves it out, whose kit reads no schema parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    native: Option<bool>,
    /// In the order of the topic.
    input: Vec<Record>,
    /// Rows by output; `_op` is the row's op.
    #[serde(default)]
    output: Rows,
    /// The input record (from 0) and the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dead: Vec<Dead>,
}

/// A record: its value as Kafka holds it, as JSON or as text that is to be taken as it is.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Dead {
    record: u32,
    reason: String,
}

/// Runs them.
pub fn run(args: &Args) -> Result<(), Failure> {
    let component = match &args.component {
        Some(component) => component.clone(),
        None => build::build(&args.folder, None, build::Speed::Best)?,
    };
    let (passed, failed) = run_cases(&args.folder, &component, args.update)?;
    if args.json {
        println!("{}", json!({"ok": failed.is_empty(), "passed": passed, "failed": failed}));
    } else {
        failed.iter().for_each(|failure| println!("FAIL {failure}\n"));
        println!("{passed} passed, {} failed", failed.len());
    }
    match failed.len() {
        0 => Ok(()),
        _ if args.json => std::process::exit(1),
        count => Err(Failure::runtime(format!("{count} cases failed; `--update` takes what came out"))),
    }
}

/// Runs the cases of `folder` against a component: how many passed, and what is wrong with the others, that the component failed on one
/// among it. `update`: what comes out is written into the cases.
///
/// # Errors
/// If there is no component, there are no cases, or one cannot be read.
pub fn run_cases(folder: &Path, component: &Path, update: bool) -> Result<(usize, Vec<String>), Failure> {
    if !component.is_file() {
        return Err(Failure::invalid(format!(
            "there is no component {}: `lakemill build` makes it",
            component.display()
        )));
    }
    let (mut passed, mut failed) = (0, Vec::new());
    for path in files(&folder.join("cases"))? {
        let text = fs::read_to_string(&path).map_err(|e| Failure::runtime(format!("read {}: {e}", path.display())))?;
        let mut cases: Cases =
            serde_saphyr::from_str(&text).map_err(|e| Failure::invalid(format!("{}: {e}", path.display())))?;
        let of_file = cases.schema.unwrap_or_default();
        for case in &mut cases.cases {
            let (output, dead) = match outcome(component, case, &of_file) {
                Ok(outcome) => outcome,
                Err(failure) => {
                    failed.push(format!("{}: {}\n  {}", path.display(), case.name, failure.message));
                    continue;
                }
            };
            let differs = difference(case, &output, &dead);
            if update && differs.is_some() {
                (case.output, case.dead) = (output, dead);
            }
            match differs {
                None => passed += 1,
                Some(_) if update => passed += 1,
                Some(difference) => failed.push(format!("{}: {}\n{difference}", path.display(), case.name)),
            }
        }
        cases.schema = Some(of_file).filter(|schema| !matches!(schema, Schema::Infer));
        if update {
            let edited = edited(&text, &cases).map_err(|why| Failure::runtime(format!("{}: {why}", path.display())))?;
            if edited != text {
                fs::write(&path, edited).map_err(|e| Failure::runtime(format!("write {}: {e}", path.display())))?;
            }
        }
    }
    Ok((passed, failed))
}

/// The text of a file of cases with what comes out now in place of what was expected; the rest of it as it is.
fn edited(text: &str, now: &Cases) -> Result<String, String> {
    let before: Cases = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let tree = Node::of(text).ok_or("its lines cannot be told apart")?;
    let mut edits = Edits::of(text);
    for (index, (old, new)) in before.cases.iter().zip(&now.cases).enumerate() {
        let Some(node) = tree.get("cases").and_then(|cases| cases.item(index)) else { continue };
        for (key, old, new) in [
            ("output", serde_json::to_value(&old.output), serde_json::to_value(&new.output)),
            ("dead", serde_json::to_value(&old.dead), serde_json::to_value(&new.dead)),
        ] {
            let (old, new) = old.and_then(|old| Ok((old, new?))).map_err(|error| error.to_string())?;
            match node.get(key) {
                Some(value) => edits.change(value, &old, &new),
                None if old != new => edits.add(node, key, &new),
                None => {}
            }
        }
    }
    let edited = edits.made();
    let read: Result<Cases, _> = serde_saphyr::from_str(&edited);
    let is_whole = |(read, now): (&Case, &Case)| read.output == now.output && read.dead == now.dead;
    match read {
        Ok(read) if read.cases.iter().zip(&now.cases).all(is_whole) => Ok(edited),
        _ => {
            Err("it is written in a way that cannot be edited in place; see what `lakemill test` finds, and write that"
                .into())
        }
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let listed = fs::read_dir(folder).map_err(|error| Failure::invalid(format!("{}: {error}", folder.display())))?;
    let mut files: Vec<PathBuf> = listed
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(Failure::invalid(format!("{} has no cases (*.yaml)", folder.display())));
    }
    Ok(files)
}

/// What becomes of a case's records: rows and dead letters.
fn outcome(component: &Path, case: &Case, of_file: &Schema) -> Result<(Rows, Vec<Dead>), Failure> {
    let transform = tryout::load(component, Value::Object(case.config.clone()).to_string(), compiler::program())?;
    let mut raw = RawBatch::default();
    for (offset, record) in case.input.iter().enumerate() {
        let key = record.key.as_ref().map(Value::to_string);
        let value = record.text.clone().or_else(|| record.value.as_ref().map(Value::to_string));
        raw.push(RecordRef {
            topic: "case",
            partition: 0,
            offset: offset as i64,
            timestamp_ms: Some(0),
            key: key.as_deref().map(str::as_bytes),
            value: value.as_deref().map(str::as_bytes),
        });
    }
    let trial = tryout::run(&*transform, &raw, case.schema.as_ref().unwrap_or(of_file))?;
    Ok((rows(&trial)?, dead(&trial)))
}

fn dead(trial: &Tryout) -> Vec<Dead> {
    trial.dead.iter().map(|(record, reason)| Dead { record: *record, reason: reason.clone() }).collect()
}

/// What differs, row by row; `None` if nothing does. A reason need only contain what is expected.
fn difference(case: &Case, output: &Rows, dead: &[Dead]) -> Option<String> {
    let line = |Change { output, row, before, after }: Change<'_>| {
        let show = |value: Option<&Value>| value.map_or("no row".into(), Value::to_string);
        format!("  {output}[{row}] expected {}\n  {output}[{row}] found    {}", show(before), show(after))
    };
    let mut lines: Vec<String> = changes(&case.output, output).into_iter().map(line).collect();
    let same =
        |(expected, found): (&Dead, &Dead)| expected.record == found.record && found.reason.contains(&expected.reason);
    if case.dead.len() != dead.len() || !case.dead.iter().zip(dead).all(same) {
        lines.push(format!("  dead letters expected {:?}\n  dead letters found    {dead:?}", case.dead));
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}
