//! Several processes of one consumer group share the partitions, and hand them over without losing or doubling a row.

use std::time::Duration;

use anyhow::{Result, ensure};
use lakemill_tests::orders::{Mix, Orders};
use lakemill_tests::spec::Pipeline;
use lakemill_tests::wait;
use serde_json::json;

use crate::support::{Scene, TABLE};

/// The same pipeline in another process: its own state, the same tables.
fn twin(scene: &Scene) -> Result<Pipeline> {
    let mut twin = Pipeline::of_kafka(&scene.broker.address, &scene.topic, "flatten", &[])?;
    twin.spec = scene.pipeline.spec.clone();
    twin.spec["sinks"][TABLE]["delta"]["path"] = json!(scene.pipeline.path(TABLE));
    twin.spec["dead_letters"]["delta"]["path"] = json!(scene.pipeline.path("_dead"));
    Ok(twin)
}

#[test]
fn two_processes_share_two_partitions() -> Result<()> {
    let mut scene = Scene::new("group", 2)?;
    let group = format!("{}-group", scene.topic);
    scene.pipeline.spec["source"]["kafka"]["group"] = json!(group);
    let mut orders = Orders::new(21, Mix::default());
    let mut more = |scene: &mut Scene| scene.send(&orders.by_ref().take(3_000).collect::<Vec<_>>(), &[]);

    more(&mut scene)?;
    let mut first = scene.pipeline.start()?;
    scene.wait_for_all(&mut first)?;

    let other = twin(&scene)?;
    let mut second = other.start()?;
    more(&mut scene)?;
    scene.broker.until_members(&group, 2, &mut second)?;
    more(&mut scene)?;
    scene.wait_for_all(&mut second)?;
    ensure!(first.is_running()?, "the first process ended: {}", first.stderr_so_far());

    // One goes, the other takes over while events keep coming.
    more(&mut scene)?;
    let ended = first.terminate()?;
    ensure!(ended.code == Some(0), "exit code {:?}:\n{}", ended.code, ended.said());
    more(&mut scene)?;
    scene.broker.until_members(&group, 1, &mut second)?;
    scene.wait_for_all(&mut second)?;

    // The group's progress is reported to Kafka, for people and tools.
    let ends = scene.broker.ends(&scene.topic)?;
    second.until("the progress report", || {
        let told = scene.broker.committed(&group, &scene.topic)?;
        Ok(ends.iter().all(|(partition, (_, end))| told.get(partition) == Some(end)).then_some(()))
    })?;
    let ended = second.terminate()?;
    ensure!(ended.code == Some(0), "exit code {:?}:\n{}", ended.code, ended.said());
    scene.check()
}

#[test]
fn a_frozen_process_cannot_write_once_another_has_taken_over() -> Result<()> {
    let mut scene = Scene::new("zombie", 1)?;
    let group = format!("{}-group", scene.topic);
    scene.pipeline.spec["source"]["kafka"]["group"] = json!(group);
    scene.pipeline.spec["source"]["kafka"]["properties"] = json!({ "session.timeout.ms": "6000" });
    let mut orders = Orders::new(22, Mix::default());
    scene.send(&orders.by_ref().take(20_000).collect::<Vec<_>>(), &[])?;

    let mut first = scene.pipeline.start()?;
    first.until("a commit", || Ok((scene.rows()? > 0).then_some(())))?;
    first.signal("STOP")?;
    let other = twin(&scene)?;
    let mut second = other.start()?;
    scene.send(&orders.take(1_000).collect::<Vec<_>>(), &[])?;
    scene.wait_for_all(&mut second)?;
    first.signal("CONT")?;
    // Awake again, it either learns from the group that it lost the partition, or from the table.
    wait::until(Duration::from_secs(30), "the group to be in order", || {
        let members = scene.broker.members(&group)?;
        Ok((!first.is_running()? || members.len() == 2).then_some(()))
    })?;
    drop(first.kill()?);
    let ended = second.terminate()?;
    ensure!(ended.code == Some(0), "exit code {:?}:\n{}", ended.code, ended.said());
    scene.check()
}
