//! `lakemill dev`: a save, and its effect on the rows of captured events.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use lakemill_tests::process::Lakemill;
use serde_json::{Value, json};

/// Waits for one more round than there were.
fn next(dev: &mut Lakemill, count: usize) -> Result<Value> {
    let said = dev.watched_stdout();
    dev.until("a round", || {
        let lines: Vec<Value> = said().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok((lines.len() > count).then(|| lines[count].clone()))
    })
}

fn edit(file: &Path, old: &str, new: &str) -> Result<()> {
    let text = std::fs::read_to_string(file)?;
    ensure!(text.contains(old), "no `{old}` in {}", file.display());
    Ok(std::fs::write(file, text.replacen(old, new, 1))?)
}

#[test]
fn a_save_shows_what_it_changes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let own = folder.path().join("shop");
    let made = Lakemill::start_with(["new", "shop"], |command| {
        command.current_dir(&folder);
    })?;
    made.finish()?.expect(0, &[])?;
    let mut dev = Lakemill::start(["dev".as_ref(), own.as_os_str(), "--json".as_ref()])?;
    let first = next(&mut dev, 0)?;
    ensure!(first["ok"] == true && first["passed"] == 3 && first["changes"] == json!([]), "{first}");
    ensure!(first["rows"]["orders"].as_u64() > Some(0), "{first}");

    // The tax: every row with a total is another, and the cases fail.
    let source = own.join("src/lib.rs");
    edit(&source, "1.0 + settings.tax_rate", "2.0 + settings.tax_rate")?;
    let second = next(&mut dev, 1)?;
    ensure!(second["ok"] == false && second["failed"].as_array().is_some_and(|failed| !failed.is_empty()), "{second}");
    let change = &second["changes"][0];
    let gross = |side: &str| change[side]["gross"].as_f64().context("gross");
    ensure!(gross("after")? > gross("before")? + 1.0 && change["before"]["id"] == change["after"]["id"], "{change}");

    // What does not build changes nothing, and the next save goes on.
    edit(&source, "use lakemill_guest", "use lakemill_ghost")?;
    let third = next(&mut dev, 2)?;
    ensure!(third["ok"] == false && third["error"].as_str().is_some_and(|error| error.contains("build")), "{third}");
    edit(&source, "use lakemill_ghost", "use lakemill_guest")?;
    edit(&source, "2.0 + settings.tax_rate", "1.0 + settings.tax_rate")?;
    let mut count = 3;
    let back = loop {
        // A save between two others may be a round of its own.
        let round = next(&mut dev, count)?;
        if round["ok"] == true {
            break round;
        }
        count += 1;
    };
    let change = &back["changes"][0];
    ensure!(change["before"] == second["changes"][0]["after"], "{change}");
    ensure!(dev.terminate()?.code == Some(0), "it ends when asked");
    Ok(())
}
