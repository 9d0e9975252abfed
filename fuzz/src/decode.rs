//! Records of change events, several of one partition in a batch.

use lakemill_decode::{Decoder, DecoderConfig, SchemaMode};
use lakemill_model::{ChangeBatch, DataType, Field, RawBatch, RecordRef, RowSchema};

use crate::{PART, arrays};

/// Between a record's key and its value; without it there is no key.
const VALUE: u8 = 0x1f;

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Row,
    Dead,
    Control,
}

type Record<'a> = (Option<&'a [u8]>, &'a [u8]);

/// Decodes the records under the schema mode that the first byte names: every one has a fate, no JSON is a dead letter, and
/// the neighbours of a record do not decide its fate.
pub fn decode(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else { return };
    let records: Vec<Record<'_>> = rest.split(|byte| *byte == PART).map(record).collect();
    let mode = match mode % 3 {
        0 => SchemaMode::Infer,
        1 => SchemaMode::Inline,
        _ => declared(),
    };
    // What is inferred depends on the records that come first.
    let alone = mode != SchemaMode::Infer;
    let config = DecoderConfig { mode, ..DecoderConfig::default() };
    let decoder = Decoder::new(config, Box::new(|_, schema| Ok(schema)));
    let together = fates(&decoder, &records);
    for (record, fate) in records.iter().zip(together) {
        let shown = || String::from_utf8_lossy(record.1);
        assert!(fate == Fate::Dead || !is_broken(record.1), "{fate:?}, but it is no JSON: {}", shown());
        if alone {
            assert_eq!(fates(&decoder, &[*record]), [fate], "alone it has another fate: {}", shown());
        }
    }
}

fn record(bytes: &[u8]) -> Record<'_> {
    match bytes.iter().position(|byte| *byte == VALUE) {
        Some(at) => (Some(&bytes[..at]), &bytes[at + 1..]),
        None => (None, bytes),
    }
}

fn is_broken(value: &[u8]) -> bool {
    let is_json = |text| serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok();
    // A byte order mark may come before it.
    let value = value.strip_prefix("\u{feff}".as_bytes()).unwrap_or(value);
    !value.is_empty() && !std::str::from_utf8(value).is_ok_and(is_json)
}

fn declared() -> SchemaMode {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    let schema = RowSchema {
        key: vec![field("id", DataType::Int64)],
        row: vec![
            Field::new("id", DataType::Int64, false),
            field("n", DataType::Int32),
            field("x", DataType::Float64),
            field("y", DataType::Float32),
            field("ok", DataType::Boolean),
            field("doc", DataType::Json),
            field("price", DataType::Decimal { precision: 12, scale: 2 }),
            field("day", DataType::Date),
            field("at", DataType::Timestamp),
            field("raw", DataType::Bytes),
            field("t", DataType::Text),
        ],
    };
    SchemaMode::Declared(schema.into())
}

