//! What a value becomes, over the forms in which Debezium writes it: types, handling modes, schema part or none, image, placeholder, policy,
//! and the order of the records.

mod shown;

use fastrand::Rng;
use lakemill_decode::{DeclaredColumn, DeclaredColumns, Decoded, Decoder, DecoderConfig, Form, SchemaMode};
use lakemill_model::{DataType, Field, OutOfRange, RawBatch, RecordRef};
use serde_json::{Value, json};
use shown::{dead, shown, types};

const DECIMAL: &str = "org.apache.kafka.connect.data.Decimal";
const PLACEHOLDER: &str = "__debezium_unavailable_value";

fn config() -> DecoderConfig {
    DecoderConfig::default()
}

fn decode(config: DecoderConfig, values: &[String]) -> Decoded {
    let mut batch = RawBatch::default();
    for (offset, value) in (0..).zip(values) {
        let (topic, value) = ("shop.public.bills", Some(value.as_bytes()));
        batch.push(RecordRef { topic, partition: 0, offset, timestamp_ms: None, key: None, value });
    }
    Decoder::new(config, Box::new(|_, schema| Ok(schema))).decode(&batch).expect("never because of a record")
}

/// A change without a schema part; the column is `x`, as it is written.
fn bare(op: &str, x: &str) -> String {
    let (before, after) = match op {
        "d" => (format!("{{\"x\":{x}}}"), "null".to_owned()),
        _ => ("null".to_owned(), format!("{{\"x\":{x}}}")),
    };
    format!(
        r#"{{"before":{before},"after":{after},"source":{{"connector":"postgresql","ts_ms":1}},"op":"{op}","ts_ms":2}}"#
    )
}

