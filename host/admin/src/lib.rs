//! The operator's view of a running pipeline: [`Server`] answers over a socket in the state folder, and, if asked to, over TCP;
//! [`client`] asks it. Only the socket takes commands: who may write to the state folder may as well stop the process.
//!
//! | path | |
//! |---|---|
//! | `GET /livez` | the process answers |
//! | `GET /readyz` | 200 while batches are committed; 503 while it is parked or waits after a fault, on the socket with the reason |
//! | `GET /metrics` | Prometheus' text format; [`metrics`] has the names |
//! | `GET /v1/status` | the object that `run --json` prints at its end; over TCP without anything that comes from rows |
//! | `GET /v1/tap?point=decoded` | rows as they come, a JSON object a line, on the socket only; points are raw, decoded, transformed, dead |
//! | `POST /v1/resume` | `{"over_budget": bool}`: go on after parking |
//! | `POST /v1/reload` | look at the components now |
//! | `POST /v1/promote` | the components on trial take over |
//! | `POST /v1/rollback` | the components on trial are dropped, or those before the last swap come back |

pub mod client;
pub mod metrics;
mod network;
mod server;
mod stream;

pub use server::{Server, Target};
