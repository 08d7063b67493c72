//! libFuzzer target: loading damaged saved states into every device.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pcvm_devices::testing::subjects;

fuzz_target!(|bytes: &[u8]| subjects::state(bytes));
