//! Reads a Parquet table's manifest as any reader may. Changes nothing, and needs no sink.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use lakemill_model::SinkError;

use super::manifest::{Entry, FileEntry, LIST_VERSIONS, List, Totals, from_bytes};
use super::{damaged, entry_name, list_name, shape_of};
use crate::disk::{DiskError, Doing as _, read};
use crate::history::{BlamedCommit, Seen, SeenFile};
use crate::options::local_path;
use crate::shape::Shape;

/// A file that belongs to a Parquet table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisibleFile {
    /// Relative to the table's folder.
    pub path: String,
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
}

/// The files of the Parquet table in the folder `location` (a path or a `file://` URL), in the order of their commits.
///
/// # Errors
/// [`SinkError::Storage`] if the manifest has a gap, is damaged or cannot be read. The sink it names is the location.
pub fn visible_files(location: &str) -> Result<Vec<VisibleFile>, SinkError> {
    let refused = |reason| SinkError::Unsupported { sink: location.to_owned(), reason };
    let root = local_path(location).map_err(refused)?;
    let dir = root.join("_manifest");
    let found = Listing::of(&dir).map_err(|error| error.into_sink_error(location))?;
    let mut files = Vec::new();
    let (mut next, mut before) = (0, None::<String>);
    while next <= found.newest.unwrap_or(0) && found.newest.is_some() {
        let hundred = next + LIST_VERSIONS - 1;
        let by_list = next.is_multiple_of(LIST_VERSIONS) && found.lists.contains(&hundred);
        let path = dir.join(if by_list { list_name(hundred) } else { entry_name(next) });
        let bytes = read(&path).map_err(|error| error.into_sink_error(location))?;
        let bytes =
            bytes.ok_or_else(|| damaged(location, &path, "it is missing, and later entries are there".to_owned()))?;
        let more = if by_list {
            before = None;
            from_bytes::<List>(&bytes).map(|(list, _)| list.files)
        } else {
            from_bytes::<Entry>(&bytes).and_then(|(entry, crc)| {
                let follows = before.replace(crc).is_none_or(|before| before == entry.previous);
                if follows {
                    Ok(entry.files)
                } else {
                    Err("it follows another entry than the one that is there".to_owned())
                }
            })
        };
        let more = more.map_err(|reason| damaged(location, &path, reason))?;
        files.extend(more.into_iter().map(|file| VisibleFile { path: file.path, rows: file.rows, bytes: file.bytes }));
        next = if by_list { hundred + 1 } else { next + 1 };
    }
    Ok(files)
}

/// All commits of the Parquet table at `location`.
pub(crate) fn commits(location: &str) -> Result<Vec<Seen>, SinkError> {
    let refused = |reason| SinkError::Unsupported { sink: location.to_owned(), reason };
    let dir = local_path(location).map_err(refused)?.join("_manifest");
    let Some(newest) = newest(&dir).map_err(|error| error.into_sink_error(location))? else { return Ok(Vec::new()) };
    let mut commits = Vec::new();
    for version in 0..=newest {
        let path = dir.join(entry_name(version));
        let bytes = read(&path).map_err(|error| error.into_sink_error(location))?.unwrap_or_default();
        let (entry, _) = from_bytes::<Entry>(&bytes).map_err(|reason| damaged(location, &path, reason))?;
        let file = |file: FileEntry| SeenFile {
            path: file.path,
            // The columns of folders are in the files, too.
            partition: BTreeMap::new(),
            stats: file.stats.and_then(|stats| serde_json::from_str(stats.get()).ok()).unwrap_or_default(),
            made_by: file.made_by,
        };
        let files = entry.files.into_iter().map(file).collect();
        let commit = BlamedCommit {
            version,
            time_ms: entry.time_ms,
            pipeline: Some(entry.pipeline),
            digests: entry.digests,
            checkpoint: entry.checkpoint,
            ranges: entry.ranges,
        };
        commits.push(Seen { commit, files });
    }
    Ok(commits)
}

/// A table as its newest entry tells it.
pub(crate) struct Newest {
    pub(crate) version: u64,
    pub(crate) totals: Totals,
    pub(crate) shape: Shape,
    /// By application id.
    pub(crate) positions: BTreeMap<String, i64>,
}

/// The newest entry of the table at `root`; `None` if there is no table.
pub(crate) fn newest_entry(root: &Path, location: &str) -> Result<Option<Newest>, SinkError> {
    let dir = root.join("_manifest");
    let Some(version) = newest(&dir).map_err(|error| error.into_sink_error(location))? else { return Ok(None) };
    let path = dir.join(entry_name(version));
    let bytes = read(&path).map_err(|error| error.into_sink_error(location))?.unwrap_or_default();
    let (entry, _) = from_bytes::<Entry>(&bytes).map_err(|reason| damaged(location, &path, reason))?;
    Ok(Some(Newest { version, totals: entry.totals, shape: shape_of(&entry), positions: entry.positions }))
}

/// What a manifest's folder has.
#[derive(Default)]
struct Listing {
    newest: Option<u64>,
    /// The last version of each list.
    lists: Vec<u64>,
}

impl Listing {
    fn of(dir: &Path) -> Result<Self, DiskError> {
        let mut listing = Self::default();
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(listing),
            entries => entries.doing("list", dir)?,
        };
        for entry in entries {
            let name = entry.doing("list", dir)?.file_name();
            let Some((digits, rest)) = name.to_str().and_then(|name| name.split_at_checked(20)) else { continue };
            match (digits.parse::<u64>(), rest) {
                (Ok(version), ".json") => listing.newest = listing.newest.max(Some(version)),
                (Ok(version), ".list.json") => listing.lists.push(version),
                _ => {}
            }
        }
        Ok(listing)
    }
}

pub(crate) fn newest(dir: &Path) -> Result<Option<u64>, DiskError> {
    Ok(Listing::of(dir)?.newest)
}
