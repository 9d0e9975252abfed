//! The journal of plans, by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(init: lakemill_fuzz::plant("plan"), |data: &[u8]| lakemill_fuzz::plan::plan(data));
