//! The three states of a cell, and the typed view of a column. Borrows everything, copies nothing; see `batch` for where
//! the columns come from.

use std::borrow::Cow;
use std::fmt;

use crate::column::{Values, VarLength, bit};
use crate::{Column, Date, Decimal, Timestamp};

/// A cell is in one of three states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cell<T> {
    /// It has a value.
    Value(T),
    /// It is null.
    #[default]
    Null,
    /// The source did not send it, because the change left it as it was (PostgreSQL TOAST and its kin).
    Unchanged,
}

impl<T> Cell<T> {
    /// The value, if it has one; null and unchanged are both none.
    pub fn value(self) -> Option<T> {
        match self {
            Cell::Value(value) => Some(value),
            Cell::Null | Cell::Unchanged => None,
        }
    }

    /// The same state with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Cell<U> {
        match self {
            Cell::Value(value) => Cell::Value(change(value)),
            Cell::Null => Cell::Null,
            Cell::Unchanged => Cell::Unchanged,
        }
    }

    /// The same state, its value borrowed.
    pub fn as_ref(&self) -> Cell<&T> {
        match self {
            Cell::Value(value) => Cell::Value(value),
            Cell::Null => Cell::Null,
            Cell::Unchanged => Cell::Unchanged,
        }
    }

    /// The same state, its value lent as what it derefs to: `Cell<String>` as `Cell<&str>`.
    pub fn as_deref(&self) -> Cell<&T::Target>
    where
        T: std::ops::Deref,
    {
        self.as_ref().map(|value| &**value)
    }

    /// True if the source did not send it.
    pub fn is_unchanged(&self) -> bool {
        matches!(self, Cell::Unchanged)
    }

    /// True if it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Cell::Null)
    }
}

impl<T> From<Option<T>> for Cell<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Cell::Null, Cell::Value)
    }
}

/// One JSON value as text: `Json<&str>` of a column, `Json<String>` to make one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Json<T>(
    /// The text.
    pub T,
);

impl<T: AsRef<str>> fmt::Display for Json<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_ref())
    }
}

/// Text whose UTF-8 has been checked as a whole.
#[derive(Clone, Copy, Debug)]
pub struct TextSlices<'b> {
    offsets: &'b [u32],
    data: &'b str,
}

/// What a column cannot be read as.
#[derive(Debug)]
pub enum Misfit {
    /// It holds another type.
    Type,
    /// Its text is not UTF-8.
    Utf8,
}

/// A type that the cells of a column are read as: bool, i32, i64, f32, f64, [`Decimal`], [`Date`], [`Timestamp`], `&str`,
/// `&[u8]` and [`Json`].
///
/// A wider type reads a narrower column: i64 an int32; [`Decimal`] int32 and int64; f64 every number, as the nearest double;
/// `&str` and [`Json`] both text and json.
pub trait CellType<'b>: Copy {
    /// The borrowed layout.
    #[doc(hidden)]
    type Slices: Copy;

    /// For messages.
    #[doc(hidden)]
    const NAME: &'static str;

    /// Borrows a column. `scale` is that of a decimal.
    #[doc(hidden)]
    fn slices(column: &'b Column<'_>, scale: u8) -> Result<Self::Slices, Misfit>;

    /// The value of a row, which is there: its column was checked to be long enough by whoever made it.
    #[doc(hidden)]
    fn at(slices: &Self::Slices, row: usize) -> Self;

    /// The values of a narrower column as `slices` wants them.
    #[doc(hidden)]
    fn widen(_values: &Values<'_>, _scale: u8) -> Option<Values<'static>> {
        None
    }
}

/// A column of a batch, read as `T`. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Cells<'b, T: CellType<'b>> {
    values: T::Slices,
    validity: Option<&'b [u8]>,
    unchanged: Option<&'b [u8]>,
}

impl<'b, T: CellType<'b>> Cells<'b, T> {
    pub(crate) fn open(column: &'b Column<'_>, scale: u8) -> Result<Self, Misfit> {
        Ok(Self {
            values: T::slices(column, scale)?,
            validity: column.validity.as_deref(),
            unchanged: column.unchanged.as_deref(),
        })
    }

    /// The cell of a row.
    ///
    /// # Panics
    /// If the batch has no such row.
    #[inline]
    pub fn get(&self, row: usize) -> Cell<T> {
        if self.unchanged.is_some_and(|bits| bit(bits, row)) {
            Cell::Unchanged
        } else if self.validity.is_some_and(|bits| !bit(bits, row)) {
            Cell::Null
        } else {
            Cell::Value(T::at(&self.values, row))
        }
    }

    /// The value of a row; none where the cell is null or unchanged.
    ///
    /// # Panics
    /// If the batch has no such row.
    #[inline]
    pub fn value(&self, row: usize) -> Option<T> {
        self.get(row).value()
    }
}

