//! New components on trial: beside the old ones as a shadow, or for some keys as a canary; promoted by command or by rule, taken
//! back by themselves. No row is lost, doubled, or made by code that was not in use.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use lakemill_tests::broker::Broker;
use lakemill_tests::live::{Live, Load, Sent};
use lakemill_tests::orders::Mix;
use lakemill_tests::process::{self, Lakemill};
use lakemill_tests::spec::Pipeline;
use lakemill_tests::{log, oracle, places, wasm};
use serde_json::{Value, json};

/// A pipeline through `vary` under load.
struct Stage {
    pipeline: Pipeline,
    live: Live,
    component: PathBuf,
    module: Vec<u8>,
}

impl Stage {
    fn new(name: &str) -> Result<Self> {
        let broker = Broker::of_environment()?;
        let topic = broker.topic(name, 2, &[])?;
        let mut pipeline = Pipeline::of_kafka(&broker.address, &topic, "vary", &["out", "twin"])?;
        let module = std::fs::read(places::guest("vary")?)?;
        let component = pipeline.folder().join("vary.wasm");
        std::fs::write(&component, &module)?;
        pipeline.spec["transforms"][0]["component"] = json!("vary.wasm");
        pipeline.spec["batch"] = json!({ "rows_max": 500, "latency_ms_max": 20 });
        let mix = Mix { broken: 0, toast: 0, ..Mix::default() };
        let load = Load { topic, partitions: 2, seed: 91, mix, rate: 1_500 };
        let live = Live::start(&broker, load, pipeline.folder())?;
        Ok(Self { pipeline, live, component, module })
    }

    fn start(&self, how: &[&str]) -> Result<Lakemill> {
        let file = self.pipeline.file()?;
        let mut arguments = vec!["run".as_ref(), file.as_os_str(), "--json".as_ref(), "--watch".as_ref()];
        arguments.extend(how.iter().map(AsRef::<std::ffi::OsStr>::as_ref));
        let mut lakemill = Lakemill::start(arguments)?;
        lakemill.until("rows", || Ok((self.pipeline.rows("out")? > 0).then_some(())))?;
        Ok(lakemill)
    }

    fn variant(&self, number: u32) -> Result<()> {
        wasm::replace(&self.component, &wasm::variant(&self.module, number)?)
    }

    fn command(&self, verb: &str) -> Result<Value> {
        let file = self.pipeline.file()?;
        process::run([verb.as_ref(), file.as_os_str(), "--json".as_ref()])?.report()
    }

    fn status(&self) -> Result<Value> {
        Ok(self.command("status")?["processes"][0].clone())
    }

    /// Waits until a trial has seen this many rows, or has ended.
    fn trial(&self, lakemill: &mut Lakemill, rows: u64) -> Result<Value> {
        lakemill.until("the trial to see rows", || {
            let trial = self.status()?["trial"].clone();
            let seen = trial["new"]["rows"].as_u64().unwrap_or(0) >= rows;
            Ok((seen || trial["outcome"].is_string()).then_some(trial))
        })
    }

    /// Waits until a trial has ended.
    fn ended(&self, lakemill: &mut Lakemill) -> Result<String> {
        lakemill.until("the trial to end", || Ok(self.status()?["trial"]["outcome"].as_str().map(str::to_owned)))
    }

    /// Ends the load and the pipeline; the summary, and what was sent.
    fn finish(self, lakemill: Lakemill) -> Result<(Value, Sent, Pipeline)> {
        let sent = self.live.finish()?;
        let report = lakemill.terminate()?.report()?;
        let last = self.pipeline.run()?.report()?;
        ensure!(last["rows_dead"] == 0 || report["rows_dead"] != 0, "{last}");
        Ok((report, sent, self.pipeline))
    }
}

/// Every row once, all of them as the first variant makes them.
fn as_if_nothing_had_been(sent: &Sent, pipeline: &Pipeline) -> Result<()> {
    let verdicts = oracle::judge(sent, &[(&pipeline.path("out"), "rcud"), (&pipeline.path("twin"), "rcud")])?;
    ensure!(verdicts.values().all(|v| [v.missing, v.surplus, v.disordered] == [0; 3]), "{verdicts:?}");
    let table = pipeline.table("out")?;
    let other = table.rows.iter().find(|row| row["sum"] != row["total"]);
    ensure!(other.is_none(), "{other:?}");
    Ok(())
}

