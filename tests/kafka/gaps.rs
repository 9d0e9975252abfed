//! Offsets have gaps: compaction removes records, transactions leave markers, aborted records are there and do not count.

use std::time::Duration;

use anyhow::{Result, ensure};
use lakemill_tests::broker::Send;
use lakemill_tests::orders::{self, Event, Mix, Orders};
use lakemill_tests::verdict::{Place, check};
use lakemill_tests::{log, wait};

use crate::support::{Scene, TABLE};

/// No broken ones: the same key twice in a compacted topic would remove them by chance.
const WHOLE: Mix = Mix { broken: 0, toast: 10, delete: 10, poison: 0, snapshot_rows: 0 };

fn position(scene: &Scene, partition: i32) -> Result<Option<i64>> {
    let commits = log::commits(&scene.pipeline.path(TABLE))?;
    let ending = format!("{}/{partition}", scene.topic);
    let of = |commit: &log::Commit| {
        let found = commit.transactions().into_iter().filter(|(app, _)| app.ends_with(&ending));
        found.map(|(_, version)| version).max()
    };
    Ok(commits.iter().rev().find_map(of))
}

#[test]
fn transactions_commit_and_abort() -> Result<()> {
    let mut scene = Scene::new("transactions", 1)?;
    let mut all = Orders::new(31, WHOLE);
    let mut steps: Vec<(Vec<Event>, bool)> = Vec::new();
    for n in 0..20 {
        steps.push((all.by_ref().take(1 + n * 7 % 40).collect(), n % 3 != 1));
    }
    let records: Vec<_> = steps.iter().map(|(events, _)| orders::records(events, 1)).collect();
    let mut orders_of_producer = Vec::new();
    for ((_, commits), records) in steps.iter().zip(&records) {
        orders_of_producer.extend([Send::Begin, Send::Records(records)]);
        orders_of_producer.push(if *commits { Send::Commit } else { Send::Abort });
    }
    let id = format!("transactional.id={}", scene.topic);
    scene.broker.produce(&scene.topic, &orders_of_producer, &[&id])?;
    scene.sent = steps.into_iter().filter(|(_, commits)| *commits).flat_map(|(events, _)| events).collect();

    // Read in two goes, so that one begins behind a gap.
    scene.catch_up()?;
    let (_, end) = scene.broker.ends(&scene.topic)?[&0];
    ensure!(position(&scene, 0)? == Some(end), "the position is {:?}, the end {end}", position(&scene, 0)?);
    let more: Vec<_> = all.take(50).collect();
    let records = orders::records(&more, 1);
    scene.broker.produce(&scene.topic, &[Send::Begin, Send::Records(&records), Send::Commit], &[&id])?;
    scene.sent.extend(more);
    scene.catch_up()?;

    let offsets = scene.broker.offsets(&scene.topic)?;
    let placed: Vec<(&Event, Place)> = scene.sent.iter().zip(offsets[&0].iter().map(|offset| (0, *offset))).collect();
    ensure!(placed.len() == offsets[&0].len(), "{} records, {} events", offsets[&0].len(), placed.len());
    check(&scene.pipeline.table(TABLE)?, &scene.pipeline.path("_dead"), &placed)
}

#[test]
fn compaction_leaves_gaps() -> Result<()> {
    let mut scene = Scene::new("unused", 1)?;
    let settings = [
        "cleanup.policy=compact",
        "segment.ms=100",
        "min.cleanable.dirty.ratio=0.001",
        "max.compaction.lag.ms=1",
        "delete.retention.ms=100",
    ];
    scene.topic = scene.broker.topic("compacted", 1, &settings)?;
    scene.pipeline.spec["source"]["kafka"]["topics"] = serde_json::json!([scene.topic]);
    let mut all = Orders::new(32, WHOLE);
    // A segment is closed by the first record that comes after its time: so they are sent bit by bit.
    let broker = scene.broker.clone();
    let topic = scene.topic.clone();
    let left = wait::until(Duration::from_secs(90), "compaction", || {
        scene.send(&all.by_ref().take(300).collect::<Vec<_>>(), &[])?;
        let left = broker.offsets(&topic)?[&0].len();
        Ok((left * 10 < scene.sent.len() * 9).then_some(left))
    })?;
    scene.catch_up()?;
    let table = scene.pipeline.table(TABLE)?;

    // What is gone before it is read may be gone between two looks as well: every row is one that was sent, at most
    // once, and all that are left are there.
    let places: std::collections::BTreeSet<i64> = broker.offsets(&topic)?[&0].iter().copied().collect();
    let rows: Vec<_> = table.column("_offset")?.into_iter().filter_map(serde_json::Value::as_i64).collect();
    let unique: std::collections::BTreeSet<i64> = rows.iter().copied().collect();
    ensure!(unique.len() == rows.len(), "{} rows, {} offsets", rows.len(), unique.len());
    ensure!(rows.len() < scene.sent.len() && rows.len() + 1_000 > left / 2, "{} of {left}", rows.len());
    let placed = scene.placed();
    for (event, (_, offset)) in &placed {
        let is_change = matches!(event.fate, orders::Fate::Change(_));
        ensure!(
            !is_change || !places.contains(offset) || unique.contains(offset),
            "offset {offset} is not in the table"
        );
    }
    let seen: Vec<(&Event, Place)> = placed.into_iter().filter(|(_, (_, offset))| unique.contains(offset)).collect();
    check(&table, &scene.pipeline.path("_dead"), &seen)?;
    let (_, end) = scene.broker.ends(&scene.topic)?[&0];
    ensure!(position(&scene, 0)? == Some(end), "the position is {:?}, the end {end}", position(&scene, 0)?);
    Ok(())
}
