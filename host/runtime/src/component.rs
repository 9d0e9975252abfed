//! A loaded component: checked, compiled, described; then called by any number of threads at once.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lakemill_model::{Answer, BatchClock, ChangeBatch, Description, Secrets, Transform, TransformError};
use wasmtime::component::{Component, HasSelf, Linker, Resource};

use crate::artifact::{Kind, Prepared};
use crate::bindings::{TransformPre, config, log, panic};
use crate::cache::{self, CodeCache};
use crate::call::{Call, Caller};
use crate::child::compile_in_child;
use crate::compile::{compile, link};
use crate::engine::Engine;
use crate::grants::{Grant, check_interfaces};
use crate::limits::{Limits, bytes as show};
use crate::log::LogLevel;
use crate::reads::ReadSet;
use crate::text::said;
use crate::{answer, batch, describe};

/// How many bytes of a guest's error are kept.
const ERROR_BYTES_MAX: usize = 4_096;

/// What a component is loaded with.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// What logs call it.
    pub name: String,
    /// Its configuration, one JSON object.
    pub config_json: String,
    /// What of its configuration is not to be shown: it is taken out of whatever the component says, but not out of its rows.
    pub secrets: Secrets,
    /// What it may import.
    pub grants: Vec<Grant>,
    /// Which of its log lines are taken.
    pub log: LogLevel,
    /// What it may use.
    pub limits: Limits,
    /// Where machine code is kept; `None`: nowhere. The folder must be one that only we write to.
    pub cache_dir: Option<PathBuf>,
}

impl Default for LoadOptions {
    /// An empty configuration, everything granted, the default limits, no cache.
    fn default() -> Self {
        Self {
            name: "transform".into(),
            config_json: "{}".into(),
            secrets: Secrets::default(),
            grants: Grant::ALL.to_vec(),
            log: LogLevel::default(),
            limits: Limits::default(),
            cache_dir: None,
        }
    }
}

/// What loading took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadReport {
    /// What the file was.
    pub kind: Kind,
    /// Its size in bytes.
    pub bytes: usize,
    /// The time that the compiler took; `None` if the machine code came from the cache.
    pub compile_time: Option<Duration>,
}

/// A component that is ready to transform batches.
pub struct TransformComponent {
    caller: Caller,
    description: Description,
    reads: Arc<ReadSet>,
    digest: String,
    report: LoadReport,
}

impl Engine {
    /// Reads and loads a file. See [`Engine::load`].
    ///
    /// # Errors
    /// As [`Engine::load`]; also if the file cannot be read.
    pub fn load_file(&self, path: &Path, options: LoadOptions) -> Result<TransformComponent, TransformError> {
        self.load(&read_component(path, &options.limits)?, options)
    }

    /// Checks, compiles and describes a component (or a core module that can become one).
    ///
    /// # Errors
    /// [`TransformError::Refused`] if it is not one, asks for what is not granted, or refuses its configuration;
    /// [`TransformError::Limit`] if it is larger or more demanding than allowed; [`TransformError::Trap`] if it
    /// traps while it describes itself.
    pub fn load(&self, bytes: &[u8], options: LoadOptions) -> Result<TransformComponent, TransformError> {
        let LoadOptions { name, config_json, secrets, grants, log, limits, cache_dir } = options;
        check_size(bytes.len(), &limits)?;
        check_config(&config_json)?;
        self.check_limits(&limits)?;
        let prepared = admitted(bytes, &grants, &limits)?;
        let (component, compile_time) = self.code(&prepared, cache_dir.as_deref())?;
        let report = LoadReport { kind: prepared.kind, bytes: bytes.len(), compile_time };
        let digest = prepared.digest;
        let caller = self.caller(&component, name.into(), config_json.into(), secrets, &grants, limits)?;
        let caller = Caller { log, ..caller };
        let description = described(&caller)?;
        let reads = Arc::new(ReadSet::new(&description.reads));
        Ok(TransformComponent { caller, description, reads, digest, report })
    }

    fn check_limits(&self, limits: &Limits) -> Result<(), TransformError> {
        let max = self.options().memory_bytes_max;
        if limits.memory_bytes_max <= max {
            return Ok(());
        }
        Err(TransformError::Refused(format!(
            "`limits.memory` is {}, this host allows at most {}",
            show(limits.memory_bytes_max),
            show(max)
        )))
    }

    /// The machine code of a component, from the cache or the compiler. A cache that fails costs time, nothing else.
    pub(crate) fn code(
        &self,
        prepared: &Prepared<'_>,
        cache_dir: Option<&Path>,
    ) -> Result<(Component, Option<Duration>), TransformError> {
        let cache = cache_dir.and_then(|dir| warned("open", dir, CodeCache::open(dir)));
        let name = cache::name(&prepared.digest, self.wasmtime());
        let kept = cache.as_ref().and_then(|cache| warned("read", &name, cache.get(&name)).flatten());
        if let Some(component) = kept.and_then(|code| warned("use", &name, link(self, &code))) {
            return Ok((component, None));
        }
        let start = Instant::now();
        let code = match &self.options().compiler {
            Some(program) => compile_in_child(program, self, prepared.bytes)?,
            None => compile(self.wasmtime(), prepared)?,
        };
        let took = start.elapsed();
        let component = link(self, &code)?;
        // Only what could be used once is kept.
        if let Some(cache) = cache {
            warned("write", &name, cache.put(&name, &code));
        }
        Ok((component, Some(took)))
    }

