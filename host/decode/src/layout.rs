//! What the columns of a topic are and what is done with each. They come from a Connect schema part (`connect`), from the pipeline file
//! (`declared`), or from the records themselves (`infer`).

use std::collections::BTreeSet;
use std::sync::Arc;

use lakemill_model::{DataType, Field, OutOfRange, RowSchema};

use crate::convert::{Conversion, DecimalForm};

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
    /// Whether the database, schema and table of `source` are read.
    pub origins: bool,
}

impl Projection {
    /// Everything.
    pub fn all() -> Self {
        Self {
            key: Columns::All,
            before: Columns::All,
            after: Columns::All,
            row: Columns::All,
            positions: true,
            origins: true,
        }
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

    /// A column whose type was inferred: nobody has said that its numbers may be rounded, or that text in it is a number.
    pub fn inferred(field: Field) -> Self {
        let conversion = match field.data_type {
            DataType::Float64 => Conversion::Exact,
            DataType::Decimal { .. } => Conversion::Decimal(DecimalForm::Number),
            other => Conversion::of(other),
        };
        Self::new(field, conversion)
    }

    /// The column under a policy: where dates and timestamps of all times are kept, it is text.
    #[must_use]
    pub fn under(mut self, policy: OutOfRange) -> Self {
        let is_time = matches!(self.field.data_type, DataType::Date | DataType::Timestamp);
        if policy == OutOfRange::Text && is_time {
            self.field.data_type = DataType::Text;
        }
        self
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
    /// Why the schema part gives no columns: a record with it is no change, or it cannot be read.
    pub unreadable: Option<String>,
}

impl Layout {
    pub fn new(key: Vec<Slot>, row: Vec<Slot>) -> Self {
        let fields = |slots: &[Slot]| slots.iter().map(|slot| slot.field.clone()).collect();
        let schema = Arc::new(RowSchema { key: fields(&key), row: fields(&row) });
        Self { schema, key, row, grows: false, checked: false, unreadable: None }
    }

    /// The layout of columns that were inferred; it grows.
    pub fn inferred(schema: &RowSchema) -> Self {
        let slots = |fields: &[Field]| fields.iter().cloned().map(Slot::inferred).collect();
        Self { grows: true, ..Self::new(slots(&schema.key), slots(&schema.row)) }
    }
}
