//! Native tests of a transform: Debezium messages in, rows and dead letters out, no Wasm and no host.
//!
//! Switch the feature on for tests only:
//!
//! ```toml
//! [dev-dependencies]
//! lakemill-guest = { path = "…", features = ["testing"] }
//! ```
//!
//! [`run_cases`] runs the `cases/*.yaml` that `lakemill test` runs against the component; [`run`] tries single messages:
//!
//! ```
//! use lakemill_guest::{Change, Emit, Output, Row, transform};
//!
//! #[derive(Row)]
//! struct Order<'a> {
//!     status: &'a str,
//!     total: f64,
//! }
//!
//! #[derive(Output)]
//! #[output(name = "orders", key = ["id"], copy(row))]
//! struct Clean {
//!     gross: f64,
//! }
//!
//! #[transform]
//! fn clean(change: &Change<Order>) -> Emit<Clean> {
//!     change.filter(|order| order.status != "cancelled").map(|order| Clean { gross: order.total * 1.5 })
//! }
//!
//! // What follows stands in a #[test].
//! # fn main() {
//! use lakemill_guest::testing::{Record, json, run};
//!
//! let trial = run(&TRANSFORM, "{}", &[
//!     Record::value(json!({ "op": "c", "after": { "id": 1, "status": "new", "total": 10.5 } })),
//!     Record::value(json!({ "op": "c", "after": { "id": 2, "status": "cancelled", "total": 1.5 } })),
//!     Record::value(json!({ "op": "c", "after": { "id": 3, "status": "new", "total": null } })),
//! ]).unwrap();
//! assert_eq!(trial.rows("orders"), [json!({ "id": 1, "status": "new", "total": 10.5, "gross": 15.75, "_op": "c" })]);
//! assert!(trial.dead[0].record == 2 && trial.dead[0].reason.starts_with("column `total` is null"));
//! # }
//! ```
//!
//! # Cases
//!
//! ```yaml
//! schema:                            # optional, for all cases: what the pipeline file says under source.schema
//!   row: [{ name: id, type: int64 }, { name: total, type: "decimal(12,2)" }]
//! cases:
//!   - name: a delete
//!     schema: infer                  # optional: this case's own
//!     config: {}                     # optional: what the pipeline file says under config
//!     native: true                   # false: for `lakemill test` alone
//!     input:                         # records of one topic, in order
//!       - key: { id: 1 }
//!         value: { op: d, before: { id: 1, total: 10.5 } }
//!       - text: '{"broken'           # bytes as they are
//!     output:                        # rows by output; nulls are left out
//!       orders: [{ id: 1, total: 10.5, _op: d }]
//!     dead:                          # record, from 0, and what its reason contains
//!       - { record: 1, reason: not JSON }
//! ```
//!
//! # What is decoded
//!
//! Columns get their types as a pipeline with `schema: infer` gives them, or from `schema` (see [`run_declared`]), with what the pipeline
//! file says of other values left at its defaults. Not here, but in `lakemill test`: messages with a schema part, placeholders of arrays
//! whose elements are no text, and the envelope's `position`.

mod cases;
mod input;
mod json;
mod rows;
mod schema;
mod times;
mod values;

use std::collections::BTreeMap;

pub use serde_json::{Value, json};

pub use cases::run_cases;

use crate::{Batch, BatchSource, Transform};
use schema::Schema;

/// A Kafka record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// The key's text; none: a null key.
    pub key: Option<String>,
    /// The value's text; none: a tombstone.
    pub value: Option<String>,
}

impl Record {
    /// A change event without a key.
    pub fn value(value: Value) -> Self {
        Self { key: None, value: Some(value.to_string()) }
    }

    /// A change event with its key.
    pub fn keyed(key: Value, value: Value) -> Self {
        Self { key: Some(key.to_string()), value: Some(value.to_string()) }
    }

    /// A value taken as it is, be it JSON or not.
    pub fn text(value: impl Into<String>) -> Self {
        Self { key: None, value: Some(value.into()) }
    }
}

