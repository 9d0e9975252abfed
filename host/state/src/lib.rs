//! What a pipeline must remember of its own, beside what the tables say: the [`journal`] of batch plans and the
//! [`schema_book`] of inferred columns.
//!
//! Nothing here is the truth about rows: positions live in the tables. Losing this folder between two sinks' commits of one batch
//! means that the batch is done again with other bounds and another clock: exact where each row is treated for itself.

pub mod journal;
mod record;
pub mod schema_book;

pub use journal::{Journal, JournalError, Plan, Remembered};
pub use schema_book::SchemaBook;
