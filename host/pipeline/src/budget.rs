//! The error budget: how many rows may be dead before the pipeline parks instead of going on. Pure.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use lakemill_model::CheckpointId;

/// Rows that a share is taken of: the last ones.
pub(crate) const WINDOW_ROWS: u64 = 10_000;

/// Fewer rows than this count as this many, so that the first broken row of a run is not a share of all.
const ROWS_MIN: u64 = 1_000;

const MINUTE_US: i64 = 60_000_000;

/// What is allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Budget {
    /// Dead rows among the last [`WINDOW_ROWS`] rows, or those of one batch if they are more; from 0 to 1.
    pub share_max: f64,
    /// Dead rows within a minute.
    pub per_minute_max: u64,
}

/// A budget, what was spent of it, and the batch that it does not count for: somebody has said so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance<'a> {
    pub budget: Budget,
    /// Goes on from run to run.
    pub spending: &'a Mutex<Spending>,
    pub forgiven: Option<CheckpointId>,
}

impl Allowance<'_> {
    /// Notes a batch before it is committed; tells if it is too much.
    pub fn spend(&self, checkpoint: CheckpointId, rows: u64, dead: u64, now_us: i64) -> Option<Over> {
        if self.forgives(checkpoint) {
            return None;
        }
        let mut spent = self.spending.lock().unwrap_or_else(PoisonError::into_inner);
        self.budget.spend(&mut spent, checkpoint, rows, dead, now_us)
    }

    pub fn forgives(&self, checkpoint: CheckpointId) -> bool {
        self.forgiven == Some(checkpoint)
    }

    /// Dead rows in a batch of `rows` that are too many whatever came before.
    pub fn of_batch(&self, checkpoint: CheckpointId, rows: u32) -> u32 {
        if self.forgives(checkpoint) {
            return u32::MAX;
        }
        u32::try_from(self.budget.of_batch(u64::from(rows))).unwrap_or(u32::MAX)
    }
}

/// What was spent.
#[derive(Debug, Default)]
pub(crate) struct Spending {
    /// Rows and dead rows of the last batches.
    batches: VecDeque<(CheckpointId, u64, u64)>,
    rows: u64,
    dead: u64,
    /// When, in microseconds since 1970, and how many, of the last minute.
    minute: VecDeque<(CheckpointId, i64, u64)>,
    minute_dead: u64,
}

/// How the budget was passed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Over {
    /// By its share.
    Share {
        /// Dead rows.
        dead: u64,
        /// Among these.
        rows: u64,
        /// The most that is allowed, from 0 to 1.
        share_max: f64,
    },
    /// By its rate.
    Rate {
        /// Dead rows within a minute.
        dead: u64,
        /// The most that are allowed.
        per_minute_max: u64,
    },
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Over::Share { dead, rows, share_max } => write!(
                f,
                "{dead} of the last {rows} rows are dead, and `error_budget.share_max` allows {}%",
                share_max * 100.0
            ),
            Over::Rate { dead, per_minute_max } => {
                write!(f, "{dead} rows died within a minute, and `error_budget.per_minute_max` allows {per_minute_max}")
            }
        }
    }
}

impl Spending {
    /// Forgets the last batch, if it is this one.
    fn take_out(&mut self, checkpoint: CheckpointId) {
        if let Some((_, rows, dead)) = self.batches.pop_back_if(|batch| batch.0 == checkpoint) {
            self.rows -= rows;
            self.dead -= dead;
        }
        if let Some((_, _, dead)) = self.minute.pop_back_if(|batch| batch.0 == checkpoint) {
            self.minute_dead -= dead;
        }
    }
}

impl Budget {
    /// Dead rows in a batch of `rows` that are too many whatever came before.
    pub fn of_batch(&self, rows: u64) -> u64 {
        let share = (self.share_max * rows.max(WINDOW_ROWS) as f64).floor() as u64;
        share.min(self.per_minute_max)
    }

    /// Notes a batch before it is committed, at `now_us` in microseconds since 1970; once, however often its commit is tried. If it is
    /// too much, tells so, and does not count it.
    pub fn spend(
        &self,
        spent: &mut Spending,
        checkpoint: CheckpointId,
        rows: u64,
        dead: u64,
        now_us: i64,
    ) -> Option<Over> {
        spent.take_out(checkpoint);
        let over = self.add(spent, checkpoint, rows, dead, now_us);
        if over.is_some() {
            spent.take_out(checkpoint);
        }
        over
    }

