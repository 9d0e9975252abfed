//! The harness of the test lanes: it makes events and knows what must become of them, runs the `lakemill` command as
//! its users do, and reads the tables with other people's readers. It uses no code of Lakemill.
//!
//! Start with [`orders`] for the events, [`process`] for the command, [`table`] for what it wrote.

pub mod broker;
pub mod compare;
pub mod crash;
pub mod faults;
pub mod live;
pub mod log;
pub mod oracle;
pub mod orders;
pub mod places;
pub mod process;
pub mod spec;
pub mod table;
pub mod topics;
pub mod verdict;
pub mod wait;
pub mod wasm;
