//! Files of lines as a source that ends: for trying a pipeline out, and for loading what was exported.
//!
//! Each file is a partition, its lines are the records, counted from 0. The files must stay as they are while
//! they are read, and between runs that are to go on where the last one stopped: positions are line numbers.

mod lines;
mod paths;
mod source;

pub use source::FileSource;

/// What a line is. Lines end with `\n` or `\r\n`; the last one may end with the file. Bytes that are no UTF-8
/// are passed on.
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
    /// Files, or patterns: `*` and `?` in a file's name, not in its directory's.
    pub paths: Vec<String>,
    /// The topic that all the files are partitions of, in the order of their paths. `None`: each is a topic
    /// of the name of the file, without its last extension; files of one name are partitions of one topic.
    pub topic: Option<String>,
    /// What a line is.
    pub format: LineFormat,
}
