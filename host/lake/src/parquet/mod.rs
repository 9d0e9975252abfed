//! Parquet files with a manifest: a table for readers that know neither Delta nor a catalog, with the same promise.
//!
//! ```text
//! data/day=2026-01-01/part-0000000042-<uuid>.zstd.parquet   rows; all columns, those of the folders included
//! _manifest/00000000000000000007.json                       what commit 7 added, and all positions after it
//! _manifest/00000000000000000099.list.json                  the files of the commits 0 to 99, for readers in a hurry
//! ```
//!
//! A file of `data` belongs to the table if an entry of the manifest names it: others are on their way or were left behind. So a
//! reader lists `_manifest`, reads its entries from 0 on without a gap (a list in the place of those that it covers), and takes
//! the files that they name; entries are never changed or removed, and a table only grows. [`visible_files`] does that.

mod manifest;
mod read;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lakemill_model::{
    Commit, CommitOutcome, OffsetRange, Positions, Sink, SinkError, SinkPositions, Stage, Staged, StagedFile,
    TableIdentity, TableSchema, TopicPartition,
};

use crate::app_id::AppIds;
use crate::disk::{self, Ground, Published};
use crate::ledger::{self, Ledger, View, changes, shown};
use crate::options::TableOptions;
use crate::shape::Shape;
use crate::stage::{Target, files_of, now_ms};
use manifest::{Entry, FileEntry, LIST_VERSIONS, List, Totals, from_bytes, to_bytes};
use read::newest;
pub(crate) use read::{Newest, commits, newest_entry};
pub use read::{VisibleFile, visible_files};

/// Parquet files with a manifest as a sink that appends.
///
/// As with [`crate::DeltaSink`], the first commit with rows makes the table, and one without rows before that is deferred.
pub struct ParquetSink {
    table: Table,
    expected: Positions,
    /// The version up to which lists were written or tried.
    listed: u64,
}

/// The table as a ledger.
struct Table {
    target: Arc<Target>,
    dir: PathBuf,
    ids: AppIds,
    last: Option<Last>,
    /// What tells the table from another one in its place: the checksum of its first entry.
    id: Option<String>,
}

/// The newest entry.
struct Last {
    view: View,
    crc: String,
    positions: BTreeMap<String, i64>,
    totals: Totals,
    ground: Option<Ground>,
}

impl ParquetSink {
    /// Opens the table, if there is one.
    ///
    /// # Errors
    /// [`SinkError::Unsupported`] if the folder is no place for a table; [`SinkError::Storage`] if its manifest cannot be read or is damaged.
    pub fn open(options: TableOptions) -> Result<Self, SinkError> {
        let target = Target::new(options, "data/", true)?;
        target.refuse_other("_delta_log", "Delta")?;
        let options = target.options();
        let ids = AppIds::new(&options.tenant, &options.pipeline, &options.sink);
        let table = Table { dir: target.root.join("_manifest"), target: Arc::new(target), ids, last: None, id: None };
        let mut sink = Self { table, expected: Positions::new(), listed: 0 };
        sink.positions()?;
        Ok(sink)
    }

    /// Makes the table without rows, if it is not there. True if we made it.
    ///
    /// # Errors
    /// [`SinkError::Schema`] if no table can have these columns, or the one that is there has others.
    pub fn create(&mut self, schema: &Arc<TableSchema>) -> Result<bool, SinkError> {
        self.table.target.fit(schema)?;
        if self.table.last.is_some() {
            return Ok(false);
        }
        let made = self.table.write_entry(&[], None)? == Published::Created;
        if !made {
            self.table.look(true)?;
        }
        self.expected = shown(&self.table).held;
        Ok(made)
    }

    /// The version of the table as last seen; `None` if there is no table.
    pub fn version(&self) -> Option<u64> {
        self.table.last.as_ref().map(|last| last.view.version)
    }
}

impl Table {
    fn write_entry(&mut self, files: &[StagedFile], commit: Option<&Commit>) -> Result<Published, SinkError> {
        let options = self.target.options();
        let (shape, _) = self.target.shape_with(files)?;
        let changes = commit.map(|commit| changes(&self.ids, &shown(self), commit)).unwrap_or_default();
        let (version, previous, mut positions, totals) = match &self.last {
            Some(last) => (last.view.version + 1, last.crc.clone(), last.positions.clone(), last.totals),
            None => (0, String::new(), BTreeMap::new(), Totals::default()),
        };
        positions.extend(changes.iter().map(|(id, number)| (id.clone(), *number)));
        let range = |(tp, range): (&TopicPartition, OffsetRange)| {
            (tp.topic.to_string(), tp.partition, range.start.0, range.end.0)
        };
        let entry = Entry {
            format: Entry::FORMAT,
            version,
            previous,
            time_ms: now_ms(),
            writer: concat!("lakemill/", env!("CARGO_PKG_VERSION")).to_owned(),
            tenant: options.tenant.clone(),
            pipeline: options.pipeline.clone(),
            sink: options.sink.clone(),
            checkpoint: commit.map(|commit| commit.checkpoint.0),
            digests: commit.map(|commit| commit.digests.clone()).unwrap_or_default(),
            ranges: commit.map(|commit| commit.delta.iter().map(range).collect()).unwrap_or_default(),
            columns: shape.known_fields(),
            partition_by: shape.partition_columns.iter().map(ToString::to_string).collect(),
            positions,
            totals: totals.plus(files),
            files: files.iter().map(FileEntry::from).collect(),
        };
        let (bytes, crc) = to_bytes(&entry);
        let disk = self.target.disk;
        let publish = || {
            disk.make_dir(&self.dir)?;
            disk.publish(&self.dir, &entry_name(version), &bytes)
        };
        let published = publish().map_err(|error| error.into_sink_error(&self.target.sink))?;
        if published == Published::Created {
            let mut view = self.last.take().map(|last| last.view).unwrap_or_default();
            view.version = version;
            view.absorb(&self.ids, changes);
            let ground = self.ground(version);
            if version == 0 {
                self.id = Some(crc.clone());
            }
            self.last = Some(Last { view, crc, positions: entry.positions, totals: entry.totals, ground });
            self.target.set_shape(shape);
        }
        Ok(published)
    }

