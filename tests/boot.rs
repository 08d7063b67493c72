//! Operating systems that nobody here wrote boot on the machine.

use std::path::PathBuf;
use std::time::Duration;

use pcvm_test_guests::debian::Arch;
use pcvm_test_guests::{disk, floppy, installer};
use pcvm_test_host::{Host, Job, Output, require_kvm};

/// Warnings that are not about our hardware: Linux prints them on every i440FX PC, whoever made it.
const USUAL: [&str; 14] = [
    // About the time that a busy nested host leaves to its guest.
    "clocksource: Long readout interval",
    "hrtimer: interrupt took",
    "Unstable clock detected",
    "If you want to keep using the local clock, then add:",
    "\"trace_clock=local\"",
    "] on the kernel command line",
    // A conventional PCI host bridge has no memory-mapped configuration space.
    "fail to add MMCONFIG information",
    // The 64-bit window lies above what an emulated 32-bit or 40-bit processor addresses.
    "not CPU addressable",
    // About the processor that the host has, not the PC.
    "Spectre",
    "MDS CPU bug",
    "TSX",
    "Speculative Return Stack Overflow",
    "check_tsc",
    "kvm: ",
];

/// The disk offers UDMA in IDENTIFY; Linux's ata_piix drives a PIIX3 (8086:7010) by multi-word DMA 2 at most, as it does
/// with every machine that has this controller.
const DMA: [&str; 2] = ["max UDMA/", "dev1.0: ata, XFER_MW_DMA_2"];

/// The kernel's messages of warning level and above in a `dmesg -r` that are not usual.
fn warnings(log: &str) -> Vec<&str> {
    log.lines()
        .filter(|line| {
            let level = line.strip_prefix('<').and_then(|rest| rest.chars().next());
            level.is_some_and(|level| ('0'..='4').contains(&level) && line.as_bytes().get(2) == Some(&b'>'))
        })
        .filter(|line| !USUAL.iter().any(|usual| line.contains(usual)))
        .collect()
}

#[track_caller]
fn assert_has(log: &str, what: &[&str]) {
    for text in what {
        assert!(log.contains(text), "no {text:?} in:\n{}", pcvm_test_host::tail(log));
    }
}

