//! Real components against the real engine: what a guest gets, what is made of its answer, and that nothing that it
//! does wrong reaches anybody else.

mod batches;
mod columns;
mod guests;
mod hostile;
mod limits;
mod loading;
mod logs;
mod raw;
mod sharing;