    fn read_entry(&self, version: u64) -> Result<Option<(Entry, String)>, SinkError> {
        let path = self.dir.join(entry_name(version));
        let bytes = disk::read(&path).map_err(|error| error.into_sink_error(&self.target.sink))?;
        bytes.map(|bytes| from_bytes(&bytes).map_err(|reason| self.damaged(&path, reason))).transpose()
    }

    fn ground(&self, version: u64) -> Option<Ground> {
        Ground::of(&self.dir.join(entry_name(version)))
    }

    fn damaged(&self, path: &Path, reason: String) -> SinkError {
        damaged(&self.target.sink, path, reason)
    }

    /// Writes the lists of the hundreds that are full and have none, the newest first.
    fn write_lists(&self, version: u64, from: u64) -> Result<(), SinkError> {
        let full = (version + 1) / LIST_VERSIONS;
        for hundred in (from / LIST_VERSIONS..full).rev() {
            let (first, last) = (hundred * LIST_VERSIONS, (hundred + 1) * LIST_VERSIONS - 1);
            if self.dir.join(list_name(last)).exists() {
                return Ok(());
            }
            let mut files = Vec::new();
            for version in first..=last {
                let gone = || self.damaged(&self.dir, format!("entry {version} is missing"));
                files.extend(self.read_entry(version)?.ok_or_else(gone)?.0.files);
            }
            let (bytes, _) = to_bytes(&List::new(first, last, files));
            // Whoever is second has written the same.
            self.target
                .disk
                .publish(&self.dir, &list_name(last), &bytes)
                .map_err(|error| error.into_sink_error(&self.target.sink))?;
        }
        Ok(())
    }
}

impl Ledger for Table {
    fn sink(&self) -> &str {
        &self.target.sink
    }

    fn view(&self) -> Option<&View> {
        self.last.as_ref().map(|last| &last.view)
    }

    fn look(&mut self, afresh: bool) -> Result<(), SinkError> {
        let seen = self.last.take().filter(|_| !afresh).map(|last| last.view.version);
        let mut version = match seen {
            Some(version) => version,
            None => match newest(&self.dir).map_err(|error| error.into_sink_error(&self.target.sink))? {
                Some(version) => version,
                None if self.id.is_some() => return Err(self.target.gone("was deleted")),
                None => return Ok(()),
            },
        };
        if seen.is_none() {
            let first = self.read_entry(0)?.map(|(_, crc)| crc);
            if self.id.is_some() && self.id != first {
                return Err(self.target.gone("was replaced by another one"));
            }
            self.id = first;
        }
        let mut newest = None;
        while let Some(entry) = self.read_entry(version)? {
            newest = Some(entry);
            version += 1;
        }
        let Some((entry, crc)) = newest else { return Ok(()) };
        let shape = shape_of(&entry);
        self.target.check_wishes(&shape)?;
        self.target.set_shape(Arc::new(shape));
        let view = View::new(entry.version, &self.ids, entry.positions.clone());
        let ground = self.ground(entry.version);
        self.last = Some(Last { view, crc, positions: entry.positions, totals: entry.totals, ground });
        Ok(())
    }

    fn lost_its_ground(&self) -> bool {
        match &self.last {
            Some(Last { view, ground, .. }) => self.ground(view.version).is_none_or(|there| Some(there) != *ground),
            // There was a table, and a look has failed to find it.
            None => self.id.is_some(),
        }
    }

    fn settle(&self) -> Result<(), SinkError> {
        self.target.disk.sync_dir(&self.dir).map_err(|error| error.into_sink_error(&self.target.sink))
    }

    fn append(&mut self, files: &[StagedFile], commit: &Commit) -> Result<Published, SinkError> {
        self.write_entry(files, Some(commit))
    }
}

impl Sink for ParquetSink {
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
        Some(self.table.target.identity(self.table.id.as_deref()))
    }

    fn stage(&self) -> Arc<dyn Stage> {
        self.table.target.clone()
    }

    fn commit(&mut self, staged: Vec<Staged>, commit: &Commit) -> Result<CommitOutcome, SinkError> {
        let files = files_of(&self.table.target.sink, staged)?;
        ledger::commit(&mut self.table, &mut self.expected, &files, commit)
    }

    /// Writes lists. Unless the options' interval is 0.
    fn maintain(&mut self) -> Result<(), SinkError> {
        let Some(version) = self.version() else { return Ok(()) };
        if self.table.target.options().checkpoint_interval == 0 || version + 1 < self.listed + LIST_VERSIONS {
            return Ok(());
        }
        let from = std::mem::replace(&mut self.listed, (version + 1) / LIST_VERSIONS * LIST_VERSIONS);
        self.table.write_lists(version, from)
    }
}

fn shape_of(entry: &Entry) -> Shape {
    Shape::of_fields(&entry.columns, entry.partition_by.iter().map(|name| Arc::from(&**name)).collect())
}

fn damaged(sink: &str, path: &Path, reason: String) -> SinkError {
    SinkError::Storage { sink: sink.to_owned(), action: "read", path: path.display().to_string(), reason }
}

fn entry_name(version: u64) -> String {
    format!("{version:020}.json")
}

fn list_name(last: u64) -> String {
    format!("{last:020}.list.json")
}
