//! Bad input of every kind: a dead letter with its raw bytes or the documented meaning, never a panic, and never a loss
//! of a neighbour.

use anyhow::{Result, ensure};
use lakemill_tests::orders::{self, Breakage, Event, Fate, Mix, Orders, broken};
use lakemill_tests::spec::Pipeline;
use lakemill_tests::verdict::{FLATTEN, adds_up, check};
use serde_json::json;

use crate::files::placed;

const WHOLE: Mix = Mix { broken: 0, toast: 10, delete: 0, poison: 0, snapshot_rows: 5 };

/// Whole events with `odd` ones between them, through `flatten`.
fn with_neighbours(odd: Vec<Event>) -> Result<(Pipeline, Vec<Event>)> {
    let mut events = Vec::new();
    let mut whole = Orders::new(61, WHOLE);
    events.extend(whole.by_ref().take(20));
    for event in odd {
        events.push(event);
        events.extend(whole.by_ref().take(2));
    }
    let mut pipeline = Pipeline::of_files(FLATTEN.0, &[FLATTEN.1])?;
    pipeline.spec["source"]["files"]["topic"] = json!("shop.public.orders");
    pipeline.events("orders.jsonl", &orders::lines(&events))?;
    Ok((pipeline, events))
}

fn event(key: Option<&str>, value: &[u8], fate: Fate) -> Event {
    Event { key: key.map(|text| text.as_bytes().to_vec()), value: Some(value.to_vec()), fate }
}

/// The columns of the orders table.
fn declared() -> serde_json::Value {
    let columns = [
        ("id", "int64"),
        ("customer_id", "int64"),
        ("total", "float64"),
        ("status", "text"),
        ("email", "text"),
        ("note", "text"),
        ("quantity", "int32"),
        ("created_at", "int64"),
        ("paid", "boolean"),
        ("sku", "text"),
        ("region", "text"),
        ("discount", "float64"),
    ];
    let columns: Vec<_> = columns.iter().map(|(name, of)| json!({ "name": name, "type": of })).collect();
    json!({ "row": columns, "key": [{ "name": "id", "type": "int64" }] })
}

