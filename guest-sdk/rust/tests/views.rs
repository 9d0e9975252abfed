//! The row view and the columnar view through whole transforms: what the derives make of structs, and what becomes of a change.

use lakemill_guest::testing::{Record, Trial, Value, json, run, with_batch};
use lakemill_guest::{Image, Transform};

/// A filter with a derived column; the row before is judged as well.
mod filter {
    use lakemill_guest::{Change, Emit, Output, Row, transform};

    #[derive(Row)]
    struct Order<'a> {
        status: &'a str,
        total: f64,
    }

    #[derive(Output)]
    #[output(name = "orders", key = ["id"], copy(row, column = "id", name = "id"))]
    struct Paid {
        gross: f64,
    }

    #[transform]
    fn filter(change: &Change<Order>) -> Emit<Paid> {
        change.filter(|order| order.status == "paid").map(|order| Paid { gross: order.total * 2.0 })
    }
}

/// Every way to answer: an enum of tables, several rows, other ops, rejections.
mod route {
    use lakemill_guest::{Change, Decimal, Emit, Op, Output, Reject, Row, transform};

    #[derive(Row)]
    struct Order<'a> {
        id: i64,
        kind: &'a str,
        price: Option<f64>,
    }

    #[derive(Output)]
    enum Table<'a> {
        #[output(name = "kinds", key = ["id"])]
        Kinds { id: i64, kind: &'a str },
        #[output(key = ["id"])]
        Prices(Price),
        #[output(copy(row))]
        Rest,
    }

    #[derive(Output)]
    #[output(name = "prices", key = ["id"])]
    struct Price {
        id: i64,
        #[output(rename = "net price", decimal(6, 2))]
        net: Option<Decimal>,
        #[output(required)]
        currency: &'static str,
    }

    #[transform]
    fn route<'a>(change: &Change<'_, Order<'a>>) -> Result<Emit<Table<'a>>, Reject> {
        let Some(&Order { id, kind, price }) = change.row() else { return Ok(Emit::one(Table::Rest)) };
        match kind {
            "both" => {
                let net = price.map(|price| Decimal::new((price * 100.0).round() as i128, 2));
                let price = Table::Prices(Price { id, net, currency: "EUR" });
                Ok(Emit::one(Table::Kinds { id, kind }).and(Emit::one(price).with_op(Op::Update)))
            }
            "twice" => Ok(Emit::many([Table::Kinds { id, kind }, Table::Kinds { id: id + 100, kind }])),
            "drop" => Ok(Emit::none()),
            "odd" => Err(Reject::new("an odd kind")),
            _ => Ok(Emit::one(Table::Rest)),
        }
    }
}

/// Settings of every type.
mod settings {
    use std::collections::BTreeMap;

    use lakemill_guest::{Change, Config, Emit, Output, Renames, Row, transform};

    #[derive(Row)]
    struct Order {
        total: f64,
    }

    #[derive(Output)]
    #[output(name = "out", copy(row))]
    struct Out {
        gross: f64,
        mode: String,
    }

    #[derive(Config)]
    enum Mode {
        Fast,
        VeryExact,
    }

    #[derive(Config)]
    #[config(check = check)]
    struct Settings {
        rate: f64,
        #[config(rename = "per-mode", default = {})]
        per_mode: BTreeMap<String, i64>,
        mode: Option<Mode>,
        #[config(default)]
        digits: u32,
        columns: Renames,
    }

    fn check(settings: &Settings) -> Result<(), String> {
        if settings.digits > 9 { Err(format!("`digits` is {}: at most 9", settings.digits)) } else { Ok(()) }
    }

    #[transform]
    fn settings(change: &Change<Order>, settings: &Settings) -> Emit<Out> {
        let mode = match settings.mode {
            Some(Mode::VeryExact) => "very_exact".to_owned(),
            Some(Mode::Fast) => format!("fast{}", settings.per_mode.get("fast").copied().unwrap_or_default()),
            None => "none".to_owned(),
        };
        change.map(|order| Out { gross: order.total * settings.rate, mode })
    }
}

/// The columnar view, with all three states of a cell passed on.
mod columns {
    use lakemill_guest::{
        Answer, Batch, ColumnBuilder, DataType, Description, Emission, Error, Image, OutputSpec, transform,
    };

