//! How a pipeline is run.

use std::path::PathBuf;

use crate::trial::{Bounds, Mode};

/// What the command line says beside the pipeline file.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The pipeline file, to be read again when the pipeline is to look at its components; `None`: what was read once holds.
    pub file: Option<PathBuf>,
    /// Stop at the ends that the source has at the start.
    pub until_caught_up: bool,
    /// Workers; one per core if `None`.
    pub workers: Option<usize>,
    /// Where compiled components are kept; the user's cache folder if `None`.
    pub cache: Option<PathBuf>,
    /// The program that compiles components in a process of its own; `None`: this process does, which is for trusted ones.
    pub compiler: Option<PathBuf>,
    /// Run even if another process runs the pipeline out of the same state folder: that ends at its next commit.
    pub take_over: bool,
    /// How new code takes over.
    pub mode: Mode,
    /// What it must keep within.
    pub bounds: Bounds,
}
