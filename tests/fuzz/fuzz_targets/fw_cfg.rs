//! libFuzzer target: the fw_cfg device, driven by a script.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pcvm_devices::testing::subjects;

fuzz_target!(|bytes: &[u8]| subjects::fw_cfg(bytes));
