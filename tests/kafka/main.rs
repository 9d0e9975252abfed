//! A lane.