    pub(crate) fn caller(
        &self,
        component: &Component,
        name: Arc<str>,
        config: Arc<str>,
        secrets: Secrets,
        grants: &[Grant],
        limits: Limits,
    ) -> Result<Caller, TransformError> {
        let linked = linker(self, grants).and_then(|linker| TransformPre::new(linker.instantiate_pre(component)?));
        let component = linked.map_err(|wrong| {
            TransformError::Refused(format!(
                "it does not fit lakemill:transform@0.1.0 as this host knows it: {wrong:#}"
            ))
        })?;
        let (engine, log, memory_bytes_max) = (self.clone(), LogLevel::default(), AtomicUsize::new(0));
        let secrets = Arc::new(secrets);
        Ok(Caller { engine, name, log, limits, config, secrets, component, memory_bytes_max })
    }
}

/// Reads a component's file, unless it is larger than allowed.
///
/// # Errors
/// If it is, or cannot be read.
pub fn read_component(path: &Path, limits: &Limits) -> Result<Vec<u8>, TransformError> {
    let unreadable = |error| TransformError::Refused(format!("read {}: {error}", path.display()));
    // Before it is in memory.
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    check_size(usize::try_from(size).unwrap_or(usize::MAX), limits)?;
    std::fs::read(path).map_err(unreadable)
}

/// What is done with a file before a compiler sees it.
///
/// # Errors
/// If it is nothing that can be run, is out of bounds, or asks for what is not granted or not allowed.
pub(crate) fn admitted<'a>(bytes: &'a [u8], grants: &[Grant], limits: &Limits) -> Result<Prepared<'a>, TransformError> {
    let prepared = Prepared::new(bytes)?;
    check_interfaces(&prepared.interfaces, grants)?;
    if prepared.interfaces.memory_bytes > limits.memory_bytes_max {
        return Err(limits.memory(prepared.interfaces.memory_bytes));
    }
    Ok(prepared)
}

fn check_size(size: usize, limits: &Limits) -> Result<(), TransformError> {
    if size <= limits.component_bytes_max { Ok(()) } else { Err(limits.size(size)) }
}

fn check_config(config: &str) -> Result<(), TransformError> {
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(config) {
        Ok(_) => Ok(()),
        Err(wrong) => Err(TransformError::Refused(format!("the transform's `config` must be a JSON object: {wrong}"))),
    }
}

fn linker(engine: &Engine, grants: &[Grant]) -> wasmtime::Result<Linker<Call>> {
    let mut linker = Linker::new(engine.wasmtime());
    batch::add_to_linker(&mut linker)?;
    panic::add_to_linker::<Call, HasSelf<Call>>(&mut linker, |call| call)?;
    if grants.contains(&Grant::Config) {
        config::add_to_linker::<Call, HasSelf<Call>>(&mut linker, |call| call)?;
    }
    if grants.contains(&Grant::Log) {
        log::add_to_linker::<Call, HasSelf<Call>>(&mut linker, |call| call)?;
    }
    Ok(linker)
}

/// Asks a component what it is.
///
/// # Errors
/// [`TransformError::Refused`] with its own words if it refuses its configuration, or with ours if the description
/// does not hold together.
pub(crate) fn described(caller: &Caller) -> Result<Description, TransformError> {
    let secrets = &caller.secrets;
    match caller.call(|store, instance| instance.lakemill_transform_transformer().call_describe(store))? {
        Ok(given) => describe::description(given).map_err(|wrong| {
            TransformError::Refused(format!("the component's description is wrong: {wrong}")).without(secrets)
        }),
        Err(words) => Err(TransformError::Refused(format!(
            "the component refuses its configuration: {}",
            said(hidden(secrets, words), ERROR_BYTES_MAX)
        ))),
    }
}

/// What a component says without its secrets. Before it is cut: the beginning of one is as bad.
fn hidden(secrets: &Secrets, words: String) -> String {
    if secrets.is_empty() { words } else { secrets.hide(&words).into_owned() }
}

fn warned<T>(action: &str, what: impl AsRef<Path>, result: Result<T, impl Display>) -> Option<T> {
    result
        .inspect_err(|error| {
            let what = what.as_ref().display();
            tracing::warn!(%error, "{action} the cache of machine code ({what}): going on without");
        })
        .ok()
}

impl TransformComponent {
    /// What loading it took.
    pub fn report(&self) -> &LoadReport {
        &self.report
    }
}

impl Transform for TransformComponent {
    fn description(&self) -> &Description {
        &self.description
    }

    fn digest(&self) -> &str {
        &self.digest
    }

    fn memory_bytes_max(&self) -> u64 {
        self.caller.memory_bytes_max.load(Ordering::Relaxed) as u64
    }

    fn transform(&self, batch: &Arc<ChangeBatch>, clock: BatchClock) -> Result<Answer, TransformError> {
        let rows = u32::try_from(batch.len())
            .map_err(|_| TransformError::Refused(format!("a batch of {} rows is too large", batch.len())))?;
        let view = batch::BatchView::new(batch.clone(), clock, self.reads.clone());
        let secrets = &*self.caller.secrets;
        let answered = self.caller.call(|store, instance| {
            let view = store.data_mut().table.push(view)?;
            let borrowed = Resource::new_borrow(view.rep());
            instance.lakemill_transform_transformer().call_transform(store, borrowed)
        })?;
        match answered {
            Ok(given) => {
                let mut answer = answer::answer(given, &self.description, rows)
                    .map_err(|wrong| TransformError::Answer(wrong).without(secrets))?;
                for rejection in &mut answer.rejections {
                    rejection.reason = hidden(secrets, std::mem::take(&mut rejection.reason));
                }
                Ok(answer)
            }
            Err(words) => Err(TransformError::Guest(said(hidden(secrets, words), ERROR_BYTES_MAX))),
        }
    }
}
