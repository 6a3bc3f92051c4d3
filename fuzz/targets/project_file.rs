#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::project_file(input));
