//! The project's firmware on QEMU, and Bochs' BIOS on pcvm. They boot the self-test's disk, a floppy and FreeDOS.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use pcvm_test_guests::floppy;
use pcvm_test_host::{Process, assert_has, project, require_kvm, tail, wait_for};

/// Size of the self-test's disk: large enough for a few cylinders.
const DISK: u64 = 4 << 20;

/// What the self-test prints after its last test.
const SELFTEST_END: &str = " FAIL in ";

fn prebuilt(name: &str) -> PathBuf {
    project().join("firmware/prebuilt").join(name)
}

fn selftest(dir: &Path) -> PathBuf {
    let disk = dir.join("selftest.img");
    fs::copy(prebuilt("selftest.img"), &disk).unwrap();
    fs::OpenOptions::new().write(true).open(&disk).unwrap().set_len(DISK).unwrap();
    disk
}

/// Starts a VM whose COM1 is the file `serial`, waits until the file contains `pattern`, and returns its contents.
#[track_caller]
fn run_until(command: &mut Command, serial: &Path, pattern: &str, limit: Duration) -> String {
    let messages = serial.with_extension("messages");
    let stderr = fs::File::create(&messages).unwrap();
    let mut vm = Process::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr));
    let mut ended = None;
    wait_for(&format!("{pattern:?} on COM1"), limit, || {
        let text = String::from_utf8_lossy(&fs::read(serial).unwrap_or_default()).replace('\r', "");
        if text.contains(pattern) {
            return Ok(text);
        }
        let report = format!("{}\n{}", tail(&text), fs::read_to_string(&messages).unwrap_or_default());
        // Its last output may have come after the file was read: it ended before that the second time.
        assert!(ended.is_none(), "the VM has ended ({ended:?}) without {pattern:?}:\n{report}");
        ended = vm.try_wait().unwrap();
        Err(report)
    })
}

/// QEMU with the project's firmware, and the file that its COM1 writes. All its clocks count instructions, so that the self-test's
/// timer tests pass on a busy host.
fn qemu(dir: &Path, machine: &str, further: &[&str]) -> (Command, PathBuf) {
    let serial = dir.join("serial.log");
    let mut command = Command::new("qemu-system-x86_64");
    command.args([
        "-accel",
        "tcg",
        "-icount",
        "shift=2,sleep=off",
        "-rtc",
        "clock=vm",
        "-M",
        machine,
        "-m",
        "64",
        "-nic",
        "none",
        "-display",
        "none",
        "-bios",
    ]);
    command.arg(prebuilt("bios.bin")).args(["-vga", "none", "-device"]);
    command.arg(format!("VGA,romfile={}", prebuilt("vgabios.bin").display()));
    command.arg("-serial").arg(format!("file:{}", serial.display())).args(["-serial", "null"]);
    command.args(further);
    (command, serial)
}

/// Names of the self-test's tests that fail or lack their device.
fn not_passed(text: &str) -> Vec<&str> {
    let lines = text
        .lines()
        .filter(|line| ["FAIL", "absent"].iter().any(|word| line.get(17..).is_some_and(|l| l.starts_with(word))));
    lines.map(|line| line.get(..17).unwrap_or_default().trim()).collect()
}

#[test]
fn our_bios_passes_the_self_test_on_qemu() {
    let dir = tempfile::tempdir().unwrap();
    let disk = format!("file={},format=raw,if=ide,snapshot=on", selftest(dir.path()).display());
    let (mut command, serial) = qemu(dir.path(), "pc", &["-drive", &disk]);
    let text = run_until(&mut command, &serial, SELFTEST_END, Duration::from_secs(60));
    assert_eq!(not_passed(&text), [""; 0], "{text}");
    assert_has(&text, &["RSDT FACP"]);
}

#[test]
fn our_bios_boots_a_disk_on_qemu_with_acpi_off() {
    let dir = tempfile::tempdir().unwrap();
    let disk = format!("file={},format=raw,if=ide,snapshot=on", selftest(dir.path()).display());
    let (mut command, serial) = qemu(dir.path(), "pc,acpi=off", &["-drive", &disk]);
    let text = run_until(&mut command, &serial, SELFTEST_END, Duration::from_secs(60));
    assert_eq!(not_passed(&text), ["ACPI tables", "ACPI PM timer", "ACPI power-off"], "{text}");
}

#[test]
fn our_bios_boots_an_emulated_floppy_on_qemu() {
    let dir = tempfile::tempdir().unwrap();
    let iso = floppy::checksum_iso().unwrap_or_else(|error| panic!("{error}"));
    let (mut command, serial) = qemu(dir.path(), "pc", &["-boot", "d", "-cdrom", iso.to_str().unwrap()]);
    let sum = "pcvm boot sector: 2879 sectors read, sum right";
    run_until(&mut command, &serial, sum, Duration::from_secs(120));
}

#[test]
fn our_bios_boots_freedos_on_qemu() {
    let Some(iso) = floppy::freedos_iso().unwrap_or_else(|error| panic!("{error}")) else {
        eprintln!("not tested: there is no FreeDOS image");
        return;
    };
    for machine in ["pc", "pc,acpi=off"] {
        let dir = tempfile::tempdir().unwrap();
        let (mut command, serial) = qemu(dir.path(), machine, &["-boot", "d", "-cdrom", iso.to_str().unwrap()]);
        let text = run_until(&mut command, &serial, "A:\\>", Duration::from_secs(120));
        assert_has(&text, &["Welcome to FreeDOS"]);
    }
}

/// Boots the self-test with a BIOS of Bochs, which configures PCI, ACPI and SMBIOS differently from SeaBIOS and the project's
/// BIOS.
fn check_bochs_bios(name: &str) {
    require_kvm();
    let firmware = Path::new("/usr/share/bochs").join(name);
    assert!(firmware.exists(), "{}: apt-get install bochsbios", firmware.display());
    let dir = tempfile::tempdir().unwrap();
    let serial = dir.path().join("serial.log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pcvm"));
    command.args(["run", "--memory", "64M", "--boot", "c", "--display", "none", "--no-reboot", "--firmware"]);
    command.arg(&firmware).arg("--disk").arg(selftest(dir.path()));
    command.arg("--serial").arg(format!("file:{}", serial.display())).args(["--serial", "null"]);
    let text = run_until(&mut command, &serial, SELFTEST_END, Duration::from_secs(120));
    // Tests of devices must pass; tests of BIOS tables may fail.
    for device in ["memory", "processor", "8259 PIC", "8254 PIT", "8237 DMA", "8042, keyboard", "fw_cfg"] {
        let line =
            text.lines().find(|line| line.get(..17).is_some_and(|name| name.trim() == device)).unwrap_or_default();
        assert!(line.contains(" PASS "), "{device}: {text}");
    }
}

#[test]
fn software_bochs_bios_boots_a_disk_and_finds_the_devices() {
    check_bochs_bios("BIOS-bochs-latest");
}

#[test]
fn software_slow_bochs_legacy_bios_boots_a_disk_and_finds_the_devices() {
    check_bochs_bios("BIOS-bochs-legacy");
}
