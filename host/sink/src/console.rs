//! The console: one JSON object a row on standard output. It keeps no positions, so a pipeline with nothing but a console
//! starts where its file says every time.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_json::LineDelimitedWriter;
use lakemill_model::{
    CheckpointId, Commit, CommitOutcome, OutputRows, Payload, Sink, SinkError, SinkPositions, Stage, Staged,
    TableSchema,
};

/// Prints rows, in the order of their commits.
#[derive(Debug)]
pub struct ConsoleSink<W> {
    name: String,
    out: W,
    rows_left: u64,
}

impl ConsoleSink<io::Stdout> {
    /// Prints at most `rows_max` rows to standard output, all if `None`.
    pub fn stdout(name: impl Into<String>, rows_max: Option<u64>) -> Self {
        Self::new(name, io::stdout(), rows_max)
    }
}

impl<W: Write + Send> ConsoleSink<W> {
    /// Prints at most `rows_max` rows to `out`, all if `None`.
    pub fn new(name: impl Into<String>, out: W, rows_max: Option<u64>) -> Self {
        Self { name: name.into(), out, rows_left: rows_max.unwrap_or(u64::MAX) }
    }

    fn print(&mut self, rows: &RecordBatch) -> io::Result<()> {
        let count = usize::try_from(self.rows_left).unwrap_or(usize::MAX).min(rows.num_rows());
        self.rows_left -= count as u64;
        let mut writer = LineDelimitedWriter::new(BufWriter::new(&mut self.out));
        writer.write(&rows.slice(0, count)).map_err(io::Error::other)?;
        writer.finish().map_err(io::Error::other)?;
        writer.into_inner().flush()
    }
}

impl<W: Write + Send> Sink for ConsoleSink<W> {
    fn name(&self) -> &str {
        &self.name
    }

    fn positions(&mut self) -> Result<SinkPositions, SinkError> {
        Ok(SinkPositions::default())
    }

    fn stage(&self) -> Arc<dyn Stage> {
        Arc::new(Keep)
    }

    fn commit(&mut self, staged: Vec<Staged>, _: &Commit) -> Result<CommitOutcome, SinkError> {
        for part in staged {
            let Payload::Rows(rows) = part.payload else { continue };
            self.print(&rows.batch).map_err(|error| SinkError::Storage {
                sink: self.name.clone(),
                action: "write",
                path: "standard output".into(),
                reason: error.to_string(),
            })?;
        }
        Ok(CommitOutcome::Committed(None))
    }
}

/// Nothing is to be prepared.
struct Keep;

impl Stage for Keep {
    fn fits(&self, _: &Arc<TableSchema>) -> Result<(), SinkError> {
        Ok(())
    }

    fn stage(&self, _: CheckpointId, rows: OutputRows) -> Result<Staged, SinkError> {
        Ok(Staged { rows: rows.batch.num_rows() as u64, bytes: 0, payload: Payload::Rows(rows), made_by: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, Int64Array, StringArray};
    use lakemill_model::{DataType, Epochs, Field, Op, PositionDelta, Positions};

    use super::*;

    #[test]
    fn prints_json_lines_up_to_the_limit() {
        let fields = vec![Field::new("id", DataType::Int64, false), Field::new("note", DataType::Text, true)];
        let schema = Arc::new(TableSchema { fields, key: vec![] });
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(vec![1, 2])), Arc::new(StringArray::from(vec![Some("a\"b"), None]))];
        let batch = RecordBatch::try_new(schema.to_arrow(), columns).expect("rows");
        let rows = OutputRows { schema, batch, ops: vec![Op::Create; 2] };
        let mut out = Vec::new();
        let mut sink = ConsoleSink::new("c", &mut out, Some(3));
        let commit = Commit {
            checkpoint: CheckpointId(1),
            delta: PositionDelta::default(),
            done: Positions::new(),
            epochs: Epochs::default(),
            digests: vec![],
        };
        for _ in 0..2 {
            let staged = sink.stage().stage(CheckpointId(1), rows.clone()).expect("stages");
            sink.commit(vec![staged], &commit).expect("prints");
        }
        let text = String::from_utf8(out).expect("UTF-8");
        assert_eq!(text, "{\"id\":1,\"note\":\"a\\\"b\"}\n{\"id\":2}\n{\"id\":1,\"note\":\"a\\\"b\"}\n");
    }
}
