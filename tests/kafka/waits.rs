//! What a running pipeline waits for instead of ending: a table that takes its rows again. And what it does not begin beside: another
//! process of the same pipeline.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use lakemill_tests::orders::{Mix, Orders};
use lakemill_tests::process::{self, Finished, Lakemill};
use lakemill_tests::spec::Pipeline;
use lakemill_tests::verdict::FLATTEN;
use lakemill_tests::{orders, places};
use serde_json::{Value, json};

use crate::support::{Scene, TABLE};

const WHOLE: Mix = Mix { broken: 0, toast: 0, delete: 100, poison: 0, snapshot_rows: 0 };

fn command(scene: &Scene, verb: &str, more: &[&str]) -> Result<Finished> {
    let file = scene.pipeline.file()?;
    let mut arguments = vec![verb.as_ref(), file.as_os_str()];
    arguments.extend(more.iter().map(AsRef::<std::ffi::OsStr>::as_ref));
    process::run(arguments)
}

fn status(scene: &Scene) -> Result<Value> {
    Ok(command(scene, "status", &["--json"])?.report()?["processes"][0].clone())
}

/// A scene, and a table that has the columns of its rows, made by another pipeline from the same events.
fn scene(name: &str) -> Result<(Scene, Pipeline, Orders)> {
    let mut scene = Scene::new(name, 1)?;
    let mut events = Orders::new(81, WHOLE);
    scene.send(&events.by_ref().take(300).collect::<Vec<_>>(), &[])?;
    let mut like = Pipeline::of_files(FLATTEN.0, &[FLATTEN.1])?;
    like.spec["source"]["files"]["topic"] = json!(scene.topic);
    like.events("orders.jsonl", &orders::lines(&scene.sent))?;
    like.run()?.expect(0, &[])?;
    Ok((scene, like, events))
}

/// Another writer gives the table other columns, and takes its rows out.
fn alter(scene: &Scene, like: &Pipeline, changes: &[&str]) -> Result<()> {
    let output = Command::new(places::python()?)
        .arg(places::root().join("tests/readers/alter_table.py"))
        .args([scene.pipeline.path(TABLE), like.path(TABLE)])
        .args(changes)
        .output()
        .context("start the other writer")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn a_table_that_does_not_fit_is_waited_for_from_the_first_start_on() -> Result<()> {
    let (scene, like, _) = scene("misfit-start")?;
    alter(&scene, &like, &["after_total=binary"])?;
    // A run that has an end says so with its exit code.
    let words = ["column `after_total`", "the table has it as binary, the rows have it as double"];
    scene.pipeline.run()?.expect(2, &words)?;
    let mut lakemill = scene.pipeline.start()?;
    lakemill.until_it_says("goes on by itself when the table fits", 1)?;
    let said = lakemill.stderr_so_far();
    let line = said.lines().find(|line| line.contains("goes on by itself")).unwrap_or_default();
    ensure!(line.contains("ERROR") && words.iter().all(|word| line.contains(word)), "{line}");
    let known = status(&scene)?;
    let trouble = known["trouble"].as_str().unwrap_or_default();
    ensure!(known["parked"] == true && trouble.contains("convert it in the transform"), "{known}");
    // Whoever asks has it looked at now.
    command(&scene, "resume", &["--json"])?.report()?;
    lakemill.until_it_says("goes on by itself when the table fits", 2)?;
    command(&scene, "reload", &["--json"])?.report()?;
    lakemill.until_it_says("goes on by itself when the table fits", 3)?;
    ensure!(scene.rows()? == 0 && lakemill.is_running()?, "it did not wait");
    alter(&scene, &like, &[])?;
    scene.wait_for_all(&mut lakemill)?;
    ensure!(lakemill.stderr_so_far().contains("the tables fit now"), "{}", lakemill.stderr_so_far());
    let report = lakemill.terminate()?.report()?;
    ensure!(report["parked"] == false && report["trouble"].is_null(), "{report}");
    scene.check()
}

#[test]
fn a_table_that_changes_under_a_running_pipeline_is_waited_for() -> Result<()> {
    let (mut scene, like, mut events) = scene("misfit-live")?;
    let mut lakemill = scene.pipeline.start()?;
    scene.wait_for_all(&mut lakemill)?;
    alter(&scene, &like, &["after_quantity=binary", "after_paid=binary"])?;
    let before = scene.sent.len();
    scene.send(&events.by_ref().take(700).collect::<Vec<_>>(), &[])?;
    lakemill.until_it_says("goes on by itself when the table fits", 1)?;
    let trouble = status(&scene)?["trouble"].to_string();
    ensure!(["after_quantity", "after_paid"].iter().all(|column| trouble.contains(column)), "{trouble}");
    alter(&scene, &like, &[])?;
    // The other writer took out what was there before.
    let expected = orders::count(&scene.sent[before..]).0;
    lakemill.until("the rows since then", || Ok((scene.rows()? >= expected).then_some(())))?;
    let report = lakemill.terminate()?.report()?;
    ensure!(report["rows_dead"] == 0 && report["parked"] == false, "{report}");
    let table = scene.pipeline.table(TABLE)?;
    let mut offsets: Vec<i64> = table.rows.iter().filter_map(|row| row["_offset"].as_i64()).collect();
    offsets.sort_unstable();
    let all: Vec<i64> = scene.placed()[before..]
        .iter()
        .filter(|(event, _)| matches!(event.fate, orders::Fate::Change(_)))
        .map(|(_, (_, offset))| *offset)
        .collect();
    ensure!(offsets == all, "{} rows instead of {}", offsets.len(), all.len());
    Ok(())
}

#[test]
fn a_second_process_is_refused_and_may_take_over() -> Result<()> {
    let mut scene = Scene::new("second", 1)?;
    let mut events = Orders::new(82, WHOLE);
    scene.send(&events.by_ref().take(300).collect::<Vec<_>>(), &[])?;
    let mut first = scene.pipeline.start()?;
    scene.wait_for_all(&mut first)?;
    let named = |process: &Lakemill| format!("process {} on ", process.id());
    scene.pipeline.run()?.expect(2, &["runs already", &named(&first), "--take-over", "source.kafka.group"])?;
    scene.send(&events.by_ref().take(300).collect::<Vec<_>>(), &[])?;
    scene.wait_for_all(&mut first)?;

    let file = scene.pipeline.file()?;
    let mut second = Lakemill::start(["run".as_ref(), file.as_os_str(), "--json".as_ref(), "--take-over".as_ref()])?;
    second.until_it_says("go on partitions=1", 1)?;
    ensure!(second.stderr_so_far().contains(&named(&first)), "{}", second.stderr_so_far());
    scene.send(&events.by_ref().take(300).collect::<Vec<_>>(), &[])?;
    scene.wait_for_all(&mut second)?;
    first.finish()?.expect(1, &["another process writes as this pipeline"])?;
    scene.pipeline.run()?.expect(2, &["runs already", &named(&second)])?;
    second.terminate()?.report()?;
    // Nobody is there any more.
    scene.catch_up()?;
    scene.check()
}