#[test]
fn a_shadow_tells_what_would_change_and_changes_nothing() -> Result<()> {
    let stage = Stage::new("shadow")?;
    let mut lakemill = stage.start(&["--shadow"])?;
    let first = stage.status()?["digests"][0].clone();
    stage.variant(1)?;
    lakemill.until_it_says("new components are on trial", 1)?;
    let trial = stage.trial(&mut lakemill, 2_000)?;
    ensure!(trial["mode"] == "shadow" && trial["digests"][0] != first, "{trial}");
    let (compared, changed) = (trial["rows_compared"].as_u64(), trial["rows_changed"].as_u64());
    ensure!(changed > Some(0) && changed == compared, "{trial}");
    // Its number is in each row, its sums in every hundredth.
    let sums = trial["columns_changed"]["out.sum"].as_u64();
    ensure!(Some(0) < sums && sums < compared && trial["columns_changed"]["twin.variant"].as_u64() > sums, "{trial}");
    ensure!(trial["rows_added"] == 0 && trial["rows_missing"] == 0, "{trial}");
    let samples = trial["samples"].as_array().context("samples")?;
    let cells =
        samples.iter().map(|sample| &sample["columns"]["sum"]).find(|cells| cells.is_array()).context("a sum")?;
    let number = |at: usize| cells[at].as_str().and_then(|text| text.parse::<f64>().ok()).context("a number");
    ensure!((number(1)? - number(0)? - 1.0).abs() < 1e-6, "{cells}");
    ensure!(
        trial["new"]["memory_bytes_max"].as_u64() > Some(0) && trial["new"]["call_us"].as_u64() > Some(0),
        "{trial}"
    );
    // Rows that it drops are missing.
    stage.variant(2)?;
    lakemill.until("the other one to be on trial", || {
        let missing = stage.status()?["trial"]["rows_missing"].as_u64() > Some(0);
        Ok(missing.then_some(()))
    })?;
    let (report, sent, pipeline) = stage.finish(lakemill)?;
    ensure!(report["digests"][0] == first && report["swaps"] == 0, "{report}");
    // A restart without `--shadow` takes the file's word, which is not what this is about.
    let changed = pipeline.table("out")?.rows.iter().filter(|row| row["sum"] != row["total"]).count();
    ensure!(changed == 0, "{changed} rows of the shadow");
    let verdict = oracle::judge(&sent, &[(&pipeline.path("out"), "rcud")])?;
    ensure!(verdict.values().all(|v| v.surplus == 0 && v.disordered == 0), "{verdict:?}");
    Ok(())
}

#[test]
fn a_shadow_is_promoted_by_rule_if_nothing_differs() -> Result<()> {
    let stage = Stage::new("promote")?;
    let mut lakemill = stage.start(&["--shadow", "--promote-after", "1000"])?;
    wasm::replace(&stage.component, &wasm::version(&stage.module, 1))?;
    lakemill.until_it_says("promoted", 1)?;
    stage.variant(1)?;
    let outcome = stage.ended(&mut lakemill)?;
    ensure!(outcome == "promoted", "{outcome}");
    // What differs waits for somebody to say whether it should.
    let trial = lakemill.until("the next trial to see rows", || {
        let trial = stage.status()?["trial"].clone();
        let is_far = trial["new"]["rows"].as_u64() >= Some(2_000) && trial["outcome"] != "promoted";
        Ok(is_far.then_some(trial))
    })?;
    ensure!(trial["rows_changed"].as_u64() > Some(0) && trial["outcome"].is_null(), "{trial}");
    let (report, sent, pipeline) = stage.finish(lakemill)?;
    ensure!(report["swaps"] == 1 && report["rollbacks"] == 0, "{report}");
    let verdict = oracle::judge(&sent, &[(&pipeline.path("out"), "rcud")])?;
    ensure!(verdict.values().all(|v| [v.missing, v.surplus, v.disordered] == [0; 3]), "{verdict:?}");
    Ok(())
}

#[test]
fn a_shadow_is_promoted_by_command() -> Result<()> {
    let stage = Stage::new("command")?;
    let mut lakemill = stage.start(&["--shadow"])?;
    stage.variant(6)?;
    stage.trial(&mut lakemill, 500)?;
    let promoted = stage.command("promote")?;
    let digest = promoted["processes"][0]["digests"][0].as_str().context("a digest")?.to_owned();
    lakemill.until("rows of the new code", || {
        let last = log::commits(&stage.pipeline.path("out"))?.pop().context("a commit")?;
        Ok((last.info().is_some_and(|info| info["lakemill.digests"][0] == digest.as_str())).then_some(()))
    })?;
    let (report, sent, pipeline) = stage.finish(lakemill)?;
    ensure!(report["swaps"] == 1 && report["rollbacks"] == 0, "{report}");
    as_if_nothing_had_been(&sent, &pipeline)
}

