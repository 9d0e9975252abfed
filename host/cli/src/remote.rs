//! Asks the running processes of a pipeline.

use std::path::Path;

use lakemill_admin::client::{self, Answer};
use lakemill_pipeline::spec::Home;
use serde_json::{Value, json};

use crate::exit::Failure;

/// Asks every process of a pipeline; the answers of those that did as they were asked.
///
/// # Errors
/// If none runs, or one refuses.
pub fn ask(file: &Path, method: &str, path: &str, body: Option<&Value>) -> Result<Vec<Answer>, Failure> {
    let home = Home::read(file)?;
    let folder = &home.folder;
    let answers = client::ask(folder, method, path, body)
        .map_err(|error| Failure::unreachable(format!("ask the pipeline through {}: {error}", folder.display())))?;
    if answers.is_empty() {
        return Err(not_running(&home));
    }
    match answers.iter().find(|answer| answer.status != 200) {
        None => Ok(answers),
        Some(answer) => {
            let why = answer.body["error"].as_str().map_or_else(|| answer.body.to_string(), str::to_owned);
            Err(Failure::invalid(format!("process {}: {why}", answer.process)))
        }
    }
}

/// No process of the pipeline answers.
pub fn not_running(home: &Home) -> Failure {
    Failure::unreachable(format!(
        "pipeline `{}` does not run here: no process answers in {}",
        home.pipeline,
        home.folder.display()
    ))
}

/// Asks every process for a change of its components, and prints what each one says of it.
///
/// # Errors
/// If none runs, or one refuses.
pub fn change(file: &Path, path: &str, json: bool, words: fn(&Value) -> String) -> Result<(), Failure> {
    let answers = ask(file, "POST", path, None)?;
    if json {
        println!("{}", as_json(&answers));
        return Ok(());
    }
    for answer in &answers {
        println!("process {}: {}", answer.process, words(&answer.body));
    }
    Ok(())
}

/// The digests of an answer, for people.
pub fn digests(body: &Value) -> String {
    listed(&body["digests"])
}

/// A list of texts, for people.
pub fn listed(list: &Value) -> String {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

/// The answers as the one object that `--json` prints.
pub fn as_json(answers: &[Answer]) -> Value {
    let each = |answer: &Answer| {
        let mut object = answer.body.clone();
        object["process"] = json!(answer.process);
        object
    };
    json!({ "ok": true, "processes": answers.iter().map(each).collect::<Vec<_>>() })
}
