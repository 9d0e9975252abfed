//! The row view's input: structs whose fields are columns. `#[derive(Row)]` writes the impls; the cells are read where
//! they lie.

use std::fmt;

use crate::cell::{CellType, Cells};
use crate::{Batch, Cell, Date, Decimal, Error, Image, Json, Reads, Renames, Timestamp};

/// A struct whose fields are columns. `#[derive(Row)]` implements it; `()` has no columns.
///
/// | field type | null | unchanged | no such column |
/// |---|---|---|---|
/// | `T` | rejected | rejected | rejected |
/// | `T` with `#[row(default)]` | `T::default()` | rejected | `T::default()` |
/// | `Option<T>` | `None` | rejected | `None` |
/// | `Cell<T>` | `Null` | `Unchanged` | `Null` |
///
/// `T` is bool, i32, i64, f32, f64, [`Decimal`], [`Date`], [`Timestamp`], `&str` or `String`, `&[u8]` or `Vec<u8>`,
/// [`Json<&str>`](Json) or `Json<String>`. "Rejected": the input row goes to the dead letters with a reason that names
/// the column. [`CellType`] says which columns each type can read.
///
/// `#[row(rename = "order id")]` reads a column of another name.
pub trait Row<'b>: Sized {
    /// Its columns in a batch.
    #[doc(hidden)]
    type Slots;

    /// The names of its columns.
    #[doc(hidden)]
    const COLUMNS: &'static [&'static str];

    /// Asks for its columns.
    #[doc(hidden)]
    fn open(batch: &'b Batch<'_>, image: Image, renames: &Renames) -> Result<Self::Slots, Error>;

    /// Reads a row.
    #[doc(hidden)]
    fn read(slots: &Self::Slots, row: usize) -> Result<Self, Lack>;
}

/// Some [`Row`], whatever it borrows from: what a method can ask for without tying the lifetimes of a change together.
#[doc(hidden)]
pub trait IsRow {}

impl IsRow for () {}

impl<'b> Row<'b> for () {
    type Slots = ();
    const COLUMNS: &'static [&'static str] = &[];

    fn open(_: &'b Batch<'_>, _: Image, _: &Renames) -> Result<(), Error> {
        Ok(())
    }

    fn read((): &(), _: usize) -> Result<(), Lack> {
        Ok(())
    }
}

/// What `description.reads` says of a row's columns.
pub(crate) fn reads<'b, R: Row<'b>>(image: Image, renames: &Renames) -> impl Iterator<Item = Reads> {
    R::COLUMNS.iter().map(move |name| Reads::Column(image, renames.name(name).to_owned()))
}

/// Stands for the row before the change where a transform does without it: `Change<Order, Unread>`. Then the host need
/// not even decode it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread;

/// What a transform reads of the row before the change: a [`Row`], or [`Unread`].
pub trait Before<'b>: Sized {
    /// Its columns in a batch.
    #[doc(hidden)]
    type Slots;

    /// What `description.reads` says of it.
    #[doc(hidden)]
    fn reads(renames: &Renames) -> Vec<Reads>;

    /// Asks for its columns.
    #[doc(hidden)]
    fn open(batch: &'b Batch<'_>, renames: &Renames) -> Result<Self::Slots, Error>;

    /// Reads a row; none where the source did not tell it, or not completely.
    #[doc(hidden)]
    fn read(slots: &Self::Slots, batch: &Batch<'_>, row: usize) -> Option<Self>;
}

impl<'b, R: Row<'b>> Before<'b> for R {
    type Slots = R::Slots;

    fn reads(renames: &Renames) -> Vec<Reads> {
        reads::<R>(Image::Before, renames).collect()
    }

    fn open(batch: &'b Batch<'_>, renames: &Renames) -> Result<Self::Slots, Error> {
        R::open(batch, Image::Before, renames)
    }

    #[inline]
    fn read(slots: &Self::Slots, batch: &Batch<'_>, row: usize) -> Option<Self> {
        if batch.has(Image::Before, row) { R::read(slots, row).ok() } else { None }
    }
}

impl<'b> Before<'b> for Unread {
    type Slots = ();

    fn reads(_: &Renames) -> Vec<Reads> {
        Vec::new()
    }

    fn open(_: &'b Batch<'_>, _: &Renames) -> Result<(), Error> {
        Ok(())
    }

    #[inline]
    fn read((): &(), _: &Batch<'_>, _: usize) -> Option<Self> {
        None
    }
}

/// Why a field of a row cannot be filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack {
    /// The column's name in the transform's code.
    pub column: &'static str,
    /// What it is instead of a value.
    pub instead: Instead,
}

/// What a cell is instead of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instead {
    /// The batch has no such column.
    Missing,
    /// It is null.
    Null,
    /// The source did not send it.
    Unchanged,
}

impl Lack {
    /// For the dead letter, by the column's name in the data.
    pub(crate) fn reason(self, renames: &Renames) -> String {
        format!("column `{}` {}", renames.name(self.column), self.instead)
    }
}

impl fmt::Display for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Instead::Missing => "does not exist, but the transform needs it",
            Instead::Null => "is null, but the transform needs a value",
            Instead::Unchanged => {
                "was not sent, because the change left it as it was; a transform that can do without it reads it as \
                 Cell<_>, and a database set to tell old values (PostgreSQL: replica identity full) sends it"
            }
        })
    }
}

