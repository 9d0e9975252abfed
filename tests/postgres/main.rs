//! Lane 3: a real database. examples/postgres runs as its readers run it; and under random changes, where the bronze
//! table, folded by key, must be what the database holds. Starts and stops all servers itself.

mod differential;
mod random;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lakemill_tests::places;
use lakemill_tests::table::{Row, Table};
use serde_json::{Map, Value};

/// Runs the example, in a folder of its own below the target folder. Returns what it printed.
fn example(name: &str, changes: Option<&str>) -> Result<(PathBuf, String)> {
    let dir = places::target()?.join("lanes").join(name);
    let mut command = Command::new(places::root().join("examples/postgres/run.sh"));
    command.arg("--dir").arg(&dir);
    if let Some(changes) = changes {
        let file = places::target()?.join("lanes").join(format!("{name}.sql"));
        std::fs::create_dir_all(file.parent().context("the folder of lanes")?)?;
        std::fs::write(&file, changes)?;
        command.arg("--changes").arg(&file);
    }
    let output = command.output().context("start the example")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the example failed:\n{said}\n{}", log_of(&dir));
    Ok((dir, said))
}

fn log_of(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("lakemill.log")).unwrap_or_default()
}

/// What the database held in the end, by key, in the words of the table: decimals as text with two digits, times as
/// microseconds.
fn database(dir: &Path) -> Result<Map<String, Value>> {
    let text = std::fs::read_to_string(dir.join("orders.jsonl"))?;
    let mut rows = Map::new();
    for line in text.lines() {
        let row: Row = serde_json::from_str(line)?;
        rows.insert(row["id"].to_string(), Value::Object(row));
    }
    Ok(rows)
}

/// The bronze table folded by key: the last row of each, unchanged cells from the one before.
fn fold(table: &Table) -> Result<Map<String, Value>> {
    let mut changes: Vec<&Row> = table.rows.iter().collect();
    changes.sort_by_key(|row| row["_offset"].as_i64());
    let mut rows: Map<String, Value> = Map::new();
    // A change of primary key is a delete and a create, and the create leaves out what the database did not write
    // again: it is in the row that went.
    let mut gone = Value::Null;
    for change in changes {
        let is_delete = change["_op"] == "d";
        let key = &change[if is_delete { "before_id" } else { "after_id" }];
        ensure!(key.is_i64(), "a change without key: {change:?}");
        let key = key.to_string();
        if is_delete {
            gone = rows.remove(&key).with_context(|| format!("a delete of what is not there: {change:?}"))?;
            continue;
        }
        let unchanged = change["_unchanged"].as_str().unwrap_or("[]");
        let unchanged: Vec<String> =
            serde_json::from_str(unchanged).with_context(|| format!("_unchanged: {unchanged}"))?;
        let mut row = Map::new();
        for (name, cell) in change.iter() {
            let Some(column) = name.strip_prefix("after_") else { continue };
            let kept = unchanged.contains(name);
            ensure!(!kept || cell.is_null(), "{name} is unchanged and has a value: {change:?}");
            let before = || rows.get(&key).unwrap_or(&gone)[column].clone();
            let cell = if kept { before() } else { cell.clone() };
            row.insert(column.to_owned(), cell);
        }
        rows.insert(key, Value::Object(row));
    }
    Ok(rows)
}

/// Checks that the fold is the database, column by column.
fn expect_same(dir: &Path, table: &Table) -> Result<()> {
    let (database, fold) = (database(dir)?, fold(table)?);
    let keys = |rows: &Map<String, Value>| rows.keys().cloned().collect::<std::collections::BTreeSet<_>>();
    ensure!(keys(&database) == keys(&fold), "keys: {:?} and {:?}", keys(&database), keys(&fold));
    for (key, row) in &database {
        let row = row.as_object().context("a row")?;
        for (column, cell) in row {
            let found = &fold[key][column];
            ensure!(same(column, cell, found), "{key}.{column}: the database has {cell}, the table {found}");
        }
    }
    Ok(())
}

/// PostgreSQL's JSON of a cell, and the table's cell.
fn same(column: &str, database: &Value, table: &Value) -> bool {
    if database.is_null() || table.is_null() {
        return database.is_null() && table.is_null();
    }
    match column {
        "total" => table.as_str().and_then(|text| text.parse::<f64>().ok()) == database.as_f64(),
        "details" => {
            table.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok()).as_ref() == Some(database)
        }
        "ordered_at" => table.as_i64() == database.as_str().and_then(random::seconds).map(|s| s * 1_000_000),
        "due" => table.as_i64() == database.as_str().and_then(random::days),
        _ => database == table,
    }
}

#[test]
fn the_example_ends_with_what_the_database_holds() -> Result<()> {
    let (dir, said) = example("example", None)?;
    ensure!(said.contains("changes:") && said.contains("after_status"), "the table is not shown:\n{said}");
    let table = Table::read(&dir.join("lake/bronze"))?;
    ensure!(table.types["after_total"] == "decimal(12,2)", "{:?}", table.types);
    ensure!(table.types["after_ordered_at"] == "timestamp" && table.types["after_due"] == "date", "{:?}", table.types);
    let ops = table.counts("_op")?;
    // 2 snapshot rows; 21 inserts and one new key; 11 updates; 6 deletes and one old key.
    ensure!(ops["r"] == 2 && ops["c"] == 22 && ops["u"] == 11 && ops["d"] == 7, "{ops:?}");
    expect_same(&dir, &table)
}

#[test]
fn random_changes_fold_to_the_database() -> Result<()> {
    let seed = fastrand::u64(..);
    let (dir, _) = example("random", Some(&random::changes(seed, 4_000)))?;
    let table = Table::read(&dir.join("lake/bronze"))?;
    ensure!(table.rows.len() > 2_000, "seed {seed}: {} rows", table.rows.len());
    ensure!(table.counts("_unchanged")?.len() > 1, "seed {seed}: no cell was left out as unchanged");
    expect_same(&dir, &table).with_context(|| format!("seed {seed}"))
}
