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
    /// The partition ends before `wanted`: it was made anew, or cut. Read it from its first offset.
    Anew,
}

impl Edges {
    /// Decides where to read from.
    ///
    /// # Errors
    /// [`SourceError::DataLoss`] if `wanted` is not there and losses are not to be gone over.
    pub fn entry(self, tp: &TopicPartition, wanted: i64, policy: OnDataLoss) -> Result<Entry, SourceError> {
        let entry = match wanted {
            _ if wanted > self.end => Entry::Anew,
            _ if wanted < self.first => Entry::Skip { missing: self.first - wanted },
            _ => Entry::There,
        };
        if entry != Entry::There && policy == OnDataLoss::Fail {
            return Err(self.loss(tp, wanted));
        }
        Ok(entry)
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

/// Logs a loss that is gone over.
pub(super) fn log_loss(tp: &TopicPartition, wanted: i64, edges: Edges, entry: Entry) {
    match entry {
        Entry::There => {}
        Entry::Skip { missing } => {
            tracing::warn!(%tp, missing, wanted, first = edges.first, "records are gone before they were read: going on with what is left");
        }
        Entry::Anew => {
            tracing::error!(
                %tp, wanted, first = edges.first, end = edges.end,
                "the partition ends before our position: it was made anew or cut; reading it from its first record"
            );
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
        assert_eq!(edges.entry(&tp, 21, OnDataLoss::Continue).expect("gone over"), Entry::Anew);
        for wanted in [9, 21] {
            let error = edges.entry(&tp, wanted, OnDataLoss::Fail).expect_err("a loss").to_string();
            assert!(
                error.starts_with(&format!("data lost on t/1: next to read is {wanted}, the source has 10..20")),
                "{error}"
            );
        }
    }
}
