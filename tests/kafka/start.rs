//! Where a pipeline starts that no table knows, and what it does when what comes next is gone.

use anyhow::{Result, ensure};
use lakemill_tests::broker::Record;
use lakemill_tests::orders::{self, Event, Mix, Orders};
use serde_json::{Value, json};

use crate::support::{Scene, TABLE};

/// A topic of 100 records, one a second from this time on.
const FROM_MS: i64 = 1_700_000_000_000;

fn hundred(name: &str, start: Value) -> Result<Scene> {
    let mut scene = Scene::new(name, 1)?;
    scene.pipeline.spec["source"]["kafka"]["start"] = start;
    let events: Vec<Event> = Orders::new(51, Mix { broken: 0, delete: 0, ..Mix::default() }).take(100).collect();
    send(&scene, &events, 0)?;
    Ok(scene)
}

fn send(scene: &Scene, events: &[Event], from: i64) -> Result<()> {
    let timed = |(n, record): (i64, Record)| Record { time_ms: Some(FROM_MS + 1_000 * n), ..record };
    let records: Vec<Record> = (from..).zip(orders::records(events, 1)).map(timed).collect();
    scene.broker.send(&scene.topic, &records, &[])
}

/// The offsets in the table, in order.
fn offsets(scene: &Scene) -> Result<Vec<i64>> {
    let table = scene.pipeline.table(TABLE)?;
    let mut offsets: Vec<i64> = table.column("_offset")?.into_iter().filter_map(Value::as_i64).collect();
    offsets.sort_unstable();
    Ok(offsets)
}

fn expect(scene: &Scene, expected: std::ops::Range<i64>) -> Result<()> {
    let found = offsets(scene)?;
    ensure!(found.iter().copied().eq(expected.clone()), "{found:?} instead of {expected:?}");
    Ok(())
}

#[test]
fn at_the_first_record() -> Result<()> {
    let scene = hundred("earliest", json!("earliest"))?;
    scene.catch_up()?;
    expect(&scene, 0..100)
}

#[test]
fn at_an_offset() -> Result<()> {
    let scene = hundred("offset", json!({ "offset": 40 }))?;
    scene.catch_up()?;
    expect(&scene, 40..100)?;
    // Only a partition that no table knows starts there.
    scene.catch_up()?;
    expect(&scene, 40..100)
}

#[test]
fn at_a_time() -> Result<()> {
    // 2023-11-14T22:13:20Z is FROM_MS; half a second after the 60th record the next is the 61st.
    let scene = hundred("timestamp", json!({ "timestamp": "2023-11-14T22:14:20.5Z" }))?;
    scene.catch_up()?;
    expect(&scene, 61..100)
}

#[test]
fn at_a_time_that_has_not_come() -> Result<()> {
    let scene = hundred("future", json!({ "timestamp": "2024-11-14T00:00:00Z" }))?;
    scene.catch_up()?;
    let more: Vec<Event> = Orders::new(52, Mix { broken: 0, delete: 0, ..Mix::default() }).take(10).collect();
    send(&scene, &more, 100)?;
    scene.catch_up()?;
    expect(&scene, 100..110)
}

#[test]
fn at_the_end_as_it_was_at_the_first_start() -> Result<()> {
    let scene = hundred("latest", json!("latest"))?;
    scene.catch_up()?;
    // What came while it did not run is not lost: the end was noted.
    let more: Vec<Event> = Orders::new(53, Mix { broken: 0, delete: 0, ..Mix::default() }).take(10).collect();
    send(&scene, &more, 100)?;
    scene.catch_up()?;
    expect(&scene, 100..110)
}

#[test]
fn lost_data_stops_it_or_is_passed_over() -> Result<()> {
    let mut scene = hundred("loss", json!("earliest"))?;
    scene.catch_up()?;
    let more: Vec<Event> = Orders::new(54, Mix { broken: 0, delete: 0, ..Mix::default() }).take(100).collect();
    send(&scene, &more, 100)?;
    scene.broker.truncate(&scene.topic, 0, 150)?;

    let stopped = scene.pipeline.run()?;
    stopped.expect(1, &["data lost", &scene.topic, "100", "150", "on_data_loss"])?;
    expect(&scene, 0..100)?;

    scene.pipeline.spec["source"]["kafka"]["on_data_loss"] = json!("continue");
    scene.catch_up()?;
    let found = offsets(&scene)?;
    ensure!(found.iter().copied().eq((0..100).chain(150..200)), "{found:?}");
    Ok(())
}

#[test]
fn a_start_after_the_end_is_data_lost() -> Result<()> {
    let scene = hundred("after", json!({ "offset": 500 }))?;
    scene.pipeline.run()?.expect(1, &["data lost", &scene.topic, "500", "100"])
}