    fn describe() -> Description {
        let notes = OutputSpec::new("notes").copy(Image::Row, "id", "id").make("upper", DataType::Text);
        Description::of([notes]).read(Image::Row, ["note"])
    }

    #[transform(columns, describe = describe)]
    fn columns(batch: &Batch) -> Result<Answer, Error> {
        let notes = batch.column::<&str>(Image::Row, "note")?;
        let mut upper = ColumnBuilder::<str>::new();
        for row in batch.rows() {
            upper.push_cell(notes.get(row).map(str::to_uppercase).as_deref());
        }
        Ok(Answer::new().emit(Emission::new(0, batch.rows().map(|row| row as u32).collect(), [upper.finish()])))
    }
}

fn try_values(transform: &Transform, config: Value, values: &[Value]) -> Trial {
    let records: Vec<Record> = values.iter().cloned().map(Record::value).collect();
    run(transform, &config.to_string(), &records).expect("runs")
}

fn order(id: i64, status: &str) -> Value {
    json!({ "id": id, "status": status, "total": 1.5 })
}

fn change(op: &str, before: Option<Value>, after: Option<Value>) -> Value {
    json!({ "op": op, "before": before, "after": after })
}

#[test]
fn a_filter_keeps_what_was_written_before_right() {
    let paid = |id| Some(order(id, "paid"));
    let new = |id| Some(order(id, "new"));
    let trial = try_values(
        &filter::TRANSFORM,
        json!({}),
        &[
            change("r", None, paid(1)),
            change("r", None, new(2)),
            change("c", None, paid(3)),
            change("c", None, new(4)),
            change("u", paid(5), paid(5)),
            change("u", new(6), paid(6)),
            change("u", paid(7), new(7)),
            change("u", new(8), new(8)),
            change("u", None, paid(9)),
            change("u", None, new(10)),
            change("d", paid(11), None),
            change("d", new(12), None),
            change("t", None, None),
        ],
    );
    let row = |id: i64, op: &str| json!({ "id": id, "gross": 3.0, "_op": op });
    let expected = [
        row(1, "r"),
        row(3, "c"),
        row(5, "u"),
        row(6, "c"),
        row(7, "d"),
        row(9, "u"),
        row(10, "d"),
        row(11, "d"),
        json!({ "_op": "t" }),
    ];
    assert_eq!(trial.rows("orders"), expected);
    assert!(trial.dead.is_empty(), "{:?}", trial.dead);
}

#[test]
fn a_delete_that_knows_its_key_only_passes_with_the_key() {
    let records = [
        Record::keyed(json!({ "id": 1 }), change("c", None, Some(order(1, "paid")))),
        Record::keyed(json!({ "id": 1 }), change("d", None, None)),
    ];
    let trial = run(&filter::TRANSFORM, "{}", &records).expect("runs");
    assert_eq!(trial.rows("orders"), [json!({ "id": 1, "gross": 3.0, "_op": "c" }), json!({ "id": 1, "_op": "d" })]);
}

#[test]
fn rows_go_to_the_tables_of_an_enum() {
    let of = |id: i64, kind: &str, price: Option<f64>| {
        change("c", None, Some(json!({ "id": id, "kind": kind, "price": price })))
    };
    let trial = try_values(
        &route::TRANSFORM,
        json!({}),
        &[
            of(1, "both", Some(12.345)),
            of(2, "twice", None),
            of(3, "drop", None),
            of(4, "odd", None),
            of(5, "else", None),
            of(6, "both", Some(1_000_000.0)),
            change("t", None, None),
        ],
    );
    assert_eq!(
        trial.rows("kinds"),
        [
            json!({ "id": 1, "kind": "both", "_op": "c" }),
            json!({ "id": 2, "kind": "twice", "_op": "c" }),
            json!({ "id": 102, "kind": "twice", "_op": "c" }),
        ]
    );
    assert_eq!(trial.rows("prices"), [json!({ "id": 1, "net price": "12.35", "currency": "EUR", "_op": "u" })]);
    assert_eq!(trial.rows("rest"), [json!({ "id": 5, "kind": "else", "_op": "c" }), json!({ "_op": "t" })]);
    let reasons: Vec<_> = trial.dead.iter().map(|dead| (dead.record, dead.reason.as_str())).collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert_eq!(reasons[0], (3, "an odd kind"));
    assert!(reasons[1].0 == 5 && reasons[1].1.contains("net price") && reasons[1].1.contains("(6,2)"), "{reasons:?}");
}

