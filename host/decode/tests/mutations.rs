//! Broken and rewritten records against serde_json: a record that is no JSON is dead, one that says the same in other bytes is the
//! same row, and whatever a record is, its neighbours are what they were. From a seed, so that a failure comes again;
//! `LAKEMILL_FUZZ_CASES` makes it long.

use std::collections::BTreeMap;

use fastrand::Rng;
use lakemill_decode::{Decoded, Decoder, DecoderConfig, Reason, SchemaMode};
use lakemill_model::{DataType, Field, ImageData, RawBatch, RecordRef, RowSchema};
use serde_json::{Map, Value, json};

/// Key and value of a record.
type Record = (Option<Vec<u8>>, Vec<u8>);

/// What can be seen of a row: op, times, and every cell of every image by name.
type Row = Vec<String>;

fn cases() -> usize {
    std::env::var("LAKEMILL_FUZZ_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000)
}

fn raw(records: &[Record]) -> RawBatch {
    let mut batch = RawBatch::default();
    for (offset, (key, value)) in records.iter().enumerate() {
        batch.push(RecordRef {
            topic: "t",
            partition: 0,
            offset: offset as i64,
            timestamp_ms: Some(1),
            key: key.as_deref(),
            value: Some(value),
        });
    }
    batch
}

/// Declared columns: no record can change what another one's cells are.
fn declared() -> SchemaMode {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    let schema = RowSchema {
        key: vec![field("id", DataType::Int64)],
        row: vec![
            field("id", DataType::Int64),
            field("name", DataType::Text),
            field("total", DataType::Float64),
            field("paid", DataType::Boolean),
            field("tags", DataType::Json),
            field("price", DataType::Decimal { precision: 12, scale: 2 }),
            field("day", DataType::Date),
            field("at", DataType::Timestamp),
            field("count", DataType::Int32),
        ],
    };
    SchemaMode::Declared(schema.into())
}

fn decode(mode: &SchemaMode, records: &[Record]) -> Decoded {
    let config = DecoderConfig { mode: mode.clone(), ..DecoderConfig::default() };
    Decoder::new(config, Box::new(|_, schema| Ok(schema))).decode(&raw(records)).expect("never because of a record")
}

/// Rows by record.
fn rows(decoded: &Decoded) -> BTreeMap<u32, Row> {
    let mut found = BTreeMap::new();
    for batch in &decoded.batches {
        for row in 0..batch.len() {
            let envelope = &batch.envelope;
            let mut seen = vec![format!(
                "{:?} {:?} {} {:?}",
                envelope.ops[row],
                envelope.event_time_us[row],
                envelope.snapshots[row],
                envelope.positions.iter().nth(row)
            )];
            let images = [("key", &batch.key, &batch.schema.key)];
            let of_row = [("before", &batch.before, &batch.schema.row), ("after", &batch.after, &batch.schema.row)];
            for (name, image, fields) in images.into_iter().chain(of_row) {
                seen.push(format!("{name} {:?}", image.present.as_ref().is_none_or(|bits| bits.value(row))));
                seen.extend(fields.iter().zip(0..).filter_map(|(field, place)| cell(name, field, image, place, row)));
            }
            let before = found.insert(envelope.records[row], seen);
            assert!(before.is_none(), "record {} is two rows", envelope.records[row]);
        }
    }
    found
}

/// A cell as text; none if it is null: a column more or less that is null makes no difference.
fn cell(image_name: &str, field: &Field, image: &ImageData, place: usize, row: usize) -> Option<String> {
    let cells = image.columns[place].as_ref()?;
    if cells.unchanged.as_ref().is_some_and(|bits| bits.value(row)) {
        return Some(format!("{image_name}.{} unchanged", field.name));
    }
    let slice = cells.array.slice(row, 1);
    (slice.null_count() == 0).then(|| format!("{image_name}.{} {slice:?}", field.name))
}

/// A value of a column; now and then one that the column does not take.
fn value(random: &mut Rng, name: &str) -> Value {
    if random.u8(..) < 20 {
        return Value::Null;
    }
    match name {
        "id" => json!(random.i64(..) >> random.u32(0..63)),
        "count" => json!(random.i32(..)),
        "total" => json!(f64::from(random.i32(..)) / 64.0),
        "paid" => json!(random.bool()),
        "tags" => json!({ "a": [1, "zwei", null, { "b": random.u8(..) }] }),
        "price" => json!(f64::from(random.u32(..100_000)) / 4.0),
        "day" => json!(random.i32(-10_000..40_000)),
        "at" => json!("2026-01-31T12:00:00.25Z"),
        _ => json!(text(random)),
    }
}

fn text(random: &mut Rng) -> String {
    const PIECES: [&str; 12] =
        ["plain", "ü", "\"", "\\", "\n", "😀", "/", "\u{0}", "é\u{301}", "{}", "__debezium_unavailable_value", " "];
    (0..random.usize(0..4)).map(|_| PIECES[random.usize(..PIECES.len())]).collect()
}

fn image(random: &mut Rng) -> Value {
    let names = ["id", "name", "total", "paid", "tags", "price", "day", "at", "count"];
    let mut object = Map::new();
    for name in names {
        if random.u8(..) > 10 {
            object.insert(name.into(), value(random, name));
        }
    }
    Value::Object(object)
}

fn event(random: &mut Rng) -> Value {
    let op = ["c", "u", "d", "r"][random.usize(..4)];
    let mut event = json!({
        "before": if op == "u" || op == "d" { image(random) } else { Value::Null },
        "after": if op == "d" { Value::Null } else { image(random) },
        "source": {
            "version": "3.3", "connector": "postgresql", "name": "shop", "ts_ms": 1_760_000_000_000_i64 + random.i64(..1000),
            "snapshot": "false", "lsn": random.u32(..), "sequence": format!("[\"{}\",\"{}\"]", random.u8(..), random.u32(..)),
        },
        "op": op,
        "ts_ms": 5,
    });
    if random.bool() {
        event["transaction"] = Value::Null;
    }
    framed(random, event)
}

/// Bare, or in a frame of either kind without a schema.
fn framed(random: &mut Rng, payload: Value) -> Value {
    match random.u8(..) {
        0..40 => json!({ "schema": null, "payload": payload }),
        40..80 => json!({ "payload": payload }),
        _ => payload,
    }
}

/// What belongs to the stream and is no change, or looks like it.
fn other(random: &mut Rng) -> Value {
    let id = random.u16(..);
    let source = json!({ "connector": "mysql", "ts_ms": id });
    let other = match random.u8(..9) {
        0 => json!({ "ts_ms": id }),
        1 => {
            json!({ "status": "BEGIN", "id": text(random), "ts_ms": id, "event_count": null, "data_collections": null })
        }
        2 => json!({ "status": "END", "id": "5", "event_count": id, "data_collections": [] }),
        3 => json!({ "source": source, "databaseName": "d", "ddl": text(random), "tableChanges": [] }),
        4 => json!({
            "id": "c56a4180-65aa-42ec-a945-5fd21dec0538", "type": "STARTED", "aggregate_type": "x", "additional_data": {}
        }),
        5 => json!({ "op": "m", "source": source, "message": { "prefix": text(random), "content": "" } }),
        6 => Value::Null,
        7 => json!({ "id": id, "status": "END", "ts_ms": id }),
        _ => image(random),
    };
    framed(random, other)
}

fn record(random: &mut Rng) -> Record {
    let id = random.u16(..);
    let key = match random.u8(..6) {
        0 => format!("Struct{{id={id}}}"),
        1 => json!({ "payload": { "id": id } }).to_string(),
        2 => json!({ "serverName": "shop" }).to_string(),
        _ => json!({ "id": id }).to_string(),
    };
    let value = if random.u8(..) < 40 { other(random) } else { event(random) };
    let mark = if random.u8(..) < 10 { "\u{feff}" } else { "" };
    (random.bool().then(|| key.into_bytes()), format!("{mark}{value}").into_bytes())
}

/// A few bytes changed, added, taken away, moved.
fn mutate(random: &mut Rng, bytes: &mut Vec<u8>) {
    const SPICE: &[u8] = b"{}[]\",:\\0123456789.-+eEtfnu \n\t\x00\xff\xc3\xed";
    for _ in 0..random.usize(1..4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.usize(..bytes.len());
        match random.u8(..7) {
            0 => bytes[at] ^= 1 << random.u8(..8),
            1 => bytes[at] = SPICE[random.usize(..SPICE.len())],
            2 => bytes.insert(at, SPICE[random.usize(..SPICE.len())]),
            3 => drop(bytes.remove(at)),
            4 => bytes.truncate(at),
            5 => {
                let end = (at + random.usize(..20)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = random.usize(..=bytes.len());
                bytes.splice(to..to, piece);
            }
            _ => {
                let end = (at + random.usize(..20)).min(bytes.len());
                bytes.drain(at..end);
            }
        }
    }
}

/// The same JSON in other bytes: white space, escapes.
fn rewrite(random: &mut Rng, value: &Value, out: &mut String) {
    let space = |random: &mut Rng, out: &mut String| {
        for _ in 0..random.usize(..3) {
            out.push([' ', '\n', '\t', '\r'][random.usize(..4)]);
        }
    };
    space(random, out);
    match value {
        Value::String(text) => rewrite_text(random, text, out),
        Value::Array(list) => {
            out.push('[');
            for (n, item) in list.iter().enumerate() {
                out.push_str(if n == 0 { "" } else { "," });
                rewrite(random, item, out);
            }
            out.push(']');
        }
        Value::Object(object) => {
            let mut members: Vec<_> = object.iter().collect();
            random.shuffle(&mut members);
            out.push('{');
            for (n, (name, member)) in members.into_iter().enumerate() {
                out.push_str(if n == 0 { "" } else { "," });
                space(random, out);
                rewrite_text(random, name, out);
                space(random, out);
                out.push(':');
                rewrite(random, member, out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
    space(random, out);
}

fn rewrite_text(random: &mut Rng, text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        if c < ' ' || c == '"' || c == '\\' || random.u8(..) < 30 {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out.push('"');
}

/// JSON as a cell holds it, whose bytes are not compared.
fn without_json(rows: BTreeMap<u32, Row>) -> BTreeMap<u32, Row> {
    let keep = |row: Row| row.into_iter().filter(|cell| !cell.contains(".tags ")).collect();
    rows.into_iter().map(|(record, row)| (record, keep(row))).collect()
}

#[test]
fn a_mutated_record_is_judged_as_serde_json_does_and_leaves_its_neighbours_alone() {
    let mut random = Rng::with_seed(1);
    let (mut broken, mut sound) = (0, 0);
    for case in 0..cases() {
        let mode = if case % 2 == 0 { declared() } else { SchemaMode::Infer };
        let mut records: Vec<Record> = (0..4).map(|_| record(&mut random)).collect();
        // An inferred column has the type of the first records: those two come first, whatever follows.
        let before = rows(&decode(&mode, &records));
        let victim = random.usize(2..4);
        let (key, value) = &mut records[victim];
        match key {
            Some(key) if random.u8(..) < 50 => mutate(&mut random, key),
            _ => mutate(&mut random, value),
        }
        let decoded = decode(&mode, &records);
        let after = rows(&decoded);
        let shown = || String::from_utf8_lossy(&records[victim].1).into_owned();
        if case % 2 == 0 {
            for (record, row) in before.iter().filter(|(record, _)| **record as usize != victim) {
                assert_eq!(after.get(record), Some(row), "case {case}: a neighbour of {}", shown());
            }
        }
        let fates = decoded.dead.len() + after.len() + decoded.control.len();
        assert_eq!(fates, records.len(), "case {case}: every record has one fate: {}", shown());

        let value = records[victim].1.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&records[victim].1);
        let dead = decoded.dead.iter().find(|dead| dead.record as usize == victim);
        let is_json =
            std::str::from_utf8(value).is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
        if !value.is_empty() && !is_json {
            broken += 1;
            let said = dead.map(|dead| &dead.reason);
            assert!(said.is_some(), "case {case}: it is no JSON and no dead letter: {}", shown());
        }
        if serde_json::from_slice::<Value>(value).is_ok() {
            sound += 1;
            let said = dead.map(|dead| &dead.reason);
            let of_value = matches!(said, Some(Reason::NotJson { .. } | Reason::NotUtf8 { .. }));
            assert!(!of_value || records[victim].0.is_some(), "case {case}: it is JSON: {said:?}: {}", shown());
        }
    }
    assert!(broken > cases() / 4 && sound > cases() / 20, "{broken} broken, {sound} sound");
}

#[test]
fn the_same_json_in_other_bytes_is_the_same_row() {
    let mut random = Rng::with_seed(2);
    for case in 0..cases() / 2 {
        let mode = if case % 2 == 0 { declared() } else { SchemaMode::Infer };
        let one = |random: &mut Rng| if random.u8(..) < 60 { other(random) } else { event(random) };
        let events: Vec<Value> = (0..3).map(|_| one(&mut random)).collect();
        let plain: Vec<Record> = events.iter().map(|event| (None, event.to_string().into_bytes())).collect();
        let other: Vec<Record> = events
            .iter()
            .map(|event| {
                let mut text = String::new();
                rewrite(&mut random, event, &mut text);
                (None, text.into_bytes())
            })
            .collect();
        let (plain, other) = (decode(&mode, &plain), decode(&mode, &other));
        let dead = |decoded: &Decoded| decoded.dead.iter().map(|dead| dead.record).collect::<Vec<_>>();
        assert_eq!(plain.control, other.control, "case {case}: {events:?}");
        assert_eq!(dead(&plain), dead(&other), "case {case}: {events:?}\n{:?}\n{:?}", plain.dead, other.dead);
        let sorted = |decoded: &Decoded| {
            let mut rows = without_json(rows(decoded));
            rows.values_mut().for_each(|row| row.sort());
            rows
        };
        assert_eq!(sorted(&plain), sorted(&other), "case {case}: {events:?}");
    }
}

/// A value of any kind, as JSON text: numbers that a float64 does not hold among them.
fn any_value(random: &mut Rng) -> String {
    match random.u8(..12) {
        0 => "null".into(),
        1 => random.bool().to_string(),
        2 => json!(text(random)).to_string(),
        3 => r#"{"a":[1]}"#.into(),
        4 => json!(["NaN", "Infinity", "-Infinity"][random.usize(..3)]).to_string(),
        5 => random.i64(..).to_string(),
        6 => format!("{}{:018}", random.u8(1..), random.u32(..)),
        7 => format!("{}.{:03}", random.i64(..), random.u16(..1000)),
        8 => format!("{:e}", random.f64() * 10f64.powi(random.i32(-30..30))),
        _ => random.u8(..).to_string(),
    }
}

#[test]
fn the_order_of_the_records_makes_no_difference() {
    let mut random = Rng::with_seed(4);
    for case in 0..cases() / 10 {
        let records: Vec<Record> = (0..random.usize(1..9))
            .map(|_| {
                let key = format!(r#"{{"a":{}}}"#, any_value(&mut random)).into_bytes();
                let after = format!(r#"{{"a":{},"b":{}}}"#, any_value(&mut random), any_value(&mut random));
                (random.bool().then_some(key), format!(r#"{{"after":{after},"op":"c"}}"#).into_bytes())
            })
            .collect();
        let mut order: Vec<usize> = (0..records.len()).collect();
        random.shuffle(&mut order);
        let shuffled: Vec<Record> = order.iter().map(|place| records[*place].clone()).collect();
        let fates = |decoded: &Decoded, of: &dyn Fn(u32) -> usize| {
            let mut fates: BTreeMap<usize, Row> = BTreeMap::new();
            for (record, mut row) in rows(decoded) {
                row.sort();
                fates.insert(of(record), row);
            }
            fates.extend(decoded.dead.iter().map(|dead| (of(dead.record), vec![dead.reason.to_string()])));
            fates
        };
        let straight = fates(&decode(&SchemaMode::Infer, &records), &|record| record as usize);
        let other = fates(&decode(&SchemaMode::Infer, &shuffled), &|record| order[record as usize]);
        let shown: Vec<_> = records.iter().map(|(_, value)| String::from_utf8_lossy(value)).collect();
        assert_eq!(straight, other, "case {case}: {shown:#?} as {order:?}");
    }
}

#[test]
fn bytes_of_any_kind_have_a_fate() {
    let mut random = Rng::with_seed(3);
    for case in 0..cases() {
        let some = |random: &mut Rng| (0..random.usize(..40)).map(|_| random.u8(..)).collect::<Vec<u8>>();
        let key = some(&mut random);
        let value = some(&mut random);
        let decoded = decode(&SchemaMode::Infer, &[(Some(key), value.clone())]);
        let control = decoded.control.len();
        assert_eq!(decoded.dead.len() + control, 1, "case {case}: {value:?}");
    }
}
