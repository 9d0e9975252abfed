//! Components that change on disk while the pipeline runs: a good one takes over between two batches, a bad one never does, and
//! no row is lost or doubled.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use lakemill_tests::orders::{Mix, Orders};
use lakemill_tests::process::Lakemill;
use lakemill_tests::verdict::FLATTEN;
use lakemill_tests::{log, places, wasm};
use serde_json::json;

use crate::support::{Scene, TABLE};

/// A scene whose component is a file of its own.
fn scene(name: &str) -> Result<(Scene, PathBuf, Vec<u8>)> {
    let mut scene = Scene::new(name, 2)?;
    let component = scene.pipeline.folder().join("flatten.wasm");
    let module = std::fs::read(places::guest(FLATTEN.0)?)?;
    std::fs::write(&component, &module)?;
    scene.pipeline.spec["transforms"][0]["component"] = json!("flatten.wasm");
    Ok((scene, component, module))
}

fn start(scene: &Scene, mode: &[&str]) -> Result<Lakemill> {
    let file = scene.pipeline.file()?;
    let mut arguments = vec!["run".as_ref(), file.as_os_str(), "--json".as_ref()];
    arguments.extend(mode.iter().map(AsRef::<std::ffi::OsStr>::as_ref));
    Lakemill::start(arguments)
}

/// The digests of the commits that hold rows, in the order in which they came up.
fn digests(table: &Path) -> Result<Vec<String>> {
    let mut seen: Vec<String> = Vec::new();
    for commit in log::commits(table)?.iter().filter(|commit| commit.rows_added() > 0) {
        let digest = commit.info().context("a commit without commitInfo")?["lakemill.digests"][0].clone();
        let digest = digest.as_str().context("no digest")?.to_owned();
        if seen.last() != Some(&digest) {
            seen.push(digest);
        }
    }
    Ok(seen)
}

/// Sends events until a version other than `before` has made rows; returns its digest.
fn until_swapped(scene: &mut Scene, orders: &mut Orders, lakemill: &mut Lakemill, before: &str) -> Result<String> {
    lakemill.until("another version to make rows", || {
        scene.send(&orders.by_ref().take(200).collect::<Vec<_>>(), &[])?;
        Ok(digests(&scene.pipeline.path(TABLE))?.pop().filter(|last| last != before))
    })
}

fn takes_over(mode: &[&str]) -> Result<()> {
    let (mut scene, component, module) = scene("swap")?;
    let mut orders = Orders::new(41, Mix::default());
    let mut lakemill = start(&scene, mode)?;
    let mut expected = vec![until_swapped(&mut scene, &mut orders, &mut lakemill, "")?];
    for number in 1..4 {
        wasm::replace(&component, &wasm::version(&module, number))?;
        let last = expected.last().cloned().unwrap_or_default();
        expected.push(until_swapped(&mut scene, &mut orders, &mut lakemill, &last)?);
    }
    scene.wait_for_all(&mut lakemill)?;
    let report = lakemill.terminate()?.report()?;
    ensure!(report["swaps"] == 3 && report["restarts"] == 0, "{report}");
    scene.check()?;
    let found = digests(&scene.pipeline.path(TABLE))?;
    ensure!(found == expected, "{found:?} instead of {expected:?}");
    Ok(())
}

#[test]
fn a_new_version_takes_over_between_two_batches() -> Result<()> {
    takes_over(&["--watch"])
}

#[test]
fn a_new_version_is_seen_where_the_file_system_does_not_tell() -> Result<()> {
    takes_over(&["--watch=poll"])
}

#[test]
fn a_bad_version_never_touches_what_runs() -> Result<()> {
    let (mut scene, component, module) = scene("bad-swap")?;
    let mut orders = Orders::new(42, Mix::default());
    let mut lakemill = start(&scene, &["--watch"])?;
    let first = until_swapped(&mut scene, &mut orders, &mut lakemill, "")?;
    let split = std::fs::read(places::guest("split")?)?;
    let hostile = std::fs::read(places::guest("hostile")?)?;
    let bad = [
        ("half of one", &module[..module.len() / 2], "broken WebAssembly"),
        ("a text", b"no component", "not a WebAssembly component"),
        ("other outputs", &split[..], "`inserts`"),
        ("an output too few", &hostile[..], "`out`"),
    ];
    for (refused, (what, bytes, words)) in bad.into_iter().enumerate() {
        wasm::replace(&component, bytes)?;
        lakemill.until_it_says("what runs stays", refused + 1).context(what)?;
        let said = lakemill.stderr_so_far();
        let line = said.lines().rfind(|line| line.contains("what runs stays")).unwrap_or_default();
        ensure!(line.contains(words), "{what}: no `{words}` in {line}");
        scene.send(&orders.by_ref().take(200).collect::<Vec<_>>(), &[])?;
        scene.wait_for_all(&mut lakemill)?;
    }
    wasm::replace(&component, &wasm::version(&module, 1))?;
    let second = until_swapped(&mut scene, &mut orders, &mut lakemill, &first)?;
    scene.wait_for_all(&mut lakemill)?;
    let report = lakemill.terminate()?.report()?;
    ensure!(report["swaps"] == 1, "{report}");
    ensure!(digests(&scene.pipeline.path(TABLE))? == [first, second], "only the good ones made rows");
    scene.check()
}
