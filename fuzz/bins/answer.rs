//! A guest's answer, by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(init: lakemill_fuzz::plant("answer"), |data: &[u8]| lakemill_fuzz::answer::answer(data));
