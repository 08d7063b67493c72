//! libFuzzer target: the chipset devices, driven by a script.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pcvm_devices::testing::subjects;

fuzz_target!(|bytes: &[u8]| subjects::chipset(bytes));
