//! The vocabulary of the contract (wit/types.wit) in the SDK's terms: what a transform says it is. No cells here; those
//! are in `column` and `cell`.

use std::fmt;

/// What happened to a row, by Debezium's names (`Envelope.Operation`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Op {
    /// `r`: a row seen by a snapshot.
    Read = 0,
    /// `c`: an insert.
    Create = 1,
    /// `u`: an update.
    Update = 2,
    /// `d`: a delete.
    Delete = 3,
    /// `t`: the table was emptied. No row, no before and no after.
    Truncate = 4,
}

impl Op {
    /// Every op, by code.
    pub const ALL: [Op; 5] = [Op::Read, Op::Create, Op::Update, Op::Delete, Op::Truncate];

    /// The op of a code, if it is one.
    pub fn from_code(code: u8) -> Option<Op> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The op of a Debezium letter, if it is one of ours.
    pub fn from_letter(letter: &str) -> Option<Op> {
        Self::ALL.into_iter().find(|op| op.letter() == letter)
    }

    /// Its name: read, create, update, delete or truncate.
    pub fn word(self) -> &'static str {
        match self {
            Op::Read => "read",
            Op::Create => "create",
            Op::Update => "update",
            Op::Delete => "delete",
            Op::Truncate => "truncate",
        }
    }

    /// Debezium's letter.
    pub fn letter(self) -> &'static str {
        match self {
            Op::Read => "r",
            Op::Create => "c",
            Op::Update => "u",
            Op::Delete => "d",
            Op::Truncate => "t",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.letter())
    }
}

/// Where a column of a change lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Image {
    /// The columns of the Kafka key.
    Key,
    /// The row before the change; absent for inserts, and where the database does not tell.
    Before,
    /// The row after the change; absent for deletes.
    After,
    /// The row that the change is about: `Before` if the op is delete, else `After`; where that one is absent, the
    /// other; where both are, the key's columns, the rest null.
    Row,
    /// What Debezium and Kafka say about the change: `op` text, `event_time` timestamp, `topic` text, `partition` int32,
    /// `offset` int64, `kafka_time` timestamp, `position` bytes, `snapshot` boolean.
    Envelope,
}

/// The contract's name of it.
impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Image::Key => "key",
            Image::Before => "before",
            Image::After => "after",
            Image::Row => "row",
            Image::Envelope => "envelope",
        })
    }
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// Delta boolean.
    Boolean,
    /// Delta integer.
    Int32,
    /// Delta long.
    Int64,
    /// Delta float.
    Float32,
    /// Delta double.
    Float64,
    /// Delta decimal; 1 <= precision <= 38, scale <= precision.
    Decimal {
        /// All digits.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// Days since 1970-01-01.
    Date,
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
    /// UTF-8.
    Text,
    /// Delta binary.
    Bytes,
    /// One JSON value as text.
    Json,
}

/// The notation of pipeline files: `int64`, `decimal(12,2)`, …
impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DataType::Boolean => "boolean",
            DataType::Int32 => "int32",
            DataType::Int64 => "int64",
            DataType::Float32 => "float32",
            DataType::Float64 => "float64",
            DataType::Decimal { precision, scale } => return write!(f, "decimal({precision},{scale})"),
            DataType::Date => "date",
            DataType::Timestamp => "timestamp",
            DataType::Text => "text",
            DataType::Bytes => "bytes",
            DataType::Json => "json",
        })
    }
}

/// A named, typed column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// False promises that no cell is null.
    pub nullable: bool,
}

/// How an output's columns come about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputColumn {
    /// The transform makes it: each emission brings one column for every `Made`, in the order declared.
    Made(Field),
    /// The host copies it: it never enters the transform's memory.
    Copied {
        /// Where it lives.
        image: Image,
        /// Its name there.
        column: String,
        /// Its name in the output.
        name: String,
    },
    /// The host copies all columns that an image has, whatever they are.
    CopiedAll {
        /// Which.
        image: Image,
        /// Put before each name.
        prefix: String,
        /// Names (of the input) to leave out.
        except: Vec<String>,
    },
}

/// A table that the transform writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSpec {
    /// 1 to 64 characters of `[a-z0-9_]`; the pipeline file names its sink by it.
    pub name: String,
    /// The output columns that identify a row; empty if none do.
    pub key: Vec<String>,
    /// In the order of the table.
    pub columns: Vec<OutputColumn>,
}