fn fates(decoder: &Decoder, records: &[Record<'_>]) -> Vec<Fate> {
    let mut raw = RawBatch::default();
    for (offset, (key, value)) in (0..).zip(records) {
        let (topic, value) = ("t", Some(*value));
        raw.push(RecordRef { topic, partition: 0, offset, timestamp_ms: Some(1), key: *key, value });
    }
    let decoded = decoder.decode(&raw).expect("never because of a record");
    let mut fates = vec![None; records.len()];
    let mut give = |record: u32, fate| {
        let former = fates[record as usize].replace(fate);
        assert_eq!(former, None, "record {record} has two fates");
    };
    decoded.dead.iter().for_each(|dead| give(dead.record, Fate::Dead));
    for batch in &decoded.batches {
        check(batch);
        batch.envelope.records.iter().for_each(|record| give(*record, Fate::Row));
    }
    let control = fates.iter().filter(|fate| fate.is_none()).count();
    assert_eq!(control, decoded.control.len(), "{fates:?}");
    fates.into_iter().map(|fate| fate.unwrap_or(Fate::Control)).collect()
}

fn check(batch: &ChangeBatch) {
    let (rows, envelope) = (batch.len(), &batch.envelope);
    let lists = [envelope.event_time_us.len(), envelope.partitions.len(), envelope.offsets.len()];
    assert_eq!(lists, [rows; 3]);
    let lists = [envelope.kafka_time_ms.len(), envelope.snapshots.len(), envelope.records.len()];
    assert_eq!(lists, [rows; 3]);
    assert_eq!(arrow_array::Array::len(&envelope.positions), rows);
    let schema = &batch.schema;
    for (image, fields) in [(&batch.key, &schema.key), (&batch.before, &schema.row), (&batch.after, &schema.row)] {
        assert_eq!(image.columns.len(), fields.len());
        for (cells, field) in image.columns.iter().zip(fields) {
            let cells = cells.as_ref().expect("all are read");
            arrays::check(cells, field, rows);
            if let Some(present) = &image.present {
                let absent = (0..rows).filter(|row| !present.value(*row));
                assert!(absent.into_iter().all(|row| cells.array.is_null(row)), "a value where no image is");
            }
        }
    }
}

/// Records of every kind, in each schema mode.
pub fn seeds() -> Vec<Vec<u8>> {
    let row = r#"{"id":1,"n":-2,"x":1.5e-3,"y":null,"ok":true,"doc":{"a":[1,null]},"price":12.25,"day":19000,"at":"2026-01-31T12:00:00.25Z","raw":"AAEC","t":"\u00fc\ud83d\ude00\n"}"#;
    let kept = r#"{"id":1,"t":"__debezium_unavailable_value","doc":"{\"a\":1}","at":1700000000123456,"price":"EtaH"}"#;
    let postgres =
        r#""connector":"postgresql","ts_ms":1700000000123,"snapshot":"false","lsn":9,"sequence":"[\"7\",\"9\"]""#;
    let mysql = r#""connector":"mysql","ts_ms":1,"snapshot":true,"file":"mysql-bin.000010","pos":4,"row":1"#;
    let oracle = r#""connector":"oracle","scn":"18446744073709551616","commit_scn":"9","rs_id":" 0x1 ","ssn":0"#;
    let sql_server = r#""connector":"sqlserver","commit_lsn":"0000:0A","change_lsn":null,"event_serial_no":2"#;
    let event = |op: &str, before: &str, after: &str, source: &str| {
        format!(
            r#"{{"before":{before},"after":{after},"source":{{{source}}},"op":"{op}","ts_ms":8,"transaction":null}}"#
        )
    };
    let changes = [
        format!("{{\"id\":1}}\x1f{}", event("c", "null", row, postgres)),
        format!("{{\"id\":1}}\x1f{}", event("u", row, kept, mysql)),
        format!("1\x1f{}", event("d", row, "null", oracle)),
        event("r", "null", kept, sql_server),
        event("t", "null", "null", r#""connector":"mongodb","ts_ms":7,"ord":3"#),
    ];
    let framed = changes.each_ref().map(|change| match change.split_once('\x1f') {
        Some((key, value)) => format!("{{\"schema\":null,\"payload\":{key}}}\x1f{}", with_schema(value)),
        None => with_schema(change),
    });
    let others = [
        "{\"serverName\":\"shop\"}\x1f{\"ts_ms\":5}",
        r#"{"status":"BEGIN","id":"5","event_count":null,"data_collections":null}"#,
        r#"{"status":"END","id":"5","event_count":1,"data_collections":[]}"#,
        r#"{"source":{"connector":"mysql"},"databaseName":"d","ddl":"CREATE TABLE t","tableChanges":[]}"#,
        r#"{"source":{"server":"s"},"historyRecord":"{}"}"#,
        r#"{"id":"01234567-89ab-cdef-0123-456789abcdef","type":"STARTED","aggregate_type":"a","additional_data":{}}"#,
        r#"{"op":"m","source":{},"message":{"prefix":"p"}}"#,
        "{\"payload\":{\"id\":1}}\x1f{\"payload\":{\"op\":\"c\",\"after\":{\"id\":1}}}",
        r#"{"schema":{"type":"struct","name":"io.debezium.connector.common.Heartbeat"},"payload":{"ts_ms":1}}"#,
        r#"{"schema":null,"payload":null}"#,
        "\u{feff}null",
        r#"{"__op":"c","id":1}"#,
        r#"{"specversion":"1.0"}"#,
        "",
        "null",
        " [1, -0.0E+5, \"\\u00e9\\/\"] ",
        "{\"op\":\"c\",\"after\":{\"id\":1}",
    ];
    // Small, and twice: the second one is found by what the first one began with.
    let small = r#"{"schema":{"fields":[{"field":"after","fields":[]}]},"payload":{"op":"c","after":{}}}"#;
    let body = |text: &str| text[1..text.len() - 1].to_owned();
    // The same beginning, and then a second payload, or something else.
    let twice = format!("{{{},\"payload\":{{\"op\":\"d\",\"before\":{{}}}}}}", body(small));
    let more = format!("{{{},\"more\":[1]}}", body(small));
    let parts = [
        changes.join("\x1e"),
        framed.join("\x1e"),
        others.join("\x1e"),
        changes[1].clone(),
        [small; 2].join("\x1e"),
        [small, &twice, &more].join("\x1e"),
    ];
    // By the schema mode's number.
    ["0", "1", "2"].iter().flat_map(|mode| parts.iter().map(move |part| format!("{mode}{part}").into_bytes())).collect()
}

fn with_schema(payload: &str) -> String {
    let field =
        |name: &str, kind: &str, more: &str| format!(r#"{{"field":"{name}","type":"{kind}","optional":true{more}}}"#);
    let fields = [
        field("id", "int64", ""),
        field("n", "int16", ""),
        field("x", "double", ""),
        field("y", "float", ""),
        field("ok", "boolean", ""),
        field("doc", "string", r#","name":"io.debezium.data.Json""#),
        field(
            "price",
            "bytes",
            r#","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2","connect.decimal.precision":"12"}"#,
        ),
        field("day", "int32", r#","name":"io.debezium.time.Date""#),
        field("at", "int64", r#","name":"io.debezium.time.MicroTimestamp""#),
        field("raw", "bytes", ""),
        field("t", "string", ""),
    ];
    let row = format!(r#"{{"type":"struct","field":"after","fields":[{}]}}"#, fields.join(","));
    let schema = format!(r#"{{"type":"struct","name":"t.Envelope","fields":[{row}]}}"#);
    format!(r#"{{"schema":{schema},"payload":{payload}}}"#)
}
