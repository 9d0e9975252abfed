//! The sinks over real folders, read back with deltalake, the Parquet reader, and our own eyes.

mod common;
mod conversions;
mod delta_commits;
mod delta_readers;
mod delta_refusals;
mod lost_replies;
mod parquet_table;
mod storage;
