//! The parts of `lakemill demo`.

pub mod feed;
pub mod folder;
