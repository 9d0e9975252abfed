//! The loop: plan, decode, transform, write, commit, recover.
//!
//! [`spec`] reads the pipeline file, [`assemble`] builds what it names, [`run`] runs it. The way of a batch: `reader` (poll,
//! plan) -> `worker` (decode, watermark, transform, project, stage) -> `committer` (commit in order). `recover` decides
//! where to go on after a restart.

pub mod assemble;
pub mod error;
pub mod progress;
pub mod run;
pub mod spec;
pub mod trial;

mod committer;
mod counts;
mod job;
mod letters;
mod outputs;
mod project;
mod projection;
mod reader;
mod recover;
mod worker;

pub use assemble::assemble;
pub use counts::Counts;
pub use error::PipelineError;
pub use progress::{Latency, Progress, SinkCounts, Stages, Summary, TransformCounts};
pub use run::Assembly;
