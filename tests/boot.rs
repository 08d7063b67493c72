//! Operating systems boot: the Debian installer, Debian's kernel on a hard disk, FreeDOS.

use std::path::PathBuf;
use std::time::Duration;

use pcvm_test_guests::debian::Arch;
use pcvm_test_guests::{disk, floppy, installer};
use pcvm_test_host::{Host, Job, Output, assert_has, require_kvm};

/// Warnings that Linux prints on every i440FX PC.
const USUAL: [&str; 14] = [
    // A busy nested host gives its guest little time.
    "clocksource: Long readout interval",
    "hrtimer: interrupt took",
    "Unstable clock detected",
    "If you want to keep using the local clock, then add:",
    "\"trace_clock=local\"",
    "] on the kernel command line",
    // The 440FX has no memory-mapped configuration space.
    "fail to add MMCONFIG information",
    // The 64-bit window is above the physical address space of a 32-bit or 40-bit CPU.
    "not CPU addressable",
    // Properties of the host's CPU.
    "Spectre",
    "MDS CPU bug",
    "TSX",
    "Speculative Return Stack Overflow",
    "check_tsc",
    "kvm: ",
];

/// The disk offers UDMA in IDENTIFY DEVICE; Linux's ata_piix drives a PIIX3 (8086:7010) with multiword DMA mode 2 at most.
const DMA: [&str; 2] = ["max UDMA/", "dev1.0: ata, XFER_MW_DMA_2"];

/// Kernel messages of level warning and above in the output of `dmesg -r`, except the usual ones.
fn warnings(log: &str) -> Vec<&str> {
    log.lines()
        .filter(|line| {
            let level = line.strip_prefix('<').and_then(|rest| rest.chars().next());
            level.is_some_and(|level| ('0'..='4').contains(&level) && line.as_bytes().get(2) == Some(&b'>'))
        })
        .filter(|line| !USUAL.iter().any(|usual| line.contains(usual)))
        .collect()
}

/// Creates `$scratch`, a directory for the disk and the logs. The job's own directory is 9p on a nested host, where each
/// byte on a serial port would cost a vCPU most of a millisecond. The logs are copied every few seconds and at the end.
const SCRATCH: &str = "scratch=$(mktemp -d /tmp/pcvm.XXXXXX)
     while sleep 5; do cp $scratch/*.log . 2>/dev/null; done &
     copier=$!
     trap 'kill $copier; cp $scratch/*.log .; rm -rf $scratch' EXIT
     disk=$scratch/disk.img";

/// Options for the firmware: pcvm's own, or Debian's SeaBIOS.
const OURS: &str = "";
const SEABIOS: &str = "--firmware bios.bin";

/// Starts the installer with the options `start`, and checks its report on the hardware.
fn check_installer(arch: Arch, name: &str, start: &str) {
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
    check_installer(Arch::I386, "installer-i386", &format!("{OURS} --boot dc"));
}

#[test]
fn nested_the_amd64_installer_boots_from_cd() {
    check_installer(Arch::Amd64, "installer-amd64", &format!("{OURS} --boot dc"));
}

#[test]
fn nested_the_amd64_installer_boots_from_cd_by_seabios() {
    check_installer(Arch::Amd64, "installer-seabios", &format!("{SEABIOS} --boot dc"));
}

#[test]
fn nested_the_amd64_installer_boots_from_a_kernel_on_the_command_line() {
    let start = format!("--kernel vmlinuz --initrd initrd.img --append '{}'", installer::COMMAND_LINE);
    check_installer(Arch::Amd64, "kernel-amd64", &start);
}

/// Boots a disk twice, with different numbers of vCPUs and firmware: the first boot writes files, the second verifies them.
fn check_disk(name: &str, [writer, reader]: [(u32, &str); 2]) {
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
        return; // disk-init.sh reports no more then.
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
        assert!(!log.contains(complaint), "iasl or dmidecode prints {complaint:?}:\n{log}");
    }
}

#[test]
fn nested_a_disk_keeps_its_files_from_a_boot_with_1_vcpu_to_one_with_2() {
    check_disk("disk-1-2", [(1, OURS), (2, OURS)]);
}

#[test]
fn nested_a_disk_keeps_its_files_from_seabios_with_2_vcpus_to_pcvm_bios_with_4() {
    check_disk("disk-seabios-4", [(2, SEABIOS), (4, OURS)]);
}

/// Boots a CD's emulated floppy on the local /dev/kvm, which may be a software KVM, until COM1's output matches `pattern`.
fn boot_floppy(name: &str, iso: PathBuf, firmware: &str, pattern: &str) -> Output {
    require_kvm();
    let job = Job::new(
        name,
        format!(
            "./pcvm run --memory 32M {firmware} --cdrom floppy.iso --boot d --serial file:serial.log \
               --debugcon firmware.log --display none &
             vm=$!
             finished() {{ has serial.log '{pattern}' || ended $vm; }}
             wait_for 120 finished
             kill $vm 2>/dev/null; wait $vm
             has serial.log '{pattern}'"
        ),
    );
    let job = job.pcvm().unwrap_or_else(|error| panic!("{error}")).file(iso, "floppy.iso");
    let output = Host::Here.run(&job.timeout(Duration::from_secs(180))).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["firmware.log", "serial.log"]);
    output
}

#[test]
fn software_the_checksum_boot_sector_reads_its_floppy_by_int13() {
    let iso = floppy::checksum_iso().unwrap_or_else(|error| panic!("{error}"));
    for (name, firmware) in [("own-floppy", OURS), ("own-floppy-seabios", SEABIOS)] {
        boot_floppy(name, iso.clone(), firmware, "pcvm boot sector: 2879 sectors read, sum right");
    }
}

#[test]
fn software_freedos_boots_to_its_prompt() {
    let Some(iso) = floppy::freedos_iso().unwrap_or_else(|error| panic!("{error}")) else {
        eprintln!("not tested: there is no FreeDOS image");
        return;
    };
    for (name, firmware) in [("freedos", OURS), ("freedos-seabios", SEABIOS)] {
        let output = boot_floppy(name, iso.clone(), firmware, "A:.>");
        assert_has(&output.text("serial.log"), &["Welcome to FreeDOS", "A:\\>"]);
    }
}
