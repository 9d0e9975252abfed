//! Stopped or killed in the middle, a pipeline goes on where it was: no row lost, none doubled.

use anyhow::{Result, ensure};
use lakemill_tests::orders::{Mix, Orders};
use lakemill_tests::verdict::adds_up;

use crate::support::Scene;

#[test]
fn reads_a_topic_to_its_end() -> Result<()> {
    let mut scene = Scene::new("whole", 3)?;
    let events = Orders::events(11, 20_000);
    scene.send(&events, &["compression.type=lz4"])?;
    let finished = scene.pipeline.run()?;
    adds_up(&finished, &events)?;
    finished.expect_quiet()?;
    scene.check()?;

    // There is nothing more to do, and nothing is done.
    let before = scene.pipeline.table(crate::support::TABLE)?.version;
    let again = scene.pipeline.run()?.report()?;
    ensure!(again["rows_in"] == 0 && again["rows_out"] == 0, "{again}");
    // Taking possession of the partitions may be a commit.
    ensure!(scene.pipeline.table(crate::support::TABLE)?.version <= before + 1, "commits without rows");
    scene.check()
}

#[test]
fn goes_on_after_a_stop() -> Result<()> {
    let mut scene = Scene::new("stop", 2)?;
    let mut orders = Orders::new(12, Mix::default());
    for _ in 0..3 {
        scene.send(&orders.by_ref().take(4_000).collect::<Vec<_>>(), &[])?;
        let before = scene.rows()?;
        let mut lakemill = scene.pipeline.start()?;
        lakemill.until("a commit", || Ok((scene.rows()? > before).then_some(())))?;
        let stopped = lakemill.terminate()?;
        let report = stopped.report()?;
        stopped.expect_quiet()?;
        // A batch that was on its way is finished or dropped, never half.
        let written = scene.rows()? - before;
        ensure!(report["rows_out"] == written, "{written} rows written, but it says {report}");
    }
    scene.catch_up()?;
    scene.check()
}

#[test]
fn goes_on_after_a_kill() -> Result<()> {
    let mut scene = Scene::new("kill", 2)?;
    let mut orders = Orders::new(13, Mix::default());
    let mut random = fastrand::Rng::with_seed(13);
    for _ in 0..8 {
        scene.send(&orders.by_ref().take(3_000).collect::<Vec<_>>(), &[])?;
        let enough = scene.rows()? + random.u64(1..3_000);
        let all = scene.rows_expected();
        let mut lakemill = scene.pipeline.start()?;
        lakemill.until("some commits", || Ok((scene.rows()? >= enough.min(all)).then_some(())))?;
        lakemill.kill()?;
    }
    scene.catch_up()?;
    scene.check()
}

#[test]
fn goes_on_without_its_own_memory() -> Result<()> {
    let mut scene = Scene::new("memory", 2)?;
    let mut orders = Orders::new(14, Mix::default());
    scene.send(&orders.by_ref().take(3_000).collect::<Vec<_>>(), &[])?;
    scene.catch_up()?;
    // The truth is in the tables: another machine without the state folder goes on all the same.
    std::fs::remove_dir_all(scene.pipeline.folder().join("state"))?;
    scene.send(&orders.take(3_000).collect::<Vec<_>>(), &[])?;
    scene.catch_up()?;
    scene.check()
}
