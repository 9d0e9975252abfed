//! What an operator sees and does: health, metrics, parking over the error budget, faults that pass.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lakemill_tests::orders::{Mix, Orders};
use lakemill_tests::places;
use lakemill_tests::process::{self, Lakemill};
use lakemill_tests::table::Table;
use lakemill_tests::verdict::check;
use serde_json::{Value, json};

use crate::support::{Scene, TABLE};

/// Status and body of a page.
fn page(address: &str, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: x\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").context("no end of the head")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    Ok((status, body.to_owned()))
}

/// A metric's value; its name with its labels.
fn metric(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

fn start(scene: &Scene) -> Result<(Lakemill, String)> {
    let file = scene.pipeline.file()?;
    let arguments = ["run".as_ref(), file.as_os_str(), "--json".as_ref(), "--listen=127.0.0.1:0".as_ref()];
    let mut lakemill = Lakemill::start(arguments)?;
    lakemill.until_it_says("metrics and health address=", 1)?;
    let said = lakemill.stderr_so_far();
    let address = said.split("metrics and health address=").nth(1).and_then(|rest| rest.split_whitespace().next());
    Ok((lakemill, address.context("no address")?.to_owned()))
}

fn command(scene: &Scene, verb: &str, more: &[&str]) -> Result<process::Finished> {
    let file = scene.pipeline.file()?;
    let mut arguments = vec![verb.as_ref(), file.as_os_str(), "--json".as_ref()];
    arguments.extend(more.iter().map(AsRef::<std::ffi::OsStr>::as_ref));
    process::run(arguments)
}

#[test]
fn health_and_metrics_tell_where_it_is() -> Result<()> {
    let mut scene = Scene::new("metrics", 2)?;
    let (mut lakemill, address) = start(&scene)?;
    ensure!(page(&address, "/livez")?.0 == 200 && page(&address, "/readyz")?.0 == 200);
    scene.send(&Orders::new(61, Mix::default()).take(2_000).collect::<Vec<_>>(), &[])?;
    scene.wait_for_all(&mut lakemill)?;
    let rows = scene.rows_expected();
    let text = lakemill.until("the metrics to know", || {
        let (status, text) = page(&address, "/metrics")?;
        ensure!(status == 200, "{status}");
        let found = metric(&text, r#"lakemill_rows_total{fate="out",pipeline="orders"}"#);
        Ok((found == Some(rows as f64)).then_some(text))
    })?;
    for name in [
        r#"lakemill_commits_total{pipeline="orders"}"#,
        r#"lakemill_stage_seconds_total{pipeline="orders",stage="transform"}"#,
        r#"messaging_process_duration_seconds_bucket{pipeline="orders",le="+Inf"}"#,
        r#"process_memory_usage_bytes{pipeline="orders"}"#,
    ] {
        ensure!(metric(&text, name).is_some_and(|value| value > 0.0), "{name} in\n{text}");
    }
    ensure!(metric(&text, r#"lakemill_parked{pipeline="orders"}"#) == Some(0.0), "{text}");
    sees_rows(&mut scene, &mut lakemill)?;
    // The network only looks: commands come through the socket in the state folder.
    ensure!(page(&address, "/v1/resume")?.0 == 404, "a command over the network");
    let status = command(&scene, "status", &[])?.report()?;
    ensure!(status["processes"][0]["rows_out"].as_u64() >= Some(rows), "{status}");
    lakemill.terminate()?.report()?;
    command(&scene, "status", &[])?.expect(3, &["does not run here"])
}

/// Rows at each point, as somebody sees them who looks while new ones come.
fn sees_rows(scene: &mut Scene, lakemill: &mut Lakemill) -> Result<()> {
    let file = scene.pipeline.file()?;
    let mut orders = Orders::new(65, Mix { broken: 3, ..Mix::default() });
    for (point, words) in [
        ("raw", &["\t{\"before\""][..]),
        ("decoded", &["\"_op\"", "\"after.total\""]),
        ("transformed", &["\"_of\":\"changes\"", "\"after_total\""]),
        ("dead", &["\"_of\":\"dead_letters\"", "\"reason\""]),
    ] {
        let arguments = ["tap".as_ref(), file.as_os_str(), "--point".as_ref(), point.as_ref(), "--limit=3".as_ref()];
        let mut tap = Lakemill::start(arguments)?;
        lakemill.until(&format!("rows at {point}"), || {
            scene.send(&orders.by_ref().take(100).collect::<Vec<_>>(), &[])?;
            Ok((!tap.is_running()?).then_some(()))
        })?;
        let said = tap.finish()?;
        said.expect(0, words).with_context(|| point.to_owned())?;
        ensure!(said.stdout.lines().count() == 3, "{point}: {}", said.stdout);
    }
    scene.wait_for_all(lakemill)
}

#[test]
fn over_the_error_budget_it_parks_and_goes_on_by_command() -> Result<()> {
    let mut scene = Scene::new("park", 1)?;
    let mut orders = Orders::new(62, Mix { broken: 0, ..Mix::default() });
    scene.send(&orders.by_ref().take(700).collect::<Vec<_>>(), &[])?;
    let (mut lakemill, address) = start(&scene)?;
    scene.wait_for_all(&mut lakemill)?;
    let bad: Vec<_> = Orders::new(63, Mix { broken: 1, ..Mix::default() }).skip(60).take(900).collect();
    scene.send(&bad, &[])?;
    lakemill.until_it_says("parked", 1)?;
    let why = lakemill.until("it not to be ready", || {
        let (status, why) = page(&address, "/readyz")?;
        Ok((status == 503).then_some(why))
    })?;
    // The reason quotes a row: only the user who runs it sees it.
    ensure!(why.starts_with("parked"), "{why}");
    let (status, all) = page(&address, "/v1/status")?;
    ensure!(status == 200 && all.contains("rows_dead") && !all.contains("one of them"), "{all}");
    let known = lakemill_said(&scene)?["trouble"].to_string();
    ensure!(known.contains("error budget") && known.contains("share_max") && known.contains("one of them"), "{known}");
    ensure!(page(&address, "/livez")?.0 == 200, "it lives");
    let rows = scene.rows()?;

    // The same code on the same batch.
    command(&scene, "resume", &[])?.expect(0, &[])?;
    lakemill.until_it_says("parked: the pipeline", 2)?;
    ensure!(scene.rows()? == rows, "something was committed");
    let mut parked = 2;
    let expected = bad.len() as u64;
    loop {
        let status = command(&scene, "resume", &["--over-budget"])?.report()?;
        ensure!(status["processes"][0]["was_parked"] == true, "{status}");
        let done = lakemill.until("it to go on", || {
            let said = lakemill_said(&scene)?;
            let done = said["rows_dead"].as_u64() == Some(expected);
            let again = said["parked"] == true;
            Ok((done || again).then_some(done))
        })?;
        if done {
            break;
        }
        parked += 1;
        ensure!(parked < 10, "it parks again and again");
    }
    let (status, _) = page(&address, "/readyz")?;
    ensure!(status == 200, "{status}");
    lakemill.terminate()?.report()?;
    scene.check()
}

fn lakemill_said(scene: &Scene) -> Result<Value> {
    Ok(command(scene, "status", &[])?.report()?["processes"][0].clone())
}

/// Fills a small file system of its own while the pipeline runs, then makes room; there is a little more each time. Somebody else's
/// file comes and goes beside it, so that what follows a failed write may have room.
const FULL_DISK: &str = r#"
set -euo pipefail
lakemill=$1 file=$2 folder=$3 size=$4 more=$5 lake=$6 out=$7 expected=$8
rows_in() { "$lakemill" status "$file" --json | grep -o '"rows_in":[0-9]*' | head -1; }
mkdir -p "$folder"
mount -t tmpfs -o size=${size}k tmpfs "$folder"
while :; do printf x >"$folder/else" || :; : >"$folder/else"; done 2>/dev/null &
else=$!
trap 'jobs -p | xargs -r kill' EXIT
"$lakemill" run "$file" --json 2>"$out.log" >"$out.json" &
running=$!
for full in 1 2 3; do
  until [ "$(grep -c 'tries again' "$out.log")" -ge $((full * 2)) ]; do kill -0 $running; read -rt 0.1 <> <(:) || :; done
  if [ $full = 3 ]; then size=65536; else size=$((size + more)); fi
  mount -o remount,size=${size}k "$folder"
done
until [ "$(rows_in)" = "\"rows_in\":$expected" ]; do
  kill -0 $running
  read -rt 0.1 <> <(:) || :
done
kill $else
kill -TERM $running
wait $running
cp -r "$lake" "$out"
"#;

/// Runs a pipeline whose `folder` is a file system of `size` KiB, three times full, and `more` larger after it.
fn with_a_full_disk(mut scene: Scene, folder: &str, size: u32, more: u32) -> Result<()> {
    scene.send(&Orders::new(64, Mix { broken: 0, ..Mix::default() }).take(10_000).collect::<Vec<_>>(), &[])?;
    let home = scene.pipeline.folder();
    let out = home.join("saved");
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "bash", "-c", FULL_DISK, "full-disk"])
        .arg(places::lakemill()?)
        .arg(scene.pipeline.file()?)
        .arg(home.join(folder))
        .args([size.to_string(), more.to_string()])
        .args([home.join("lake"), out.clone()])
        .arg(scene.rows_expected().to_string())
        .output()
        .context("start unshare")?;
    let of = |extension| std::fs::read_to_string(out.with_extension(extension)).unwrap_or_default();
    let (log, said) = (of("log"), of("json"));
    ensure!(output.status.success(), "{}\n{said}\n{log}", String::from_utf8_lossy(&output.stderr));
    ensure!(log.to_lowercase().contains("no space left") && !log.contains("panicked"), "{log}");
    check(&Table::read(&out.join(TABLE))?, &out.join("_dead"), &scene.placed())
}

#[test]
fn a_full_disk_is_waited_out() -> Result<()> {
    with_a_full_disk(Scene::new("full-disk", 2)?, "lake", 200, 64)
}

#[test]
fn a_full_disk_under_the_journal_is_waited_out() -> Result<()> {
    let mut scene = Scene::new("full-state", 2)?;
    // Many plans: they fill what the component leaves.
    scene.pipeline.spec["batch"] = json!({ "rows_max": 20, "latency_ms_max": 100 });
    with_a_full_disk(scene, "state", 208, 4)
}
