//! The workers' part of both sinks: check rows against the table, split them, encode them, and put the files in place where no
//! reader looks. Never touches what readers see.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType as ArrowType;
use arrow_select::take::take_record_batch;
use lakemill_model::{
    CheckpointId, OutputRows, Payload, Refusal, SinkError, Stage, Staged, StagedFile, TableIdentity, TableSchema,
};

use crate::disk::Disk;
use crate::encode::encode;
use crate::fit::Fit;
use crate::names::allowed;
use crate::options::{Compression, TableOptions};
use crate::partition::{Part, split};
use crate::shape::Shape;
use crate::stats;

/// Files of one batch that are worth a word.
const FILES_MANY: usize = 1000;

/// Where rows are staged to; shared by the sink and its workers.
pub(crate) struct Target {
    pub(crate) sink: String,
    pub(crate) root: PathBuf,
    pub(crate) disk: Disk,
    options: TableOptions,
    /// The folder of data files, relative to the root: empty or ending with a slash.
    data: &'static str,
    /// Whether data files have the partition columns, too. Delta's do not: their values are in the log.
    partition_in_files: bool,
    table: Mutex<TableKnown>,
}

/// What is known of the table's columns.
#[derive(Default)]
struct TableKnown {
    /// The table's own; `None`: there is no table.
    own: Option<Arc<Shape>>,
    /// Those, and what rows on their way need beyond them; or those that the table is made with.
    wanted: Option<Arc<Shape>>,
    /// Whether a file of `wanted` was written, or is about to be.
    is_staged: bool,
    /// How rows of each schema become rows of `wanted`.
    fitting: Vec<(Arc<TableSchema>, Arc<Fit>)>,
    /// Columns of which a value was brought into the range that readers can read: each is told of once.
    clamped: BTreeSet<Arc<str>>,
    /// Whether it was said that a batch makes many files.
    is_scattered: bool,
}

impl Target {
    pub(crate) fn new(options: TableOptions, data: &'static str, partition_in_files: bool) -> Result<Self, SinkError> {
        Ok(Self {
            sink: options.sink.clone(),
            root: options.root()?,
            disk: Disk { fsync: options.fsync },
            options,
            data,
            partition_in_files,
            table: Mutex::default(),
        })
    }

    /// Refuses a folder that has `log`, by which a table of another `kind` is known.
    pub(crate) fn refuse_other(&self, log: &str, kind: &str) -> Result<(), SinkError> {
        if !self.root.join(log).exists() {
            return Ok(());
        }
        let reason = format!("{} holds a {kind} table; write to another folder, or as {kind}", self.root.display());
        Err(SinkError::Unsupported { sink: self.sink.clone(), reason })
    }

    /// Which table it is, if there is one.
    pub(crate) fn identity(&self, id: Option<&str>) -> TableIdentity {
        TableIdentity { location: self.root.display().to_string(), id: id.map(str::to_owned) }
    }

    /// What is said of a table that is no longer the one that was written.
    pub(crate) fn gone(&self, what: &str) -> SinkError {
        let reason = format!(
            "the table at {} {what} while it was written: put it back, or start again to hear what else can be done",
            self.root.display()
        );
        SinkError::Unsupported { sink: self.sink.clone(), reason }
    }

    pub(crate) fn options(&self) -> &TableOptions {
        &self.options
    }

    /// The table shows `shape`. What was staged before is held against it when it is committed ([`Target::shape_with`]).
    pub(crate) fn set_shape(&self, shape: Arc<Shape>) {
        let mut known = self.known();
        if known.own.as_ref() != Some(&shape) {
            (known.own, known.wanted) = (Some(shape), None);
            known.fitting.clear();
        }
    }

    /// The columns of the table with what `files` have beyond them, which is to be said in the entry that has the files: `true` if
    /// that is more than the table has.
    ///
    /// # Errors
    /// [`SinkError::Storage`] if the table was changed since they were staged: staged anew, their rows may fit; [`SinkError::Unsupported`]
    /// if there is no table, and no rows have said what it is to have.
    pub(crate) fn shape_with(&self, files: &[StagedFile]) -> Result<(Arc<Shape>, bool), SinkError> {
        let (own, wanted) = {
            let known = self.known();
            (known.own.clone(), known.wanted.clone())
        };
        let is_there = own.is_some();
        let base = own.or(wanted).ok_or_else(|| SinkError::Unsupported {
            sink: self.sink.clone(),
            reason: format!("the table at {}: no rows have said what columns it has", self.root.display()),
        })?;
        let with = base.with(files).map_err(|change| SinkError::Storage {
            sink: self.sink.clone(),
            action: "append to",
            path: self.root.display().to_string(),
            reason: format!("somebody changed the table while rows were on their way: {change}; they are made anew"),
        })?;
        Ok(with.map_or((base, !is_there), |with| (Arc::new(with), true)))
    }