#[test]
fn a_canary_has_its_keys_and_each_file_names_its_code() -> Result<()> {
    let stage = Stage::new("canary")?;
    let mut lakemill = stage.start(&["--canary", "20", "--slowdown-max", "1000"])?;
    let first = stage.status()?["digests"][0].as_str().context("a digest")?.to_owned();
    stage.variant(2)?;
    let trial = stage.trial(&mut lakemill, 1_000)?;
    let rows = |side: &str| trial[side]["rows"].as_f64().unwrap_or(0.0);
    let share = rows("new") / (rows("new") + rows("old"));
    ensure!((0.1..0.3).contains(&share), "{share}: {trial}");
    let second = trial["digests"][0].as_str().context("a digest")?.to_owned();
    let table = stage.pipeline.path("out");
    let tags: Vec<String> = log::commits(&table)?
        .iter()
        .flat_map(|commit| &commit.actions)
        .filter_map(|action| Some(action["add"]["tags"]["lakemill.digests"].as_str()?.to_owned()))
        .collect();
    ensure!(tags.contains(&first) && tags.contains(&second), "{tags:?}");
    each_row_names_its_code(&stage, &second)?;
    stage.command("rollback")?;
    lakemill.until_it_says("rolled back", 1)?;
    let (report, sent, pipeline) = stage.finish(lakemill)?;
    ensure!(report["rollbacks"] == 1, "{report}");
    // The canary dropped every tenth row of its keys; nothing else is missing, and a key was always on one side.
    let verdicts = oracle::judge(&sent, &[(&pipeline.path("out"), "rcud")])?;
    let verdict = verdicts.values().next().context("a verdict")?;
    ensure!(verdict.surplus == 0 && verdict.missing > 0, "{verdict:?}");
    ensure!((verdict.missing as f64) < 0.05 * verdict.rows as f64, "{verdict:?}");
    Ok(())
}

/// `blame` tells rows of the canary, which drops ids that end with 0, from the others.
fn each_row_names_its_code(stage: &Stage, canary: &str) -> Result<()> {
    let table = stage.pipeline.path("out");
    let mut sides = [0, 0];
    for id in 1..60 {
        let condition = format!("--where=id={id}");
        let said =
            process::run(["blame".as_ref(), table.as_os_str(), condition.as_ref(), "--json".as_ref()])?.report()?;
        let rows = said["rows"].as_array().context("rows")?;
        for row in rows {
            ensure!(row["row"]["id"].as_str() == Some(&*id.to_string()), "{row}");
            let by_canary = row["digests"] == json!([canary]);
            ensure!(row["digests"].as_array().is_some_and(|digests| digests.len() == 1), "{row}");
            sides[usize::from(by_canary)] += 1;
            let offset = row["row"]["_offset"].as_str().and_then(|text| text.parse::<i64>().ok());
            let partition = row["row"]["_partition"].as_str().and_then(|text| text.parse::<i64>().ok());
            let ranges = row["ranges"].as_array().context("ranges")?;
            let within = ranges.iter().any(|range| {
                range[1].as_i64() == partition && range[2].as_i64() <= offset && offset < range[3].as_i64()
            });
            ensure!(within, "its position is not in its batch: {row}");
        }
    }
    ensure!(sides[0] > 0 && sides[1] > 0, "{sides:?}");
    Ok(())
}

/// A canary that is no good is taken back by itself, and leaves no trace but in the log.
fn taken_back(variant: u32, why: &str) -> Result<()> {
    let stage = Stage::new("rollback")?;
    let mut lakemill = stage.start(&["--canary", "30", "--slowdown-max", "3"])?;
    stage.variant(variant)?;
    lakemill.until_it_says("rolled back", 1)?;
    let said = lakemill.stderr_so_far();
    let line = said.lines().find(|line| line.contains("rolled back")).unwrap_or_default();
    ensure!(line.contains(why), "variant {variant}: no `{why}` in {line}");
    let rows = stage.pipeline.rows("out")?;
    lakemill.until("the old code to go on", || Ok((stage.pipeline.rows("out")? > rows + 500).then_some(())))?;
    // Back to the file that was there, so that the last run has it.
    stage.variant(0)?;
    let (report, sent, pipeline) = stage.finish(lakemill)?;
    ensure!(report["rollbacks"] == 1, "{report}");
    if variant == 4 {
        return Ok(());
    }
    as_if_nothing_had_been(&sent, &pipeline)
}

#[test]
fn a_canary_that_traps_is_taken_back() -> Result<()> {
    taken_back(3, "a row that nobody expects")
}

#[test]
fn a_canary_whose_rows_die_is_taken_back() -> Result<()> {
    taken_back(4, "of its rows are dead")
}

#[test]
fn a_canary_that_is_slow_is_taken_back() -> Result<()> {
    taken_back(5, "us a row")
}

/// Without a trial: code that is over the error budget goes back to what ran before, and the pipeline does not park.
#[test]
fn a_swap_that_is_over_the_error_budget_is_taken_back() -> Result<()> {
    let mut stage = Stage::new("swap-back")?;
    stage.pipeline.spec["error_budget"] = json!({ "share_max": 0.01 });
    let mut lakemill = stage.start(&[])?;
    stage.variant(3)?;
    lakemill.until_it_says("rolled back", 1)?;
    let rows = stage.pipeline.rows("out")?;
    lakemill.until("the old code to go on", || Ok((stage.pipeline.rows("out")? > rows + 500).then_some(())))?;
    stage.variant(0)?;
    let (report, _, _) = stage.finish(lakemill)?;
    ensure!(report["rollbacks"] == 1 && report["parked"] == false, "{report}");
    Ok(())
}
