//! The self-test disk (`pcvm demo`): it passes on a complete machine, and names the device that is missing or different.

use pcvm::config::{CharSpec, Media};
use pcvm::demo::{Demo, Report, Verdict};
use pcvm_devices::DiskId;
use pcvm_test_host::require_kvm;

const SEABIOS: &str = "/usr/share/seabios/bios-256k.bin";

fn demo() -> Demo {
    require_kvm();
    Demo::new(Some(SEABIOS.into()), CharSpec::Null).unwrap()
}

#[track_caller]
fn failures(demo: Demo) -> Vec<(String, String)> {
    let report: Report = demo.run().unwrap();
    let failed = report.results.into_iter().filter(|result| result.verdict == Verdict::Fail);
    failed.map(|result| (result.name, result.note)).collect()
}

fn failure(name: &str, note: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), note.to_owned())]
}

#[test]
fn software_every_device_passes_under_seabios() {
    assert_eq!(failures(demo()), []);
}

#[test]
fn software_drives_that_are_missing_fail() {
    let mut demo = demo();
    demo.config.drives.remove(&DiskId(2));
    assert_eq!(
        failures(demo),
        [failure("IDE disk", "another drive than expected: hdc"), failure("CD-ROM", "there is no CD-ROM drive")]
            .concat()
    );
}

#[test]
fn software_other_memory_and_ports_than_expected_fail() {
    let mut demo = demo();
    demo.expect.memory = 96 << 20;
    demo.expect.serial = [true, true, true, false];
    demo.expect.drives[1] = Some(Media::Disk);
    assert_eq!(
        failures(demo),
        [
            failure("memory map", "MiB in all 0040, not 0060"),
            failure("CMOS memory", "64 KiB units above 16 MiB: 0300, not 0500"),
            failure("serial ports", "ports found: 0003, not 0007"),
            failure("IDE disk", "another drive than expected: hdb"),
        ]
        .concat()
    );
}

#[test]
fn software_a_disc_that_is_another_fails() {
    let other = tempfile::NamedTempFile::new().unwrap();
    other.as_file().set_len(1 << 20).unwrap();
    let mut demo = demo();
    demo.config.drives.get_mut(&DiskId(2)).unwrap().path = Some(other.path().to_owned());
    assert_eq!(failures(demo), failure("CD-ROM", "block 0 is not what is on the disc"));
}

#[test]
fn software_firmware_that_boots_nothing_is_no_result() {
    let mut demo = demo();
    // Halts at once, with interrupts off.
    let mut rom = vec![0xf4_u8; 64 << 10];
    rom[0xfff0..0xfff3].copy_from_slice(&[0xfa, 0xf4, 0xeb]);
    rom[0xfff3] = 0xfd;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &rom).unwrap();
    demo.config.firmware = Some(file.path().to_owned());
    demo.timeout = std::time::Duration::from_secs(2);
    let error = demo.run().unwrap_err();
    assert_eq!(error.to_string(), "the self-test did not finish");
}
