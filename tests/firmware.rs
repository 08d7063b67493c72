//! The project's own firmware boots what others have written, on QEMU's PC: what is on its text screen and what comes out of
//! its serial port says how far it came.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use pcvm_test_guests::{floppy, media::Media};

/// QEMU with our BIOS and our VGA BIOS.
struct Qemu {
    child: Child,
    monitor: UnixStream,
    dir: tempfile::TempDir,
}

impl Qemu {
    fn start(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("firmware/prebuilt");
        let socket = dir.path().join("monitor");
        let child = Command::new("qemu-system-x86_64")
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
            .stdin(Stdio::null())
            .spawn()
            .expect("qemu-system-x86_64");
        let deadline = Instant::now() + Duration::from_secs(20);
        let monitor = loop {
            match UnixStream::connect(&socket) {
                Ok(monitor) => break monitor,
                Err(error) => assert!(Instant::now() < deadline, "QEMU's monitor: {error}"),
            }
            thread::sleep(Duration::from_millis(50));
        };
        monitor.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let mut qemu = Self { child, monitor, dir };
        qemu.answer();
        qemu
    }

    /// Reads to the monitor's prompt.
    fn answer(&mut self) {
        let mut seen = Vec::new();
        let mut byte = [0];
        while !seen.ends_with(b"(qemu) ") {
            self.monitor.read_exact(&mut byte).expect("the monitor answers");
            seen.push(byte[0]);
        }
    }

    fn command(&mut self, command: &str) {
        self.monitor.write_all(format!("{command}\n").as_bytes()).expect("the monitor listens");
        self.answer();
    }

    fn key(&mut self, name: &str) {
        self.command(&format!("sendkey {name}"));
    }

    /// The text screen: 25 rows of 80 characters, and what the serial port has sent.
    fn output(&mut self) -> String {
        let file = self.dir.path().join("screen");
        self.command(&format!("pmemsave 0xb8000 4000 \"{}\"", file.display()));
        let bytes = std::fs::read(&file).unwrap_or_default();
        let rows = bytes.chunks(160).map(|row| {
            let text: String =
                row.iter().step_by(2).map(|&byte| if byte.is_ascii_graphic() { byte as char } else { ' ' }).collect();
            format!("{}\n", text.trim_end())
        });
        let serial = std::fs::read(self.dir.path().join("serial")).unwrap_or_default();
        rows.collect::<String>() + &String::from_utf8_lossy(&serial)
    }

    /// Waits until all of these are on the screen or have been sent.
    #[track_caller]
    fn expect(&mut self, wanted: &[&str]) {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let output = self.output();
            let Some(missing) = wanted.iter().find(|text| !output.contains(**text)) else { return };
            assert!(Instant::now() < deadline, "no {missing:?} in:\n{output}");
            thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cd(path: &Path) -> Qemu {
    Qemu::start(&["-boot", "d", "-cdrom", &path.display().to_string()])
}

fn media(name: &str) -> PathBuf {
    Media::make().unwrap_or_else(|error| panic!("{error}")).path(name)
}

#[test]
fn a_boot_sector_of_our_own_reads_its_emulated_floppy() {
    let iso = floppy::checksum_iso().unwrap_or_else(|error| panic!("{error}"));
    // The boot sector switches the machine off when it has reported.
    let mut qemu = Qemu::start(&["-no-shutdown", "-boot", "d", "-cdrom", &iso.display().to_string()]);
    qemu.expect(&["pcvm boot sector: 2879 sectors read, sum right"]);
}

#[test]
fn freedos_boots_to_its_prompt() {
    let Some(iso) = floppy::freedos_iso().unwrap_or_else(|error| panic!("{error}")) else {
        eprintln!("there is no FreeDOS image");
        return;
    };
    cd(&iso).expect(&["FreeDOS HIMEM", "Welcome to FreeDOS", "A:\\>"]);
}

#[test]
fn grubs_rescue_disks_show_their_menu_and_take_keys() {
    let mut qemu = cd(&media("grub-rescue-cdrom.iso"));
    qemu.expect(&["GNU GRUB", "*GNU/Linux"]);
    qemu.key("down");
    qemu.expect(&["*GNU (aka GNU/Hurd)"]);
    let floppy = media("grub-rescue-floppy.img");
    let drive = format!("if=floppy,format=raw,readonly=on,file={}", floppy.display());
    Qemu::start(&["-boot", "a", "-drive", &drive]).expect(&["GNU GRUB"]);
}

#[test]
fn memtest86_runs() {
    cd(&media("memtest.iso")).expect(&["Memtest86+"]);
}

#[test]
fn ipxe_starts() {
    cd(&media("ipxe.iso")).expect(&["iPXE"]);
}

#[test]
fn isolinux_shows_its_menu_and_takes_keys() {
    let mut qemu = cd(&media("menu.iso"));
    qemu.expect(&["pcvm test menu", "The first entry", "The second entry"]);
}

#[test]
fn grub_draws_in_a_vbe_mode() {
    let mut qemu = cd(&media("gfx.iso"));
    let file = qemu.dir.path().join("screen.ppm");
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        qemu.command(&format!("screendump \"{}\"", file.display()));
        let picture = std::fs::read(&file).unwrap_or_default();
        if picture.starts_with(b"P6\n800 600\n") && picture.iter().skip(15).any(|&byte| byte != 0) {
            return;
        }
        assert!(Instant::now() < deadline, "no picture of 800x600 with something on it");
        thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn an_emulated_hard_disk_is_drive_80h_and_has_its_partitions_geometry() {
    cd(&media("hard-disk.iso")).expect(&["pcvm boot code, drive 80 second sector 03 10 03", "gave up (INT 18h)"]);
}

#[test]
fn the_menu_offers_all_images_of_a_catalogue() {
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
fn without_anything_to_boot_the_reasons_are_on_screen_and_serial_port() {
    let disk = tempfile::NamedTempFile::new().expect("a file");
    disk.as_file().set_len(1 << 20).expect("a size");
    let drive = format!("format=raw,file={}", disk.path().display());
    let mut qemu = Qemu::start(&["-drive", &drive]);
    qemu.expect(&["No bootable device.", "hard disk 1 (QEMU HARDDISK, 1 MiB): no boot signature (55AAh)"]);
}
