//! Finds the rows that a transform fails on: halves the failing batch until they stand alone. Pure but for the call.

use std::ops::Range;

/// What became of rows that stand next to each other.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<A, E> {
    /// One call survived with them.
    Answer(Range<u32>, A),
    /// No call survives with this row.
    Dead(u32, E),
}

/// Why not all guilty rows were found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum GivenUp<E, S> {
    /// More rows are dead than anybody wants to know of.
    TooMany {
        /// How many were found by then.
        dead: u32,
        /// The last one's error.
        error: E,
    },
    /// The caller does not want to go on.
    Stopped(S),
}

enum Work<A, E> {
    Done(Found<A, E>),
    /// A call with these failed.
    Failed(Range<u32>, E),
    /// A call with more than these failed, and the others are innocent.
    Suspect(Range<u32>),
}

/// Cuts `0..rows`, on which a call has failed with `error`, into pieces that answer and rows that are dead; in order. Gives up
/// once more than `dead_max` rows are dead.
///
/// One guilty row among n costs at most 2·log2(n) calls: where a half goes well, the other one must be what fails, and is
/// not called as a whole. Several guilty rows are found together and share the calls above where they part.
///
/// `call` answers, or fails, or wants to hear no more.
///
/// # Errors
/// [`GivenUp`].
pub(crate) fn bisect<A, E, S>(
    rows: u32,
    error: E,
    dead_max: u32,
    mut call: impl FnMut(Range<u32>) -> Result<Result<A, E>, S>,
) -> Result<Vec<Found<A, E>>, GivenUp<E, S>> {
    let (mut found, mut dead) = (Vec::new(), 0);
    // The leftmost on top. A row that came alone has had one try, as nobody else has: it gets another one.
    let mut work = vec![if rows == 1 { Work::Suspect(0..rows) } else { Work::Failed(0..rows, error) }];
    while let Some(next) = work.pop() {
        let range = match next {
            Work::Done(done) => {
                found.push(done);
                continue;
            }
            Work::Failed(range, error) if range.len() <= 1 => {
                dead += 1;
                if dead > dead_max {
                    return Err(GivenUp::TooMany { dead, error });
                }
                found.push(Found::Dead(range.start, error));
                continue;
            }
            // Alone it may be innocent, too: then what failed was the number of rows.
            Work::Suspect(range) if range.len() <= 1 => {
                work.push(tried(range, &mut call)?);
                continue;
            }
            Work::Failed(range, _) | Work::Suspect(range) => range,
        };
        let middle = range.start + (range.end - range.start) / 2;
        let left = tried(range.start..middle, &mut call)?;
        work.push(match left {
            Work::Done(_) => Work::Suspect(middle..range.end),
            _ => tried(middle..range.end, &mut call)?,
        });
        work.push(left);
    }
    Ok(found)
}

fn tried<A, E, S>(
    range: Range<u32>,
    call: &mut impl FnMut(Range<u32>) -> Result<Result<A, E>, S>,
) -> Result<Work<A, E>, GivenUp<E, S>> {
    Ok(match call(range.clone()).map_err(GivenUp::Stopped)? {
        Ok(answer) => Work::Done(Found::Answer(range, answer)),
        Err(error) => Work::Failed(range, error),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bisects with guilty rows; returns the dead ones and the number of calls.
    fn run(rows: u32, guilty: &[u32], rows_max: u32) -> (Vec<u32>, u32) {
        let mut calls = 0;
        let found = bisect(rows, "whole", u32::MAX, |range| {
            calls += 1;
            let bad = guilty.iter().any(|row| range.contains(row)) || range.len() as u32 > rows_max;
            Ok::<_, ()>(if bad { Err("part") } else { Ok(range.start) })
        });
        let (mut next, mut dead) = (0, Vec::new());
        for one in found.expect("no bound") {
            let range = match one {
                Found::Answer(range, start) => {
                    assert_eq!(range.start, start);
                    range
                }
                Found::Dead(row, _) => {
                    dead.push(row);
                    row..row + 1
                }
            };
            assert_eq!(range.start, next, "pieces follow each other");
            next = range.end;
        }
        assert_eq!(next, rows);
        (dead, calls)
    }

    #[test]
    fn one_guilty_row_costs_twice_the_logarithm() {
        for rows in [1u32, 2, 3, 7, 100, 1_000, 100_000] {
            let at_most = (2.0 * f64::from(rows).log2()).floor() as u32;
            for guilty in [0, 1.min(rows - 1), rows / 3, rows / 2, rows.saturating_sub(2), rows - 1] {
                let (dead, calls) = run(rows, &[guilty], u32::MAX);
                // One row cannot be cut: it is tried again.
                assert_eq!(dead, [guilty]);
                assert!(calls <= at_most.max(1), "{rows} rows, row {guilty}: {calls} > {at_most}");
            }
        }
    }

    #[test]
    fn a_batch_that_is_only_too_large_has_no_guilty_row() {
        let (dead, calls) = run(1_000, &[], 300);
        assert_eq!(dead, [0_u32; 0]);
        assert!(calls < 40, "{calls}");
    }

    #[test]
    fn a_row_that_came_alone_and_fails_once_is_not_dead() {
        assert_eq!(
            bisect(1, "the machine stood still", 9, |_| Ok::<_, ()>(Ok::<_, &str>(7))),
            Ok(vec![Found::Answer(0..1, 7)])
        );
    }

    #[test]
    fn it_gives_up_on_rows_that_are_all_guilty() {
        let mut calls = 0;
        let found = bisect(100_000, 0, 10, |_| {
            calls += 1;
            Ok::<_, ()>(Err::<(), _>(calls))
        });
        assert!(matches!(found, Err(GivenUp::TooMany { dead: 11, .. })), "{found:?}");
        assert!(calls < 100, "{calls}");
    }

    #[test]
    fn it_stops_when_it_is_told() {
        let mut calls = 0;
        let found = bisect(100_000, (), 10, |_| {
            calls += 1;
            if calls == 7 { Err("enough") } else { Ok(Err::<(), _>(())) }
        });
        assert_eq!((found, calls), (Err(GivenUp::Stopped("enough")), 7));
    }

    proptest! {
        #[test]
        fn every_guilty_row_is_found_and_no_other(rows in 1u32..3_000, seeds in proptest::collection::btree_set(0u32..3_000, 1..20)) {
            let guilty: Vec<u32> = seeds.into_iter().map(|seed| seed % rows).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
            let (dead, calls) = run(rows, &guilty, u32::MAX);
            prop_assert_eq!(&dead, &guilty);
            prop_assert!(f64::from(calls) <= 2.0 * guilty.len() as f64 * f64::from(rows).log2().ceil() + 1.0);
        }
    }
}
