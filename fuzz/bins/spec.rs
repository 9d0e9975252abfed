//! The pipeline file, by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(init: lakemill_fuzz::plant("spec"), |data: &[u8]| lakemill_fuzz::spec::spec(data));
