//! The documents, held to the program: what they show runs, what they name is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use lakemill_tests::{places, process};
use serde_json::Value;

/// Every document that people read, by its path in the repository.
fn documents() -> Result<Vec<(String, String)>> {
    let root = places::root();
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)?.filter_map(Result::ok) {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() && !name.starts_with('.') && !["target", "demo-out", "lake"].contains(&name.as_str()) {
                folders.push(path);
            } else if name.ends_with(".md") {
                let named = path.strip_prefix(&root)?.display().to_string();
                found.push((named, fs::read_to_string(&path)?));
            }
        }
    }
    ensure!(found.len() >= 10, "{} documents", found.len());
    Ok(found)
}

/// The fenced blocks of a language; of no language with "".
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(fence) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
        if fence == language {
            blocks.push(block.join("\n"));
        }
    }
    blocks
}

fn readme() -> Result<String> {
    Ok(fs::read_to_string(places::root().join("README.md"))?)
}

#[test]
fn the_pipeline_of_the_readme_is_valid() -> Result<()> {
    let found = blocks(&readme()?, "yaml");
    ensure!(found.len() == 1, "{} pipelines", found.len());
    let folder = tempfile::tempdir()?;
    fs::copy(places::guest("clean")?, folder.path().join("clean.wasm"))?;
    let file = folder.path().join("pipeline.yaml");
    fs::write(&file, &found[0])?;
    process::run(["validate".as_ref(), file.as_os_str()])?.expect(0, &[])
}

/// The pipelines of docs/, without what they refer to.
#[test]
fn the_pipelines_of_the_documents_are_valid() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::copy(places::guest("clean")?, folder.path().join("clean.wasm"))?;
    let mut pipelines = 0;
    for (path, text) in documents()?.into_iter().filter(|(path, _)| path.starts_with("docs/")) {
        for block in blocks(&text, "yaml").iter().filter(|block| block.starts_with("pipeline:")) {
            let file = folder.path().join("pipeline.yaml");
            fs::write(&file, block)?;
            let validated = process::run(["validate".as_ref(), file.as_os_str(), "--no-env".as_ref()])?;
            validated.expect(0, &["is valid"]).with_context(|| format!("{path}:\n{block}"))?;
            pipelines += 1;
        }
    }
    ensure!(pipelines >= 2, "{pipelines} pipelines");
    Ok(())
}

#[test]
fn the_transform_of_the_readme_is_the_one_that_the_sdk_compiles() -> Result<()> {
    let found = blocks(&readme()?, "rust");
    ensure!(found.len() == 1, "{} transforms", found.len());
    let sdk = fs::read_to_string(places::root().join("guest-sdk/rust/src/lib.rs"))?;
    let documented: Vec<&str> =
        sdk.lines().filter_map(|line| line.strip_prefix("//!")).map(|l| l.strip_prefix(' ').unwrap_or(l)).collect();
    let compiled = blocks(&documented.join("\n"), "").swap_remove(0);
    let shown: Vec<&str> = compiled.lines().filter(|line| !line.starts_with("# ")).collect();
    ensure!(shown.join("\n") == found[0], "README.md and guest-sdk/rust/src/lib.rs differ:\n{}", shown.join("\n"));
    Ok(())
}

/// Its Rust examples are doc tests of the SDK.
#[test]
fn the_cases_of_the_guide_hold() -> Result<()> {
    let found = blocks(&fs::read_to_string(places::root().join("docs/transforms.md"))?, "yaml");
    ensure!(found.len() == 1, "{} files of cases", found.len());
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("cases"))?;
    fs::write(folder.path().join("cases/guide.yaml"), &found[0])?;
    let component = places::guest("clean")?;
    let arguments = ["test".as_ref(), folder.path().as_os_str(), "--component".as_ref(), component.as_os_str()];
    process::run(arguments)?.expect(0, &["2 passed, 0 failed"])
}

#[test]
fn commands_and_options_that_documents_name_are_there() -> Result<()> {
    let mut seen = BTreeSet::new();
    for (path, text) in documents()? {
        let spans = text.split('`').chain(text.lines());
        for words in spans.map(|span| span.split_whitespace().collect::<Vec<_>>()) {
            let at = words.iter().position(|word| *word == "lakemill" || word.ends_with("/lakemill"));
            let Some([verb, rest @ ..]) = at.map(|at| &words[at + 1..]) else { continue };
            if at != Some(0) || !verb.bytes().all(|b| b.is_ascii_lowercase()) {
                continue;
            }
            let help = process::run([*verb, "--help"])?;
            ensure!(help.code == Some(0), "{path}: there is no `lakemill {verb}`");
            let options = rest.iter().take_while(|word| **word != "#").filter(|word| word.starts_with("--"));
            for option in options.map(|word| word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric())) {
                ensure!(help.stdout.contains(option), "{path}: `lakemill {verb}` knows no {option}");
            }
            seen.insert((*verb).to_owned());
        }
    }
    let known = ["build", "doctor", "new", "run", "test", "validate"];
    ensure!(known.iter().all(|verb| seen.contains(*verb)), "{seen:?}");
    Ok(())
}

#[test]
fn links_lead_somewhere() -> Result<()> {
    let mut links = 0;
    for (path, text) in documents()? {
        let home = places::root().join(&path).parent().map(PathBuf::from).context("a file has a folder")?;
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") || link.starts_with('#') {
                continue;
            }
            links += 1;
            ensure!(home.join(link.split('#').next().unwrap_or(link)).exists(), "{path}: {link} is not there");
        }
    }
    ensure!(links > 10, "{links} links");
    Ok(())
}

#[test]
fn every_key_of_a_pipeline_file_is_documented() -> Result<()> {
    let schema: Value = serde_json::from_str(&process::run(["validate", "--schema"])?.stdout)?;
    let mut keys = BTreeSet::new();
    names(&schema, &mut keys);
    ensure!(keys.len() > 30, "{keys:?}");
    let text = fs::read_to_string(places::root().join("docs/pipeline.md"))?;
    let missing: Vec<_> = keys.iter().filter(|key| !text.contains(key.as_str())).collect();
    ensure!(missing.is_empty(), "docs/pipeline.md does not know {missing:?}");
    Ok(())
}

/// The names of all properties in a JSON Schema.
fn names(schema: &Value, keys: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            if object.get("type") == Some(&Value::from("object"))
                && let Some(Value::Object(properties)) = object.get("properties")
            {
                keys.extend(properties.keys().cloned());
            }
            object.values().for_each(|value| names(value, keys));
        }
        Value::Array(list) => list.iter().for_each(|value| names(value, keys)),
        _ => {}
    }
}
