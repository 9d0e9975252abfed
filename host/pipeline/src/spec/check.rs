//! What the structs cannot say: names, ranges, and what must not stand together. Pure.

use std::collections::BTreeMap;

use lakemill_model::RawBatch;

use super::values::Texts;
use super::written::{Batch, SinkSpec, Source, Spec, Start, Table};

/// The error says which key, what it holds, and what it may hold.
pub(super) fn check(spec: &Spec) -> Result<(), String> {
    name("pipeline", &spec.pipeline)?;
    source(&spec.source)?;
    if let Some(path) = &spec.state.path {
        plain("state.path", path)?;
    }
    batch(&spec.batch)?;
    if spec.transforms.is_empty() {
        return Err("`transforms` is empty: name at least one component".into());
    }
    for (n, transform) in spec.transforms.iter().enumerate() {
        plain(&format!("transforms[{n}].component"), &transform.component)?;
        let limits = &transform.limits;
        range(&format!("transforms[{n}].limits.batch_ms_max"), limits.batch_ms_max, 1, 600_000)?;
        range(&format!("transforms[{n}].limits.memory"), limits.memory.0, 1 << 20, 1 << 32)?;
    }
    if !(0.0..=1.0).contains(&spec.error_budget.share_max) {
        return Err(format!("`error_budget.share_max` is {}: it must be from 0 to 1", spec.error_budget.share_max));
    }
    if spec.sinks.0.is_empty() {
        return Err("`sinks` is empty: say where each output of the transforms goes".into());
    }
    let mut paths = BTreeMap::new();
    for (sink, of) in &spec.sinks.0 {
        let key = format!("sinks.{sink}");
        name(&key, sink)?;
        if let Some(table) = one_of(&key, of)? {
            local(&format!("{key}.{}.path", if of.delta.is_some() { "delta" } else { "parquet" }), &table.path)?;
            own_path(&mut paths, key.clone(), &table.path)?;
            let mut by: Vec<&String> = table.partition_by.iter().collect();
            by.sort_unstable();
            if let Some(twice) = by.windows(2).find(|two| two[0] == two[1]) {
                return Err(format!("`{key}`: `partition_by` names `{}` twice: leave one out", twice[0]));
            }
        }
    }
    for (key, table) in [("dead_letters", &spec.dead_letters), ("late", &spec.late)] {
        if spec.sinks.0.iter().any(|(sink, _)| sink == key) {
            return Err(format!("`sinks.{key}`: this name is taken by the pipeline's own `{key}`"));
        }
        if let Some(table) = table {
            local(&format!("{key}.delta.path"), &table.delta.path)?;
            own_path(&mut paths, key.into(), &table.delta.path)?;
        }
    }
    Ok(())
}

fn name(key: &str, value: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if (1..=64).contains(&value.len()) && value.chars().all(fits) {
        return Ok(());
    }
    Err(format!("`{key}`: the name `{value}` must be 1 to 64 characters of a-z, 0-9, _ and -"))
}

fn range(key: &str, value: u64, low: u64, high: u64) -> Result<(), String> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(format!("`{key}` is {value}: it must be from {low} to {high}"))
}

fn source(source: &Source) -> Result<(), String> {
    match (&source.kafka, &source.files) {
        (Some(kafka), None) => {
            if kafka.topics.is_empty() {
                return Err("`source.kafka.topics` is empty: name at least one topic".into());
            }
            let mut seen = BTreeMap::new();
            for topic in &kafka.topics {
                own_path(&mut seen, "source.kafka.topics".into(), topic)?;
            }
            if let Start::Timestamp(text) = &kafka.start {
                timestamp_ms(text)?;
            }
        }
        (None, Some(files)) if files.paths.is_empty() => {
            return Err("`source.files.paths` is empty: name at least one file".into());
        }
        (None, Some(files)) => {
            for (n, path) in files.paths.iter().enumerate() {
                plain(&format!("source.files.paths[{n}]"), path)?;
            }
        }
        _ => return Err("`source` needs exactly one of `kafka` and `files`".into()),
    }
    if let Some(Texts(texts)) = &source.unavailable_placeholder
        && (texts.is_empty() || texts.iter().any(String::is_empty))
    {
        return Err("`source.unavailable_placeholder` is empty: write the text of the connector's \
                    `unavailable.value.placeholder`, or leave the key out"
            .into());
    }
    source.schema.check("source.schema")
}

/// Milliseconds since 1970 of an RFC 3339 time.
pub(crate) fn timestamp_ms(text: &str) -> Result<i64, String> {
    humantime::parse_rfc3339_weak(text)
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .ok_or_else(|| {
            format!("`source.kafka.start.timestamp`: `{text}` is not a time: write it like 2026-01-31T12:00:00Z")
        })
}

fn batch(batch: &Batch) -> Result<(), String> {
    range("batch.rows_max", batch.rows_max as u64, 1, 1_000_000)?;
    range("batch.bytes_max", batch.bytes_max.0, 1, (RawBatch::BYTES_MAX / 2) as u64)?;
    range("batch.latency_ms_max", batch.latency_ms_max, 0, 3_600_000)
}

/// The table of a sink; `None` for one that is not a table.
fn one_of<'a>(key: &str, sink: &'a SinkSpec) -> Result<Option<&'a Table>, String> {
    match (&sink.delta, &sink.parquet, &sink.console) {
        (Some(table), None, None) | (None, Some(table), None) => Ok(Some(table)),
        (None, None, Some(_)) => Ok(None),
        (None, None, None) if sink.discard => Ok(None),
        _ => Err(format!("`{key}` needs exactly one of `delta`, `parquet` and `console`, or the word `discard`")),
    }
}

/// A folder that tables can be in.
fn local(key: &str, path: &str) -> Result<(), String> {
    lakemill_lake::local_path(path).map(drop).map_err(|reason| format!("`{key}`: {reason}"))
}

/// A path and no URL.
fn plain(key: &str, path: &str) -> Result<(), String> {
    match path.split_once("://") {
        Some((scheme, _)) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => {
            Err(format!("`{key}`: `{path}`: {scheme} is not supported here; give a path of the local file system"))
        }
        _ => Ok(()),
    }
}

fn own_path<'a>(seen: &mut BTreeMap<&'a str, String>, key: String, path: &'a str) -> Result<(), String> {
    let plain = path.trim_start_matches("./").trim_end_matches('/');
    match seen.insert(plain, key.clone()) {
        None => Ok(()),
        Some(other) if other == key => Err(format!("`{key}` names `{path}` twice")),
        Some(other) => Err(format!("`{key}` and `{other}` have the same path `{path}`: each needs its own")),
    }
}
