//! What goes wrong in a transform: an error stops the pipeline at its last commit, a rejection sends one row to the dead
//! letters.

use std::fmt;

use crate::Image;

/// Why a batch cannot be transformed: it stops the pipeline at its last commit. To refuse single rows, see [`Reject`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The batch has no such column.
    NoColumn {
        /// Where it was looked for.
        image: Image,
        /// Its name.
        column: String,
    },
    /// The column holds another type.
    WrongType {
        /// Where it lives.
        image: Image,
        /// Its name.
        column: String,
        /// What the transform reads it as.
        wanted: &'static str,
        /// What it holds.
        found: &'static str,
    },
    /// What the host gave is not what the contract promises.
    BadBatch(String),
    /// What the transform itself has to say.
    Other(String),
}

impl Error {
    /// The transform's own message.
    pub fn new(message: impl fmt::Display) -> Self {
        Error::Other(message.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoColumn { image, column } => write!(f, "the input has no column `{column}` in `{image}`"),
            Error::WrongType { image, column, wanted, found } => write!(
                f,
                "column `{column}` of `{image}` is {found}, but the transform reads it as {wanted}; \
                 change the type in the transform's code, or declare the column's type: under `source.schema` in the pipeline \
                 file, under `schema` in a case"
            ),
            Error::BadBatch(what) => write!(f, "the host broke the contract: {what}"),
            Error::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {}

/// Why a single row is refused: it goes to the dead letters with its raw bytes, the others go on. The host cuts it at 1,024 bytes.
///
/// Of a function that returns a `Result<_, Reject>`: any error becomes one by `?`, [`reject!`](crate::reject) leaves the function with
/// one (it is a `return` in itself, so that nothing is written around it), and [`Reject::new`] makes one to be handed on.
///
/// ```
/// # use lakemill_guest::{Reject, reject};
/// fn quantity(text: &str) -> Result<i64, Reject> {
///     let quantity: i64 = text.parse()?;
///     if quantity < 0 {
///         reject!("the quantity is {quantity}");
///     }
///     Some(quantity).filter(|quantity| *quantity < 1_000).ok_or_else(|| Reject::new("more than there are"))
/// }
/// assert_eq!(quantity("-3"), Err(Reject::new("the quantity is -3")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    reason: String,
}

impl Reject {
    /// For the person who reads the dead letters.
    pub fn new(reason: impl fmt::Display) -> Self {
        Self { reason: reason.to_string() }
    }

    /// Why.
    pub fn into_reason(self) -> String {
        self.reason
    }
}

impl<E: std::error::Error> From<E> for Reject {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

/// Leaves the function with a [`Reject`]: `reject!("total is {}", order.total);`. It is a `return`: do not write `Err(…)` around it.
#[macro_export]
macro_rules! reject {
    ($($message:tt)*) => {
        return ::core::result::Result::Err($crate::Reject::new(::core::format_args!($($message)*)))
    };
}
