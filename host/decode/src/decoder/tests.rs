//! The rules of decoding, one by one, and as properties.

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef};
use lakemill_model::{DataType, Field, ImageData, Op, RecordRef};

use super::*;
use crate::layout::Columns;

fn decoder(mode: SchemaMode) -> Decoder {
    Decoder::new(DecoderConfig { mode, ..DecoderConfig::default() }, Box::new(|_, schema| Ok(schema)))
}

/// Key and value of each record, of one partition.
fn raw(records: &[(Option<&str>, Option<&str>)]) -> RawBatch {
    let mut batch = RawBatch::default();
    for (offset, (key, value)) in records.iter().enumerate() {
        batch.push(RecordRef {
            topic: "shop.public.orders",
            partition: 3,
            offset: 100 + offset as i64,
            timestamp_ms: Some(1),
            key: key.map(str::as_bytes),
            value: value.map(str::as_bytes),
        });
    }
    batch
}

fn values(mode: SchemaMode, list: &[&str]) -> Decoded {
    let records: Vec<_> = list.iter().map(|&value| (None, Some(value))).collect();
    decoder(mode).decode(&raw(&records)).expect("decodes")
}

fn create(after: &str) -> String {
    format!(
        r#"{{"before":null,"after":{after},"source":{{"connector":"postgresql","ts_ms":7,"lsn":9}},"op":"c","ts_ms":8}}"#
    )
}

fn column<'a>(schema: &RowSchema, image: &'a ImageData, name: &str) -> &'a ArrayRef {
    let place = schema.row_index(name).unwrap_or_else(|| panic!("no column {name} in {schema:?}"));
    &image.columns[place].as_ref().expect("is decoded").array
}

