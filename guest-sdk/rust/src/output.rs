//! The row view's output: structs whose fields are the columns that a transform makes. `#[derive(Output)]` writes the
//! impls; the values go straight into columns.

use std::borrow::Cow;

use crate::answer::Emission;
use crate::builder::{ColumnBuilder, Kind};
use crate::{Cell, DataType, Date, Decimal, Json, Op, OutputSpec, Reject, Renames, Timestamp};

/// A struct whose fields are the columns that a transform makes for a table, or an enum with a variant for each of
/// several tables. `#[derive(Output)]` implements it:
///
/// ```
/// # use lakemill_guest::Output;
/// #[derive(Output)]
/// #[output(name = "orders", key = ["id"], copy(row, except = ["note"]))]
/// struct Clean {
///     gross: f64,
///     #[output(rename = "mail")]
///     email: Option<String>,
/// }
/// ```
///
/// On the struct, or on an enum's variant:
/// - `name`: of the table; the struct's or the variant's name in snake case unless given.
/// - `key = ["id"]`: the columns that identify a row.
/// - `copy(IMAGE)`: the host copies all columns of `row`, `before`, `after`, `key` or `envelope`, but for those whose name
///   another column of the table has; `except = ["a"]` leaves out more, `prefix = "before_"` goes before each name.
/// - `copy(IMAGE, column = "op", name = "_op")`: the host copies one column.
/// - `made`: where the made columns stand among the copied ones; behind them unless given.
///
/// On a field: `rename = "gross total"`; `required` (no null, see below); `decimal(12, 2)`, which a [`Decimal`] must have.
///
/// Fields are bool, i32, i64, f32, f64, [`Decimal`], [`Date`], [`Timestamp`], `&str`, `String` or `[&str; N]` (text in
/// pieces, joined without an allocation), `&[u8]` or `Vec<u8>`, `Json<&str>` or `Json<String>`; each also as `Option<_>`
/// (null) and as [`Cell<_>`](Cell) (null or unchanged).
///
/// Made columns may be null, whatever their type: a delete of which the source told the key only has nothing to make them
/// of. Such a delete is rejected if it lacks a column of the table's key or one that is `required`.
///
/// An enum's variant without fields makes no columns; one with named fields makes those; one with a single unnamed field
/// is a struct that derives `Output` itself.
pub trait Output: Sized {
    /// The tables in the making.
    #[doc(hidden)]
    type Tables;

    /// What the description says of them.
    #[doc(hidden)]
    fn specs(renames: &Renames) -> Vec<OutputSpec>;

    /// Tables without rows.
    #[doc(hidden)]
    fn tables() -> Self::Tables;

    /// Refuses what its columns cannot hold.
    #[doc(hidden)]
    fn check(&self) -> Result<(), Reject>;

    /// Adds a row.
    #[doc(hidden)]
    fn push(self, tables: &mut Self::Tables, place: Place);

    /// Refuses a row without made columns if a column must not be null.
    #[doc(hidden)]
    fn check_bare() -> Result<(), Reject>;

    /// Adds a row without made columns to every table.
    #[doc(hidden)]
    fn push_bare(tables: &mut Self::Tables, place: Place);

    /// Adds an emission for each of the tables.
    #[doc(hidden)]
    fn finish(tables: Self::Tables, emissions: &mut Vec<Emission>);
}

/// Where an output row comes from.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub row: u32,
    pub op: Op,
    pub input_op: Op,
}

/// The rows of a table in the making, without its columns.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct TableRows {
    rows: Vec<u32>,
    ops: Vec<Op>,
    has_own_ops: bool,
}

impl TableRows {
    #[doc(hidden)]
    #[inline]
    pub fn push(&mut self, place: Place) {
        self.rows.push(place.row);
        self.ops.push(place.op);
        self.has_own_ops |= place.op != place.input_op;
    }

    #[doc(hidden)]
    pub fn finish(self, emissions: &mut Vec<Emission>, columns: Vec<crate::Column<'static>>) {
        let output = emissions.len() as u32;
        emissions.push(Emission { output, rows: self.rows, ops: self.has_own_ops.then_some(self.ops), columns });
    }
}

/// For a bare row that lacks a column.
#[doc(hidden)]
pub fn bare_lacks(table: &str, column: &str) -> Reject {
    Reject::new(format_args!(
        "the source told the key only, but a row of `{table}` must have `{column}` \
         (PostgreSQL: replica identity full tells the whole row)"
    ))
}

/// A value of a made column.
#[diagnostic::on_unimplemented(
    message = "an output's field cannot be `{Self}`",
    label = "no column is made of this",
    note = "a field is one of bool, i32, i64, f32, f64, Decimal, Date, Timestamp, &str, String, [&str; N], &[u8], Vec<u8>, Json<&str> and Json<String>, or an Option<_> or a Cell<_> of one of these",
    note = "an u64 can be made an i64 or a Decimal, a list or a map a Json<String>"
)]
pub trait CellOut {
    /// What the column is made of.
    #[doc(hidden)]
    type Kind: Kind + ?Sized;

    /// Its type; of a decimal, the one that is asked for.
    #[doc(hidden)]
    fn data_type(decimal: Option<(u8, u8)>) -> DataType {
        // The derive does not compile a decimal without its digits.
        let (precision, scale) = decimal.unwrap_or((38, 0));
        Self::DATA_TYPE.unwrap_or(DataType::Decimal { precision, scale })
    }

    /// None for a decimal.
    #[doc(hidden)]
    const DATA_TYPE: Option<DataType>;

    /// Refuses what a decimal column cannot hold.
    #[doc(hidden)]
    #[inline]
    fn check(&self, _column: &str, _decimal: Option<(u8, u8)>) -> Result<(), Reject> {
        Ok(())
    }

