//! Plays the fuzzer's bytes as a script on the device that the environment variable `PCVM_FUZZ_SUBJECT` names, a name of
//! `pcvm_devices::testing::subjects`. With `PCVM_FUZZ_STATE` the bytes damage a saved state of the device first.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pcvm_devices::testing::subjects;
use std::sync::LazyLock;

static PLAY: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("PCVM_FUZZ_SUBJECT").expect("PCVM_FUZZ_SUBJECT names a device");
    if name == "config_address" {
        return subjects::config_address;
    }
    let subject = subjects::subject(&name).unwrap_or_else(|| panic!("'{name}' is not a device under test"));
    if std::env::var_os("PCVM_FUZZ_STATE").is_some() { subject.damage } else { subject.play }
});

fuzz_target!(|bytes: &[u8]| PLAY(bytes));
