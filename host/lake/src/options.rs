//! How a table is written. Options only: nothing here touches the disk.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use lakemill_model::{DataType, SinkError};

/// How data files are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Zstandard, level 1: half the size of snappy at nearly its speed.
    #[default]
    Zstd,
    /// Snappy.
    Snappy,
    /// Gzip, level 6: small and slow.
    Gzip,
    /// Not at all.
    None,
}

/// What becomes of a column that the rows have and the table does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SchemaPolicy {
    /// The table gets it, nullable, in the commit of the first rows that have it.
    #[default]
    Additive,
    /// The rows do not fit: a person adds it, or leaves it out.
    Strict,
}

/// A table and how it is written.
#[derive(Clone, Debug)]
pub struct TableOptions {
    /// The sink's name in the pipeline file: in errors, and in the names of its positions.
    pub sink: String,
    /// A folder, as a path or a `file://` URL. It need not exist.
    pub location: String,
    /// Whose pipeline: a part of the names of its positions.
    pub tenant: String,
    /// The pipeline's name: a part of the names of its positions. Under another one everything is written again.
    pub pipeline: String,
    /// Columns whose values make the folders of a new table. A table that exists keeps its own; if columns are named
    /// here, they must be those.
    pub partition_columns: Vec<String>,
    /// The types of columns that Lakemill makes, by the rows' names, where they are to be wider than the rows'. A table that exists
    /// keeps its own, which must be those.
    pub columns: BTreeMap<String, DataType>,
    /// Whether the table gets the columns that rows have and it does not.
    pub schema: SchemaPolicy,
    /// Of data files.
    pub compression: Compression,
    /// Rows in a row group of a data file, at most.
    pub row_group_rows_max: usize,
    /// Versions between two log checkpoints (Delta) or lists (Parquet): what a reader reads one by one, at most. 0: never. The property
    /// `delta.checkpointInterval` of a table goes before it.
    pub checkpoint_interval: u64,
    /// Log entries that are older than this, and that a checkpoint covers, are deleted when a checkpoint is written (Delta). `None`:
    /// never. Time travel ends where they do, and so does the protection of a writer that stood still for longer.
    pub log_retention: Option<Duration>,
    /// Whether files are on the disk, not only in the system's cache, before a commit says that they are there. Without it a
    /// crash of the machine (not one of the process) can lose commits or damage the table.
    pub fsync: bool,
}

impl TableOptions {
    /// The defaults for the sink `sink` of `pipeline` in the folder `location`.
    pub fn new(pipeline: impl Into<String>, sink: impl Into<String>, location: impl Into<String>) -> Self {
        Self {
            sink: sink.into(),
            location: location.into(),
            tenant: "default".to_owned(),
            pipeline: pipeline.into(),
            partition_columns: Vec::new(),
            columns: BTreeMap::new(),
            schema: SchemaPolicy::default(),
            compression: Compression::default(),
            row_group_rows_max: 1 << 20,
            checkpoint_interval: 100,
            log_retention: None,
            fsync: true,
        }
    }

    /// The folder. Not canonical: it may not exist yet.
    pub(crate) fn root(&self) -> Result<PathBuf, SinkError> {
        local_path(&self.location).map_err(|reason| SinkError::Unsupported { sink: self.sink.clone(), reason })
    }
}

/// The absolute path that a path or a `file://` URL names.
///
/// # Errors
/// Words for a person if it names none, or one that is not on the local file system.
pub fn local_path(location: &str) -> Result<PathBuf, String> {
    let path = match location.split_once("://") {
        Some(("file", _)) => url::Url::parse(location).ok().and_then(|url| url.to_file_path().ok()),
        Some((scheme, _)) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => {
            return Err(format!(
                "{location}: {scheme} is not supported yet; give a folder of the local file system, as a path or a file:// URL"
            ));
        }
        _ => Some(PathBuf::from(location)),
    };
    let path = path.filter(|path| !path.as_os_str().is_empty());
    let path = path.ok_or_else(|| format!("`{location}` names no folder; give a path or a file:// URL"))?;
    std::path::absolute(&path).map_err(|error| format!("{location}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_a_path_or_a_file_url() {
        assert_eq!(local_path("/lake/orders"), Ok(PathBuf::from("/lake/orders")));
        assert_eq!(local_path("file:///lake/a%20b"), Ok(PathBuf::from("/lake/a b")));
        assert!(local_path("lake/orders").expect("a relative path").is_absolute());
        let refused = local_path("s3://bucket/orders").expect_err("not in this release");
        assert!(refused.contains("s3 is not supported yet"), "{refused}");
        assert!(local_path("").is_err());
        assert!(local_path("file://").is_err() || local_path("file://host/x").is_err());
    }
}