#[test]
fn a_cell_has_three_states() {
    let note = |id: i64, note: Value| change("u", None, Some(json!({ "id": id, "note": note })));
    let values =
        [note(1, json!("a")), note(2, json!(null)), note(3, json!("__debezium_unavailable_value"))].map(Record::value);
    let states = with_batch(&values, |batch| {
        let cells = batch.column::<&str>(Image::After, "note").expect("is there");
        batch.rows().map(|row| cells.get(row).map(str::to_owned)).collect::<Vec<_>>()
    });
    let states = states.expect("change events");
    assert!(states[1].is_null() && states[2].is_unchanged(), "{states:?}");
    assert_eq!(states[0].clone().value().as_deref(), Some("a"));
    let trial = run(&columns::TRANSFORM, "{}", &values).expect("runs");
    assert_eq!(
        trial.rows("notes"),
        [json!({ "id": 1, "upper": "A", "_op": "u" }), json!({ "id": 2, "_op": "u" }), json!({ "id": 3, "_op": "u" }),]
    );
}

#[test]
fn settings_have_defaults_other_names_and_words() {
    let value = [change("c", None, Some(json!({ "amount": 10.5 })))];
    let out = |config: Value| try_values(&settings::TRANSFORM, config, &value).rows("out").to_vec();
    let columns = json!({ "total": "amount", "gross": "brutto" });
    assert_eq!(
        out(json!({ "rate": 2, "columns": columns })),
        [json!({ "amount": 10.5, "brutto": 21.0, "mode": "none", "_op": "c" })]
    );
    let config = json!({ "rate": 1, "mode": "fast", "per-mode": { "fast": 7 }, "columns": columns });
    assert_eq!(out(config)[0]["mode"], "fast7");
    assert_eq!(out(json!({ "rate": 1, "mode": "very_exact", "columns": columns }))[0]["mode"], "very_exact");
}

#[test]
fn wrong_settings_are_refused_with_their_place() {
    for (config, words) in [
        (json!({}), ["`config.rate` is missing", "number"]),
        (json!({ "rate": "high" }), ["`config.rate`", "number"]),
        (json!({ "rate": 1, "rat": 2 }), ["no setting `rat`", "`rate`"]),
        (json!({ "rate": 1, "mode": "slow" }), ["`config.mode`", "very_exact"]),
        (json!({ "rate": 1, "per-mode": { "fast": 1.5 } }), ["`config.per-mode.fast`", "an integer, not 1.5"]),
        (json!({ "rate": 1, "digits": -1 }), ["`config.digits`", "0"]),
        (json!({ "rate": 1, "digits": 10 }), ["`digits` is 10", "at most 9"]),
        (json!({ "rate": 1, "columns": { "nothing": "x" } }), ["nothing", "total"]),
    ] {
        let error = run(&settings::TRANSFORM, &config.to_string(), &[]).expect_err("must be refused");
        assert!(words.iter().all(|word| error.contains(word)), "{config}: {error}");
    }
}

