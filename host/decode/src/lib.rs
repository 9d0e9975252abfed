//! Bytes of change events into Arrow columns: Debezium's envelope as JSON, with or without its schema part.
//!
//! [`Decoder::decode`] gives every record one fate. From the outside in: `framing` (schema part and payload), `building` (the
//! envelope), `image` (an object into columns), `convert` (a value into a cell), `names` (of members), `scan` (JSON). What columns there
//! are: `layout`, from `connect` (a schema part), `declared` (the pipeline file) or `infer` (the records).

mod building;
mod column;
mod connect;
mod control;
mod convert;
mod declared;
mod decoder;
mod foreign;
mod framing;
mod image;
mod infer;
mod layout;
mod names;
mod reason;
mod scan;
mod source;

pub use control::ControlKind;
pub use declared::{DeclaredColumn, DeclaredColumns, Form};
pub use decoder::{Decoded, Decoder, DecoderConfig, DecoderError, OtherColumns, SchemaMode, Settle, Undecodable};
pub use infer::joined;
pub use layout::{Columns, Projection};
pub use reason::Reason;
