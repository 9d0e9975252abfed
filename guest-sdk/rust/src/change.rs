//! One change of a row, typed: the row view's input, and the CDC helpers on it. Decides nothing about columns; see `row`
//! for reading and `emit` for what comes out.

use crate::batch::{Batch, EnvelopeColumn};
use crate::emit::Emit;
use crate::output::Output;
use crate::row::{Before, IsRow, Row, Unread};
use crate::{Error, Image, Op, Reads, Reject, Renames, Timestamp};

/// One change: what happened, to which row, when. `R` is the row, a struct with `#[derive(Row)]`; `B` is what is read
/// of the row before the change: the same struct, a smaller one, or [`Unread`].
#[derive(Clone, Copy)]
pub struct Change<'b, R, B = R> {
    batch: &'b Batch<'b>,
    index: usize,
    op: Op,
    row: Option<R>,
    before: Option<B>,
}

impl<'b, R, B> Change<'b, R, B> {
    /// What happened.
    pub fn op(&self) -> Op {
        self.op
    }

    /// The row that the change is about: after the change, or of a delete, before it.
    ///
    /// None for a truncate, and for a delete of which the source told so little that `R` cannot be filled (with
    /// PostgreSQL's default replica identity, the key only).
    pub fn row(&self) -> Option<&R> {
        self.row.as_ref()
    }

    /// The row after the change; none for deletes and truncates.
    pub fn after(&self) -> Option<&R> {
        let has_after = !matches!(self.op, Op::Delete | Op::Truncate) && self.batch.has(Image::After, self.index);
        self.row.as_ref().filter(|_| has_after)
    }

    /// The row before the change; none for inserts, and where the source did not tell it, or not completely.
    pub fn before(&self) -> Option<&B> {
        self.before.as_ref()
    }

    /// When the database committed it, if it told: Debezium's `source.ts_ms`.
    pub fn event_time(&self) -> Option<Timestamp> {
        self.batch.envelope_cell(EnvelopeColumn::EventTime, self.index)
    }

    /// When Kafka took it, if the broker keeps that.
    pub fn kafka_time(&self) -> Option<Timestamp> {
        self.batch.envelope_cell(EnvelopeColumn::KafkaTime, self.index)
    }

    /// The Kafka topic.
    pub fn topic(&self) -> &'b str {
        self.batch.topic()
    }

    /// The Kafka partition.
    pub fn partition(&self) -> i32 {
        self.batch.envelope_cell(EnvelopeColumn::Partition, self.index).unwrap_or_default()
    }

    /// The Kafka offset.
    pub fn offset(&self) -> i64 {
        self.batch.envelope_cell(EnvelopeColumn::Offset, self.index).unwrap_or_default()
    }

    /// The place in the source's log: of two changes from one source the later one has the larger bytes. None where there
    /// is none, as in some snapshots.
    pub fn position(&self) -> Option<&'b [u8]> {
        self.batch.envelope_cell(EnvelopeColumn::Position, self.index)
    }

    /// True if it comes from a snapshot.
    pub fn is_snapshot(&self) -> bool {
        self.batch.envelope_cell(EnvelopeColumn::Snapshot, self.index).unwrap_or_default()
    }

    /// The batch's clock: one frozen moment, the same for all rows and the same again if the batch is replayed.
    pub fn now(&self) -> Timestamp {
        self.batch.now()
    }

    /// The watermark before the batch: changes older than it are late.
    pub fn watermark(&self) -> Option<Timestamp> {
        self.batch.watermark()
    }

    /// Emits what `make` makes of the row, with the op of the change. Where [`row`](Self::row) is none, `make` is not called
    /// and the made columns are null.
    pub fn map<O: Output>(&self, make: impl FnOnce(&R) -> O) -> Emit<O> {
        Kept { op: self.op, row: self.row.as_ref() }.map(make)
    }

    /// As [`map`](Self::map), with a `make` that may reject the row.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn try_map<O: Output>(&self, make: impl FnOnce(&R) -> Result<O, Reject>) -> Result<Emit<O>, Reject> {
        Kept { op: self.op, row: self.row.as_ref() }.try_map(make)
    }

    fn judge(&self, now: impl FnOnce(&R) -> bool, before: Option<bool>) -> Filtered<'_, R> {
        let passes = self.row.as_ref().map(now);
        Filtered { kept: op_after_filter(self.op, before, passes).map(|op| Kept { op, row: self.row.as_ref() }) }
    }
}

