//! Bytes of change events into Arrow columns: Debezium's envelope as JSON, with or without its schema part.
//!
//! [`Decoder::decode`] gives every record one fate. From the outside in: `framing` (schema part and payload), `building` (the
//! envelope), `image` (an object into columns), `convert` (a value into a cell), `names` (of members), `scan` (JSON).

mod building;
mod column;
mod convert;
mod decoder;
mod framing;
mod image;
mod layout;
mod names;
mod reason;
mod scan;
mod source;

pub use decoder::{Decoded, Decoder, DecoderConfig, DecoderError, SchemaMode, Settle, Undecodable, joined};
pub use layout::{Columns, Projection};
pub use reason::Reason;
