//! Pipeline files: what is accepted, and the exact words of what is not.

use super::*;

const SMALL: &str = "\
pipeline: orders
source:
  kafka: { brokers: 'localhost:9092', topics: [shop.public.orders] }
transforms:
  - component: ./clean.wasm
sinks:
  orders: { delta: { path: ./lake/orders } }
";

fn refused(text: &str) -> String {
    parse("p.yaml", text).expect_err("must be refused").to_string()
}

#[test]
fn a_small_file_has_the_documented_defaults() {
    let spec = parse("p.yaml", SMALL).expect("is fine");
    assert_eq!((spec.batch.rows_max, spec.batch.bytes_max.0, spec.batch.latency_ms_max), (100_000, 8 << 20, 200));
    assert_eq!(spec.transforms[0].grants, [written::Grant::Config, written::Grant::Log]);
    let kafka = spec.source.kafka.expect("kafka");
    assert_eq!((kafka.start, kafka.on_data_loss), (written::Start::Earliest, written::OnDataLoss::Fail));
}

#[test]
fn an_unknown_key_is_refused_with_place_and_suggestion() {
    let text = SMALL.replace("topics:", "topcis:");
    assert_eq!(
        refused(&text),
        "p.yaml:3:39: unknown key `topcis`: did you mean `topics`? \
         Known here: brokers, topics, start, on_data_loss, group, properties"
    );
    assert!(
        refused(&(SMALL.to_owned() + "nonsense: 1\n")).starts_with("p.yaml:8:1: unknown key `nonsense`. Known here: ")
    );
}

#[test]
fn values_are_refused_where_they_stand() {
    let with = |more: &str| refused(&(SMALL.to_owned() + more));
    assert_eq!(
        with("watermark: { delay: soon }\n"),
        "p.yaml:8:21: `soon` is not a time span: write 200ms, 10s, 5m or 1h"
    );
    assert!(with("batch: { bytes_max: lots }\n").starts_with("p.yaml:8:21: `lots` is not a size"));
    assert!(with("batch: { rows_max: 0 }\n").contains("`batch.rows_max` is 0: it must be from 1 to 1000000"));
    let start = SMALL.replace("topics:", "start: { timestamp: yesterday }, topics:");
    assert!(refused(&start).contains("`yesterday` is not a time"), "{}", refused(&start));
    let compressed = SMALL.replace("./lake/orders }", "./lake/orders, compression: zst }");
    assert!(refused(&compressed).contains("unknown choice `zst`: did you mean `zstd`?"), "{}", refused(&compressed));
}

#[test]
fn contradictions_are_refused() {
    let twice = SMALL.to_owned() + "dead_letters: { delta: { path: lake/orders } }\n";
    assert!(refused(&twice).contains("have the same path"), "{}", refused(&twice));
    let both = SMALL.replace("  kafka:", "  files: { paths: [a.jsonl] }\n  kafka:");
    assert!(refused(&both).contains("exactly one of `kafka` and `files`"));
    let neither = SMALL.replace("{ delta: { path: ./lake/orders } }", "{}");
    assert!(refused(&neither).contains("exactly one of `delta`, `parquet` and `console`"));
    let named = SMALL.replace("pipeline: orders", "pipeline: Orders!");
    assert!(refused(&named).contains("`Orders!` must be 1 to 64"));
}

#[test]
fn broken_yaml_says_where() {
    let error = parse("p.yaml", "pipeline: [a\nsource: }").expect_err("broken");
    assert!(error.place.is_some(), "{error}");
}

