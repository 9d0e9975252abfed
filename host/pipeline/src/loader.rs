//! Loads versions of a pipeline's code: those that the pipeline file names, and those that plans name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use lakemill_decode::{DeclaredColumn, Decoder, DecoderConfig, joined};
use lakemill_model::{RowSchema, Secrets, Transform as _};
use lakemill_runtime::{
    Engine, EngineOptions, Grant, Limits, LoadOptions, LogLevel, TransformComponent, read_component,
};
use lakemill_state::{Code, ComponentStore, SchemaBook, Seal};
use serde::{Deserialize, Serialize};

use crate::changes::changed_keys;
use crate::error::PipelineError;
use crate::lineup::Lineup;
use crate::options::Options;
use crate::projection::projection;
use crate::rehearsal::rehearse;
use crate::rollout::Rollout;
use crate::spec::written::{self, Transform};
use crate::spec::{SpecFile, near, units};
use crate::version::{BoundTransform, Version};
use crate::wiring;

/// What a component is loaded with, beside its code: kept under its digest like the code.
#[derive(Serialize, Deserialize)]
struct Settings {
    /// With secrets by their names, if there is a seal.
    config: serde_json::Map<String, serde_json::Value>,
    grants: Vec<written::Grant>,
    limits: written::Limits,
    /// Of the configuration with its secrets in place: it tells whether they are the same. None if nothing is referred to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seal: Option<String>,
}

/// A configuration with what its references stand for.
struct Configured {
    json: String,
    /// Empty if it refers to nothing.
    secrets: Secrets,
}

/// A component's bytes and its settings, and what to call it in errors.
struct Sources {
    /// Its place in the pipeline file; none if it is from the store.
    index: Option<usize>,
    component: String,
    name: String,
    code: Vec<u8>,
    settings: Settings,
    /// No part of the code: the pipeline file's of now.
    log: written::LogLevel,
    configured: Configured,
}

/// Why the code that a plan names is not to be had.
pub(crate) enum Unavailable {
    /// The store does not have all of it.
    Lost,
    /// Its settings refer to what is not there, or is another value now.
    Changed(String),
}

/// Loads versions. One per process and pipeline: it has the engine.
pub(crate) struct Loader {
    file: SpecFile,
    /// `None`: native code in a component's place, which cannot be loaded.
    engine: Option<Engine>,
    cache: PathBuf,
    /// The most memory that a component of this process may ask for.
    memory_bytes_max: usize,
    book: Arc<SchemaBook>,
    store: Option<ComponentStore>,
}

impl Loader {
    /// A loader that keeps what it loads in the pipeline's state folder.
    pub fn open(file: &SpecFile, options: &Options) -> Result<Self, PipelineError> {
        let mut loader = Self::of_native(file, options)?;
        loader.engine = Some(engine(file, options)?);
        loader.store = Some(ComponentStore::open(&file.state_folder())?);
        Ok(loader)
    }

    /// A loader that can load nothing.
    pub fn of_native(file: &SpecFile, options: &Options) -> Result<Self, PipelineError> {
        Ok(Self {
            file: file.clone(),
            engine: None,
            memory_bytes_max: memory_bytes_max(file),
            cache: options.cache.clone().unwrap_or_else(cache_folder),
            book: Arc::new(SchemaBook::open(&file.state_folder())?),
            store: None,
        })
    }

    /// The code that transforms of the pipeline file name, from what their paths hold now, without loading it; and the keys of their
    /// settings that differ from those of other code.
    pub fn code_of(&self, transforms: &[Transform], before: &Code) -> Result<(Code, Vec<String>), PipelineError> {
        let (mut code, mut changed) = (Code::default(), Vec::new());
        for (index, transform) in transforms.iter().enumerate() {
            let mut source = read(&self.file, index, transform)?;
            self.seal(&mut source)?;
            code.digests.push(ComponentStore::name_of(&source.code));
            code.settings.push(ComponentStore::name_of(source.settings.text().as_bytes()));
            if let Some(before) = before.settings.get(index).and_then(|digest| self.settings(digest)) {
                changed.extend(keys_of(index, &before, &source.settings));
            }
        }
        Ok((code, changed))
    }

    /// What differs between the settings of two codes, by key: `transforms[0].config.rate`.
    pub fn settings_changed(&self, before: &Code, after: &Code) -> Vec<String> {
        let pairs = before.settings.iter().zip(&after.settings).enumerate();
        let changed = |(index, (before, after)): (usize, (&String, &String))| {
            let (before, after) = (self.settings(before)?, self.settings(after)?);
            Some(keys_of(index, &before, &after))
        };
        pairs.filter_map(changed).flatten().collect()
    }

