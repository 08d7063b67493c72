//! The project's firmware boots loaders, memtest86+ and FreeDOS on QEMU; their text screen and COM1 show how far they get.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use pcvm_test_guests::{floppy, media::Media};
use pcvm_test_host::{Process, connect, project, wait_for};

const LIMIT: Duration = Duration::from_secs(120);

/// QEMU with the project's BIOS and VGA BIOS.
struct Qemu {
    _process: Process,
    monitor: UnixStream,
    dir: tempfile::TempDir,
}

impl Qemu {
    fn start(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let built = project().join("firmware/prebuilt");
        let socket = dir.path().join("monitor");
        let process = Process::start(
            Command::new("qemu-system-x86_64")
                .args(["-accel", "tcg", "-m", "128", "-display", "none", "-net", "none", "-vga", "none"])
                .arg("-bios")
                .arg(built.join("bios.bin"))
                .arg("-device")
                .arg(format!("VGA,romfile={}", built.join("vgabios.bin").display()))
                .arg("-serial")
                .arg(format!("file:{}", dir.path().join("serial").display()))
                .arg("-monitor")
                .arg(format!("unix:{},server,nowait", socket.display()))
                .args(arguments)
                .stdin(Stdio::null()),
        );
        let monitor = connect(&socket);
        monitor.set_read_timeout(Some(LIMIT)).expect("a read timeout");
        let mut qemu = Self { _process: process, monitor, dir };
        qemu.wait_prompt();
        qemu
    }

    /// Reads up to the monitor's prompt.
    fn wait_prompt(&mut self) {
        let mut seen = Vec::new();
        let mut byte = [0];
        while !seen.ends_with(b"(qemu) ") {
            self.monitor.read_exact(&mut byte).expect("QEMU's monitor prints its prompt");
            seen.push(byte[0]);
        }
    }

    fn command(&mut self, command: &str) {
        self.monitor.write_all(format!("{command}\n").as_bytes()).expect("QEMU's monitor accepts the command");
        self.wait_prompt();
    }

    fn key(&mut self, name: &str) {
        self.command(&format!("sendkey {name}"));
    }

    /// The text screen, 25 rows of 80 characters, followed by the output on COM1.
    fn output(&mut self) -> String {
        let file = self.dir.path().join("screen");
        self.command(&format!("pmemsave 0xb8000 4000 \"{}\"", file.display()));
        let bytes = fs::read(&file).unwrap_or_default();
        let rows = bytes.chunks(160).map(|row| {
            let text: String =
                row.iter().step_by(2).map(|&byte| if byte.is_ascii_graphic() { byte as char } else { ' ' }).collect();
            format!("{}\n", text.trim_end())
        });
        let serial = fs::read(self.dir.path().join("serial")).unwrap_or_default();
        rows.collect::<String>() + &String::from_utf8_lossy(&serial)
    }

    /// Waits until the screen or COM1's output contains each of these texts.
    #[track_caller]
    fn expect(&mut self, texts: &[&str]) {
        wait_for("the screen or COM1", LIMIT, || {
            let output = self.output();
            match texts.iter().find(|text| !output.contains(**text)) {
                Some(missing) => Err(format!("{missing:?} is missing in:\n{output}")),
                None => Ok(()),
            }
        });
    }
}

fn cd(path: &Path) -> Qemu {
    Qemu::start(&["-boot", "d", "-cdrom", &path.display().to_string()])
}

fn media(name: &str) -> PathBuf {
    Media::make().unwrap_or_else(|error| panic!("{error}")).path(name)
}

#[test]
fn the_checksum_boot_sector_reads_its_emulated_floppy() {
    let iso = floppy::checksum_iso().unwrap_or_else(|error| panic!("{error}"));
    // The boot sector powers the VM off after its report.
    let mut qemu = Qemu::start(&["-no-shutdown", "-boot", "d", "-cdrom", &iso.display().to_string()]);
    qemu.expect(&["pcvm boot sector: 2879 sectors read, sum right"]);
}

#[test]
fn freedos_boots_to_its_prompt() {
    let Some(iso) = floppy::freedos_iso().unwrap_or_else(|error| panic!("{error}")) else {
        eprintln!("not tested: there is no FreeDOS image");
        return;
    };
    cd(&iso).expect(&["FreeDOS HIMEM", "Welcome to FreeDOS", "A:\\>"]);
}

#[test]
fn grub_rescue_disks_show_their_menu_and_accept_keys() {
    let mut qemu = cd(&media("grub-rescue-cdrom.iso"));
    qemu.expect(&["GNU GRUB", "*GNU/Linux"]);
    qemu.key("down");
    qemu.expect(&["*GNU (aka GNU/Hurd)"]);
    let floppy = media("grub-rescue-floppy.img");
    let drive = format!("if=floppy,format=raw,readonly=on,file={}", floppy.display());
    Qemu::start(&["-boot", "a", "-drive", &drive]).expect(&["GNU GRUB"]);
}

#[test]
fn memtest86_starts() {
    cd(&media("memtest.iso")).expect(&["Memtest86+"]);
}

#[test]
fn ipxe_starts() {
    cd(&media("ipxe.iso")).expect(&["iPXE"]);
}

#[test]
fn isolinux_shows_its_menu() {
    cd(&media("menu.iso")).expect(&["pcvm test menu", "The first entry", "The second entry"]);
}

#[test]
fn grub_draws_in_a_vbe_mode() {
    let mut qemu = cd(&media("gfx.iso"));
    let file = qemu.dir.path().join("screen.ppm");
    wait_for("a screen of 800x600 that is not black", LIMIT, || {
        qemu.command(&format!("screendump \"{}\"", file.display()));
        let picture = fs::read(&file).unwrap_or_default();
        let header = String::from_utf8_lossy(&picture[..picture.len().min(15)]).replace('\n', " ");
        let drawn = header.starts_with("P6 800 600 ") && picture.iter().skip(15).any(|&byte| byte != 0);
        if drawn { Ok(()) } else { Err(header) }
    });
}

#[test]
fn an_emulated_hard_disk_is_drive_80h_with_the_geometry_of_its_partition() {
    cd(&media("hard-disk.iso")).expect(&["pcvm boot code, drive 80 second sector 03 10 03", "gave up (INT 18h)"]);
}

#[test]
fn the_boot_menu_lists_every_image_of_a_boot_catalogue() {
    let mut qemu = Qemu::start(&["-boot", "order=d,menu=on", "-cdrom", &media("several.iso").display().to_string()]);
    qemu.expect(&["F12 or Esc for the boot menu"]);
    qemu.key("esc");
    qemu.expect(&["Boot from:", "CD-ROM 1"]);
    qemu.key("1");
    qemu.expect(&["1. 1.44 MB floppy", "2. hard disk"]);
    qemu.key("2");
    qemu.expect(&["drive 80 second sector"]);
}

#[test]
fn without_a_bootable_device_the_bios_prints_the_reasons() {
    let disk = tempfile::NamedTempFile::new().expect("a temporary file");
    disk.as_file().set_len(1 << 20).expect("a sparse disk");
    let drive = format!("format=raw,file={}", disk.path().display());
    let mut qemu = Qemu::start(&["-drive", &drive]);
    qemu.expect(&["No bootable device.", "hard disk 1 (QEMU HARDDISK, 1 MiB): no boot signature (55AAh)"]);
}
