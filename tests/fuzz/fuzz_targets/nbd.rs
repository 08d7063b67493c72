//! libFuzzer target: the NBD client, fed with a server's side of negotiation and replies.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| pcvm::block::nbd::fuzz(bytes));
