//! The pipeline file's settings while the pipeline runs: a reload takes up what can be taken up and names the rest; what is refused or
//! rolled back is told, and is not used at the next start.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use lakemill_tests::orders::{Mix, Orders};
use lakemill_tests::process::{self, Finished, Lakemill};
use lakemill_tests::{places, wasm};
use serde_json::{Value, json};

use crate::support::Scene;

/// Sends events through `clean`, which adds a gross total by its settings.
struct Till {
    scene: Scene,
    events: Orders,
    component: PathBuf,
}

impl Till {
    fn new(name: &str) -> Result<Self> {
        let mut scene = Scene::new(name, 1)?;
        let component = scene.pipeline.folder().join("clean.wasm");
        std::fs::copy(places::guest("clean")?, &component)?;
        scene.pipeline.spec["transforms"] = json!([{ "component": "clean.wasm", "config": { "tax_rate": 0.0 } }]);
        scene.pipeline.spec["sinks"] = json!({ "orders": { "delta": { "path": "lake/orders" } } });
        let events = Orders::new(83, Mix { broken: 0, toast: 0, delete: 0, poison: 0, snapshot_rows: 0 });
        Ok(Self { scene, events, component })
    }

    fn start(&self, more: &[&str]) -> Result<Lakemill> {
        let file = self.scene.pipeline.file()?;
        let mut arguments = vec!["run".as_ref(), file.as_os_str(), "--json".as_ref()];
        arguments.extend(more.iter().map(AsRef::<std::ffi::OsStr>::as_ref));
        Lakemill::start(arguments)
    }

    fn command(&self, verb: &str) -> Result<Finished> {
        process::run([verb.as_ref(), self.scene.pipeline.file()?.as_os_str(), "--json".as_ref()])
    }

    /// For people.
    fn told(&self, verb: &str) -> Result<String> {
        let said = process::run([verb.as_ref(), self.scene.pipeline.file()?.as_os_str()])?;
        said.expect(0, &[])?;
        Ok(said.stdout)
    }

    fn answer(&self, verb: &str) -> Result<Value> {
        Ok(self.command(verb)?.report()?["processes"][0].clone())
    }

    /// Sends more events; the tax that the last of their rows has, in hundredths.
    fn tax(&mut self, lakemill: &mut Lakemill) -> Result<i64> {
        let before = self.scene.pipeline.rows("orders")?;
        self.scene.send(&self.events.by_ref().take(100).collect::<Vec<_>>(), &[])?;
        lakemill.until("more rows", || Ok((self.scene.pipeline.rows("orders")? > before).then_some(())))?;
        let rows = self.scene.pipeline.table("orders")?.rows;
        let priced = rows.iter().filter(|row| row["total"].as_f64().is_some_and(|total| total > 0.0));
        let last = priced.max_by_key(|row| row["_offset"].as_i64()).context("a row")?;
        let (gross, total) = (last["gross"].as_f64().context("gross")?, last["total"].as_f64().context("total")?);
        Ok(((gross / total - 1.0) * 100.0).round() as i64)
    }
}

