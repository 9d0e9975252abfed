//! Whether tables hold what the events say: every change once, nothing else, and no event unaccounted for. For pipelines
//! through the shipped `flatten` transform, which keeps every change.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::compare::same_rows;
use crate::orders::{self, Change, Event, Fate};
use crate::process::Finished;
use crate::table::{Row, Table};

/// The component, and the one output that it declares.
pub const FLATTEN: (&str, &str) = ("flatten", "changes");

/// Where a record stands: partition and offset.
pub type Place = (i32, i64);

/// The row that the `flatten` transform makes of a change, without the columns that depend on when it ran.
pub fn flat_row(change: &Change, place: Place) -> Row {
    let mut row = Row::new();
    orders::columns("before_", change.before.as_ref(), &mut row);
    orders::columns("after_", change.after.as_ref(), &mut row);
    row.insert("_op".into(), Value::from(change.op.to_string()));
    row.insert("_event_time".into(), Value::from(change.event_time_us));
    row.insert("_partition".into(), Value::from(place.0));
    row.insert("_offset".into(), Value::from(place.1));
    row
}

/// The row that a broken event makes in the dead letters.
pub fn dead_row(event: &Event, place: Place) -> Row {
    let hex = |bytes: &Option<Vec<u8>>| match bytes {
        None => Value::Null,
        Some(bytes) => Value::from(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    };
    let mut row = Row::new();
    row.insert("partition".into(), Value::from(place.0));
    row.insert("offset".into(), Value::from(place.1));
    row.insert("key".into(), hex(&event.key));
    row.insert("value".into(), hex(&event.value));
    row
}

/// Checks both tables against events and their places.
///
/// # Errors
/// The first few rows that are missing or too many.
pub fn check(table: &Table, dead_letters: &Path, events: &[(&Event, Place)]) -> Result<()> {
    let of = |(event, place): &(&Event, Place)| match &event.fate {
        Fate::Change(change) => Some(flat_row(change, *place)),
        Fate::Control | Fate::Dead(_) => None,
    };
    let expected: Vec<Row> = events.iter().filter_map(of).collect();
    same_rows("the table", &table.rows, &expected)?;

    let broken = events.iter().filter(|(event, _)| matches!(event.fate, Fate::Dead(_)));
    let expected: Vec<Row> = broken.map(|(event, place)| dead_row(event, *place)).collect();
    let dead = if dead_letters.exists() { Table::read(dead_letters)?.rows } else { Vec::new() };
    same_rows("the dead letters", &dead, &expected)
}

/// Checks the sums of a report: what came in went somewhere.
///
/// # Errors
/// The report, and what does not add up.
pub fn adds_up(finished: &Finished, events: &[Event]) -> Result<()> {
    let report = finished.report()?;
    let field = |name: &str| report[name].as_u64().with_context(|| format!("the report has no {name}: {report}"));
    let (changes, control, dead) = orders::count(events);
    for (name, expected) in [
        ("rows_in", changes + dead),
        ("rows_out", changes),
        ("rows_filtered", 0),
        ("rows_late", 0),
        ("rows_dead", dead),
        ("records_control", control),
        ("records_read", changes + dead + control),
    ] {
        ensure!(field(name)? == expected, "{name} should be {expected}: {report}");
    }
    let by_kind: u64 =
        report["control"].as_object().into_iter().flat_map(|kinds| kinds.values()).filter_map(Value::as_u64).sum();
    ensure!(by_kind == control, "control records by kind: {report}");
    Ok(())
}
