//! From a checked pipeline file and loaded code to what one run needs: tables opened, the journal read, the source made.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lakemill_ingest::{FileOptions, FileSource, KafkaOptions, KafkaSource, LineFormat, OnDataLoss, Properties};
use lakemill_lake::{Compression, DeltaSink, ParquetSink, SchemaPolicy, TableOptions};
use lakemill_model::files::Unremembered;
use lakemill_model::{BatchLimits, FileMemory, NextOffset, Secrets, Sink, Source, SourceError, StartAt, Watermarks};
use lakemill_sink::{ConsoleSink, DiscardSink};
use lakemill_state::{FileBook, Journal};

use crate::budget::Budget;
use crate::committer::Sinks;
use crate::deployer::Deployer;
use crate::error::PipelineError;
use crate::options::Options;
use crate::run::Assembly;
use crate::spec::units::Template;
use crate::spec::written::{self, SinkSpec};
use crate::spec::{References, SpecFile, timestamp_ms};
use crate::tap::Taps;

/// The sinks of a pipeline file: those that it names, then the dead letters, then the late rows if there is a place for them.
pub(crate) fn sink_names(spec: &written::Spec) -> Vec<&str> {
    let named = spec.sinks.0.iter().map(|(name, _)| name.as_str());
    named.chain(["dead_letters"]).chain(spec.late.as_ref().map(|_| "late")).collect()
}

/// Where the dead letters are.
pub(crate) fn dead_letters_path(file: &SpecFile) -> PathBuf {
    match &file.spec.dead_letters {
        Some(table) => file.resolve(&table.delta.path),
        None => file.state_folder().join("dead_letters"),
    }
}

/// The tables of a pipeline file, opened.
pub(crate) struct Tables {
    /// As [`sink_names`] names them.
    pub sinks: Vec<Box<dyn Sink>>,
    /// Index into `sinks`.
    pub dead_letters: usize,
    /// Index into `sinks`.
    pub late: Option<usize>,
}

/// Opens the tables, and whatever else rows go to. Writes nothing.
///
/// # Errors
/// If one is not to be written, or cannot be read.
pub(crate) fn tables(file: &SpecFile) -> Result<Tables, PipelineError> {
    let spec = &file.spec;
    let mut sinks = Vec::new();
    for (name, sink) in &spec.sinks.0 {
        sinks.push(open_sink(file, name, sink)?);
    }
    let side = |name: &str, path: PathBuf| -> Result<Box<dyn Sink>, PipelineError> {
        Ok(Box::new(DeltaSink::open(TableOptions::new(&spec.pipeline, name, location(&path)))?))
    };
    let dead_letters = sinks.len();
    sinks.push(side("dead_letters", dead_letters_path(file))?);
    let late = spec.late.as_ref().map(|table| {
        sinks.push(side("late", file.resolve(&table.delta.path))?);
        Ok::<_, PipelineError>(sinks.len() - 1)
    });
    let late = late.transpose()?;
    Ok(Tables { sinks, dead_letters, late })
}

/// Opens everything that a run needs.
///
/// # Errors
/// What must be changed before it can run, or what is not reachable.
pub(crate) fn assemble(
    file: &SpecFile,
    options: &Options,
    deployer: &Arc<Deployer>,
    taps: &Arc<Taps>,
) -> Result<Assembly, PipelineError> {
    let spec = &file.spec;
    let folder = file.state_folder();
    let journal = Journal::open(&folder, &spec.pipeline)?;
    let Tables { sinks, dead_letters, late } = tables(file)?;
    let is_table = |sink: &SinkSpec| sink.delta.is_some() || sink.parquet.is_some();
    // Dead letters and late rows are in tables.
    let keeps_positions: Vec<bool> =
        (0..sinks.len()).map(|sink| spec.sinks.0.get(sink).is_none_or(|(_, sink)| is_table(sink))).collect();
    let anchor = keeps_positions.iter().position(|keeps| *keeps).unwrap_or(dead_letters);
    let written::Watermark { delay, idle, future_max } = &spec.watermark;
    let watermarks = Watermarks::new(micros(delay.0), micros(idle.0), micros(future_max.0));
    Ok(Assembly {
        start: start(spec),
        limits: BatchLimits {
            rows_max: spec.batch.rows_max,
            bytes_max: usize::try_from(spec.batch.bytes_max.0).unwrap_or(usize::MAX),
            latency_max: Duration::from_millis(spec.batch.latency_ms_max),
        },
        journal: Arc::new(Mutex::new(journal)),
        deployer: deployer.clone(),
        taps: taps.clone(),
        sinks: Sinks { all: sinks, anchor, keeps_positions },
        dead_letters,
        late,
        budget: budget(spec),
        watermarks,
        workers: workers(options),
        // Last: it is the only one that may wait.
        source: source(file, options, || Ok(Box::new(FileBook::open(&folder, &spec.pipeline)?)))?,
    })
}