/// A type of a row's field.
#[diagnostic::on_unimplemented(
    message = "a row's field cannot be `{Self}`",
    label = "no column is read as this",
    note = "a field is one of bool, i32, i64, f32, f64, Decimal, Date, Timestamp, &str, String, &[u8], Vec<u8>, Json<&str> and Json<String>, or an Option<_> or a Cell<_> of one of these",
    note = "what has another type in Rust is made of one of these in the transform: an u64 of an i64, a list of a Json<&str>"
)]
pub trait FromCell<'b>: Sized {
    /// What its column is read as.
    #[doc(hidden)]
    type Cell: CellType<'b>;

    /// From a cell.
    #[doc(hidden)]
    fn from_cell(cell: Cell<Self::Cell>) -> Result<Self, Instead>;

    /// In place of a column that the batch does not have.
    #[doc(hidden)]
    fn missing() -> Result<Self, Instead> {
        Err(Instead::Missing)
    }
}

/// The column of a row's field.
#[doc(hidden)]
pub struct Slot<'b, F: FromCell<'b>> {
    cells: Option<Cells<'b, F::Cell>>,
}

impl<'b, F: FromCell<'b>> Slot<'b, F> {
    #[doc(hidden)]
    pub fn open(batch: &'b Batch<'_>, image: Image, name: &str) -> Result<Self, Error> {
        Ok(Self { cells: batch.column_if_any(image, name)? })
    }

    #[doc(hidden)]
    #[inline]
    pub fn read(&self, row: usize, column: &'static str) -> Result<F, Lack> {
        let value = match &self.cells {
            Some(cells) => F::from_cell(cells.get(row)),
            None => F::missing(),
        };
        value.map_err(|instead| Lack { column, instead })
    }

    #[doc(hidden)]
    #[inline]
    pub fn read_or_default(&self, row: usize, column: &'static str) -> Result<F, Lack>
    where
        F: Default,
    {
        match self.read(row, column) {
            Err(Lack { instead: Instead::Missing | Instead::Null, .. }) => Ok(F::default()),
            read => read,
        }
    }
}

/// A value that a cell holds, borrowed or owned.
#[diagnostic::on_unimplemented(
    message = "a row's field cannot be `{Self}`",
    label = "no column is read as this",
    note = "a field is one of bool, i32, i64, f32, f64, Decimal, Date, Timestamp, &str, String, &[u8], Vec<u8>, Json<&str> and Json<String>, or an Option<_> or a Cell<_> of one of these",
    note = "what has another type in Rust is made of one of these in the transform: an u64 of an i64, a list of a Json<&str>"
)]
pub trait CellValue<'b>: Sized {
    /// What its column is read as.
    #[doc(hidden)]
    type Cell: CellType<'b>;

    /// From what the column holds.
    #[doc(hidden)]
    fn of(value: Self::Cell) -> Self;
}

macro_rules! cell_values {
    ($($rust:ty: $cell:ty, $value:ident => $of:expr;)*) => {$(
        impl<'b> CellValue<'b> for $rust {
            type Cell = $cell;

            #[inline]
            fn of($value: $cell) -> Self {
                $of
            }
        }
    )*};
}

cell_values! {
    bool: bool, value => value;
    i32: i32, value => value;
    i64: i64, value => value;
    f32: f32, value => value;
    f64: f64, value => value;
    Decimal: Decimal, value => value;
    Date: Date, value => value;
    Timestamp: Timestamp, value => value;
    &'b str: &'b str, value => value;
    String: &'b str, value => value.to_owned();
    &'b [u8]: &'b [u8], value => value;
    Vec<u8>: &'b [u8], value => value.to_vec();
    Json<&'b str>: Json<&'b str>, value => value;
    Json<String>: Json<&'b str>, value => Json(value.0.to_owned());
}

impl<'b, V: CellValue<'b>> FromCell<'b> for V {
    type Cell = V::Cell;

    #[inline]
    fn from_cell(cell: Cell<V::Cell>) -> Result<Self, Instead> {
        match cell {
            Cell::Value(value) => Ok(V::of(value)),
            Cell::Null => Err(Instead::Null),
            Cell::Unchanged => Err(Instead::Unchanged),
        }
    }
}

impl<'b, V: CellValue<'b>> FromCell<'b> for Option<V> {
    type Cell = V::Cell;

    #[inline]
    fn from_cell(cell: Cell<V::Cell>) -> Result<Self, Instead> {
        match cell {
            Cell::Value(value) => Ok(Some(V::of(value))),
            Cell::Null => Ok(None),
            Cell::Unchanged => Err(Instead::Unchanged),
        }
    }

    fn missing() -> Result<Self, Instead> {
        Ok(None)
    }
}

impl<'b, V: CellValue<'b>> FromCell<'b> for Cell<V> {
    type Cell = V::Cell;

    #[inline]
    fn from_cell(cell: Cell<V::Cell>) -> Result<Self, Instead> {
        Ok(cell.map(V::of))
    }

    fn missing() -> Result<Self, Instead> {
        Ok(Cell::Null)
    }
}
