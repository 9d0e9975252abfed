//! What a transform makes of one change, in the row view. Only carried here; `output` turns it into columns.

use crate::output::{Output, Place};
use crate::{Op, Reject};

/// What comes out of one change: nothing, one row, or several; each with the op of the change unless
/// [`with_op`](Self::with_op) says otherwise.
#[derive(Clone, Debug)]
#[must_use]
pub struct Emit<O> {
    rows: Rows<O>,
}

#[derive(Clone, Debug)]
enum Rows<O> {
    None,
    One(Option<Op>, O),
    /// A row without made columns, in every output of `O`.
    Bare(Option<Op>),
    Many(Vec<Emit<O>>),
}

impl<O: Output> Emit<O> {
    /// Nothing: the change is filtered out.
    pub fn none() -> Self {
        Self { rows: Rows::None }
    }

    /// One row.
    pub fn one(output: O) -> Self {
        Self { rows: Rows::One(None, output) }
    }

    /// One row whose made columns are null, in every output of `O`: a delete that knows its key only, or a truncate.
    pub fn bare() -> Self {
        Self { rows: Rows::Bare(None) }
    }

    /// Several rows, in this order.
    pub fn many(outputs: impl IntoIterator<Item = O>) -> Self {
        Self { rows: Rows::Many(outputs.into_iter().map(Emit::one).collect()) }
    }

    /// The rows of this one, then those of the other.
    pub fn and(self, other: Self) -> Self {
        let mut rows = match self.rows {
            Rows::None => return other,
            Rows::Many(rows) => rows,
            one => vec![Self { rows: one }],
        };
        rows.push(other);
        Self { rows: Rows::Many(rows) }
    }

    /// Gives every row this op.
    pub fn with_op(self, op: Op) -> Self {
        Self {
            rows: match self.rows {
                Rows::None => Rows::None,
                Rows::One(_, output) => Rows::One(Some(op), output),
                Rows::Bare(_) => Rows::Bare(Some(op)),
                Rows::Many(rows) => Rows::Many(rows.into_iter().map(|emit| emit.with_op(op)).collect()),
            },
        }
    }

    /// Checks everything before anything is pushed, so that a rejected row leaves nothing behind.
    pub(crate) fn check(&self) -> Result<(), Reject> {
        match &self.rows {
            Rows::None => Ok(()),
            Rows::One(_, output) => output.check(),
            Rows::Bare(_) => O::check_bare(),
            Rows::Many(rows) => rows.iter().try_for_each(Emit::check),
        }
    }

    pub(crate) fn push(self, tables: &mut O::Tables, row: u32, op: Op) {
        let place = |own: Option<Op>| Place { row, op: own.unwrap_or(op), input_op: op };
        match self.rows {
            Rows::None => {}
            Rows::One(own, output) => output.push(tables, place(own)),
            Rows::Bare(own) => O::push_bare(tables, place(own)),
            Rows::Many(rows) => rows.into_iter().for_each(|emit| emit.push(tables, row, op)),
        }
    }
}

impl<O: Output> From<O> for Emit<O> {
    fn from(output: O) -> Self {
        Self::one(output)
    }
}

/// What a transform may return: [`Emit`], an `Option` (none: filtered out), a `Vec`, or a `Result` of one of these with
/// a [`Reject`].
pub trait IntoEmit {
    /// What it writes.
    type Output: Output;

    /// As an [`Emit`].
    ///
    /// # Errors
    /// If the row is to be rejected.
    fn into_emit(self) -> Result<Emit<Self::Output>, Reject>;
}

impl<O: Output> IntoEmit for Emit<O> {
    type Output = O;

    #[inline]
    fn into_emit(self) -> Result<Emit<O>, Reject> {
        Ok(self)
    }
}

impl<O: Output> IntoEmit for Option<O> {
    type Output = O;

    #[inline]
    fn into_emit(self) -> Result<Emit<O>, Reject> {
        Ok(self.map_or_else(Emit::none, Emit::one))
    }
}

impl<O: Output> IntoEmit for Vec<O> {
    type Output = O;

    fn into_emit(self) -> Result<Emit<O>, Reject> {
        Ok(Emit::many(self))
    }
}

impl<E: IntoEmit> IntoEmit for Result<E, Reject> {
    type Output = E::Output;

    #[inline]
    fn into_emit(self) -> Result<Emit<E::Output>, Reject> {
        self?.into_emit()
    }
}
