//! What a few bytes of the source may ask for.

mod shown;

use lakemill_decode::{Decoded, Decoder, DecoderConfig};
use lakemill_model::{RawBatch, RecordRef};
use serde_json::{Value, json};
use shown::{dead, shown, types};

/// Values of one column, each in a change with the column's schema part.
fn decode(field: &Value, values: &[String]) -> Decoded {
    let mut field = field.clone();
    field["field"] = "x".into();
    field["optional"] = true.into();
    let after = json!({"type": "struct", "optional": true, "field": "after", "fields": [field]});
    let schema = json!({"type": "struct", "name": "bills.Envelope", "fields": [after]});
    let mut batch = RawBatch::default();
    for (offset, x) in (0..).zip(values) {
        let value = format!(
            r#"{{"schema":{schema},"payload":{{"before":null,"after":{{"x":{x}}},"source":{{"ts_ms":1}},"op":"c"}}}}"#
        );
        batch.push(RecordRef {
            topic: "bills",
            partition: 0,
            offset,
            timestamp_ms: None,
            key: None,
            value: Some(value.as_bytes()),
        });
    }
    Decoder::new(DecoderConfig::default(), Box::new(|_, schema| Ok(schema)))
        .decode(&batch)
        .expect("never because of a record")
}

fn variable() -> Value {
    json!({"type": "struct", "name": "io.debezium.data.VariableScaleDecimal"})
}

/// `1e100000` is nine bytes, and 100,001 digits.
#[test]
fn numbers_of_few_bytes_do_not_fill_the_memory() {
    let wide =
        json!({"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "200"}});
    let array = |items: &Value| json!({"type": "array", "items": items});
    let long = |one: &str, count| vec![one.to_owned(); count];
    let in_array = |one: &str| vec![format!("[{}]", vec![one; 1000].join(","))];
    let (number, variable_number) = ("1e100000", r#"{"scale":-100000,"value":"AQ=="}"#);
    for (field, values) in [
        (wide.clone(), long(number, 1000)),
        (variable(), long(variable_number, 1000)),
        (array(&wide), in_array(number)),
        (array(&variable()), in_array(variable_number)),
    ] {
        let decoded = decode(&field, &values);
        let reasons = dead(&decoded);
        assert!(!reasons.is_empty(), "{field}");
        for reason in reasons {
            assert!(reason.contains("64 MiB longer than they are written; allow smaller batches"), "{reason}");
        }
        let taken = if decoded.batches.is_empty() { Vec::new() } else { shown(&decoded, "x") };
        let bytes: usize = taken.iter().map(String::len).sum();
        assert!(bytes < 80 << 20, "{field}: {bytes} bytes");
    }
    // One of them is no harm.
    let one = decode(&variable(), &long(variable_number, 1));
    assert_eq!(types(&one), ["x text"]);
    assert_eq!(shown(&one, "x")[0].len(), "text ".len() + 100_001);
}
