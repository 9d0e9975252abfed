//! Files of events through real components into Delta tables, read back by three readers: counts and checksums must be
//! the same for all of them, and the rows those that the oracle expects.

use anyhow::{Result, ensure};
use lakemill_tests::log;
use lakemill_tests::orders::{self, Event, Mix, Orders};
use lakemill_tests::spec::Pipeline;
use lakemill_tests::verdict::{FLATTEN, Place, adds_up, check};
use serde_json::{Value, json};

/// The events of one file: partition 0, the line's number as offset.
pub fn placed(events: &[Event]) -> Vec<(&Event, Place)> {
    events.iter().zip((0..).map(|offset| (0, offset))).collect()
}

fn pipeline(events: &[Event]) -> Result<Pipeline> {
    let pipeline = Pipeline::of_files(FLATTEN.0, &[FLATTEN.1])?;
    pipeline.events("orders.jsonl", &orders::lines(events))?;
    Ok(pipeline)
}

#[test]
fn every_event_is_accounted_for() -> Result<()> {
    let events = Orders::events(1, 20_000);
    let pipeline = pipeline(&events)?;
    let finished = pipeline.run()?;
    adds_up(&finished, &events)?;
    finished.expect_quiet()?;
    check(&pipeline.table(FLATTEN.1)?, &pipeline.path("_dead"), &placed(&events))
}

#[test]
fn batches_of_every_size_give_the_same_table() -> Result<()> {
    let events = Orders::events(2, 1_500);
    for rows_max in [7, 100, 100_000] {
        let mut pipeline = pipeline(&events)?;
        pipeline.spec["batch"] = json!({ "rows_max": rows_max });
        adds_up(&pipeline.run()?, &events)?;
        check(&pipeline.table(FLATTEN.1)?, &pipeline.path("_dead"), &placed(&events))?;
    }
    Ok(())
}

#[test]
fn every_commit_names_positions_and_code() -> Result<()> {
    let events = Orders::events(3, 5_000);
    let mut pipeline = pipeline(&events)?;
    pipeline.spec["batch"] = json!({ "rows_max": 500 });
    let report = pipeline.run()?.report()?;
    let digest = report["digests"][0].as_str().unwrap_or_default().to_owned();
    ensure!(digest.len() == 64, "no digest: {report}");
    let commits = log::commits(&pipeline.path(FLATTEN.1))?;
    let with_rows: Vec<_> = commits.iter().filter(|commit| commit.rows_added() > 0).collect();
    ensure!(with_rows.len() >= 10, "{} commits with rows", with_rows.len());
    let mut last = 0;
    for commit in with_rows {
        let at = commit.transactions().values().copied().max().unwrap_or_default();
        ensure!(at > last, "version {}: position {at} after {last}", commit.version);
        last = at;
        let info = commit.info().map(ToString::to_string).unwrap_or_default();
        ensure!(info.contains(&digest), "version {} does not name {digest}: {info}", commit.version);
    }
    ensure!(last == 5_000, "the last position is {last}");
    Ok(())
}

#[test]
fn no_plan_is_left_however_long_tables_stay_away() -> Result<()> {
    let one_by_one = |mix: Mix| -> Result<(Pipeline, Value)> {
        // The first one by name says what is done; there is no delete for it.
        let mut pipeline = Pipeline::of_files("split", &["deletes", "inserts", "updates"])?;
        pipeline.events("orders.jsonl", &orders::lines(&Orders::new(6, mix).take(500).collect::<Vec<_>>()))?;
        pipeline.spec["batch"] = json!({ "rows_max": 10 });
        let report = pipeline.run()?.report()?;
        Ok((pipeline, report))
    };
    let (pipeline, report) = one_by_one(Mix { delete: 0, broken: 0, ..Mix::default() })?;
    ensure!(report["batches"] == 50 && !pipeline.path("deletes").exists(), "{report}");
    let journal = std::fs::read_to_string(pipeline.folder().join("state/0.journal"))?;
    let count = |what: &str| journal.lines().filter(|line| line.contains(&format!("{{\"{what}\":"))).count();
    ensure!((count("plan"), count("done")) == (50, 50), "{} plans, {} done", count("plan"), count("done"));
    // Again: nothing is read or written.
    let again = pipeline.run()?.report()?;
    ensure!(again["rows_in"] == 0, "{again}");
    Ok(())
}