    /// Adds it to its column.
    #[doc(hidden)]
    fn push(self, builder: &mut ColumnBuilder<Self::Kind>, decimal: Option<(u8, u8)>);
}

/// A value, without the other two states.
#[diagnostic::on_unimplemented(
    message = "an output's field cannot be `{Self}`",
    label = "no column is made of this",
    note = "a field is one of bool, i32, i64, f32, f64, Decimal, Date, Timestamp, &str, String, [&str; N], &[u8], Vec<u8>, Json<&str> and Json<String>, or an Option<_> or a Cell<_> of one of these",
    note = "an u64 can be made an i64 or a Decimal, a list or a map a Json<String>"
)]
pub trait ValueOut {
    /// What the column is made of.
    #[doc(hidden)]
    type Kind: Kind + ?Sized;

    /// None for a decimal.
    #[doc(hidden)]
    const DATA_TYPE: Option<DataType>;

    /// Refuses what a decimal column cannot hold.
    #[doc(hidden)]
    #[inline]
    fn check(&self, _column: &str, _decimal: Option<(u8, u8)>) -> Result<(), Reject> {
        Ok(())
    }

    /// Adds it to its column.
    #[doc(hidden)]
    fn push(self, builder: &mut ColumnBuilder<Self::Kind>, decimal: Option<(u8, u8)>);
}

impl<V: ValueOut> CellOut for V {
    type Kind = V::Kind;
    const DATA_TYPE: Option<DataType> = V::DATA_TYPE;

    #[inline]
    fn check(&self, column: &str, decimal: Option<(u8, u8)>) -> Result<(), Reject> {
        ValueOut::check(self, column, decimal)
    }

    #[inline]
    fn push(self, builder: &mut ColumnBuilder<V::Kind>, decimal: Option<(u8, u8)>) {
        ValueOut::push(self, builder, decimal);
    }
}

impl<V: ValueOut> CellOut for Option<V> {
    type Kind = V::Kind;
    const DATA_TYPE: Option<DataType> = V::DATA_TYPE;

    #[inline]
    fn check(&self, column: &str, decimal: Option<(u8, u8)>) -> Result<(), Reject> {
        self.as_ref().map_or(Ok(()), |value| value.check(column, decimal))
    }

    #[inline]
    fn push(self, builder: &mut ColumnBuilder<V::Kind>, decimal: Option<(u8, u8)>) {
        match self {
            Some(value) => value.push(builder, decimal),
            None => builder.push_null(),
        }
    }
}

impl<V: ValueOut> CellOut for Cell<V> {
    type Kind = V::Kind;
    const DATA_TYPE: Option<DataType> = V::DATA_TYPE;

    #[inline]
    fn check(&self, column: &str, decimal: Option<(u8, u8)>) -> Result<(), Reject> {
        match self {
            Cell::Value(value) => value.check(column, decimal),
            Cell::Null | Cell::Unchanged => Ok(()),
        }
    }

    #[inline]
    fn push(self, builder: &mut ColumnBuilder<V::Kind>, decimal: Option<(u8, u8)>) {
        match self {
            Cell::Value(value) => value.push(builder, decimal),
            Cell::Null => builder.push_null(),
            Cell::Unchanged => builder.push_unchanged(),
        }
    }
}

macro_rules! values_out {
    ($($rust:ty: $kind:ty, $variant:ident, $value:ident => $push:expr;)*) => {$(
        impl ValueOut for $rust {
            type Kind = $kind;
            const DATA_TYPE: Option<DataType> = Some(DataType::$variant);

            #[inline]
            fn push(self, builder: &mut ColumnBuilder<$kind>, _: Option<(u8, u8)>) {
                let $value = self;
                builder.push($push);
            }
        }
    )*};
}

values_out! {
    bool: bool, Boolean, value => value;
    i32: i32, Int32, value => value;
    i64: i64, Int64, value => value;
    f32: f32, Float32, value => value;
    f64: f64, Float64, value => value;
    Date: Date, Date, value => value;
    Timestamp: Timestamp, Timestamp, value => value;
    &str: str, Text, value => value;
    String: str, Text, value => &value;
    Cow<'_, str>: str, Text, value => &value;
    &[u8]: [u8], Bytes, value => value;
    Vec<u8>: [u8], Bytes, value => &value;
    Json<&str>: Json<String>, Json, value => value.0;
    Json<String>: Json<String>, Json, value => &value.0;
}

/// Pieces of text, joined.
impl<const N: usize> ValueOut for [&str; N] {
    type Kind = str;
    const DATA_TYPE: Option<DataType> = Some(DataType::Text);

    #[inline]
    fn push(self, builder: &mut ColumnBuilder<str>, _: Option<(u8, u8)>) {
        builder.push_joined(&self);
    }
}

impl ValueOut for Decimal {
    type Kind = Decimal;
    const DATA_TYPE: Option<DataType> = None;

    fn check(&self, column: &str, decimal: Option<(u8, u8)>) -> Result<(), Reject> {
        let (precision, scale) = decimal.unwrap_or((38, 0));
        if self.rescale(scale).is_some_and(|value| value.fits(precision)) {
            return Ok(());
        }
        Err(Reject::new(format_args!("{self} does not fit into `{column}`, which is decimal({precision},{scale})")))
    }

    #[inline]
    fn push(self, builder: &mut ColumnBuilder<Decimal>, decimal: Option<(u8, u8)>) {
        // `check` has refused what does not fit.
        let (_, scale) = decimal.unwrap_or((38, 0));
        match self.rescale(scale) {
            Some(value) => builder.push(value),
            None => builder.push_null(),
        }
    }
}
