//! The source's side of the pipeline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{NextOffset, OffsetRange, PositionDelta, Positions, RawBatch, SourceError, TopicPartition};

/// When a micro-batch is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Records.
    pub rows_max: usize,
    /// Bytes of keys and values. A single record may be larger: it is then alone.
    pub bytes_max: usize,
    /// From the first record to the batch's end.
    pub latency_max: Duration,
}

/// Where a partition starts that no sink knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// The first offset that is there.
    Earliest,
    /// The end, as of now.
    Latest,
    /// This offset.
    Offset(NextOffset),
    /// The first record at or after this time, in milliseconds since 1970.
    TimestampMs(i64),
}

/// What a source has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Polled {
    /// The time is over, or, before that, the batch is full: the next record would not fit.
    Records,
    /// These partitions are ours now. The source delivers nothing of them before [`Source::start`].
    Assigned(Vec<TopicPartition>),
    /// These go to another process. The source waits for [`Source::release`], so that batches on their way can end.
    Revoked(Vec<TopicPartition>),
    /// Every partition has been read to the end that it had when reading started; only with `until_caught_up`.
    CaughtUp,
}

/// What tells each topic from another one of the same name: the id that it got when it was made.
pub type TopicIds = BTreeMap<Arc<str>, Arc<str>>;

/// Says, later, that records are of the topics that they are taken for.
pub trait Vouch: Send {
    /// The answer, after up to `most`; `None`: there is none yet.
    fn answer(&mut self, most: Duration) -> Option<Result<(), SourceError>>;

    /// The error of who cannot wait any longer.
    fn unanswered(&self) -> SourceError;
}

/// Delivers records of the partitions that it is given, each partition in order.
pub trait Source: Send {
    /// Appends records to `batch` until it is full by `limits`, `until` has come, or something else is to be said.
    /// A batch that got its first record is never kept waiting for more than `limits.latency_max`.
    ///
    /// # Errors
    /// What a person must look at; passing trouble with a broker is waited out and logged.
    fn poll(&mut self, batch: &mut RawBatch, limits: &BatchLimits, until: Instant) -> Result<Polled, SourceError>;

    /// The ranges read since the last call of this function: from where each partition stood to the next offset to
    /// read now. It covers every record that went into the batch and the gaps between and after them.
    fn take_ranges(&mut self) -> PositionDelta;

    /// Where a partition that no sink knows starts.
    ///
    /// # Errors
    /// If the source cannot be asked.
    fn resolve(&mut self, partitions: &[TopicPartition], at: StartAt) -> Result<Positions, SourceError>;

    /// The ids of these topics now. Topics that the source cannot tell from others of their name are left out.
    ///
    /// # Errors
    /// If the source cannot be asked; [`SourceError::MadeAnew`] if one has changed since the last call.
    fn identify(&mut self, _topics: &[Arc<str>]) -> Result<TopicIds, SourceError> {
        Ok(TopicIds::new())
    }

    /// Asks whether the topics of a step are still those that [`Source::identify`] saw, and does not wait for the answer: whoever commits
    /// does. A topic never gets its id back, so what was delivered before the question is of the topic that is there at the answer.
    /// `None`: there is nothing to ask.
    fn vouch(&mut self, _step: &PositionDelta) -> Option<Box<dyn Vouch>> {
        None
    }

    /// Holds what the source knows of its partitions against all that the tables show of the pipeline.
    ///
    /// # Errors
    /// If the tables have positions that the source cannot account for, so that it does not know what is in them.
    fn recognise(&mut self, _shown: &Positions) -> Result<(), SourceError> {
        Ok(())
    }

    /// Which of these partitions are to be taken, if they go on at `positions`; those that nobody knows start at their beginning. What
    /// has nothing to come is left out: it is assigned again when it has.
    ///
    /// # Errors
    /// If what comes next of one is gone.
    fn wanted(
        &mut self,
        partitions: &[TopicPartition],
        _positions: &Positions,
    ) -> Result<Vec<TopicPartition>, SourceError> {
        Ok(partitions.to_vec())
    }

    /// Starts to deliver assigned partitions from `positions` on (each is named).
    ///
    /// # Errors
    /// [`SourceError::DataLoss`] if a position is not there any more, [`SourceError::WentBack`] if it lies after the end.
    fn start(&mut self, positions: &Positions) -> Result<(), SourceError>;

    /// Lets revoked partitions go.
    ///
    /// # Errors
    /// If the client refuses.
    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), SourceError>;

    /// Reads the given range again, exactly: records of `start..end` of each partition are appended to `batch`, and
    /// the partitions stand at the ends afterwards. For replays; partitions outside `ranges` are untouched. False if something of it is
    /// gone and losses are to be gone over: then nothing is appended, and what is left comes after [`Source::start`].
    ///
    /// # Errors
    /// [`SourceError::DataLoss`] if something of it is gone otherwise.
    fn reread(&mut self, ranges: &PositionDelta, batch: &mut RawBatch) -> Result<bool, SourceError>;

    /// How many offsets were gone before they were read, since the last call of this function.
    fn take_lost(&mut self) -> u64 {
        0
    }

    /// Tells the source how far the sinks are: a progress report for people and tools, never the truth.
    fn report(&mut self, upto: &Positions);

    /// Records between here and the end of all partitions, as of the last look; `None` before the first.
    fn lag(&self) -> Option<u64>;
}

/// The range from `start` to `end`; both ends for sources that count for themselves.
pub fn range(start: i64, end: i64) -> OffsetRange {
    OffsetRange { start: NextOffset(start), end: NextOffset(end.max(start)) }
}
