//! A record's key and value, by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(init: lakemill_fuzz::plant("decode"), |data: &[u8]| lakemill_fuzz::decode::decode(data));
