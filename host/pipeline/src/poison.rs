//! Calls of a transform that fails on some of its rows: with those that it can do, and without the others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lakemill_model::{Answer, BatchClock, ChangeBatch, TransformError};
use lakemill_state::{Death, Piece};

use crate::bisect::{Found, GivenUp, bisect};
use crate::version::BoundTransform;

/// The least time in which guilty rows are looked for.
const PATIENCE_MIN: Duration = Duration::from_secs(60);

/// And as many calls as the first one that failed: one row that never ends has its limit in all calls that it is in, which are
/// log2(n).
const PATIENCE_CALLS: u32 = 20;

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

/// A call that failed.
pub(crate) struct Failure {
    pub error: TransformError,
    pub took: Duration,
}

/// Why guilty rows were not found.
pub(crate) enum Unsolved {
    /// There are more than are allowed; the last one's error.
    TooMany(TransformError),
    /// It takes longer than this.
    TooLong(Duration),
    /// The run ends.
    Ending,
}

/// Finds the rows that a transform fails on, after it failed on all of `batch`; also as the pieces of a
/// [`Cut`](lakemill_state::Cut). `ending` says whether the run comes to its end.
///
/// # Errors
/// If there are more than `dead_max`, or it takes too long.
pub(crate) fn isolate(
    bound: &BoundTransform,
    batch: &Arc<ChangeBatch>,
    clock: BatchClock,
    Failure { error, took }: Failure,
    dead_max: u32,
    ending: &dyn Fn() -> bool,
) -> Result<(Vec<Called>, Vec<Piece>), Unsolved> {
    let (started, patience) = (Instant::now(), PATIENCE_MIN.max(took.saturating_mul(PATIENCE_CALLS)));
    let call = |rows: std::ops::Range<u32>| {
        if ending() {
            return Err(Unsolved::Ending);
        }
        if started.elapsed() > patience {
            return Err(Unsolved::TooLong(patience));
        }
        let part = part(batch, rows);
        Ok(bound.transform.transform(&part, clock).map(|answer| (part, answer)))
    };
    let found = bisect(batch.len() as u32, error, dead_max, call).map_err(|given_up| match given_up {
        GivenUp::TooMany { error, .. } => Unsolved::TooMany(error),
        GivenUp::Stopped(unsolved) => unsolved,
    })?;
    let record = |row: u32| batch.envelope.records[row as usize];
    let (mut called, mut pieces) = (Vec::new(), Vec::new());
    for one in found {
        match one {
            Found::Answer(rows, (batch, answer)) => {
                pieces.push(Piece { record: record(rows.start), dead: None });
                called.push(Called { batch, outcome: Ok(answer) });
            }
            Found::Dead(row, error) => {
                let death = Death { reason: error.reason(), backtrace: error.backtrace().map(str::to_owned) };
                pieces.push(Piece { record: record(row), dead: Some(death.clone()) });
                called.push(Called { batch: part(batch, row..row + 1), outcome: Err(death) });
            }
        }
    }
    Ok((called, pieces))
}

/// Does again what came of [`isolate`] in an earlier run: `pieces`, by their records, may be those of other rows, too.
///
/// # Errors
/// If a call fails that went well then.
pub(crate) fn again<'a>(
    bound: &BoundTransform,
    batch: &Arc<ChangeBatch>,
    clock: BatchClock,
    piece: impl Fn(u32) -> Option<&'a Piece>,
) -> Result<Vec<Called>, TransformError> {
    let (records, mut called, mut from) = (&batch.envelope.records, Vec::new(), 0);
    while from < records.len() {
        let dead = piece(records[from]).and_then(|piece| piece.dead.as_ref());
        let rest = &records[from + 1..];
        let end = match dead {
            Some(_) => from + 1,
            None => from + 1 + rest.iter().position(|record| piece(*record).is_some()).unwrap_or(rest.len()),
        };
        let part = part(batch, from as u32..end as u32);
        let outcome = match dead {
            Some(death) => Err(death.clone()),
            None => Ok(bound.transform.transform(&part, clock)?),
        };
        called.push(Called { batch: part, outcome });
        from = end;
    }
    Ok(called)
}

fn part(batch: &Arc<ChangeBatch>, rows: std::ops::Range<u32>) -> Arc<ChangeBatch> {
    if rows.len() == batch.len() {
        return batch.clone();
    }
    Arc::new(batch.select(&rows.collect::<Vec<_>>()))
}
