//! `--kernel`: kernels of every protocol start, and are given what their specifications and QEMU give them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pcvm_test_guests::debian::{Apt, Arch};
use pcvm_test_guests::kernels::{self, Format};
use pcvm_test_guests::{cache, floppy, installer};
use pcvm_test_host::{Host, Job, Output, assert_has, require_kvm};

type Records = Vec<(char, Vec<u8>)>;

/// Options for the firmware: pcvm's own, or Debian's SeaBIOS.
const OURS: &str = "";
const SEABIOS: &str = "--firmware bios.bin";

/// A job that starts `kernel` with the modules `one` and `two`.
fn job(name: &str, kernel: &Path, script: String) -> Job {
    require_kvm();
    let file = |name: &str, bytes: &[u8]| {
        let dir = cache::cached(&format!("module-{name}"), &[bytes], |dir| {
            std::fs::write(dir.join("module"), bytes).unwrap_or_else(|error| panic!("{error}"));
            Ok(())
        });
        dir.unwrap_or_else(|error| panic!("{error}")).join("module")
    };
    let two: Vec<u8> = (0..5000u32).map(|n| (n * n / 7) as u8).collect();
    let job = Job::new(name, script).pcvm().unwrap_or_else(|error| panic!("{error}"));
    let job = job.file(kernel, "kernel").file(file("one", b"module one"), "one").file(file("two", &two), "two");
    job.timeout(Duration::from_secs(180))
}

fn run(job: &Job) -> Output {
    let output = Host::Here.run(job).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["firmware.log"]);
    output
}

/// What the kernel reports on pcvm with the options.
fn report(name: &str, kernel: &Path, options: &str) -> Records {
    let script = format!(
        "timeout 120 ./pcvm run --control none --memory 64M --no-reboot --serial file:serial.log --debugcon firmware.log \
           --kernel kernel {options}"
    );
    let output = run(&job(name, kernel, script));
    read(&output, "serial.log")
}

/// What the kernel reports on QEMU.
fn report_on_qemu(name: &str, kernel: &Path, options: &str) -> Records {
    let script = format!(
        "timeout 120 qemu-system-x86_64 -accel tcg -m 64 -net none -display none -no-reboot -serial file:serial.log \
           -kernel kernel {options}"
    );
    read(&run(&job(name, kernel, script)), "serial.log")
}

fn read(output: &Output, name: &str) -> Records {
    let path = output.dir.join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    kernels::records(&bytes).unwrap_or_else(|error| panic!("{error}: {bytes:x?}"))
}

/// The records with these tags.
fn tagged(records: &Records, tags: &str) -> Records {
    records.iter().filter(|(tag, _)| tags.contains(*tag)).cloned().collect()
}