    /// Settings that were kept.
    fn settings(&self, digest: &str) -> Option<Settings> {
        serde_json::from_slice(&self.store.as_ref()?.get(digest).ok()??).ok()
    }

    /// The version that transforms of the pipeline file name, from what its paths hold now.
    pub fn named(&self, transforms: &[Transform]) -> Result<Version, PipelineError> {
        let beyond = transforms.iter().find(|transform| memory(transform) > self.memory_bytes_max);
        if let Some(transform) = beyond {
            return Err(PipelineError::Invalid(format!(
                "component {}: `limits.memory` is more than the {} MiB that this process was started for; start it again",
                transform.component,
                self.memory_bytes_max >> 20
            )));
        }
        let sources = transforms.iter().enumerate().map(|(index, transform)| read(&self.file, index, transform));
        let version = self.version(sources.collect::<Result<Vec<_>, _>>()?)?;
        let transforms: Vec<_> = version.transforms.iter().map(|bound| bound.transform.clone()).collect();
        wiring::check(&self.file, &transforms)?;
        for topic in topics(&self.file.spec) {
            let known = match declared(&self.file.spec) {
                Some(declared) => Some(declared),
                None => self.book.get(topic)?,
            };
            if let Some(schema) = known {
                rehearse(&version, topic, &schema)?;
            }
        }
        Ok(version)
    }

    /// The version that a plan names, if it is to be had.
    pub fn of_code(&self, code: &Code) -> Result<Result<Version, Unavailable>, PipelineError> {
        let Code { digests, settings } = code;
        if digests.len() != self.file.spec.transforms.len() || digests.len() != settings.len() {
            return Ok(Err(Unavailable::Lost));
        }
        let Some(store) = &self.store else { return Ok(Err(Unavailable::Lost)) };
        let mut sources = Vec::new();
        for ((digest, settings), transform) in digests.iter().zip(settings).zip(&self.file.spec.transforms) {
            let (Some(code), Some(settings)) = (store.get(digest)?, store.get(settings)?) else {
                return Ok(Err(Unavailable::Lost));
            };
            let settings: Settings = serde_json::from_slice(&settings).map_err(|error| {
                PipelineError::Invalid(format!("the settings of component {digest} in the store: {error}"))
            })?;
            let configured = match self.as_sealed(&settings)? {
                Ok(configured) => configured,
                Err(why) => return Ok(Err(Unavailable::Changed(why))),
            };
            let name = digest[..12].to_owned();
            let (component, log) = (format!("{digest} (from the store)"), transform.log);
            sources.push(Sources { index: None, component, name, code, settings, log, configured });
        }
        self.version(sources).map(Ok)
    }

    /// The configuration of kept settings with its secrets in place, if they are those that they were.
    fn as_sealed(&self, settings: &Settings) -> Result<Result<Configured, String>, PipelineError> {
        let Some(sealed) = &settings.seal else {
            let json = serde_json::Value::Object(settings.config.clone()).to_string();
            return Ok(Ok(Configured { json, secrets: Secrets::default() }));
        };
        let configured = match configured(&self.file, &settings.config) {
            Ok(configured) => configured,
            Err(why) => return Ok(Err(why)),
        };
        if Seal::open(&self.file.state_folder())?.of(configured.json.as_bytes()) == *sealed {
            return Ok(Ok(configured));
        }
        let names = units::names(&settings.config).join(", ");
        Ok(Err(format!("{names} stood for something else then")))
    }

    /// Settings that refer to secrets say by a seal which they are.
    fn seal(&self, source: &mut Sources) -> Result<(), PipelineError> {
        if !source.configured.secrets.is_empty() && self.store.is_some() {
            let seal = Seal::open(&self.file.state_folder())?;
            source.settings.seal = Some(seal.of(source.configured.json.as_bytes()));
        }
        Ok(())
    }

    /// Loads and wires; what was loaded is kept.
    fn version(&self, mut sources: Vec<Sources>) -> Result<Version, PipelineError> {
        let Some(engine) = &self.engine else {
            return Err(PipelineError::Invalid("native code cannot be loaded".into()));
        };
        let (mut code, mut transforms) = (Code::default(), Vec::<Arc<dyn lakemill_model::Transform>>::new());
        for source in &mut sources {
            let component = load(&self.file, engine, source, &self.cache)?;
            self.seal(source)?;
            if let Some(store) = &self.store {
                store.keep_as(component.digest(), &source.code)?;
                code.digests.push(component.digest().to_owned());
                code.settings.push(store.keep(source.settings.text().as_bytes())?);
            }
            transforms.push(Arc::new(component));
        }
        self.wired(code, transforms)
    }

