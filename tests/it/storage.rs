//! What is wrong with the place where tables go: another schema, no permission, a full disk. The pipeline says so, and a
//! restart goes on where it stopped.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use lakemill_tests::orders::{self, Event, Mix, Orders};
use lakemill_tests::places;
use lakemill_tests::spec::Pipeline;
use lakemill_tests::table::Table;
use lakemill_tests::verdict::{FLATTEN, check};
use serde_json::json;

use crate::files::placed;

fn events(count: usize) -> Vec<Event> {
    Orders::new(81, Mix { broken: 0, ..Mix::default() }).take(count).collect()
}

fn pipeline(events: &[Event]) -> Result<Pipeline> {
    let pipeline = Pipeline::of_files(FLATTEN.0, &[FLATTEN.1])?;
    pipeline.events("orders.jsonl", &orders::lines(events))?;
    Ok(pipeline)
}

/// Runs Python with the Delta library.
fn python(code: &str, arguments: &[&std::path::Path]) -> Result<()> {
    let output = Command::new(places::python()?).arg("-c").arg(code).args(arguments).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn a_table_with_another_schema_is_refused() -> Result<()> {
    let events = events(100);
    let pipeline = pipeline(&events)?;
    let code = "import sys, pyarrow, deltalake; \
                deltalake.write_deltalake(sys.argv[1], pyarrow.table({'after_id': [b'bytes'], 'mine': [1]}))";
    python(code, &[&pipeline.path(FLATTEN.1)])?;
    pipeline.run()?.expect(2, &["changes", "after_id"])?;
    let table = pipeline.table(FLATTEN.1)?;
    // The columns are known with the first batch only: taking possession may have been a commit without rows.
    ensure!(table.rows.len() == 1 && table.version <= 1, "the table of another was touched: version {}", table.version);
    ensure!(table.types.keys().eq(["after_id", "mine"]), "{:?}", table.types);
    Ok(())
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() -> Result<()> {
    let events = events(100);
    let mut pipeline = pipeline(&events)?;
    // A file where a folder must be: not even root gets past it.
    std::fs::write(pipeline.folder().join("lake"), "a file")?;
    let stopped = pipeline.run()?;
    ensure!(matches!(stopped.code, Some(1..=3)), "exit code {:?}", stopped.code);
    stopped.expect(stopped.code.unwrap_or(1), &["lake"])?;

    std::fs::remove_file(pipeline.folder().join("lake"))?;
    pipeline.spec["batch"] = json!({ "rows_max": 50 });
    pipeline.run()?.expect(0, &[])?;
    check(&pipeline.table(FLATTEN.1)?, &pipeline.path("_dead"), &placed(&events))
}

#[test]
fn a_table_that_someone_else_compacts_goes_on() -> Result<()> {
    let all = events(2_000);
    let mut pipeline = pipeline(&all[..1_000])?;
    pipeline.spec["batch"] = json!({ "rows_max": 100 });
    pipeline.run()?.expect(0, &[])?;
    let code = "import sys, deltalake; deltalake.DeltaTable(sys.argv[1]).optimize.compact()";
    python(code, &[&pipeline.path(FLATTEN.1)])?;
    pipeline.events("orders.jsonl", &orders::lines(&all))?;
    pipeline.run()?.expect(0, &[])?;
    check(&pipeline.table(FLATTEN.1)?, &pipeline.path("_dead"), &placed(&all))
}

/// Mounts a small file system of its own for the tables, in a namespace of its own: `unshare` gives both to anyone.
/// Runs once on the full disk, makes it larger, runs again, and copies the tables out.
const FULL_DISK: &str = r#"
set -euo pipefail
lakemill=$1 file=$2 lake=$3 out=$4
mkdir -p "$lake"
mount -t tmpfs -o size=512k tmpfs "$lake"
code=0
"$lakemill" run "$file" --until-caught-up --json || code=$?
echo "first exit code: $code"
mount -o remount,size=64m "$lake"
"$lakemill" run "$file" --until-caught-up --json
cp -r "$lake" "$out"
"#;

#[test]
fn a_full_disk_stops_it_and_room_lets_it_go_on() -> Result<()> {
    let events = events(10_000);
    let mut pipeline = pipeline(&events)?;
    pipeline.spec["batch"] = json!({ "rows_max": 500 });
    let out = pipeline.folder().join("saved");
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "bash", "-c", FULL_DISK, "full-disk"])
        .arg(places::lakemill()?)
        .arg(pipeline.file()?)
        .arg(pipeline.folder().join("lake"))
        .arg(&out)
        .output()
        .context("start unshare")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    ensure!(said.contains("first exit code: 1"), "{said}");
    ensure!(said.to_lowercase().contains("no space left"), "{said}");
    ensure!(!said.contains("panicked"), "{said}");
    check(&Table::read(&out.join(FLATTEN.1))?, &out.join("_dead"), &placed(&events))
}
