//! The sink's side of the pipeline: stage on a worker, commit in order.

use std::sync::Arc;

use arrow_array::RecordBatch;

use crate::{CheckpointId, Commit, CommitOutcome, Op, SinkError, SinkPositions, TableSchema};

/// Rows for one output, in the order in which they are to be written.
#[derive(Clone, Debug)]
pub struct OutputRows {
    /// Columns and key; `batch` has exactly these columns.
    pub schema: Arc<TableSchema>,
    /// The rows.
    pub batch: RecordBatch,
    /// The op of every row.
    pub ops: Vec<Op>,
}

/// Something a sink holds ready for a commit.
#[derive(Debug)]
pub struct Staged {
    /// Rows in it.
    pub rows: u64,
    /// Bytes as written.
    pub bytes: u64,
    /// What the sink made of them.
    pub payload: Payload,
    /// SHA-256 of the components that made them, where one commit has rows of several codes; whoever stages leaves it empty.
    pub made_by: Vec<String>,
}

/// What a sink makes of rows before the commit.
#[derive(Debug)]
pub enum Payload {
    /// Files that are in place but that nobody sees yet.
    Files(Vec<StagedFile>),
    /// The rows themselves: the sink writes them when it commits.
    Rows(OutputRows),
}

/// A data file that waits for its commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedFile {
    /// Relative to the table's root.
    pub path: String,
    /// Size.
    pub bytes: u64,
    /// Rows.
    pub rows: u64,
    /// Partition column and value (`None`: null), in the table's order.
    pub partition_values: Vec<(String, Option<String>)>,
    /// All of its columns, those that it has by its folder included; files that were staged alike share them.
    pub columns: Arc<[StagedColumn]>,
    /// Delta's per-file statistics as JSON.
    pub stats: Option<String>,
    /// Milliseconds since 1970.
    pub modified_ms: i64,
    /// See [`Staged::made_by`].
    pub made_by: Vec<String>,
}

/// A column of a data file that waits for its commit: the table must have it, or get it, as it is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedColumn {
    /// Its name in the table.
    pub name: Arc<str>,
    /// What the rows call it, where a table cannot have that name.
    pub source: Option<Arc<str>>,
    /// Delta's name of its type.
    pub type_name: String,
    /// Whether it may have nulls.
    pub nullable: bool,
    /// The table did not have it when the file was written.
    pub is_new: bool,
}

/// A row that a sink cannot take, while it takes others of the same columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which of the rows.
    pub row: u32,
    /// Column, value, what the table has, and what to do.
    pub reason: String,
}

/// The part of a sink that workers use, several at a time: encode, write files, change nothing that is visible.
pub trait Stage: Send + Sync {
    /// Whether rows with these columns could be staged; asked before new code takes over.
    ///
    /// # Errors
    /// [`SinkError::Schema`] if they do not fit the table.
    fn fits(&self, schema: &Arc<TableSchema>) -> Result<(), SinkError>;

    /// The rows that must be left out of [`Stage::stage`], in their order, each once. Called before it, with the same rows.
    ///
    /// # Errors
    /// [`SinkError::Schema`] if none of the rows fit the table, since it has other columns.
    fn refusals(&self, rows: &OutputRows) -> Result<Vec<Refusal>, SinkError> {
        let _ = rows;
        Ok(Vec::new())
    }

    /// Prepares rows for the commit of `checkpoint`. Called at most once per batch and output schema; never with no rows.
    ///
    /// # Errors
    /// [`SinkError::Schema`] if the rows do not fit the table, [`SinkError::Storage`] if it cannot be written.
    fn stage(&self, checkpoint: CheckpointId, rows: OutputRows) -> Result<Staged, SinkError>;
}

/// Which table a sink writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableIdentity {
    /// Where it is.
    pub location: String,
    /// What tells it from another one that is there later; `None`: there is none yet.
    pub id: Option<String>,
}

/// A place where rows are kept, with its positions in the same transaction.
pub trait Sink: Send {
    /// The name in the pipeline file.
    fn name(&self) -> &str;

    /// Looks how far it is, afresh. What it says is also what the next commit expects to find.
    ///
    /// # Errors
    /// [`SinkError::Storage`] if it cannot be read, [`SinkError::Unsupported`] if it is not to be written.
    fn positions(&mut self) -> Result<SinkPositions, SinkError>;

    /// The table as it was when last looked at or committed to; `None` if the sink keeps nothing.
    fn table(&self) -> Option<TableIdentity> {
        None
    }

    /// The part that workers use.
    fn stage(&self) -> Arc<dyn Stage>;

    /// Makes staged rows visible together with the positions, or finds them there already. No rows is fine: the
    /// positions move.
    ///
    /// # Errors
    /// [`SinkError::Fenced`] if another writer was here. After any error nothing or everything of it is visible, and
    /// [`Sink::positions`] tells which.
    fn commit(&mut self, staged: Vec<Staged>, commit: &Commit) -> Result<CommitOutcome, SinkError>;

    /// Work that may be done between commits, such as writing log checkpoints.
    ///
    /// # Errors
    /// Worth a warning: nothing of a commit depends on it.
    fn maintain(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}
