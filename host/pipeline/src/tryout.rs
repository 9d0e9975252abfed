//! A transform tried on a handful of records, without source and sinks: what `lakemill test` runs. The same decoding, calling and
//! building of rows as in a pipeline.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use lakemill_decode::{Decoder, DecoderConfig};
use lakemill_model::answer::BatchClock;
use lakemill_model::{RawBatch, Secrets, Transform};
use lakemill_runtime::{Engine, EngineOptions, LoadOptions};

use crate::error::PipelineError;
use crate::loader::cache_folder;
use crate::outputs::OutputPlan;
use crate::project::project;
use crate::spec::written::{Metadata, Schema};

/// What a transform made of records.
#[derive(Debug, Default)]
pub struct Tryout {
    /// Rows by output, with `_op`.
    pub outputs: BTreeMap<String, Vec<RecordBatch>>,
    /// Dead letters: the record's index and the reason.
    pub dead: Vec<(u32, String)>,
}

/// Loads a component with a configuration; `compiler` is that of [`EngineOptions`].
///
/// # Errors
/// If it cannot be loaded.
pub fn load(
    component: &Path,
    config_json: String,
    compiler: Option<PathBuf>,
) -> Result<Arc<dyn Transform>, PipelineError> {
    load_hiding(component, config_json, Secrets::default(), compiler)
}

/// As [`load`]; `secrets` are those of [`LoadOptions`].
///
/// # Errors
/// If it cannot be loaded.
pub fn load_hiding(
    component: &Path,
    config_json: String,
    secrets: Secrets,
    compiler: Option<PathBuf>,
) -> Result<Arc<dyn Transform>, PipelineError> {
    let engine = Engine::new(EngineOptions { calls_max: 1, compiler, ..EngineOptions::default() })
        .map_err(|error| PipelineError::Invalid(error.to_string()))?;
    let options = LoadOptions { config_json, secrets, cache_dir: Some(cache_folder()), ..LoadOptions::default() };
    let loaded = engine
        .load_file(component, options)
        .map_err(|source| PipelineError::Load { component: component.display().to_string(), source })?;
    Ok(Arc::new(loaded))
}

/// Runs records, decoded by `schema`, through a transform under a frozen clock of 0.
///
/// # Errors
/// If the schema contradicts itself, the transform fails on the records, or its outputs do not fit them.
pub fn run(transform: &dyn Transform, raw: &RawBatch, schema: &Schema) -> Result<Tryout, PipelineError> {
    schema.check("schema").map_err(PipelineError::Invalid)?;
    let config = DecoderConfig { mode: schema.mode(), ..DecoderConfig::default() };
    let decoder = Decoder::new(config, Box::new(|_, schema| Ok(schema)));
    let decoded = decoder.decode(raw)?;
    let mut tryout = Tryout::default();
    for dead in decoded.dead {
        tryout.dead.push((dead.record, dead.reason.to_string()));
    }
    let invalid = |reason: String| PipelineError::Invalid(reason);
    for batch in decoded.batches {
        let batch = Arc::new(batch);
        let clock = BatchClock { now_us: 0, watermark_us: None };
        let answer = transform.transform(&batch, clock).map_err(|error| invalid(error.to_string()))?;
        for emission in answer.emissions.iter().filter(|emission| !emission.rows.is_empty()) {
            let spec = &transform.description().outputs[emission.output];
            let plan =
                OutputPlan::resolve(spec, &batch.schema, &batch.envelope.topic, &[Metadata::Op]).map_err(invalid)?;
            let rows = project(&batch, &plan, emission, None).map_err(|error| invalid(error.to_string()))?;
            tryout.outputs.entry(spec.name.to_string()).or_default().push(rows.batch);
        }
        for rejection in answer.rejections {
            tryout.dead.push((batch.envelope.records[rejection.row as usize], rejection.reason));
        }
    }
    tryout.dead.sort();
    Ok(tryout)
}