#[test]
fn settings_are_resolved_to_any_depth_and_their_values_are_known_as_secrets() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in [("pw", "s3cret\n"), ("rate", "0.25"), ("on", "true")] {
        std::fs::write(folder.path().join(name), text).expect("writes");
    }
    let configured = |text: &str| {
        let mut secrets = lakemill_model::Secrets::default();
        let config = serde_json::from_str(text).expect("JSON");
        let resolved = units::configured(
            &config,
            Lookup { folder: folder.path(), references: References::LookedUp },
            &mut secrets,
        );
        resolved.map(|resolved| (serde_json::Value::Object(resolved), secrets))
    };
    let (resolved, secrets) = configured(
        r#"{"a":[{"b":"x-${file:pw}"}],"n":"${file:rate|number}","t":"${file:rate}","y":"${file:on|boolean}","l":"$${x}"}"#,
    )
    .expect("is fine");
    let expected = r#"{"a":[{"b":"x-s3cret"}],"n":0.25,"t":"0.25","y":true,"l":"${x}"}"#;
    assert_eq!(resolved, serde_json::from_str::<serde_json::Value>(expected).expect("JSON"));
    assert_eq!(secrets.hide("it is s3cret"), "it is ${file:pw}");
    for (config, expected) in [
        (r#"{"n":"${file:pw|number}"}"#, "is not a number"),
        (r#"{"n":"x${file:rate|number}"}"#, "must stand alone"),
        (r#"{"n":"${LAKEMILL_SALT}"}"#, "did you mean `${env:LAKEMILL_SALT}`?"),
    ] {
        let message = configured(config).expect_err(config);
        assert!(message.contains(expected) && !message.contains("s3cret"), "{config}: {message}");
    }
}

#[test]
fn the_json_schema_knows_every_key() {
    let schema: serde_json::Value = serde_json::from_str(&json_schema()).expect("JSON");
    for key in ["pipeline", "source", "batch", "watermark", "state", "transforms", "sinks", "dead_letters", "late"] {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
    assert_eq!(schema["additionalProperties"], serde_json::Value::Bool(false));
}

#[test]
fn wrong_values_are_shown_with_what_was_expected() {
    for (line, expected) in [
        ("batch: { rows_max: -1 }", "expected a whole number of at least 0, found `-1`"),
        ("batch: { rows_max: many } # rows", "expected a whole number of at least 0, found `many`"),
        ("batch: { rows_max: [1] }", "expected one value, found `[1`"),
        ("batch: 5", "expected keys with values (`key: value`), found `5`"),
        ("transforms: none", "`transforms` is there twice: keep one"),
    ] {
        let error = refused(&format!("{SMALL}{line}\n"));
        assert!(error.ends_with(expected), "{line}: {error}");
    }
    let error = refused("pipeline: orders\n");
    assert!(error.ends_with("`source` is missing"), "{error}");
    let error = refused(&SMALL.replace("[shop.public.orders]", "shop.public.orders"));
    assert!(error.contains("expected a list (`[...]` or lines with `- `), found `shop.public.orders`"), "{error}");
    let error = refused("");
    assert!(!error.contains("serde"), "{error}");
}

#[test]
fn declared_columns_have_forms_that_fit_their_types() {
    let of = |column: &str| {
        let schema = format!("  schema: {{ row: [{{ name: x, {column} }}] }}\n");
        SMALL.replace("transforms:", &format!("{schema}transforms:"))
    };
    for column in [
        "type: timestamp, form: ms",
        "type: timestamp, form: iso",
        "type: timestamp, form: us, years: [1850, 2300]",
        "type: date, form: days",
        "type: date, form: days, years: [1850, 2200]",
        "type: date, years: [1850, 2200]",
        "type: 'decimal(9,2)', form: base64",
        "type: bytes, form: hex",
    ] {
        parse("p.yaml", &of(column)).unwrap_or_else(|error| panic!("{column}: {error}"));
    }
    for (column, expected) in [
        ("type: timestamp, form: hex", "column `x`: `hex` is not a form of a timestamp: write iso, s, ms, us, ns"),
        ("type: text, form: ms", "a text has one form only: leave `form: ms` out"),
        (
            "type: timestamp, years: [1, 9999]",
            "`years` is for timestamps with `form: s`, `ms`, `us` or `ns`, and for dates that are days, only",
        ),
        ("type: date, form: iso, years: [1, 9999]", "for dates that are days, only"),
        ("type: timestamp, form: ms, years: [2000, 1990]", "`years: [2000, 1990]`: the first year comes first"),
        ("type: timestamp, form: milli", "unknown choice `milli`"),
        ("type: timestamp, unit: ms", "unknown key `unit`"),
    ] {
        let error = refused(&of(column));
        assert!(error.contains(expected), "{column}: {error}");
    }
}

#[test]
fn placeholders_and_the_policy_for_what_is_out_of_range() {
    let of = |line: &str| SMALL.replace("transforms:", &format!("  {line}\ntransforms:"));
    let parsed = |line: &str| parse("p.yaml", &of(line)).expect(line).spec_source();
    assert_eq!(parsed("unavailable_placeholder: __gone__").0, ["__gone__"]);
    assert_eq!(parsed("unavailable_placeholder: [a, b]").0, ["a", "b"]);
    for (name, policy) in [
        ("clamp", values::OutOfRange::Clamp),
        ("null", values::OutOfRange::Null),
        ("text", values::OutOfRange::Text),
        ("dead", values::OutOfRange::Dead),
    ] {
        assert_eq!(parsed(&format!("out_of_range: {name}")).1, policy, "{name}");
    }
    assert!(refused(&of("unavailable_placeholder: ''")).contains("`source.unavailable_placeholder` is empty"));
    assert!(refused(&of("unavailable_placeholder: []")).contains("`source.unavailable_placeholder` is empty"));
    assert!(refused(&of("out_of_range: clip")).contains("clamp"));
}

impl Spec {
    /// What the tests look at.
    fn spec_source(self) -> (Vec<String>, values::OutOfRange) {
        let texts = self.source.unavailable_placeholder.map(|texts| texts.0).unwrap_or_default();
        (texts, self.source.out_of_range)
    }
}

#[test]
fn the_columns_of_the_documentation_can_be_declared() {
    let docs = include_str!("../../../../docs/pipeline.md");
    let blocks = docs.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let schema = blocks.filter(|block| block.starts_with("schema:")).last().expect("docs/pipeline.md declares columns");
    let indented: String = schema.lines().map(|line| format!("  {line}\n")).collect();
    parse("p.yaml", &SMALL.replace("transforms:", &format!("{indented}transforms:"))).expect("is valid");
}
