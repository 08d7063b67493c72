//! libFuzzer target: cue sheets, with files of sizes that the first bytes choose.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| pcvm::block::cue::fuzz(bytes));