fn one(records: &Records, tag: char) -> &[u8] {
    &records.iter().find(|(other, _)| *other == tag).unwrap_or_else(|| panic!("no record {tag}: {records:x?}")).1
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn dword(bytes: &[u8], at: usize) -> u32 {
    u32::from(word(bytes, at)) | u32::from(word(bytes, at + 2)) << 16
}

fn quad(bytes: &[u8], at: usize) -> u64 {
    u64::from(dword(bytes, at)) | u64::from(dword(bytes, at + 4)) << 32
}

/// The ranges of RAM in a memory map whose entries have 24 bytes, with base and type at these offsets.
fn ram(map: &[u8], base: usize, kind: usize) -> Vec<(u64, u64)> {
    let entries = map.chunks_exact(24).filter(|entry| dword(entry, kind) == 1);
    entries.map(|entry| (quad(entry, base), quad(entry, base + 8))).collect()
}

/// Conventional memory up to the EBDA, and all above 1 MiB but the firmware's tables.
fn check_ram(ranges: &[(u64, u64)]) -> u64 {
    let [(0, low), (0x10_0000, high)] = *ranges else { panic!("{ranges:x?}") };
    assert_eq!(low, 639 << 10);
    assert!((0x3ec_0000..0x3f0_0000).contains(&high), "{high:x}");
    high
}

fn multiboot(format: Format, video: Option<[u32; 3]>) -> PathBuf {
    kernels::multiboot(format, video).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn software_a_multiboot_kernel_gets_what_qemu_gives_it_and_what_the_bios_knows() {
    let options = |dashes: &str| format!("{dashes}initrd 'one a=1 b,two' {dashes}append 'hello  world'");
    for (format, firmware) in [(Format::Elf, OURS), (Format::Addresses, OURS), (Format::Elf, SEABIOS)] {
        let kernel = multiboot(format, None);
        let qemu = report_on_qemu("multiboot-qemu", &kernel, &options("-"));
        let ours = report("multiboot", &kernel, &format!("{firmware} {}", options("--")));
        // Command line, modules.
        assert_eq!(tagged(&ours, "cmd"), tagged(&qemu, "cmd"));
        assert_eq!(one(&ours, 'c'), b"kernel hello  world");
        assert_eq!(tagged(&ours, "m")[0].1, b"one a=1 b");
        assert_eq!(one(&ours, 'l'), b"pcvm");
        // EAX, CR0 (PE without PG), EFLAGS without IF, CR4, A20.
        let (registers, theirs) = (one(&ours, 'r'), one(&qemu, 'r'));
        assert_eq!((dword(registers, 0), dword(registers, 8), dword(registers, 12) & 0x200), (0x2bad_b002, 0x11, 0));
        assert_eq!((dword(registers, 20), dword(registers, 24)), (0, 1));
        assert_eq!(dword(registers, 8), dword(theirs, 8));
        let (info, theirs) = (one(&ours, 'i'), one(&qemu, 'i'));
        // QEMU sets bit 1, the boot device, without a disk.
        assert_eq!(dword(info, 0) & 0x2ff, dword(theirs, 0) & !2);
        assert_eq!((dword(info, 4), dword(info, 20)), (639, 2));
        let high = check_ram(&ram(one(&ours, 'e'), 4, 20));
        assert_eq!(u64::from(dword(info, 8)), high / 1024);
        // Beyond QEMU: VBE of the present text mode, and the text screen.
        assert_eq!(dword(info, 0) >> 11 & 3, 3);
        assert_eq!(one(&ours, 'v')[..4], *b"VESA");
        assert_eq!((word(info, 80) & 0x1ff, one(&ours, 'V')), (3, &[0; 256][..]));
        assert_eq!((quad(info, 88), dword(info, 96), dword(info, 100), dword(info, 104)), (0xb_8000, 160, 80, 25));
        assert_eq!((info[108], info[109]), (16, 2));
        if firmware == OURS {
            assert_eq!(dword(info, 0) & 0x500, 0x500, "configuration table and APM");
            let apm = one(&ours, 'a');
            assert_eq!((word(apm, 0), word(apm, 2), word(apm, 8), word(apm, 10)), (0x102, 0xf000, 0xf000, 0xe000));
        }
    }
}

#[test]
fn software_a_multiboot_kernel_gets_the_video_mode_that_it_requests() {
    for (request, expect) in
        [([1024, 768, 32], (1024, 768, 32)), ([640, 480, 16], (640, 480, 16)), ([0, 0, 0], (800, 600, 32))]
    {
        let ours = report("multiboot-video", &multiboot(Format::Elf, Some(request)), "");
        let (info, mode) = (one(&ours, 'i'), one(&ours, 'V'));
        assert_eq!(dword(info, 0) >> 11 & 3, 3);
        assert_eq!((dword(info, 100), dword(info, 104), info[108]), expect);
        assert_eq!((u32::from(word(mode, 18)), u32::from(word(mode, 20)), mode[25]), expect);
        assert_eq!((quad(info, 88), dword(info, 96)), (dword(mode, 40).into(), word(mode, 16).into()));
        assert_ne!(word(info, 80) & 0x4000, 0, "linear frame buffer");
        // Direct color: position and width of red, green and blue.
        let colors = if expect.2 == 32 { [16, 8, 8, 8, 0, 8] } else { [11, 5, 5, 6, 0, 5] };
        assert_eq!((info[109], &info[110..116]), (1, &colors[..]));
        assert_eq!(one(&ours, 'f'), [0, 0, 0xff, 0]);
    }
    // Without a display adapter there is neither VBE nor a screen.
    let ours = report("multiboot-no-video", &multiboot(Format::Elf, Some([1024, 768, 32])), "--vga none");
    assert_eq!(dword(one(&ours, 'i'), 0) >> 11 & 3, 0);
}

#[test]
fn software_a_pvh_kernel_gets_its_start_information() {
    let kernel = kernels::pvh().unwrap_or_else(|error| panic!("{error}"));
    let qemu = report_on_qemu("pvh-qemu", &kernel, "-initrd one -append 'hello world'");
    for firmware in [OURS, SEABIOS] {
        let ours = report("pvh", &kernel, &format!("{firmware} --initrd one --append 'hello world'"));
        assert_eq!(tagged(&ours, "cd"), tagged(&qemu, "cd"));
        let (registers, theirs) = (one(&ours, 'r'), one(&qemu, 'r'));
        for at in [8, 20, 24] {
            assert_eq!(dword(registers, at), dword(theirs, at), "CR0, CR4, A20");
        }
        assert_eq!(dword(registers, 12) & 0x2_0300, 0, "VM, IF and TF are clear");
        let info = one(&ours, 'i');
        assert_eq!((dword(info, 0), dword(info, 4), dword(info, 12)), (0x336e_c578, 1, 1));
        check_ram(&ram(one(&ours, 'e'), 0, 16));
        let rsdp = one(&ours, 'R');
        assert_eq!(rsdp[..8], *b"RSD PTR ");
        assert_eq!(rsdp.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
    }
    let ours = report("pvh-modules", &kernel, "--initrd 'one x,two' --append hello");
    assert_eq!(tagged(&ours, "m"), [('m', b"one x".to_vec()), ('m', b"two".to_vec())]);
    assert_eq!(tagged(&ours, "d").len(), 2);
}

#[test]
fn software_linux_kernels_of_every_boot_protocol_start_by_their_setup_code() {
    for (version, firmware) in [(0, OURS), (0x200, OURS), (0x201, OURS), (0x203, OURS), (0x20c, OURS), (0x203, SEABIOS)]
    {
        let kernel = kernels::linux(version).unwrap_or_else(|error| panic!("{error}"));
        let initrd = if version == 0 { "" } else { "--initrd two" };
        let ours = report("linux", &kernel, &format!("{firmware} {initrd} --append 'root=/dev/hda1 vga=0x314'"));
        // CS, DS, ES, SS, SP, flags.
        let registers = one(&ours, 'r');
        let (segment, stack) = if version < 0x202 { (0x9000, 0x9800) } else { (0x1000, 0xe000) };
        let segments = [0, 2, 4, 6].map(|at| word(registers, at));
        assert_eq!(segments, [segment + 0x20, segment, segment, segment], "{version:x}");
        assert!((stack - 16..=stack).contains(&word(registers, 8)), "{registers:x?}");
        assert_eq!(one(&ours, 'c'), b"root=/dev/hda1 vga=0x314");
        let header = one(&ours, 'h');
        assert_eq!(word(header, 0x1fa), 0x314);
        if version < 0x202 {
            assert_eq!(one(&ours, 'k'), (0..64).collect::<Vec<u8>>(), "a zImage's code is at 10000h");
        }
        // INT 12h, INT 10h AH=0Fh: conventional memory, 80 columns in mode 3.
        let bios = one(&ours, 'b');
        assert_eq!((word(bios, 0), word(bios, 2)), (639, 0x5003));
        if version != 0 {
            let at = dword(header, 0x218);
            assert!((0x3e0_0000..0x3ff_f000).contains(&at) && at.is_multiple_of(0x1000), "{at:x}");
            assert_eq!(dword(header, 0x21c), 5000);
            let two: Vec<u8> = (0..64u32).map(|n| (n * n / 7) as u8).collect();
            assert_eq!(one(&ours, 'd'), two);
        }
    }
}

/// A file of a Debian package.
fn packaged(package: &str, file: &str) -> PathBuf {
    let dir =
        cache::cached(&format!("package-{package}"), &[b"1"], |dir| Apt::new(Arch::Amd64)?.unpack(&[package], dir));
    dir.unwrap_or_else(|error| panic!("{error}")).join(file)
}

/// Starts programs that have Linux' boot protocol one after another: `program NAME PATTERN OPTIONS` waits until COM1's output or
/// the screen matches.
const PROGRAMS: &str = r#"
    status=0
    program() {
      name=$1 pattern=$2; shift 2
      echo "== $name"
      ./pcvm run --control unix:/tmp/control --memory 64M --serial file:/tmp/serial.log --debugcon firmware.log "$@" &
      vm=$!
      matches() { ./pcvm screen /tmp/control --text | cat - /tmp/serial.log 2>/dev/null | grep -q "$pattern"; }
      wait_for 90 matches || status=1
      ./pcvm screen /tmp/control --text | cat - /tmp/serial.log
      kill $vm; wait $vm
    }
    for firmware in "" "--firmware bios.bin"; do
      program ipxe 'iPXE>' $firmware --kernel ipxe.lkrn --append 'echo it is ${buildarch} && shell'
      [ ! -e floppy.img ] ||
        program memdisk 'A:.>' $firmware --kernel memdisk --initrd floppy.img --append floppy
    done
    program ia32 'Memtest86' --kernel memtest86+ia32.bin
    program x64 'Memtest86' --kernel memtest86+x64.bin
    exit $status"#;

/// The software KVM of some hosts lacks instructions that these programs need.
#[test]
fn nested_ipxe_memdisk_and_memtest_start_as_linux_kernels() {
    let mut job = Job::new("programs", PROGRAMS).pcvm().unwrap_or_else(|error| panic!("{error}"));
    for (package, dir, file) in [
        ("ipxe", "boot", "ipxe.lkrn"),
        ("syslinux-common", "usr/lib/syslinux", "memdisk"),
        ("memtest86+", "boot", "memtest86+ia32.bin"),
        ("memtest86+", "boot", "memtest86+x64.bin"),
    ] {
        job = job.file(packaged(package, &format!("{dir}/{file}")), file);
    }
    let mut expect = vec!["it is i386"];
    match floppy::freedos_image().unwrap_or_else(|error| panic!("{error}")) {
        Some(image) => {
            job = job.file(image, "floppy.img");
            expect.push("Welcome to FreeDOS");
        }
        None => eprintln!("memdisk is not tested: there is no FreeDOS image"),
    }
    let output = Host::pick().run(&job.timeout(Duration::from_secs(500))).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["firmware.log"]);
    for text in expect {
        assert!(output.console.matches(text).count() >= 2, "{text} by both firmwares:\n{}", output.console);
    }
}

/// Boots Debian's kernel in the nested host until COM1's output has `pattern`, then takes the screen.
fn linux(name: &str, kernel: &Path, initrd: &Path, append: &str, pattern: &str) -> Output {
    let script = format!(
        "scratch=$(mktemp -d /tmp/pcvm.XXXXXX)
         trap 'cp $scratch/* . 2>/dev/null' EXIT
         ./pcvm run --control unix:$scratch/control --memory 512M --kernel kernel --initrd initrd \
           --append 'console=ttyS0,115200n8 console=tty0 loglevel=7 modprobe.blacklist=bochs {append}' \
           --serial file:$scratch/serial.log --debugcon $scratch/firmware.log &
         vm=$!
         finished() {{ has $scratch/serial.log '{pattern}' || ended $vm; }}
         wait_for 200 finished
         sleep 1
         ./pcvm screenshot $scratch/control $scratch/screen.png
         ./pcvm screen $scratch/control --text >$scratch/screen.txt
         kill $vm; wait $vm
         has $scratch/serial.log '{pattern}'"
    );
    let job = Job::new(name, script).pcvm().unwrap_or_else(|error| panic!("{error}"));
    let job = job.file(kernel, "kernel").file(initrd, "initrd").timeout(Duration::from_secs(300));
    let output = Host::pick().run(&job).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["firmware.log", "serial.log"]);
    output
}

/// Width and height of a PNG (its IHDR chunk).
fn png_size(path: &Path) -> (u32, u32) {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let number = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    (number(16), number(20))
}

#[test]
fn nested_linux_starts_in_text_mode_and_in_the_mode_that_vga_names() {
    let installer = installer::make(Arch::Amd64).unwrap_or_else(|error| panic!("{error}"));
    let boot =
        |name: &str, append: &str, pattern: &str| linux(name, &installer.kernel, &installer.initrd, append, pattern);
    let text = boot("kernel-text", "", "Run /init as init process");
    assert_has(&text.text("serial.log"), &["Console: colour VGA+ 80x25"]);
    assert_eq!(png_size(&text.dir.join("screen.png")), (720, 400));

    let graphics = boot("kernel-vga", "vga=0x314", "Run /init as init process");
    let log = graphics.text("serial.log");
    assert_has(&log, &["vesafb: mode is 800x600x16, linelength=1600", "colour frame buffer device 100x37"]);
    assert_eq!(png_size(&graphics.dir.join("screen.png")), (800, 600));
}

#[test]
fn nested_a_vmlinux_boots_by_its_pvh_entry() {
    let installer = installer::make(Arch::Amd64).unwrap_or_else(|error| panic!("{error}"));
    let vmlinux = kernels::vmlinux(&installer.kernel).unwrap_or_else(|error| panic!("{error}"));
    let output = linux("kernel-pvh", &vmlinux, &installer.initrd, "", "Run /init as init process");
    assert_has(&output.text("serial.log"), &["Linux version", "ACPI: RSDP", "Booting paravirtualized kernel"]);
}
