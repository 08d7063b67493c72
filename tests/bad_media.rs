//! Boot media that are damaged or unreadable: the BIOS prints the reason on the screen and on COM1 and tries the next
//! device of the boot order. Disks at the size limits of ATA, INT 13h and the MBR.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pcvm_test_guests::{flat, media::Media};
use pcvm_test_host::{Process, TIME_LIMIT, assert_has, require_kvm, wait_for, wait_for_text};
use tempfile::TempDir;

/// Size of a CD's block.
const BLOCK: usize = 2048;
/// The block of the El Torito boot record, and the offset of its catalogue pointer (El Torito 1.0, figure 7).
const BOOT_RECORD: usize = 17;
const CATALOGUE: usize = BOOT_RECORD * BLOCK + 0x47;

/// A VM, at most one at a time, and a directory for its images, its log of COM1 and its control socket.
struct Machine {
    vm: Option<Process>,
    dir: TempDir,
}

impl Machine {
    fn new() -> Self {
        require_kvm();
        Self { vm: None, dir: TempDir::new().expect("a temporary directory") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// Starts a VM in place of the one before.
    fn start(&mut self, arguments: &[&str]) {
        self.vm = None;
        let _ = fs::remove_file(self.path("serial"));
        self.vm = Some(Process::start(
            Command::new(env!("CARGO_BIN_EXE_pcvm"))
                .current_dir(self.dir.path())
                .args(["run", "--memory", "16M", "--serial", "file:serial", "--control", "unix:socket", "--no-reboot"])
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::null()),
        ));
    }

    /// Waits until the guest has sent `text` on COM1; returns everything that it has sent.
    #[track_caller]
    fn wait_for_serial(&self, text: &str) -> String {
        wait_for_text(&self.path("serial"), text, TIME_LIMIT)
    }

    #[track_caller]
    fn control(&self, command: &str, arguments: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_pcvm"))
            .current_dir(self.dir.path())
            .arg(command)
            .arg("./socket")
            .args(arguments)
            .output()
            .expect("pcvm");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// What the test guests' bootable disk prints.
const BOOTED: &str = "pcvm boot code, drive 80";

/// A bootable disk: the image in a CD with hard disk emulation.
fn good_disk(iso: &[u8]) -> Vec<u8> {
    let catalogue = word(iso, CATALOGUE) as usize * BLOCK;
    let image = word(iso, catalogue + 32 + 8) as usize * BLOCK;
    iso[image..image + (64 << 10)].to_vec()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// A bootable CD, damaged by a function of its bytes and the offset of its boot catalogue.
fn damaged(iso: &[u8], damage: impl FnOnce(&mut Vec<u8>, usize)) -> Vec<u8> {
    let mut bytes = iso.to_vec();
    let catalogue = word(iso, CATALOGUE) as usize * BLOCK;
    damage(&mut bytes, catalogue);
    bytes
}

#[test]
fn software_the_bios_reports_damaged_cds_and_boots_the_disk_after_them() {
    let media = Media::make().unwrap_or_else(|error| panic!("{error}"));
    let iso = fs::read(media.path("hard-disk.iso")).expect("the CD");
    let image = |bytes: &[u8], catalogue: usize| word(bytes, catalogue + 32 + 8);

    let cds: Vec<(&str, Vec<u8>)> = vec![
        ("the disc is not bootable", vec![0x20; 64 * BLOCK]),
        ("the disc is not bootable", damaged(&iso, |cd, _| cd[BOOT_RECORD * BLOCK] = 2)),
        (
            "the boot catalogue cannot be read",
            damaged(&iso, |cd, _| cd[CATALOGUE..CATALOGUE + 4].copy_from_slice(&0x00ff_ffff_u32.to_le_bytes())),
        ),
        (
            "the boot catalogue cannot be read",
            damaged(&iso, |cd, _| cd[CATALOGUE..CATALOGUE + 4].copy_from_slice(&u32::MAX.to_le_bytes())),
        ),
        ("damaged boot catalogue (validation entry)", damaged(&iso, |cd, at| cd[at] = 7)),
        ("damaged boot catalogue (validation entry)", damaged(&iso, |cd, at| cd[at + 30] = 0)),
        ("damaged boot catalogue (checksum)", damaged(&iso, |cd, at| cd[at + 4] ^= 1)),
        ("no boot image", damaged(&iso, |cd, at| cd[at + 32] = 0)),
        (
            "the boot image cannot be read",
            damaged(&iso, |cd, at| cd[at + 40..at + 44].copy_from_slice(&0x0fff_ffff_u32.to_le_bytes())),
        ),
        ("the boot image cannot be read", damaged(&iso, |cd, at| cd.truncate(image(cd, at) as usize * BLOCK))),
        (
            "the hard disk image has no partition",
            damaged(&iso, |cd, at| {
                let image = image(cd, at) as usize * BLOCK;
                cd[image + 446..image + 510].fill(0);
            }),
        ),
        ("cannot be read", iso[..16 * BLOCK].to_vec()),
    ];

    // Three CDs at a time leave one unit for the disk.
    let mut machine = Machine::new();
    machine.write("good.img", &good_disk(&iso));
    for cds in cds.chunks(3) {
        let mut arguments = vec!["--boot".to_owned(), "dc".into(), "--disk".into(), "good.img,unit=hda".into()];
        for (n, (_, bytes)) in cds.iter().enumerate() {
            machine.write(&format!("{n}.iso"), bytes);
            arguments.extend(["--cdrom".into(), format!("{n}.iso,unit=hd{}", ["b", "c", "d"][n])]);
        }
        machine.start(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let serial = machine.wait_for_serial(BOOTED);
        for (n, (reason, _)) in cds.iter().enumerate() {
            let (_, after) = serial.split_once(&format!("Booting from CD-ROM {}", n + 1)).unwrap_or_default();
            let line = after.lines().nth(1).unwrap_or_default();
            assert!(
                line.starts_with("  failed: ") && line.contains(reason),
                "{line:?} instead of {reason:?}:\n{serial}"
            );
        }
        assert_has(&serial, &["Booting from hard disk 1 (PCVM HARDDISK, 0 MiB)"]);
    }
}

#[test]
fn software_the_bios_reports_disks_without_boot_code_and_boots_the_last_one() {
    let media = Media::make().unwrap_or_else(|error| panic!("{error}"));
    let good = good_disk(&fs::read(media.path("hard-disk.iso")).expect("the CD"));
    let mut machine = Machine::new();
    let mut unsigned = good.clone();
    unsigned[510] = 0;
    machine.write("unsigned.img", &unsigned);
    // One sector, the smallest disk, with nothing but the boot signature.
    let mut empty = vec![0; 512];
    empty[510..].copy_from_slice(&[0x55, 0xaa]);
    machine.write("empty.img", &empty);
    machine.write("zeros.img", &vec![0; 1 << 20]);
    machine.write("good.img", &good);
    machine.start(&[
        "--disk",
        "unsigned.img",
        "--disk",
        "empty.img",
        "--disk",
        "zeros.img",
        "--disk",
        "good.img",
        "--boot",
        "c",
    ]);
    let serial = machine.wait_for_serial(BOOTED);
    assert_has(
        &serial,
        &[
            "Booting from hard disk 1 (PCVM HARDDISK, 0 MiB)\n  failed: no boot signature (55AAh)\n",
            "Booting from hard disk 2 (PCVM HARDDISK, 0 MiB)\n  failed: the boot sector is empty\n",
            "Booting from hard disk 3 (PCVM HARDDISK, 1 MiB)\n  failed: no boot signature (55AAh)\n",
            "Booting from hard disk 4 (PCVM HARDDISK, 0 MiB)\n",
        ],
    );
}

#[test]
fn software_the_bios_reports_read_errors_and_boots_after_they_are_gone() {
    let media = Media::make().unwrap_or_else(|error| panic!("{error}"));
    let iso = fs::read(media.path("hard-disk.iso")).expect("the CD");
    let good = good_disk(&iso);
    let mut machine = Machine::new();
    machine.write("disk.img", &vec![0; good.len()]);
    machine.write("cd.iso", &vec![0; iso.len()]);
    machine.start(&["--disk", "disk.img", "--cdrom", "cd.iso", "--boot", "dc"]);
    machine.wait_for_serial("Press F12 or Esc for the boot menu, any other key to try again.");

    // Every read of a truncated image fails.
    let set_size = |name: &str, len: usize| {
        let file = File::options().write(true).open(machine.path(name)).expect("the image");
        file.set_len(len as u64).expect("the image's new size");
    };
    set_size("disk.img", 0);
    set_size("cd.iso", 0);
    machine.control("key", &["a"]);
    let serial = wait_for("the second prompt", TIME_LIMIT, || {
        let serial = machine.wait_for_serial("failed: cannot be read");
        if serial.matches("any other key").count() == 2 { Ok(serial) } else { Err(serial) }
    });
    let summary = serial.rsplit("No bootable device.\n").next().unwrap_or_default();
    assert_has(
        summary,
        &["  CD-ROM 1 (PCVM DVD-ROM): cannot be read: ", "  hard disk 1 (PCVM HARDDISK, 0 MiB): cannot be read: "],
    );
    let screen = machine.control("screen", &["--text"]);
    assert_has(&screen, &["No bootable device.", "hard disk 1 (PCVM HARDDISK, 0 MiB): cannot be read: "]);

    // The disk becomes readable and bootable.
    set_size("disk.img", good.len());
    fs::write(machine.path("disk.img"), &good).expect("the image");
    machine.control("key", &["a"]);
    machine.wait_for_serial(BOOTED);
}

#[test]
fn software_int13_reports_geometry_and_reads_the_last_sector_at_every_size_limit() {
    const MIB: u64 = 2048;
    /// The disk's number of sectors; cylinders, heads and sectors of INT 13h AH=08h (IBM AT; Phoenix EDD 1.1, LBA assist).
    const DISKS: [(u64, u32, u32, u32); 16] = [
        (1, 1, 1, 1),
        (62, 1, 1, 62),
        (MIB, 2, 16, 63),
        // 504 MiB: 1024 cylinders of 16 heads and 63 sectors.
        (1024 * 16 * 63 - 1, 1023, 16, 63),
        (1024 * 16 * 63, 1024, 16, 63),
        (1024 * 16 * 63 + 1, 1024, 16, 63),
        (4 * 1024 * MIB, 522, 255, 63),
        // 8 GiB: 1024 cylinders of 255 heads.
        (1024 * 255 * 63 - 1, 1023, 255, 63),
        (1024 * 255 * 63, 1024, 255, 63),
        (1024 * 255 * 63 + 1, 1024, 255, 63),
        // 137 GB: 28-bit LBA.
        ((1 << 28) - 1, 1024, 255, 63),
        (1 << 28, 1024, 255, 63),
        ((1 << 28) + 1, 1024, 255, 63),
        // 2 TiB: 32-bit LBA of the MBR.
        ((1 << 32) - 1, 1024, 255, 63),
        (1 << 32, 1024, 255, 63),
        ((1 << 32) + 1, 1024, 255, 63),
    ];
    let mut machine = Machine::new();
    for disks in DISKS.chunks(4) {
        let mut arguments = vec!["--boot".to_owned(), "c".into()];
        for (n, &(sectors, ..)) in disks.iter().enumerate() {
            let path = machine.path(&format!("{n}.img"));
            let _ = fs::remove_file(&path);
            sparse(&path, sectors, n == 0);
            arguments.extend(["--disk".into(), format!("{n}.img")]);
        }
        machine.start(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let serial = machine.wait_for_serial("disks: end");
        for (n, &(sectors, cylinders, heads, per_track)) in disks.iter().enumerate() {
            let last = if sectors == 1 { "\u{0}" } else { "LAST" };
            let line = format!("8{n} {cylinders:04x} {heads:02x} {per_track:02x} {sectors:016x} ");
            let found = serial.lines().find(|found| found.starts_with(&format!("8{n} "))).unwrap_or_default();
            assert!(found.starts_with(&line), "{sectors} sectors: {found:?} instead of {line:?}:\n{serial}");
            // Reading behind the end fails with 04h, sector not found.
            assert!(sectors == 1 || found.ends_with(&format!("{last} 04")), "{sectors} sectors: {found:?}");
        }
    }
}

/// Creates a sparse disk image with a mark in its last sector, and with a boot sector if `bootable`.
fn sparse(path: &Path, sectors: u64, bootable: bool) {
    let file = File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.set_len(sectors * 512).expect("a sparse file");
    file.write_all_at(b"LAST", (sectors - 1) * 512).expect("the last sector");
    if bootable {
        file.write_all_at(&flat::disks(), 0).expect("the boot sector");
    }
}
