//! Named instants, one after each durable step, at which a crash test ends the process as `kill -9` would. Without the feature `on`,
//! which no release has, [`reach`] is nothing at all.
//!
//! `LAKEMILL_FAILPOINT=plan-durable:3` ends the process when it reaches that point for the third time.

/// An instant in the life of a batch, or of the files that outlive it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// The inferred columns are in a file that does not have its name yet.
    SchemasWritten,
    /// The inferred columns have been written down.
    SchemasDurable,
    /// A component is in the store under a name that nobody asks for.
    ComponentWritten,
    /// A component is in the store; no plan names it.
    ComponentDurable,
    /// A plan is in the journal, and perhaps not on the disk.
    PlanWritten,
    /// A plan is on the disk; its batch has not left the reader.
    PlanDurable,
    /// A batch is staged: its files are there, and nobody sees them.
    BatchStaged,
    /// A log entry is in a hidden file.
    EntryWritten,
    /// A log entry can be seen, and is perhaps not on the disk.
    EntryVisible,
    /// A log entry is on the disk; nobody has been told.
    EntryDurable,
    /// Possession of partitions is written in one more sink.
    SinkClaimed,
    /// A sink that does not commit last has the batch.
    SinkCommitted,
    /// All sinks have the batch; the journal does not know.
    AnchorCommitted,
    /// The journal has forgotten the plan; Kafka has not been told.
    PlanForgotten,
    /// A log checkpoint is there, and `_last_checkpoint` does not name it.
    CheckpointVisible,
    /// `_last_checkpoint` names it.
    CheckpointDurable,
}

impl Point {
    /// Every one, in the order of a batch's life.
    pub const ALL: [Point; 16] = [
        Point::SchemasWritten,
        Point::SchemasDurable,
        Point::ComponentWritten,
        Point::ComponentDurable,
        Point::PlanWritten,
        Point::PlanDurable,
        Point::BatchStaged,
        Point::EntryWritten,
        Point::EntryVisible,
        Point::EntryDurable,
        Point::SinkClaimed,
        Point::SinkCommitted,
        Point::AnchorCommitted,
        Point::PlanForgotten,
        Point::CheckpointVisible,
        Point::CheckpointDurable,
    ];

    /// As the environment names it.
    pub fn name(self) -> &'static str {
        match self {
            Point::SchemasWritten => "schemas-written",
            Point::SchemasDurable => "schemas-durable",
            Point::ComponentWritten => "component-written",
            Point::ComponentDurable => "component-durable",
            Point::PlanWritten => "plan-written",
            Point::PlanDurable => "plan-durable",
            Point::BatchStaged => "batch-staged",
            Point::EntryWritten => "entry-written",
            Point::EntryVisible => "entry-visible",
            Point::EntryDurable => "entry-durable",
            Point::SinkClaimed => "sink-claimed",
            Point::SinkCommitted => "sink-committed",
            Point::AnchorCommitted => "anchor-committed",
            Point::PlanForgotten => "plan-forgotten",
            Point::CheckpointVisible => "checkpoint-visible",
            Point::CheckpointDurable => "checkpoint-durable",
        }
    }
}

/// Ends the process here if a crash test asks for it.
#[inline(always)]
#[cfg_attr(not(feature = "on"), expect(unused_variables, reason = "nothing is in the program without the feature"))]
pub fn reach(point: Point) {
    #[cfg(feature = "on")]
    on::reach(point);
}

#[cfg(feature = "on")]
mod on {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::Point;

    /// The point that is asked for, and how often it may still be passed.
    static ASKED: OnceLock<Option<(Point, AtomicU32)>> = OnceLock::new();

    pub(super) fn reach(point: Point) {
        let asked = ASKED.get_or_init(|| asked(&std::env::var("LAKEMILL_FAILPOINT").ok()?));
        let Some((wanted, passes)) = asked else { return };
        if *wanted == point && passes.fetch_sub(1, Ordering::Relaxed) == 1 {
            // No destructor runs, nothing is flushed.
            std::process::abort();
        }
    }

    fn asked(text: &str) -> Option<(Point, AtomicU32)> {
        let (name, count) = text.split_once(':').unwrap_or((text, "1"));
        let point = Point::ALL.into_iter().find(|point| point.name() == name);
        let count = count.parse().ok().filter(|count| *count > 0);
        // A test that asks for what is not there must not pass.
        let (Some(point), Some(count)) = (point, count) else { panic!("LAKEMILL_FAILPOINT={text}: no such point") };
        Some((point, AtomicU32::new(count)))
    }
}
