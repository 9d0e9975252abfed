//! The workers' part of both sinks: check rows against the table, split them, encode them, and put the files in place where no
//! reader looks. Never touches what readers see.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType as ArrowType;
use arrow_select::take::take_record_batch;
use lakemill_model::{CheckpointId, OutputRows, Payload, SinkError, Stage, Staged, StagedFile, TableSchema};

use crate::disk::Disk;
use crate::encode::encode;
use crate::options::{Compression, TableOptions};
use crate::partition::{Part, split};
use crate::shape::{Fit, Shape};
use crate::stats;

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
    /// The table's own; while there is no table, those that it gets.
    shape: Option<Arc<Shape>>,
    /// The schemas of rows that were found to fit `shape`.
    fitting: Vec<(Arc<TableSchema>, Arc<Fit>)>,
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

    pub(crate) fn options(&self) -> &TableOptions {
        &self.options
    }

    /// The table's columns; without a table those that it will be made with, if rows have come.
    pub(crate) fn shape(&self) -> Option<Arc<Shape>> {
        self.known().shape.clone()
    }

    /// The table shows `shape`. Rows staged so far must fit it.
    pub(crate) fn set_shape(&self, shape: Arc<Shape>) -> Result<(), SinkError> {
        let mut known = self.known();
        if known.shape.as_ref() == Some(&shape) {
            return Ok(());
        }
        // Another table than the one that rows were staged for must still take them.
        let mut fitting = Vec::with_capacity(known.fitting.len());
        for (schema, before) in &known.fitting {
            let fit = self.fit_to(&shape, schema)?;
            let names = |fit: &Fit| fit.partition.iter().map(|source| source.field.name.clone()).collect::<Vec<_>>();
            if names(before) != names(&fit) {
                return Err(self.misfit(
                    "the table was partitioned differently while rows were on their way; start again".to_owned(),
                ));
            }
            fitting.push((schema.clone(), Arc::new(fit)));
        }
        *known = TableKnown { shape: Some(shape), fitting };
        Ok(())
    }

    /// Whether the table is partitioned as the pipeline wants it. The error says what to do.
    pub(crate) fn check_partitioning(&self, shape: &Shape) -> Result<(), String> {
        let has: Vec<&str> = shape.partition_columns.iter().map(|name| &**name).collect();
        let wants: Vec<&str> = self.options.partition_columns.iter().map(String::as_str).collect();
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

    /// How rows of `schema` fit the table. While there is none, the first rows decide how it will be.
    pub(crate) fn fit(&self, schema: &Arc<TableSchema>) -> Result<Arc<Fit>, SinkError> {
        let mut known = self.known();
        if let Some((_, fit)) = known.fitting.iter().find(|(seen, _)| Arc::ptr_eq(seen, schema) || seen == schema) {
            return Ok(fit.clone());
        }
        let shape = match &known.shape {
            Some(shape) => shape.clone(),
            None => {
                let shape = Shape::of_new_table(schema, &self.options.partition_columns);
                Arc::new(shape.map_err(|reason| self.misfit(reason))?)
            }
        };
        let fit = Arc::new(self.fit_to(&shape, schema)?);
        known.shape = Some(shape);
        known.fitting.push((schema.clone(), fit.clone()));
        Ok(fit)
    }

    fn fit_to(&self, shape: &Shape, schema: &TableSchema) -> Result<Fit, SinkError> {
        let mut fit = shape.fit(schema).map_err(|reason| self.misfit(reason))?;
        if self.partition_in_files {
            fit.data.extend(fit.partition.iter().cloned());
            fit.data.sort_by_key(|source| shape.columns.iter().position(|column| column.name == source.field.name));
        }
        Ok(fit)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, TableKnown> {
        // What is in there is replaced as a whole: a panic elsewhere leaves it usable.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
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
            stats: Some(stats::to_json(&encoded.metadata, &fit.data, &nan)),
            modified_ms: now_ms(),
            made_by: Vec::new(),
        })
    }
}

impl Stage for Target {
    fn fits(&self, schema: &Arc<TableSchema>) -> Result<(), SinkError> {
        let shape = self.known().shape.clone();
        match shape {
            Some(shape) => self.fit_to(&shape, schema).map(drop),
            None => Shape::of_new_table(schema, &self.options.partition_columns)
                .map(drop)
                .map_err(|reason| self.misfit(reason)),
        }
    }

    fn stage(&self, checkpoint: CheckpointId, rows: OutputRows) -> Result<Staged, SinkError> {
        let fit = self.fit(&rows.schema)?;
        let columns = fit.data_columns(&rows.batch).map_err(|reason| self.misfit(reason))?;
        let parts =
            split(&fit, &rows.batch, self.options.partitions_per_batch_max).map_err(|reason| self.misfit(reason))?;
        let files = parts
            .iter()
            .map(|part| self.write_part(checkpoint, &fit, &columns, part))
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
