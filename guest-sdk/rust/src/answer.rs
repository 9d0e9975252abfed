//! What a transform answers to a batch, in columns. Only gathered here; the host checks it.

use crate::{Column, Op};

/// What a transform answers. An input row that no emission and no rejection names was filtered out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// In any order; several emissions for one output are written in the order given.
    pub emissions: Vec<Emission>,
    /// An input row that is rejected must not be emitted as well.
    pub rejections: Vec<Rejection>,
}

impl Answer {
    /// Nothing emitted, nothing rejected.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds rows for an output.
    #[must_use]
    pub fn emit(mut self, emission: Emission) -> Self {
        self.emissions.push(emission);
        self
    }

    /// Refuses an input row: it goes to the dead letters.
    pub fn reject(&mut self, row: usize, reason: impl std::fmt::Display) {
        self.rejections.push(Rejection { row: row as u32, reason: reason.to_string() });
    }
}

/// Rows for one output.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Emission {
    /// Index into the outputs of the description.
    pub output: u32,
    /// For every output row the input row that it comes from: position, event time, op and copied columns follow it.
    /// Rows may be left out, repeated and reordered; rows of one key should keep their order.
    pub rows: Vec<u32>,
    /// For every output row its op. `None`: each keeps the op of its input row.
    pub ops: Option<Vec<Op>>,
    /// One per made column of the output, each as long as `rows`.
    pub columns: Vec<Column<'static>>,
}

impl Emission {
    /// Rows for an output (by its place in the description), with its made columns in the order declared.
    pub fn new(output: usize, rows: Vec<u32>, columns: impl IntoIterator<Item = Column<'static>>) -> Self {
        Self { output: output as u32, rows, ops: None, columns: columns.into_iter().collect() }
    }

    /// Gives every row an op of its own.
    #[must_use]
    pub fn with_ops(mut self, ops: Vec<Op>) -> Self {
        self.ops = Some(ops);
        self
    }
}

/// An input row that the transform refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Its place in the batch.
    pub row: u32,
    /// For the person who reads the dead letters; the host cuts it at 1,024 bytes.
    pub reason: String,
}
