//! What a pipeline must remember of its own, beside what the tables say: the [`journal`] of batch plans.
//!
//! Nothing here is the truth about rows: positions live in the tables. Losing this folder costs exactly the replay of
//! unfinished batches with their old clocks, and the start position of a pipeline that has committed nothing.

pub mod journal;
mod record;

pub use journal::{Journal, JournalError, Plan, Remembered};
