//! What stops a pipeline, and who must act.

use std::fmt;

use lakemill_decode::DecoderError;
use lakemill_model::{CheckpointId, Disposition, SinkError, SourceError, TransformError};
use lakemill_state::{Code, StateError};

use crate::spec::SpecError;

/// What stops a pipeline. It has stopped at its last commit: a restart goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The pipeline file is wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The pipeline file and what it names do not fit together.
    #[error("{0}")]
    Invalid(String),
    /// What a component declares cannot be made of the rows that come.
    #[error("component {component}: {reason}")]
    Output {
        /// What the component calls itself.
        component: String,
        /// Output, column, and what there is.
        reason: String,
    },
    /// A component could not be loaded.
    #[error("component {component}: {source}")]
    Load {
        /// As the pipeline file names it.
        component: String,
        /// Why.
        source: TransformError,
    },
    /// The source stopped.
    #[error("source: {0}")]
    Source(#[from] SourceError),
    /// The records cannot be decoded at all.
    #[error("decode: {0}")]
    Decode(#[from] DecoderError),
    /// A component failed on a batch.
    #[error("component {component} (sha256 {digest}) on batch {checkpoint} ({ranges}): {source}")]
    Transform {
        /// What the component calls itself.
        component: String,
        /// Its SHA-256.
        digest: String,
        /// The batch.
        checkpoint: CheckpointId,
        /// The batch's ranges.
        ranges: String,
        /// Why.
        source: Box<TransformError>,
    },
    /// More rows are dead than the pipeline's error budget allows.
    #[error("{0}")]
    OverBudget(Box<OverBudget>),
    /// A canary failed on a batch: nothing of it was committed.
    #[error("the canary failed: {reason}")]
    Canary {
        /// What was on trial.
        code: Box<Code>,
        /// Why.
        reason: String,
    },
    /// The run comes to its end in the middle of a batch, of which nothing was committed.
    #[error("the batch under way was left, since the run ends")]
    Ending,
    /// A sink did not take the rows.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The journal cannot be used.
    #[error("state: {0}")]
    Journal(#[from] StateError),
    /// A thread of the pipeline is gone without a word: a defect of ours.
    #[error("the pipeline's {0} ended unexpectedly; this is a defect of lakemill, please report it with the log")]
    Lost(&'static str),
}

/// A batch that is over the error budget: nothing of it was committed.
#[derive(Debug)]
pub struct OverBudget {
    /// The batch.
    pub checkpoint: CheckpointId,
    /// Its ranges.
    pub ranges: String,
    /// What made it.
    pub code: Vec<Code>,
    /// By how much.
    pub over: String,
    /// Why one of its rows is dead.
    pub example: Option<String>,
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { checkpoint, ranges, over, example, .. } = self;
        write!(f, "batch {checkpoint} ({ranges}) is over the error budget: {over}")?;
        match example {
            Some(example) => write!(f, "; one of them: {example}"),
            None => Ok(()),
        }
    }
}

impl PipelineError {
    /// What is to be done about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            PipelineError::Spec(_) | PipelineError::Invalid(_) | PipelineError::Load { .. } => Disposition::HaltInvalid,
            PipelineError::Output { .. } => Disposition::Misfit,
            PipelineError::Source(error) => error.disposition(),
            PipelineError::Transform { source, .. } => source.disposition(),
            PipelineError::Sink(error) => error.disposition(),
            PipelineError::Decode(_) => Disposition::Retry,
            PipelineError::OverBudget(_) => Disposition::Park,
            PipelineError::Canary { .. } | PipelineError::Ending => Disposition::Retry,
            PipelineError::Journal(error) => error.disposition(),
            PipelineError::Lost(_) => Disposition::Halt,
        }
    }

    /// Whether other code may do the batch that it is about: the same code does the same again.
    pub(crate) fn blames_code(&self) -> bool {
        match self {
            PipelineError::Invalid(_)
            | PipelineError::Output { .. }
            | PipelineError::Transform { .. }
            | PipelineError::OverBudget(_)
            | PipelineError::Canary { .. }
            | PipelineError::Sink(SinkError::Schema { .. }) => true,
            PipelineError::Spec(_)
            | PipelineError::Load { .. }
            | PipelineError::Source(_)
            | PipelineError::Decode(_)
            | PipelineError::Ending
            | PipelineError::Sink(_)
            | PipelineError::Journal(_)
            | PipelineError::Lost(_) => false,
        }
    }

    /// The exit code of a command that ends with it: 1 went wrong while running, 2 invalid input, 3 something is not
    /// reachable.
    pub fn exit_code(&self) -> u8 {
        match self.disposition() {
            Disposition::HaltInvalid | Disposition::Misfit => 2,
            Disposition::HaltUnreachable => 3,
            Disposition::Halt | Disposition::Park | Disposition::Retry => 1,
        }
    }
}
