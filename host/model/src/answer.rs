//! What a transform is, what it is asked, and what it answers: the contract (wit/types.wit) in the host's terms.

use std::sync::Arc;

use crate::{Cells, ChangeBatch, Field, Image, Op, TransformError};

/// What a transform says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// For people.
    pub name: String,
    /// For people; versions are told apart by digest.
    pub version: String,
    /// The tables that it writes.
    pub outputs: Vec<OutputSpec>,
    /// What it may ask for.
    pub reads: Vec<Reads>,
    /// A JSON Schema of its configuration.
    pub config_schema: Option<String>,
}

/// A column or a whole image that a transform reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reads {
    /// One column.
    Column(Image, Arc<str>),
    /// All of an image.
    Image(Image),
}

/// A table that a transform writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSpec {
    /// The pipeline file names its sink by it.
    pub name: Arc<str>,
    /// Columns that identify a row.
    pub key: Vec<Arc<str>>,
    /// In the table's order.
    pub columns: Vec<OutputColumn>,
}

impl OutputSpec {
    /// The fields that every emission must bring, in order.
    pub fn made(&self) -> impl Iterator<Item = &Field> {
        self.columns.iter().filter_map(|column| match column {
            OutputColumn::Made(field) => Some(field),
            OutputColumn::Copied { .. } | OutputColumn::CopiedAll { .. } => None,
        })
    }
}

/// How an output's columns come about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputColumn {
    /// The transform brings it with each emission.
    Made(Field),
    /// The host copies one column of the input.
    Copied {
        /// Where it lives.
        image: Image,
        /// Its name there.
        column: Arc<str>,
        /// Its name in the output.
        name: Arc<str>,
    },
    /// The host copies all columns of an image.
    CopiedAll {
        /// Which.
        image: Image,
        /// Put before each name.
        prefix: String,
        /// Names to leave out.
        except: Vec<Arc<str>>,
    },
}

/// What a transform answers to a batch, checked completely by whoever built it (`runtime` for components).
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Rows for outputs.
    pub emissions: Vec<Emission>,
    /// Rows for the dead letters. No row is both rejected and emitted.
    pub rejections: Vec<Rejection>,
}

/// Rows for one output.
#[derive(Clone, Debug)]
pub struct Emission {
    /// Index into [`Description::outputs`].
    pub output: usize,
    /// The input row of every output row.
    pub rows: Vec<u32>,
    /// The op of every output row; `None`: that of its input row.
    pub ops: Option<Vec<Op>>,
    /// One per [`OutputSpec::made`], each as long as `rows`.
    pub columns: Vec<Cells>,
}

/// An input row that the transform refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Its place in the batch.
    pub row: u32,
    /// Why, in the words of the transform's author.
    pub reason: String,
}

/// The clocks of a batch: fixed when it is planned, the same again in a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchClock {
    /// "Now", in microseconds since 1970.
    pub now_us: i64,
    /// The watermark before the batch, in microseconds since 1970.
    pub watermark_us: Option<i64>,
}

/// A loaded transform: a component in a sandbox, or native code in a benchmark. Shared by the workers of a pipeline.
pub trait Transform: Send + Sync {
    /// What it is, under the configuration it was loaded with.
    fn description(&self) -> &Description;

    /// The SHA-256 of its code, 64 lower-case hex digits: what commits name.
    fn digest(&self) -> &str;

    /// The most memory that one of its calls has had so far, in bytes; 0 if nobody counts.
    fn memory_bytes_max(&self) -> u64 {
        0
    }

    /// Transforms one batch. A pure function of the batch and the clock.
    ///
    /// # Errors
    /// If the code traps, exceeds a limit, says so itself, or answers wrongly. Nothing is kept of the call.
    fn transform(&self, batch: &Arc<ChangeBatch>, clock: BatchClock) -> Result<Answer, TransformError>;
}
