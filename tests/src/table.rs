//! A Delta table as its readers see it: delta-rs for Python, polars and DuckDB must agree before a row is looked at.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::places;

/// A row: timestamps are microseconds since 1970, dates days, decimals text, binary hex; floats are text in a column with
/// a value that is not finite.
pub type Row = Map<String, Value>;

/// A table at its newest version.
#[derive(Debug)]
pub struct Table {
    /// In no particular order.
    pub rows: Vec<Row>,
    /// Name and type of each column: int32, int64, float, double, bool, text, timestamp, date, decimal(p,s), binary.
    pub types: BTreeMap<String, String>,
    /// The table's version.
    pub version: i64,
}

#[derive(Deserialize)]
struct Seen {
    rows: usize,
    version: i64,
    types: BTreeMap<String, String>,
    differences: Vec<String>,
}

impl Table {
    /// Reads it with all three.
    ///
    /// # Errors
    /// If one cannot read it, or they do not see the same counts, types and checksums.
    pub fn read(path: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("rows.jsonl");
        let output = Command::new(places::python()?)
            .arg(places::root().join("tests/readers/read_table.py"))
            .arg(path)
            .arg("--rows")
            .arg(&file)
            .output()
            .context("start the readers")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the readers cannot read {}:\n{errors}", path.display());
        let seen: Seen = serde_json::from_slice(&output.stdout).context("what the readers say")?;
        ensure!(seen.differences.is_empty(), "{}:\n{}", path.display(), seen.differences.join("\n"));

        let rows = std::fs::read_to_string(&file)?
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<Vec<Row>, _>>()
            .context("the rows that the readers wrote")?;
        ensure!(rows.len() == seen.rows, "{} rows written, {} read", rows.len(), seen.rows);
        Ok(Self { rows, types: seen.types, version: seen.version })
    }

    /// The cells of a column, row by row.
    ///
    /// # Errors
    /// If there is no such column.
    pub fn column(&self, name: &str) -> Result<Vec<&Value>> {
        ensure!(self.types.contains_key(name), "no column {name}; there are {:?}", self.types.keys());
        Ok(self.rows.iter().map(|row| &row[name]).collect())
    }

    /// How often each value occurs in a column; null is `null`, texts have no quotes.
    ///
    /// # Errors
    /// If there is no such column.
    pub fn counts(&self, name: &str) -> Result<BTreeMap<String, usize>> {
        let mut counts = BTreeMap::new();
        for cell in self.column(name)? {
            let text = cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
            *counts.entry(text).or_default() += 1;
        }
        Ok(counts)
    }
}
