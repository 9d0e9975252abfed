//! The process ends at every failpoint, early and late in a run, and is started again: no row is lost or doubled, in any of four
//! tables. Needs a `lakemill` with failpoints (scripts/failpoints.sh). What only a broker can show is in the kafka lane.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use lakemill_tests::orders::{self, Event, Fate, Mix, Orders};
use lakemill_tests::process::Lakemill;
use lakemill_tests::spec::Pipeline;
use lakemill_tests::table::Table;
use lakemill_tests::verdict::{FLATTEN, check};
use lakemill_tests::{log, places};
use serde_json::json;

/// Enough batches for a log checkpoint or two.
const EVENTS: usize = 1_300;

/// The `lakemill` that has failpoints.
fn failing() -> Result<PathBuf> {
    let path = places::target()?.join("failpoints/lakemill");
    ensure!(path.is_file(), "{} is not there: run scripts/failpoints.sh", path.display());
    Ok(path)
}

/// The names of all failpoints.
fn points() -> Result<Vec<String>> {
    let source = std::fs::read_to_string(places::root().join("host/failpoint/src/lib.rs"))?;
    let names: Vec<String> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Point::")?.split_once("=> \"")?.1.strip_suffix("\","))
        .map(str::to_owned)
        .collect();
    ensure!(names.len() >= 14, "{names:?}");
    Ok(names)
}

/// `flatten` into one table, `split` into three others: five sinks with the dead letters.
fn pipeline(events: &[Event]) -> Result<Pipeline> {
    let mut pipeline = Pipeline::of_files(FLATTEN.0, &["inserts", "updates", "deletes", FLATTEN.1])?;
    let split = json!({ "component": places::guest("split")? });
    pipeline.spec["transforms"].as_array_mut().context("a list")?.push(split);
    pipeline.spec["batch"] = json!({ "rows_max": 10 });
    pipeline.events("orders.jsonl", &orders::lines(events))?;
    Ok(pipeline)
}

/// Starts the failing command, which ends at the point when it comes there for the `count`-th time. False if it never did.
fn crash(binary: &Path, file: &Path, point: &str, count: u32) -> Result<bool> {
    let asked = format!("{point}:{count}");
    let arguments = ["run".as_ref(), file.as_os_str(), "--until-caught-up".as_ref(), "--json".as_ref()];
    let finished = Lakemill::start_program(binary, arguments, |command| {
        command.env("LAKEMILL_FAILPOINT", &asked);
    })?
    .finish()?;
    match finished.code {
        // Aborted.
        None => Ok(true),
        Some(0) => Ok(false),
        Some(code) => anyhow::bail!("{asked}: exit code {code}:\n{}", finished.said()),
    }
}

#[test]
fn no_row_is_lost_or_doubled_at_any_failpoint() -> Result<()> {
    let binary = failing()?;
    let events: Vec<Event> = Orders::new(71, Mix { broken: 50, ..Mix::default() }).take(EVENTS).collect();
    let placed: Vec<_> = events.iter().zip((0..).map(|offset| (0, offset))).collect();
    for point in &points()? {
        let pipeline = pipeline(&events)?;
        let file = pipeline.file()?;
        let mut crashes = 0;
        // Each run is one that goes on after the last crash.
        for count in [1, 2, 5, 17] {
            crashes += u32::from(crash(&binary, &file, point, count)?);
        }
        ensure!(crashes > 0, "{}: never reached", point);
        let finished = pipeline.run()?;
        finished.expect(0, &[]).with_context(|| point.clone())?;
        check(&pipeline.table(FLATTEN.1)?, &pipeline.path("_dead"), &placed).with_context(|| point.clone())?;
        for (table, ops) in [("inserts", "cr"), ("updates", "u"), ("deletes", "d")] {
            let wanted = |event: &&Event| matches!(&event.fate, Fate::Change(change) if ops.contains(change.op));
            let expected = events.iter().filter(wanted).count();
            let rows = Table::read(&pipeline.path(table))?.rows.len();
            ensure!(rows == expected, "{}: {rows} rows in {table} instead of {expected}", point);
        }
        ensure!(log::commits(&pipeline.path(FLATTEN.1))?.len() > 100, "too few commits for a log checkpoint");
    }
    Ok(())
}
