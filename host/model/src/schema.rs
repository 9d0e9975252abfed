//! Types and schemas: what a column holds, in the words of the contract (wit/types.wit).

use std::fmt;
use std::sync::Arc;

use arrow_schema as arrow;
use serde::{Deserialize, Serialize};

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// Arrow Boolean, Delta boolean.
    Boolean,
    /// Arrow Int32, Delta integer.
    Int32,
    /// Arrow Int64, Delta long.
    Int64,
    /// Arrow Float32, Delta float.
    Float32,
    /// Arrow Float64, Delta double.
    Float64,
    /// Arrow Decimal128, Delta decimal; 1 <= precision <= 38, scale <= precision.
    Decimal {
        /// All digits.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// Arrow Date32 (days since 1970-01-01), Delta date.
    Date,
    /// Arrow Timestamp(microsecond, "UTC"), Delta timestamp.
    Timestamp,
    /// Arrow Utf8, Delta string.
    Text,
    /// Arrow Binary, Delta binary.
    Bytes,
    /// One JSON value as text: Arrow Utf8, Delta string.
    Json,
}

impl DataType {
    /// The most digits of a decimal: Arrow's Decimal128, and Delta's.
    pub const DECIMAL_PRECISION_MAX: u8 = 38;

    /// All types but the decimals.
    pub const PLAIN: [DataType; 10] = [
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

    /// The Arrow type that holds it everywhere in the host.
    pub fn to_arrow(self) -> arrow::DataType {
        match self {
            DataType::Boolean => arrow::DataType::Boolean,
            DataType::Int32 => arrow::DataType::Int32,
            DataType::Int64 => arrow::DataType::Int64,
            DataType::Float32 => arrow::DataType::Float32,
            DataType::Float64 => arrow::DataType::Float64,
            DataType::Decimal { precision, scale } => {
                arrow::DataType::Decimal128(precision, i8::try_from(scale).unwrap_or(i8::MAX))
            }
            DataType::Date => arrow::DataType::Date32,
            DataType::Timestamp => arrow::DataType::Timestamp(arrow::TimeUnit::Microsecond, Some("UTC".into())),
            DataType::Text | DataType::Json => arrow::DataType::Utf8,
            DataType::Bytes => arrow::DataType::Binary,
        }
    }
}

/// The notation of pipeline files: `int64`, `decimal(12,2)`, …
impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DataType::Boolean => "boolean",
            DataType::Int32 => "int32",
            DataType::Int64 => "int64",
            DataType::Float32 => "float32",
            DataType::Float64 => "float64",
            DataType::Decimal { precision, scale } => return write!(f, "decimal({precision},{scale})"),
            DataType::Date => "date",
            DataType::Timestamp => "timestamp",
            DataType::Text => "text",
            DataType::Bytes => "bytes",
            DataType::Json => "json",
        })
    }
}

/// The error is for the person who wrote the type.
impl std::str::FromStr for DataType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(found) = Self::PLAIN.into_iter().find(|t| t.to_string() == text) {
            return Ok(found);
        }
        let decimal = || {
            let (precision, scale) = text.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
            let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
            (1..=Self::DECIMAL_PRECISION_MAX).contains(&precision).then_some(())?;
            (scale <= precision).then_some(DataType::Decimal { precision, scale })
        };
        decimal().ok_or_else(|| {
            format!(
                "`{text}` is not a type; write boolean, int32, int64, float32, float64, date, timestamp, text, \
                 bytes, json or decimal(precision,scale) with 1 <= precision <= 38 and scale <= precision"
            )
        })
    }
}

impl Serialize for DataType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DataType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A named, typed column.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Field {
    /// Its name.
    pub name: Arc<str>,
    /// Its type.
    #[serde(rename = "type")]
    pub data_type: DataType,
    /// False if no cell may be null.
    pub nullable: bool,
}

impl Field {
    /// A field.
    pub fn new(name: impl Into<Arc<str>>, data_type: DataType, nullable: bool) -> Self {
        Self { name: name.into(), data_type, nullable }
    }

    /// The Arrow field.
    pub fn to_arrow(&self) -> arrow::Field {
        arrow::Field::new(&*self.name, self.data_type.to_arrow(), self.nullable)
    }
}

/// The columns that the changes of one topic have: those of the key, and those of `before`, `after` and `row`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RowSchema {
    /// The Kafka key's columns; empty for a null key.
    pub key: Vec<Field>,
    /// The row's columns, in the source's order.
    pub row: Vec<Field>,
}

impl RowSchema {
    /// The place of a row column.
    pub fn row_index(&self, name: &str) -> Option<usize> {
        self.row.iter().position(|f| &*f.name == name)
    }

    /// The place of a key column.
    pub fn key_index(&self, name: &str) -> Option<usize> {
        self.key.iter().position(|f| &*f.name == name)
    }
}

/// The columns of an output table, and those that identify a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchema {
    /// In the table's order.
    pub fields: Vec<Field>,
    /// Names out of `fields`; empty if no column identifies a row.
    pub key: Vec<Arc<str>>,
}

impl TableSchema {
    /// The Arrow schema.
    pub fn to_arrow(&self) -> arrow::SchemaRef {
        Arc::new(arrow::Schema::new(self.fields.iter().map(Field::to_arrow).collect::<Vec<_>>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_they_are_written() {
        for text in ["boolean", "int64", "decimal(12,2)", "decimal(38,38)", "timestamp", "json"] {
            assert_eq!(text.parse::<DataType>().expect(text).to_string(), text);
        }
        for text in ["int", "decimal(39,0)", "decimal(0,0)", "decimal(2,3)", "decimal", "Text"] {
            assert!(text.parse::<DataType>().is_err(), "{text}");
        }
    }
}
