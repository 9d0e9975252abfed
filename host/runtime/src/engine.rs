//! The engine: one per process, with every knob of wasmtime that matters set here and nowhere else.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, WasmBacktraceDetails, WasmFeatures,
};

use crate::meter::{ProcessMemory, SHAPE};
use crate::ticker::Ticker;

/// The call stack of a guest. What is left of the thread's stack (at least 2 MiB) is for host functions, none of which
/// recurses.
pub(crate) const STACK_BYTES: usize = 512 << 10;

/// Frames of a backtrace: walking a long stack at every trap would be a way to burn the host's time.
const BACKTRACE_FRAMES_MAX: NonZeroUsize = NonZeroUsize::new(16).expect("is not zero");

/// What the engine sets aside. Address space is reserved for all of it, memory is used only as guests need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// Calls at the same time, over all components; one more waits. Sensible: workers × components.
    pub calls_max: u32,
    /// The largest memory that any component's [`Limits`](crate::Limits) may allow, in bytes.
    pub memory_bytes_max: usize,
    /// Memory of all guests of the process together, in bytes.
    pub process_memory_bytes_max: usize,
    /// Memory of a finished call that stays with its slot for the next one instead of going back to the system, in
    /// bytes. Zeroing it again is cheaper than faulting it in again.
    pub keep_resident_bytes: usize,
    /// The program that compiles in a process of its own, by [`COMPILE_VERB`](crate::COMPILE_VERB): it calls
    /// [`compile_child`](crate::compile_child). `None`: this process compiles, which is for trusted components.
    pub compiler: Option<PathBuf>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            calls_max: 64,
            memory_bytes_max: 256 << 20,
            process_memory_bytes_max: 4 << 30,
            keep_resident_bytes: 16 << 20,
            compiler: None,
        }
    }
}

/// The engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// wasmtime refuses, mostly for want of address space.
    #[error(
        "start the WebAssembly engine: {0}; it reserves address space for {1} calls at a time: lift `ulimit -v`, or \
         allow fewer"
    )]
    Start(String, u32),
    /// No thread for the clock of deadlines.
    #[error("start the thread that watches deadlines: {0}")]
    Thread(#[source] std::io::Error),
}

/// Compiles and runs components. Cheap to clone; make one per process: types of two engines must never meet.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    wasmtime: wasmtime::Engine,
    options: EngineOptions,
    memory: Arc<ProcessMemory>,
    calls: Mutex<u32>,
    call_ended: Condvar,
    _ticker: Ticker,
}

impl Engine {
    /// An engine.
    ///
    /// # Errors
    /// If the system does not give the address space or the thread.
    pub fn new(options: EngineOptions) -> Result<Self, EngineError> {
        let wasmtime = wasmtime_engine(&options)?;
        let ticker = Ticker::start(wasmtime.weak()).map_err(EngineError::Thread)?;
        let memory = ProcessMemory::new(options.process_memory_bytes_max);
        let (calls, call_ended) = (Mutex::new(0), Condvar::new());
        Ok(Self { inner: Arc::new(Inner { wasmtime, options, memory, calls, call_ended, _ticker: ticker }) })
    }

    /// What it was made with.
    pub fn options(&self) -> &EngineOptions {
        &self.inner.options
    }

    /// Bytes of memory that guests have right now.
    pub fn memory_bytes(&self) -> usize {
        self.inner.memory.used()
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.inner.wasmtime
    }

    pub(crate) fn memory(&self) -> &Arc<ProcessMemory> {
        &self.inner.memory
    }

    /// A place in the pool of instances; waits for one if all are taken. Calls have a deadline, so that the wait has an
    /// end.
    pub(crate) fn place(&self) -> Place<'_> {
        let inner = &*self.inner;
        let calls = inner.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |calls: &mut u32| *calls >= inner.options.calls_max.max(1);
        let mut calls = inner.call_ended.wait_while(calls, full).unwrap_or_else(PoisonError::into_inner);
        *calls += 1;
        Place(inner)
    }
}

/// The right to have one instance.
pub(crate) struct Place<'a>(&'a Inner);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.calls.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.call_ended.notify_one();
    }
}

/// What compiles, and no more: no thread of ours.
///
/// # Errors
/// If wasmtime refuses, mostly for want of address space.
pub(crate) fn wasmtime_engine(options: &EngineOptions) -> Result<wasmtime::Engine, EngineError> {
    wasmtime::Engine::new(&config(options)).map_err(|wrong| EngineError::Start(format!("{wrong:#}"), options.calls_max))
}

fn config(options: &EngineOptions) -> Config {
    let mut config = Config::new();
    // What is not needed is not there to be attacked. Threads, garbage collection and stack switching are not even
    // compiled in (see Cargo.toml of the workspace).
    let unwanted = WasmFeatures::TAIL_CALL
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::MEMORY64
        | WasmFeatures::CUSTOM_PAGE_SIZES
        | WasmFeatures::EXCEPTIONS
        | WasmFeatures::FUNCTION_REFERENCES
        | WasmFeatures::GC
        | WasmFeatures::STACK_SWITCHING
        | WasmFeatures::WIDE_ARITHMETIC
        | WasmFeatures::THREADS
        | WasmFeatures::SHARED_EVERYTHING_THREADS
        | WasmFeatures::CM_ASYNC;
    config
        .wasm_features(unwanted, false)
        .concurrency_support(false)
        .gc_support(false)
        .shared_memory(false)
        // `None` is no safer to compile: see the bounds in `scan`.
        .cranelift_opt_level(OptLevel::Speed)
        // A batch is a pure function of its input: the bits of a NaN, too.
        .cranelift_nan_canonicalization(true)
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        .wasm_backtrace_max_frames(Some(BACKTRACE_FRAMES_MAX))
        // Debug information is the guest's own: nobody parses it.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .memory_init_cow(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(options)));
    config
}

fn pool(options: &EngineOptions) -> PoolingAllocationConfig {
    let calls = options.calls_max.max(1);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .max_core_instances_per_component(SHAPE.instances)
        .max_memories_per_component(SHAPE.memories)
        .max_tables_per_component(SHAPE.tables)
        .max_tables_per_module(SHAPE.tables)
        .max_memories_per_module(1)
        .total_core_instances(calls.saturating_mul(SHAPE.instances))
        .total_memories(calls.saturating_mul(SHAPE.memories))
        .total_tables(calls.saturating_mul(SHAPE.tables))
        .table_elements(SHAPE.table_elements as usize)
        .max_memory_size(options.memory_bytes_max)
        // A slot stays with the component that it ran, so that its pages need no new mapping.
        .max_unused_warm_slots(calls)
        .linear_memory_keep_resident(options.keep_resident_bytes)
        .table_keep_resident(SHAPE.table_elements as usize * size_of::<usize>())
        .pagemap_scan(Enabled::Auto);
    pool
}
