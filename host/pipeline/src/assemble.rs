//! From a checked pipeline file to a pipeline that can run: components loaded and wired, tables opened, the source made.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lakemill_decode::{Decoder, DecoderConfig, SchemaMode, joined};
use lakemill_ingest::{FileOptions, FileSource, KafkaOptions, KafkaSource, LineFormat, OnDataLoss, Properties};
use lakemill_lake::{Compression, DeltaSink, ParquetSink, TableOptions};
use lakemill_model::{BatchLimits, NextOffset, RowSchema, Sink, Source, SourceError, StartAt, Transform, Watermarks};
use lakemill_runtime::{Engine, EngineOptions, Grant, Limits, LoadOptions};
use lakemill_sink::ConsoleSink;
use lakemill_state::{Journal, SchemaBook};
use serde::Serialize;

use crate::error::PipelineError;
use crate::projection::projection;
use crate::run::Assembly;
use crate::spec::units::Template;
use crate::spec::written::{self, Metadata, SinkSpec};
use crate::spec::{SpecFile, timestamp_ms};
use crate::worker::{BoundTransform, Destination};

/// What the command line says beside the pipeline file.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Stop at the ends that the source has at the start.
    pub until_caught_up: bool,
    /// Workers; one per core if `None`.
    pub workers: Option<usize>,
    /// Where compiled components are kept; the user's cache folder if `None`.
    pub cache: Option<PathBuf>,
}

/// A component as `validate` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Wired {
    /// What it calls itself.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its SHA-256.
    pub digest: String,
    /// Output and sink.
    pub outputs: BTreeMap<String, String>,
}

/// Loads the components of a pipeline file and wires them to its sinks, without touching source or tables.
///
/// # Errors
/// If a component cannot be loaded or outputs and sinks do not match.
pub fn check(file: &SpecFile) -> Result<Vec<Wired>, PipelineError> {
    let components = load(file, &Options::default())?;
    wire(&file.spec, &components)?;
    let wired = components.iter().map(|component| {
        let description = component.description();
        let outputs =
            description.outputs.iter().map(|output| (output.name.to_string(), format!("sinks.{}", output.name)));
        Wired {
            name: description.name.clone(),
            version: description.version.clone(),
            digest: component.digest().into(),
            outputs: outputs.collect(),
        }
    });
    Ok(wired.collect())
}

/// Builds everything that a run needs.
///
/// # Errors
/// What must be changed before it can run, or what is not reachable.
pub fn assemble(file: &SpecFile, options: &Options) -> Result<Assembly, PipelineError> {
    let transforms = load(file, options)?;
    with_transforms(file, options, transforms)
}

/// Looks whether tables and source can be reached, without reading or writing a row: what was tried and what came of it.
pub fn reach(file: &SpecFile) -> Vec<(&'static str, Result<String, PipelineError>)> {
    let tables = || {
        for (name, sink) in &file.spec.sinks.0 {
            open_sink(file, name, sink)?.positions()?;
        }
        Ok(format!("{} sinks can be opened", file.spec.sinks.0.len()))
    };
    let source = || source(file, &Options::default()).map(|_| "the source answers".to_owned());
    vec![("tables", tables()), ("source", source())]
}

/// Where compiled components are kept: `lakemill` in the user's cache folder.
pub fn cache_folder() -> PathBuf {
    let from = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = from("XDG_CACHE_HOME").or_else(|| from("HOME").map(|home| home.join(".cache")));
    base.unwrap_or_else(std::env::temp_dir).join("lakemill")
}

