//! A file of lines, by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(init: lakemill_fuzz::plant("lines"), |data: &[u8]| lakemill_fuzz::lines::lines(data));
