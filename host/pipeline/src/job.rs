//! The messages between reader, workers and committer.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use lakemill_model::{Epochs, Positions, RawBatch, SinkPositions, Staged, Vouch};
use lakemill_state::Plan;

use crate::counts::{Counts, Seen, Spent};
use crate::dead::Reasons;
use crate::error::PipelineError;
use crate::lineup::Lineup;

/// What the committer is to do, in this order.
pub(crate) enum Step {
    /// Wait until a worker has prepared the batch, then commit it.
    Batch { plan: Arc<Plan>, prepared: Receiver<Result<Prepared, PipelineError>> },
    /// Say how far the sinks are, after everything before.
    Look { reply: Sender<Looked> },
    /// Take possession of partitions at these positions under these epochs, in every sink.
    Claim { positions: Positions, epochs: Epochs, digests: Vec<String>, reply: Sender<Claimed> },
    /// Say when everything before is committed.
    Drain { reply: Sender<()> },
    /// The reader cannot go on: stop after everything before.
    Failed(PipelineError),
    /// There is nothing more to come.
    End,
}

/// How far the sinks are.
pub(crate) struct Looked {
    pub sinks: Vec<SinkPositions>,
    /// One of them has another table than it had, as somebody wanted.
    pub moved: bool,
}

/// What became of taking possession.
pub(crate) enum Claimed {
    /// What each sink holds; rows before it are not written there again.
    Yes(Vec<Positions>),
    /// A former owner wrote in between: look again.
    LookAgain,
}

/// A planned batch on its way to a worker.
pub(crate) struct Job {
    /// Its place among the jobs of the run, from 0.
    pub number: u64,
    pub plan: Arc<Plan>,
    /// What the plan names.
    pub lineup: Arc<Lineup>,
    pub raw: RawBatch,
    /// Whether a sink may have rows of it, from an earlier run.
    pub begun: bool,
    /// By sink: rows before these positions are there already.
    pub held: Arc<Vec<Positions>>,
    /// Whoever says that the records are of the topics that they are taken for.
    pub vouch: Option<Box<dyn Vouch>>,
    pub prepared: Sender<Result<Prepared, PipelineError>>,
}

/// A batch that only needs to be committed.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    /// Sink index and what it staged.
    pub staged: Vec<(usize, Staged)>,
    pub counts: Counts,
    /// By transform.
    pub seen: Vec<Seen>,
    /// Sink index and the number of rows staged there.
    pub rows_staged: Vec<(usize, u64)>,
    /// Kafka timestamps in milliseconds since 1970 and how many records have each.
    pub kafka_times_ms: Vec<(i64, u64)>,
    /// Why one of the dead rows is dead.
    pub example: Option<String>,
    /// Dates and timestamps that were out of range.
    pub out_of_range: crate::ranges::Counts,
    /// Why they are.
    pub reasons: Reasons,
    /// Microseconds that a worker spent on each stage.
    pub spent: Spent,
}

/// Kafka timestamps in milliseconds since 1970 and how many records in a row have each.
pub(crate) fn kafka_times_ms(raw: &RawBatch) -> Vec<(i64, u64)> {
    let mut times: Vec<(i64, u64)> = Vec::new();
    for at in raw.records().iter().filter_map(|record| record.timestamp_ms) {
        match times.last_mut() {
            Some((last, count)) if *last == at => *count += 1,
            _ => times.push((at, 1)),
        }
    }
    times
}

/// What the committer tells the reader.
pub(crate) enum Report {
    /// The batch is in every sink.
    Committed {
        plan: Arc<Plan>,
        /// Whether a sink says so.
        told: bool,
        /// The names of those that hold it now.
        sinks: Vec<String>,
    },
}
