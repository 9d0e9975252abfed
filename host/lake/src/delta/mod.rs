//! A Delta table that rows are appended to, with the pipeline's positions in the same log entries.
//!
//! A commit is one file: the entry of the next version, which only one writer can create. So a commit holds the version that it
//! was decided on, as the protocol asks: whoever was faster took the number, and then everything is decided anew on what they
//! wrote. Other writers may append, compact or delete meanwhile; only our own positions can stop us.
//!
//! deltalake's `CommitBuilder` is not used: it keeps the table's whole list of files in memory, replays it at every
//! commit, may retry on its own, and does not wait for the disk. What it checks beyond is in `protocol`.

mod actions;
mod checkpoint;
mod error;
mod log;
mod protocol;
mod schema;
pub(crate) mod snapshot;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use lakemill_model::{
    Commit, CommitOutcome, Positions, Sink, SinkError, SinkPositions, Stage, Staged, StagedFile, TableIdentity,
    TableSchema,
};
use serde_json::Value;

use crate::app_id::AppIds;
use crate::disk::{Ground, Published};
use crate::ledger::{self, Ledger, View, changes, shown};
use crate::options::TableOptions;
use crate::shape::Shape;
use crate::stage::{Target, files_of, now_ms};
use actions::{Entry, Origin, Seen};
pub(crate) use error::LookError;
use log::{Log, Since};
use snapshot::Look;

/// A Delta table as a sink that appends.
///
/// The table is made by the first commit that has rows, with the columns of the first rows staged, or by [`DeltaSink::create`]. A
/// commit without rows while there is no table is deferred and forgotten: nobody can be told, and nobody is fenced. A restart then
/// reads again from where the pipeline's journal says, which is exact: no row of those steps was written here.
pub struct DeltaSink {
    table: Table,
    /// What it held after our last look or commit: what the next commit expects.
    expected: Positions,
    maintenance: Option<JoinHandle<Result<u64, LookError>>>,
    /// The version up to which there are log checkpoints, or at which one was tried.
    maintained: u64,
}

/// The table as a ledger.
struct Table {
    target: Arc<Target>,
    log: Arc<Log>,
    ids: AppIds,
    view: Option<View>,
    /// The entry of the view's version, and the content of the table's `metaData` action.
    known: Option<Known>,
    /// The version of the last log checkpoint, as of the last look.
    checkpoint: Option<u64>,
}

/// What tells a table from another one in its place, and how it is to be written.
struct Known {
    metadata: Value,
    ground: Option<Ground>,
}

impl DeltaSink {
    /// Opens the table, if there is one.
    ///
    /// # Errors
    /// [`SinkError::Unsupported`] if it is a table that we must not write, or no place for one; [`SinkError::Storage`] if it
    /// cannot be read.
    pub fn open(options: TableOptions) -> Result<Self, SinkError> {
        let target = Arc::new(Target::new(options, "", false)?);
        target.refuse_other("_manifest", "Parquet")?;
        let options = target.options();
        let log = Arc::new(Log::new(&target.root, target.disk));
        let ids = AppIds::new(&options.tenant, &options.pipeline, &options.sink);
        let table = Table { target, log, ids, view: None, known: None, checkpoint: None };
        let mut sink = Self { table, expected: Positions::new(), maintenance: None, maintained: 0 };
        sink.positions()?;
        Ok(sink)
    }

    /// Makes the table without rows, if it is not there. True if we made it.
    ///
    /// # Errors
    /// [`SinkError::Schema`] if no table can have these columns, or the one that is there has others.
    pub fn create(&mut self, schema: &Arc<TableSchema>) -> Result<bool, SinkError> {
        let table = &mut self.table;
        table.target.fit(schema)?;
        if table.view.is_some() {
            return Ok(false);
        }
        let made = table.write_entry(&[], None)? == Published::Created;
        if !made {
            table.look(false)?;
            table.target.fit(schema)?;
        }
        self.expected = shown(table).held;
        Ok(made)
    }

    /// The table's version as last seen; `None` if there is no table.
    pub fn version(&self) -> Option<u64> {
        self.table.view.as_ref().map(|view| view.version)
    }

    /// Writes a log checkpoint of the version last seen, now, and deletes old log entries if the options say so. The version.
    ///
    /// # Errors
    /// [`SinkError::Unsupported`] without a table, [`SinkError::Storage`] if it cannot be written or reads back wrong: it is then not
    /// put in place.
    pub fn checkpoint(&mut self) -> Result<u64, SinkError> {
        let Some(view) = &self.table.view else {
            return Err(self.table.error(LookError::Unsupported("there is none".to_owned())));
        };
        self.maintained = view.version;
        Maintenance::of(&self.table, view).run().map_err(|error| self.table.error(error))
    }
}

