//! `fuzz::grid_or_table` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::grid_or_table(bytes));
