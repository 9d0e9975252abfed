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
    let answer = bound.call(batch, clock)?;
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
        let mut answer = bound.call(&part, clock);
        if part.len() == 1 && matches!(answer, Err(TransformError::Limit { .. })) {
            // Time is the machine's as well: where that stood still, the row is innocent.
            answer = bound.call(&part, clock);
        }
        Ok(answer.map(|answer| (part, answer)))
    };
    let found = bisect(batch.len() as u32, error, dead_max, call).map_err(|given_up| match given_up {
        GivenUp::TooMany { error, .. } => Unsolved::TooMany(error),
        GivenUp::Stopped(unsolved) => unsolved,
    })?;
    let piece = |row: u32, dead| {
        let (row, envelope) = (row as usize, &batch.envelope);
        Piece { partition: envelope.partitions[row], offset: envelope.offsets[row], dead }
    };
    let (mut called, mut pieces) = (Vec::new(), Vec::new());
    for one in found {
        match one {
            Found::Answer(rows, (batch, answer)) => {
                pieces.push(piece(rows.start, None));
                called.push(Called { batch, outcome: Ok(answer) });
            }
            Found::Dead(row, error) => {
                let death = Death { reason: error.reason(), backtrace: error.backtrace().map(str::to_owned) };
                pieces.push(piece(row, Some(death.clone())));
                called.push(Called { batch: part(batch, row..row + 1), outcome: Err(death) });
            }
        }
    }
    Ok((called, pieces))
}