/// Makes a directory for the disk and the logs, `$scratch`, outside the job's own: on a nested host that is a network
/// file system, to which a byte costs a processor of the guest most of a millisecond. The logs come along every few
/// seconds and at the end.
const SCRATCH: &str = "scratch=$(mktemp -d /tmp/pcvm.XXXXXX)
     while sleep 5; do cp $scratch/*.log . 2>/dev/null; done &
     copier=$!
     trap 'kill $copier; cp $scratch/*.log .; rm -rf $scratch' EXIT
     disk=$scratch/disk.img";

/// What tells pcvm which firmware: its own, or Debian's SeaBIOS.
const OURS: &str = "";
const SEABIOS: &str = "--firmware bios.bin";

/// `start` is what tells pcvm how to start it.
fn the_installer_reaches_its_first_screen(arch: Arch, name: &str, start: &str) {
    let installer = installer::make(arch).unwrap_or_else(|error| panic!("{error}"));
    let job = Job::new(
        name,
        format!(
            "{SCRATCH}
             truncate -s 64M $disk
             ./pcvm run --memory 1G {start} --disk $disk --cdrom installer.iso \
               --serial file:$scratch/serial.log --debugcon $scratch/firmware.log --display none --no-reboot"
        ),
    );
    let job = job.pcvm().unwrap_or_else(|error| panic!("{error}"));
    let job = job.file(installer.iso, "installer.iso");
    let job = job.file(installer.kernel, "vmlinuz").file(installer.initrd, "initrd.img");
    let job = job.timeout(Duration::from_secs(360));
    let output = Host::pick().run(&job).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["firmware.log", "serial.log"]);

    let log = output.text("serial.log").replace('\r', "");
    assert_has(&log, &["linux: OK", "initrd.gz: OK", "disk: OK", installer::REPORT_END, installer::FIRST_SCREEN]);
    for device in ["0x8086:0x1237", "0x8086:0x7000", "0x8086:0x7010", "0x8086:0x7113"] {
        assert_has(&log, &[device]);
    }
    assert_has(&log, &DMA);
    assert_has(&log, &["dev2.0: atapi, XFER_MW_DMA_2"]);
    assert_eq!(warnings(&log), Vec::<&str>::new());
}

#[test]
fn nested_the_i386_installer_boots_from_cd() {
    the_installer_reaches_its_first_screen(Arch::I386, "installer-i386", &format!("{OURS} --boot dc"));
}

#[test]
fn nested_the_amd64_installer_boots_from_cd() {
    the_installer_reaches_its_first_screen(Arch::Amd64, "installer-amd64", &format!("{OURS} --boot dc"));
}

#[test]
fn nested_the_amd64_installer_boots_from_cd_by_seabios() {
    the_installer_reaches_its_first_screen(Arch::Amd64, "installer-seabios", &format!("{SEABIOS} --boot dc"));
}

#[test]
fn nested_a_kernel_starts_without_firmware() {
    let start = format!("--kernel vmlinuz --initrd initrd.img --append '{}'", installer::COMMAND_LINE);
    the_installer_reaches_its_first_screen(Arch::Amd64, "kernel-amd64", &start);
}

/// A disk is written by one machine and verified by another, which differ in their processors and firmware.
fn a_disk_keeps_what_was_written(name: &str, [writer, reader]: [(u32, &str); 2]) {
    let image = disk::image().unwrap_or_else(|error| panic!("{error}"));
    let boot = |n: u32, (cpus, firmware): (u32, &str)| {
        format!(
            "./pcvm run --memory 512M --cpus {cpus} {firmware} --disk $disk --boot c --serial file:$scratch/boot{n}.log \
               --debugcon $scratch/firmware{n}.log --display none --no-reboot || exit"
        )
    };
    let script = format!("{SCRATCH}\ncp pristine.img $disk\n{}\n{}", boot(1, writer), boot(2, reader));
    let job = Job::new(name, script).pcvm().unwrap_or_else(|error| panic!("{error}")).file(image, "pristine.img");
    let job = job.timeout(Duration::from_secs(360));
    let output = Host::pick().run(&job).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["firmware1.log", "boot1.log", "firmware2.log", "boot2.log"]);

    for (n, (cpus, _), done) in [(1, writer, "==== written: 64 MiB"), (2, reader, "==== verified: 64 MiB")] {
        let log = output.text(&format!("boot{n}.log")).replace('\r', "");
        assert_has(&log, &[&format!("==== up with {cpus} processors"), done, "==== end"]);
        assert_has(&log, &DMA);
        assert_eq!(warnings(&log), Vec::<&str>::new());
    }
    if reader.0 >= 4 {
        return; // Its report is a short one (disk-init.sh).
    }
    let log = output.text("boot2.log").replace('\r', "");
    assert_has(
        &log,
        &[
            "00:00.0 Host bridge [0600]: Intel Corporation 440FX - 82441FX PMC [Natoma] [8086:1237]",
            "00:01.0 ISA bridge [0601]: Intel Corporation 82371SB PIIX3 ISA [Natoma/Triton II] [8086:7000]",
            "00:01.1 IDE interface [0101]: Intel Corporation 82371SB PIIX3 IDE [Natoma/Triton II] [8086:7010]",
            "00:01.3 Bridge [0680]: Intel Corporation 82371AB/EB/MB PIIX4 ACPI [8086:7113]",
            "System Information",
            "Processor Information",
            "Memory Device",
        ],
    );
    for table in ["facp.dat", "apic.dat", "dsdt.dat"] {
        assert_has(&log, &[table]);
    }
    assert_has(&log, &["DefinitionBlock (\"\", \"DSDT\"", "_S5"]);
    for complaint in ["Could not", "<BAD INDEX>", "Invalid entry", "<TRUNCATED>", "Incorrect checksum"] {
        assert!(!log.contains(complaint), "iasl or dmidecode says {complaint:?}:\n{log}");
    }
}

#[test]
fn nested_a_disk_keeps_what_was_written_with_1_and_2_processors() {
    a_disk_keeps_what_was_written("disk-1-2", [(1, OURS), (2, OURS)]);
}

#[test]
fn nested_a_disk_keeps_what_was_written_by_seabios_and_with_4_processors() {
    a_disk_keeps_what_was_written("disk-seabios-4", [(2, SEABIOS), (4, OURS)]);
}

/// Boots a floppy image as the CD's emulated floppy on this /dev/kvm itself, which a software KVM can also do.
fn boot_floppy(name: &str, iso: PathBuf, firmware: &str, pattern: &str) -> Output {
    require_kvm();
    let job = Job::new(
        name,
        format!(
            // Our own guest switches the machine off, DOS is ended when it has said what it has to, or after two minutes.
            "./pcvm run --memory 32M {firmware} --cdrom floppy.iso --boot d --serial file:serial.log \
               --debugcon firmware.log --display none &
             machine=$!
             tries=0
             while ! grep -q '{pattern}' serial.log 2>/dev/null && [ $tries -lt 120 ] && kill -0 $machine; do
               sleep 1; tries=$((tries + 1))
             done
             sleep 1; kill $machine 2>/dev/null; wait $machine
             grep -q '{pattern}' serial.log"
        ),
    );
    let job = job.pcvm().unwrap_or_else(|error| panic!("{error}")).file(iso, "floppy.iso");
    let output = Host::Here.run(&job.timeout(Duration::from_secs(180))).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["firmware.log", "serial.log"]);
    output
}

#[test]
fn software_a_boot_sector_of_our_own_reads_its_floppy_by_bios() {
    let iso = floppy::checksum_iso().unwrap_or_else(|error| panic!("{error}"));
    for (name, firmware) in [("own-floppy", OURS), ("own-floppy-seabios", SEABIOS)] {
        let output = boot_floppy(name, iso.clone(), firmware, "pcvm boot sector: ");
        assert_has(&output.text("serial.log"), &["pcvm boot sector: 2879 sectors read, sum right"]);
    }
}

#[test]
fn software_freedos_boots_to_its_prompt() {
    let Some(iso) = floppy::freedos_iso().unwrap_or_else(|error| panic!("{error}")) else {
        eprintln!("there is no FreeDOS image: only the project's own boot sector is tested");
        return;
    };
    for (name, firmware) in [("freedos", OURS), ("freedos-seabios", SEABIOS)] {
        let output = boot_floppy(name, iso.clone(), firmware, "A:.>");
        assert_has(&output.text("serial.log"), &["Welcome to FreeDOS", "A:\\>"]);
    }
}