#[test]
fn code_that_does_not_fit_a_table_can_be_replaced() -> Result<()> {
    let events: Vec<Event> = Orders::new(7, Mix { broken: 0, ..Mix::default() }).take(300).collect();
    let mut pipeline = Pipeline::of_files("vary", &["out", "twin"])?;
    pipeline.events("1.jsonl", &orders::lines(&events[..200]))?;
    pipeline.run()?.expect(0, &[])?;
    let (good, sinks) = (pipeline.spec["transforms"].clone(), pipeline.spec["sinks"].clone());
    // Its `out` has another column.
    let other = Pipeline::of_files("hostile", &["out"])?;
    (pipeline.spec["transforms"], pipeline.spec["sinks"]) =
        (other.spec["transforms"].clone(), other.spec["sinks"].clone());
    pipeline.spec["transforms"][0]["config"] = json!({ "mode": "none" });
    // A table that gets no columns of its own accord.
    pipeline.spec["sinks"]["out"]["delta"]["schema"] = json!("strict");
    pipeline.events("2.jsonl", &orders::lines(&events[200..]))?;
    pipeline.run()?.expect(2, &["the rows do not fit the table"])?;
    // Its batch was planned, and nothing of it is in a table: the code that is there now does it.
    (pipeline.spec["transforms"], pipeline.spec["sinks"]) = (good, sinks);
    pipeline.run()?.expect(0, &[])?;
    let rows = |output| pipeline.rows(output);
    ensure!(rows("out")? == rows("twin")? && rows("out")? > 200, "{} and {}", rows("out")?, rows("twin")?);
    Ok(())
}

#[test]
fn a_killed_run_is_taken_up_where_it_was() -> Result<()> {
    let events = Orders::events(4, 30_000);
    let mut pipeline = pipeline(&events)?;
    pipeline.spec["batch"] = json!({ "rows_max": 300 });
    let mut random = fastrand::Rng::with_seed(4);
    let mut kills = 0;
    for _ in 0..10 {
        let enough = pipeline.rows(FLATTEN.1)? + random.u64(1..4_000);
        let mut lakemill = pipeline.start()?;
        // It may get to the end of the file before it is killed.
        loop {
            if pipeline.rows(FLATTEN.1)? >= enough {
                kills += u32::from(lakemill.is_running()?);
                break;
            }
            if !lakemill.is_running()? {
                break;
            }
            std::thread::yield_now();
        }
        lakemill.kill()?;
    }
    ensure!(kills > 1, "killed in the middle only {kills} times");
    ensure!(pipeline.run()?.code == Some(0));
    check(&pipeline.table(FLATTEN.1)?, &pipeline.path("_dead"), &placed(&events))
}

#[test]
fn partitions_and_compressions_change_files_not_rows() -> Result<()> {
    let events: Vec<Event> = Orders::new(5, Mix { broken: 0, ..Mix::default() }).take(2_000).collect();
    for compression in ["zstd", "snappy", "gzip", "none"] {
        let mut pipeline = pipeline(&events)?;
        let delta = &mut pipeline.spec["sinks"][FLATTEN.1]["delta"];
        delta["compression"] = json!(compression);
        delta["partition_by"] = json!(["_op", "after_region"]);
        ensure!(pipeline.run()?.code == Some(0), "{compression}");
        let table = pipeline.table(FLATTEN.1)?;
        check(&table, &pipeline.path("_dead"), &placed(&events))?;
        let folders = std::fs::read_dir(pipeline.path(FLATTEN.1))?.filter_map(Result::ok);
        let ops = folders.filter(|entry| entry.file_name().to_string_lossy().starts_with("_op=")).count();
        ensure!(ops == 4, "{ops} folders of _op");
    }
    Ok(())
}

#[test]
fn a_parquet_sink_shows_whole_batches_only() -> Result<()> {
    let events: Vec<Event> = Orders::new(6, Mix { broken: 0, ..Mix::default() }).take(2_000).collect();
    let mut pipeline = pipeline(&events)?;
    pipeline.spec["sinks"][FLATTEN.1] = json!({ "parquet": { "path": "lake/plain" } });
    let finished = pipeline.run()?;
    ensure!(finished.code == Some(0), "{}", finished.said());
    let table = pipeline.path("plain");
    let mut rows = 0;
    for entry in std::fs::read_dir(table.join("_manifest"))?.filter_map(Result::ok) {
        let manifest: Value = serde_json::from_slice(&std::fs::read(entry.path())?)?;
        for file in manifest["files"].as_array().into_iter().flatten() {
            let path = file["path"].as_str().unwrap_or_default();
            ensure!(path.ends_with(".parquet") && table.join(path).is_file(), "{file}");
            rows += file["rows"].as_u64().unwrap_or_default();
        }
    }
    ensure!(
        rows > 0 && Some(rows) == finished.report()?["rows_written"].as_u64(),
        "{rows} rows in the manifest: {}",
        finished.said()
    );
    Ok(())
}

#[test]
fn a_console_sink_prints_rows() -> Result<()> {
    let events: Vec<Event> = Orders::new(7, Mix { broken: 0, ..Mix::default() }).take(20).collect();
    let mut pipeline = pipeline(&events)?;
    pipeline.spec["sinks"][FLATTEN.1] = json!({ "console": { "rows_max": 5 } });
    let finished = pipeline.run()?;
    ensure!(finished.code == Some(0), "{}", finished.said());
    let rows = finished.stdout.lines().filter(|line| line.contains("after_customer_id")).count();
    ensure!(rows == 5, "{rows} rows:\n{}", finished.stdout);
    Ok(())
}
