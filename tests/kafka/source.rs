//! What comes over the wire: every codec, large records, odd ones.

use anyhow::{Result, ensure};
use lakemill_tests::broker::Record;
use lakemill_tests::orders::{self, Breakage, Event, Fate, Mix, Orders};
use lakemill_tests::process::run;
use lakemill_tests::table::Table;
use lakemill_tests::verdict::adds_up;
use serde_json::json;

use crate::support::{Scene, TABLE};

#[test]
fn every_compression_is_read() -> Result<()> {
    let mut scene = Scene::new("codecs", 2)?;
    let mut all = Orders::new(41, Mix::default());
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        scene.send(&all.by_ref().take(800).collect::<Vec<_>>(), &[&format!("compression.type={codec}")])?;
    }
    adds_up(&scene.pipeline.run()?, &scene.sent)?;
    scene.check()
}

#[test]
fn records_of_ten_megabytes_pass_with_their_neighbours() -> Result<()> {
    let mut scene = Scene::new("large", 1)?;
    let mut events: Vec<Event> = Orders::new(42, Mix { broken: 0, ..Mix::default() }).take(200).collect();
    let text: String = std::iter::repeat_with(fastrand::alphanumeric).take(10_000_000).collect();
    let mut large = 0;
    for at in [60, 61, 150] {
        let Fate::Change(change) = &mut events[at].fate else { continue };
        if let Some(after) = &mut change.after {
            after.note.clone_from(&text);
            large += 1;
        }
        let value = orders::envelope(change, 20_000_000, 7);
        events[at].value = Some(value.into_bytes());
    }
    ensure!(large > 0, "no large record");
    // And one that is as large and broken.
    events[100] = Event { key: None, value: Some(text.into_bytes()), fate: Fate::Dead(Breakage::Cut) };
    scene.send(&events, &["compression.type=lz4", "message.max.bytes=33554432"])?;
    adds_up(&scene.pipeline.run()?, &scene.sent)?;
    scene.check()
}