/// The one cell of a column of the one row, as text.
fn cell(decoded: &Decoded, name: &str) -> String {
    assert_eq!((decoded.batches.len(), &decoded.dead), (1, &vec![]));
    let batch = &decoded.batches[0];
    let place = batch.schema.row_index(name).expect("is there");
    let cells = batch.after.columns[place].as_ref().expect("is decoded");
    if cells.unchanged.as_ref().is_some_and(|bits| bits.value(0)) {
        return "unchanged".into();
    }
    let array = &cells.array;
    if array.is_null(0) {
        return "null".into();
    }
    let of = batch.schema.row[place].data_type;
    let shown = match of {
        DataType::Boolean => array.as_boolean().value(0).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(0).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(0).to_string(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(0).to_string(),
        DataType::Decimal { .. } => array.as_primitive::<Decimal128Type>().value(0).to_string(),
        DataType::Timestamp => array.as_primitive::<TimestampMicrosecondType>().value(0).to_string(),
        DataType::Text | DataType::Json => array.as_string::<i32>().value(0).to_string(),
        DataType::Bytes => format!("{:?}", array.as_binary::<i32>().value(0)),
        DataType::Date | DataType::Float32 => {
            format!("{array:?}").split_whitespace().nth(2).expect("a value").trim_end_matches(',').to_owned()
        }
    };
    format!("{of} {shown}")
}

/// A schema part of one column `x`, and a payload with that value.
fn framed(field: &str, value: &str) -> String {
    let row = format!(r#"{{"type":"struct","optional":true,"field":"after","fields":[{field}]}}"#);
    let schema = format!(r#"{{"type":"struct","name":"t.Envelope","fields":[{row}]}}"#);
    format!(r#"{{"schema":{schema},"payload":{}}}"#, create(&format!(r#"{{"x":{value}}}"#)))
}

fn typed(kind: &str, semantic: &str, more: &str, value: &str) -> String {
    let name = if semantic.is_empty() { String::new() } else { format!(r#","name":"{semantic}""#) };
    let field = format!(r#"{{"field":"x","optional":true,"type":"{kind}"{name}{more}}}"#);
    cell(&values(SchemaMode::Inline, &[&framed(&field, value)]), "x")
}

#[test]
fn text_in_a_json_column_is_json_or_a_json_string() {
    let schema = RowSchema { key: vec![], row: vec![Field::new("x", DataType::Json, true)] };
    let mode = SchemaMode::Declared(schema.into());
    let of = |value: &str| values(mode.clone(), &[&create(&format!(r#"{{"x":{value}}}"#))]);
    assert_eq!(cell(&of(r#"" {\"a\": 1} ""#), "x"), r#"json  {"a": 1} "#);
    assert_eq!(cell(&of(r#"[1, {"b":2}]"#), "x"), r#"json [1, {"b":2}]"#);
    assert_eq!(cell(&of("5"), "x"), "json 5");
    assert_eq!(cell(&of(r#""plain words""#), "x"), r#"json "plain words""#);
    assert_eq!(cell(&of(r#""""#), "x"), r#"json """#);
}

#[test]
fn connect_types_become_columns() {
    let time = |name: &str| format!("io.debezium.time.{name}");
    assert_eq!(typed("boolean", "", "", "true"), "boolean true");
    assert_eq!(typed("int16", "", "", "-5"), "int32 -5");
    assert_eq!(typed("int64", "", "", "9223372036854775807"), "int64 9223372036854775807");
    assert_eq!(typed("double", "", "", "1.5e3"), "float64 1500");
    assert_eq!(typed("string", "", "", r#""a\u00fc\n""#), "text aü\n");
    assert_eq!(typed("bytes", "", "", r#""AAEC""#), "bytes [0, 1, 2]");
    assert_eq!(typed("int32", &time("Date"), "", "19000"), "date 2022-01-08");
    assert_eq!(typed("int64", &time("Timestamp"), "", "1700000000123"), "timestamp 1700000000123000");
    assert_eq!(typed("int64", &time("MicroTimestamp"), "", "1700000000123456"), "timestamp 1700000000123456");
    assert_eq!(typed("int64", &time("NanoTimestamp"), "", "1700000000123456789"), "timestamp 1700000000123456");
    assert_eq!(
        typed("string", &time("ZonedTimestamp"), "", r#""2023-11-14T22:13:20.5+01:00""#),
        "timestamp 1699996400500000"
    );
    assert_eq!(typed("int32", &time("Time"), "", "1000"), "int64 1000000");
    assert_eq!(typed("int64", &time("NanoTime"), "", "1999"), "int64 1");
    assert_eq!(typed("int32", &time("Year"), "", "2024"), "int32 2024");
    assert_eq!(typed("string", "io.debezium.data.Json", "", r#""{\"a\":1}""#), r#"json {"a":1}"#);
    assert_eq!(typed("array", "", "", "[1, 2]"), "json [1, 2]");
    let decimal = "org.apache.kafka.connect.data.Decimal";
    let parameters = r#","parameters":{"scale":"4","connect.decimal.precision":"9"}"#;
    assert_eq!(typed("bytes", decimal, parameters, r#""EtaH""#), "decimal(9,4) 1234567");
    assert_eq!(typed("bytes", decimal, parameters, "123.4567"), "decimal(9,4) 1234567");
    assert_eq!(
        typed("bytes", decimal, r#","parameters":{"scale":"0"}"#, r#""AP//////////""#),
        "decimal(38,0) 18446744073709551615"
    );
    assert_eq!(
        typed("struct", "io.debezium.data.VariableScaleDecimal", "", r#"{"scale":2,"value":"/w=="}"#),
        "text -0.01"
    );
    assert_eq!(typed("int64", "", "", "null"), "null");
}

#[test]
fn placeholders_are_unchanged_cells() {
    assert_eq!(typed("string", "", "", r#""__debezium_unavailable_value""#), "unchanged");
    assert_eq!(typed("bytes", "", "", r#""X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==""#), "unchanged");
    assert_eq!(typed("array", "", "", r#"["__debezium_unavailable_value"]"#), "unchanged");
    assert_eq!(typed("string", "io.debezium.data.Json", "", r#""__debezium_unavailable_value""#), "unchanged");
}

#[test]
fn cells_that_do_not_fit_are_refused_with_their_column() {
    let refused = |kind: &str, semantic: &str, value: &str| {
        let field = format!(
            r#"{{"field":"x","type":"{kind}","name":"{semantic}","parameters":{{"scale":"2","connect.decimal.precision":"4"}}}}"#
        );
        let decoded = values(SchemaMode::Inline, &[&framed(&field, value)]);
        assert!(decoded.batches.is_empty());
        decoded.dead[0].reason.to_string()
    };
    assert_eq!(refused("int32", "", "2147483648"), "column after.x: 2147483648 is out of range for int32");
    assert_eq!(refused("int32", "", "1.5"), "column after.x: expected int32, found the fraction 1.5");
    assert_eq!(refused("int64", "", r#""7""#), r#"column after.x: expected int64, found text "7""#);
    assert_eq!(refused("boolean", "", "1"), "column after.x: expected true or false, found a number 1");
    assert_eq!(refused("double", "", "1e999"), "column after.x: 1e999 is out of range for a float64");
    assert_eq!(refused("bytes", "", r#""?""#), "column after.x: expected base64, found ?");
    let decimal = "org.apache.kafka.connect.data.Decimal";
    assert_eq!(
        refused("bytes", decimal, "123.45"),
        "column after.x: 123.45 is no decimal(4,2): it has more digits before or after the point"
    );
    assert!(refused("string", "io.debezium.time.ZonedTimestamp", r#""soon""#).contains("expected a timestamp like"));
}

#[test]
fn ops_and_images() {
    let row = r#"{"id":1,"note":"n"}"#;
    let of = |op: &str, before: &str, after: &str| {
        format!(r#"{{"op":"{op}","before":{before},"after":{after},"source":{{"ts_ms":5}}}}"#)
    };
    let list = [
        of("r", "null", row),
        of("c", "null", row),
        of("u", row, row),
        of("u", "null", row),
        of("d", row, "null"),
        of("t", "null", "null"),
    ];
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let decoded = values(SchemaMode::Infer, &list);
    let batch = &decoded.batches[0];
    assert_eq!(batch.envelope.ops, [Op::Read, Op::Create, Op::Update, Op::Update, Op::Delete, Op::Truncate]);
    let present = |image: &ImageData| image.present.as_ref().expect("some are absent").iter().collect::<Vec<_>>();
    assert_eq!(present(&batch.before), [false, false, true, false, true, false]);
    assert_eq!(present(&batch.after), [true, true, true, true, false, false]);
    assert_eq!(column(&batch.schema, &batch.after, "id").null_count(), 2);
    assert_eq!(batch.envelope.snapshots, [true, false, false, false, false, false]);
    assert_eq!(batch.envelope.offsets, [100, 101, 102, 103, 104, 105]);
    assert_eq!(
        decoded.event_times_us,
        (1..6).map(|record| (record, 5000)).collect::<Vec<_>>(),
        "a snapshot's do not count"
    );
}

#[test]
fn nesting_has_an_end() {
    let deep = format!(r#"{{"op":"c","after":{{"x":{}1{}}}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let decoded = values(SchemaMode::Infer, &[&deep]);
    assert!(decoded.dead[0].reason.to_string().contains("nested too deeply"), "{:?}", decoded.dead);
}

#[test]
fn bytes_that_are_no_text_are_dead() {
    let mut batch = RawBatch::default();
    batch.push(RecordRef {
        topic: "t",
        partition: 0,
        offset: 0,
        timestamp_ms: None,
        key: None,
        value: Some(b"{\"op\":\"\xff\"}"),
    });
    batch.push(RecordRef {
        topic: "t",
        partition: 0,
        offset: 1,
        timestamp_ms: None,
        key: Some(b"\xfe"),
        value: Some(b"{}"),
    });
    let decoded = decoder(SchemaMode::Infer).decode(&batch).expect("decodes");
    let reasons: Vec<_> = decoded.dead.iter().map(|dead| dead.reason.to_string()).collect();
    assert_eq!(reasons[0], "not UTF-8 from byte 7 on");
    assert!(reasons[1].starts_with("no Debezium envelope"), "the key is looked at no further: {reasons:?}");
}

#[test]
fn inference_is_strict_and_grows_by_columns() {
    let decoder = decoder(SchemaMode::Infer);
    let decode = |list: &[String]| {
        let records: Vec<_> = list.iter().map(|value| (None, Some(value.as_str()))).collect();
        decoder.decode(&raw(&records)).expect("decodes")
    };
    let first = decode(&[create(r#"{"a":1,"b":2,"c":null,"d":{"e":1}}"#), create(r#"{"a":2,"b":2.5}"#)]);
    let names =
        |schema: &RowSchema| schema.row.iter().map(|f| format!("{} {}", f.name, f.data_type)).collect::<Vec<_>>();
    assert_eq!(names(&first.batches[0].schema), ["a int64", "b float64", "d json"]);
    let second =
        decode(&[create(r#"{"a":"x"}"#), create(r#"{"a":3,"c":"new"}"#), create(r#"{"a":4}"#), create(r#"{"a":5.5}"#)]);
    assert_eq!(second.dead.len(), 1);
    assert_eq!(second.batches.len(), 1);
    // The fraction is no dead letter: the whole numbers before it were whole by chance.
    assert_eq!(names(&second.batches[0].schema), ["a decimal(38,18)", "b float64", "d json", "c text"]);
    assert_eq!(second.batches[0].len(), 3);
}

#[test]
fn a_batch_that_shows_a_new_column_is_what_a_replay_makes_of_it() {
    let decoder = decoder(SchemaMode::Infer);
    decoder.decode(&raw(&[(None, Some(&create(r#"{"a":1}"#)))])).expect("decodes");
    let list = [create(r#"{"a":2}"#), create(r#"{"a":3,"b":"new"}"#), create(r#"{"a":4}"#)];
    let records: Vec<_> = list.iter().map(|value| (None, Some(value.as_str()))).collect();
    let (first, replay) = (decoder.decode(&raw(&records)), decoder.decode(&raw(&records)));
    let lens = |decoded: Result<Decoded, DecoderError>| {
        decoded.expect("decodes").batches.iter().map(|batch| (batch.len(), batch.schema.row.len())).collect::<Vec<_>>()
    };
    assert_eq!(lens(first), [(3, 2)]);
    assert_eq!(lens(replay), [(3, 2)]);
}

#[test]
fn a_broken_record_adds_no_column() {
    let decoder = decoder(SchemaMode::Infer);
    let list = [create(r#"{"id":1}"#), create(r#"{"id":"x","more":2}"#), create(r#"{"id":3}"#)];
    for value in &list {
        decoder.decode(&raw(&[(None, Some(value))])).expect("decodes");
    }
    let last = decoder.decode(&raw(&[(None, Some(&list[0]))])).expect("decodes");
    assert_eq!(last.batches[0].schema.row.len(), 1);
}

#[test]
fn what_was_settled_before_holds() {
    let settled = RowSchema { key: vec![], row: vec![Field::new("a", DataType::Float64, true)] };
    let there = settled.clone();
    let decoder = Decoder::new(DecoderConfig::default(), Box::new(move |_, shown| Ok(joined(there.clone(), shown))));
    let value = create(r#"{"a":1,"b":true}"#);
    let decoded = decoder.decode(&raw(&[(None, Some(&value))])).expect("decodes");
    let types: Vec<_> = decoded.batches[0].schema.row.iter().map(|f| f.data_type).collect();
    assert_eq!(types, [DataType::Float64, DataType::Boolean]);
}

#[test]
fn declared_columns_are_checked() {
    let schema = RowSchema {
        key: vec![Field::new("id", DataType::Int64, false)],
        row: vec![
            Field::new("id", DataType::Int64, false),
            Field::new("price", DataType::Decimal { precision: 10, scale: 2 }, true),
            Field::new("at", DataType::Timestamp, true),
        ],
    };
    let list = [
        create(r#"{"id":1,"price":"12.50","at":"2026-01-31T12:00:00Z","more":[1]}"#),
        create(r#"{"id":2,"price":3,"at":1700000000000000}"#),
        create(r#"{"id":null}"#),
        create(r#"{"id":3,"price":1.005}"#),
    ];
    let records: Vec<_> = list.iter().map(|value| (Some(r#"{"id":1}"#), Some(value.as_str()))).collect();
    let decoded = decoder(SchemaMode::Declared(schema.into())).decode(&raw(&records)).expect("decodes");
    let batch = &decoded.batches[0];
    let prices = column(&batch.schema, &batch.after, "price").as_primitive::<Decimal128Type>();
    assert_eq!(prices.values(), &[1250, 300]);
    let reasons: Vec<_> = decoded.dead.iter().map(|dead| dead.reason.to_string()).collect();
    assert!(reasons[0].contains("column after.id: expected a value, found null"), "{reasons:?}");
    assert!(
        reasons[1].contains("1.005 is no decimal(10,2): it has more digits before or after the point"),
        "{reasons:?}"
    );
}

#[test]
fn keys_come_with_and_without_schema_parts() {
    let value = create(r#"{"id":7,"n":1}"#);
    let key_schema =
        r#"{"schema":{"type":"struct","fields":[{"type":"int32","optional":false,"field":"id"}]},"payload":{"id":7}}"#;
    for (key, expected) in [
        (Some(r#"{"id":7}"#), vec!["id int64"]),
        (Some("7"), vec!["key int64"]),
        (Some(r#""seven""#), vec!["key text"]),
        (None, vec![]),
        (Some(key_schema), vec!["id int64"]),
    ] {
        let decoded = decoder(SchemaMode::Infer).decode(&raw(&[(key, Some(&value))])).expect("decodes");
        assert_eq!(decoded.dead, [], "{key:?}");
        let batch = &decoded.batches[0];
        let names: Vec<_> = batch.schema.key.iter().map(|f| format!("{} {}", f.name, f.data_type)).collect();
        assert_eq!(names, expected, "{key:?}");
        assert_eq!(batch.key.present.is_some(), key.is_none());
    }
}

#[test]
fn the_schema_part_is_read_once_and_changes_are_seen() {
    let a = framed(r#"{"field":"x","type":"int32","optional":true}"#, "1");
    let b = framed(r#"{"field":"x","type":"string","optional":true}"#, r#""t""#);
    let bare = create(r#"{"x":5}"#);
    let decoded = values(SchemaMode::Infer, &[&a, &a, &b, &a, &bare, &a[..a.len() - 1], &format!("{a}}}")]);
    let shapes: Vec<_> = decoded.batches.iter().map(|b| (b.len(), b.schema.row[0].data_type.to_string())).collect();
    let shape = |rows, of: &str| (rows, of.to_owned());
    assert_eq!(shapes, [shape(2, "int32"), shape(1, "text"), shape(1, "int32"), shape(1, "int64")]);
    assert_eq!(decoded.dead.len(), 2, "{:?}", decoded.dead);
}

#[test]
fn only_what_is_read_is_decoded() {
    let projection = Projection {
        before: Columns::Some(["status".to_owned()].into()),
        row: Columns::Some(["id".to_owned()].into()),
        ..Projection::default()
    };
    let decoder = Decoder::new(DecoderConfig { projection, ..DecoderConfig::default() }, Box::new(|_, s| Ok(s)));
    let row = r#"{"id":1,"status":"new","big":[1,2,3]}"#;
    let list = [
        format!(r#"{{"before":{row},"after":{row},"op":"u"}}"#),
        format!(r#"{{"before":{row},"after":null,"op":"d"}}"#),
        format!(r#"{{"op":"d","after":null,"before":{row}}}"#),
    ];
    let records: Vec<_> = list.iter().map(|value| (None, Some(value.as_str()))).collect();
    let decoded = decoder.decode(&raw(&records)).expect("decodes");
    let batch = &decoded.batches[0];
    let before: Vec<_> = batch.before.columns.iter().map(|c| c.as_ref().map(|c| c.array.null_count())).collect();
    assert_eq!(before, [Some(1), Some(0), None], "the id of before only where it is the row");
    let after: Vec<_> = batch.after.columns.iter().map(|c| c.as_ref().map(|c| c.array.null_count())).collect();
    assert_eq!(after, [Some(2), None, None]);
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    fn good(n: usize) -> String {
        create(&format!(r#"{{"id":{n},"name":"n{n}","ok":{}}}"#, n.is_multiple_of(2)))
    }

    fn accounted(decoded: &Decoded, records: usize) {
        let mut seen = vec![0; records];
        decoded.dead.iter().for_each(|dead| seen[dead.record as usize] += 1);
        decoded.batches.iter().flat_map(|b| &b.envelope.records).for_each(|&record| seen[record as usize] += 1);
        decoded.control.iter().for_each(|(record, _)| seen[*record as usize] += 1);
        assert!(seen.iter().all(|&times| times == 1));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_every_record_has_one_fate(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..20)) {
            let mut batch = RawBatch::default();
            for (offset, value) in values.iter().enumerate() {
                batch.push(RecordRef { topic: "t", partition: 0, offset: offset as i64, timestamp_ms: None, key: Some(value), value: Some(value) });
            }
            accounted(&decoder(SchemaMode::Infer).decode(&batch).expect("decodes"), values.len());
        }

        #[test]
        fn a_broken_record_leaves_its_neighbours_alone(at in 0usize..8, cut in 1usize..150, byte in any::<u8>()) {
            let mut all: Vec<Vec<u8>> = (0..8).map(|n| good(n).into_bytes()).collect();
            let whole: Vec<Vec<u8>> = all.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, v)| v.clone()).collect();
            let place = cut.min(all[at].len() - 1);
            all[at][place] = byte;
            let decode = |list: &[Vec<u8>]| {
                let mut batch = RawBatch::default();
                for value in list {
                    batch.push(RecordRef { topic: "t", partition: 0, offset: 0, timestamp_ms: None, key: None, value: Some(value) });
                }
                // The columns are settled: what the broken one shows is not to matter.
                let settled = RowSchema { key: vec![], row: vec![
                    Field::new("id", DataType::Int64, true), Field::new("name", DataType::Text, true), Field::new("ok", DataType::Boolean, true),
                ] };
                decoder(SchemaMode::Declared(settled.into())).decode(&batch).expect("decodes")
            };
            let (with, without) = (decode(&all), decode(&whole));
            accounted(&with, 8);
            let rows: Vec<u32> = (0..).zip(&with.batches[0].envelope.records).filter(|(_, record)| **record as usize != at).map(|(row, _)| row).collect();
            let neighbours = with.batches[0].select(&rows);
            let expected = &without.batches[0];
            for (ours, theirs) in neighbours.after.columns.iter().zip(&expected.after.columns) {
                let (ours, theirs) = (&ours.as_ref().expect("read").array, &theirs.as_ref().expect("read").array);
                prop_assert_eq!(ours, theirs);
            }
        }
    }
}
