//! What a record is, over the whole space: what it says, how it is framed, in which order its members come, which key it has; and rows that look
//! like control records.

use arrow_array::Array as _;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use fastrand::Rng;
use lakemill_decode::{Columns, ControlKind, Decoded, Decoder, DecoderConfig, Projection, SchemaMode};
use lakemill_model::{DataType, EnvelopeColumn, Field, RawBatch, RecordRef, RowSchema, RowSource};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

type Pair<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

fn decode(projection: Projection, topic: &str, records: &[Pair<'_>]) -> Decoded {
    let mut raw = RawBatch::default();
    for (offset, (key, value)) in (0..).zip(records) {
        raw.push(RecordRef { topic, partition: 0, offset, timestamp_ms: None, key: *key, value: *value });
    }
    let config = DecoderConfig { projection, ..DecoderConfig::default() };
    let decoded =
        Decoder::new(config, Box::new(|_, schema| Ok(schema))).decode(&raw).expect("never because of a record");
    let rows: usize = decoded.batches.iter().map(|batch| batch.len()).sum();
    assert_eq!(rows + decoded.dead.len() + decoded.control.len(), records.len(), "every record has one fate");
    decoded
}

/// What one record is: `row`, the name of a control kind, or why it is dead.
fn fate_in(topic: &str, key: Option<&str>, value: &[u8]) -> String {
    let decoded = decode(Projection::all(), topic, &[(key.map(str::as_bytes), Some(value))]);
    match (decoded.control.first(), decoded.dead.first()) {
        (Some((0, kind)), _) => kind.name().into(),
        (_, Some(dead)) => dead.reason.to_string(),
        _ => "row".into(),
    }
}

fn fate(key: Option<&str>, value: &str) -> String {
    fate_in("shop.public.orders", key, value.as_bytes())
}

/// A change, and a record of each kind that has a value, as Debezium writes them: key, value, schema name.
fn typical() -> Vec<(&'static str, Value, Value, &'static str)> {
    let source = json!({ "connector": "mysql", "name": "shop", "ts_ms": 5, "db": "shop", "table": "orders" });
    let change =
        json!({ "before": null, "after": { "id": 4, "status": "BEGIN" }, "source": source, "op": "c", "ts_ms": 6 });
    let of_transaction = "io.debezium.connector.common.TransactionMetadataValue";
    let of_ddl = "io.debezium.connector.mysql.SchemaChangeValue";
    vec![
        ("row", json!({ "id": 4 }), change, "shop.orders.Envelope"),
        ("heartbeat", json!({ "serverName": "shop" }), json!({ "ts_ms": 8 }), "io.debezium.connector.common.Heartbeat"),
        (
            "transaction",
            json!({ "id": "9:1" }),
            json!({ "status": "BEGIN", "id": "9:1", "ts_ms": 7, "event_count": null, "data_collections": null }),
            of_transaction,
        ),
        (
            "transaction",
            json!({ "id": "9:1" }),
            json!({
                "status": "END", "id": "9:1", "event_count": 1,
                "data_collections": [{ "data_collection": "shop.orders", "event_count": 1 }]
            }),
            of_transaction,
        ),
        (
            "schema_change",
            json!({ "databaseName": "shop" }),
            json!({
                "source": source, "ts_ms": 3, "databaseName": "shop", "schemaName": null, "ddl": "DROP TABLE t",
                "tableChanges": [{ "type": "DROP", "id": "t" }]
            }),
            of_ddl,
        ),
        (
            "schema_change",
            Value::Null,
            json!({ "source": source, "historyRecord": "{\"ddl\":\"DROP TABLE t\"}" }),
            of_ddl,
        ),
        (
            "notification",
            json!({ "id": "7" }),
            json!({
                "id": "0e9f0d5c-9a3b-4f4e-8a67-57a0cf8a2b11", "type": "TABLE_SCAN_COMPLETED",
                "aggregate_type": "Initial Snapshot", "additional_data": { "connector_name": "shop" }, "timestamp": 5
            }),
            "io.debezium.connector.common.Notification",
        ),
        (
            "message",
            json!({ "prefix": "beat" }),
            json!({ "op": "m", "ts_ms": 4, "source": source, "message": { "prefix": "beat", "content": "aGk=" } }),
            "io.debezium.connector.postgresql.MessageValue",
        ),
    ]
}

fn shuffled(random: &mut Rng, value: &Value) -> String {
    let Value::Object(object) = value else { return value.to_string() };
    let mut members: Vec<String> = object.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
    random.shuffle(&mut members);
    format!("{{{}}}", members.join(","))
}

/// How Connect's JSON converter and others frame a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Bare,
    NullSchema,
    Schema,
    Alone,
}

