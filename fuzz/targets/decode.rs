//! Any bytes as a packet of either version: an answer or a reason, never a panic, never a read past the end of a frame.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| broker::fuzzing::decode(bytes));