#[test]
fn a_description_says_what_is_read_made_and_set() {
    let of = settings::TRANSFORM.describe(r#"{ "rate": 1, "columns": { "total": "amount" } }"#).expect("describes");
    assert_eq!((of.name.as_str(), of.outputs.len()), ("lakemill-guest", 1));
    let reads = format!("{:?}", of.reads);
    assert!(reads.contains("amount") && !reads.contains("total"), "{reads}");
    let schema: Value = serde_json::from_str(&of.config_schema.expect("has settings")).expect("is JSON");
    assert_eq!(schema["required"], json!(["rate"]));
    assert_eq!(schema["additionalProperties"], json!(false));
    assert!(filter::TRANSFORM.describe(r#"{ "rate": 1 }"#).is_err(), "a transform without settings takes none");
}

#[test]
fn records_that_are_no_changes_are_dead_or_control() {
    let records = [
        Record::text("{\"op\":"),
        Record::text(""),
        Record { key: Some("{\"id\":1}".into()), value: None },
        Record::value(json!({ "ts_ms": 5 })),
        Record::value(json!({ "status": "BEGIN", "id": "1" })),
        Record::value(json!({ "op": "x", "after": {} })),
        Record::value(json!({ "op": "c" })),
        Record::value(json!({ "op": "d" })),
        Record::value(json!([1])),
        Record::value(json!({ "schema": null, "payload": change("c", None, Some(order(1, "paid"))) })),
        Record::value(change("c", None, Some(order(2, "paid")))),
        Record::value(change("c", None, Some(json!({ "id": "one", "status": "paid", "total": 1.5 })))),
    ];
    let trial = run(&filter::TRANSFORM, "{}", &records).expect("runs");
    assert_eq!(trial.rows("orders").len(), 2);
    let dead: Vec<usize> = trial.dead.iter().map(|dead| dead.record).collect();
    assert_eq!(dead, [0, 5, 6, 7, 8, 11]);
    assert!(trial.dead[5].reason.contains("after.id"), "{:?}", trial.dead[5]);
    let framed = Record::value(json!({ "schema": { "type": "struct" }, "payload": {} }));
    assert!(run(&filter::TRANSFORM, "{}", &[framed]).expect_err("not here").contains("lakemill test"));
}

#[test]
fn an_answer_that_breaks_the_contract_is_refused() {
    use lakemill_guest::{Answer, ColumnBuilder, Description, Emission, OutputSpec};
    fn describe(_: &str) -> Result<Description, String> {
        Ok(Description::of([OutputSpec::new("out").make("n", lakemill_guest::DataType::Int64)]))
    }
    fn column(count: i64) -> lakemill_guest::Column<'static> {
        let mut column = ColumnBuilder::<i64>::new();
        (0..count).for_each(|n| column.push(n));
        column.finish()
    }
    let records = [Record::value(change("c", None, Some(order(1, "paid"))))];
    let wrong = |answer: fn() -> Answer, word: &str| {
        // One function for each answer: a transform is a pair of plain functions.
        ANSWER.with(|slot| slot.set(Some(answer)));
        let transform = Transform::new(describe, |_, _| Ok(ANSWER.with(|slot| slot.get()).expect("is set")()));
        let error = run(&transform, "{}", &records).expect_err(word);
        assert!(error.contains(word), "{error}");
    };
    thread_local!(static ANSWER: std::cell::Cell<Option<fn() -> Answer>> = const { std::cell::Cell::new(None) });
    wrong(|| Answer::new().emit(Emission::new(3, vec![0], [column(1)])), "output 3");
    wrong(|| Answer::new().emit(Emission::new(0, vec![9], [column(1)])), "row 9");
    wrong(|| Answer::new().emit(Emission::new(0, vec![0], [])), "made columns");
    wrong(|| Answer::new().emit(Emission::new(0, vec![0], [column(2)])), "2 cells for 1 rows");
    wrong(
        || Answer::new().emit(Emission::new(0, vec![0], [ColumnBuilder::<str>::new().finish()])),
        "is declared int64",
    );
}

/// What `lakemill test` refuses in a file of cases is refused here, too (tests/it/own.rs).
#[test]
fn a_key_of_a_case_that_is_none_is_refused() {
    let folder = std::env::temp_dir().join(format!("lakemill-cases-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    for (case, key) in [
        ("cases: []\nshema: infer\n", "shema"),
        ("cases: [{ name: n, input: [], outputs: {} }]\n", "outputs"),
        ("cases: [{ name: n, input: [{ valeu: {} }] }]\n", "valeu"),
        ("cases: [{ name: n, input: [], dead: [{ record: 0, reason: r, at: 1 }] }]\n", "`at`"),
        ("cases: [{ name: n, input: [], schema: { rows: [] } }]\n", "rows"),
        ("cases: [{ name: n, input: [], schema: { row: [{ name: a, type: bigint }] } }]\n", "bigint"),
        (
            "cases: [{ name: n, input: [], schema: { row: [{ name: a, type: text }, { name: a, type: text }] } }]\n",
            "twice",
        ),
    ] {
        std::fs::write(folder.join("a.yaml"), case).expect("writes");
        let refused = std::panic::catch_unwind(|| lakemill_guest::testing::run_cases(&filter::TRANSFORM, &folder));
        let words = refused.expect_err(case).downcast::<String>().expect("words");
        assert!(words.contains(key), "{case}: {words}");
    }
    std::fs::remove_dir_all(&folder).expect("is there");
}