/// Builds a pipeline over transforms that are loaded already: benchmarks put native code in a component's place.
///
/// # Errors
/// Like [`assemble`].
pub fn with_transforms(
    file: &SpecFile,
    options: &Options,
    transforms: Vec<Arc<dyn Transform>>,
) -> Result<Assembly, PipelineError> {
    let spec = &file.spec;
    let outputs = wire(spec, &transforms)?;
    let folder = match &spec.state.path {
        Some(path) => file.resolve(path),
        None => file.resolve(&format!(".lakemill/{}", spec.pipeline)),
    };
    let journal = Journal::open(&folder, &spec.pipeline)?;
    let mut sinks = Vec::new();
    for (name, sink) in &spec.sinks.0 {
        sinks.push(open_sink(file, name, sink)?);
    }
    let side = |name: &str, path: PathBuf| -> Result<Box<dyn Sink>, PipelineError> {
        Ok(Box::new(DeltaSink::open(TableOptions::new(&spec.pipeline, name, location(&path)))?))
    };
    let dead_letters = sinks.len();
    let dead_path = match &spec.dead_letters {
        Some(table) => file.resolve(&table.delta.path),
        None => folder.join("dead_letters"),
    };
    sinks.push(side("dead_letters", dead_path)?);
    let late = spec.late.as_ref().map(|table| {
        sinks.push(side("late", file.resolve(&table.delta.path))?);
        Ok::<_, PipelineError>(sinks.len() - 1)
    });
    let keeps_positions = |(_, sink): &(String, SinkSpec)| sink.console.is_none();
    let anchor = spec.sinks.0.iter().position(keeps_positions).unwrap_or(dead_letters);
    let decoder = decoder(spec, &outputs, &transforms, SchemaBook::open(&folder)?);
    let micros = |span: written::Watermark| {
        let us = |d: Duration| i64::try_from(d.as_micros()).unwrap_or(i64::MAX);
        Watermarks::new(us(span.delay.0), us(span.idle.0), us(span.future_max.0))
    };
    Ok(Assembly {
        pipeline: spec.pipeline.clone(),
        start: start(spec),
        limits: BatchLimits {
            rows_max: spec.batch.rows_max,
            bytes_max: usize::try_from(spec.batch.bytes_max.0).unwrap_or(usize::MAX),
            latency_max: Duration::from_millis(spec.batch.latency_ms_max),
        },
        journal,
        decoder,
        transforms: transforms
            .into_iter()
            .zip(outputs)
            .map(|(transform, outputs)| BoundTransform { transform, outputs })
            .collect(),
        sinks,
        anchor,
        dead_letters,
        late: late.transpose()?,
        watermarks: micros(spec.watermark.clone()),
        workers: workers(options),
        // Last: it is the only one that may wait.
        source: source(file, options)?,
    })
}

fn load(file: &SpecFile, options: &Options) -> Result<Vec<Arc<dyn Transform>>, PipelineError> {
    let of = EngineOptions { memory_bytes_max: memory_bytes_max(&file.spec), ..EngineOptions::default() };
    let engine = Engine::new(of).map_err(|error| PipelineError::Invalid(error.to_string()))?;
    let cache = options.cache.clone().unwrap_or_else(cache_folder);
    let mut loaded: Vec<Arc<dyn Transform>> = Vec::new();
    for transform in &file.spec.transforms {
        let path = file.resolve(&transform.component);
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let config = transform.config.clone().unwrap_or_default();
        let of = LoadOptions {
            name,
            config_json: serde_json::Value::Object(config).to_string(),
            grants: transform
                .grants
                .iter()
                .map(|grant| match grant {
                    written::Grant::Config => Grant::Config,
                    written::Grant::Log => Grant::Log,
                })
                .collect(),
            limits: Limits {
                memory_bytes_max: usize::try_from(transform.limits.memory.0).unwrap_or(usize::MAX),
                batch_ms_max: transform.limits.batch_ms_max,
                ..Limits::default()
            },
            cache_dir: Some(cache.clone()),
        };
        let component = engine
            .load_file(&path, of)
            .map_err(|source| PipelineError::Load { component: transform.component.clone(), source })?;
        if let Some(took) = component.report().compile_time {
            tracing::info!(component = %transform.component, took_ms = took.as_millis() as u64, "compiled");
        }
        loaded.push(Arc::new(component));
    }
    Ok(loaded)
}

fn memory_bytes_max(spec: &written::Spec) -> usize {
    let largest = spec.transforms.iter().map(|transform| transform.limits.memory.0).max().unwrap_or(0);
    usize::try_from(largest).unwrap_or(usize::MAX).max(EngineOptions::default().memory_bytes_max)
}

fn decoder(
    spec: &written::Spec,
    outputs: &[Vec<Destination>],
    transforms: &[Arc<dyn Transform>],
    book: SchemaBook,
) -> Decoder {
    let mode = match &spec.source.schema {
        written::Schema::Infer => SchemaMode::Infer,
        written::Schema::Inline => SchemaMode::Inline,
        written::Schema::Declared(declared) => SchemaMode::Declared(RowSchema {
            key: declared.key.iter().map(written::Column::field).collect(),
            row: declared.row.iter().map(written::Column::field).collect(),
        }),
    };
    let config = DecoderConfig { mode, projection: projection(transforms, outputs), ..DecoderConfig::default() };
    // What was written down by an earlier run, or by another process, holds.
    let settle = move |topic: &str, shown| book.settle(topic, shown, joined).map_err(|error| error.to_string());
    Decoder::new(config, Box::new(settle))
}

/// A path as the rooms take it.
fn location(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}

fn workers(options: &Options) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    options.workers.unwrap_or_else(cores).max(1)
}