    fn add(&self, spent: &mut Spending, checkpoint: CheckpointId, rows: u64, dead: u64, now_us: i64) -> Option<Over> {
        spent.batches.push_back((checkpoint, rows, dead));
        spent.rows += rows;
        spent.dead += dead;
        while let Some(&(_, oldest, oldest_dead)) = spent.batches.front()
            && spent.rows - oldest >= WINDOW_ROWS
        {
            spent.batches.pop_front();
            spent.rows -= oldest;
            spent.dead -= oldest_dead;
        }
        if dead > 0 {
            spent.minute.push_back((checkpoint, now_us, dead));
            spent.minute_dead += dead;
        }
        while let Some(&(_, at_us, dead)) = spent.minute.front()
            && (now_us - at_us >= MINUTE_US || at_us > now_us)
        {
            spent.minute.pop_front();
            spent.minute_dead -= dead;
        }
        if dead == 0 {
            // Older good rows that leave the window make no batch a bad one.
            return None;
        }
        if spent.dead as f64 > self.share_max * spent.rows.max(ROWS_MIN) as f64 {
            return Some(Over::Share { dead: spent.dead, rows: spent.rows, share_max: self.share_max });
        }
        (spent.minute_dead > self.per_minute_max)
            .then_some(Over::Rate { dead: spent.minute_dead, per_minute_max: self.per_minute_max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget { share_max: 0.1, per_minute_max: 5_000 };

    #[test]
    fn the_share_is_that_of_the_last_rows() {
        let mut spent = Spending::default();
        assert_eq!(BUDGET.spend(&mut spent, CheckpointId(1), 10, 10, 0), None, "few rows are no share");
        assert_eq!(BUDGET.spend(&mut spent, CheckpointId(2), 300, 90, 1), None);
        let over = BUDGET.spend(&mut spent, CheckpointId(3), 1, 1, 2).expect("101 of what counts as 1,000");
        assert_eq!(over, Over::Share { dead: 101, rows: 311, share_max: 0.1 });
        assert_eq!((spent.rows, spent.dead), (310, 100), "what is refused is not counted");
        let words = "101 of the last 311 rows are dead, and `error_budget.share_max` allows 10%";
        assert_eq!(over.to_string(), words);
        let mut spent = Spending::default();
        assert_eq!(
            BUDGET.spend(&mut spent, CheckpointId(4), 100_000, 4_999, 0),
            None,
            "one batch may be more than the window"
        );
        for at in 1..20 {
            assert_eq!(BUDGET.spend(&mut spent, CheckpointId(100 + at as u64), 1_000, 0, at), None);
        }
        assert_eq!((spent.rows, spent.dead), (10_000, 0), "what is old is forgotten");
        let mut spent = Spending::default();
        assert_eq!(BUDGET.spend(&mut spent, CheckpointId(6), 9_000, 0, 0), None);
        assert_eq!(BUDGET.spend(&mut spent, CheckpointId(7), 1_000, 900, 1), None);
        assert_eq!(
            BUDGET.spend(&mut spent, CheckpointId(8), 5_000, 0, 2),
            None,
            "a batch without a dead row is none too many"
        );
    }

    #[test]
    fn the_rate_is_that_of_the_last_minute() {
        let mut spent = Spending::default();
        assert_eq!(BUDGET.spend(&mut spent, CheckpointId(9), 1_000_000, 3_000, 0), None);
        assert_eq!(BUDGET.spend(&mut spent, CheckpointId(10), 1_000_000, 2_000, MINUTE_US - 1), None);
        let over = Over::Rate { dead: 5_001, per_minute_max: 5_000 };
        assert_eq!(BUDGET.spend(&mut spent, CheckpointId(11), 1_000_000, 1, MINUTE_US - 1), Some(over));
        assert_eq!(BUDGET.spend(&mut spent, CheckpointId(12), 1_000_000, 0, MINUTE_US), None);
    }

    #[test]
    fn a_batch_counts_once_however_often_its_commit_is_tried() {
        let mut spent = Spending::default();
        assert_eq!(BUDGET.spend(&mut spent, CheckpointId(1), 100, 10, 0), None);
        for at in 1..50 {
            assert_eq!(BUDGET.spend(&mut spent, CheckpointId(2), 100, 60, at), None, "try {at}");
        }
        assert_eq!((spent.rows, spent.dead, spent.minute_dead), (200, 70, 70));
        assert_eq!(BUDGET.spend(&mut spent, CheckpointId(2), 100, 60, 2 * MINUTE_US), None, "the minute is over");
        assert_eq!((spent.dead, spent.minute_dead), (70, 60));
    }

    #[test]
    fn a_batch_is_not_looked_into_beyond_what_is_allowed_anyhow() {
        assert_eq!(BUDGET.of_batch(100), 1_000);
        assert_eq!(BUDGET.of_batch(40_000), 4_000);
        assert_eq!(BUDGET.of_batch(1_000_000), 5_000);
    }
}