    /// Whether the table is partitioned, and has the types, as the pipeline wants it. The error says what to do.
    pub(crate) fn check_wishes(&self, shape: &Shape) -> Result<(), SinkError> {
        let unsupported = |reason| SinkError::Unsupported { sink: self.sink.clone(), reason };
        self.check_partitioning(shape).map_err(unsupported)?;
        let Some(differs) = shape.contradicts(&self.options.columns) else { return Ok(()) };
        let root = self.root.display();
        Err(unsupported(format!(
            "the table at {root} {differs}; give the sink a new `path`, or take the column out of `columns`"
        )))
    }

    fn check_partitioning(&self, shape: &Shape) -> Result<(), String> {
        let has: Vec<&str> = shape.partition_columns.iter().map(|name| &**name).collect();
        let wants: Vec<Arc<str>> = self.options.partition_columns.iter().map(|name| allowed(name)).collect();
        let wants: Vec<&str> = wants.iter().map(|name| &**name).collect();
        if wants.is_empty() || wants == has {
            return Ok(());
        }
        let list = |names: Vec<&str>| if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        Err(format!(
            "the table at {} is partitioned by {}, the pipeline wants {}; leave the partition columns out, name the table's own, \
             or write to a new table",
            self.root.display(),
            list(has),
            list(wants)
        ))
    }

    /// How rows of `schema` fit the table, or the one that is to be: the first rows decide how it will be, and later ones may have more
    /// columns. Until a file is written they may need wider types, too.
    pub(crate) fn fit(&self, schema: &Arc<TableSchema>) -> Result<Arc<Fit>, SinkError> {
        self.fit_in(&mut self.known(), schema)
    }

    fn fit_in(&self, known: &mut TableKnown, schema: &Arc<TableSchema>) -> Result<Arc<Fit>, SinkError> {
        if let Some((_, fit)) = known.fitting.iter().find(|(seen, _)| Arc::ptr_eq(seen, schema) || seen == schema) {
            return Ok(fit.clone());
        }
        let (wanted, fit) = self.fit_to(known, schema)?;
        if known.own.as_ref() != Some(&wanted) && known.wanted.as_ref() != Some(&wanted) {
            self.tell_of(&wanted, known.wanted.as_ref().or(known.own.as_ref()));
        }
        if known.own.is_none() && !known.is_staged {
            // What was fitted to narrower types is fitted anew.
            known.fitting.clear();
        }
        known.wanted = Some(wanted);
        let fit = Arc::new(fit);
        known.fitting.push((schema.clone(), fit.clone()));
        Ok(fit)
    }

    fn fit_to(&self, known: &TableKnown, schema: &TableSchema) -> Result<(Arc<Shape>, Fit), SinkError> {
        let wrong = |reason| self.misfit(reason);
        let before = known.wanted.as_ref().or(known.own.as_ref());
        let wanted = match before {
            None => Arc::new(Shape::of_new_table(schema, &self.options).map_err(wrong)?),
            Some(before) => {
                let may_widen = known.own.is_none() && !known.is_staged;
                let widened = may_widen.then(|| before.widened(schema, &self.options)).flatten();
                let before = widened.map_or_else(|| before.clone(), Arc::new);
                before.grown(schema, &self.options).map_err(wrong)?.map_or(before, Arc::new)
            }
        };
        // While there is no table, all columns are new that it is not made with.
        let own = known.own.as_ref().or(known.wanted.as_ref());
        let mut fit = wanted.fit(schema, own.map(|own| &**own)).map_err(wrong)?;
        if self.partition_in_files {
            fit.data.extend(fit.partition.iter().cloned());
            fit.data.sort_by_key(|source| wanted.columns.iter().position(|column| column.name == source.name));
        }
        Ok((wanted, fit))
    }

