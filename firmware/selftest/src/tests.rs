//! Unit tests of the checks: which values pass, and which fail.

use crate::memory::{Range, end_of_memory, find_fault};
use crate::{acpi, pci, rtc, timer};

const fn range(base: u64, length: u64, kind: u32) -> Range {
    Range { base, length, kind }
}

#[test]
fn memory_map_faults_are_found() {
    let valid = [range(0, 0x9_fc00, 1), range(0x9_fc00, 0x400, 2), range(0x10_0000, 0x3f0_0000, 1)];
    assert_eq!(find_fault(&valid, 639), None);
    assert_eq!(end_of_memory(&valid), 64 << 20);
    assert_eq!(find_fault(&valid, 640), Some("INT 12h and INT 15h E820h differ"));
    assert_eq!(find_fault(&valid[1..], 639), Some("no RAM at 0"));
    assert_eq!(find_fault(&valid[..2], 639), Some("no RAM at 1 MiB"));
    let with = |added| [valid[0], valid[1], valid[2], added];
    assert_eq!(find_fault(&with(range(0x9_fff0, 0x20, 2)), 639), Some("ranges overlap"));
    assert_eq!(find_fault(&with(range(0xc_0000, 0x1000, 1)), 639), Some("RAM between 640 KiB and 1 MiB"));
    assert_eq!(find_fault(&with(range(u64::MAX, 2, 2)), 639), Some("a range is empty or too long"));
}

#[test]
fn pci_window_faults_are_found() {
    let window = |memory, base, size| pci::Window { memory, base, size };
    let valid = [window(true, 0xfd00_0000, 0x100_0000), window(false, 0xc000, 0x10), window(false, 0xc010, 0x10)];
    assert_eq!(pci::find_fault(&valid, 64 << 20), None);
    for (window, why) in [
        (window(true, 0, 0x1000), "a base address is not assigned"),
        (window(false, 0xd008, 0x10), "a base address is not aligned"),
        (window(true, 0x300_0000, 0x1000), "a window is outside of the PCI hole"),
        (window(true, 0xfd80_0000, 0x1000), "two windows overlap"),
        (window(false, 0xc010, 0x10), "two windows overlap"),
    ] {
        assert_eq!(pci::find_fault(&[valid[0], valid[1], valid[2], window], 64 << 20), Some(why));
    }
}

#[test]
fn clock_values_and_sleep_types_are_checked() {
    assert!(timer::agree(100, 100) && timer::agree(125, 100) && !timer::agree(126, 100) && !timer::agree(50, 100));
    assert!(
        rtc::in_range(0x59, false, 0, 59) && !rtc::in_range(0x60, false, 0, 59) && !rtc::in_range(0x0a, false, 0, 59)
    );
    assert_eq!(acpi::sleep_type(&[0x12, 0x06, 0x04, 0x0a, 0x05, 0x0a, 0x05]), Some(5));
    assert_eq!(acpi::sleep_type(&[0x12, 0x06, 0x04, 0x00, 0x00]), Some(0));
    assert_eq!(acpi::sleep_type(&[0x08, 0x06, 0x04, 0x0a, 0x05]), None);
}
