//! Where a partition begins and ends, and whether a position lies between. Pure.

use lakemill_model::{NextOffset, SourceError, TopicPartition};

use super::OnDataLoss;

/// The offsets that a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edges {
    /// The first offset that is there.
    pub first: i64,
    /// One past the last that may be read: the last stable offset, as only what was committed is read.
    pub end: i64,
}

/// Where to read from, if `wanted` is where the tables stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// It is there, or will be next.
    There,
    /// Records from `wanted` up to the first are gone: read on from the first.
    Skip {
        /// How many offsets are missing.
        missing: i64,
    },
}

impl Edges {
    /// Decides where to read from.
    ///
    /// # Errors
    /// [`SourceError::WentBack`] if the partition ends before `wanted`: nothing can be gone over then, since new records take
    /// the offsets that the tables hold. [`SourceError::DataLoss`] if `wanted` is gone and losses are not to be gone over.
    pub fn entry(self, tp: &TopicPartition, wanted: i64, policy: OnDataLoss) -> Result<Entry, SourceError> {
        if wanted > self.end {
            let (wanted, end) = (NextOffset(wanted), NextOffset(self.end));
            return Err(SourceError::WentBack { partition: tp.clone(), wanted, end });
        }
        if wanted >= self.first {
            return Ok(Entry::There);
        }
        match policy {
            OnDataLoss::Fail => Err(self.loss(tp, wanted)),
            OnDataLoss::Continue => Ok(Entry::Skip { missing: self.first - wanted }),
        }
    }

    /// Where a partition starts that no table knows, if `wanted` is what the configuration says.
    ///
    /// # Errors
    /// [`SourceError::DataLoss`] if `wanted` is not there and losses are not to be gone over.
    pub fn start(self, tp: &TopicPartition, wanted: i64, policy: OnDataLoss) -> Result<i64, SourceError> {
        if (self.first..=self.end).contains(&wanted) {
            return Ok(wanted);
        }
        if policy == OnDataLoss::Fail {
            return Err(self.loss(tp, wanted));
        }
        tracing::warn!(%tp, wanted, first = self.first, end = self.end, "the start is not there: from the first record");
        Ok(self.first)
    }

    /// The error that says so.
    pub fn loss(self, tp: &TopicPartition, wanted: i64) -> SourceError {
        SourceError::DataLoss {
            partition: tp.clone(),
            wanted: NextOffset(wanted),
            first: NextOffset(self.first),
            end: NextOffset(self.end),
        }
    }
}

/// Logs a loss that is gone over; how many offsets it has.
pub(super) fn log_loss(tp: &TopicPartition, wanted: i64, edges: Edges, entry: Entry) -> u64 {
    match entry {
        Entry::There => 0,
        Entry::Skip { missing } => {
            tracing::warn!(%tp, missing, wanted, first = edges.first, "records are gone before they were read: going on with what is left");
            missing.unsigned_abs()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_at_both_edges_are_there() {
        let (edges, tp) = (Edges { first: 10, end: 20 }, TopicPartition::new("t", 1));
        for policy in [OnDataLoss::Fail, OnDataLoss::Continue] {
            for wanted in [10, 15, 20] {
                assert_eq!(edges.entry(&tp, wanted, policy).expect("there"), Entry::There);
            }
        }
        let skip = edges.entry(&tp, 3, OnDataLoss::Continue).expect("gone over");
        assert_eq!(skip, Entry::Skip { missing: 7 });
        let error = edges.entry(&tp, 9, OnDataLoss::Fail).expect_err("a loss").to_string();
        assert!(error.starts_with("data lost on t/1: next to read is 9, the source has 10..20"), "{error}");
    }

    #[test]
    fn a_start_that_is_not_there_is_a_loss_or_the_first_record() {
        let (edges, tp) = (Edges { first: 10, end: 20 }, TopicPartition::new("t", 1));
        for wanted in [9, 21] {
            assert!(matches!(edges.start(&tp, wanted, OnDataLoss::Fail), Err(SourceError::DataLoss { .. })));
            assert_eq!(edges.start(&tp, wanted, OnDataLoss::Continue).expect("gone over"), 10);
        }
        assert_eq!(edges.start(&tp, 20, OnDataLoss::Fail).expect("there"), 20);
    }

    #[test]
    fn a_partition_that_ends_before_us_is_never_gone_over() {
        let (edges, tp) = (Edges { first: 10, end: 20 }, TopicPartition::new("t", 1));
        for policy in [OnDataLoss::Fail, OnDataLoss::Continue] {
            let error = edges.entry(&tp, 21, policy).expect_err("went back").to_string();
            assert!(error.starts_with("t/1 ends at 20, and the next to read is 21: "), "{error}");
        }
    }
}
