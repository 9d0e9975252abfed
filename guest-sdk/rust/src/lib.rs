//! What the author of a transform imports.
//!
//! A transform is a function of one change:
//!
//! ```
//! use lakemill_guest::{Change, Emit, Output, Row, transform};
//!
//! #[derive(Row)]
//! struct Order<'a> {
//!     status: &'a str,
//!     total: f64,
//! }
//!
//! #[derive(Output)]
//! #[output(name = "orders", key = ["id"], copy(row))]
//! struct Clean {
//!     gross: f64,
//! }
//!
//! #[transform]
//! fn clean(change: &Change<Order>) -> Emit<Clean> {
//!     change.filter(|order| order.status != "cancelled").map(|order| Clean { gross: order.total * 1.2 })
//! }
//! # fn main() {}
//! ```
//!
//! Compiled for `wasm32-unknown-unknown` (a `cdylib`) it is a module that the host runs; compiled natively it is a
//! [`Transform`] that tests run. Either way nothing of WASI is needed, and an interface of the host is asked for only if it
//! is used: [`log`] by writing lines, `config` by having settings ([`Config`]).
//!
//! - Row view: [`Row`], [`Change`], [`Output`], [`Emit`], and [`Config`] for settings.
//! - Columnar view, a few times faster: [`transform`] with `columns`, [`Batch`], [`ColumnBuilder`], [`Answer`].
//! - Native tests: the module `testing`, behind the feature of that name: Debezium messages in, rows and dead letters out, and
//!   the same `cases/*.yaml` that `lakemill test` runs against the component.

// The derives name this crate by its full path, also here.
extern crate self as lakemill_guest;

mod answer;
mod batch;
mod builder;
mod cell;
mod change;
mod column;
#[cfg(target_arch = "wasm32")]
pub mod component;
mod config;
mod contract;
mod decimal;
mod emit;
mod error;
pub mod log;
mod output;
#[cfg(any(target_arch = "wasm32", test))]
mod panic;
mod row;
#[cfg(feature = "testing")]
pub mod testing;
mod time;
mod transform;

pub use answer::{Answer, Emission, Rejection};
pub use batch::{Batch, BatchSource};
pub use builder::{ColumnBuilder, Kind};
pub use cell::{Cell, CellType, Cells, Json};
pub use change::{Change, Filtered};
pub use column::{Column, Values, VarLength};
pub use config::{Config, Renames, Setting};
pub use contract::{DataType, Description, Field, Image, Op, OutputColumn, OutputSpec, Reads};
pub use decimal::Decimal;
pub use emit::{Emit, IntoEmit};
pub use error::{Error, Reject};
pub use output::{CellOut, Output, ValueOut};
pub use row::{Before, CellValue, FromCell, Instead, Lack, Row, Unread};
pub use time::{Date, Timestamp};
pub use transform::Transform;

pub use lakemill_guest_macros::{Config, Output, Row, transform};

/// The examples of the guide, as tests. A project's copy of this crate does not have it, and does not test it.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/transforms.md")]
pub struct Guide;

/// What the derives and `#[transform]` write calls on.
#[doc(hidden)]
pub mod private {
    pub use crate::change::ChangeOf;
    pub use crate::config::{field, field_or, object, word};
    pub use crate::output::{Place, TableRows, bare_lacks};
    pub use crate::row::{IsRow, Slot};
    pub use crate::transform::{describe_rows, finish_description, run_rows, settings};
    pub use serde_json::{Value, json};
}
