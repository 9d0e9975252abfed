//! The loop: plan, decode, transform, write, commit, recover.
//!
//! [`spec`] reads the pipeline file, [`Pipeline`] loads what it names and runs it. The way of a batch: `reader` (poll, plan) ->
//! `worker` and `preparing` (decode, watermark, transform, project, stage) -> `committer` (commit in order); `run` starts these three.
//! `recover` decides where to go on after a restart, `tables` whether the sinks still have theirs, and `screening` leaves out what they cannot take. `version` is the code that batches go through, `loader` loads it, `deployer`
//! changes it (`rollout` and `diff` put new code on trial, [`trial`] judges it), `poison` and `bisect` find the rows that it fails on.
//! `tap` lets people look at rows. [`tryout`] is a transform without a pipeline.

pub mod assemble;
pub mod control;
pub mod error;
pub mod loader;
pub mod pipeline;
mod preparing;
pub mod progress;
pub mod spec;
pub mod tap;
pub mod trial;
pub mod tryout;

mod bisect;
mod breaker;
mod budget;
mod changes;
mod clock;
mod committer;
mod copies;
mod counts;
mod dead;
mod deployer;
mod diff;
mod job;
mod late;
mod letters;
mod lineup;
mod options;
mod outputs;
mod parking;
mod poison;
mod project;
mod projection;
mod ranges;
mod reader;
mod recover;
mod rehearsal;
mod rollout;
mod run;
mod screening;
mod tables;
mod throttle;
mod version;
mod wiring;
mod worker;
mod workshop;

pub use breaker::Circuit;
pub use control::Control;
pub use counts::{ControlCounts, Counts};
pub use dead::{DeadReason, in_words};
pub use deployer::{Reload, Reloaded, RolledBack};
pub use error::{OverBudget, PipelineError};
pub use options::Options;
pub use pipeline::Pipeline;
pub use progress::{
    LATENCY_BOUNDS_MS, Latency, LatencyHistogram, Progress, SinkCounts, Stages, Summary, TransformCounts,
};
pub use ranges::ColumnOutOfRange;
pub use trial::{Bounds, Mode, TrialReport};
