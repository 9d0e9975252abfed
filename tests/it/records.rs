//! What a record is, through the whole pipeline: each has its place in the sums, and what is no change is told by kind.

use anyhow::{Result, ensure};
use lakemill_tests::process::Finished;
use lakemill_tests::spec::Pipeline;
use lakemill_tests::verdict::FLATTEN;
use serde_json::{Value, json};

/// Lines of key and value through `flatten`.
fn lines(lines: &[(&str, &str)]) -> Result<Pipeline> {
    let pipeline = Pipeline::of_files(FLATTEN.0, &[FLATTEN.1])?;
    let text: String = lines.iter().map(|(key, value)| format!("{key}\t{value}\n")).collect();
    pipeline.events("events.jsonl", text.as_bytes())?;
    Ok(pipeline)
}

fn change(id: u64, op: &str, table: &str) -> String {
    let (before, after) =
        if op == "d" { (json!({ "id": id }), Value::Null) } else { (Value::Null, json!({ "id": id })) };
    let source =
        json!({ "connector": "postgresql", "ts_ms": 70, "db": "shop", "schema": "public", "table": table, "lsn": id });
    json!({ "before": before, "after": after, "source": source, "op": op, "ts_ms": 71 }).to_string()
}

/// The report's numbers, after both sums have been checked.
fn counts(finished: &Finished) -> Result<(u64, u64, u64, Value)> {
    let report = finished.report()?;
    let count = |name: &str| report[name].as_u64().unwrap_or(u64::MAX);
    let sum = ["rows_out", "rows_filtered", "rows_late", "rows_dead"].map(count).iter().sum::<u64>();
    ensure!(sum == count("rows_in"), "in = out + filtered + late + dead: {report}");
    ensure!(count("records_read") == count("rows_in") + count("records_control"), "read = in + control: {report}");
    let by_kind = report["control"].as_object().into_iter().flatten();
    let by_kind: serde_json::Map<_, _> = by_kind.map(|(kind, count)| (kind.clone(), count.clone())).collect();
    let sum: u64 = by_kind.values().filter_map(Value::as_u64).sum();
    ensure!(sum == count("records_control"), "the kinds of control records: {report}");
    let there: serde_json::Map<_, _> = by_kind.into_iter().filter(|(_, count)| *count != json!(0)).collect();
    Ok((count("rows_out"), count("rows_dead"), count("records_control"), there.into()))
}

/// Reasons of the dead letters, in order.
fn reasons(pipeline: &Pipeline) -> Result<Vec<String>> {
    let mut rows = pipeline.table("_dead")?.rows;
    rows.sort_by_key(|row| row["offset"].as_i64());
    Ok(rows.iter().map(|row| row["reason"].as_str().unwrap_or_default().to_owned()).collect())
}