/// A span in microseconds.
pub(crate) fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

fn budget(spec: &written::Spec) -> Budget {
    Budget { share_max: spec.error_budget.share_max, per_minute_max: spec.error_budget.per_minute_max }
}

/// Looks whether tables and source can be reached, without reading or writing a row: what was tried and what came of it.
pub fn reach(file: &SpecFile) -> Vec<(&'static str, Result<String, PipelineError>)> {
    let tables = || {
        for (name, sink) in &file.spec.sinks.0 {
            open_sink(file, name, sink)?.positions()?;
        }
        Ok(format!("{} sinks can be opened", file.spec.sinks.0.len()))
    };
    let source = || {
        source(file, &Options::default(), || Ok(Box::<Unremembered>::default()))
            .map(|_| "the source answers".to_owned())
    };
    vec![("tables", tables()), ("source", source())]
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
        options.columns = table.columns.clone();
        options.schema = match table.schema {
            written::NewColumns::Additive => SchemaPolicy::Additive,
            written::NewColumns::Strict => SchemaPolicy::Strict,
        };
        options.compression = compression(table);
        options
    };
    if let Some(table) = &sink.delta {
        return Ok(Box::new(DeltaSink::open(options(table))?));
    }
    if let Some(table) = &sink.parquet {
        return Ok(Box::new(ParquetSink::open(options(table))?));
    }
    if sink.discard {
        return Ok(Box::new(DiscardSink::new(name)));
    }
    let rows_max = sink.console.as_ref().and_then(|console| console.rows_max);
    Ok(Box::new(ConsoleSink::stdout(name, rows_max)))
}

/// How Kafka is read, if it is.
///
/// # Errors
/// If a value refers to what is not there.
fn kafka(file: &SpecFile, options: &Options) -> Result<Option<KafkaOptions>, PipelineError> {
    let Some(kafka) = &file.spec.source.kafka else { return Ok(None) };
    let mut secrets = Secrets::default();
    let mut secret = |key: &str, text: &Template| {
        text.resolve(file.lookup(), &mut secrets)
            .map_err(|reason| PipelineError::Spec(file.wrong_value(&format!("source.kafka.{key}"), reason)))
    };
    // In errors, the brokers' addresses say more than where they came from.
    let brokers = kafka.brokers.resolve(file.lookup(), &mut Secrets::default());
    let brokers = brokers.map_err(|reason| file.wrong_value("source.kafka.brokers", reason))?;
    // Of what is not looked up, nobody knows whether it can be.
    let kept = file.lookup().references == References::Kept;
    let properties = kafka.properties.iter().filter(|(_, value)| !kept || !value.0.contains("${"));
    let properties = properties.map(|(name, value)| Ok((name.clone(), secret(&format!("properties.{name}"), value)?)));
    let properties = properties.collect::<Result<Properties, PipelineError>>()?;
    let mut of = KafkaOptions::new(&file.spec.pipeline, brokers, kafka.topics.clone());
    of.properties = properties.hiding(secrets);
    of.group = kafka.group.clone();
    of.until_caught_up = options.until_caught_up;
    of.on_data_loss = on_data_loss(kafka.on_data_loss);
    Ok(Some(of))
}

/// Checks the properties of Kafka's client as far as that is possible without a network.
///
/// # Errors
/// A property that there is not, or with a value that cannot be.
pub fn check_source(file: &SpecFile) -> Result<(), PipelineError> {
    let Some(of) = kafka(file, &Options::default())? else { return Ok(()) };
    of.check().map_err(|error| {
        let text = error.to_string();
        let name = text.split('`').skip(1).step_by(2).find(|name| of.properties.get(name).is_some());
        match name {
            Some(name) => file.wrong_key(&format!("source.kafka.properties.{name}"), text.clone()).into(),
            None => PipelineError::Source(error),
        }
    })
}

/// `memory` is asked for if the source is files.
fn source(
    file: &SpecFile,
    options: &Options,
    memory: impl FnOnce() -> Result<Box<dyn FileMemory>, PipelineError>,
) -> Result<Box<dyn Source>, PipelineError> {
    let spec = &file.spec;
    if let Some(of) = kafka(file, options)? {
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
        follow: files.follow && !options.until_caught_up,
        on_data_loss: on_data_loss(files.on_data_loss),
    };
    Ok(Box::new(FileSource::open(of, memory()?)?))
}

fn on_data_loss(written: written::OnDataLoss) -> OnDataLoss {
    match written {
        written::OnDataLoss::Fail => OnDataLoss::Fail,
        written::OnDataLoss::Continue => OnDataLoss::Continue,
    }
}
