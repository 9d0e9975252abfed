//! The errors of the edges, each variant a different decision of the pipeline.
//!
//! `Display` is one lower-case phrase without the chain of sources; whoever handles the error logs it once.

use crate::{NextOffset, Secrets, TopicPartition};

/// What the pipeline does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Somebody or something outside fails right now: try again, if it ever worked.
    Retry,
    /// Too many rows are dead: keep the place and wait for a command or other code.
    Park,
    /// Rows and the place where they are to go do not fit: keep the place and wait until a person has changed one of them. Exit code 2 if
    /// nothing waits.
    Misfit,
    /// A person must change something: stop at the last commit. Exit code 2.
    HaltInvalid,
    /// What the pipeline needs is not to be had: stop at the last commit. Exit code 3.
    HaltUnreachable,
    /// It went wrong while running: stop at the last commit. Exit code 1.
    Halt,
}

/// The source cannot deliver.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No broker answers.
    #[error("no broker answers at {brokers}: {reason}; check `source.kafka.brokers` and that Kafka runs")]
    Unreachable {
        /// As configured.
        brokers: String,
        /// What the client says.
        reason: String,
    },
    /// A topic is not there.
    #[error("{topic} is not there: {hint}")]
    NoSuchTopic {
        /// The topic, or the file.
        topic: String,
        /// What to do.
        hint: String,
    },
    /// The source no longer has what comes next.
    #[error(
        "data lost on {partition}: next to read is {wanted}, the source has {first}..{end}; \
         set `on_data_loss: continue` to go on from what is left"
    )]
    DataLoss {
        /// Where.
        partition: TopicPartition,
        /// The position.
        wanted: NextOffset,
        /// The first offset that is there.
        first: NextOffset,
        /// One past the last.
        end: NextOffset,
    },
    /// The source ends before what comes next: it was made anew, or its log was cut. What it writes now has offsets that
    /// the tables hold already, so going on would lose it.
    #[error(
        "{partition} ends at {end}, and the next to read is {wanted}: the topic was made anew or its log was cut; \
         restore it, or read it under another `pipeline` name, which starts with positions of its own"
    )]
    WentBack {
        /// Where.
        partition: TopicPartition,
        /// The position.
        wanted: NextOffset,
        /// One past the last offset that is there.
        end: NextOffset,
    },
    /// The topic is not the one that was read: that was deleted, and another one has its name.
    #[error(
        "{topic} was made anew: its id was {known} and is {found} now, so its offsets are not those that the tables hold; read it under \
         another `pipeline` name, or, if it is a copy with the same offsets, delete the *.journal files in the state folder"
    )]
    MadeAnew {
        /// The topic.
        topic: String,
        /// The id of the one that was read.
        known: String,
        /// The id of the one that is there.
        found: String,
    },
    /// There are records, the brokers say, and none comes.
    #[error(
        "{partition} has records up to {end}, and none has come from {next} on although the brokers answer: reading has to begin anew; \
         if that does not help, see what the brokers' logs say of this client"
    )]
    Stalled {
        /// Where.
        partition: TopicPartition,
        /// The position.
        next: NextOffset,
        /// One past the last offset that is there.
        end: NextOffset,
    },
    /// The client refuses its configuration.
    #[error("kafka refuses the configuration: {0}")]
    Config(String),
    /// A file is not what it has to be, or not what it was.
    #[error("{path}{}: {reason}", .byte.map(|byte| format!(" at byte {byte}")).unwrap_or_default())]
    File {
        /// The file.
        path: String,
        /// Where in it.
        byte: Option<u64>,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Files that are not lines of JSON, one a line of this text: what they are, and what to do.
    #[error("{0}")]
    NotLines(String),
    /// What the source must remember cannot be kept.
    #[error("{0}")]
    Memory(String),
    /// Reading failed for good.
    #[error("read {what}: {reason}")]
    Read {
        /// Topic-partition or file.
        what: String,
        /// What went wrong.
        reason: String,
    },
}

impl SourceError {
    /// What the pipeline does about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            SourceError::Unreachable { .. } | SourceError::NoSuchTopic { .. } => Disposition::HaltUnreachable,
            SourceError::Config(_) | SourceError::NotLines(_) => Disposition::HaltInvalid,
            SourceError::Stalled { .. } | SourceError::Memory(_) => Disposition::Retry,
            SourceError::DataLoss { .. }
            | SourceError::WentBack { .. }
            | SourceError::MadeAnew { .. }
            | SourceError::File { .. }
            | SourceError::Read { .. } => Disposition::Halt,
        }
    }
}

