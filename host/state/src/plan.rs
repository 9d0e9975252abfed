//! What makes a batch what it is: with its plan, a replay gives the same bytes. No I/O.

use lakemill_model::{CheckpointId, PositionDelta};
use serde::{Deserialize, Serialize};

/// Everything that makes a batch what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The batch's number.
    pub checkpoint: CheckpointId,
    /// Its ranges.
    pub delta: PositionDelta,
    /// Its clock, in microseconds since 1970.
    pub now_us: i64,
    /// The watermark before it, in microseconds since 1970.
    pub watermark_us: Option<i64>,
    /// What it goes through.
    #[serde(flatten)]
    pub code: Code,
    /// Other code for some of its keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// Where a transform failed on it, and how it was cut so that the rest could go on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cuts: Vec<Cut>,
    /// True if its code failed on it, or made rows that it may not make: other code may have a try, as long as no sink has a part of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
    /// Where sinks stood that held rows of it before we began: each of them once for every partition, in order, as topic, partition and
    /// offset. Another process has made those rows: what with, and how it cut the batch, is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overtaken: Vec<(String, i32, i64)>,
    /// Records of which a sink does not take a row: its table may take it by the time that the batch is replayed, and then some sinks
    /// would have the row, and the dead letters as well, or none of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unfit: Vec<Unfit>,
}

/// Records that a sink does not take, for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfit {
    /// The sink's name.
    pub sink: String,
    /// Why.
    pub reason: String,
    /// The records' topic.
    pub topic: String,
    /// Their partitions and offsets.
    pub records: Vec<(i32, i64)>,
}

/// What batches go through: components and what they were loaded with, in the order of the pipeline file. The component
/// store has the content behind each name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Code {
    /// SHA-256 of each component.
    pub digests: Vec<String>,
    /// SHA-256 of the settings of each: configuration, grants and limits.
    #[serde(default)]
    pub settings: Vec<String>,
}

/// New code beside the old, for some keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// What those keys go through.
    pub code: Code,
    /// How many of 100 keys.
    pub percent: u8,
}

/// What a failing call of a transform came to: calls with fewer rows, and rows that no call survives. Written down because a
/// failure for want of time or memory may not come again in a replay, which must give the same rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Which transform.
    pub transform: u32,
    /// The topic of the call's rows.
    pub topic: String,
    /// Its pieces, in order: together all rows of the call.
    pub pieces: Vec<Piece>,
}

/// Rows that were one call in the end, from the one of a record to the next piece. A record's place in its topic is the same whatever
/// the records decode to, and whichever of them are still there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The partition of the first row's record.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Why its row, its only one, is dead; `None`: the call went well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead: Option<Death>,
}

/// Why a transform failed on a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// In one line.
    pub reason: String,
    /// Where the guest was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backtrace: Option<String>,
}

impl Plan {
    /// All components of the batch, each once: what its commits name.
    pub fn digests(&self) -> Vec<String> {
        let mut digests = self.code.digests.clone();
        for digest in self.canary.iter().flat_map(|canary| &canary.code.digests) {
            if !digests.contains(digest) {
                digests.push(digest.clone());
            }
        }
        digests
    }

    /// What it goes through: the code, and that of a canary.
    pub fn codes(&self) -> impl Iterator<Item = &Code> {
        std::iter::once(&self.code).chain(self.canary.iter().map(|canary| &canary.code))
    }

    /// All that the component store must keep for it.
    pub fn content(&self) -> impl Iterator<Item = &str> {
        self.codes().flat_map(Code::content)
    }
}

impl Code {
    /// All that the component store must keep for it.
    pub fn content(&self) -> impl Iterator<Item = &str> {
        self.digests.iter().chain(&self.settings).map(String::as_str)
    }
}