/// What a log checkpoint is made of; it knows enough to be made on another thread.
struct Maintenance {
    root: PathBuf,
    log: Arc<Log>,
    view: View,
    prefix: String,
    retention_ms: Option<i64>,
}

impl Maintenance {
    fn of(table: &Table, view: &View) -> Self {
        let retention = table.target.options().log_retention;
        Self {
            root: table.target.root.clone(),
            log: table.log.clone(),
            view: view.clone(),
            prefix: table.ids.prefix(),
            retention_ms: retention.map(|retention| i64::try_from(retention.as_millis()).unwrap_or(i64::MAX)),
        }
    }

    fn run(self) -> Result<u64, LookError> {
        let version = self.view.version;
        checkpoint::write(&self.root, &self.log, version, self.view.transactions, self.prefix)?;
        if let Some(age_ms) = self.retention_ms {
            snapshot::delete_old_entries(&self.root, version, now_ms().saturating_sub(age_ms))?;
        }
        self.log.sweep()?;
        Ok(version)
    }
}

impl Table {
    fn look_afresh(&mut self) -> Result<(), SinkError> {
        self.view = None;
        let look = snapshot::look(&self.target.root, &self.ids.prefix()).map_err(|error| self.error(error))?;
        let Some(Look { version, shape, metadata, transactions, checkpoint, refusals }) = look else {
            return if self.known.is_some() { Err(self.target.gone("was deleted")) } else { Ok(()) };
        };
        if self.known.as_ref().is_some_and(|known| known.metadata["id"] != metadata["id"]) {
            return Err(self.target.gone("was replaced by another one"));
        }
        if !refusals.is_empty() {
            let reason = format!("Lakemill must not append to {}: {}", self.target.root.display(), refusals.join("; "));
            return Err(SinkError::Unsupported { sink: self.target.sink.clone(), reason });
        }
        self.target.check_wishes(&shape)?;
        self.target.set_shape(shape);
        self.known = Some(Known { metadata, ground: self.log.ground(version) });
        self.view = Some(View::new(version, &self.ids, transactions));
        self.checkpoint = checkpoint;
        Ok(())
    }

    /// Writes the next entry on what we know of the table, or makes the table.
    fn write_entry(&mut self, files: &[StagedFile], commit: Option<&Commit>) -> Result<Published, SinkError> {
        let options = self.target.options();
        let now_ms = now_ms();
        let origin = Origin { tenant: &options.tenant, pipeline: &options.pipeline, sink: &options.sink, now_ms };
        let (shape, has_more) = self.target.shape_with(files)?;
        let mut entry = Entry::new(&origin, commit, files, &shape.partition_columns);
        let mut metadata = None;
        if has_more {
            let changed = match &self.known {
                None => actions::new_metadata(&shape, now_ms),
                Some(known) => self.with_columns(known, &shape)?,
            };
            match self.view {
                None => entry.create_table(&changed),
                Some(_) => entry.change_metadata(&changed),
            }
            metadata = Some(changed);
        }
        let transactions = commit.map(|commit| changes(&self.ids, &shown(self), commit)).unwrap_or_default();
        entry.add_files(files);
        entry.set(&transactions, now_ms);
        let version = self.view.as_ref().map_or(0, |view| view.version + 1);
        let published = self.log.publish(version, entry.bytes()).map_err(|error| self.error(error.into()))?;
        if published == Published::Created {
            let view = self.view.get_or_insert_default();
            view.version = version;
            view.absorb(&self.ids, transactions);
            let metadata = metadata.or_else(|| self.known.take().map(|known| known.metadata)).unwrap_or_default();
            self.known = Some(Known { metadata, ground: self.log.ground(version) });
            self.target.set_shape(shape);
        }
        Ok(published)
    }

    /// Versions between two log checkpoints: as the table says, or else the options. 0: never.
    fn checkpoint_interval(&self) -> u64 {
        let ours = self.target.options().checkpoint_interval;
        let known =
            self.known.as_ref().and_then(|known| known.metadata["configuration"]["delta.checkpointInterval"].as_str());
        let of_table = known.and_then(|text| text.parse::<u64>().ok()).filter(|versions| *versions > 0 && ours > 0);
        of_table.unwrap_or(ours)
    }

