//! Files of lines as a source: each file is a partition of a topic, its lines are the records, counted from 0.
//!
//! A file is known by what it is, not by its name or its place in a list: by device and inode as long as it is there, and by
//! checksums of what was read of it wherever it went ([`catalog`]). What is known is remembered before it is used
//! ([`lakemill_model::FileMemory`]). A file may grow and be renamed, moved, copied away and cut to nothing, and compressed; what was
//! read of it must stay as it was.

mod catalog;
mod input;
mod kind;
mod lines;
mod matching;
mod newcomers;
#[cfg(test)]
mod packing;
mod paths;
mod source;

pub use source::FileSource;

use crate::OnDataLoss;

/// What a line is. Lines end with `\n` or `\r\n`. Bytes that are no UTF-8 are passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineFormat {
    /// The value of a record with a null key. Blank lines are no records, but they count.
    #[default]
    Value,
    /// A key, a tab, a value. An empty key is null, and so is an empty value: a tombstone. A line without a
    /// tab is a value. Blank lines are no records, but they count.
    KeyValue,
}

/// Which files to read, and how.
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// Files, or patterns: `*` and `?` in the names of files and directories.
    pub paths: Vec<String>,
    /// The topic that all the files are partitions of, numbered as they are seen, in the order of their paths. `None`: each is of a topic
    /// of the name of the file, without its last extension; files of one name are partitions of one topic.
    pub topic: Option<String>,
    /// What a line is.
    pub format: LineFormat,
    /// Goes on with files that appear and lines that are appended. Otherwise the source ends with what is there, and takes a last line
    /// that has no end if it is a whole record.
    pub follow: bool,
    /// What is done about lines that are gone before they were read.
    pub on_data_loss: OnDataLoss,
}
