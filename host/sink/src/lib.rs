//! Sinks that are not tables: the [`console`], and nowhere ([`discard`]).

pub mod console;
pub mod discard;

pub use console::ConsoleSink;
pub use discard::DiscardSink;