/// What became of records.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trial {
    /// Rows by output, each a JSON object with the row's op as `_op`; nulls, and cells that the source left out, are not in it. Decimals,
    /// dates, timestamps and bytes (in hexadecimal digits) are text.
    pub outputs: BTreeMap<String, Vec<Value>>,
    /// Records that went to the dead letters, in order.
    pub dead: Vec<Dead>,
}

impl Trial {
    /// The rows of an output; none if it has got none.
    pub fn rows(&self, output: &str) -> &[Value] {
        self.outputs.get(output).map(Vec::as_slice).unwrap_or_default()
    }
}

/// A record that could not be processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// Its place in the input, from 0.
    pub record: usize,
    /// Why.
    pub reason: String,
    /// True if the transform refused it; otherwise it was no change event, and the host says so in words of its own.
    pub by_transform: bool,
}

/// Runs records of one topic through a transform under a configuration (a JSON object) and a clock that stands at 0.
///
/// # Errors
/// What would stop the pipeline: the transform refuses its configuration, gives up on the batch, or its answer breaks the
/// contract. Also a record that this kit cannot read and the host can.
///
/// # Panics
/// If the transform reads a column that its description does not name: in the host that traps.
pub fn run(transform: &Transform, config: &str, records: &[Record]) -> Result<Trial, String> {
    run_by(transform, config, &Schema::Infer, records)
}

/// As [`run`], with declared columns: what the pipeline file says under `source.schema`.
///
/// ```
/// # use lakemill_guest::{Change, Decimal, Emit, Output, Row, transform};
/// # #[derive(Row)]
/// # struct Order { total: Decimal }
/// # #[derive(Output)]
/// # #[output(name = "totals")]
/// # struct Total { #[output(decimal(12, 2))] total: Decimal }
/// # #[transform]
/// # fn totals(change: &Change<Order>) -> Emit<Total> { change.map(|order| Total { total: order.total }) }
/// # fn main() {
/// use lakemill_guest::testing::{Record, json, run_declared};
///
/// let schema = json!({ "row": [{ "name": "id", "type": "int64" }, { "name": "total", "type": "decimal(12,2)" }] });
/// let message = json!({ "op": "c", "after": { "id": 1, "total": 10.5 } });
/// let trial = run_declared(&TRANSFORM, "{}", &schema, &[Record::value(message)]).unwrap();
/// assert_eq!(trial.rows("totals"), [json!({ "total": "10.50", "_op": "c" })]);
/// # }
/// ```
///
/// # Errors
/// Those of [`run`]; also if the schema is none.
pub fn run_declared(transform: &Transform, config: &str, schema: &Value, records: &[Record]) -> Result<Trial, String> {
    run_by(transform, config, &Schema::read(schema)?, records)
}

fn run_by(transform: &Transform, config: &str, schema: &Schema, records: &[Record]) -> Result<Trial, String> {
    let description = transform.describe(config)?;
    let input = input::read(records, schema, &description.reads)?;
    let mut dead = input.dead;
    let mut outputs = BTreeMap::new();
    if input.rows.len() > 0 {
        let answer = transform.run(&input.rows, config)?;
        for rejection in &answer.rejections {
            let record =
                *input.records.get(rejection.row as usize).ok_or("a rejection names a row that is not there")?;
            dead.push(Dead { record, reason: rejection.reason.clone(), by_transform: true });
        }
        outputs = rows::rows(&description, &input.rows, &answer)?;
    }
    dead.sort_by_key(|dead| dead.record);
    Ok(Trial { outputs, dead })
}

/// Runs `work` on the columnar view of records, for tests of functions below the transform.
///
/// # Errors
/// A record that is no change event, or that this kit cannot read.
pub fn with_batch<T>(records: &[Record], work: impl FnOnce(&Batch<'_>) -> T) -> Result<T, String> {
    let everything = [crate::Image::Key, crate::Image::Before, crate::Image::After, crate::Image::Row];
    let input = input::read(records, &Schema::Infer, &everything.map(crate::Reads::Image))?;
    match input.dead.first() {
        Some(dead) => Err(format!("record {}: {}", dead.record, dead.reason)),
        None => Ok(work(&Batch::new(&input.rows))),
    }
}