fn start(spec: &written::Spec) -> StartAt {
    let start = spec.source.kafka.as_ref().map(|kafka| kafka.start.clone()).unwrap_or_default();
    match start {
        written::Start::Earliest => StartAt::Earliest,
        written::Start::Latest => StartAt::Latest,
        written::Start::Offset(offset) => StartAt::Offset(NextOffset(i64::try_from(offset).unwrap_or(i64::MAX))),
        written::Start::Timestamp(text) => StartAt::TimestampMs(timestamp_ms(&text).unwrap_or(0)),
    }
}

/// By transform and output: the sink's index and the columns that it adds.
fn wire(spec: &written::Spec, transforms: &[Arc<dyn Transform>]) -> Result<Vec<Vec<Destination>>, PipelineError> {
    let mut used = vec![false; spec.sinks.0.len()];
    let mut wired = Vec::new();
    for transform in transforms {
        let description = transform.description();
        let mut outputs = Vec::new();
        for output in &description.outputs {
            let place = spec.sinks.0.iter().position(|(name, _)| *name == *output.name).ok_or_else(|| {
                PipelineError::Invalid(format!(
                    "component {} writes the output `{}`, but `sinks` has no entry of that name; add one",
                    description.name, output.name
                ))
            })?;
            used[place] = true;
            outputs.push((place, added(&spec.sinks.0[place].1)));
        }
        wired.push(outputs);
    }
    if let Some(place) = used.iter().position(|used| !used) {
        let known: Vec<_> =
            transforms.iter().flat_map(|t| t.description().outputs.iter().map(|o| o.name.to_string())).collect();
        return Err(PipelineError::Invalid(format!(
            "`sinks.{}`: no component writes an output of that name; there are: {}",
            spec.sinks.0[place].0,
            known.join(", ")
        )));
    }
    Ok(wired)
}

/// The metadata columns of a sink.
fn added(sink: &SinkSpec) -> Vec<Metadata> {
    match sink.delta.as_ref().or(sink.parquet.as_ref()) {
        Some(table) => table.metadata.clone(),
        None => vec![Metadata::Op, Metadata::Partition, Metadata::Offset],
    }
}

fn open_sink(file: &SpecFile, name: &str, sink: &SinkSpec) -> Result<Box<dyn Sink>, PipelineError> {
    let compression = |table: &written::Table| match table.compression {
        written::Compression::Zstd => Compression::Zstd,
        written::Compression::Snappy => Compression::Snappy,
        written::Compression::Gzip => Compression::Gzip,
        written::Compression::None => Compression::None,
    };
    let pipeline = &file.spec.pipeline;
    let options = |table: &written::Table| {
        let mut options = TableOptions::new(pipeline, name, location(&file.resolve(&table.path)));
        options.partition_columns = table.partition_by.clone();
        options.compression = compression(table);
        options
    };
    if let Some(table) = &sink.delta {
        return Ok(Box::new(DeltaSink::open(options(table))?));
    }
    if let Some(table) = &sink.parquet {
        return Ok(Box::new(ParquetSink::open(options(table))?));
    }
    let rows_max = sink.console.as_ref().and_then(|console| console.rows_max);
    Ok(Box::new(ConsoleSink::stdout(name, rows_max)))
}

fn source(file: &SpecFile, options: &Options) -> Result<Box<dyn Source>, PipelineError> {
    let spec = &file.spec;
    let secret = |text: &Template| {
        text.resolve(&file.folder).map_err(|reason| PipelineError::Invalid(format!("source.kafka: {reason}")))
    };
    if let Some(kafka) = &spec.source.kafka {
        let mut of = KafkaOptions::new(&spec.pipeline, secret(&kafka.brokers)?, kafka.topics.clone());
        of.group = kafka.group.clone();
        of.until_caught_up = options.until_caught_up;
        of.on_data_loss = match kafka.on_data_loss {
            written::OnDataLoss::Fail => OnDataLoss::Fail,
            written::OnDataLoss::Continue => OnDataLoss::Continue,
        };
        let properties = kafka.properties.iter().map(|(name, value)| Ok((name.clone(), secret(value)?)));
        of.properties = properties.collect::<Result<Properties, PipelineError>>()?;
        return Ok(Box::new(KafkaSource::open(of)?));
    }
    let files = spec
        .source
        .files
        .as_ref()
        .ok_or_else(|| SourceError::Config("`source` names neither `kafka` nor `files`".into()))?;
    let of = FileOptions {
        paths: files.paths.iter().map(|path| location(&file.resolve(path))).collect(),
        topic: files.topic.clone(),
        format: match files.format {
            written::LineFormat::Value => LineFormat::Value,
            written::LineFormat::KeyValue => LineFormat::KeyValue,
        },
    };
    Ok(Box::new(FileSource::open(&of)?))
}