impl<R: IsRow> Change<'_, R, R> {
    /// Lets through the rows that pass, and keeps what was written before right: a row that leaves the predicate becomes
    /// a delete, one that enters it a create.
    ///
    /// | op | row before | row now | becomes |
    /// |---|---|---|---|
    /// | read, create | | passes | the same |
    /// | read, create | | fails | dropped |
    /// | update | passes or unknown | passes | update |
    /// | update | fails | passes | create |
    /// | update | passes or unknown | fails | delete |
    /// | update | fails | fails | dropped |
    /// | delete | passes or unknown | | delete |
    /// | delete | fails | | dropped |
    /// | truncate | | | truncate |
    ///
    /// "Unknown": the source did not tell the row before the change, or `B` is [`Unread`]. Deleting what is not there does
    /// no harm in a table that keeps rows by key; in one that appends it leaves a line.
    pub fn filter(&self, passes: impl Fn(&R) -> bool) -> Filtered<'_, R> {
        // Of a delete, the row is the one before.
        let before = if self.op == Op::Delete { self.row.as_ref() } else { self.before.as_ref() };
        self.judge(&passes, before.map(&passes))
    }
}

impl<R: IsRow> Change<'_, R, Unread> {
    /// As the other [`filter`](Change::filter), without knowledge of the row before an update.
    pub fn filter(&self, passes: impl Fn(&R) -> bool) -> Filtered<'_, R> {
        let before = self.row.as_ref().filter(|_| self.op == Op::Delete).map(&passes);
        self.judge(passes, before)
    }
}

impl<R, B> Change<'_, R, B> {
    /// As [`filter`](Change::filter), where `B` is another struct than `R`: `was` judges it.
    pub fn filter_by(&self, passes: impl FnOnce(&R) -> bool, was: impl FnOnce(&B) -> bool) -> Filtered<'_, R> {
        let before = self.before.as_ref().map(was);
        self.judge(passes, before)
    }
}

/// What becomes of a change by the table of [`Change::filter`]; none if it is dropped. A row before that nobody knows is
/// taken for one that passed: that may delete what is not there, but never keeps what must go.
fn op_after_filter(op: Op, before: Option<bool>, now: Option<bool>) -> Option<Op> {
    let was = before.unwrap_or(true);
    match (op, was, now.unwrap_or(true)) {
        (Op::Truncate, _, _) => Some(Op::Truncate),
        (Op::Read | Op::Create, _, passes) => passes.then_some(op),
        (Op::Update, true, true) => Some(Op::Update),
        (Op::Update, false, true) => Some(Op::Create),
        (Op::Update, true, false) => Some(Op::Delete),
        (Op::Update, false, false) => None,
        (Op::Delete, was, _) => was.then_some(Op::Delete),
    }
}

/// A change that went through [`Change::filter`].
#[derive(Clone, Copy, Debug)]
pub struct Filtered<'c, R> {
    kept: Option<Kept<'c, R>>,
}

#[derive(Clone, Copy, Debug)]
struct Kept<'c, R> {
    op: Op,
    row: Option<&'c R>,
}

