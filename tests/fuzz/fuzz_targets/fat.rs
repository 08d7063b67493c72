//! libFuzzer target: a floppy disk made from a directory, which a guest has changed, is read for the write-back.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| pcvm::block::fat::fuzz(bytes));
