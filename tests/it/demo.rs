//! `lakemill demo`, as `make demo` runs it.

use anyhow::{Result, ensure};
use lakemill_tests::process::run;
use lakemill_tests::table::Table;

#[test]
fn the_demo_balances_its_books_and_everyone_can_read_its_tables() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("demo-out");
    let demo = |more: &[&str]| {
        let fixed = ["demo".as_ref(), "--out".as_ref(), out.as_os_str()];
        run(fixed.into_iter().chain(more.iter().map(|argument| argument.as_ref())))
    };
    let finished = demo(&["--json"])?;
    let report = finished.report()?;
    let field = |name: &str| report[name].as_u64().unwrap_or_default();
    // An event is filtered out only if every transform leaves it out, and `split` keeps all.
    ensure!(field("rows_in") >= 200_000 && field("rows_dead") > 0, "{report}");
    let sum = field("rows_out") + field("rows_filtered") + field("rows_late") + field("rows_dead");
    ensure!(field("rows_in") == sum, "{report}");

    let rows = |table: &str| Ok::<_, anyhow::Error>(Table::read(&out.join("lake").join(table))?.rows.len() as u64);
    let split = rows("inserts")? + rows("updates")? + rows("deletes")?;
    ensure!(split == field("rows_in") - field("rows_dead"), "{split} rows in three tables: {report}");
    ensure!(rows("_dead")? == field("rows_dead"), "{report}");
    let orders = rows("orders")?;
    ensure!(orders > 0 && orders < split, "{orders} rows in orders: {report}");

    // A second one starts clean and says so, and tells a person what it did.
    let again = demo(&["--events", "5000"])?;
    again.expect(0, &["clear", "events/s", "p50", "p99", "commits", "filtered", "late", "dead"])?;
    ensure!(again.stdout.contains(&out.join("lake/orders").display().to_string()), "{}", again.stdout);
    let rows = Table::read(&out.join("lake/inserts"))?.rows.len();
    ensure!(rows < 5_000, "{rows} inserts: the first demo's are still there");
    Ok(())
}