/// Does again what came of [`isolate`] in an earlier run: `piece` has what begins at a partition and offset, and may have what begins at
/// other rows than these, too.
///
/// # Errors
/// If a call fails that went well then.
pub(crate) fn again<'a>(
    bound: &BoundTransform,
    batch: &Arc<ChangeBatch>,
    clock: BatchClock,
    piece: impl Fn(i32, i64) -> Option<&'a Piece>,
) -> Result<Vec<Called>, TransformError> {
    let at = |row: usize| piece(batch.envelope.partitions[row], batch.envelope.offsets[row]);
    let (mut called, mut from) = (Vec::new(), 0);
    while from < batch.len() {
        let dead = at(from).and_then(|piece| piece.dead.as_ref());
        let end = match dead {
            Some(_) => from + 1,
            None => (from + 1..batch.len()).find(|row| at(*row).is_some()).unwrap_or(batch.len()),
        };
        let part = part(batch, from as u32..end as u32);
        let outcome = match dead {
            Some(death) => Err(death.clone()),
            None => Ok(bound.call(&part, clock)?),
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use lakemill_decode::{Decoder, DecoderConfig};
    use lakemill_model::{Description, RawBatch, RecordRef};

    use super::*;

    /// Fails on some ids; remembers the rows of each call that went well.
    #[derive(Debug)]
    struct Picky {
        description: Description,
        fails_on: Vec<u32>,
        calls: Mutex<Vec<Vec<u32>>>,
    }

    impl lakemill_model::Transform for Picky {
        fn description(&self) -> &Description {
            &self.description
        }

        fn digest(&self) -> &str {
            ""
        }

        fn transform(&self, batch: &Arc<ChangeBatch>, _: BatchClock) -> Result<Answer, TransformError> {
            if batch.envelope.records.iter().any(|record| self.fails_on.contains(record)) {
                return Err(TransformError::Guest("no".into()));
            }
            self.calls.lock().expect("no panic").push(batch.envelope.records.clone());
            Ok(Answer::default())
        }
    }

    fn batch(records: u32) -> Arc<ChangeBatch> {
        let mut raw = RawBatch::default();
        for offset in 0..records {
            let value = format!(r#"{{"op":"c","after":{{"id":{offset}}}}}"#);
            let value = Some(value.as_bytes());
            let offset = i64::from(offset);
            raw.push(RecordRef { topic: "t", partition: 0, offset, key: None, value, timestamp_ms: None });
        }
        let decoder = Decoder::new(DecoderConfig::default(), Box::new(|_, schema| Ok(schema)));
        let mut decoded = decoder.decode(&raw).expect("decodes");
        Arc::new(decoded.batches.remove(0))
    }

    fn bound(fails_on: &[u32]) -> (BoundTransform, Arc<Picky>) {
        let description = Description {
            name: "picky".into(),
            version: "1".into(),
            outputs: Vec::new(),
            reads: Vec::new(),
            config_schema: None,
        };
        let picky = Arc::new(Picky { description, fails_on: fails_on.to_vec(), calls: Mutex::default() });
        (BoundTransform { transform: picky.clone(), outputs: Vec::new() }, picky)
    }

    fn shown(called: &[Called]) -> Vec<(Vec<u32>, bool)> {
        called.iter().map(|one| (one.batch.envelope.records.clone(), one.outcome.is_ok())).collect()
    }

    const CLOCK: BatchClock = BatchClock { now_us: 0, watermark_us: None };

    fn isolated(bound: &BoundTransform, batch: &Arc<ChangeBatch>, ending: bool) -> Result<Vec<Piece>, Unsolved> {
        let failure = Failure { error: TransformError::Guest("no".into()), took: Duration::ZERO };
        isolate(bound, batch, CLOCK, failure, 9, &|| ending).map(|(_, pieces)| pieces)
    }

    #[test]
    fn a_replay_makes_the_same_calls() {
        let batch = batch(10);
        let (guilty, first) = bound(&[3, 7]);
        let pieces = isolated(&guilty, &batch, false).unwrap_or_else(|_| panic!("two rows"));
        // It fails on nothing any more: what was dead stays so.
        let (mended, replay) = bound(&[]);
        let find = |_, offset| pieces.iter().find(|piece| piece.offset == offset);
        let called = again(&mended, &batch, CLOCK, find).expect("goes well");
        let dead: Vec<_> = shown(&called).into_iter().filter(|(_, lives)| !lives).collect();
        assert_eq!(dead, [(vec![3], false), (vec![7], false)]);
        let mut calls = first.calls.lock().expect("no panic").clone();
        calls.sort();
        assert_eq!(*replay.calls.lock().expect("no panic"), calls);
    }

    #[test]
    fn a_replay_that_decodes_to_other_batches_loses_no_row() {
        let (guilty, _) = bound(&[3, 7]);
        let pieces = isolated(&guilty, &batch(10), false).unwrap_or_else(|_| panic!("two rows"));
        let find = |_, offset| pieces.iter().find(|piece| piece.offset == offset);
        let (mended, _) = bound(&[]);
        for part in [batch(4), batch(20)] {
            let called = again(&mended, &part, CLOCK, find).expect("goes well");
            let rows: Vec<u32> = shown(&called).into_iter().flat_map(|(rows, _)| rows).collect();
            assert_eq!(rows, part.envelope.records);
            let dead: Vec<_> =
                shown(&called).into_iter().filter(|(_, lives)| !lives).map(|(rows, _)| rows[0]).collect();
            assert_eq!(dead, [3, 7].into_iter().filter(|row| *row < part.len() as u32).collect::<Vec<_>>());
        }
    }

    /// A machine that stands still for the call of all rows and the first ones after it.
    #[derive(Debug)]
    struct Stalls {
        description: Description,
        calls_left: Mutex<u32>,
    }

    impl lakemill_model::Transform for Stalls {
        fn description(&self) -> &Description {
            &self.description
        }

        fn digest(&self) -> &str {
            ""
        }

        fn transform(&self, _: &Arc<ChangeBatch>, _: BatchClock) -> Result<Answer, TransformError> {
            let mut left = self.calls_left.lock().expect("no panic");
            if *left == 0 {
                return Ok(Answer::default());
            }
            *left -= 1;
            Err(TransformError::Limit { limit: "1000 ms".into(), hint: String::new(), backtrace: None })
        }
    }

    #[test]
    fn a_row_whose_time_ran_out_is_tried_again_before_it_is_dead() {
        let (picky, _) = bound(&[]);
        for (rows, calls, dead) in [(1, 1, 0), (1, 2, 1), (2, 1, 0), (2, 2, 1)] {
            let description = picky.transform.description().clone();
            let transform = Arc::new(Stalls { description, calls_left: Mutex::new(calls) });
            let pieces = isolated(&BoundTransform { transform, outputs: Vec::new() }, &batch(rows), false);
            let pieces = pieces.unwrap_or_else(|_| panic!("few rows"));
            let found = pieces.iter().filter(|piece| piece.dead.is_some()).count();
            assert_eq!(found, dead, "{rows} rows, {calls} calls without time after the first one");
        }
    }

    #[test]
    fn a_search_ends_with_the_run() {
        let (guilty, _) = bound(&[3]);
        assert!(matches!(isolated(&guilty, &batch(10), true), Err(Unsolved::Ending)));
    }
}
