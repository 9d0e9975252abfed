//! Columns from the pipeline file: a type, and the form in which the source writes it, since Debezium has several for most types and JSON
//! does not tell them apart.

use lakemill_model::{DataType, Field, OutOfRange, RowSchema};
use serde::{Deserialize, Serialize};

use crate::convert::{Conversion, DateForm, DecimalForm, Encoding, TimestampForm, UNITS, YEARS_BELIEVED};
use crate::layout::{Layout, Slot};

/// In which form a source writes the values of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// ISO 8601 text: dates and timestamps.
    Iso,
    /// Days since 1970: dates.
    Days,
    /// Seconds since 1970: timestamps.
    S,
    /// Milliseconds since 1970: timestamps.
    Ms,
    /// Microseconds since 1970: timestamps.
    Us,
    /// Nanoseconds since 1970: timestamps.
    Ns,
    /// JSON numbers: decimals.
    Number,
    /// Text: decimals.
    Text,
    /// Base64: bytes, and decimals as two's complements.
    Base64,
    /// Base64 with `-` and `_`: bytes.
    Base64Url,
    /// Hexadecimal digits: bytes.
    Hex,
}

impl Form {
    const ALL: [(&str, Form); 11] = [
        ("iso", Form::Iso),
        ("days", Form::Days),
        ("s", Form::S),
        ("ms", Form::Ms),
        ("us", Form::Us),
        ("ns", Form::Ns),
        ("number", Form::Number),
        ("text", Form::Text),
        ("base64", Form::Base64),
        ("base64url", Form::Base64Url),
        ("hex", Form::Hex),
    ];

    /// Whether values of a type can have it.
    ///
    /// # Errors
    /// Which forms they can have.
    pub fn check(self, data_type: DataType) -> Result<(), String> {
        if self.conversion(data_type, YEARS_BELIEVED).is_some() {
            return Ok(());
        }
        let fits = |form: Form| form.conversion(data_type, YEARS_BELIEVED).is_some();
        let names: Vec<_> = Self::ALL.iter().filter(|(_, form)| fits(*form)).map(|(name, _)| *name).collect();
        let name = Self::ALL.iter().find(|(_, form)| *form == self).map_or("", |(name, _)| name);
        Err(match names.is_empty() {
            true => format!("a {data_type} has one form only: leave `form: {name}` out"),
            false => format!("`{name}` is not a form of a {data_type}: write {}", names.join(", ")),
        })
    }

    /// Whether it is a number of a unit that says nothing of itself.
    pub fn is_unit(self) -> bool {
        matches!(self, Form::S | Form::Ms | Form::Us | Form::Ns)
    }

    fn conversion(self, data_type: DataType, years: (i32, i32)) -> Option<Conversion> {
        let unit = |name: &str| {
            let nanos = UNITS.iter().find(|(unit, _)| *unit == name)?.1;
            Some(Conversion::Timestamp(TimestampForm::Declared { nanos, years }))
        };
        Some(match (data_type, self) {
            (DataType::Date, Form::Iso) => Conversion::Date(DateForm::Iso),
            (DataType::Date, Form::Days) => Conversion::Date(DateForm::Declared(years)),
            (DataType::Timestamp, Form::Iso) => Conversion::Timestamp(TimestampForm::Iso),
            (DataType::Timestamp, Form::S) => return unit("s"),
            (DataType::Timestamp, Form::Ms) => return unit("ms"),
            (DataType::Timestamp, Form::Us) => return unit("us"),
            (DataType::Timestamp, Form::Ns) => return unit("ns"),
            (DataType::Decimal { .. }, Form::Number) => Conversion::Decimal(DecimalForm::Number),
            (DataType::Decimal { .. }, Form::Text) => Conversion::Decimal(DecimalForm::Text),
            (DataType::Decimal { .. }, Form::Base64) => Conversion::Decimal(DecimalForm::Base64(0)),
            (DataType::Bytes, Form::Base64) => Conversion::Binary(Encoding::Base64),
            (DataType::Bytes, Form::Base64Url) => Conversion::Binary(Encoding::Base64Url),
            (DataType::Bytes, Form::Hex) => Conversion::Binary(Encoding::Hex),
            _ => return None,
        })
    }
}

/// A declared column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredColumn {
    /// Name, type, and whether it may be null.
    pub field: Field,
    /// In which form its values are; `None`: in any that cannot be taken for another one.
    pub form: Option<Form>,
    /// The first and the last year that is believed of a number that is a date or a timestamp.
    pub years: (i32, i32),
}

impl DeclaredColumn {
    /// The years that are believed if nobody says others: from 1900 to 2200.
    pub const YEARS: (i32, i32) = YEARS_BELIEVED;

    fn slot(&self) -> Slot {
        let given = self.form.and_then(|form| form.conversion(self.field.data_type, self.years));
        let any = || match self.field.data_type {
            DataType::Date => Conversion::Date(DateForm::Either(self.years)),
            other => Conversion::of(other),
        };
        Slot::new(self.field.clone(), given.unwrap_or_else(any))
    }
}

impl From<Field> for DeclaredColumn {
    fn from(field: Field) -> Self {
        Self { field, form: None, years: Self::YEARS }
    }
}

/// The declared columns of a topic's records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeclaredColumns {
    /// Of the key.
    pub key: Vec<DeclaredColumn>,
    /// Of the row.
    pub row: Vec<DeclaredColumn>,
}

impl From<RowSchema> for DeclaredColumns {
    fn from(schema: RowSchema) -> Self {
        let columns = |fields: Vec<Field>| fields.into_iter().map(DeclaredColumn::from).collect();
        Self { key: columns(schema.key), row: columns(schema.row) }
    }
}

impl DeclaredColumns {
    /// The layout of their values; `nullable: false` is checked.
    pub(crate) fn layout(&self, policy: OutOfRange) -> Layout {
        let slots = |columns: &[DeclaredColumn]| columns.iter().map(|column| column.slot().under(policy)).collect();
        Layout { checked: true, ..Layout::new(slots(&self.key), slots(&self.row)) }
    }
}
