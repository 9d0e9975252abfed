//! What the pipeline file says of values: declared columns, placeholders, and what is out of range.

use lakemill_decode::{DeclaredColumn, DeclaredColumns, Form};
use lakemill_model::{DataType, Field};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Declared columns.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// Columns of the row. Columns of the records that are not here are left out.
    pub row: Vec<Column>,
    /// Columns of the key.
    #[serde(default)]
    pub key: Vec<Column>,
}

impl Declared {
    /// The columns for the decoder.
    pub fn columns(&self) -> DeclaredColumns {
        let columns = |list: &[Column]| list.iter().map(Column::declared).collect();
        DeclaredColumns { key: columns(&self.key), row: columns(&self.row) }
    }
}

/// A declared column.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// boolean, int32, int64, float32, float64, decimal(p,s), date, timestamp, text, bytes or json.
    #[serde(rename = "type")]
    #[schemars(with = "String")]
    pub data_type: DataType,
    /// False: a null is a dead letter.
    #[serde(default = "yes")]
    pub nullable: bool,
    /// How the source writes it. Timestamps: `s`, `ms`, `us`, `ns` since 1970, or `iso`. Dates: `days`, `iso`. Decimals: `number`, `text`,
    /// `base64`. Bytes: `base64`, `base64url`, `hex`. Left out: any form that cannot be taken for another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub form: Option<Form>,
    /// The first and the last year that days, or a timestamp of a unit, may be of, [1900, 2200] if left out: one that is of another year is
    /// more likely of another unit, and is a dead letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub years: Option<(i32, i32)>,
}

impl Column {
    fn declared(&self) -> DeclaredColumn {
        let field = Field::new(self.name.as_str(), self.data_type, self.nullable);
        DeclaredColumn { field, form: self.form, years: self.years.unwrap_or(DeclaredColumn::YEARS) }
    }

    /// Whether values are numbers of a unit that says nothing of itself.
    fn may_be_a_number(&self) -> bool {
        let are_days = self.data_type == DataType::Date && self.form != Some(Form::Iso);
        are_days || self.form.is_some_and(Form::is_unit)
    }

    /// Whether form and years fit the type and each other.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(form) = self.form {
            form.check(self.data_type)?;
        }
        match self.years {
            Some(_) if !self.may_be_a_number() => {
                Err("`years` is for timestamps with `form: s`, `ms`, `us` or `ns`, and for dates that are days, only"
                    .into())
            }
            Some((from, to)) if from > to => Err(format!("`years: [{from}, {to}]`: the first year comes first")),
            _ => Ok(()),
        }
    }
}

fn yes() -> bool {
    true
}

/// What becomes of a date or a timestamp that no reader of a table can read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutOfRange {
    /// It becomes 0001-01-01 or 9999-12-31, and is counted.
    #[default]
    Clamp,
    /// It becomes null, and is counted.
    Null,
    /// All dates and timestamps of the source become text columns: ISO 8601, `infinity`, `-infinity`.
    Text,
    /// Its record is a dead letter.
    Dead,
}

impl From<OutOfRange> for lakemill_model::OutOfRange {
    fn from(policy: OutOfRange) -> Self {
        match policy {
            OutOfRange::Clamp => Self::Clamp,
            OutOfRange::Null => Self::Null,
            OutOfRange::Text => Self::Text,
            OutOfRange::Dead => Self::Dead,
        }
    }
}

/// One text, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts(pub Vec<String>);

impl Serialize for Texts {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [text] => serializer.serialize_str(text),
            texts => texts.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> serde::de::Visitor<'de> for Visit {
            type Value = Texts;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text, or a list of texts")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts(vec![text.into()]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Texts, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(Texts(texts))
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

impl JsonSchema for Texts {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Texts".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]})
    }
}
