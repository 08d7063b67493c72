//! libFuzzer target: the VNC session and its WebSocket framing, fed with a client's bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| pcvm::vnc::fuzz(bytes));