#[test]
fn records_without_a_row_are_counted_and_passed_over() -> Result<()> {
    let mut scene = Scene::new("control", 1)?;
    let control = |key: Option<&str>, value: Option<&str>| Event {
        key: key.map(|text| text.as_bytes().to_vec()),
        value: value.map(|text| text.as_bytes().to_vec()),
        fate: Fate::Control,
    };
    let mut events: Vec<Event> = Orders::new(43, Mix { broken: 0, ..Mix::default() }).take(100).collect();
    events.extend([
        control(Some(r#"{"id":1}"#), None),
        control(Some(r#"{"id":1}"#), Some("")),
        control(None, None),
        control(Some(r#"{"serverName":"shop"}"#), Some(r#"{"ts_ms":1760000000000}"#)),
        control(
            Some(r#"{"id":"571"}"#),
            Some(r#"{"status":"BEGIN","id":"571:53195832","event_count":null,"data_collections":null,"ts_ms":1760000000000}"#),
        ),
        control(
            Some(r#"{"id":"571"}"#),
            Some(
                r#"{"status":"END","id":"571:53195832","event_count":1,"data_collections":[{"data_collection":"public.orders","event_count":1}],"ts_ms":1760000000000}"#,
            ),
        ),
    ]);
    scene.send(&events, &[])?;
    adds_up(&scene.pipeline.run()?, &scene.sent)?;
    scene.check()
}

#[test]
fn an_unknown_topic_is_not_there() -> Result<()> {
    let mut scene = Scene::new("absent", 1)?;
    scene.pipeline.spec["source"]["kafka"]["topics"] = json!(["no-such-topic"]);
    scene.pipeline.run()?.expect(3, &["no-such-topic"])
}

#[test]
fn no_broker_is_unreachable() -> Result<()> {
    let mut scene = Scene::new("nobody", 1)?;
    // Port 1 on this machine: nobody listens there.
    scene.pipeline.spec["source"]["kafka"]["brokers"] = json!("127.0.0.1:1");
    scene.pipeline.run()?.expect(3, &["127.0.0.1:1"])
}

#[test]
fn a_setting_that_kafka_does_not_know_is_refused() -> Result<()> {
    let mut scene = Scene::new("setting", 1)?;
    scene.pipeline.spec["source"]["kafka"]["properties"] = json!({ "no.such.setting": "1" });
    scene.pipeline.run()?.expect(2, &["no.such.setting"])
}

#[test]
fn kafka_times_are_kept() -> Result<()> {
    let mut scene = Scene::new("times", 1)?;
    scene.pipeline.spec["sinks"][TABLE]["delta"]["metadata"] = json!(["offset", "kafka_time", "topic"]);
    let events: Vec<Event> = Orders::new(44, Mix { broken: 0, delete: 0, ..Mix::default() }).take(50).collect();
    let timed = |(n, record): (i64, Record)| Record { time_ms: Some(1_700_000_000_000 + n), ..record };
    let records: Vec<Record> = (0..).zip(orders::records(&events, 1)).map(timed).collect();
    scene.broker.send(&scene.topic, &records, &[])?;
    scene.catch_up()?;
    let table = scene.pipeline.table(TABLE)?;
    ensure!(table.rows.len() == 50, "{} rows", table.rows.len());
    for row in &table.rows {
        let offset = row["_offset"].as_i64().unwrap_or(-1);
        ensure!(row["_kafka_time"] == json!((1_700_000_000_000 + offset) * 1000), "{row:?}");
        ensure!(row["_topic"] == json!(scene.topic), "{row:?}");
    }
    Ok(())
}

#[test]
fn late_changes_go_to_their_own_table() -> Result<()> {
    let mut scene = Scene::new("late", 1)?;
    scene.pipeline.spec["watermark"] = json!({ "delay": "10m" });
    scene.pipeline.spec["late"] = json!({ "delta": { "path": "lake/_late" } });
    let events: Vec<Event> = Orders::new(45, Mix { broken: 0, delete: 0, ..Mix::default() }).take(210).collect();
    scene.send(&events[..200], &[])?;
    let mut lakemill = scene.pipeline.start()?;
    scene.wait_for_all(&mut lakemill)?;

    // Now that the watermark stands: one that is an hour behind, and some that are on time.
    let mut late = events[200].clone();
    let Fate::Change(change) = &mut late.fate else { anyhow::bail!("no change") };
    change.event_time_us -= 3_600_000_000;
    late.value = Some(orders::envelope(change, 1, 1).into_bytes());
    scene.broker.send(&scene.topic, &orders::records(&[late], 1), &[])?;
    scene.broker.send(&scene.topic, &orders::records(&events[201..], 1), &[])?;
    lakemill.until("the rows after the late one", || Ok((scene.rows()? >= 209).then_some(())))?;
    let report = lakemill.terminate()?.report()?;
    ensure!(report["rows_late"] == 1 && report["rows_out"] == 209 && report["rows_in"] == 210, "{report}");
    let table = scene.pipeline.table(TABLE)?;
    ensure!(table.rows.iter().all(|row| row["_offset"] != 200), "the late row is in the table");
    let rows = scene.pipeline.table("_late")?.rows;
    ensure!(rows.len() == 1, "{rows:?}");
    ensure!(rows[0].values().any(|cell| cell.as_i64() == Some(200)), "no offset 200: {rows:?}");
    Ok(())
}

#[test]
fn the_demo_runs_on_a_real_broker() -> Result<()> {
    let broker = lakemill_tests::broker::Broker::of_environment()?;
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let arguments =
        ["demo".as_ref(), "--brokers".as_ref(), broker.address.as_ref(), "--events".as_ref(), "50000".as_ref()];
    let finished = run(arguments.into_iter().chain(["--json".as_ref(), "--out".as_ref(), out.as_os_str()]))?;
    let report = finished.report()?;
    ensure!(report["rows_in"] == 50_000, "{report}");
    ensure!(!Table::read(&out.join("lake/orders"))?.rows.is_empty(), "{report}");
    Ok(())
}
