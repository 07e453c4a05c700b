//! `fuzz::registry_name` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::registry_name(bytes));