impl<R> Filtered<'_, R> {
    /// What it became; none if it was dropped.
    pub fn op(&self) -> Option<Op> {
        self.kept.as_ref().map(|kept| kept.op)
    }

    /// Emits what `make` makes of the row, with the op that it became; nothing if it was dropped. Where the change has no
    /// row, `make` is not called and the made columns are null.
    pub fn map<O: Output>(self, make: impl FnOnce(&R) -> O) -> Emit<O> {
        self.kept.map_or_else(Emit::none, |kept| kept.map(make))
    }

    /// As [`map`](Self::map), with a `make` that may reject the row.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn try_map<O: Output>(self, make: impl FnOnce(&R) -> Result<O, Reject>) -> Result<Emit<O>, Reject> {
        self.kept.map_or_else(|| Ok(Emit::none()), |kept| kept.try_map(make))
    }
}

impl<R> Kept<'_, R> {
    #[inline]
    fn map<O: Output>(self, make: impl FnOnce(&R) -> O) -> Emit<O> {
        self.row.map_or_else(Emit::bare, |row| Emit::one(make(row))).with_op(self.op)
    }

    fn try_map<O: Output>(self, make: impl FnOnce(&R) -> Result<O, Reject>) -> Result<Emit<O>, Reject> {
        Ok(match self.row {
            Some(row) => Emit::one(make(row)?),
            None => Emit::bare(),
        }
        .with_op(self.op))
    }
}

/// What the row view must know of the `Change<_, _>` that a transform takes.
pub trait ChangeOf<'b> {
    /// The row.
    type Row: Row<'b>;
    /// What is read of the row before.
    type Before: Before<'b>;

    /// What `description.reads` says.
    fn reads(renames: &Renames) -> Vec<Reads> {
        crate::row::reads::<Self::Row>(Image::Row, renames).chain(Self::Before::reads(renames)).collect()
    }
}

impl<'b, R: Row<'b>, B: Before<'b>> ChangeOf<'b> for Change<'_, R, B> {
    type Row = R;
    type Before = B;
}

/// Reads the changes of a batch one by one.
pub(crate) struct Changes<'b, R: Row<'b>, B: Before<'b>> {
    batch: &'b Batch<'b>,
    ops: &'b [Op],
    rows: R::Slots,
    befores: B::Slots,
}

impl<'b, R: Row<'b>, B: Before<'b>> Changes<'b, R, B> {
    pub(crate) fn open(batch: &'b Batch<'b>, renames: &Renames) -> Result<Self, Error> {
        Ok(Self {
            batch,
            ops: batch.ops()?,
            rows: R::open(batch, Image::Row, renames)?,
            befores: B::open(batch, renames)?,
        })
    }

    /// The change of a row, or why it must be rejected.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Result<Change<'b, R, B>, crate::row::Lack> {
        let op = self.ops[index];
        let row = match R::read(&self.rows, index) {
            _ if op == Op::Truncate => None,
            Ok(row) => Some(row),
            Err(_) if op == Op::Delete => None,
            Err(lack) => return Err(lack),
        };
        let before = B::read(&self.befores, self.batch, index);
        Ok(Change { batch: self.batch, index, op, row, before })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_table() {
        let (pass, fail, unknown) = (Some(true), Some(false), None);
        for (op, before, now, becomes) in [
            (Op::Read, unknown, pass, Some(Op::Read)),
            (Op::Create, unknown, pass, Some(Op::Create)),
            (Op::Create, unknown, fail, None),
            (Op::Update, pass, pass, Some(Op::Update)),
            (Op::Update, unknown, pass, Some(Op::Update)),
            (Op::Update, fail, pass, Some(Op::Create)),
            (Op::Update, pass, fail, Some(Op::Delete)),
            (Op::Update, unknown, fail, Some(Op::Delete)),
            (Op::Update, fail, fail, None),
            (Op::Delete, pass, pass, Some(Op::Delete)),
            (Op::Delete, unknown, unknown, Some(Op::Delete)),
            (Op::Delete, fail, fail, None),
            (Op::Truncate, unknown, unknown, Some(Op::Truncate)),
        ] {
            assert_eq!(op_after_filter(op, before, now), becomes, "{op} {before:?} {now:?}");
        }
    }
}
