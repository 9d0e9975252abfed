//! `lakemill blame`: from a row back to the code, the batch and the place in the topic.

use anyhow::{Context, Result, ensure};
use lakemill_tests::orders::{self, Mix, Orders};
use lakemill_tests::process;
use lakemill_tests::spec::Pipeline;
use lakemill_tests::verdict::FLATTEN;
use serde_json::json;

fn blame(pipeline: &Pipeline, condition: &str) -> Result<process::Finished> {
    let table = pipeline.path(FLATTEN.1);
    process::run(["blame".as_ref(), table.as_os_str(), "--where".as_ref(), condition.as_ref(), "--json".as_ref()])
}

#[test]
fn a_row_leads_back_to_its_code() -> Result<()> {
    let events: Vec<_> = Orders::new(17, Mix { broken: 0, ..Mix::default() }).take(400).collect();
    for kind in ["delta", "parquet"] {
        let mut pipeline = Pipeline::of_files(FLATTEN.0, &[FLATTEN.1])?;
        pipeline.events("orders.jsonl", &orders::lines(&events))?;
        pipeline.spec["batch"] = json!({ "rows_max": 50 });
        let path = pipeline.spec["sinks"][FLATTEN.1]["delta"]["path"].clone();
        pipeline.spec["sinks"][FLATTEN.1] = json!({ kind: { "path": path } });
        let report = pipeline.run()?.report()?;

        let said = blame(&pipeline, "_offset=123")?.report()?;
        let rows = said["rows"].as_array().context("rows")?;
        ensure!(rows.len() == 1, "{kind}: {said}");
        let row = &rows[0];
        ensure!(row["digests"] == report["digests"] && row["pipeline"] == "orders", "{kind}: {row}");
        ensure!(row["checkpoint"] == 3 && row["ranges"][0][2] == 100 && row["ranges"][0][3] == 150, "{kind}: {row}");
        ensure!(row["row"]["_offset"] == "123", "{kind}: {row}");
        blame(&pipeline, "_offset=9999")?.expect(1, &["offset 9999 is not there yet", "/0 up to 400"]).context(kind)?;
        blame(&pipeline, "after_id=-5")?.expect(1, &["no such row"]).context(kind)?;
        blame(&pipeline, "colour=red")?.expect(2, &["no column `colour`", "after_id"]).context(kind)?;
        blame(&pipeline, "colour")?.expect(2, &["COLUMN=TEXT"]).context(kind)?;
    }
    // What a table lacks because it went elsewhere, and a dead letter's record as text.
    let mut pipeline = Pipeline::of_files(FLATTEN.0, &[FLATTEN.1])?;
    pipeline.events("orders.jsonl", &[&orders::lines(&events)[..], b"{\"id\":7}\tbroken \xc3\xbc\n"].concat())?;
    pipeline.spec["batch"] = json!({ "rows_max": 50 });
    pipeline.run()?.report()?;
    blame(&pipeline, "_offset=400")?.expect(1, &["offset 400 of", "wrote no such row here", "dead letter"])?;
    let dead = pipeline.path("_dead");
    let said = process::run(["blame".as_ref(), dead.as_os_str(), "--where".as_ref(), "offset=400".as_ref()])?;
    said.expect(0, &["broken ü", "key={\"id\":7}"])?;
    let nowhere = Pipeline::of_files(FLATTEN.0, &[FLATTEN.1])?;
    blame(&nowhere, "a=b")?.expect(2, &["there is no table at"])
}
