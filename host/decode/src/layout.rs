//! What the columns of a topic are and what is done with each: from a Connect schema part, from the pipeline file, or from
//! the records themselves.

use std::collections::BTreeSet;
use std::sync::Arc;

use lakemill_model::{DataType, Field, RowSchema};
use serde_json::Value;

use crate::convert::{Conversion, whole};
use crate::scan::{Broken, Cursor, Kind};

/// Columns of an image that somebody reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Columns {
    /// None of them.
    #[default]
    None,
    /// All of them.
    All,
    /// These.
    Some(BTreeSet<String>),
}

impl Columns {
    /// True if the column is one of them.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Columns::None => false,
            Columns::All => true,
            Columns::Some(names) => names.contains(name),
        }
    }

    /// Adds a column.
    pub fn add(&mut self, name: &str) {
        match self {
            Columns::All => {}
            Columns::None => *self = Columns::Some([name.to_owned()].into()),
            Columns::Some(names) => drop(names.insert(name.to_owned())),
        }
    }
}

/// What somebody reads; the rest is not decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    /// Columns of the key.
    pub key: Columns,
    /// Columns of `before`.
    pub before: Columns,
    /// Columns of `after`.
    pub after: Columns,
    /// Columns of `row`: of `after`, and of `before` only where that is the row.
    pub row: Columns,
    /// Whether source positions are read.
    pub positions: bool,
}

impl Projection {
    /// Everything.
    pub fn all() -> Self {
        Self { key: Columns::All, before: Columns::All, after: Columns::All, row: Columns::All, positions: true }
    }
}

/// A column and what is done with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slot {
    pub field: Field,
    pub conversion: Conversion,
    /// The name in quotes, as a converter writes it.
    pub quoted: Box<str>,
}

impl Slot {
    pub fn new(field: Field, conversion: Conversion) -> Self {
        let quoted = serde_json::to_string(&*field.name).expect("a name is text").into();
        Self { field, conversion, quoted }
    }

    pub fn plain(field: Field) -> Self {
        Self::new(field, Conversion::Plain)
    }
}

/// The columns of a topic's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub schema: Arc<RowSchema>,
    pub key: Vec<Slot>,
    pub row: Vec<Slot>,
    /// A column that is not here makes the layout grow (inferred layouts); otherwise it is left out.
    pub grows: bool,
    /// `nullable: false` is a promise of the pipeline file that is to be checked.
    pub checked: bool,
}

impl Layout {
    pub fn new(key: Vec<Slot>, row: Vec<Slot>) -> Self {
        let fields = |slots: &[Slot]| slots.iter().map(|slot| slot.field.clone()).collect();
        let schema = Arc::new(RowSchema { key: fields(&key), row: fields(&row) });
        Self { schema, key, row, grows: false, checked: false }
    }

    /// The layout of plain JSON values of these types.
    pub fn plain(schema: &RowSchema) -> Self {
        let slots = |fields: &[Field]| fields.iter().cloned().map(Slot::plain).collect();
        Self::new(slots(&schema.key), slots(&schema.row))
    }
}

/// The row's columns from the schema part of an envelope.
pub(crate) fn row_slots(schema: &Value) -> Result<Vec<Slot>, String> {
    let fields = schema["fields"].as_array().ok_or("its schema part has no fields")?;
    let image = |name: &str| fields.iter().find(|field| field["field"] == name);
    let row = image("after").or_else(|| image("before")).ok_or("its schema part has neither before nor after")?;
    slots(row)
}

/// The columns of a struct in a schema part.
pub(crate) fn slots(of: &Value) -> Result<Vec<Slot>, String> {
    let fields = of["fields"].as_array().ok_or("its schema part has a struct without fields")?;
    fields.iter().map(slot).collect()
}

/// A column from its Connect schema: type, semantic name, parameters.
pub(crate) fn slot(of: &Value) -> Result<Slot, String> {
    let name = of["field"].as_str().unwrap_or("key");
    let connect = of["type"].as_str().ok_or_else(|| format!("its schema part gives column {name} no type"))?;
    let semantic = of["name"].as_str().unwrap_or_default();
    let (data_type, conversion) = typed(connect, semantic, of)
        .ok_or_else(|| format!("its schema part gives column {name} the unknown type {connect}"))?;
    let nullable = of["optional"].as_bool().unwrap_or(false);
    Ok(Slot::new(Field::new(name, data_type, nullable), conversion))
}

