//! Looks at a Delta table as it is: the only file that talks to delta_kernel and its tokio runtime. Changes nothing.
//!
//! A look reads the last log checkpoint and the entries after it, and of these only protocol, metadata and transactions: it costs
//! the same for a table of one file and of a million.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch, StructArray};
use delta_kernel::actions::LOG_TXN_SCHEMA;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::snapshot::SnapshotRef;
use delta_kernel::{Engine, Snapshot};
use delta_kernel_engine::DefaultEngineBuilder;
use delta_kernel_engine::executor::tokio::TokioMultiThreadExecutor;
use deltalake::logstore::{LogStoreRef, StorageConfig, logstore_for};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use super::LookError;
use super::protocol::{Demands, refusals};
use super::schema;
use crate::shape::Shape;

/// The kernel waits for its own tasks: they need a thread beside the one that waits.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // Some for the kernel, the others for files: the default of 512 makes a thread, and an arena of memory, for each file.
        .max_blocking_threads(LOOKS_AT_ONCE + 3)
        .thread_name("lake")
        .enable_all()
        .build()
        .expect("the system gives two more threads")
});

/// Each look holds a thread of the runtime and waits for others to read files: were all threads held by looks, none would end.
const LOOKS_AT_ONCE: usize = 2;
static LOOKS: Semaphore = Semaphore::const_new(LOOKS_AT_ONCE);

/// Log files that are read at the same time.
const FILES_AT_ONCE: NonZero<usize> = NonZero::new(4).expect("it is not 0");

/// A table as it was at one version.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) version: u64,
    pub(crate) shape: Arc<Shape>,
    /// The content of its `metaData` action; what it does not say is left out.
    pub(crate) metadata: serde_json::Value,
    /// Of our ids: those that begin with the prefix asked for.
    pub(crate) transactions: BTreeMap<String, i64>,
    /// The version of the newest log checkpoint.
    pub(crate) checkpoint: Option<u64>,
    /// Why it must not be written.
    pub(crate) refusals: Vec<String>,
}

/// Files of a table and what is in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileTotals {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// `None` if a file does not say, or has deleted rows.
    pub(crate) rows: Option<u64>,
}

/// The newest version in the log; `None` if there is no table: no folder with a Delta log in it.
fn newest(root: &Path) -> Result<Option<u64>, LookError> {
    let log = root.join("_delta_log");
    let entries = match std::fs::read_dir(&log) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(|error| LookError::storage(&log, &error))?,
    };
    let mut newest = None;
    for entry in entries {
        let name = entry.map_err(|error| LookError::storage(&log, &error))?.file_name();
        newest = newest.max(name.to_str().and_then(version_of));
    }
    Ok(newest)
}

