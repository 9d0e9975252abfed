//! What a run says at its end, and what it does about clocks, types and batch sizes.

use anyhow::{Context, Result, ensure};
use lakemill_tests::orders::{self, Breakage, Event, Fate, Mix, Orders};
use lakemill_tests::process::{self, Finished, Lakemill};
use lakemill_tests::spec::Pipeline;
use lakemill_tests::verdict::FLATTEN;
use serde_json::json;

const WHOLE: Mix = Mix { broken: 0, toast: 0, delete: 0, poison: 0, snapshot_rows: 0 };

fn whole(seed: u64, count: usize) -> Vec<Event> {
    Orders::new(seed, WHOLE).take(count).collect()
}

fn pipeline(events: &[Event]) -> Result<Pipeline> {
    let mut pipeline = Pipeline::of_files(FLATTEN.0, &[FLATTEN.1])?;
    pipeline.spec["source"]["files"]["topic"] = json!("shop.public.orders");
    pipeline.events("orders.jsonl", &orders::lines(events))?;
    Ok(pipeline)
}

fn run(pipeline: &Pipeline, more: &[&str]) -> Result<Finished> {
    let file = pipeline.file()?;
    let mut arguments = vec!["run".as_ref(), file.as_os_str(), "--until-caught-up".as_ref()];
    arguments.extend(more.iter().map(AsRef::<std::ffi::OsStr>::as_ref));
    process::run(arguments)
}

fn at(event: &Event, time_ms: i64) -> Result<Event> {
    let mut event = event.clone();
    let Fate::Change(change) = &mut event.fate else { anyhow::bail!("no change") };
    change.event_time_us = time_ms * 1000;
    event.value = Some(orders::envelope(change, 1, 1).into_bytes());
    Ok(event)
}

#[test]
fn dead_rows_are_named_by_reason_with_their_table() -> Result<()> {
    let mut events = whole(71, 60);
    for wrong in ["many", "few"] {
        let value = format!(r#"{{"op":"c","after":{{"id":1,"quantity":"{wrong}"}},"source":{{"ts_ms":1}}}}"#);
        events.push(Event { key: None, value: Some(value.into_bytes()), fate: Fate::Dead(Breakage::Cut) });
    }
    events.push(Event { key: None, value: Some(b"{\"op\":".to_vec()), fate: Fate::Dead(Breakage::Cut) });
    let first = pipeline(&events)?;
    let finished = run(&first, &[])?;
    let table = first.path("_dead").display().to_string();
    finished.expect(0, &["WARN", "rows are dead", "column after.quantity: expected"])?;
    let last = finished.stdout.lines().last().unwrap_or_default();
    ensure!(last.starts_with("dead ") && last.contains("3 rows are dead") && last.contains("(2); not JSON"), "{last}");
    ensure!(last.ends_with(&format!("see {table}")), "{last}");
    ensure!(!finished.said().contains("many"), "a value is in it: {}", finished.said());

    let report = run(&pipeline(&events)?, &["--json"])?.report()?;
    let reasons = report["dead_reasons"].as_array().context("reasons")?;
    ensure!(reasons.len() == 2 && reasons[0]["rows"] == 2 && reasons[0]["stage"] == "decode", "{report}");
    run(&pipeline(&events)?, &["--fail-on-dead"])?
        .expect(1, &["error: 3 rows are dead", "written", "--fail-on-dead"])?;
    let finished = run(&pipeline(&events)?, &["--fail-on-dead", "--json"])?;
    finished.expect(1, &["\"ok\":false", "\"rows_dead\":3", "3 rows are dead"])?;
    run(&pipeline(&events[..60])?, &["--fail-on-dead"])?.expect(0, &[])
}

/// A backlog of old events, one of which has a clock of another century, one that of yesterday, and one that of the week after them.
#[test]
fn wrong_clocks_in_a_backlog_divert_no_row() -> Result<()> {
    let (start, day) = (1_650_000_000_000, 86_400_000);
    let now_ms = i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis())?;
    let events = whole(72, 900);
    let mut timed = Vec::new();
    for (n, event) in (0..).zip(&events) {
        timed.push(at(
            event,
            match n {
                150 => 4_300_000_000_000,
                300 => now_ms - day,
                450 => start + 7 * day,
                _ => start + n * 1_000,
            },
        )?);
    }
    // And one that is late indeed.
    timed.push(at(&events[0], start - day)?);
    let mut pipeline = pipeline(&timed)?;
    pipeline.spec["batch"] = json!({ "rows_max": 40 });
    pipeline.spec["late"] = json!({ "delta": { "path": "lake/_late" } });
    let report = pipeline.run()?.report()?;
    ensure!(report["rows_late"] == 1 && report["rows_out"] == 900, "{report}");
    ensure!(report["event_times_ahead"] == 3, "{report}");
    let watermark = report["watermark_us"].as_i64().context("a watermark")?;
    ensure!((start + 800_000..=start + 900_000).contains(&(watermark / 1000 + 600_000)), "{watermark}");
    Ok(())
}

