//! Calls of a transform that fails on some of its rows: with those that it can do, and without the others.

use std::sync::Arc;

use lakemill_model::{Answer, BatchClock, ChangeBatch, TransformError};
use lakemill_state::{Cut, Death, Piece};

use crate::bisect::{Found, TooMany, bisect};
use crate::version::BoundTransform;

/// One call with all rows.
///
/// # Errors
/// If it fails.
pub(crate) fn whole(
    bound: &BoundTransform,
    batch: &Arc<ChangeBatch>,
    clock: BatchClock,
) -> Result<Vec<Called>, TransformError> {
    let answer = bound.transform.transform(batch, clock)?;
    Ok(vec![Called { batch: batch.clone(), outcome: Ok(answer) }])
}

/// One call in the end, and what came of it.
pub(crate) struct Called {
    /// The rows of the call; one if it is dead.
    pub batch: Arc<ChangeBatch>,
    pub outcome: Result<Answer, Death>,
}

/// Finds the rows that a transform fails on, after it failed on all of `batch` with `error`; also as the pieces of a
/// [`Cut`].
///
/// # Errors
/// If there are more than `dead_max`.
pub(crate) fn isolate(
    bound: &BoundTransform,
    batch: &Arc<ChangeBatch>,
    clock: BatchClock,
    error: TransformError,
    dead_max: u32,
) -> Result<(Vec<Called>, Vec<Piece>), TooMany<TransformError>> {
    let call = |rows: std::ops::Range<u32>| {
        let part = part(batch, rows);
        let answer = bound.transform.transform(&part, clock)?;
        Ok((part, answer))
    };
    let found = bisect(batch.len() as u32, error, dead_max, call)?;
    let (mut called, mut pieces) = (Vec::new(), Vec::new());
    for one in found {
        match one {
            Found::Answer(rows, (batch, answer)) => {
                pieces.push(Piece { rows: rows.end - rows.start, dead: None });
                called.push(Called { batch, outcome: Ok(answer) });
            }
            Found::Dead(row, error) => {
                let death = Death { reason: error.reason(), backtrace: error.backtrace().map(str::to_owned) };
                pieces.push(Piece { rows: 1, dead: Some(death.clone()) });
                called.push(Called { batch: part(batch, row..row + 1), outcome: Err(death) });
            }
        }
    }
    Ok((called, pieces))
}

/// Does again what came of [`isolate`] in an earlier run.
///
/// # Errors
/// If a call fails that went well then.
pub(crate) fn again(
    bound: &BoundTransform,
    batch: &Arc<ChangeBatch>,
    clock: BatchClock,
    cut: &Cut,
) -> Result<Vec<Called>, TransformError> {
    let (mut called, mut next) = (Vec::new(), 0);
    for piece in &cut.pieces {
        let part = part(batch, next..next + piece.rows);
        next += piece.rows;
        let outcome = match &piece.dead {
            Some(death) => Err(death.clone()),
            None => Ok(bound.transform.transform(&part, clock)?),
        };
        called.push(Called { batch: part, outcome });
    }
    Ok(called)
}

fn part(batch: &Arc<ChangeBatch>, rows: std::ops::Range<u32>) -> Arc<ChangeBatch> {
    if rows.len() == batch.len() {
        return batch.clone();
    }
    Arc::new(batch.select(&rows.collect::<Vec<_>>()))
}
