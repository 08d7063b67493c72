//! Linux finds processors, IRQs and PCI devices by every interface of the firmware: ACPI, the MP table, $PIR, the PCI BIOS
//! and the PnP BIOS; it powers off by ACPI or APM. A key selects the kernel command line in GRUB's menu.

use std::time::Duration;

use pcvm_test_guests::options;
use pcvm_test_host::{Host, Job, assert_has};

/// Boots the choices of the CD one after another; the log of choice N is `N.log`, with the end of the VM in its last lines.
const SCRIPT: &str = "
    scratch=$(mktemp -d /tmp/pcvm.XXXXXX)
    trap 'cp $scratch/*.log .' EXIT
    n=0
    while [ $n -lt COUNT ]; do
      n=$((n + 1))
      echo \"== choice $n\"
      # Linux uses APM with one processor only.
      cpus=2; [ $n -lt COUNT ] || cpus=1
      ./pcvm run --control unix:$scratch/control --memory 256M --cpus $cpus --cdrom options.iso --boot d --no-reboot \
        --serial file:$scratch/$n.log --debugcon $scratch/firmware.log --display none &
      vm=$!
      wait_for 10 test -S $scratch/control
      ./pcvm wait $scratch/control --timeout 60 --text '\\*Linux' || exit
      ./pcvm key $scratch/control $n || exit
      # Without ACPI and APM it cannot power off.
      finished() { ended $vm || has $scratch/$n.log 'reboot: System halted'; }
      wait_for 150 finished
      if kill $vm 2>/dev/null; then echo halted >>$scratch/$n.log; else echo off >>$scratch/$n.log; fi
      wait $vm
      echo \"status $?\" >>$scratch/$n.log
      rm -f $scratch/control
    done";

/// Warnings about the host.
const USUAL: [&str; 5] = [
    // Its CPU.
    "Speculative Return Stack Overflow",
    "PMU not available due to virtualization",
    "Spectre",
    // A busy nested host gives its guest little time.
    "clocksource: Long readout interval",
    "hrtimer: interrupt took",
];

fn warnings(log: &str) -> Vec<&str> {
    let severe = |line: &&str| (0..=4).any(|level| line.starts_with(&format!("<{level}>")));
    log.lines().filter(severe).filter(|line| !USUAL.iter().any(|usual| line.contains(usual))).collect()
}

#[test]
fn nested_linux_finds_the_hardware_by_every_firmware_interface() {
    let iso = options::iso().unwrap_or_else(|error| panic!("{error}"));
    let script = SCRIPT.replace("COUNT", &options::CHOICES.len().to_string());
    let job = Job::new("linux-options", script).pcvm().unwrap_or_else(|error| panic!("{error}"));
    let job = job.file(iso, "options.iso").timeout(Duration::from_secs(600));
    let output = Host::pick().run(&job).unwrap_or_else(|error| panic!("{error}"));
    let names: Vec<String> = (1..=options::CHOICES.len()).map(|n| format!("{n}.log")).collect();
    output.expect_status(0, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let logs: Vec<String> = names.iter().map(|name| output.text(name).replace('\r', "")).collect();
    let [acpi, no_acpi, no_apic, no_lapic, pci_bios, apm] = &logs[..] else { panic!("a log for each choice") };

    for log in &logs {
        assert_has(log, &["vmlinuz: OK", "initrd.gz: OK", "ata_piix", "0000:00:01.3 0x8086:0x7113 irq 9", "==== end"]);
        assert_has(log, &["PCI: PCI BIOS revision 2.10 entry at", "found SMP MP-table at", "\nstatus 0"]);
        assert_eq!(warnings(log), Vec::<&str>::new());
    }
    assert_has(acpi, &["up with 2 processors", "ACPI: 1 ACPI AML tables successfully acquired and loaded", "\noff\n"]);
    assert_has(
        acpi,
        &["ACPI: Using IOAPIC for interrupt routing", "9-fasteoi   acpi", "Interrupt link LNKA configured"],
    );
    for log in [no_acpi, pci_bios] {
        // The MP table: two processors, and the IOAPIC's inputs.
        assert_has(log, &["ACPI: Interpreter disabled", "Intel MultiProcessor Specification v1.4"]);
        assert_has(log, &["up with 2 processors", "IO-APIC  15-edge      ata_piix", "IO-APIC  14-edge      ata_piix"]);
    }
    assert_has(no_apic, &["up with 2 processors", "15:        ", "XT-PIC      ata_piix"]);
    assert_has(no_lapic, &["up with 1 processors", "XT-PIC      timer", "XT-PIC      ata_piix"]);
    for log in [no_acpi, no_apic, no_lapic, pci_bios, apm] {
        // $PIR, and the PnP BIOS, which Linux calls in 16-bit protected mode.
        assert_has(
            log,
            &["PIIX/ICH IRQ router [8086:7000]", "PnPBIOS: 10 nodes reported by PnP BIOS; 10 recorded by driver"],
        );
    }
    assert_has(apm, &["apm: BIOS version 1.2", "1.16ac 1.2", "up with 1 processors", "\noff\n"]);
}