/// A change with the schema part of its column.
fn framed(op: &str, field: &Value, x: &str) -> String {
    let mut field = field.clone();
    field["field"] = "x".into();
    field["optional"] = true.into();
    let image = |name: &str| json!({"type": "struct", "optional": true, "field": name, "fields": [field]});
    let schema = json!({"type": "struct", "name": "bills.Envelope", "fields": [image("before"), image("after")]});
    format!(r#"{{"schema":{schema},"payload":{}}}"#, bare(op, x))
}

fn semantic(kind: &str, name: &str) -> Value {
    json!({"type": kind, "name": name})
}

fn decimal(scale: i32, precision: Option<u32>) -> Value {
    let mut field = semantic("bytes", DECIMAL);
    field["parameters"]["scale"] = scale.to_string().into();
    if let Some(precision) = precision {
        field["parameters"]["connect.decimal.precision"] = precision.to_string().into();
    }
    field
}

/// The cell of a value with a schema part, the same in `after` and `before`.
fn of(policy: OutOfRange, field: &Value, x: &str) -> String {
    let mut cells: Vec<String> = Vec::new();
    for op in ["c", "d"] {
        let config = DecoderConfig { out_of_range: policy, ..config() };
        let decoded = decode(config, &[framed(op, field, x)]);
        cells.push(match decoded.dead.first() {
            Some(dead) => format!("dead: {}", dead.reason),
            None => shown(&decoded, "x")[0].clone(),
        });
    }
    let before = cells[1].replace("before.", "after.");
    assert_eq!(cells[0], before, "{field} {x}");
    cells.swap_remove(0)
}

fn typed(field: &Value, x: &str) -> String {
    of(OutOfRange::Clamp, field, x)
}

#[test]
fn infinities_and_years_that_no_table_holds_follow_one_policy() {
    let (date, nano) =
        (semantic("int32", "io.debezium.time.Date"), semantic("int64", "io.debezium.time.NanoTimestamp"));
    let (milli, micro) =
        (semantic("int64", "io.debezium.time.Timestamp"), semantic("int64", "io.debezium.time.MicroTimestamp"));
    let zoned = semantic("string", "io.debezium.time.ZonedTimestamp");
    let (last_day, first_day) = ("date 9999-12-31", "date 0001-01-01");
    let (last, first) = ("timestamp 9999-12-31T23:59:59.999999Z", "timestamp 0001-01-01T00:00:00Z");
    // Field, value, clamped, as text.
    let cases: Vec<(&Value, &str, &str, &str)> = vec![
        // A snapshot, with a JVM east and west of Greenwich; the stream; since dbz#2524; decoderbufs and int32's ends.
        (&date, "-622191234", last_day, "infinity"),
        (&date, "-622191233", last_day, "infinity"),
        (&date, "-625821272", first_day, "-infinity"),
        (&date, "-2147472692", last_day, "infinity"),
        (&date, "-2147472691", first_day, "-infinity"),
        (&date, "2146033979", last_day, "infinity"),
        (&date, "2147483647", last_day, "infinity"),
        (&date, "-2147483648", first_day, "-infinity"),
        (&date, "3000000", last_day, "+10183-09-21"),
        (&date, "-720000", first_day, "-0002-09-16"),
        (&milli, "9223372036825200", last, "infinity"),
        (&milli, "-9223372036832400", first, "-infinity"),
        (&milli, "9223372036825200000", last, "infinity"),
        (&milli, "-9223372036832400000", first, "-infinity"),
        (&milli, "253402300800000", last, "+10000-01-01T00:00:00Z"),
        (&micro, "9223372036825200000", last, "infinity"),
        (&micro, "-9223372036832400000", first, "-infinity"),
        (&micro, "9223372036854775807", last, "infinity"),
        (&micro, "-9223372036854775808", first, "-infinity"),
        (&micro, "-62135596800000001", first, "0000-12-31T23:59:59.999999Z"),
        (&nano, "9223372036854775807", last, "infinity"),
        (&nano, "-9223372036854775808", first, "-infinity"),
        // What overflowed before dbz#1833.
        (&nano, "-29575808000", last, "infinity"),
        (&nano, "22375808000", first, "-infinity"),
        (&zoned, "\"infinity\"", last, "infinity"),
        (&zoned, "\"-infinity\"", first, "-infinity"),
        (&zoned, "\"+12000-01-01T00:00:00.000000Z\"", last, "+12000-01-01T00:00:00Z"),
        (&zoned, "\"+292278994-08-17T07:00:00Z\"", last, "infinity"),
        (&zoned, "\"-292269055-12-02T23:00:00Z\"", first, "-infinity"),
        (&zoned, "\"+292269055-12-02T23:00:00Z\"", first, "-infinity"),
        (&zoned, "\"9999-12-31T23:59:59-01:00\"", last, "+10000-01-01T00:59:59Z"),
    ];
    for (field, value, clamped, text) in cases {
        assert_eq!(of(OutOfRange::Clamp, field, value), clamped, "{field} {value}");
        assert_eq!(of(OutOfRange::Null, field, value), "null", "{field} {value}");
        assert_eq!(of(OutOfRange::Text, field, value), format!("text {text}"), "{field} {value}");
        let dead = of(OutOfRange::Dead, field, value);
        assert!(
            dead.contains(&format!("{text} is out of range for a ")) && dead.contains("source.out_of_range"),
            "{dead}"
        );
    }
    // Their neighbours are values, and stay what they are under every policy.
    for (field, value, expected, text) in [
        (&date, "2932896", "date 9999-12-31", "9999-12-31"),
        (&date, "-719162", "date 0001-01-01", "0001-01-01"),
        (&micro, "253402300799999999", last, "9999-12-31T23:59:59.999999Z"),
        (&milli, "-62135596800000", first, "0001-01-01T00:00:00Z"),
        (&nano, "-1", "timestamp 1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999999Z"),
    ] {
        for policy in [OutOfRange::Clamp, OutOfRange::Null, OutOfRange::Dead] {
            assert_eq!(of(policy, field, value), expected, "{field} {value} {policy:?}");
        }
        assert_eq!(of(OutOfRange::Text, field, value), format!("text {text}"));
    }
}

#[test]
fn what_was_out_of_range_is_counted_by_column_and_not_for_dead_records() {
    let date = semantic("int32", "io.debezium.time.Date");
    let list = ["2147483647", "19000", "-2147483648", "2147483647"];
    let mut records: Vec<String> = list.iter().map(|x| framed("c", &date, x)).collect();
    // The same, and then something that makes the record a dead letter.
    records.push(framed("x", &date, "2147483647"));
    let decoded = decode(config(), &records);
    let counts: Vec<_> = decoded.out_of_range.iter().map(|((topic, column), n)| (&**topic, &**column, *n)).collect();
    assert_eq!(counts, [("shop.public.bills", "x", 3)]);
    assert_eq!(decoded.dead.len(), 1);
}

#[test]
fn zoned_timestamps_come_in_every_form_of_java_time() {
    let zoned = semantic("string", "io.debezium.time.ZonedTimestamp");
    for (text, expected) in [
        ("2025-03-30T01:02Z", "2025-03-30T01:02:00Z"),
        ("2025-03-30T01:02+02:00", "2025-03-29T23:02:00Z"),
        ("2025-03-30T01:02:03+02:00:30", "2025-03-29T23:01:33Z"),
        ("2025-03-30T01:02:03.5-0330", "2025-03-30T04:32:03.500Z"),
        ("2025-03-30T01:02:03+05", "2025-03-29T20:02:03Z"),
        ("2025-03-30T01:02:03.123456789Z", "2025-03-30T01:02:03.123456Z"),
        ("1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999999Z"),
        ("2025-03-30T03:02:03+02:00[Europe/Berlin]", "2025-03-30T01:02:03Z"),
        ("2025-03-30T01:02:03Z[UTC]", "2025-03-30T01:02:03Z"),
        ("2025-03-30t01:02:03z", "2025-03-30T01:02:03Z"),
        ("2025-03-30 01:02:03", "2025-03-30T01:02:03Z"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"),
    ] {
        assert_eq!(typed(&zoned, &format!("\"{text}\"")), format!("timestamp {expected}"), "{text}");
    }
    for text in [
        "2025-02-29T00:00:00Z",
        "2025-13-01T00:00Z",
        "2025-01-01T24:00Z",
        "2025-01-01",
        "soon",
        "",
        "2025-01-01T00:00:00+2",
        "2025-01-01T00:00:00.Z",
        "20250-01-01T00:00Z",
    ] {
        let dead = typed(&zoned, &format!("\"{text}\""));
        assert!(dead.contains("expected a timestamp like 2026-01-31T12:00:00Z"), "{text}: {dead}");
    }
    assert_eq!(typed(&semantic("string", "io.debezium.time.ZonedTime"), "\"10:11:12+02:00\""), "text 10:11:12+02:00");
}

#[test]
fn decimals_of_any_precision_and_scale_are_exact() {
    let variable = semantic("struct", "io.debezium.data.VariableScaleDecimal");
    for (field, value, expected) in [
        (&decimal(2, Some(9)), "\"EtaH\"", "decimal(9,2) 12345.67"),
        (&decimal(2, Some(9)), "12345.67", "decimal(9,2) 12345.67"),
        // Oracle's NUMBER(6,-3): 4321 thousands.
        (&decimal(-3, Some(6)), "\"EOE=\"", "decimal(9,0) 4321000"),
        (&decimal(-30, Some(20)), "\"EOE=\"", "text 4321000000000000000000000000000000"),
        (&decimal(0, None), "\"AP//////////\"", "decimal(38,0) 18446744073709551615"),
        (&decimal(3, Some(700)), "\"EOE=\"", "text 4.321"),
        (&decimal(300, Some(600)), "\"AQ==\"", &format!("text 0.{}1", "0".repeat(299))),
        (&decimal(40, None), "-1.5e-3", "text -0.0015"),
        // PostgreSQL's numeric(2,4), and its numeric(5,-2) with the scale that Debezium gives it.
        (&decimal(4, Some(2)), "\"EQ==\"", "decimal(4,4) 0.0017"),
        (&decimal(2046, Some(5)), "0.5", "text 0.5"),
        (&variable, r#"{"scale":3,"value":"/w=="}"#, "text -0.001"),
        (&variable, r#"{"scale":-2,"value":"EOE="}"#, "text 432100"),
        (
            &variable,
            r#"{"value":"AQAAAAAAAAAAAAAAAAAAAAA=","scale":0}"#,
            "text 340282366920938463463374607431768211456",
        ),
    ] {
        assert_eq!(typed(field, value), expected, "{field} {value}");
    }
    for (field, value, expected) in [
        (&decimal(2, Some(4)), "\"EtaH\"", "EtaH is no base64 decimal(4,2)"),
        (&decimal(2, Some(4)), "1.005", "1.005 is no decimal(4,2): it has more digits before or after the point"),
        (&decimal(3, Some(700)), "\"?\"", "? is no base64 decimal"),
        (&decimal(3, Some(700)), "1e999999", "1e999999 has too many digits"),
        (&variable, r#"{"scale":999999999,"value":"AQ=="}"#, "expected a decimal as {scale, value}"),
        (&variable, r#"{"scale":1}"#, "expected a decimal as {scale, value}"),
        (&variable, "\"AQ==\"", "expected a decimal as {scale, value}"),
    ] {
        let dead = typed(field, value);
        assert!(dead.contains(expected), "{field} {value}: {dead}");
    }
}

#[test]
fn the_longest_numeric_of_postgresql_is_written_in_full() {
    use base64::Engine as _;
    // 147,455 digits: a two's complement of 61,229 bytes.
    let mut bytes = vec![0x5a; 61_229];
    bytes[0] = 0x01;
    let value = base64::engine::general_purpose::STANDARD.encode(&bytes);
    let variable = semantic("struct", "io.debezium.data.VariableScaleDecimal");
    let written = typed(&variable, &format!(r#"{{"scale":16383,"value":"{value}"}}"#));
    let (whole, fraction) = written.strip_prefix("text ").expect("is text").split_once('.').expect("has a point");
    assert_eq!((whole.len() > 131_000, fraction.len()), (true, 16_383));
    // Against another way to say it: the number modulo 9 is that of its digits.
    let of_digits = whole.bytes().chain(fraction.bytes()).map(|digit| u32::from(digit - b'0')).sum::<u32>() % 9;
    let of_bytes = bytes.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % 9);
    assert_eq!(of_digits, of_bytes);
}

#[test]
fn floats_that_would_become_an_infinity_are_dead() {
    let float = json!({"type": "float"});
    assert_eq!(typed(&float, "3.4028235e38"), "float32 340282350000000000000000000000000000000");
    assert!(typed(&float, "3.5e38").contains("3.5e38 is out of range for a float32"));
    assert_eq!(typed(&float, "\"Infinity\""), "float32 inf");
    assert!(typed(&json!({"type": "double"}), "-1e400").contains("-1e400 is out of range for a float64"));
}

#[test]
fn a_cell_that_was_left_out_is_known_in_every_type() {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    let array = |items: Value| json!({"type": "array", "items": items});
    for text in [PLACEHOLDER, "<<not sent>>"] {
        let config = || DecoderConfig { placeholders: vec!["another".into(), text.into()], ..config() };
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        let quoted = |text: &str| format!("\"{text}\"");
        let bytes = |each: &dyn Fn(u8) -> String| format!("[{}]", text.bytes().map(each).collect::<Vec<_>>().join(","));
        let hstore = json!({ text: text });
        let mut forms = vec![
            (json!({"type": "string"}), quoted(text)),
            (json!({"type": "string"}), quoted(&hex)),
            (json!({"type": "string"}), quoted(&STANDARD.encode(text))),
            (json!({"type": "string"}), quoted(&URL_SAFE.encode(text))),
            (json!({"type": "string"}), json!(hstore.to_string()).to_string()),
            (json!({"type": "bytes"}), quoted(&STANDARD.encode(text))),
            (semantic("string", "io.debezium.data.Json"), quoted(text)),
            (semantic("string", "io.debezium.data.Json"), json!(hstore.to_string()).to_string()),
            (json!({"type": "map", "keys": {"type": "string"}, "values": {"type": "string"}}), hstore.to_string()),
            (array(json!({"type": "string"})), format!("[\"{text}\"]")),
            (array(json!({"type": "bytes"})), format!("[\"{}\"]", STANDARD.encode(text))),
            (array(json!({"type": "boolean"})), bytes(&|_| "true".into())),
            (array(json!({"type": "int32"})), bytes(&|byte| byte.to_string())),
            (array(semantic("int32", "io.debezium.time.Date")), bytes(&|byte| byte.to_string())),
            (array(semantic("int64", "io.debezium.time.MicroTimestamp")), bytes(&|byte| byte.to_string())),
            (array(json!({"type": "double"})), bytes(&|byte| format!("{byte}.0"))),
            (array(decimal(4, Some(9))), bytes(&|byte| format!("\"{}\"", STANDARD.encode([byte])))),
            (
                array(semantic("struct", "io.debezium.data.VariableScaleDecimal")),
                bytes(&|byte| format!("{{\"scale\":0,\"value\":\"{}\"}}", STANDARD.encode([byte]))),
            ),
            (semantic("struct", "io.debezium.data.VariableScaleDecimal"), quoted(text)),
            (decimal(2, Some(9)), quoted(text)),
            (semantic("string", "io.debezium.time.ZonedTimestamp"), quoted(text)),
        ];
        if text == PLACEHOLDER {
            let uuid = "[\"b68a35a7-17ad-35b3-af2a-ae46edb4545a\"]";
            forms.push((array(semantic("string", "io.debezium.data.Uuid")), uuid.into()));
        }
        for (field, value) in forms {
            let decoded = decode(config(), &[framed("u", &field, &value)]);
            assert_eq!(dead(&decoded), Vec::<String>::new(), "{field} {value}");
            assert_eq!(shown(&decoded, "x"), ["unchanged"], "{field} {value}");
            // Without a schema part there is the value alone; two of the forms are values then.
            let is_value = field["items"]["type"] == "boolean" || value.contains("scale\":0");
            let decoded = decode(config(), &[bare("u", &value)]);
            assert_eq!(shown(&decoded, "x") == ["unchanged"], !is_value || value.contains("scale"), "{field} {value}");
        }
        // Another pipeline's text is a value.
        let decoded = decode(config(), &[framed("u", &json!({"type": "string"}), "\"__my_absent__\"")]);
        assert_eq!(shown(&decoded, "x"), ["text __my_absent__"]);
    }
}

#[test]
fn what_is_within_arrays_maps_and_structs_is_readable_without_its_schema_part() {
    let array = |items: Value| json!({"type": "array", "items": items});
    let (date, zoned) =
        (semantic("int32", "io.debezium.time.Date"), semantic("string", "io.debezium.time.ZonedTimestamp"));
    let (milli, micro) =
        (semantic("int64", "io.debezium.time.Timestamp"), semantic("int64", "io.debezium.time.MicroTimestamp"));
    let named = |mut field: Value, name: &str| {
        field["field"] = name.into();
        field
    };
    let line = json!({"type": "struct", "fields": [
        named(decimal(2, Some(9)), "price"), named(json!({"type": "string"}), "note"), named(array(date.clone()), "days"),
    ]});
    for (field, value, expected) in [
        (array(decimal(4, Some(10))), r#"["EtaH", "AVo=", null]"#, "[123.4567,0.0346,null]"),
        (array(decimal(4, Some(10))), "[1.5]", "[1.5]"),
        (array(decimal(-2, Some(10))), r#"["BNI="]"#, "[123400]"),
        (array(date.clone()), "[20370,0,-1]", r#"["2025-10-09","1970-01-01","1969-12-31"]"#),
        (array(milli.clone()), "[1738224000123]", r#"["2025-01-30T08:00:00.123Z"]"#),
        (array(micro.clone()), "[1738224000123456]", r#"["2025-01-30T08:00:00.123456Z"]"#),
        (array(semantic("int64", "io.debezium.time.NanoTimestamp")), "[1]", r#"["1970-01-01T00:00:00.000000001Z"]"#),
        (array(semantic("int64", "io.debezium.time.MicroTime")), "[29400000001]", r#"["08:10:00.000001"]"#),
        (array(semantic("int32", "io.debezium.time.Time")), "[1000]", r#"["00:00:01"]"#),
        (array(zoned.clone()), r#"["2025-01-30T08:00+01:00"]"#, r#"["2025-01-30T08:00+01:00"]"#),
        (array(zoned), r#"["infinity"]"#, r#"["9999-12-31T23:59:59.999999Z"]"#),
        (array(date.clone()), "[2147483647]", r#"["9999-12-31"]"#),
        (
            array(semantic("struct", "io.debezium.data.VariableScaleDecimal")),
            r#"[{"scale":1,"value":"Bw=="}]"#,
            "[0.7]",
        ),
        (array(array(date.clone())), "[[1],[],[null]]", r#"[["1970-01-02"],[],[null]]"#),
        (
            json!({"type": "map", "keys": {"type": "string"}, "values": date.clone()}),
            r#"{"a\n":1, "b":null}"#,
            r#"{"a\n":"1970-01-02","b":null}"#,
        ),
        (
            json!({"type": "map", "keys": date.clone(), "values": {"type": "int32"}}),
            "[[1,7],[2,8]]",
            r#"[["1970-01-02",7],["1970-01-03",8]]"#,
        ),
        (
            array(line),
            r#"[{"price":"EtaH","note":"EtaH","days":[0],"more":[1]}]"#,
            r#"[{"price":12345.67,"note":"EtaH","days":["1970-01-01"],"more":[1]}]"#,
        ),
        // What says everything itself stays as it is written.
        (array(json!({"type": "int32"})), "[1,  2]", "[1,  2]"),
        (array(json!({"type": "bytes"})), r#"["AQI="]"#, r#"["AQI="]"#),
    ] {
        assert_eq!(typed(&field, value), format!("json {expected}"), "{field} {value}");
        assert!(serde_json::from_str::<Value>(expected).is_ok());
    }
    assert_eq!(of(OutOfRange::Null, &array(date.clone()), "[2147483647, 0]"), r#"json [null,"1970-01-01"]"#);
    assert_eq!(of(OutOfRange::Text, &array(micro), "[9223372036825200000]"), r#"json ["infinity"]"#);
    assert!(of(OutOfRange::Dead, &array(date.clone()), "[2147483647]").contains("infinity is out of range for a date"));
    for (field, value, expected) in [
        (array(date.clone()), "[1.5]", "expected a date as days since 1970, found the fraction 1.5"),
        (array(date), "{\"a\":1}", "expected an array, found an object"),
        (array(decimal(2, Some(3))), "[true]", "expected a decimal as base64 text or a number"),
    ] {
        let dead = typed(&field, value);
        assert!(dead.contains(expected), "{field} {value}: {dead}");
    }
}

#[test]
fn odd_text_in_a_json_column_costs_no_row() {
    let of = semantic("string", "io.debezium.data.Json");
    let deep = format!("{}1{}", "[".repeat(1000), "]".repeat(1000));
    for (text, expected) in [
        ("{\"k\":1,\"k\":2}", "{\"k\":1,\"k\":2}"),
        ("1e999", "1e999"),
        (" [ 1 ] ", " [ 1 ] "),
        (r#"{"half":"\ude00"}"#, r#"{"half":"\ude00"}"#),
        (&deep, &deep),
        ("", r#""""#),
        ("{'k':1}", r#""{'k':1}""#),
        ("{\"k\":Infinity}", r#""{\"k\":Infinity}""#),
        ("a\nb", r#""a\nb""#),
    ] {
        assert_eq!(typed(&of, &json!(text).to_string()), format!("json {expected}"), "{text}");
    }
}

/// A declared column `x`.
fn declared(data_type: &str, form: Option<Form>) -> DecoderConfig {
    let field = Field::new("x", data_type.parse().expect("a type"), true);
    let column = DeclaredColumn { form, ..field.into() };
    let mode = SchemaMode::Declared(DeclaredColumns { key: vec![], row: vec![column] });
    DecoderConfig { mode, ..config() }
}

fn of_declared(data_type: &str, form: Option<Form>, x: &str) -> String {
    let decoded = decode(declared(data_type, form), &[bare("c", x)]);
    match decoded.dead.first() {
        Some(dead) => format!("dead: {}", dead.reason),
        None => shown(&decoded, "x")[0].clone(),
    }
}

#[test]
fn a_declared_form_is_the_only_one_that_is_taken() {
    let at = "timestamp 2024-07-03T06:05:04Z";
    for (form, value, expected) in [
        (Form::S, "1719986704", at),
        (Form::Ms, "1719986704000", at),
        (Form::Us, "1719986704000000", at),
        (Form::Ns, "1719986704000000000", at),
        (Form::Iso, "\"2024-07-03T08:05:04+02:00\"", at),
        // Ends of time are no mistakes, nor are infinities.
        (Form::Ms, "253402214400000", "timestamp 9999-12-31T00:00:00Z"),
        (Form::Ms, "-62135596800000", "timestamp 0001-01-01T00:00:00Z"),
        (Form::Us, "9223372036825200000", "timestamp 9999-12-31T23:59:59.999999Z"),
        (Form::Ms, "0", "timestamp 1970-01-01T00:00:00Z"),
    ] {
        assert_eq!(of_declared("timestamp", Some(form), value), expected, "{form:?} {value}");
    }
    for (form, value, expected) in [
        (
            Form::Ms,
            "1719986704000000",
            "1719986704000000 as ms is +56474-03-17T12:26:40Z, and the years 1900 to 2200 are believed: declare `form: us` (2024-07-03T06:05:04Z)",
        ),
        (Form::Us, "1719986704000000000", "declare `form: ns` (2024-07-03T06:05:04Z), or other `years: ["),
        (Form::Ms, "\"2024-07-03T06:05:04Z\"", "expected a timestamp as a whole number, found text"),
        (Form::Iso, "1719986704000", "expected a timestamp as text like 2026-01-31T12:00:00Z, found a number"),
    ] {
        let dead = of_declared("timestamp", Some(form), value);
        assert!(dead.contains(expected), "{form:?} {value}: {dead}");
    }
    for (data_type, form, value, expected) in [
        ("date", Form::Days, "19907", "date 2024-07-03"),
        ("date", Form::Iso, "\"2024-07-03\"", "date 2024-07-03"),
        ("date", Form::Iso, "\"2024-07-03Z\"", "date 2024-07-03"),
        ("date", Form::Iso, "\"infinity\"", "date 9999-12-31"),
        ("decimal(9,2)", Form::Number, "1234", "decimal(9,2) 1234.00"),
        ("decimal(9,2)", Form::Text, "\"1234\"", "decimal(9,2) 1234.00"),
        ("decimal(9,2)", Form::Base64, "\"1234\"", "decimal(9,2) -26588.24"),
        ("bytes", Form::Base64, "\"+/8=\"", "bytes [251, 255]"),
        ("bytes", Form::Base64Url, "\"-_8=\"", "bytes [251, 255]"),
        ("bytes", Form::Hex, "\"fbFF\"", "bytes [251, 255]"),
    ] {
        assert_eq!(of_declared(data_type, Some(form), value), expected, "{data_type} {form:?} {value}");
    }
    for (data_type, form, value, expected) in [
        ("date", Form::Days, "\"2024-07-03\"", "expected a date as days since 1970, found text"),
        ("date", Form::Iso, "19907", "expected a date as text like 2026-01-31, found a number"),
        ("decimal(9,2)", Form::Number, "\"12.34\"", "expected a decimal as a number, found text"),
        ("decimal(9,2)", Form::Base64, "\"12.34\"", "12.34 is no base64 decimal(9,2)"),
        ("bytes", Form::Hex, "\"+/8=\"", "expected hexadecimal digits, found +/8="),
    ] {
        let dead = of_declared(data_type, Some(form), value);
        assert!(dead.contains(expected), "{data_type} {form:?} {value}: {dead}");
    }
}

#[test]
fn without_a_form_what_could_be_two_things_is_a_dead_letter_that_says_what_to_declare() {
    for (data_type, value, expected) in [
        ("timestamp", "1719986704000000", "timestamp 2024-07-03T06:05:04Z"),
        ("timestamp", "\"2024-07-03T06:05:04Z\"", "timestamp 2024-07-03T06:05:04Z"),
        ("date", "19907", "date 2024-07-03"),
        ("date", "\"2024-07-03\"", "date 2024-07-03"),
        ("decimal(9,2)", "12.5", "decimal(9,2) 12.50"),
        ("decimal(9,2)", "\"12.5\"", "decimal(9,2) 12.50"),
        ("bytes", "\"+/8=\"", "bytes [251, 255]"),
    ] {
        assert_eq!(of_declared(data_type, None, value), expected, "{data_type} {value}");
    }
    for (data_type, value, told) in [
        (
            "timestamp",
            "1719986704000",
            ("as microseconds is 1970-01-20T21:46:26.704Z", "`form: ms` (2024-07-03T06:05:04Z)"),
        ),
        ("timestamp", "1719986704", ("declare the column's unit", "`form: s` (2024-07-03T06:05:04Z)")),
        ("timestamp", "1719986704000000000", ("declare the column's unit", "`form: ns` (2024-07-03T06:05:04Z)")),
        // 9999-12-31, 2201-01-01 and 0001-01-01 in milliseconds.
        ("timestamp", "253402300799000", ("as microseconds is 1978-01-11T21:31:40.799Z", "declare the column's unit")),
        ("timestamp", "7289654400000", ("declare the column's unit", "`form: s`, `ms`, `us` or `ns`")),
        ("timestamp", "-62135596800000", ("declare the column's unit", "`form: us` (1968-01-12T20:06:43.200Z)")),
        ("date", "20251009", ("20251009 days since 1970 are +57", "the years 1900 to 2200 are believed")),
        ("date", "1760000000", ("1760000000 days since 1970 are +", "declare other `years: [")),
        ("timestamp", "0", ("declare the column's unit", "`form: s`, `ms`, `us` or `ns`")),
        ("decimal(9,2)", "\"1234\"", ("`form: text` (1234)", "`form: base64` (-26588.24)")),
        ("decimal(9,2)", "\"EtaH\"", ("has no form", "`form: base64` (12345.67)")),
    ] {
        let dead = of_declared(data_type, None, value);
        assert!(dead.contains(told.0) && dead.contains(told.1), "{data_type} {value}: {dead}");
    }
}

/// Whatever form a message says to declare, takes the value.
#[test]
fn the_advice_helps() {
    let mut random = Rng::with_seed(7);
    for _ in 0..2000 {
        let value = (random.i64(..) >> random.u32(0..40)).to_string();
        let dead = of_declared("timestamp", None, &value);
        for (name, form) in [("s", Form::S), ("ms", Form::Ms), ("us", Form::Us), ("ns", Form::Ns)] {
            if dead.starts_with("dead") && dead.contains(&format!("`form: {name}` (")) {
                let taken = of_declared("timestamp", Some(form), &value);
                assert!(taken.starts_with("timestamp "), "{value}: {dead}: {taken}");
                assert!(dead.contains(
                    taken.trim_start_matches("timestamp ").trim_end_matches('Z').split('.').next().unwrap_or_default()
                ));
            }
        }
    }
}

#[test]
fn a_form_is_of_a_type() {
    assert_eq!(
        Form::Hex.check(DataType::Timestamp),
        Err("`hex` is not a form of a timestamp: write iso, s, ms, us, ns".into())
    );
    assert_eq!(Form::Ms.check(DataType::Text), Err("a text has one form only: leave `form: ms` out".into()));
    assert_eq!(Form::Base64.check(DataType::Decimal { precision: 9, scale: 2 }), Ok(()));
}

#[test]
fn inferred_numbers_keep_every_digit_in_any_order() {
    for (values, data_type, expected) in [
        (["10", "10.5", "11"], "float64", ["10", "10.5", "11"]),
        (["98765432109876543.21", "0.1", "7"], "decimal(38,18)", ["98765432109876543.21", "0.1", "7"]),
        (["9007199254740995", "0.5", "1"], "decimal(38,18)", ["9007199254740995", "0.5", "1"]),
        (["\"NaN\"", "2.5", "4"], "float64", ["NaN", "2.5", "4"]),
        (["\"-Infinity\"", "\"NaN\"", "4"], "float64", ["-inf", "NaN", "4"]),
        (["18446744073709551615", "1", "2"], "decimal(38,0)", ["18446744073709551615", "1", "2"]),
    ] {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let records: Vec<String> = order.iter().map(|n| bare("c", values[*n])).collect();
            let decoded = decode(config(), &records);
            assert_eq!(dead(&decoded), Vec::<String>::new(), "{values:?}");
            assert_eq!(types(&decoded), [format!("x {data_type}")], "{values:?}");
            let plain = |cell: String| {
                let cell = cell.split_once(' ').expect("type and value").1.to_owned();
                if data_type.contains("18") {
                    cell.trim_end_matches('0').trim_end_matches('.').to_owned()
                } else {
                    cell
                }
            };
            let cells: Vec<String> = shown(&decoded, "x").into_iter().map(plain).collect();
            assert_eq!(cells, order.map(|n| expected[n]), "{values:?}");
        }
    }
}

/// The records of two batches, of one topic and one decoder.
fn one_after_another(first: &[&str], second: &[&str]) -> (Vec<String>, Decoded) {
    let decoder = Decoder::new(config(), Box::new(|_, schema| Ok(schema)));
    let batch = |values: &[&str]| {
        let mut batch = RawBatch::default();
        for x in values {
            let value = bare("c", x);
            let value = Some(value.as_bytes());
            batch.push(RecordRef { topic: "t", partition: 0, offset: 0, timestamp_ms: None, key: None, value });
        }
        decoder.decode(&batch).expect("decodes")
    };
    (types(&batch(first)), batch(second))
}

#[test]
fn whole_numbers_first_and_a_fraction_later_is_no_dead_letter() {
    let (first, later) = one_after_another(&["10", "9223372036854775807"], &["10.5", "11", "9223372036854775807"]);
    assert_eq!(first, ["x int64"]);
    assert_eq!((dead(&later), types(&later)), (vec![], vec!["x decimal(38,18)".to_owned()]));
    assert_eq!(shown(&later, "x")[2], "decimal(38,18) 9223372036854775807.000000000000000000");
    // Beyond 64 bits likewise; and what no wider type holds says what to do.
    let (_, later) = one_after_another(&["10"], &["18446744073709551615"]);
    assert_eq!((dead(&later), types(&later)), (vec![], vec!["x decimal(38,0)".to_owned()]));
    let (_, later) = one_after_another(&["10.5"], &["12345678901234567.89"]);
    assert!(
        dead(&later)[0].contains("cannot hold 12345678901234567.89 exactly: declare the column"),
        "{:?}",
        dead(&later)
    );
    let (_, later) = one_after_another(&["10"], &["\"ten\""]);
    assert!(dead(&later)[0].contains("expected int64, found text"), "{:?}", dead(&later));
}

#[test]
fn a_column_of_nulls_begins_with_its_first_value() {
    let (first, later) = one_after_another(&["null", "null"], &["null", "2.5"]);
    assert_eq!(first, Vec::<String>::new());
    assert_eq!(
        (types(&later), shown(&later, "x")),
        (vec!["x float64".into()], vec!["null".into(), "float64 2.5".into()])
    );
}

#[test]
fn other_columns_than_the_declared_ones_are_told_once() {
    let decoder = Decoder::new(declared("int64", None), Box::new(|_, schema| Ok(schema)));
    let batch = |values: &[&str]| {
        let mut batch = RawBatch::default();
        for after in values {
            let value = format!(r#"{{"before":null,"after":{after},"op":"c"}}"#);
            let value = Some(value.as_bytes());
            batch.push(RecordRef { topic: "t", partition: 0, offset: 0, timestamp_ms: None, key: None, value });
        }
        decoder.decode(&batch).expect("decodes").other_columns
    };
    assert_eq!(batch(&["null"]).len(), 0, "nothing to go by yet");
    let told = batch(&[r#"{"y":null}"#, r#"{"y":2,"z":{}}"#]);
    let names = |list: &[std::sync::Arc<str>]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!((&*told[0].topic, told[0].changes), ("t", 2));
    assert_eq!((names(&told[0].missing), names(&told[0].undeclared)), (vec!["x".into()], vec!["y".into(), "z".into()]));
    assert_eq!(batch(&[r#"{"w":1}"#]).len(), 0, "said already");
    let decoded = decode(declared("int64", None), &[bare("c", "null")]);
    assert_eq!(decoded.other_columns, [], "a null is a column");
}