    /// The table's metadata with the columns that `shape` has beyond its own.
    fn with_columns(&self, known: &Known, shape: &Shape) -> Result<Value, SinkError> {
        let mut metadata = known.metadata.clone();
        let schema = metadata["schemaString"].as_str().unwrap_or_default();
        let schema =
            schema::with_columns(schema, shape).map_err(|reason| self.error(LookError::Unsupported(reason)))?;
        metadata["schemaString"] = schema.into();
        Ok(metadata)
    }

    fn error(&self, error: LookError) -> SinkError {
        error.into_sink_error(&self.target.sink, &self.target.root)
    }
}

impl Ledger for Table {
    fn sink(&self) -> &str {
        &self.target.sink
    }

    fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }

    /// By the entries that came since, where that is enough.
    fn look(&mut self, afresh: bool) -> Result<(), SinkError> {
        let (false, Some(view)) = (afresh, &mut self.view) else { return self.look_afresh() };
        match self.log.since(view.version) {
            Ok(Since::Entries(entries)) => {
                for Seen { transactions, .. } in entries {
                    view.version += 1;
                    view.absorb(&self.ids, transactions);
                }
                if let Some(known) = &mut self.known {
                    known.ground = self.log.ground(view.version);
                }
                Ok(())
            }
            Ok(Since::LookAgain) => self.look_afresh(),
            Err(error) => Err(self.error(error)),
        }
    }

    fn lost_its_ground(&self) -> bool {
        match (&self.view, &self.known) {
            (Some(view), Some(known)) => {
                self.log.ground(view.version).is_none_or(|ground| Some(ground) != known.ground)
            }
            // There was a table, and a look has failed to find it.
            (None, Some(_)) => true,
            (_, None) => false,
        }
    }

    fn settle(&self) -> Result<(), SinkError> {
        self.log.settle().map_err(|error| self.error(error.into()))
    }

    fn append(&mut self, files: &[StagedFile], commit: &Commit) -> Result<Published, SinkError> {
        self.write_entry(files, Some(commit))
    }
}

impl Sink for DeltaSink {
    fn name(&self) -> &str {
        &self.table.target.sink
    }

    fn positions(&mut self) -> Result<SinkPositions, SinkError> {
        self.table.look(self.table.lost_its_ground())?;
        let shown = shown(&self.table);
        self.expected = shown.held.clone();
        Ok(shown)
    }

    fn table(&self) -> Option<TableIdentity> {
        let id = self.table.known.as_ref().and_then(|known| known.metadata["id"].as_str());
        Some(self.table.target.identity(id))
    }

    fn stage(&self) -> Arc<dyn Stage> {
        self.table.target.clone()
    }

    fn commit(&mut self, staged: Vec<Staged>, commit: &Commit) -> Result<CommitOutcome, SinkError> {
        let files = files_of(&self.table.target.sink, staged)?;
        ledger::commit(&mut self.table, &mut self.expected, &files, commit)
    }

    /// Starts a log checkpoint on a thread of its own when one is due, and tells how the last one went.
    fn maintain(&mut self) -> Result<(), SinkError> {
        if let Some(job) = self.maintenance.take_if(|job| job.is_finished()) {
            finish(job).map_err(|error| self.table.error(error))?;
        }
        let interval = self.table.checkpoint_interval();
        let Some(view) = &self.table.view else { return Ok(()) };
        let due = |last: u64| interval > 0 && view.version >= last.saturating_add(interval);
        if self.maintenance.is_some() || !due(self.maintained.max(self.table.checkpoint.unwrap_or(0))) {
            return Ok(());
        }
        // Another process of the pipeline may have been at it.
        self.table.checkpoint = self.table.checkpoint.max(log::last_checkpoint(&self.table.log));
        if due(self.table.checkpoint.unwrap_or(0)) {
            self.maintained = view.version;
            let job = Maintenance::of(&self.table, view);
            let thread = std::thread::Builder::new().name("lake-checkpoint".to_owned()).spawn(move || job.run());
            let spawned =
                thread.map_err(|error| LookError::Storage { path: "a thread".to_owned(), reason: error.to_string() });
            self.maintenance = Some(spawned.map_err(|error| self.table.error(error))?);
        }
        Ok(())
    }
}

/// A process that ends waits for its checkpoint: half of one is only a file that nobody reads, but it took its time.
impl Drop for DeltaSink {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.maintenance.take().map(finish) {
            let error = self.table.error(error);
            tracing::warn!(%error, "the last log checkpoint was not written; the table is whole without it");
        }
    }
}

fn finish(job: JoinHandle<Result<u64, LookError>>) -> Result<u64, LookError> {
    let lost = |_| LookError::Storage {
        path: "a log checkpoint".to_owned(),
        reason: "the thread that wrote it panicked".to_owned(),
    };
    job.join().map_err(lost)?
}
