//! Comparing rows with what they should be, as multisets: order does not count, doubling does.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::table::Row;

/// Checks that both have the same rows, looking only at the columns that the expected rows name.
///
/// # Errors
/// How many are missing or too many, with the first few of each.
pub fn same_rows<'a>(what: &str, found: impl IntoIterator<Item = &'a Row>, expected: &[Row]) -> Result<()> {
    let Some(first) = expected.first() else {
        return match found.into_iter().count() {
            0 => Ok(()),
            n => bail!("{what}: {n} rows where none are expected"),
        };
    };
    let columns: Vec<&String> = first.keys().collect();
    let mut balance: BTreeMap<String, i64> = BTreeMap::new();
    let text = |row: &Row| {
        let cells = columns.iter().map(|name| row.get(*name).map_or("no such column".to_owned(), plain));
        cells.collect::<Vec<_>>().join(" | ")
    };
    for row in expected {
        *balance.entry(text(row)).or_default() -= 1;
    }
    for row in found {
        *balance.entry(text(row)).or_default() += 1;
    }
    balance.retain(|_, n| *n != 0);
    if balance.is_empty() {
        return Ok(());
    }
    let (missing, surplus): (Vec<_>, Vec<_>) = balance.iter().partition(|(_, n)| **n < 0);
    let mut message = format!("{what}: columns {columns:?}\n");
    for (word, rows) in [("missing", missing), ("too many", surplus)] {
        writeln!(message, "{} kinds of rows {word}:", rows.len())?;
        for (row, n) in rows.iter().take(5) {
            writeln!(message, "  {n:+} {row}")?;
        }
    }
    bail!(message)
}

/// A cell as text; 2 and 2.0 are the same.
fn plain(cell: &Value) -> String {
    match cell {
        Value::Number(n) if n.is_f64() => {
            let x = n.as_f64().unwrap_or(f64::NAN);
            if x.fract() == 0.0 && x.abs() < 9e15 { format!("{x:.0}") } else { x.to_string() }
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<Row> {
        text.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
    }

    #[test]
    fn order_does_not_count_and_doubling_does() {
        let expected = rows("{\"a\":1,\"b\":\"x\"}\n{\"a\":2.0,\"b\":null}");
        let found = rows("{\"b\":null,\"a\":2,\"c\":7}\n{\"a\":1,\"b\":\"x\"}");
        same_rows("t", &found, &expected).expect("the same");
        let doubled = rows("{\"a\":1,\"b\":\"x\"}\n{\"a\":1,\"b\":\"x\"}\n{\"a\":2,\"b\":null}");
        let error = same_rows("t", &doubled, &expected).expect_err("one is doubled").to_string();
        assert!(error.contains("0 kinds of rows missing") && error.contains("+1 1 | \"x\""), "{error}");
        let error = same_rows("t", &found[..1], &expected).expect_err("one is missing").to_string();
        assert!(error.contains("1 kinds of rows missing"), "{error}");
        assert!(same_rows("t", &found, &[]).is_err());
    }
}
