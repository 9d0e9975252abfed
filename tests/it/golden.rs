//! Golden pipelines: `examples/<case>/`, and tests/fixtures/pipelines/<case>/ for what is no example, hold a pipeline file and the
//! rows of every table that comes of it; the events lie beside it, those of the examples in `examples/orders.jsonl`. Each case runs straight through, in batches of two records, and stopped in the middle and taken up
//! again: against one golden. `LAKEMILL_BLESS=1` writes the goldens anew, from the straight run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use lakemill_tests::compare::same_rows;
use lakemill_tests::places;
use lakemill_tests::process::{self, Finished};
use lakemill_tests::table::{Row, Table};
use tempfile::TempDir;

/// Columns that depend on when and by what build a row was made.
const VOLATILE: [&str; 3] = ["_processed_at", "processed_at", "digest"];

/// The examples that run on files alone, one for each shipped transform.
const EXAMPLES: [&str; 3] = ["clean", "flatten", "split"];

struct Case {
    name: String,
    home: PathBuf,
    folder: TempDir,
}

impl Case {
    /// A copy of the case in a folder of its own.
    fn copy(name: &str) -> Result<Self> {
        let is_example = EXAMPLES.contains(&name);
        let home = places::root().join(if is_example { "examples" } else { "tests/fixtures/pipelines" }).join(name);
        let folder = tempfile::tempdir()?;
        let mut text =
            std::fs::read_to_string(home.join("pipeline.yaml")).with_context(|| format!("{name}: no file"))?;
        let events = if is_example { home.join("../orders.jsonl") } else { home.join("input.jsonl") };
        std::fs::copy(&events, folder.path().join("input.jsonl")).with_context(|| format!("{name}: no events"))?;
        if is_example {
            text = text.replace("../orders.jsonl", "input.jsonl");
        }
        for guest in EXAMPLES {
            let component = places::guest(guest)?.display().to_string();
            text = text.replace(&format!("../../target/guests/{guest}.wasm"), &component);
        }
        std::fs::write(folder.path().join("pipeline.yaml"), text)?;
        Ok(Self { name: name.to_owned(), home, folder })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self) -> Result<Finished> {
        let finished = process::run([
            "run".as_ref(),
            self.file("pipeline.yaml").as_os_str(),
            "--until-caught-up".as_ref(),
            "--json".as_ref(),
        ])?;
        finished.expect(0, &[]).with_context(|| self.name.clone())?;
        Ok(finished)
    }

    /// The tables of the goldens, by name.
    fn goldens(&self) -> Result<Vec<String>> {
        let entries =
            std::fs::read_dir(self.home.join("expected")).with_context(|| format!("{}: no goldens", self.name))?;
        let names = entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned());
        Ok(names.filter_map(|name| name.strip_suffix(".jsonl").map(str::to_owned)).collect())
    }

    /// Checks every table that came of it against its golden.
    fn check(&self, how: &str) -> Result<()> {
        let goldens = self.goldens()?;
        ensure!(!goldens.is_empty(), "{}: no goldens", self.name);
        for table in tables(&self.file("lake"))? {
            ensure!(goldens.contains(&table), "{}: a table that no golden knows: {table}", self.name);
        }
        for name in goldens {
            let text = std::fs::read_to_string(self.home.join("expected").join(format!("{name}.jsonl")))?;
            let expected = text.lines().map(serde_json::from_str).collect::<Result<Vec<Row>, _>>()?;
            let table = Table::read(&self.file("lake").join(&name))?;
            let columns: Vec<_> = table.types.keys().filter(|column| !VOLATILE.contains(&column.as_str())).collect();
            let known: Vec<_> = expected.first().map(|row| row.keys().collect()).unwrap_or_default();
            ensure!(
                table.rows.is_empty() || columns == known,
                "{} {name}: columns {columns:?}, expected {known:?}",
                self.name
            );
            same_rows(&format!("{}, {how}: {name}", self.name), &table.rows, &expected)?;
        }
        Ok(())
    }

    fn bless(&self) -> Result<()> {
        let folder = self.home.join("expected");
        std::fs::create_dir_all(&folder)?;
        for name in tables(&self.file("lake"))? {
            let mut rows = Table::read(&self.file("lake").join(&name))?.rows;
            for row in &mut rows {
                row.retain(|column, _| !VOLATILE.contains(&column.as_str()));
            }
            let place = |row: &Row| {
                ["_partition", "partition", "_offset", "offset"].map(|c| row.get(c).and_then(|v| v.as_i64()))
            };
            rows.sort_by_key(|row| (place(row), serde_json::to_string(row).unwrap_or_default()));
            let lines: Vec<_> = rows.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
            std::fs::write(folder.join(format!("{name}.jsonl")), lines.join("\n") + "\n")?;
        }
        Ok(())
    }

    /// Closes a batch every two records.
    fn small_batches(&self) -> Result<()> {
        let file = self.file("pipeline.yaml");
        let text = std::fs::read_to_string(&file)?;
        ensure!(!text.contains("\nbatch:"), "{}: a golden leaves `batch` to the test", self.name);
        Ok(std::fs::write(file, text + "batch: { rows_max: 2 }\n")?)
    }
}

