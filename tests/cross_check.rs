//! Our firmware on another machine, and other firmware on ours: what boots is the self-test's disk, and floppies.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pcvm_test_guests::floppy;
use pcvm_test_host::{project, require_kvm};

/// Room behind the self-test's image, so that the drive has a few cylinders.
const DISK: u64 = 4 << 20;

fn prebuilt(name: &str) -> PathBuf {
    project().join("firmware/prebuilt").join(name)
}

fn selftest(dir: &Path) -> PathBuf {
    let disk = dir.join("selftest.img");
    std::fs::copy(prebuilt("selftest.img"), &disk).unwrap();
    std::fs::OpenOptions::new().write(true).open(&disk).unwrap().set_len(DISK).unwrap();
    disk
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a machine whose COM1 is the file `serial` and waits until that has `pattern`; gives the file.
#[track_caller]
fn until(command: &mut Command, serial: &Path, pattern: &str, patience: Duration) -> String {
    let log = serial.with_extension("messages");
    let messages = std::fs::File::create(&log).unwrap();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(messages).spawn();
    let mut machine = Running(child.unwrap_or_else(|error| panic!("{command:?}: {error}")));
    let deadline = Instant::now() + patience;
    loop {
        let text = String::from_utf8_lossy(&std::fs::read(serial).unwrap_or_default()).replace('\r', "");
        if text.contains(pattern) {
            return text;
        }
        let ended = machine.0.try_wait().unwrap();
        if ended.is_some() || Instant::now() > deadline {
            let messages = std::fs::read_to_string(&log).unwrap_or_default();
            panic!("no {pattern:?}, {ended:?}:\n{}\n{messages}", pcvm_test_host::tail(&text));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn qemu(dir: &Path, machine: &str, further: &[&str]) -> (Command, PathBuf) {
    let serial = dir.join("serial.log");
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-accel", "tcg", "-M", machine, "-m", "64", "-nic", "none", "-display", "none", "-bios"]);
    command.arg(prebuilt("bios.bin")).args(["-vga", "none", "-device"]);
    command.arg(format!("VGA,romfile={}", prebuilt("vgabios.bin").display()));
    command.arg("-serial").arg(format!("file:{}", serial.display())).args(["-serial", "null"]);
    command.args(further);
    (command, serial)
}

/// The self-test's lines that do not pass, by the name of the test.
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
    let text = until(&mut command, &serial, " FAIL in ", Duration::from_secs(60));
    assert_eq!(not_passed(&text), [""; 0], "{text}");
    assert!(text.contains("RSDT FACP"), "{text}");
}

#[test]
fn our_bios_boots_a_disk_on_qemu_without_acpi() {
    let dir = tempfile::tempdir().unwrap();
    let disk = format!("file={},format=raw,if=ide,snapshot=on", selftest(dir.path()).display());
    let (mut command, serial) = qemu(dir.path(), "pc,acpi=off", &["-drive", &disk]);
    let text = until(&mut command, &serial, " FAIL in ", Duration::from_secs(60));
    assert_eq!(not_passed(&text), ["ACPI tables", "ACPI PM timer", "ACPI power-off"], "{text}");
}

#[test]
fn our_bios_boots_an_emulated_floppy_on_qemu() {
    let dir = tempfile::tempdir().unwrap();
    let iso = floppy::checksum_iso().unwrap_or_else(|error| panic!("{error}"));
    let (mut command, serial) = qemu(dir.path(), "pc", &["-boot", "d", "-cdrom", iso.to_str().unwrap()]);
    let text = until(&mut command, &serial, "sectors read, ", Duration::from_secs(120));
    std::thread::sleep(Duration::from_millis(100));
    assert!(text.contains("pcvm boot sector: 2879 sectors read"), "{text}");
}

#[test]
fn our_bios_boots_freedos_on_qemu() {
    let Some(iso) = floppy::freedos_iso().unwrap_or_else(|error| panic!("{error}")) else {
        eprintln!("there is no FreeDOS image: only the project's own boot sector is tested");
        return;
    };
    for machine in ["pc", "pc,acpi=off"] {
        let dir = tempfile::tempdir().unwrap();
        let (mut command, serial) = qemu(dir.path(), machine, &["-boot", "d", "-cdrom", iso.to_str().unwrap()]);
        let text = until(&mut command, &serial, "A:\\>", Duration::from_secs(120));
        assert!(text.contains("Welcome to FreeDOS"), "{text}");
    }
}

/// Bochs' BIOS sets up PCI, ACPI and SMBIOS in its own way.
#[test]
fn software_bochs_bios_boots_a_disk() {
    require_kvm();
    for name in ["BIOS-bochs-latest", "BIOS-bochs-legacy"] {
        let firmware = Path::new("/usr/share/bochs").join(name);
        assert!(firmware.exists(), "{}: apt-get install bochsbios", firmware.display());
        let dir = tempfile::tempdir().unwrap();
        let serial = dir.path().join("serial.log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_pcvm"));
        command.args(["run", "--memory", "64M", "--boot", "c", "--display", "none", "--no-reboot", "--firmware"]);
        command.arg(&firmware).arg("--disk").arg(selftest(dir.path()));
        command.arg("--serial").arg(format!("file:{}", serial.display())).args(["--serial", "null"]);
        let text = until(&mut command, &serial, " FAIL in ", Duration::from_secs(120));
        // What is of the machine passes; what is of the BIOS may not.
        for device in ["memory", "processor", "8259 PIC", "8254 PIT", "8237 DMA", "8042, keyboard", "fw_cfg"] {
            let line =
                text.lines().find(|line| line.get(..17).is_some_and(|name| name.trim() == device)).unwrap_or_default();
            assert!(line.contains(" PASS "), "{name}: {text}");
        }
    }
}
