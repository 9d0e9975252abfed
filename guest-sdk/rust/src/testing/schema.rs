//! `schema` of a case: what the pipeline file says under `source.schema`, in the same words.

use serde::Deserialize;
use serde_json::Value;

use crate::{DataType, Field};

/// Where columns get their types from.
#[derive(Clone, Debug, Default)]
pub(super) enum Schema {
    /// From the records.
    #[default]
    Infer,
    /// From the case.
    Declared { key: Vec<Slot>, row: Vec<Slot> },
}

/// A column and the form in which its values are written.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub field: Field,
    pub form: Option<Form>,
    /// The first and the last year that a timestamp of a unit may be of.
    pub years: (i64, i64),
    /// Nobody has declared it: no number of it is rounded, and no text of it is a number.
    pub inferred: bool,
}

/// The years that are believed unless a column says others.
pub(super) const YEARS: (i64, i64) = (1900, 2200);

impl Slot {
    /// A column whose type the records have shown.
    pub fn inferred(field: Field) -> Self {
        Self { field, form: None, years: YEARS, inferred: true }
    }
}

/// How a source writes values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Form {
    Iso,
    Days,
    S,
    Ms,
    Us,
    Ns,
    Number,
    Text,
    Base64,
    Base64Url,
    Hex,
}

impl Form {
    /// Nanoseconds of a unit of time.
    pub fn nanos(self) -> Option<i64> {
        Some(match self {
            Form::S => 1_000_000_000,
            Form::Ms => 1_000_000,
            Form::Us => 1_000,
            Form::Ns => 1,
            _ => return None,
        })
    }

    fn is_of(self, data_type: DataType) -> bool {
        match data_type {
            DataType::Date => matches!(self, Form::Iso | Form::Days),
            DataType::Timestamp => self == Form::Iso || self.nanos().is_some(),
            DataType::Decimal { .. } => matches!(self, Form::Number | Form::Text | Form::Base64),
            DataType::Bytes => matches!(self, Form::Base64 | Form::Base64Url | Form::Hex),
            _ => false,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    row: Vec<Column>,
    #[serde(default)]
    key: Vec<Column>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    data_type: String,
    #[serde(default = "yes")]
    nullable: bool,
    #[serde(default)]
    form: Option<Form>,
    #[serde(default)]
    years: Option<(i64, i64)>,
}

fn yes() -> bool {
    true
}

impl Schema {
    /// Reads it.
    ///
    /// # Errors
    /// What is expected there.
    pub fn read(given: &Value) -> Result<Self, String> {
        match given {
            Value::String(word) if word == "infer" => Ok(Schema::Infer),
            Value::String(word) if word == "inline" => {
                Err("`schema: inline`: messages with a schema part are read by `lakemill test` only; write `native: false` \
                     beside it, and `cargo test` leaves the case out"
                    .into())
            }
            Value::Object(_) => {
                let Declared { row, key } =
                    serde_json::from_value(given.clone()).map_err(|error| format!("`schema`: {error}"))?;
                Ok(Schema::Declared { key: slots("key", key)?, row: slots("row", row)? })
            }
            _ => Err("`schema` is infer, inline, or { row: [columns], key: [columns] }".into()),
        }
    }
}

fn slots(image: &str, columns: Vec<Column>) -> Result<Vec<Slot>, String> {
    let mut slots: Vec<Slot> = Vec::new();
    for column in columns {
        let Column { name, data_type, nullable, form, years } = column;
        let place = format!("`schema.{image}`, column `{name}`");
        let data_type = named(&data_type).map_err(|wrong| format!("{place}: {wrong}"))?;
        if let Some(form) = form.filter(|form| !form.is_of(data_type)) {
            return Err(format!("{place}: a {data_type} is not written as {form:?}"));
        }
        let are_days = data_type == DataType::Date && form != Some(Form::Iso);
        if years.is_some() && !are_days && form.and_then(Form::nanos).is_none() {
            return Err(format!(
                "{place}: `years` is for timestamps with `form: s`, `ms`, `us` or `ns`, and for dates that are days, only"
            ));
        }
        if slots.iter().any(|slot| slot.field.name == name) {
            return Err(format!("`schema.{image}` declares the column `{name}` twice: leave one out"));
        }
        let field = Field { name, data_type, nullable };
        slots.push(Slot { field, form, years: years.unwrap_or(YEARS), inferred: false });
    }
    Ok(slots)
}

/// The type of that name, as pipeline files write it.
fn named(text: &str) -> Result<DataType, String> {
    let plain = [
        DataType::Boolean,
        DataType::Int32,
        DataType::Int64,
        DataType::Float32,
        DataType::Float64,
        DataType::Date,
        DataType::Timestamp,
        DataType::Text,
        DataType::Bytes,
        DataType::Json,
    ];
    if let Some(found) = plain.into_iter().find(|data_type| data_type.to_string() == text) {
        return Ok(found);
    }
    let decimal = || {
        let (precision, scale) = text.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
        let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
        let fits = (1..=38).contains(&precision) && scale <= precision;
        fits.then_some(DataType::Decimal { precision, scale })
    };
    decimal().ok_or_else(|| {
        format!(
            "`{text}` is not a type; write boolean, int32, int64, float32, float64, date, timestamp, text, bytes, json or \
             decimal(precision,scale) with 1 <= precision <= 38 and scale <= precision"
        )
    })
}
