//! Delta and Parquet tables (the only door to deltalake).
//!
//! Two sinks that append, made of the same parts. Workers stage through `stage`: `shape` and `fit` check the
//! rows against the table and make them its rows, `partition` splits them, `encode` and `stats` make files of them, and `disk` puts them in place where no reader looks.
//! The committer then makes them visible: [`DeltaSink`] by one entry of the Delta log, [`ParquetSink`] by one manifest. Both
//! are files that only one writer can create (`disk::publish`), and both hold rows and positions, so that there is no moment
//! at which one is there without the other.
//!
//! Outward everything is synchronous; the kernel's tokio runtime stays in `delta::snapshot`.

mod app_id;
mod blame;
mod column_type;
mod delta;
mod disk;
mod encode;
mod fit;
mod history;
mod info;
mod ledger;
mod names;
mod options;
mod parquet;
mod partition;
mod shape;
mod stage;
mod stats;

pub use app_id::{AppId, AppIdKind};
pub use blame::{Blame, Blamed, blame};
pub use delta::DeltaSink;
pub use history::BlamedCommit;
pub use info::{TableInfo, TableKind, TableOwner, table_info};
pub use options::{Compression, SchemaPolicy, TableOptions, local_path};
pub use parquet::{ParquetSink, VisibleFile, visible_files};