    /// Names that the table has otherwise than the rows are worth a word, once each.
    fn tell_of(&self, wanted: &Shape, before: Option<&Arc<Shape>>) {
        for column in &wanted.columns {
            let is_new = before.is_none_or(|before| before.columns.iter().all(|other| other.name != column.name));
            if let Some(source) = column.source.as_ref().filter(|_| is_new) {
                tracing::warn!(
                    sink = self.sink,
                    column = %source,
                    "Delta allows no such name: the table has the column as `{}`",
                    column.name
                );
            }
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, TableKnown> {
        // What is in there is replaced as a whole: a panic elsewhere leaves it usable.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_clamped(&self, columns: &[Arc<str>]) {
        for column in columns {
            if self.known().clamped.insert(column.clone()) {
                tracing::warn!(
                    sink = self.sink,
                    column = %column,
                    "a date or timestamp outside the years 1 to 9999, which readers of the table could not read, was brought to the \
                     nearest that they can; this is said once"
                );
            }
        }
    }

    fn note_scattered(&self, files: usize) {
        if files > FILES_MANY && !std::mem::replace(&mut self.known().is_scattered, true) {
            tracing::warn!(
                sink = self.sink,
                files,
                columns = self.options.partition_columns.join(", "),
                "one batch makes a file for each partition that it has rows of: small files make a table slow; if this goes on, \
                 partition by something coarser; this is said once"
            );
        }
    }

    fn misfit(&self, reason: String) -> SinkError {
        SinkError::Schema { sink: self.sink.clone(), reason }
    }

    fn write_part(
        &self,
        checkpoint: CheckpointId,
        fit: &Fit,
        columns: &RecordBatch,
        part: &Part,
    ) -> Result<StagedFile, SinkError> {
        let taken;
        let columns = match &part.rows {
            Some(rows) if rows.len() != columns.num_rows() => {
                taken = take_record_batch(columns, rows).map_err(|error| self.misfit(error.to_string()))?;
                &taken
            }
            _ => columns,
        };
        let encoded = encode(columns, self.options.compression, self.options.row_group_rows_max);
        let encoded = encoded.map_err(|error| self.misfit(format!("encode as Parquet: {error}")))?;
        let nan: Vec<bool> = columns.columns().iter().map(|cells| has_nan(cells)).collect();
        let folder = part.folder();
        let slash = if folder.is_empty() { "" } else { "/" };
        let extension = extension(self.options.compression);
        let name = format!("part-{:010}-{}.{extension}", checkpoint.0, uuid::Uuid::new_v4());
        let path = format!("{}{folder}{slash}{name}", self.data);
        let at = self.root.join(&path);
        let dir = at.parent().unwrap_or(&self.root);
        let write = || {
            self.disk.make_dir(dir)?;
            self.disk.write_new(&at, &encoded.bytes)?;
            self.disk.sync_dir(dir)
        };
        write().map_err(|error| error.into_sink_error(&self.sink))?;
        Ok(StagedFile {
            path,
            bytes: encoded.bytes.len() as u64,
            rows: columns.num_rows() as u64,
            partition_values: part.values.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
            columns: fit.staged.clone(),
            stats: Some(stats::to_json(&encoded.metadata, &fit.data, &nan)),
            modified_ms: now_ms(),
            made_by: Vec::new(),
        })
    }
}

impl Stage for Target {
    fn fits(&self, schema: &Arc<TableSchema>) -> Result<(), SinkError> {
        self.fit_to(&self.known(), schema).map(drop)
    }

    fn refusals(&self, rows: &OutputRows) -> Result<Vec<Refusal>, SinkError> {
        let fit = self.fit(&rows.schema)?;
        let mut refusals = fit.refusals(&rows.batch).map_err(|reason| self.misfit(reason))?;
        for refusal in &mut refusals {
            refusal.reason = format!("sink {}: {} (table {})", self.sink, refusal.reason, self.root.display());
        }
        Ok(refusals)
    }

    fn stage(&self, checkpoint: CheckpointId, rows: OutputRows) -> Result<Staged, SinkError> {
        let fit = {
            let mut known = self.known();
            let fit = self.fit_in(&mut known, &rows.schema)?;
            known.is_staged = true;
            fit
        };
        let fitted = fit.fitted(&rows.batch).map_err(|reason| self.misfit(reason))?;
        self.note_clamped(&fitted.clamped);
        let parts = split(&fit.partition, &fitted.partition, rows.batch.num_rows());
        self.note_scattered(parts.len());
        // One after the other: however many there are, one is in memory.
        let files = parts
            .iter()
            .map(|part| self.write_part(checkpoint, &fit, &fitted.data, part))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Staged {
            rows: files.iter().map(|file| file.rows).sum(),
            bytes: files.iter().map(|file| file.bytes).sum(),
            payload: Payload::Files(files),
            made_by: Vec::new(),
        })
    }
}

/// The files of what was staged.
pub(crate) fn files_of(sink: &str, staged: Vec<Staged>) -> Result<Vec<StagedFile>, SinkError> {
    let mut files = Vec::new();
    for staged in staged {
        match staged.payload {
            Payload::Files(more) => {
                files.extend(more.into_iter().map(|file| StagedFile { made_by: staged.made_by.clone(), ..file }));
            }
            Payload::Rows(_) => {
                let reason = "rows were staged for a sink of another kind".to_owned();
                return Err(SinkError::Unsupported { sink: sink.to_owned(), reason });
            }
        }
    }
    Ok(files)
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn extension(compression: Compression) -> &'static str {
    match compression {
        Compression::Zstd => "zstd.parquet",
        Compression::Snappy => "snappy.parquet",
        Compression::Gzip => "gz.parquet",
        Compression::None => "parquet",
    }
}

fn has_nan(cells: &dyn Array) -> bool {
    match cells.data_type() {
        ArrowType::Float32 => cells.as_primitive::<Float32Type>().iter().flatten().any(f32::is_nan),
        ArrowType::Float64 => cells.as_primitive::<Float64Type>().iter().flatten().any(f64::is_nan),
        _ => false,
    }
}