fn dead(value: &[u8]) -> Event {
    event(Some(r#"{"id":1}"#), value, Fate::Dead(Breakage::Cut))
}

#[test]
fn broken_events_become_dead_letters_with_their_bytes() -> Result<()> {
    let change = |event: Event| match event.fate {
        Fate::Change(change) => Some(*change),
        Fate::Control | Fate::Dead(_) => None,
    };
    let changes = Orders::new(62, WHOLE).filter_map(change);
    let odd = Breakage::ALL.iter().zip(changes).map(|(what, change)| broken(*what, &change, 99)).collect();
    let (pipeline, events) = with_neighbours(odd)?;
    adds_up(&pipeline.run()?, &events)?;
    check(&pipeline.table(FLATTEN.1)?, &pipeline.path("_dead"), &placed(&events))?;

    let letters = pipeline.table("_dead")?;
    for column in
        ["topic", "partition", "offset", "kafka_time", "key", "value", "stage", "reason", "digest", "processed_at"]
    {
        ensure!(letters.types.contains_key(column), "no column {column}: {:?}", letters.types);
    }
    for letter in &letters.rows {
        ensure!(letter["topic"] == "shop.public.orders" && letter["stage"] == "decode", "{letter:?}");
        ensure!(letter["reason"].as_str().is_some_and(|reason| reason.len() > 5), "{letter:?}");
        ensure!(letter["processed_at"].is_i64(), "{letter:?}");
    }
    let reasons = letters.counts("reason")?;
    ensure!(reasons.len() >= 6, "the reasons do not tell the ways apart: {reasons:#?}");
    Ok(())
}

#[test]
fn more_ways_to_be_broken() -> Result<()> {
    let odd = [
        &b"{"[..],
        b"}",
        b"\"",
        b"nul",
        b"42",
        b"\"text\"",
        b"true",
        b"[]",
        b"{}",
        b"{}{}",
        b"{} trailing",
        br#"{"op":"u"}"#,
        br#"{"op":null,"before":null,"after":{"id":1},"source":{}}"#,
        br#"{"op":7,"before":null,"after":{"id":1},"source":{}}"#,
        br#"{"op":"u","before":null,"after":[1],"source":{"ts_ms":1}}"#,
        br#"{"op":"u","before":null,"after":"text","source":{"ts_ms":1}}"#,
        br#"{"op":"u","before":null,"after":null,"source":{"ts_ms":1}}"#,
        br#"{"op":"c","before":null,"after":{"id":"1"},"source":{"ts_ms":1},"ts_ms":1}"#,
        br#"{"op":"c","before":null,"after":{"id":1.5},"source":{"ts_ms":1},"ts_ms":1}"#,
        br#"{"op":"c","before":null,"after":{"id":1e400},"source":{"ts_ms":1},"ts_ms":1}"#,
        br#"{"op":"c","before":null,"after":{"id":NaN},"source":{"ts_ms":1},"ts_ms":1}"#,
        br#"{"op":"c","before":null,"after":{"id":9223372036854775808},"source":{"ts_ms":1},"ts_ms":1}"#,
        br#"{"op":"c","before":null,"after":{"id":{"a":1}},"source":{"ts_ms":1},"ts_ms":1}"#,
        br#"{"op":"c","before":null,"after":{"quantity":3000000000},"source":{"ts_ms":1},"ts_ms":1}"#,
        br#"{"op":"c","before":null,"after":{"paid":"yes"},"source":{"ts_ms":1},"ts_ms":1}"#,
        br#"{"op":"c","before":null,"after":{"id":true},"source":{"ts_ms":1},"ts_ms":1}"#,
        br#"{"op":"c","before":null,"after":{"status":"\ud800"},"source":{"ts_ms":1},"ts_ms":1}"#,
        b"\x00\x00\x00\x00\x01binary",
        b"\xef\xbb\xbf{}",
        b"\xff\xfe",
    ];
    let (mut pipeline, events) = with_neighbours(odd.iter().map(|value| dead(value)).collect())?;
    // Inferred, an id of 1.5 would make ids fractions: declared, it is refused.
    pipeline.spec["source"]["schema"] = declared();
    pipeline.run()?.expect(0, &[])?;
    check(&pipeline.table(FLATTEN.1)?, &pipeline.path("_dead"), &placed(&events))
}

#[test]
fn deep_nesting_where_nobody_looks_is_no_harm() -> Result<()> {
    // In a column that no one declared and in the source block: read over, or refused, but survived.
    let deep = "[".repeat(200_000) + &"]".repeat(200_000);
    let objects = "{\"a\":".repeat(200_000) + "1" + &"}".repeat(200_000);
    let odd = [
        format!(r#"{{"op":"c","before":null,"after":{{"id":1}},"source":{{"ts_ms":1,"x":{deep}}},"ts_ms":1}}"#),
        format!(r#"{{"op":"c","before":null,"after":{{"id":1,"x":{objects}}},"source":{{"ts_ms":1}},"ts_ms":1}}"#),
        deep,
        objects,
    ];
    let (pipeline, events) = with_neighbours(odd.iter().map(|value| dead(value.as_bytes())).collect())?;
    let finished = pipeline.run()?;
    finished.expect(0, &[])?;
    let whole: Vec<_> =
        placed(&events).into_iter().filter(|(event, _)| matches!(event.fate, Fate::Change(_))).collect();
    let report = finished.report()?;
    ensure!(report["rows_out"].as_u64() >= Some(whole.len() as u64), "{report}");
    ensure!(report["rows_dead"].as_u64() >= Some(2), "{report}");
    Ok(())
}

#[test]
fn a_null_key_is_a_change_without_key() -> Result<()> {
    let mut events: Vec<Event> = Orders::new(63, WHOLE).take(50).collect();
    for event in events.iter_mut().step_by(3) {
        event.key = None;
    }
    let pipeline = Pipeline::of_files(FLATTEN.0, &[FLATTEN.1])?;
    pipeline.events("orders.jsonl", &orders::lines(&events))?;
    adds_up(&pipeline.run()?, &events)?;
    check(&pipeline.table(FLATTEN.1)?, &pipeline.path("_dead"), &placed(&events))
}

#[test]
fn what_has_no_row_is_counted_and_passed_over() -> Result<()> {
    let control = |key, value: &str| event(key, value.as_bytes(), Fate::Control);
    let odd = vec![
        control(Some(r#"{"id":1}"#), ""),
        control(Some(r#"{"serverName":"shop"}"#), r#"{"ts_ms":1760000000000}"#),
        control(
            Some(r#"{"id":"571"}"#),
            r#"{"status":"BEGIN","id":"571:53195832","event_count":null,"data_collections":null,"ts_ms":1760000000000}"#,
        ),
        control(
            Some(r#"{"databaseName":"shop"}"#),
            r#"{"source":{"connector":"mysql","ts_ms":1},"ts_ms":1,"databaseName":"shop","schemaName":null,"ddl":"ALTER TABLE orders","tableChanges":[]}"#,
        ),
    ];
    let (pipeline, events) = with_neighbours(odd)?;
    adds_up(&pipeline.run()?, &events)?;
    check(&pipeline.table(FLATTEN.1)?, &pipeline.path("_dead"), &placed(&events))
}

#[test]
fn a_truncate_has_no_row_and_is_not_lost() -> Result<()> {
    let truncate = br#"{"before":null,"after":null,"source":{"ts_ms":1760000000000,"schema":"public","table":"orders"},"op":"t","ts_ms":1760000000000}"#;
    let (pipeline, _) = with_neighbours(vec![event(None, truncate, Fate::Control)])?;
    let report = pipeline.run()?.report()?;
    ensure!(report["rows_dead"] == 0, "{report}");
    let table = pipeline.table(FLATTEN.1)?;
    let truncates: Vec<_> = table.rows.iter().filter(|row| row["_op"] == "t").collect();
    ensure!(truncates.len() == 1 && truncates[0]["after_id"].is_null(), "{truncates:?}");
    Ok(())
}

#[test]
fn a_file_that_is_not_there_is_unreachable() -> Result<()> {
    let pipeline = Pipeline::of_files(FLATTEN.0, &[FLATTEN.1])?;
    pipeline.run()?.expect(3, &["events"])
}

#[test]
fn a_file_that_ends_in_the_middle_of_a_line_is_read_to_its_end() -> Result<()> {
    let events: Vec<Event> = Orders::new(64, WHOLE).take(10).collect();
    let mut lines = orders::lines(&events);
    ensure!(lines.pop() == Some(b'\n'));
    let pipeline = Pipeline::of_files(FLATTEN.0, &[FLATTEN.1])?;
    pipeline.events("orders.jsonl", &lines)?;
    adds_up(&pipeline.run()?, &events)?;
    check(&pipeline.table(FLATTEN.1)?, &pipeline.path("_dead"), &placed(&events))
}