/// The tables in a folder, by name.
fn tables(lake: &Path) -> Result<Vec<String>> {
    let entries =
        std::fs::read_dir(lake)?.filter_map(Result::ok).filter(|entry| entry.path().join("_delta_log").is_dir());
    Ok(entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

fn golden(name: &str) -> Result<()> {
    let straight = Case::copy(name)?;
    straight.run()?;
    if std::env::var_os("LAKEMILL_BLESS").is_some() {
        straight.bless()?;
    }
    straight.check("straight")?;

    let small = Case::copy(name)?;
    small.small_batches()?;
    small.run()?;
    small.check("in batches of two")?;

    let halved = Case::copy(name)?;
    let whole = std::fs::read(halved.file("input.jsonl"))?;
    let lines: Vec<_> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    for upto in [lines.len() / 3, lines.len() * 2 / 3, lines.len()] {
        std::fs::write(halved.file("input.jsonl"), lines[..upto].concat())?;
        halved.run()?;
    }
    halved.check("in three runs")
}

#[test]
fn flatten() -> Result<()> {
    golden("flatten")
}

#[test]
fn clean() -> Result<()> {
    golden("clean")
}

#[test]
fn split() -> Result<()> {
    golden("split")
}

#[test]
fn inline_schemas_of_a_real_database() -> Result<()> {
    golden("inline")
}

/// As a newcomer runs them: where they lie, with the output beside them.
#[test]
fn the_examples_name_files_that_are_there() -> Result<()> {
    for example in EXAMPLES {
        let file = places::root().join(format!("examples/{example}/pipeline.yaml"));
        let finished = process::run(["validate".as_ref(), file.as_os_str()])?;
        finished.expect(0, &[]).with_context(|| example.to_owned())?;
        let text = std::fs::read_to_string(&file)?;
        let events = file.with_file_name("../orders.jsonl");
        ensure!(text.contains("../orders.jsonl") && events.exists(), "{example}: no events");
    }
    Ok(())
}

#[test]
fn every_case_is_run() -> Result<()> {
    let names = |folder: &str| -> Result<Vec<String>> {
        let entries = std::fs::read_dir(places::root().join(folder))?.filter_map(Result::ok);
        let folders = entries.filter(|entry| entry.path().is_dir());
        let mut names: Vec<_> = folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        Ok(names)
    };
    ensure!(names("tests/fixtures/pipelines")? == ["inline"]);
    // The one that needs servers has a lane of its own.
    ensure!(names("examples")? == ["clean", "flatten", "postgres", "split"]);
    Ok(())
}
