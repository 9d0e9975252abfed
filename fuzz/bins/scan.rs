//! A component's file, by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(init: lakemill_fuzz::plant("scan"), |data: &[u8]| lakemill_fuzz::scan::scan(data));
