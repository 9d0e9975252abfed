//! Lane 2: a real broker (`LAKEMILL_TEST_BROKERS`). What only a broker can show: resuming, groups, gaps in the offsets,
//! codecs, starting points, lost data. Every test has topics of its own, so that all run side by side.

mod crash;
mod gaps;
mod group;
mod operate;
mod reload;
mod resume;
mod rollout;
mod source;
mod start;
mod support;
mod swap;
mod topics;
mod waits;
