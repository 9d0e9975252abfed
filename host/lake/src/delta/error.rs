//! What may go wrong with a Delta table below the sink, and what the pipeline is told. Nothing is retried here.

use std::path::Path;

use lakemill_model::SinkError;

use crate::disk::DiskError;

/// The table could not be looked at, or written.
#[derive(Debug)]
pub(crate) enum LookError {
    /// The disk fails.
    Disk(DiskError),
    /// A file cannot be read or written.
    Storage { path: String, reason: String },
    /// The kernel cannot read the log.
    Kernel(Box<delta_kernel::Error>),
    /// It is a table that we do not know how to treat.
    Unsupported(String),
}

impl LookError {
    pub(super) fn storage(path: &Path, error: &std::io::Error) -> Self {
        Self::Storage { path: path.display().to_string(), reason: error.to_string() }
    }

    pub(crate) fn into_sink_error(self, sink: &str, root: &Path) -> SinkError {
        let sink = sink.to_owned();
        match self {
            Self::Disk(error) => error.into_sink_error(&sink),
            Self::Storage { path, reason } => SinkError::Storage { sink, action: "use", path, reason },
            Self::Kernel(error) => match *error {
                delta_kernel::Error::Unsupported(reason) => Self::Unsupported(reason).into_sink_error(&sink, root),
                // A backtrace follows the first line.
                error => {
                    let reason = error.to_string().lines().next().unwrap_or_default().to_owned();
                    SinkError::Storage { sink, action: "read the log of", path: root.display().to_string(), reason }
                }
            },
            Self::Unsupported(reason) => {
                SinkError::Unsupported { sink, reason: format!("the table at {}: {reason}", root.display()) }
            }
        }
    }
}

impl From<DiskError> for LookError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl From<delta_kernel::Error> for LookError {
    fn from(error: delta_kernel::Error) -> Self {
        Self::Kernel(Box::new(error))
    }
}

impl From<parquet::errors::ParquetError> for LookError {
    fn from(error: parquet::errors::ParquetError) -> Self {
        Self::Storage { path: "a log checkpoint".to_owned(), reason: error.to_string() }
    }
}