macro_rules! fixed {
    ($($rust:ty: $name:literal, $variant:ident, $slice:ty, $at:expr, $widen:expr;)*) => {$(
        impl<'b> CellType<'b> for $rust {
            type Slices = &'b [$slice];
            const NAME: &'static str = $name;

            #[inline]
            fn slices(column: &'b Column<'_>, _scale: u8) -> Result<Self::Slices, Misfit> {
                match &column.values {
                    Values::$variant(values) => Ok(values),
                    _ => Err(Misfit::Type),
                }
            }

            #[inline]
            fn at(slices: &Self::Slices, row: usize) -> Self {
                let at: fn(&[$slice], usize) -> $rust = $at;
                at(slices, row)
            }

            fn widen(values: &Values<'_>, scale: u8) -> Option<Values<'static>> {
                let widen: fn(&Values<'_>, u8) -> Option<Vec<$slice>> = $widen;
                widen(values, scale).map(|values| Values::$variant(Cow::Owned(values)))
            }
        }
    )*};
}

fixed! {
    bool: "boolean", Boolean, u8, bit, |_, _| None;
    i32: "int32", Int32, i32, |values, row| values[row], |_, _| None;
    i64: "int64", Int64, i64, |values, row| values[row], |values, _| integers(values);
    f32: "float32", Float32, f32, |values, row| values[row], |_, _| None;
    f64: "float64", Float64, f64, |values, row| values[row], doubles;
    Date: "date", Date, i32, |values, row| Date::from_days(values[row]), |_, _| None;
    Timestamp: "timestamp", Timestamp, i64, |values, row| Timestamp::from_micros(values[row]), |_, _| None;
}

fn integers(values: &Values<'_>) -> Option<Vec<i64>> {
    match values {
        Values::Int32(values) => Some(values.iter().copied().map(i64::from).collect()),
        _ => None,
    }
}

fn doubles(values: &Values<'_>, scale: u8) -> Option<Vec<f64>> {
    match values {
        Values::Int32(values) => Some(values.iter().copied().map(f64::from).collect()),
        Values::Int64(values) => Some(values.iter().map(|value| *value as f64).collect()),
        Values::Float32(values) => Some(values.iter().copied().map(f64::from).collect()),
        Values::Decimal(bytes) => {
            Some(bytes.chunks_exact(16).map(|bytes| Decimal::new(unscaled(bytes), scale).to_f64()).collect())
        }
        _ => None,
    }
}

fn unscaled(bytes: &[u8]) -> i128 {
    let mut value = [0; 16];
    value.copy_from_slice(bytes);
    i128::from_le_bytes(value)
}

impl<'b> CellType<'b> for Decimal {
    type Slices = (&'b [u8], u8);
    const NAME: &'static str = "decimal";

    fn slices(column: &'b Column<'_>, scale: u8) -> Result<Self::Slices, Misfit> {
        match &column.values {
            Values::Decimal(values) => Ok((values, scale)),
            _ => Err(Misfit::Type),
        }
    }

    #[inline]
    fn at((values, scale): &Self::Slices, row: usize) -> Self {
        Decimal::new(unscaled(&values[row * 16..row * 16 + 16]), *scale)
    }

    /// The widened column has scale 0, which is what the caller then passes.
    fn widen(values: &Values<'_>, _scale: u8) -> Option<Values<'static>> {
        let integers = match values {
            Values::Int64(values) => Cow::Borrowed(&**values),
            other => Cow::Owned(integers(other)?),
        };
        let bytes = integers.iter().flat_map(|value| i128::from(*value).to_le_bytes()).collect();
        Some(Values::Decimal(Cow::Owned(bytes)))
    }
}

impl<'b> CellType<'b> for &'b str {
    type Slices = TextSlices<'b>;
    const NAME: &'static str = "text";

    fn slices(column: &'b Column<'_>, _scale: u8) -> Result<Self::Slices, Misfit> {
        let (Values::Text(VarLength { offsets, data }) | Values::Json(VarLength { offsets, data })) = &column.values
        else {
            return Err(Misfit::Type);
        };
        Ok(TextSlices { offsets, data: std::str::from_utf8(data).map_err(|_| Misfit::Utf8)? })
    }

    #[inline]
    fn at(slices: &Self::Slices, row: usize) -> Self {
        &slices.data[slices.offsets[row] as usize..slices.offsets[row + 1] as usize]
    }
}

impl<'b> CellType<'b> for Json<&'b str> {
    type Slices = TextSlices<'b>;
    const NAME: &'static str = "json";

    fn slices(column: &'b Column<'_>, scale: u8) -> Result<Self::Slices, Misfit> {
        <&str>::slices(column, scale)
    }

    #[inline]
    fn at(slices: &Self::Slices, row: usize) -> Self {
        Json(<&str>::at(slices, row))
    }
}

impl<'b> CellType<'b> for &'b [u8] {
    type Slices = (&'b [u32], &'b [u8]);
    const NAME: &'static str = "bytes";

    fn slices(column: &'b Column<'_>, _scale: u8) -> Result<Self::Slices, Misfit> {
        match &column.values {
            Values::Bytes(VarLength { offsets, data }) => Ok((offsets, data)),
            _ => Err(Misfit::Type),
        }
    }

    #[inline]
    fn at((offsets, data): &Self::Slices, row: usize) -> Self {
        &data[offsets[row] as usize..offsets[row + 1] as usize]
    }
}
