//! Media that cannot be booted, and disks of sizes at which addresses once ended: the firmware says what is wrong with each,
//! on the screen and on COM1, and goes on to the next in the order.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use pcvm_test_guests::{flat, media::Media};
use pcvm_test_host::require_kvm;
use tempfile::TempDir;

/// A CD's block.
const BLOCK: usize = 2048;
/// The block of the El Torito boot record, and where it says in which block the catalogue is (El Torito 1.0, figure 7).
const BOOT_RECORD: usize = 17;
const CATALOGUE: usize = BOOT_RECORD * BLOCK + 0x47;

/// A machine with drives that are files of its directory.
struct Machine {
    dir: TempDir,
    child: Option<Child>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.off();
    }
}

impl Machine {
    fn new() -> Self {
        require_kvm();
        Self { dir: TempDir::new().expect("a directory"), child: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    fn on(&mut self, arguments: &[&str]) {
        self.off();
        let child = Command::new(env!("CARGO_BIN_EXE_pcvm"))
            .current_dir(self.dir.path())
            .args(["run", "--memory", "16M", "--serial", "file:serial", "--control", "unix:socket", "--no-reboot"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("pcvm");
        self.child = Some(child);
    }

    fn off(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_file(self.path("serial"));
    }

    fn serial(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("serial")).unwrap_or_default()).replace('\r', "")
    }

    /// Waits until `last` was said on COM1, and gives everything that was.
    #[track_caller]
    fn until(&self, last: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let said = self.serial();
            if said.contains(last) {
                return said;
            }
            assert!(Instant::now() < deadline, "no {last:?} in:\n{said}");
            thread::sleep(Duration::from_millis(50));
        }
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

#[track_caller]
fn assert_has(text: &str, what: &[&str]) {
    for wanted in what {
        assert!(text.contains(wanted), "no {wanted:?} in:\n{text}");
    }
}

/// What a good disk of the guests' says.
const BOOTED: &str = "pcvm boot code, drive 80";

/// A disk that boots: the image of a CD with hard disk emulation, by itself.
fn good_disk(iso: &[u8]) -> Vec<u8> {
    let catalogue = word(iso, CATALOGUE) as usize * BLOCK;
    let image = word(iso, catalogue + 32 + 8) as usize * BLOCK;
    iso[image..image + (64 << 10)].to_vec()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// A CD that boots, spoilt.
fn spoilt(iso: &[u8], how: impl FnOnce(&mut Vec<u8>, usize)) -> Vec<u8> {
    let mut bytes = iso.to_vec();
    let catalogue = word(iso, CATALOGUE) as usize * BLOCK;
    how(&mut bytes, catalogue);
    bytes
}

#[test]
fn software_spoilt_cds_are_reported_and_the_disk_behind_them_boots() {
    let media = Media::make().unwrap_or_else(|error| panic!("{error}"));
    let iso = fs::read(media.path("hard-disk.iso")).expect("the CD");
    let image = |bytes: &[u8], catalogue: usize| word(bytes, catalogue + 32 + 8);

    let cds: Vec<(&str, Vec<u8>)> = vec![
        ("the disc is not bootable", vec![0x20; 64 * BLOCK]),
        ("the disc is not bootable", spoilt(&iso, |cd, _| cd[BOOT_RECORD * BLOCK] = 2)),
        (
            "the boot catalogue cannot be read",
            spoilt(&iso, |cd, _| cd[CATALOGUE..CATALOGUE + 4].copy_from_slice(&0x00ff_ffff_u32.to_le_bytes())),
        ),
        (
            "the boot catalogue cannot be read",
            spoilt(&iso, |cd, _| cd[CATALOGUE..CATALOGUE + 4].copy_from_slice(&u32::MAX.to_le_bytes())),
        ),
        ("damaged boot catalogue (validation entry)", spoilt(&iso, |cd, at| cd[at] = 7)),
        ("damaged boot catalogue (validation entry)", spoilt(&iso, |cd, at| cd[at + 30] = 0)),
        ("damaged boot catalogue (checksum)", spoilt(&iso, |cd, at| cd[at + 4] ^= 1)),
        ("no boot image", spoilt(&iso, |cd, at| cd[at + 32] = 0)),
        (
            "the boot image cannot be read",
            spoilt(&iso, |cd, at| cd[at + 40..at + 44].copy_from_slice(&0x0fff_ffff_u32.to_le_bytes())),
        ),
        ("the boot image cannot be read", spoilt(&iso, |cd, at| cd.truncate(image(cd, at) as usize * BLOCK))),
        (
            "the hard disk image has no partition",
            spoilt(&iso, |cd, at| {
                let image = image(cd, at) as usize * BLOCK;
                cd[image + 446..image + 510].fill(0);
            }),
        ),
        ("cannot be read", iso[..16 * BLOCK].to_vec()),
    ];

    // A machine has room for three of them before the disk.
    let mut machine = Machine::new();
    machine.file("good.img", &good_disk(&iso));
    for cds in cds.chunks(3) {
        let mut arguments = vec!["--boot".to_owned(), "dc".into(), "--disk".into(), "good.img,unit=hda".into()];
        for (n, (_, bytes)) in cds.iter().enumerate() {
            machine.file(&format!("{n}.iso"), bytes);
            arguments.extend(["--cdrom".into(), format!("{n}.iso,unit=hd{}", ["b", "c", "d"][n])]);
        }
        machine.on(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let said = machine.until(BOOTED);
        for (n, (reason, _)) in cds.iter().enumerate() {
            let (_, after) = said.split_once(&format!("Booting from CD-ROM {}", n + 1)).unwrap_or_default();
            let failed = after.lines().nth(1).unwrap_or_default();
            assert!(
                failed.starts_with("  failed: ") && failed.contains(reason),
                "not {reason:?} but {failed:?}:\n{said}"
            );
        }
        assert_has(&said, &["Booting from hard disk 1 (PCVM HARDDISK, 0 MiB)"]);
    }
}

#[test]
fn software_spoilt_disks_are_reported_and_the_last_one_boots() {
    let media = Media::make().unwrap_or_else(|error| panic!("{error}"));
    let good = good_disk(&fs::read(media.path("hard-disk.iso")).expect("the CD"));
    let mut machine = Machine::new();
    let mut unsigned = good.clone();
    unsigned[510] = 0;
    machine.file("unsigned.img", &unsigned);
    // One sector, the smallest disk there is, with a signature and nothing else.
    let mut empty = vec![0; 512];
    empty[510..].copy_from_slice(&[0x55, 0xaa]);
    machine.file("empty.img", &empty);
    machine.file("zeros.img", &vec![0; 1 << 20]);
    machine.file("good.img", &good);
    machine.on(&[
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
    let said = machine.until(BOOTED);
    assert_has(
        &said,
        &[
            "Booting from hard disk 1 (PCVM HARDDISK, 0 MiB)\n  failed: no boot signature (55AAh)\n",
            "Booting from hard disk 2 (PCVM HARDDISK, 0 MiB)\n  failed: the boot sector is empty\n",
            "Booting from hard disk 3 (PCVM HARDDISK, 1 MiB)\n  failed: no boot signature (55AAh)\n",
            "Booting from hard disk 4 (PCVM HARDDISK, 0 MiB)\n",
        ],
    );
}

#[test]
fn software_drives_that_fail_are_reported_and_boot_when_they_work_again() {
    let media = Media::make().unwrap_or_else(|error| panic!("{error}"));
    let iso = fs::read(media.path("hard-disk.iso")).expect("the CD");
    let good = good_disk(&iso);
    let mut machine = Machine::new();
    machine.file("disk.img", &vec![0; good.len()]);
    machine.file("cd.iso", &vec![0; iso.len()]);
    machine.on(&["--disk", "disk.img", "--cdrom", "cd.iso", "--boot", "dc"]);
    machine.until("Press F12 or Esc for the boot menu, any other key to try again.");

    // The host takes the images away: every read fails.
    let cut = |name: &str, len: usize| {
        let file = File::options().write(true).open(machine.path(name)).expect("the image");
        file.set_len(len as u64).expect("another size");
    };
    cut("disk.img", 0);
    cut("cd.iso", 0);
    machine.control("key", &["a"]);
    let said = machine.until("failed: cannot be read");
    let said = if said.matches("any other key").count() < 2 {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let said = machine.serial();
            if said.matches("any other key").count() == 2 {
                break said;
            }
            assert!(Instant::now() < deadline, "no second round:\n{said}");
            thread::sleep(Duration::from_millis(50));
        }
    } else {
        said
    };
    let summary = said.rsplit("No bootable device.\n").next().unwrap_or_default();
    assert_has(
        summary,
        &["  CD-ROM 1 (PCVM DVD-ROM): cannot be read: ", "  hard disk 1 (PCVM HARDDISK, 0 MiB): cannot be read: "],
    );
    let screen = machine.control("screen", &["--text"]);
    assert_has(&screen, &["No bootable device.", "hard disk 1 (PCVM HARDDISK, 0 MiB): cannot be read: "]);

    // And gives the disk back, as it should have been.
    cut("disk.img", good.len());
    fs::write(machine.path("disk.img"), &good).expect("the image");
    machine.control("key", &["a"]);
    machine.until(BOOTED);
}

#[test]
fn software_disks_of_all_sizes_have_a_geometry_and_a_last_sector() {
    const MIB: u64 = 2048;
    /// Cylinders, heads and sectors by INT 13h AH=08h (IBM AT; Phoenix EDD 1.1, LBA assist), by the disk's sectors.
    const DISKS: [(u64, u32, u32, u32); 16] = [
        (1, 1, 1, 1),
        (62, 1, 1, 62),
        (MIB, 2, 16, 63),
        // 504 MiB: what 1024 cylinders of 16 heads and 63 sectors hold.
        (1024 * 16 * 63 - 1, 1023, 16, 63),
        (1024 * 16 * 63, 1024, 16, 63),
        (1024 * 16 * 63 + 1, 1024, 16, 63),
        (4 * 1024 * MIB, 522, 255, 63),
        // 8 GiB: what 1024 cylinders of 255 heads hold.
        (1024 * 255 * 63 - 1, 1023, 255, 63),
        (1024 * 255 * 63, 1024, 255, 63),
        (1024 * 255 * 63 + 1, 1024, 255, 63),
        // 137 GB: what 28 bits name.
        ((1 << 28) - 1, 1024, 255, 63),
        (1 << 28, 1024, 255, 63),
        ((1 << 28) + 1, 1024, 255, 63),
        // 2 TiB: what 32 bits name.
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
        machine.on(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let said = machine.until("disks: end");
        for (n, &(sectors, cylinders, heads, per_track)) in disks.iter().enumerate() {
            let last = if sectors == 1 { "\u{0}" } else { "LAST" };
            let line = format!("8{n} {cylinders:04x} {heads:02x} {per_track:02x} {sectors:016x} ");
            let found = said.lines().find(|found| found.starts_with(&format!("8{n} "))).unwrap_or_default();
            assert!(found.starts_with(&line), "{sectors} sectors: not {line:?} but {found:?}:\n{said}");
            // 04h: sector not found.
            assert!(sectors == 1 || found.ends_with(&format!("{last} 04")), "{sectors} sectors: {found:?}");
        }
    }
}

/// A disk of so many sectors, its last one marked, with the boot sector or without.
fn sparse(path: &Path, sectors: u64, boots: bool) {
    let file = File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.set_len(sectors * 512).expect("a sparse file");
    file.write_all_at(b"LAST", (sectors - 1) * 512).expect("the last sector");
    if boots {
        file.write_all_at(&flat::disks(), 0).expect("the boot sector");
    }
}
