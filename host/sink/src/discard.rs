//! Nowhere: rows that nobody wants, counted and dropped. It keeps no positions.

use std::sync::Arc;

use lakemill_model::{
    CheckpointId, Commit, CommitOutcome, OutputRows, Payload, Sink, SinkError, SinkPositions, Stage, Staged,
    TableSchema,
};

/// Drops rows.
#[derive(Debug)]
pub struct DiscardSink {
    name: String,
}

impl DiscardSink {
    /// The sink of an output.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }
}

impl Sink for DiscardSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn positions(&mut self) -> Result<SinkPositions, SinkError> {
        Ok(SinkPositions::default())
    }

    fn stage(&self) -> Arc<dyn Stage> {
        Arc::new(Drop)
    }

    fn commit(&mut self, _: Vec<Staged>, _: &Commit) -> Result<CommitOutcome, SinkError> {
        Ok(CommitOutcome::Committed(None))
    }
}

struct Drop;

impl Stage for Drop {
    fn fits(&self, _: &Arc<TableSchema>) -> Result<(), SinkError> {
        Ok(())
    }

    fn stage(&self, _: CheckpointId, rows: OutputRows) -> Result<Staged, SinkError> {
        let (count, nothing) = (rows.batch.num_rows() as u64, rows.batch.slice(0, 0));
        let payload = Payload::Rows(OutputRows { batch: nothing, ops: Vec::new(), ..rows });
        Ok(Staged { rows: count, bytes: 0, payload, made_by: Vec::new() })
    }
}
