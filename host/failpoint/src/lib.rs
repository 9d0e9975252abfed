//! Named instants, one after each durable step, at which a crash test ends the process as `kill -9` would. Without the feature `on`,
//! which no release has, [`reach`] is nothing at all.
//!
//! `LAKEMILL_FAILPOINT=plan-durable:3` ends the process when it reaches that point for the third time;
//! `LAKEMILL_FAILPOINT=entry-durable:3:lost` lets every third step that ends there say that it failed.

/// An instant in the life of a batch, or of the files that outlive it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Where partitions start that no sink knows is on the disk; nothing of them has been read.
    StartDurable,
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
    /// The journal knows under which epochs partitions are to be taken again, perhaps not on the disk; no sink does.
    ClaimBegun,
    /// The journal knows how far the partitions are that were taken, perhaps not on the disk; no plan was looked at.
    ClaimNoted,
    /// How a batch was cut is on the disk; nothing of it is committed.
    CutsDurable,
    /// That a batch is over the error budget is on the disk; the run has not ended.
    RefusalDurable,
    /// A sink that does not commit last has the batch.
    SinkCommitted,
    /// All sinks have the batch; the journal does not know.
    AnchorCommitted,
    /// The journal has forgotten the plan of a batch that is in all sinks; Kafka has not been told.
    PlanForgotten,
    /// The journal has forgotten a plan whose records are in the sinks already, or come again in another batch.
    PlanVoided,
    /// A log checkpoint is there, and `_last_checkpoint` does not name it.
    CheckpointVisible,
    /// `_last_checkpoint` names it.
    CheckpointDurable,
}

impl Point {
    /// Every one, in the order of a batch's life.
    pub const ALL: [Point; 22] = [
        Point::StartDurable,
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
        Point::ClaimBegun,
        Point::ClaimNoted,
        Point::CutsDurable,
        Point::RefusalDurable,
        Point::SinkCommitted,
        Point::AnchorCommitted,
        Point::PlanForgotten,
        Point::PlanVoided,
        Point::CheckpointVisible,
        Point::CheckpointDurable,
    ];

    /// As the environment names it.
    pub fn name(self) -> &'static str {
        match self {
            Point::StartDurable => "start-durable",
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
            Point::ClaimBegun => "claim-begun",
            Point::ClaimNoted => "claim-noted",
            Point::CutsDurable => "cuts-durable",
            Point::RefusalDurable => "refusal-durable",
            Point::SinkCommitted => "sink-committed",
            Point::AnchorCommitted => "anchor-committed",
            Point::PlanForgotten => "plan-forgotten",
            Point::PlanVoided => "plan-voided",
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

/// As [`reach`], at the end of a step that answers: a crash test may ask for a step that is done and says that it failed.
///
/// # Errors
/// If a crash test asks for it.
#[inline(always)]
#[cfg_attr(not(feature = "on"), expect(unused_variables, reason = "nothing is in the program without the feature"))]
pub fn answer(point: Point) -> std::io::Result<()> {
    #[cfg(feature = "on")]
    on::answer(point)?;
    Ok(())
}

#[cfg(feature = "on")]
mod on {
    use std::io;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::Point;

    /// What a test asks for.
    struct Asked {
        point: Point,
        /// At which passage; at every so many if answers are to be lost.
        count: u32,
        lost: bool,
        passed: AtomicU32,
    }

    static ASKED: OnceLock<Option<Asked>> = OnceLock::new();

    /// What is asked for at this passage of `point`.
    fn due(point: Point) -> Option<&'static Asked> {
        let asked = ASKED.get_or_init(|| asked(&std::env::var("LAKEMILL_FAILPOINT").ok()?)).as_ref()?;
        let passed = if asked.point == point { asked.passed.fetch_add(1, Ordering::Relaxed) + 1 } else { return None };
        (if asked.lost { passed.is_multiple_of(asked.count) } else { passed == asked.count }).then_some(asked)
    }

    pub(super) fn reach(point: Point) {
        if due(point).is_some() {
            // No destructor runs, nothing is flushed.
            std::process::abort();
        }
    }

    pub(super) fn answer(point: Point) -> io::Result<()> {
        match due(point) {
            None => Ok(()),
            Some(Asked { lost: true, .. }) => Err(io::Error::other("the answer is lost: a crash test asked for it")),
            Some(_) => std::process::abort(),
        }
    }

    fn asked(text: &str) -> Option<Asked> {
        let mut words = text.split(':');
        let name = words.next();
        let point = Point::ALL.into_iter().find(|point| Some(point.name()) == name);
        let count = words.next().map_or(Some(1), |count| count.parse().ok().filter(|count| *count > 0));
        let lost = words.next().map(|word| word == "lost");
        // A test that asks for what is not there must not pass.
        let (Some(point), Some(count), None | Some(true), None) = (point, count, lost, words.next()) else {
            panic!("LAKEMILL_FAILPOINT={text}: no such point")
        };
        Some(Asked { point, count, lost: lost.is_some(), passed: AtomicU32::new(0) })
    }
}
