//! Harness and lanes.
