//! Sinks that are not tables. Today: the [`console`].

pub mod console;

pub use console::ConsoleSink;