#[test]
fn control_records_are_counted_by_kind() -> Result<()> {
    let key = r#"{"id":8}"#;
    let created = change(8, "c", "orders");
    let deleted = change(8, "d", "orders");
    let pipeline = lines(&[
        (key, &created),
        (key, &deleted),
        (key, ""),
        (key, "null"),
        (key, r#"{"schema":null,"payload":null}"#),
        (r#"{"serverName":"shop"}"#, r#"{"ts_ms":72}"#),
        (r#"{"id":"5"}"#, r#"{"status":"BEGIN","id":"5:6","ts_ms":73,"event_count":null,"data_collections":null}"#),
        (
            r#"{"databaseName":"shop"}"#,
            r#"{"source":{"connector":"mysql"},"databaseName":"shop","ddl":"DROP TABLE x"}"#,
        ),
        (
            r#"{"id":"6"}"#,
            r#"{"id":"c56a4180-65aa-42ec-a945-5fd21dec0538","type":"STARTED","aggregate_type":"Initial Snapshot","additional_data":{}}"#,
        ),
        (
            r#"{"prefix":"beat"}"#,
            r#"{"op":"m","ts_ms":9,"source":{"ts_ms":9},"message":{"prefix":"beat","content":""}}"#,
        ),
    ])?;
    let finished = pipeline.run()?;
    finished.expect(0, &[])?;
    let kinds = json!({
        "tombstone": 3, "heartbeat": 1, "transaction": 1, "schema_change": 1, "notification": 1, "message": 1
    });
    let found = counts(&finished)?;
    ensure!(found == (2, 0, 8, kinds), "{found:?}");
    ensure!(pipeline.table(FLATTEN.1)?.rows.len() == 2);
    Ok(())
}

#[test]
fn flattened_rows_with_columns_of_control_records_are_dead_and_not_gone() -> Result<()> {
    let pipeline = lines(&[
        (r#"{"id":1}"#, r#"{"id":1,"status":"open","total":9.75}"#),
        (r#"{"id":2}"#, r#"{"id":2,"status":"END","ts_ms":1760000000000}"#),
        ("", r#"{"ts_ms":1760000000000}"#),
        (r#"{"id":3}"#, r#"{"id":3,"aggregate_type":"order","type":"NEW"}"#),
        (r#"{"id":4}"#, r#"{"id":4,"op":"t"}"#),
    ])?;
    let finished = pipeline.run()?;
    let found = counts(&finished)?;
    ensure!((found.0, found.1, found.2) == (0, 5, 0), "{found:?}");
    for (at, reason) in reasons(&pipeline)?.iter().enumerate() {
        let expected = if at == 2 {
            "nothing but `ts_ms`"
        } else {
            "a flattened row: this version reads Debezium's envelope only"
        };
        ensure!(reason.contains(expected), "{at}: {reason}");
    }
    Ok(())
}

#[test]
fn a_run_that_reads_nothing_but_control_records_says_so() -> Result<()> {
    let pipeline = lines(&[(r#"{"id":1}"#, ""), (r#"{"serverName":"shop"}"#, r#"{"ts_ms":72}"#)])?;
    pipeline.run()?.expect(0, &["no change was read", "tombstone 1, heartbeat 1"])
}

#[test]
fn keys_that_are_not_json_are_null_and_the_rows_are_whole() -> Result<()> {
    let (first, second, third) = (change(1, "c", "orders"), change(2, "c", "orders"), change(3, "u", "orders"));
    let pipeline = lines(&[("Struct{id=1}", &first), ("9b2d-44", &second), ("\u{feff}{\"id\":3}", &third)])?;
    let finished = pipeline.run()?;
    let found = counts(&finished)?;
    ensure!((found.0, found.1, found.2) == (3, 0, 0), "{found:?}");
    let table = pipeline.table(FLATTEN.1)?;
    ensure!(table.rows.iter().all(|row| row["after_id"].is_i64()), "{:?}", table.rows);
    Ok(())
}

#[test]
fn a_payload_without_a_schema_part_is_a_change() -> Result<()> {
    let frame = |payload: &str| format!(r#"{{"payload":{payload}}}"#);
    let (key, values) = (frame(r#"{"id":6}"#), ["c", "u", "d"].map(|op| frame(&change(6, op, "orders"))));
    let pipeline = lines(&[(&key, &values[0]), (&key, &values[1]), (&key, &values[2]), (&key, &frame("null"))])?;
    let found = counts(&pipeline.run()?)?;
    ensure!(found == (3, 0, 1, json!({ "tombstone": 1 })), "{found:?}");
    Ok(())
}

#[test]
fn tables_that_share_a_topic_can_be_told_apart() -> Result<()> {
    let (order, item) = (change(102, "c", "orders"), change(102, "c", "items"));
    let mut pipeline = lines(&[(r#"{"id":102}"#, &order), (r#"{"id":102}"#, &item)])?;
    pipeline.spec["sinks"][FLATTEN.1]["delta"]["metadata"] =
        json!(["offset", "source_db", "source_schema", "source_table"]);
    pipeline.run()?.expect(0, &[])?;
    let mut rows = pipeline.table(FLATTEN.1)?.rows;
    rows.sort_by_key(|row| row["_offset"].as_i64());
    let names = |row: &Value| ["_source_db", "_source_schema", "_source_table"].map(|name| row[name].clone());
    ensure!(names(&json!(rows[0])) == [json!("shop"), json!("public"), json!("orders")], "{rows:?}");
    ensure!(names(&json!(rows[1])) == [json!("shop"), json!("public"), json!("items")], "{rows:?}");
    Ok(())
}

#[test]
fn what_another_converter_wrote_is_named_with_what_to_set() -> Result<()> {
    let pipeline = Pipeline::of_files(FLATTEN.0, &[FLATTEN.1])?;
    let value = change(1, "c", "orders");
    let registry = [b"{\"id\":1}\t\0\0\0\x01\x01".as_slice(), value.as_bytes(), b"\n"].concat();
    let text = format!("{{\"id\":1}}\t{}\n{{\"id\":1}}\t[{value}]\n", json!(value));
    let document = format!("{{\"id\":1}}\t{}\n", json!({ "op": "c", "after": "{\"_id\":7}", "source": {} }));
    pipeline.events("events.jsonl", &[text.into_bytes(), document.into_bytes(), registry].concat())?;
    let found = counts(&pipeline.run()?)?;
    ensure!((found.0, found.1, found.2) == (0, 4, 0), "{found:?}");
    let reasons = reasons(&pipeline)?;
    let expected = [
        "a text that holds JSON: it was converted twice",
        "found an array: each record must hold one event",
        "MongoDB's documents as text are not supported yet",
        "schema registry (byte 0 and the schema's id 257) before JSON: this version reads plain JSON; set `value.converter=",
    ];
    for (reason, expected) in reasons.iter().zip(expected) {
        ensure!(reason.contains(expected), "{reason}");
    }
    Ok(())
}