impl OutputSpec {
    /// A table without columns and key.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), key: Vec::new(), columns: Vec::new() }
    }

    /// Says which columns identify a row.
    #[must_use]
    pub fn key<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.key = names.into_iter().map(Into::into).collect();
        self
    }

    /// Adds a column that the transform makes. It may be null, unless it is one of the key's.
    #[must_use]
    pub fn make(mut self, name: impl Into<String>, data_type: DataType) -> Self {
        self.columns.push(OutputColumn::Made(Field { name: name.into(), data_type, nullable: true }));
        self
    }

    /// Adds a column that the host copies under another name.
    #[must_use]
    pub fn copy(mut self, image: Image, column: impl Into<String>, name: impl Into<String>) -> Self {
        self.columns.push(OutputColumn::Copied { image, column: column.into(), name: name.into() });
        self
    }

    /// Adds all columns of an image, with the names that they have.
    #[must_use]
    pub fn copy_all(mut self, image: Image) -> Self {
        self.columns.push(OutputColumn::CopiedAll { image, prefix: String::new(), except: Vec::new() });
        self
    }

    /// Makes the columns of the key not nullable, those that the transform makes.
    pub(crate) fn with_required_key(mut self) -> Self {
        for column in &mut self.columns {
            if let OutputColumn::Made(field) = column {
                field.nullable &= !self.key.contains(&field.name);
            }
        }
        self
    }

    /// Leaves out of what `copy_all` would copy every column whose name another column of the table has.
    /// `#[transform]` does this by itself.
    #[must_use]
    pub(crate) fn without_doubles(mut self) -> Self {
        let named: Vec<String> = self.columns.iter().filter_map(name_of).cloned().collect();
        for column in &mut self.columns {
            if let OutputColumn::CopiedAll { prefix, except, .. } = column {
                for input in named.iter().filter_map(|name| name.strip_prefix(prefix.as_str())) {
                    if !except.iter().any(|e| e == input) {
                        except.push(input.to_owned());
                    }
                }
            }
        }
        self
    }
}

fn name_of(column: &OutputColumn) -> Option<&String> {
    match column {
        OutputColumn::Made(field) => Some(&field.name),
        OutputColumn::Copied { name, .. } => Some(name),
        OutputColumn::CopiedAll { .. } => None,
    }
}

/// What a transform reads of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reads {
    /// One column.
    Column(Image, String),
    /// Every column of an image.
    Image(Image),
}

/// What a transform is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// For people: 1 to 64 characters. `#[transform]` puts the package's name.
    pub name: String,
    /// For people: 1 to 64 characters. `#[transform]` puts the package's version.
    pub version: String,
    /// 1 to 64 outputs with different names.
    pub outputs: Vec<OutputSpec>,
    /// The columns that it may ask for. The host decodes only these and the copied ones, and asking for another one
    /// traps. The envelope need not be named.
    pub reads: Vec<Reads>,
    /// A JSON Schema of the configuration. `#[transform]` puts that of the settings.
    pub config_schema: Option<String>,
}

impl Description {
    /// The columns that it names, each once.
    pub(crate) fn column_names(&self) -> Vec<String> {
        let read = self.reads.iter().filter_map(|reads| match reads {
            Reads::Column(_, name) => Some(name),
            Reads::Image(_) => None,
        });
        let written = self.outputs.iter().flat_map(|output| &output.columns).flat_map(|column| match column {
            OutputColumn::Made(field) => vec![&field.name],
            OutputColumn::Copied { column, name, .. } => vec![column, name],
            OutputColumn::CopiedAll { except, .. } => except.iter().collect(),
        });
        let keys = self.outputs.iter().flat_map(|output| &output.key);
        let names: std::collections::BTreeSet<&String> = read.chain(written).chain(keys).collect();
        names.into_iter().cloned().collect()
    }

    /// Of a transform with these outputs that reads nothing yet.
    pub fn of(outputs: impl IntoIterator<Item = OutputSpec>) -> Self {
        Self { outputs: outputs.into_iter().collect(), ..Self::default() }
    }

    /// Adds columns that it reads.
    #[must_use]
    pub fn read<N: Into<String>>(mut self, image: Image, columns: impl IntoIterator<Item = N>) -> Self {
        self.reads.extend(columns.into_iter().map(|name| Reads::Column(image, name.into())));
        self
    }
}