    /// A version of transforms that are loaded already.
    pub fn wired(
        &self,
        code: Code,
        transforms: Vec<Arc<dyn lakemill_model::Transform>>,
    ) -> Result<Version, PipelineError> {
        let outputs = wiring::wire(&self.file, &transforms)?;
        let bound = transforms.into_iter().zip(outputs);
        let bound = bound.map(|(transform, outputs)| BoundTransform { transform, outputs });
        Ok(Version::new(code, bound.collect()))
    }

    /// A lineup of a version, and of one on trial beside it; what `before` has inferred holds.
    pub fn lineup(&self, main: Arc<Version>, rollout: Option<Arc<Rollout>>, before: Option<&Lineup>) -> Lineup {
        let mode = self.file.spec.source.schema.mode();
        let decoder = |projection| {
            let mut config = DecoderConfig { mode: mode.clone(), projection, ..DecoderConfig::default() };
            config.out_of_range = self.file.spec.source.out_of_range.into();
            if let Some(texts) = &self.file.spec.source.unavailable_placeholder {
                config.placeholders.clone_from(&texts.0);
            }
            // What was written down by an earlier run, or by another process, holds.
            let book = self.book.clone();
            let settle = move |topic: &str, shown| book.settle(topic, shown, joined).map_err(|error| error.to_string());
            let decoder = Decoder::new(config, Box::new(settle));
            match before {
                Some(before) => decoder.with_inferred_of(&before.decoder),
                None => decoder,
            }
        };
        let reads = projection(&main);
        let on_trial = rollout.as_ref().map(|rollout| projection(&rollout.version)).filter(|other| *other != reads);
        let trial_decoder = on_trial.map(|reads| Arc::new(decoder(reads)));
        Lineup { decoder: decoder(reads), main, rollout, trial_decoder }
    }

    /// Memory that components hold right now, in bytes.
    pub fn guest_memory_bytes(&self) -> u64 {
        self.engine.as_ref().map_or(0, |engine| engine.memory_bytes() as u64)
    }

    /// The store of what was loaded.
    pub fn store(&self) -> Option<&ComponentStore> {
        self.store.as_ref()
    }
}

impl Settings {
    fn text(&self) -> String {
        serde_json::to_string(self).expect("settings are plain data")
    }
}

