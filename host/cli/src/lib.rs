//! The lakemill command.
