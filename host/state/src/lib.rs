//! What a pipeline must remember of its own, beside what the tables say: the [`journal`] of batch [`plan`]s, the
//! [`component_store`] with the code that they name, which code is [`active`], the [`schema_book`] of inferred columns, the
//! [`file_book`] of a source of files, the [`seal`] that tells whether secrets are the same, and who is [`running`] it.
//!
//! Nothing here is the truth about rows: positions live in the tables. Losing this folder between two sinks' commits of one batch
//! means that the batch is done again with other bounds and another clock: exact where each row is treated for itself.

pub mod active;
pub mod component_store;
mod durable;
mod error;
pub mod file_book;
pub mod journal;
pub mod plan;
mod record;
pub mod running;
pub mod schema_book;
pub mod seal;

pub use active::ActiveCode;
pub use component_store::ComponentStore;
pub use error::StateError;
pub use file_book::FileBook;
pub use journal::{Journal, KnownTable, Owned, Remembered};
pub use plan::{Canary, Code, Cut, Death, Piece, Plan, Unfit};
pub use running::{Runner, Running, Turn};
pub use schema_book::SchemaBook;
pub use seal::Seal;
