//! libFuzzer target: the x86 instruction emulator for planar VGA loops, on arbitrary vCPU state and code.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    pcvm::emulator::fuzz(bytes);
});