/// Of a log entry's or a log checkpoint's name.
fn version_of(name: &str) -> Option<u64> {
    let (digits, rest) = name.split_at_checked(20)?;
    let is_log = rest == ".json" || rest.starts_with(".checkpoint.");
    (is_log && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// Looks at the newest version of the table at `root`; `None` if there is none.
pub(crate) fn look(root: &Path, prefix: &str) -> Result<Option<Look>, LookError> {
    // While somebody writes, a listing may show an entry and not the one before it. What one listing has shown, and all before
    // it, was there when the next one begins, which is the kernel's.
    let Some(version) = newest(root)? else { return Ok(None) };
    let prefix = prefix.to_owned();
    with_snapshot(root, version, move |snapshot, engine| {
        let configuration = snapshot.table_configuration();
        let (protocol, metadata) = (configuration.protocol(), configuration.metadata());
        let clustered_by: BTreeSet<String> = snapshot
            .get_physical_clustering_columns(engine)?
            .into_iter()
            .flatten()
            .filter_map(|name| name.path().first().cloned())
            .collect();
        let (shape, columns) = schema::from_metadata(
            metadata.schema_string(),
            metadata.partition_columns(),
            metadata.configuration(),
            &clustered_by,
        )
        .map_err(LookError::Unsupported)?;
        let mut whole = serde_json::to_value(metadata).map_err(|error| LookError::Unsupported(error.to_string()))?;
        if let Some(members) = whole.as_object_mut() {
            members.retain(|_, value| !value.is_null());
        }
        let features = protocol.writer_features().unwrap_or_default();
        let demands = Demands {
            min_writer_version: protocol.min_writer_version(),
            writer_features: features.iter().map(ToString::to_string).collect(),
            configuration: metadata.configuration().clone(),
            columns,
        };
        Ok(Look {
            version: snapshot.version(),
            shape: Arc::new(shape),
            metadata: whole,
            transactions: transactions(snapshot, engine, &prefix)?,
            checkpoint: snapshot.log_segment().checkpoint_version,
            refusals: refusals(&demands),
        })
    })
    .map(Some)
}

/// Counts the files of version `version`.
pub(crate) fn file_totals(root: &Path, version: u64) -> Result<FileTotals, LookError> {
    with_snapshot(root, version, |snapshot, engine| {
        let mut totals = FileTotals { rows: Some(0), ..FileTotals::default() };
        let scan = snapshot.clone().scan_builder().build()?;
        for batch in scan.scan_metadata(engine)? {
            totals = batch?.visit_scan_files(totals, |totals, file| {
                totals.files += 1;
                totals.bytes += u64::try_from(file.size).unwrap_or_default();
                let whole = file.stats.filter(|_| !file.dv_info.has_vector()).map(|stats| stats.num_records);
                totals.rows = totals.rows.zip(whole).map(|(sum, rows)| sum + rows);
            })?;
        }
        Ok(totals)
    })
}

/// Runs `work` on the table at `version`, on a thread where the kernel may wait.
pub(crate) fn with_snapshot<T: Send + 'static>(
    root: &Path,
    version: u64,
    work: impl FnOnce(&SnapshotRef, &dyn Engine) -> Result<T, LookError> + Send + 'static,
) -> Result<T, LookError> {
    let store = log_store(root)?;
    let look = move || {
        let engine = engine(&store);
        let snapshot = Snapshot::builder_for(store.root_url()).at_version(version).build(&engine)?;
        work(&snapshot, &engine)
    };
    let task = async {
        let _place = LOOKS.acquire().await;
        RUNTIME.spawn_blocking(look).await
    };
    RUNTIME
        .block_on(task)
        .map_err(|error| LookError::Storage { path: root.display().to_string(), reason: error.to_string() })?
}

/// The kernel's own engine. deltalake's would read a thousand entries at once, with room for a thousand actions in each: at a
/// hundred entries that is half a gigabyte.
fn engine(store: &LogStoreRef) -> impl Engine {
    DefaultEngineBuilder::new(store.root_object_store(None))
        .with_task_executor(Arc::new(TokioMultiThreadExecutor::new(RUNTIME.handle().clone())))
        .with_buffer_size(FILES_AT_ONCE)
        .build()
}

/// deltalake's access to the folder.
pub(crate) fn log_store(root: &Path) -> Result<LogStoreRef, LookError> {
    let unsupported = || LookError::Unsupported(format!("{} makes no URL", root.display()));
    let url = url::Url::from_directory_path(root).map_err(|()| unsupported())?;
    let guard = RUNTIME.enter();
    let store = logstore_for(&url, StorageConfig::default());
    drop(guard);
    store.map_err(|error| LookError::Storage { path: root.display().to_string(), reason: error.to_string() })
}

/// Deletes log entries that are older than `cutoff_ms` and that a checkpoint covers.
pub(crate) fn delete_old_entries(root: &Path, version: u64, cutoff_ms: i64) -> Result<usize, LookError> {
    let store = log_store(root)?;
    let task =
        async move { deltalake::checkpoints::cleanup_expired_logs_for(version, store.as_ref(), cutoff_ms, None).await };
    RUNTIME
        .block_on(task)
        .map_err(|error| LookError::Storage { path: root.display().to_string(), reason: error.to_string() })
}

fn transactions(snapshot: &SnapshotRef, engine: &dyn Engine, prefix: &str) -> Result<BTreeMap<String, i64>, LookError> {
    let mut found = BTreeMap::new();
    // The newest come first.
    for batch in snapshot.log_segment().read_actions(engine, LOG_TXN_SCHEMA.clone())? {
        let batch: RecordBatch = (*ArrowEngineData::try_from_engine_data(batch?.actions)?).into();
        collect_transactions(&batch, prefix, &mut found)?;
    }
    Ok(found)
}

pub(crate) fn collect_transactions(
    batch: &RecordBatch,
    prefix: &str,
    found: &mut BTreeMap<String, i64>,
) -> Result<(), LookError> {
    let strange = || LookError::Unsupported("its log has `txn` actions of a strange shape".to_owned());
    let txn: &StructArray =
        batch.column_by_name("txn").and_then(|column| column.as_struct_opt()).ok_or_else(strange)?;
    let ids = txn.column_by_name("appId").and_then(|column| column.as_string_opt::<i32>()).ok_or_else(strange)?;
    let versions =
        txn.column_by_name("version").and_then(|column| column.as_primitive_opt::<Int64Type>()).ok_or_else(strange)?;
    for row in 0..batch.num_rows() {
        // Rows of one batch go on in the order of the log: the first one seen is the newest.
        if txn.is_valid(row) && ids.is_valid(row) && ids.value(row).starts_with(prefix) {
            found.entry(ids.value(row).to_owned()).or_insert(versions.value(row));
        }
    }
    Ok(())
}
