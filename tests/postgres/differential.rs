//! Random tables of every type, in every mode of Debezium, against what the database itself wrote down of each change. The long form is
//! `make differential`.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use lakemill_tests::places;

/// Every type comes at least once: the kinds are dealt out before one is dealt again.
const TABLES: &str = "24";

/// The long form takes another one each time.
const SEED: &str = "3";

#[test]
fn bronze_tables_are_what_the_database_wrote_down_cell_by_cell() -> Result<()> {
    let output = Command::new(places::python()?)
        .arg(places::root().join("tests/postgres/differential/main.py"))
        .arg("--dir")
        .arg(places::target()?.join("lanes/differential"))
        .arg("--lakemill")
        .arg(places::lakemill()?)
        .arg("--guest")
        .arg(places::guest("flatten")?)
        .args(["--tables", TABLES, "--settings", "3", "--seed", SEED])
        .output()
        .context("start the differential test")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "seed {SEED}:\n{said}\n{errors}");
    // It compared something.
    let sum = said.lines().last().unwrap_or_default();
    let cells = sum.split(", ").find_map(|part| part.strip_suffix(" cells compared")?.parse::<u64>().ok());
    ensure!(cells.is_some_and(|cells| cells > 5_000), "seed {SEED}: {sum}");
    Ok(())
}