/// The keys of a transform's settings that differ.
fn keys_of(index: usize, before: &Settings, after: &Settings) -> Vec<String> {
    changed_keys(before, after).into_iter().map(|key| format!("transforms[{index}].{key}")).collect()
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

/// Loads the components of a pipeline file and wires them to its sinks, without touching source, tables or state.
///
/// # Errors
/// If a component cannot be loaded or outputs and sinks do not match.
pub fn check(file: &SpecFile, options: &Options) -> Result<Vec<Wired>, PipelineError> {
    let (engine, cache) = (engine(file, options)?, cache_folder());
    let mut components: Vec<Arc<dyn lakemill_model::Transform>> = Vec::new();
    for (index, transform) in file.spec.transforms.iter().enumerate() {
        components.push(Arc::new(load(file, &engine, &read(file, index, transform)?, &cache)?));
    }
    wiring::check(file, &components)?;
    let outputs = wiring::wire(file, &components)?;
    if let Some(schema) = declared(&file.spec) {
        let bound = components.iter().cloned().zip(outputs);
        let bound = bound.map(|(transform, outputs)| BoundTransform { transform, outputs });
        let version = Version::new(Code::default(), bound.collect());
        for topic in topics(&file.spec) {
            rehearse(&version, topic, &schema)?;
        }
    }
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

/// The columns that the pipeline file declares.
fn declared(spec: &written::Spec) -> Option<RowSchema> {
    let written::Schema::Declared(declared) = &spec.source.schema else { return None };
    let columns = declared.columns();
    let fields = |list: Vec<DeclaredColumn>| list.into_iter().map(|column| column.field).collect();
    Some(RowSchema { key: fields(columns.key), row: fields(columns.row) })
}

/// What the pipeline reads.
fn topics(spec: &written::Spec) -> impl Iterator<Item = &str> {
    let kafka = spec.source.kafka.iter().flat_map(|kafka| &kafka.topics).map(String::as_str);
    kafka.chain(spec.source.files.iter().map(|files| files.topic.as_deref().unwrap_or("files")))
}

/// Where compiled components are kept: `lakemill` in the user's cache folder.
pub fn cache_folder() -> PathBuf {
    let from = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = from("XDG_CACHE_HOME").or_else(|| from("HOME").map(|home| home.join(".cache")));
    base.unwrap_or_else(std::env::temp_dir).join("lakemill")
}

fn engine(file: &SpecFile, options: &Options) -> Result<Engine, PipelineError> {
    let (memory_bytes_max, compiler) = (memory_bytes_max(file), options.compiler.clone());
    Engine::new(EngineOptions { memory_bytes_max, compiler, ..EngineOptions::default() })
        .map_err(|error| PipelineError::Invalid(error.to_string()))
}

fn memory(transform: &Transform) -> usize {
    usize::try_from(transform.limits.memory.0).unwrap_or(usize::MAX)
}

/// The most memory that a component may ask for in a process that is started with this file.
fn memory_bytes_max(file: &SpecFile) -> usize {
    let largest = file.spec.transforms.iter().map(memory).max().unwrap_or(0);
    largest.max(EngineOptions::default().memory_bytes_max)
}

fn read(file: &SpecFile, index: usize, transform: &Transform) -> Result<Sources, PipelineError> {
    let path = file.resolve(&transform.component);
    let written = transform.config.clone().unwrap_or_default();
    let configured = configured(file, &written)
        .map_err(|why| PipelineError::Invalid(format!("component {}: `config`: {why}", transform.component)))?;
    let config = match configured.secrets.is_empty() {
        true => serde_json::from_str(&configured.json).expect("it was written as JSON"),
        false => written,
    };
    let settings = Settings { config, grants: transform.grants.clone(), limits: transform.limits.clone(), seal: None };
    let code = read_component(&path, &limits(&settings)).map_err(|source| {
        let component = transform.component.clone();
        match near::hint(&path) {
            hint if hint.is_empty() => PipelineError::Load { component, source },
            hint => {
                let key = format!("transforms[{index}].component");
                file.wrong_value(&key, format!("component {component}: there is no such file{hint}")).into()
            }
        }
    })?;
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let (component, log) = (transform.component.clone(), transform.log);
    Ok(Sources { index: Some(index), component, name, code, settings, log, configured })
}

/// A configuration of the pipeline file with what its references stand for.
fn configured(file: &SpecFile, config: &serde_json::Map<String, serde_json::Value>) -> Result<Configured, String> {
    let mut secrets = Secrets::default();
    let config = units::configured(config, file.lookup(), &mut secrets)?;
    Ok(Configured { json: serde_json::Value::Object(config).to_string(), secrets })
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        memory_bytes_max: usize::try_from(settings.limits.memory.0).unwrap_or(usize::MAX),
        batch_ms_max: settings.limits.batch_ms_max,
        ..Limits::default()
    }
}

fn load(
    file: &SpecFile,
    engine: &Engine,
    source: &Sources,
    cache: &std::path::Path,
) -> Result<TransformComponent, PipelineError> {
    let grant = |grant: &written::Grant| match grant {
        written::Grant::Config => Grant::Config,
        written::Grant::Log => Grant::Log,
    };
    let of = LoadOptions {
        name: source.name.clone(),
        config_json: source.configured.json.clone(),
        secrets: source.configured.secrets.clone(),
        grants: source.settings.grants.iter().map(grant).collect(),
        log: match source.log {
            written::LogLevel::Debug => LogLevel::Debug,
            written::LogLevel::Info => LogLevel::Info,
            written::LogLevel::Warn => LogLevel::Warn,
            written::LogLevel::Error => LogLevel::Error,
            written::LogLevel::Off => LogLevel::Off,
        },
        limits: limits(&source.settings),
        cache_dir: Some(cache.to_owned()),
    };
    let component =
        engine.load(&source.code, of).map_err(|wrong| wiring::refused(file, source.index, &source.component, wrong))?;
    if let Some(took) = component.report().compile_time {
        tracing::info!(component = %source.component, took_ms = took.as_millis() as u64, "compiled");
    }
    Ok(component)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_read_back_as_they_were_kept() {
        let text = "component: c.wasm\nconfig: { mask: [email], n: 1 }\ngrants: [log]\nlimits: { memory: 8MiB, batch_ms_max: 7 }";
        let transform: Transform = serde_saphyr::from_str(text).expect("is valid");
        let settings = Settings {
            config: transform.config.clone().unwrap_or_default(),
            grants: transform.grants.clone(),
            limits: transform.limits.clone(),
            seal: Some("0".into()),
        };
        let text = settings.text();
        let back: Settings = serde_json::from_str(&text).expect("reads back");
        assert_eq!(back.text(), text);
        assert_eq!(limits(&back).memory_bytes_max, 8 << 20);
    }
}