/// `clean` reads `total` as float64.
fn priced(events: &[Event]) -> Result<Pipeline> {
    let mut pipeline = Pipeline::of_files("clean", &["orders"])?;
    pipeline.spec["source"]["files"]["topic"] = json!("shop.public.orders");
    pipeline.events("orders.jsonl", &orders::lines(events))?;
    Ok(pipeline)
}

#[test]
fn a_transform_that_reads_a_column_as_another_type_is_refused_once() -> Result<()> {
    let words = ["component clean: it reads column `total` of `row` as float64", "has it as text", "source.schema"];
    let events = |total: &str| -> Vec<Event> {
        let value = |id| format!(r#"{{"op":"c","after":{{"id":{id},"total":{total}}},"source":{{"ts_ms":1}}}}"#);
        (0..3_000).map(|id| Event { key: None, value: Some(value(id).into_bytes()), fate: Fate::Control }).collect()
    };

    // Declared: before anything is read.
    let mut declared = priced(&events("1.5"))?;
    let columns = json!([{ "name": "id", "type": "int64" }, { "name": "total", "type": "text" }]);
    declared.spec["source"]["schema"] = json!({ "row": columns });
    let file = declared.file()?;
    process::run(["validate".as_ref(), file.as_os_str()])?.expect(2, &words)?;
    let finished = declared.run()?;
    finished.expect(2, &words)?;
    ensure!(finished.stdout.contains("\"ok\":false") && !declared.path("orders").exists(), "{}", finished.said());

    // Inferred: by the first call, and at the next start before anything is read.
    let inferred = priced(&events(r#""1.5""#))?;
    let finished = inferred.run()?;
    finished.expect(2, &words)?;
    let report: serde_json::Value = serde_json::from_str(finished.stdout.lines().last().context("a report")?)?;
    ensure!(report["traps"] == 0 && report["rows_dead"] == 0 && report["batches"] == 0, "{report}");
    inferred.run()?.expect(2, &words)?;

    // What the message says to do, done.
    declared.spec["source"]["schema"]["row"][1]["type"] = json!("float64");
    declared.run()?.report().map(drop)
}

/// Smaller batches help where the batch was what did not fit.
#[test]
fn a_refused_batch_is_made_anew_in_smaller_ones() -> Result<()> {
    let mut pipeline = pipeline(&[])?;
    let broken = b"{\"id\":1}\t{\n".repeat(400);
    pipeline.events("orders.jsonl", &[orders::lines(&whole(73, 700)), broken].concat())?;
    pipeline.run()?.expect(1, &["over the error budget"])?;
    // As long as nothing is changed, it is the same batch again.
    pipeline.run()?.expect(1, &["over the error budget"])?;
    pipeline.spec["batch"] = json!({ "rows_max": 300 });
    let finished = pipeline.run()?;
    finished.expect(1, &["a refused batch is made anew", "over the error budget"])?;
    ensure!(pipeline.rows(FLATTEN.1)? >= 600, "{}", finished.said());
    Ok(())
}

/// Files are read by one process at a time: a second one is refused, whatever it asks for, before it does anything.
#[test]
fn a_second_process_over_files_is_refused_and_cannot_take_over() -> Result<()> {
    let mut pipeline = pipeline(&whole(75, 100))?;
    pipeline.spec["source"]["files"]["follow"] = json!(true);
    let mut first = pipeline.start()?;
    first.until("100 rows", || Ok((pipeline.rows(FLATTEN.1)? == 100).then_some(())))?;
    let named = format!("process {} on ", first.id());
    let refused = pipeline.run()?;
    refused.expect(2, &["runs already", &named, "stop that one first"])?;
    ensure!(!refused.said().contains("--take-over"), "{}", refused.said());
    run(&pipeline, &["--take-over"])?
        .expect(2, &["runs already", &named, "stop that one first: `--take-over` is for Kafka"])?;
    // The first one reads on.
    pipeline.events("more.jsonl", &orders::lines(&whole(76, 50)))?;
    first.until("150 rows", || Ok((pipeline.rows(FLATTEN.1)? == 150).then_some(())))?;
    first.terminate()?.expect(0, &[])?;
    // Without another process there is nobody whose place it would take.
    run(&pipeline, &["--take-over"])?.expect(0, &[])
}

/// A state folder is one process's; one that has ended leaves nothing behind.
#[test]
fn a_state_folder_is_free_again_when_its_process_is_gone() -> Result<()> {
    let pipeline = pipeline(&whole(74, 100))?;
    let file = pipeline.file()?;
    let killed = Lakemill::start(["run".as_ref(), file.as_os_str(), "--json".as_ref()])?;
    killed.kill()?;
    pipeline.run()?.report()?;
    ensure!(pipeline.rows(FLATTEN.1)? == 100, "rows are missing");
    Ok(())
}
