//! What a table holds and who writes it, for people and tests. Reads only.

use std::collections::BTreeMap;
use std::path::Path;

use lakemill_model::{Epoch, NextOffset, SinkError, SinkPositions};

use crate::app_id::{AppId, AppIdKind};
use crate::delta::snapshot::{self, FileTotals};
use crate::options::local_path;
use crate::parquet;
use crate::shape::Shape;

/// How a table is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// A Delta log.
    Delta,
    /// Parquet files with a manifest.
    Parquet,
}

/// A sink that writes into a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableOwner {
    /// Whose pipeline.
    pub tenant: String,
    /// Which.
    pub pipeline: String,
    /// Its sink.
    pub sink: String,
}

/// A table at its newest version.
#[derive(Clone, Debug)]
pub struct TableInfo {
    /// How it is kept.
    pub kind: TableKind,
    /// The version.
    pub version: u64,
    /// Rows; `None` where the files do not tell.
    pub rows: Option<u64>,
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Name and type of each column, in Delta's words.
    pub columns: Vec<(String, String)>,
    /// Columns whose values make folders.
    pub partition_columns: Vec<String>,
    /// How far each of our sinks is that writes it.
    pub positions: BTreeMap<TableOwner, SinkPositions>,
}

/// Looks at the table in the folder `location` (a path or a `file://` URL). It costs as much as its list of files is long.
///
/// # Errors
/// [`SinkError::Unsupported`] if there is no table; [`SinkError::Storage`] if it cannot be read. The sink they name is the location.
pub fn table_info(location: &str) -> Result<TableInfo, SinkError> {
    let none = |reason: String| SinkError::Unsupported { sink: location.to_owned(), reason };
    let root = local_path(location).map_err(none)?;
    if let Some(info) = delta(&root).map_err(|error| error.into_sink_error(location, &root))? {
        return Ok(info);
    }
    if let Some(parquet::Newest { version, totals, shape, positions }) = parquet::newest_entry(&root, location)? {
        let (rows, files, bytes) = (Some(totals.rows), totals.files, totals.bytes);
        return Ok(info(TableKind::Parquet, version, &shape, &positions, FileTotals { files, bytes, rows }));
    }
    Err(none(format!(
        "there is no table at {}: neither a _delta_log nor a _manifest with anything in it",
        root.display()
    )))
}

fn delta(root: &Path) -> Result<Option<TableInfo>, crate::delta::LookError> {
    let Some(look) = snapshot::look(root, "lakemill/")? else { return Ok(None) };
    let totals = snapshot::file_totals(root, look.version)?;
    Ok(Some(info(TableKind::Delta, look.version, &look.shape, &look.transactions, totals)))
}

fn info(
    kind: TableKind,
    version: u64,
    shape: &Shape,
    transactions: &BTreeMap<String, i64>,
    totals: FileTotals,
) -> TableInfo {
    TableInfo {
        kind,
        version,
        rows: totals.rows,
        files: totals.files,
        bytes: totals.bytes,
        columns: shape.columns.iter().map(|column| (column.name.to_string(), column.type_name())).collect(),
        partition_columns: shape.partition_columns.iter().map(ToString::to_string).collect(),
        positions: owners(transactions),
    }
}

/// By sink, from the application transactions of a table. What a pipeline says of all its sinks is said of each.
fn owners(transactions: &BTreeMap<String, i64>) -> BTreeMap<TableOwner, SinkPositions> {
    let ids: Vec<(AppId, i64)> =
        transactions.iter().filter_map(|(id, number)| Some((AppId::parse(id)?, *number))).collect();
    let mut owners: BTreeMap<TableOwner, SinkPositions> = BTreeMap::new();
    for (id, number) in &ids {
        let AppIdKind::Held(sink) = &id.kind else { continue };
        let owner = TableOwner { tenant: id.tenant.clone(), pipeline: id.pipeline.clone(), sink: sink.clone() };
        owners.entry(owner).or_default().held.set(id.partition.clone(), NextOffset(*number));
    }
    for (owner, positions) in &mut owners {
        for (id, number) in ids.iter().filter(|(id, _)| id.tenant == owner.tenant && id.pipeline == owner.pipeline) {
            match id.kind {
                AppIdKind::Held(_) => {}
                AppIdKind::Done => positions.done.set(id.partition.clone(), NextOffset(*number)),
                AppIdKind::Epoch => positions.epochs.set(id.partition.clone(), Epoch(*number)),
            }
        }
    }
    owners
}
