//! libFuzzer target: the RTL8139 NIC, driven by a script.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pcvm_devices::testing::subjects;

fuzz_target!(|bytes: &[u8]| subjects::rtl8139(bytes));
