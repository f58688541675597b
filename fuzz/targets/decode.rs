//! Any bytes as a packet of either version: an answer or a reason, never a panic, and a frame is never read past its end.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| broker::fuzzing::decode(bytes));
