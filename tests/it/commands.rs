//! The commands beside `run`: what they say, and how they end.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use lakemill_tests::places;
use lakemill_tests::process::{Finished, Lakemill, run};
use lakemill_tests::table::Table;
use serde_json::{Value, json};

#[test]
fn inspect_shows_what_a_component_imports_exports_and_writes() -> Result<()> {
    let guest = places::guest("hostile")?;
    let report = run(["inspect".as_ref(), guest.as_os_str(), "--json".as_ref()])?.report()?;
    let bytes = std::fs::metadata(&guest)?.len();
    ensure!(report["bytes"] == json!(bytes), "{report}");
    ensure!(report["digest"].as_str().is_some_and(|digest| digest.len() == 64), "{report}");
    ensure!(report["exports"] == json!(["lakemill:transform/transformer@0.1.0"]), "{report}");
    let imports = report["imports"].as_array().map(|all| all.iter().filter_map(Value::as_str).collect::<Vec<_>>());
    ensure!(imports.is_some_and(|all| all.contains(&"lakemill:transform/config@0.1.0")), "{report}");
    ensure!(report["description"]["outputs"][0]["name"] == "out", "{report}");

    run(["inspect".as_ref(), guest.as_os_str()])?.expect(0, &["hostile", "config", "out", "number", "sha256"])?;
    run(["inspect", "no-such-file.wasm"])?.expect(2, &["no-such-file.wasm"])?;
    run(["inspect".as_ref(), places::root().join("README.md").as_os_str()])?.expect(2, &["README.md"])
}

#[test]
fn doctor_finds_this_machine_fit() -> Result<()> {
    let report = run(["doctor", "--json"])?.report()?;
    let checks = report["checks"].as_array().cloned().unwrap_or_default();
    ensure!(checks.len() >= 3 && checks.iter().all(|check| check["ok"] == json!(true)), "{report}");
    Ok(())
}

#[test]
fn the_schema_of_pipeline_files_is_a_json_schema() -> Result<()> {
    let finished = run(["validate", "--schema"])?;
    finished.expect(0, &[])?;
    let schema: Value = serde_json::from_str(&finished.stdout)?;
    ensure!(schema["$schema"].is_string() && schema["properties"]["source"].is_object(), "{schema}");
    Ok(())
}

#[test]
fn wrong_use_is_invalid_input() -> Result<()> {
    run(["rum"])?.expect(2, &["run"])?;
    run(["run"])?.expect(2, &["FILE"])?;
    run(["run", "pipeline.yaml", "--until-caught-upp"])?.expect(2, &["--until-caught-up"])
}

/// What the README tells a newcomer to type.
#[test]
fn a_new_transform_builds_passes_its_tests_and_runs() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let home = folder.path().join("my-orders");
    let lakemill = |inside: &Path, arguments: &[&str]| -> Result<Finished> {
        let setting = |command: &mut Command| {
            command.current_dir(inside).env_remove("CARGO_TARGET_DIR");
        };
        Lakemill::start_with(arguments, setting)?.finish()
    };
    lakemill(folder.path(), &["new", "my-orders"])?.expect(0, &["my-orders"])?;
    let native = Command::new("cargo").arg("test").current_dir(&home).env_remove("CARGO_TARGET_DIR").output()?;
    ensure!(native.status.success(), "cargo test:\n{}", String::from_utf8_lossy(&native.stderr));
    let tested = String::from_utf8_lossy(&native.stdout);
    ensure!(tested.contains("the_cases_hold_natively ... ok"), "cargo test:\n{tested}");
    lakemill(&home, &["build"])?.expect(0, &["my-orders.wasm"])?;
    lakemill(&home, &["test"])?.expect(0, &[])?;
    lakemill(&home, &["validate", "pipeline.yaml"])?.expect(0, &["valid"])?;
    lakemill(&home, &["run", "pipeline.yaml"])?.expect(0, &[])?;
    let table = Table::read(&home.join("lake/orders"))?;
    ensure!(!table.rows.is_empty() && table.types.contains_key("gross"), "{:?}", table.types);

    // A case that does not hold fails, and says what came instead.
    let cases = home.join("cases/orders.yaml");
    let text = std::fs::read_to_string(&cases)?;
    std::fs::write(&cases, text.replace("gross: 12.6", "gross: 13.7"))?;
    lakemill(&home, &["test"])?.expect(1, &["13.7", "12.6"])?;
    // The folder is there: a second one of this name is refused.
    lakemill(folder.path(), &["new", "my-orders"])?.expect(2, &["my-orders"])
}
