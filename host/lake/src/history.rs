//! What the commits of a table say of themselves, whatever kind of table it is.

use std::collections::BTreeMap;

use serde_json::Value;

/// What a commit says of itself.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BlamedCommit {
    /// The table version that it made.
    pub version: u64,
    /// When, in milliseconds since 1970.
    pub time_ms: i64,
    /// The pipeline that wrote it; `None`: it was not Lakemill, or somebody has rewritten its files since.
    pub pipeline: Option<String>,
    /// SHA-256 of the components that its rows went through, in the order of the pipeline file.
    pub digests: Vec<String>,
    /// The batch.
    pub checkpoint: Option<u64>,
    /// The batch's ranges: topic, partition, first offset, one past the last.
    pub ranges: Vec<(String, i32, i64, i64)>,
}

/// A commit and the files that it brings.
pub(crate) struct Seen {
    pub commit: BlamedCommit,
    pub files: Vec<SeenFile>,
}

/// A file that a commit brings.
pub(crate) struct SeenFile {
    /// Relative to the table's folder.
    pub path: String,
    pub partition: BTreeMap<String, Option<String>>,
    /// Delta's statistics.
    pub stats: Value,
    /// Where the commit has several codes.
    pub made_by: Vec<String>,
}
