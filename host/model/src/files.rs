//! How a source of files knows a file again, whatever happens to its name: what it must remember of each, and of whom it asks that.

use serde::{Deserialize, Serialize};

use crate::{SourceError, TopicPartition};

/// What is remembered of a file: one partition of a topic, whose offsets are the numbers of its lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownFile {
    /// The topic that its lines count as.
    pub topic: String,
    /// Its number, which no other file of the topic ever gets.
    pub partition: i32,
    /// Where it was seen last, without links.
    pub path: String,
    /// The number of the device that it was on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// CRC-32 of the first 16, 32, 64, … 4096 bytes of its content, as far as they were there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub head: Vec<u32>,
    /// Where lines begin, by line: the last is how far it was read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<FileMark>,
    /// One past the last line that was a record.
    #[serde(default)]
    pub records: i64,
    /// How the file looked when nothing more was in it than what was read; `None` as long as there is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<FileLook>,
    /// A last line that was read although it had no end: its number, and the byte where it stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_end: Option<(i64, u64)>,
    /// Another file has its place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub displaced: bool,
    /// What was not read of it is given up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub given_up: bool,
}

/// Where a line of a file begins, and how the content before it is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(i64, u64, u32)", into = "(i64, u64, u32)")]
pub struct FileMark {
    /// The line's number, from 0.
    pub line: i64,
    /// Bytes of content before it: of a compressed file, as they come out.
    pub byte: u64,
    /// CRC-32 of the 4096 bytes before it, or of as many as there are.
    pub tail: u32,
}

/// What the file system says of a file without its being opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, i64)", into = "(u64, i64)")]
pub struct FileLook {
    /// Bytes on the disk.
    pub size: u64,
    /// When it was changed last, in nanoseconds since 1970.
    pub modified_ns: i64,
}

impl From<(i64, u64, u32)> for FileMark {
    fn from((line, byte, tail): (i64, u64, u32)) -> Self {
        Self { line, byte, tail }
    }
}

impl From<FileMark> for (i64, u64, u32) {
    fn from(FileMark { line, byte, tail }: FileMark) -> Self {
        (line, byte, tail)
    }
}

impl From<(u64, i64)> for FileLook {
    fn from((size, modified_ns): (u64, i64)) -> Self {
        Self { size, modified_ns }
    }
}

impl From<FileLook> for (u64, i64) {
    fn from(FileLook { size, modified_ns }: FileLook) -> Self {
        (size, modified_ns)
    }
}

impl KnownFile {
    /// The partition that it is.
    pub fn tp(&self) -> TopicPartition {
        TopicPartition::new(self.topic.as_str(), self.partition)
    }
}

/// Remembers files for a source, across its process's death.
pub trait FileMemory: Send {
    /// What is remembered, by partition.
    fn known(&self) -> Vec<KnownFile>;

    /// Remembers files, durably, instead of what was remembered of them. Nothing may be read of a new file, and no line of it leave
    /// the source, before this has gone well.
    ///
    /// # Errors
    /// If it cannot be written.
    fn keep(&mut self, files: &[KnownFile]) -> Result<(), SourceError>;

    /// Where it is kept, for messages.
    fn place(&self) -> String;
}

/// Remembers for as long as it lives: for a look at files that are not going to be read.
#[derive(Debug, Default)]
pub struct Unremembered(Vec<KnownFile>);

impl FileMemory for Unremembered {
    fn known(&self) -> Vec<KnownFile> {
        self.0.clone()
    }

    fn keep(&mut self, files: &[KnownFile]) -> Result<(), SourceError> {
        for file in files {
            self.0.retain(|known| known.tp() != file.tp());
            self.0.push(file.clone());
        }
        Ok(())
    }

    fn place(&self) -> String {
        "memory".into()
    }
}