/// The table of types; names from Debezium's `io.debezium.time`, `io.debezium.data` and Connect's logical types.
fn typed(connect: &str, semantic: &str, of: &Value) -> Option<(DataType, Conversion)> {
    use Conversion::{Base64, Base64Decimal, Plain, TimeOf, TimestampOf, VariableScale, WideDecimal};
    use DataType::{Boolean, Bytes, Date, Float32, Float64, Int32, Int64, Json, Text, Timestamp};
    let (milli, micro, nano) = (1_000_000, 1_000, 1);
    let decimal = || {
        let parameter = |name: &str| of["parameters"][name].as_str().and_then(|text| text.parse::<u8>().ok());
        let scale = parameter("scale")?;
        let precision = parameter("connect.decimal.precision").unwrap_or(38);
        Some(if (1..=38).contains(&precision) && scale <= precision {
            (DataType::Decimal { precision, scale }, Base64Decimal)
        } else {
            (Text, WideDecimal(u16::from(scale)))
        })
    };
    Some(match (connect, semantic) {
        ("int32", "io.debezium.time.Date" | "org.apache.kafka.connect.data.Date") => (Date, Plain),
        ("int64", "io.debezium.time.Timestamp" | "org.apache.kafka.connect.data.Timestamp") => {
            (Timestamp, TimestampOf(milli))
        }
        ("int64", "io.debezium.time.MicroTimestamp") => (Timestamp, TimestampOf(micro)),
        ("int64", "io.debezium.time.NanoTimestamp") => (Timestamp, TimestampOf(nano)),
        ("string", "io.debezium.time.ZonedTimestamp") => (Timestamp, Plain),
        ("int32", "io.debezium.time.Time" | "org.apache.kafka.connect.data.Time") => (Int64, TimeOf(milli)),
        ("int64", "io.debezium.time.MicroTime") => (Int64, TimeOf(micro)),
        ("int64", "io.debezium.time.NanoTime") => (Int64, TimeOf(nano)),
        ("string", "io.debezium.data.Json") => (Json, Plain),
        ("bytes", "org.apache.kafka.connect.data.Decimal") => return decimal(),
        ("struct", "io.debezium.data.VariableScaleDecimal") => (Text, VariableScale),
        ("boolean", _) => (Boolean, Plain),
        ("int8" | "int16" | "int32", _) => (Int32, Plain),
        ("int64", _) => (Int64, Plain),
        ("float" | "float32", _) => (Float32, Plain),
        ("double" | "float64", _) => (Float64, Plain),
        ("string", _) => (Text, Plain),
        ("bytes", _) => (Bytes, Base64),
        ("struct" | "array" | "map", _) => (Json, Plain),
        _ => return None,
    })
}

/// The type that a value shows; `None` for null.
pub(crate) fn shown(cursor: &mut Cursor<'_>) -> Result<Option<DataType>, Broken> {
    let kind = cursor.kind()?;
    let text = cursor.skip()?;
    Ok(match kind {
        Kind::Null => None,
        Kind::Bool => Some(DataType::Boolean),
        Kind::Text => Some(DataType::Text),
        Kind::Object | Kind::Array => Some(DataType::Json),
        Kind::Number if whole(text).is_some() => Some(DataType::Int64),
        Kind::Number if text.bytes().all(|b| b == b'-' || b.is_ascii_digit()) => {
            Some(DataType::Decimal { precision: 38, scale: 0 })
        }
        Kind::Number => Some(DataType::Float64),
    })
}

/// Columns that values have shown, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown(pub Vec<Field>);

impl Shown {
    /// Adds what an object shows; other values show one column of the name `key`.
    pub fn add(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Broken> {
        if cursor.kind()? != Kind::Object {
            if let Some(data_type) = shown(cursor)? {
                self.column("key", data_type);
            }
            return Ok(());
        }
        let mut members = cursor.object()?;
        while let Some(name) = cursor.member(&mut members)? {
            if let Some(data_type) = shown(cursor)? {
                self.column(&name, data_type);
            }
        }
        Ok(())
    }

    fn column(&mut self, name: &str, data_type: DataType) {
        self.merge(Field::new(name, data_type, true));
    }

    /// Adds a column that something else has shown.
    pub fn merge(&mut self, more: Field) {
        let data_type = more.data_type;
        match self.0.iter_mut().find(|field| field.name == more.name) {
            // A number that is whole by chance: 12 and 12.5 are both float64.
            Some(field) if field.data_type == DataType::Int64 && data_type == DataType::Float64 => {
                field.data_type = DataType::Float64;
            }
            Some(_) => {}
            None => self.0.push(more),
        }
    }
}