#[test]
fn edited_settings_are_taken_up_and_taken_back() -> Result<()> {
    let mut till = Till::new("reload")?;
    let mut lakemill = till.start(&[])?;
    ensure!(till.tax(&mut lakemill)? == 0, "before");
    let reloaded = till.answer("reload")?;
    ensure!(reloaded["swapped"] == false && reloaded["left"] == json!([]), "{reloaded}");

    till.scene.pipeline.spec["transforms"][0]["config"]["tax_rate"] = json!(0.5);
    till.scene.pipeline.spec["batch"]["rows_max"] = json!(400);
    let next = till.answer("status")?["next_start"].to_string();
    ensure!(next.contains("transforms[0].config.tax_rate") && next.contains("lakemill reload"), "{next}");
    let said = till.told("reload")?;
    ensure!(said.contains("took over") && said.contains("at the next start only: batch.rows_max"), "{said}");
    ensure!(till.tax(&mut lakemill)? == 50, "after");
    ensure!(till.answer("status")?["next_start"].is_null(), "it is what runs");

    // What cannot be used is told where somebody looks for it, and what runs stays.
    till.scene.pipeline.spec["transforms"][0]["config"]["tax_rate"] = json!("half");
    till.command("reload")?.expect(2, &["tax_rate"])?;
    let known = till.answer("status")?;
    ensure!(known["refusal"].as_str().is_some_and(|why| why.contains("tax_rate")), "{known}");
    till.scene.pipeline.spec["transforms"][0]["config"]["tax_rate"] = json!(0.5);
    till.answer("reload")?;
    ensure!(till.answer("status")?["refusal"].is_null(), "it is mended");

    let said = till.told("rollback")?;
    ensure!(said.contains("the settings before are in use again"), "{said}");
    ensure!(till.tax(&mut lakemill)? == 0, "taken back");
    let next = till.answer("status")?["next_start"].to_string();
    ensure!(next.contains("what runs now") && next.contains("were rolled back"), "{next}");
    let said = lakemill.terminate()?;
    ensure!(!said.stderr.contains("ERROR"), "a command is no error:\n{}", said.stderr);

    // Not at the next start either, until somebody asks for it.
    let mut lakemill = till.start(&[])?;
    ensure!(till.tax(&mut lakemill)? == 0, "it is back after a start");
    ensure!(
        lakemill.stderr_so_far().contains("the components on disk were rolled back"),
        "{}",
        lakemill.stderr_so_far()
    );
    ensure!(till.answer("reload")?["swapped"] == true, "asked for");
    ensure!(till.tax(&mut lakemill)? == 50, "asked for");
    lakemill.terminate()?.report().map(drop)
}

#[test]
fn a_rolled_back_component_stays_out_and_a_broken_one_is_in_the_status() -> Result<()> {
    let mut till = Till::new("rolled-back")?;
    let module = std::fs::read(&till.component)?;
    let mut lakemill = till.start(&["--watch"])?;
    till.tax(&mut lakemill)?;
    let first = till.answer("status")?["digests"][0].clone();
    wasm::replace(&till.component, &wasm::version(&module, 1))?;
    lakemill.until_it_says("new components took over", 1)?;
    let rolled_back = till.answer("rollback")?;
    ensure!(rolled_back["running"][0] == first && rolled_back["was_on_trial"] == false, "{rolled_back}");
    wasm::replace(&till.component, &module[..module.len() / 2])?;
    lakemill.until_it_says("what runs stays", 1)?;
    let known = till.answer("status")?;
    ensure!(known["refusal"].as_str().is_some_and(|why| why.contains("broken WebAssembly")), "{known}");
    ensure!(known["next_start"].as_str().is_some_and(|next| next.contains("would fail")), "{known}");
    // The file is written anew with what was rolled back: it stays out, though it is watched.
    wasm::replace(&till.component, &wasm::version(&module, 1))?;
    lakemill.until_it_says("were rolled back before", 1)?;
    ensure!(till.answer("status")?["digests"][0] == first, "it is back");
    lakemill.terminate()?.report().map(drop)
}

#[test]
fn a_trial_of_settings_tells_which_differ() -> Result<()> {
    let mut till = Till::new("trial-settings")?;
    let mut lakemill = till.start(&[])?;
    till.tax(&mut lakemill)?;
    lakemill.terminate()?.report()?;
    till.scene.pipeline.spec["transforms"][0]["config"] = json!({ "tax_rate": 0.1, "dropped": ["secret-value"] });
    let mut lakemill = till.start(&["--shadow"])?;
    ensure!(till.tax(&mut lakemill)? == 0, "the old settings make the rows");
    let trial = till.answer("status")?["trial"].clone();
    ensure!(
        trial["settings_changed"] == json!(["transforms[0].config.tax_rate", "transforms[0].config.dropped"]),
        "{trial}"
    );
    ensure!(trial["digests"] == trial["old_digests"] && trial["settings"] != trial["old_settings"], "{trial}");
    let said = till.told("status")?;
    ensure!(said.contains("transforms[0].config.tax_rate") && !said.contains("secret-value"), "{said}");
    lakemill.terminate()?.report().map(drop)
}