/// A transform did not answer, or wrongly.
#[derive(Debug, thiserror::Error)]
pub enum TransformError {
    /// The file is no component that we can run.
    #[error("{0}")]
    Refused(String),
    /// It stopped itself: a trap, with the guest's backtrace if it has names.
    #[error("the component trapped: {trap}{}", below(backtrace))]
    Trap {
        /// wasmtime's words.
        trap: String,
        /// Where the guest was, if it has names.
        backtrace: Option<String>,
    },
    /// It panicked, and its SDK said why before it trapped.
    #[error("the component panicked: {words}{}", below(backtrace))]
    Panic {
        /// The component's own, on one line.
        words: String,
        /// Where the guest was, if it has names.
        backtrace: Option<String>,
    },
    /// It ran over a limit.
    #[error("the component went over its limit of {limit}: {hint}{}", below(backtrace))]
    Limit {
        /// Which, with its value and unit.
        limit: String,
        /// What its author can do.
        hint: String,
        /// Where the guest was, if it has names.
        backtrace: Option<String>,
    },
    /// It said so.
    #[error("the component gave up on the batch: {0}")]
    Guest(String),
    /// Its answer breaks the contract.
    #[error("the component's answer is wrong: {0}")]
    Answer(String),
}

/// A backtrace under an error's first line.
fn below(backtrace: &Option<String>) -> String {
    backtrace.as_ref().map(|lines| format!("\n{lines}")).unwrap_or_default()
}

impl TransformError {
    /// Where the guest was when it failed.
    pub fn backtrace(&self) -> Option<&str> {
        match self {
            TransformError::Trap { backtrace, .. }
            | TransformError::Panic { backtrace, .. }
            | TransformError::Limit { backtrace, .. } => backtrace.as_deref(),
            TransformError::Refused(_) | TransformError::Guest(_) | TransformError::Answer(_) => None,
        }
    }

    /// The error without the backtrace.
    pub fn reason(&self) -> String {
        let all = self.to_string();
        match self.backtrace() {
            Some(lines) => all[..all.len() - lines.len()].trim_end().to_owned(),
            None => all,
        }
    }

    /// The error without secrets that the component has let slip.
    #[must_use]
    pub fn without(self, secrets: &Secrets) -> Self {
        if secrets.is_empty() {
            return self;
        }
        let hide = |text: String| secrets.hide(&text).into_owned();
        match self {
            TransformError::Refused(text) => TransformError::Refused(hide(text)),
            TransformError::Trap { trap, backtrace } => TransformError::Trap { trap: hide(trap), backtrace },
            TransformError::Panic { words, backtrace } => TransformError::Panic { words: hide(words), backtrace },
            TransformError::Guest(text) => TransformError::Guest(hide(text)),
            TransformError::Answer(text) => TransformError::Answer(hide(text)),
            limit @ TransformError::Limit { .. } => limit,
        }
    }

    /// What the pipeline does about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            TransformError::Refused(_) => Disposition::HaltInvalid,
            TransformError::Trap { .. }
            | TransformError::Panic { .. }
            | TransformError::Limit { .. }
            | TransformError::Guest(_)
            | TransformError::Answer(_) => Disposition::Retry,
        }
    }
}

/// A sink did not take the rows.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Another writer moved the sink's positions.
    #[error(
        "sink {sink}: another process writes as this pipeline: {partition} should be at {expected}, is at {found}; \
         stop the other one, or give one of them another `pipeline` name"
    )]
    Fenced {
        /// Which sink.
        sink: String,
        /// Where it showed.
        partition: TopicPartition,
        /// Where we left it.
        expected: String,
        /// Where it is.
        found: String,
    },
    /// The rows do not fit the table.
    #[error("sink {sink}: the rows do not fit the table: {reason}")]
    Schema {
        /// Which sink.
        sink: String,
        /// Column by column.
        reason: String,
    },
    /// The table is one that we must not write.
    #[error("sink {sink}: {reason}")]
    Unsupported {
        /// Which sink.
        sink: String,
        /// Why, and what to do.
        reason: String,
    },
    /// Storage failed: a full disk, no permission.
    #[error("sink {sink}: {action} {path}: {reason}")]
    Storage {
        /// Which sink.
        sink: String,
        /// A verb.
        action: &'static str,
        /// On what.
        path: String,
        /// What the system says.
        reason: String,
    },
}

impl SinkError {
    /// What the pipeline does about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            SinkError::Schema { .. } | SinkError::Unsupported { .. } => Disposition::Misfit,
            SinkError::Storage { .. } => Disposition::Retry,
            SinkError::Fenced { .. } => Disposition::Halt,
        }
    }
}