const FRAMINGS: [Framing; 4] = [Framing::Bare, Framing::NullSchema, Framing::Schema, Framing::Alone];

fn framed(random: &mut Rng, how: Framing, schema: &str, payload: &str) -> String {
    let mut parts = |schema: &str| match random.bool() {
        true => format!(r#"{{"schema":{schema},"payload":{payload}}}"#),
        false => format!(r#"{{"payload":{payload},"schema":{schema}}}"#),
    };
    match how {
        Framing::Bare => payload.to_owned(),
        Framing::NullSchema => parts("null"),
        Framing::Schema => parts(schema),
        Framing::Alone => format!(r#"{{"payload":{payload}}}"#),
    }
}

/// A schema part by its name; that of an envelope has the columns of [`typical`].
fn schema(name: &str) -> String {
    let row = r#"{"type":"struct","optional":true,"field":"after","fields":[{"type":"int64","field":"id"},{"type":"string","field":"status"}]}"#;
    let fields = if name.ends_with("Envelope") { row } else { "" };
    format!(r#"{{"type":"struct","name":"{name}","fields":[{fields}]}}"#)
}

#[test]
fn every_kind_in_every_frame_and_order_is_known() {
    let mut random = Rng::with_seed(4);
    for round in 0..20 {
        for (expected, key, value, name) in typical() {
            for how in FRAMINGS {
                let value = shuffled(&mut random, &value);
                let value = framed(&mut random, how, &schema(name), &value);
                let key_schema = r#"{"type":"struct","fields":[]}"#;
                let key_framing = if how == Framing::Schema && random.bool() { Framing::Bare } else { how };
                let key = (!key.is_null()).then(|| framed(&mut random, key_framing, key_schema, &key.to_string()));
                assert_eq!(fate(key.as_deref(), &value), expected, "{round} {how:?} {key:?} {value}");
            }
        }
    }
}

#[test]
fn kinds_side_by_side_leave_the_rows_as_they_are() {
    let mut random = Rng::with_seed(5);
    for _ in 0..300 {
        let how = FRAMINGS[random.usize(..4)];
        let picked: Vec<_> = (0..8).map(|_| random.choice(typical()).expect("some")).collect();
        let values: Vec<(Option<String>, String)> = picked
            .iter()
            .map(|(_, key, value, name)| {
                let value = shuffled(&mut random, value);
                (Some(key.to_string()), framed(&mut random, how, &schema(name), &value))
            })
            .collect();
        let records: Vec<Pair<'_>> = values
            .iter()
            .map(|(key, value)| (key.as_ref().map(|key| key.as_bytes()), Some(value.as_bytes())))
            .collect();
        let decoded = decode(Projection::all(), "t", &records);
        assert_eq!(decoded.dead, [], "{values:?}");
        let rows: Vec<u32> = decoded.batches.iter().flat_map(|batch| batch.envelope.records.clone()).collect();
        let expected: Vec<u32> = (0..).zip(&picked).filter(|(_, record)| record.0 == "row").map(|(at, _)| at).collect();
        assert_eq!(rows, expected);
        let control: Vec<_> = decoded.control.iter().map(|(at, kind)| (*at, kind.name())).collect();
        let others = (0..).zip(&picked).filter(|(_, record)| record.0 != "row").map(|(at, record)| (at, record.0));
        assert_eq!(control, others.collect::<Vec<_>>());
    }
}

#[test]
fn tombstones() {
    let schema = schema("shop.orders.Envelope");
    let key = Some(r#"{"id":1}"#);
    for value in ["", "null", " null\n", r#"{"schema":null,"payload":null}"#, r#"{"payload": null, "schema":null}"#] {
        assert_eq!(fate(key, value), "tombstone", "{value}");
        assert_eq!(fate(None, value), "tombstone", "{value}");
    }
    assert_eq!(fate(key, &format!(r#"{{"schema":{schema},"payload":null}}"#)), "tombstone");
    assert_eq!(fate(Some(r#"{"payload":{"id":1}}"#), r#"{"payload":null}"#), "tombstone");
    assert!(fate(key, r#"{"payload":null}"#).contains("`payload` that is null"), "a row of one column may look so");
    assert!(fate(key, "nul").starts_with("not JSON"));
    assert!(fate(key, "null x").starts_with("not JSON at byte 5: more text"));
}

#[test]
fn a_heartbeat_is_known_by_its_key_or_its_topic() {
    let value = r#"{"ts_ms":5}"#;
    for key in [r#"{"serverName":"shop"}"#, r#"{"payload":{"serverName":"shop"}}"#, "Struct{serverName=shop}"] {
        assert_eq!(fate(Some(key), value), "heartbeat", "{key}");
    }
    assert_eq!(fate_in("__debezium-heartbeat.shop", None, value.as_bytes()), "heartbeat");
    for key in [None, Some(r#"{"id":1}"#), Some(r#"{"serverName":"shop","id":1}"#), Some("serverName"), Some("{")] {
        assert!(fate(key, value).starts_with("nothing but `ts_ms`: a heartbeat has a key"), "{key:?}");
    }
    let key = br#"{"serverName":"shop"}"#;
    let decoded = decode(Projection::all(), "t", &[(Some(key), Some(value.as_bytes()))]);
    assert_eq!(decoded.event_times_us, [(0, 5000)], "it says how far the stream is");
}

#[test]
fn what_is_no_change_says_what_it_is_and_what_to_do() {
    let key = Some(r#"{"id":3}"#);
    let flat = "a flattened row: this version reads Debezium's envelope only; take the unwrap SMT";
    let flat_name = schema("shop.public.orders.Value");
    for (key, value, expected) in [
        (key, r#"{"id":3,"status":"open","total":4.5}"#, flat),
        (key, r#"{"id":3,"status":"BEGIN","ts_ms":5}"#, flat),
        (None, r#"{"id":3,"__deleted":"true"}"#, flat),
        (None, &format!(r#"{{"schema":{flat_name},"payload":{{"ts_ms":3}}}}"#), flat),
        (None, r#"{"id":3,"status":"open"}"#, "no Debezium envelope (no `op`): if it is a flattened row, this version"),
        (None, r#"{"id":"u","status":"END","ts_ms":5}"#, "no Debezium envelope (no `op`)"),
        (None, r#"{"id":"u","aggregate_type":"order","type":"NEW","payload":"{}"}"#, "no Debezium envelope (no `op`)"),
        (None, r#"{"schema":"public","payload":"x"}"#, "no Debezium envelope (no `op`)"),
        (None, r#"{"id":3,"op":"t"}"#, "no Debezium envelope (an `op`, but neither `before` nor `after`)"),
        (key, r#"{"id":4,"op":"m","source":{"host":"a"},"who":"x"}"#, "no Debezium envelope"),
        (key, r#"{"op":"m","before":null,"after":null}"#, "no Debezium envelope"),
        (key, r#"{"id":9,"op":"d","before":null}"#, "no Debezium envelope (an `op`, but neither"),
        (None, r#"{"before":null,"after":{"id":1},"source":{}}"#, "no `op` in Debezium's envelope"),
        (None, r#"{"op":"x","after":{"id":1}}"#, "unknown op `x`: expected r, c, u, d, t or m"),
        (None, r#"{"op":"c","after":null,"source":{}}"#, "op c without `after`"),
        (None, r#"{"op":"d","before":null,"source":{}}"#, "without a key, that is without a `row`"),
        (Some("Struct{id=1}"), r#"{"op":"d","before":null,"source":{}}"#, "with a key that is not JSON"),
        // Nobody knows the columns: such a row would be empty.
        (None, r#"{"schema":{},"payload":{"after":{"id":3},"op":"c"}}"#, "its schema part has no fields"),
        (
            None,
            r#"{"schema":{"type":"string"},"payload":{"after":{"id":3},"op":"c"}}"#,
            "its schema part has no fields",
        ),
        (
            None,
            r#"{"schema":{"type":"struct","name":"Msg","fields":[{"field":"after","type":"struct","fields":[{"field":"id"}]}]},"payload":{"after":{"id":3},"op":"c"}}"#,
            "its schema part gives column id no type",
        ),
        (
            None,
            r#"{"op":"c","after":"{\"_id\":1}","source":{}}"#,
            "`after` is a text: MongoDB's documents as text are not",
        ),
        (None, r#"{"op":"u","after":null,"source":{},"updateDescription":{}}"#, "a MongoDB patch: set the connector's"),
        (None, r#"{"specversion":"1.0","data":{}}"#, "a CloudEvent"),
        (None, r#"{"database":"d","table":"t","type":"insert","data":{}}"#, "Maxwell, Canal or GoldenGate"),
        (None, r#"[{"op":"c"}]"#, "found an array: each record must hold one event"),
        (None, r#""{\"op\":\"c\"}""#, "found a text that holds JSON: it was converted twice; set `value.converter="),
        (None, "17", "expected a change event, found a number"),
        (None, "{\"op\":\"c\"", "not JSON at byte 9"),
        (None, r#"{"op":"c","after":{"id":1}} x"#, "more text after the end"),
    ] {
        let said = fate(key, value);
        assert!(said.contains(expected), "{value}: {said}");
    }
    for bytes in [&b"\0\0\0\0\x09{\"op\":\"c\"}"[..], b"\0\0\0\0\x09\x02\x04\xff"] {
        let said = fate_in("t", None, bytes);
        assert!(said.contains("schema registry (byte 0 and the schema's id 9)"), "{said}");
        assert!(said.contains("set `value.converter=org.apache.kafka.connect.json.JsonConverter`"), "{said}");
    }
    assert!(fate_in("t", None, &[0x1f, 0x8b, 8, 0, 1]).starts_with("gzip bytes"));
    assert!(fate_in("t", None, &[b'{', 0, b'}', 0]).starts_with("UTF-16 text"));
}

/// The row of records, as `(column, cell)`, with the key and the value of each.
fn cells_of(config: DecoderConfig, records: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let mut raw = RawBatch::default();
    for (offset, (key, value)) in (0..).zip(records) {
        let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
        raw.push(RecordRef { topic: "t", partition: 0, offset, timestamp_ms: None, key, value });
    }
    let decoded =
        Decoder::new(config, Box::new(|_, schema| Ok(schema))).decode(&raw).expect("never because of a record");
    let mut cells = Vec::new();
    for batch in &decoded.batches {
        let source = RowSource::of(batch);
        for (n, field) in batch.schema.row.iter().enumerate() {
            let column = source.cells(batch, n).expect("columns").expect("is read");
            for row in 0..batch.len() {
                let text = match field.data_type {
                    _ if column.array.is_null(row) => String::new(),
                    DataType::Int32 => column.array.as_primitive::<Int32Type>().value(row).to_string(),
                    _ => column.array.as_primitive::<Int64Type>().value(row).to_string(),
                };
                cells.push(format!("{}={text}", field.name));
            }
        }
    }
    (cells, decoded.dead.iter().map(|dead| dead.reason.to_string()).collect())
}

#[test]
fn a_delete_that_is_nothing_but_a_key_is_that_key_or_dead() {
    let delete = r#"{"before":null,"after":null,"source":{"ts_ms":1},"op":"d"}"#;
    let row = |key: &[(&str, DataType)], row: &[(&str, DataType)]| {
        let fields = |list: &[(&str, DataType)]| list.iter().map(|(name, of)| Field::new(*name, *of, true)).collect();
        DecoderConfig {
            mode: SchemaMode::Declared(RowSchema { key: fields(key), row: fields(row) }.into()),
            projection: Projection::all(),
            ..DecoderConfig::default()
        }
    };
    let infer = DecoderConfig { projection: Projection::all(), ..DecoderConfig::default() };
    let (int, long) = (DataType::Int32, DataType::Int64);
    for (config, cells) in [
        (infer, vec!["id=7"]),
        (row(&[("id", long)], &[("id", long), ("n", DataType::Text)]), vec!["id=7", "n="]),
        (row(&[("id", int)], &[("id", long)]), vec!["id=7"]),
    ] {
        assert_eq!(
            cells_of(config.clone(), &[(r#"{"id":7}"#, delete)]),
            (cells.into_iter().map(str::to_owned).collect(), vec![]),
            "{config:?}"
        );
    }
    for config in
        [row(&[], &[("id", long)]), row(&[("k", long)], &[("id", long)]), row(&[("id", long)], &[("id", int)])]
    {
        let (cells, dead) = cells_of(config.clone(), &[(r#"{"id":7}"#, delete)]);
        assert!(
            cells.is_empty() && dead[0].contains("declare the columns of `key` and `row`"),
            "{config:?}: {cells:?} {dead:?}"
        );
    }
}

#[test]
fn a_key_that_is_not_the_columns_costs_no_row() {
    let change = |id: u32| format!(r#"{{"before":null,"after":{{"id":{id}}},"source":{{"ts_ms":1}},"op":"c"}}"#);
    let projection = Projection { row: Columns::All, ..Projection::default() };
    for keys in [[r#"{"id":"abc"}"#, r#"{"id":1}"#], [r#""k1""#, "7"]] {
        let config = DecoderConfig { projection: projection.clone(), ..DecoderConfig::default() };
        let (first, second) = (change(1), change(2));
        let (_, dead) = cells_of(config, &[(keys[0], &first), (keys[1], &second)]);
        assert!(dead.is_empty(), "{keys:?}: {dead:?}");
    }
}

#[test]
fn a_mark_and_space_around_a_value_make_no_difference() {
    let (_, _, change, _) = &typical()[0];
    let pretty = serde_json::to_string_pretty(change).expect("plain data");
    for value in [format!("\u{feff}{change}"), pretty, format!("\u{feff}\r\n {change}\n")] {
        assert_eq!(fate(Some("\u{feff}{\"id\":4}"), &value), "row", "{value}");
    }
    assert!(fate(None, "\u{feff}{\"op\"").starts_with("not JSON at byte 8:"), "bytes are those of the record");
    assert_eq!(fate(None, "\u{feff}null"), "tombstone");
}

fn key_cells(projection: Projection, key: &[u8], value: &str) -> (Vec<String>, Vec<Option<usize>>, usize) {
    let decoded = decode(projection, "t", &[(Some(key), Some(value.as_bytes()))]);
    assert_eq!(decoded.dead, [], "{key:?}");
    let batch = &decoded.batches[0];
    let names = batch.schema.key.iter().map(|field| field.name.to_string()).collect();
    let nulls = batch.key.columns.iter().map(|cells| cells.as_ref().map(|cells| cells.array.null_count())).collect();
    (names, nulls, batch.key.present.as_ref().map_or(1, |bits| bits.count_set_bits()))
}

#[test]
fn a_key_that_is_not_json_is_a_null_key_and_its_record_is_whole() {
    let value = r#"{"before":null,"after":{"id":4},"op":"c"}"#;
    let nobody = Projection { after: Columns::All, ..Projection::default() };
    for key in [&b"Struct{id=4}"[..], b"4f1c-77", b"{id=4}", b"\xff\xfe", b"{\"id\":4"] {
        assert_eq!(key_cells(Projection::all(), key, value), (vec![], vec![], 0), "{key:?}");
        key_cells(nobody.clone(), key, value);
    }
    // Beside keys that are JSON.
    let records = [&b"{\"id\":4}"[..], b"Struct{id=4}"].map(|key| (Some(key), Some(value.as_bytes())));
    let decoded = decode(Projection::all(), "t", &records);
    let key = decoded.batches[0].key.columns[0].as_ref().expect("is read");
    assert_eq!((key.array.len(), key.array.null_count()), (2, 1));
}

#[test]
fn a_key_is_decoded_only_if_somebody_reads_it() {
    let value = r#"{"before":null,"after":{"id":4},"op":"c"}"#;
    let nobody = Projection { after: Columns::All, ..Projection::default() };
    let key = br#"{"id":4,"id2":[1,2]}"#;
    assert_eq!(key_cells(nobody.clone(), key, value), (vec!["id".into(), "id2".into()], vec![None, None], 1));
    let some = Projection { key: Columns::Some(["id".to_owned()].into()), ..nobody };
    assert_eq!(key_cells(some, key, value).1, [Some(0), None]);
}

#[test]
fn columns_of_a_key_that_are_called_schema_and_payload_stay() {
    let value = r#"{"before":null,"after":{"schema":"a","payload":7},"op":"c"}"#;
    let of = |key: &str| key_cells(Projection::all(), key.as_bytes(), value).0;
    assert_eq!(of(r#"{"schema":"a","payload":7}"#), ["schema", "payload"]);
    assert_eq!(of(r#"{"payload":7}"#), ["payload"]);
    assert_eq!(of(r#"{"schema":null,"payload":{"id":7}}"#), ["id"]);
    let schema =
        r#"{"type":"struct","fields":[{"type":"string","field":"schema"},{"type":"int32","field":"payload"}]}"#;
    assert_eq!(of(&format!(r#"{{"schema":{schema},"payload":{{"schema":"a","payload":7}}}}"#)), ["schema", "payload"]);
    let alone = format!(r#"{{"payload":{value}}}"#);
    assert_eq!(key_cells(Projection::all(), br#"{"payload":{"id":7}}"#, &alone).0, ["id"]);
}

#[test]
fn the_table_of_a_change_is_told_to_who_asks() {
    let of = |table: &str| format!(r#"{{"before":null,"after":{{"id":1}},"source":{{"db":"shop",{table}}},"op":"c"}}"#);
    let values = [of(r#""schema":"public","table":"orders""#), of(r#""collection":"items""#), of(r#""table":null"#)];
    let records: Vec<Pair<'_>> = values.iter().map(|value| (None, Some(value.as_bytes()))).collect();
    let decoded = decode(Projection { origins: true, ..Projection::default() }, "t", &records);
    let envelope = &decoded.batches[0].envelope;
    let names = |column: EnvelopeColumn| {
        let cells = column.gather(envelope, &[2, 1, 0], None);
        let cells = arrow_array::cast::AsArray::as_string::<i32>(&cells).clone();
        cells.iter().map(|name| name.unwrap_or("-").to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(EnvelopeColumn::SourceDb), "shop shop shop");
    assert_eq!(names(EnvelopeColumn::SourceSchema), "- - public");
    assert_eq!(names(EnvelopeColumn::SourceTable), "- items orders");
    assert!(decode(Projection::default(), "t", &records).batches[0].envelope.origins.is_none(), "nobody reads it");
}

/// A cell of a table as a flattened row has it: never an object or an array.
fn cell() -> impl Strategy<Value = Value> {
    const WORDS: [&str; 10] =
        ["BEGIN", "END", "c", "d", "t", "m", "STARTED", "0e9f0d5c-9a3b-4f4e-8a67-57a0cf8a2b11", "{\"a\":1}", "x"];
    prop_oneof![
        prop::sample::select(&WORDS[..]).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ]
}

fn flat_row() -> impl Strategy<Value = Map<String, Value>> {
    const NAMES: [&str; 24] = [
        "id",
        "status",
        "ts_ms",
        "event_count",
        "data_collections",
        "type",
        "aggregate_type",
        "additional_data",
        "timestamp",
        "source",
        "ddl",
        "tableChanges",
        "databaseName",
        "schemaName",
        "historyRecord",
        "op",
        "before",
        "after",
        "message",
        "serverName",
        "transaction",
        "schema",
        "payload",
        "total",
    ];
    const OF_NOTIFICATIONS: [&str; 5] = ["id", "type", "aggregate_type", "additional_data", "timestamp"];
    let (of_transactions, others) = NAMES.split_at(5);
    let sets: Vec<&'static [&'static str]> = vec![of_transactions, &OF_NOTIFICATIONS, others, &NAMES];
    prop::sample::select(sets).prop_flat_map(|set| {
        let some = prop::sample::subsequence(set.to_vec(), 1..=set.len().min(9));
        some.prop_flat_map(|names| {
            let cells = prop::collection::vec(cell(), names.len());
            cells.prop_map(move |cells| names.iter().map(|name| (*name).to_owned()).zip(cells).collect())
        })
    })
}

/// What no table can be told from: a row that is a transaction's begin in every member.
fn is_begin(row: &Map<String, Value>) -> bool {
    let names = ["status", "id", "event_count", "data_collections"];
    row.get("status") == Some(&json!("BEGIN"))
        && row.get("id").is_some_and(Value::is_string)
        && names.iter().all(|name| row.contains_key(*name))
        && row["event_count"].is_null()
        && row["data_collections"].is_null()
        && row.keys().all(|name| names.contains(&&**name) || name == "ts_ms")
        && row.get("ts_ms").is_none_or(Value::is_i64)
}

/// An envelope in every member, all of whose images are null.
fn is_bare_envelope(row: &Map<String, Value>) -> bool {
    let names = ["before", "after", "op", "source", "ts_ms", "transaction", "message"];
    row.contains_key("before") && row.contains_key("after") && row.keys().all(|name| names.contains(&&**name))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_row_of_a_table_never_vanishes(row in flat_row(), with_key in any::<bool>(), how in prop::sample::select(&FRAMINGS[..]), seed in any::<u64>()) {
        prop_assume!(!is_begin(&row) && !is_bare_envelope(&row));
        let mut random = Rng::with_seed(seed);
        let key = with_key.then(|| {
            let (name, value) = row.iter().next().expect("a column");
            json!({ name: value }).to_string()
        });
        let value = shuffled(&mut random, &Value::Object(row));
        let value = framed(&mut random, how, &schema("shop.public.orders.Value"), &value);
        let said = fate(key.as_deref(), &value);
        prop_assert!(said != "row" && ControlKind::ALL.iter().all(|kind| said != kind.name()), "{said}: {key:?} {value}");
    }
}
