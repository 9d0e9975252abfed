//! Why a record is a dead letter.

use std::fmt;

use crate::convert::Refusal;
use crate::scan::Broken;

/// Why a record could not be decoded: what was expected, what came, where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not UTF-8.
    NotUtf8 {
        /// First byte that is not.
        at: usize,
    },
    /// Not JSON.
    NotJson {
        /// Where it breaks.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// No change event that this decoder knows: other JSON, or another encoding.
    NotAChange(String),
    /// A cell is not what its column takes.
    Cell {
        /// key, before or after.
        image: &'static str,
        /// Its column.
        column: String,
        /// What was expected, what came.
        what: String,
    },
    /// The schema part cannot be used.
    Schema(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NotUtf8 { at } => write!(f, "not UTF-8 from byte {at} on"),
            Reason::NotJson { at, what } => write!(f, "not JSON at byte {at}: {what}"),
            Reason::NotAChange(what) => f.write_str(what),
            Reason::Cell { image, column, what } => write!(f, "column {image}.{column}: {what}"),
            Reason::Schema(what) => f.write_str(what),
        }
    }
}

impl From<Broken> for Reason {
    fn from(broken: Broken) -> Self {
        Reason::NotJson { at: broken.at, what: broken.what }
    }
}

impl Reason {
    /// Says of a cell that its column's type was inferred, and what helps.
    pub(crate) fn inferred(mut self) -> Self {
        if let Reason::Cell { what, column, .. } = &mut self
            && column != "*"
            && !what.contains("declare the columns")
        {
            what.push_str(
                "; its type was inferred: declare the columns in `source.schema`, all of them, if it is to take this",
            );
        }
        self
    }

    pub(crate) fn cell(image: &'static str, column: &str, refusal: Refusal) -> Self {
        match refusal {
            Refusal::Broken(broken) => broken.into(),
            Refusal::Value(what) => Reason::Cell { image, column: column.to_owned(), what },
        }
    }
}
