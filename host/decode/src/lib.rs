//! Bytes of change events into Arrow columns.
