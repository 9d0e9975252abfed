//! The configuration of a single transform: given by hand, or that of the pipeline file beside it.

use std::path::{Path, PathBuf};

use lakemill_model::Secrets;
use lakemill_pipeline::spec::written::{Schema, Transform};
use lakemill_pipeline::spec::{Lookup, References, SpecFile, units};
use serde_json::{Map, Value};

use crate::exit::Failure;

/// The pipeline file that `lakemill new` makes.
const FILE: &str = "pipeline.yaml";

/// A configuration with what its references stand for.
#[derive(Debug, Default)]
pub struct Settings {
    /// One JSON object.
    pub json: String,
    /// What of it is not to be shown.
    pub secrets: Secrets,
    /// The types of the records, as the pipeline file has them.
    pub schema: Schema,
}

/// The configuration of `component`: `by_hand`, or else that of the `pipeline.yaml` in `folder`, if one is there that names a component of
/// this file name; or else none.
///
/// # Errors
/// If it is no JSON object, the file is wrong, or something is referred to that is not there.
pub fn of(by_hand: Option<&str>, folder: &Path, component: &Path) -> Result<Settings, Failure> {
    let found = match by_hand {
        Some(text) => Found { config: parse(text)?, folder: ".".into(), schema: Schema::default() },
        None => of_file(folder, component)?.unwrap_or_else(|| Found {
            config: Map::new(),
            folder: folder.to_owned(),
            schema: Schema::default(),
        }),
    };
    let Found { config, folder, schema } = found;
    let mut secrets = Secrets::default();
    let lookup = Lookup { folder: &folder, references: References::LookedUp };
    let resolved = units::configured(&config, lookup, &mut secrets);
    let resolved = resolved.map_err(|why| Failure::invalid(format!("the configuration: {why}")))?;
    Ok(Settings { json: Value::Object(resolved).to_string(), secrets, schema })
}

fn parse(text: &str) -> Result<Map<String, Value>, Failure> {
    serde_json::from_str(text).map_err(|error| {
        Failure::invalid(format!("--config is no JSON object: {error}; write --config '{{\"tax_rate\": 0.2}}'"))
    })
}

/// What a pipeline file has for a component.
struct Found {
    config: Map<String, Value>,
    /// Where its paths begin.
    folder: PathBuf,
    schema: Schema,
}

fn of_file(folder: &Path, component: &Path) -> Result<Option<Found>, Failure> {
    let path = folder.join(FILE);
    if !path.is_file() {
        return Ok(None);
    }
    let file = SpecFile::read_with(&path, References::Kept).map_err(|error| {
        Failure::invalid(format!("{error}; it is read for the configuration: `--config` gives that by hand"))
    })?;
    let is_it = |path: &str| file.resolve(path).file_name() == component.file_name();
    let transform = file.spec.transforms.iter().find(|transform| is_it(&transform.component));
    let found = |transform: &Transform| Found {
        config: transform.config.clone().unwrap_or_default(),
        folder: file.folder.clone(),
        schema: file.spec.source.schema.clone(),
    };
    Ok(transform.map(found))
}
