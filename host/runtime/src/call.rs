//! One call of a component: what its store holds, how it is bounded, and what its failure means.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lakemill_model::{Secrets, TransformError};
use wasmtime::component::ResourceTable;
use wasmtime::{Result, Store};

use crate::backtrace::backtrace;
use crate::batch::Misuse;
use crate::bindings::{Transform, TransformPre, config};
use crate::engine::{Engine, STACK_BYTES};
use crate::limits::Limits;
use crate::log::{GuestLog, LogLevel};
use crate::meter::{Meter, Refused, table_limit};
use crate::panic::LastWords;
use crate::ticker::ticks;

/// What a store holds: one call's, gone with it.
pub(crate) struct Call {
    pub(crate) table: ResourceTable,
    pub(crate) log: GuestLog,
    pub(crate) last_words: LastWords,
    meter: Meter,
    config: Arc<str>,
}

impl config::Host for Call {
    fn json(&mut self) -> Result<String> {
        Ok(self.config.to_string())
    }
}

/// What all calls of one component have in common.
pub(crate) struct Caller {
    pub(crate) engine: Engine,
    /// For logs.
    pub(crate) name: Arc<str>,
    /// The lines of it that are taken.
    pub(crate) log: LogLevel,
    pub(crate) limits: Limits,
    /// One JSON object.
    pub(crate) config: Arc<str>,
    /// What of it is not to be shown.
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) component: TransformPre<Call>,
    /// Of all calls so far.
    pub(crate) memory_bytes_max: AtomicUsize,
}

impl Caller {
    /// Runs `work` on a fresh instance that nothing else has seen, and throws the instance away.
    pub(crate) fn call<T>(
        &self,
        work: impl FnOnce(&mut Store<Call>, &Transform) -> Result<T>,
    ) -> Result<T, TransformError> {
        let _place = self.engine.place();
        let mut store = self.store();
        let run = || {
            let instance = self.component.instantiate(&mut store)?;
            work(&mut store, &instance)
        };
        let called = catch_unwind(AssertUnwindSafe(run));
        self.memory_bytes_max.fetch_max(store.data().meter.used(), Ordering::Relaxed);
        // A panic of the host inside of a call must not take other pipelines with it. Nothing that it may have left
        // half done outlives the store.
        match called {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(self.explain(&error, store.data()).without(&self.secrets)),
            Err(panic) => {
                Err(TransformError::Trap { trap: format!("the host panicked: {}", words(&*panic)), backtrace: None })
            }
        }
    }

    fn store(&self) -> Store<Call> {
        let limits = &self.limits;
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles_max);
        let call = Call {
            table,
            last_words: LastWords::default(),
            log: GuestLog::new(
                self.name.clone(),
                self.secrets.clone(),
                self.log,
                limits.log_lines_max,
                limits.log_line_bytes_max,
            ),
            meter: Meter::new(self.engine.memory().clone(), limits.memory_bytes_max),
            config: self.config.clone(),
        };
        let mut store = Store::new(self.engine.wasmtime(), call);
        store.limiter(|call| &mut call.meter);
        store.set_epoch_deadline(ticks(limits.batch_ms_max));
        store.set_hostcall_fuel(limits.output_bytes_max);
        store.set_max_component_handles(limits.handles_max);
        store
    }

    /// What a failed call means for the author.
    fn explain(&self, error: &wasmtime::Error, call: &Call) -> TransformError {
        let limits = &self.limits;
        let trap = error.downcast_ref::<wasmtime::Trap>();
        let cause = error.root_cause().to_string();
        if error.downcast_ref::<Misuse>().is_some() {
            return TransformError::Trap { trap: cause, backtrace: backtrace(error) };
        }
        match trap {
            Some(wasmtime::Trap::Interrupt) => return where_it_was(limits.time(), error),
            Some(wasmtime::Trap::StackOverflow) => return where_it_was(Limits::stack(STACK_BYTES), error),
            _ => {}
        }
        // These two have no type of their own in wasmtime 48; their tests fail if the words change.
        if cause.contains("fuel allocated for hostcalls has been exhausted") {
            return limits.output();
        }
        if cause.contains("store handle limit exceeded") {
            return limits.handles();
        }
        // A guest that is refused memory aborts, which looks like any other trap.
        match call.meter.refused() {
            Some(Refused::Own(wanted)) => limits.memory(wanted),
            Some(Refused::Process) => Limits::process_memory(self.engine.memory().max()),
            Some(Refused::Table(wanted)) => table_limit(wanted as u64),
            None => match call.last_words.of(trap) {
                Some(words) => TransformError::Panic { words, backtrace: backtrace(error) },
                None => TransformError::Trap { trap: cause, backtrace: backtrace(error) },
            },
        }
    }
}

fn where_it_was(error: TransformError, cause: &wasmtime::Error) -> TransformError {
    match error {
        TransformError::Limit { limit, hint, .. } => TransformError::Limit { limit, hint, backtrace: backtrace(cause) },
        other => other,
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without words")
}
