//! Sinks that are not tables: the console.
