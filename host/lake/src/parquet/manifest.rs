//! The entries of a Parquet table's manifest as text: written, read, and checked. No I/O.
//!
//! An entry is one JSON object in one file. Its last member is the CRC-32 (IEEE) of all bytes before the comma in front of it, so that
//! an entry that was cut or changed on the disk is told from a whole one, and any JSON reader can still read it.

use std::collections::BTreeMap;

use lakemill_model::{Field, StagedFile};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The format that this code writes and reads.
const FORMAT: u32 = 1;

/// Versions that a list covers: from a multiple of it on.
pub(crate) const LIST_VERSIONS: u64 = 100;

/// What one commit did: the content of `_manifest/<version>.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) format: u32,
    pub(crate) version: u64,
    /// The CRC of the entry before; empty in the first.
    pub(crate) previous: String,
    pub(crate) time_ms: i64,
    pub(crate) writer: String,
    pub(crate) tenant: String,
    pub(crate) pipeline: String,
    pub(crate) sink: String,
    /// The batch; none if the table was made without one.
    pub(crate) checkpoint: Option<u64>,
    pub(crate) digests: Vec<String>,
    /// Topic, partition, first offset, one past the last.
    pub(crate) ranges: Vec<(String, i32, i64, i64)>,
    pub(crate) columns: Vec<Field>,
    pub(crate) partition_by: Vec<String>,
    /// Everything that everybody said so far, by application id.
    pub(crate) positions: BTreeMap<String, i64>,
    pub(crate) totals: Totals,
    /// What this commit added.
    pub(crate) files: Vec<FileEntry>,
}

/// All files up to an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(crate) files: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

/// The files of several entries: the content of `_manifest/<last version>.list.json`. Readers may take it instead of the entries.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct List {
    pub(crate) format: u32,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) files: Vec<FileEntry>,
}

/// A data file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FileEntry {
    /// Relative to the table's folder; a file name, not a URI.
    pub(crate) path: String,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) partition: BTreeMap<String, Option<String>>,
    /// Bounds and null counts as in Delta.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stats: Option<Box<RawValue>>,
    /// SHA-256 of the components that made it, where the entry has files of several codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) made_by: Vec<String>,
}

impl From<&StagedFile> for FileEntry {
    fn from(file: &StagedFile) -> Self {
        Self {
            path: file.path.clone(),
            rows: file.rows,
            bytes: file.bytes,
            partition: file.partition_values.iter().cloned().collect(),
            stats: file.stats.clone().and_then(|stats| RawValue::from_string(stats).ok()),
            made_by: file.made_by.clone(),
        }
    }
}

impl Totals {
    pub(crate) fn plus(mut self, files: &[StagedFile]) -> Self {
        self.files += files.len() as u64;
        self.rows += files.iter().map(|file| file.rows).sum::<u64>();
        self.bytes += files.iter().map(|file| file.bytes).sum::<u64>();
        self
    }
}

impl List {
    pub(crate) fn new(first: u64, last: u64, files: Vec<FileEntry>) -> Self {
        Self { format: FORMAT, first, last, files }
    }
}

impl Entry {
    /// The number that every entry of this code has.
    pub(crate) const FORMAT: u32 = FORMAT;
}

/// The bytes of an entry or a list, and their CRC.
pub(crate) fn to_bytes<T: Serialize>(content: &T) -> (Vec<u8>, String) {
    let mut bytes = serde_json::to_vec(content).expect("entries hold nothing that JSON does not");
    let end = bytes.pop();
    debug_assert_eq!(end, Some(b'}'));
    let crc = format!("{:08x}", crc32fast::hash(&bytes));
    bytes.extend_from_slice(format!(",\"crc32\":\"{crc}\"}}\n").as_bytes());
    (bytes, crc)
}

/// Reads an entry or a list, and its CRC. The error says what is wrong with the file.
pub(crate) fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, String), String> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    const TAIL: usize = ",\"crc32\":\"00000000\"}\n".len();
    let at = bytes.len().checked_sub(TAIL).ok_or("it was cut")?;
    let (body, tail) = bytes.split_at(at);
    let crc = format!("{:08x}", crc32fast::hash(body));
    if tail != format!(",\"crc32\":\"{crc}\"}}\n").as_bytes() {
        return Err("its checksum does not match: it was cut or changed; restore it from a copy".to_owned());
    }
    let head: Head = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if head.format != FORMAT {
        return Err(format!("it has format {}, this Lakemill reads {FORMAT}; use a newer one", head.format));
    }
    Ok((serde_json::from_slice(bytes).map_err(|error| error.to_string())?, crc))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> List {
        let file = FileEntry {
            path: "data/p=a%2Fb/part.parquet".to_owned(),
            rows: 3,
            bytes: 10,
            partition: [("p".to_owned(), Some("a/b".to_owned())), ("q".to_owned(), None)].into(),
            stats: RawValue::from_string(r#"{"numRecords":3,"minValues":{"n":1.10}}"#.to_owned()).ok(),
            made_by: Vec::new(),
        };
        List::new(0, 99, vec![file])
    }

    #[test]
    fn what_is_written_reads_back() {
        let (bytes, crc) = to_bytes(&list());
        let (back, seen): (List, String) = from_bytes(&bytes).expect("whole");
        assert_eq!((seen, back.last, back.files.len()), (crc.clone(), 99, 1));
        assert_eq!(to_bytes(&back).0, bytes, "numbers in statistics keep their digits");
        let plain: serde_json::Value = serde_json::from_slice(&bytes).expect("any JSON reader reads it");
        assert_eq!(plain["crc32"], crc);
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_seen() {
        let (bytes, _) = to_bytes(&list());
        for end in 0..bytes.len() {
            assert!(from_bytes::<List>(&bytes[..end]).is_err(), "cut at {end}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(from_bytes::<List>(&changed).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn another_format_is_refused_by_its_number() {
        let (bytes, _) = to_bytes(&List { format: 2, ..list() });
        let error = from_bytes::<List>(&bytes).expect_err("must be refused");
        assert_eq!(error, "it has format 2, this Lakemill reads 1; use a newer one");
    }
}
