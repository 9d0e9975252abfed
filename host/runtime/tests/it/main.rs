//! Real components against the real engine: what a guest gets, what is made of its answer, and that nothing that it
//! does wrong reaches anybody else.

#[path = "../common/batches.rs"]
mod batches;
mod columns;
#[path = "../common/guests.rs"]
mod guests;
mod hostile;
mod limits;
mod loading;
mod logs;
#[allow(dead_code, reason = "the other program of tests uses the rest")]
#[path = "../common/raw.rs"]
mod raw;
mod sharing;
