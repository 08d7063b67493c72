//! BIOS services, compared call by call: the project's BIOS and VGA BIOS with SeaBIOS and its VGA BIOS, on pcvm and on
//! QEMU. `tests/int_calls/*.txt` list the known differences with their reasons; a difference that is not listed fails, and
//! so does a listed one that no longer exists.
//!
//! `PCVM_CALLS_DIR=DIR` writes the logs and the differences to that directory.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use pcvm_test_guests::calls::{KnownDifference, Log, drives};
use pcvm_test_host::{Host, Job, project, require_kvm};

#[derive(Clone, Copy)]
enum Firmware {
    Sea,
    Ours,
}

/// Runs the calls and returns their results.
fn calls(name: &str, firmware: Firmware, command: &str) -> Log {
    let drives = drives().unwrap_or_else(|error| panic!("{error}"));
    let ours = match firmware {
        Firmware::Sea => "",
        Firmware::Ours => "mv ours.bin bios.bin && mv ours-vga.bin vgabios-stdvga.bin && ",
    };
    let mut job = Job::new(&format!("calls-{name}"), format!("{ours}cp hdb.img scratch.img && {command}"))
        .pcvm()
        .unwrap_or_else(|error| panic!("{error}"));
    for file in ["hda.img", "hdb.img", "cd.iso"] {
        job = job.file(drives.join(file), file);
    }
    if let Firmware::Ours = firmware {
        let prebuilt = project().join("firmware/prebuilt");
        job = job.file(prebuilt.join("bios.bin"), "ours.bin").file(prebuilt.join("vgabios.bin"), "ours-vga.bin");
    }
    let output = Host::Here.run(&job.timeout(Duration::from_secs(280))).unwrap_or_else(|error| panic!("{error}"));
    let text = output.text("calls.log");
    if let Some(dir) = std::env::var_os("PCVM_CALLS_DIR") {
        fs::write(Path::new(&dir).join(format!("{name}.log")), &text).unwrap_or_else(|error| panic!("{error}"));
    }
    Log::parse(&text).unwrap_or_else(|| {
        panic!(
            "{name}: the log is incomplete\n{}\n{}",
            pcvm_test_host::tail(&output.console),
            pcvm_test_host::tail(&text)
        )
    })
}

const ON_PCVM: &str = "./pcvm run --memory 64M --floppy none --firmware bios.bin --disk hda.img,readonly --disk scratch.img \
    --cdrom cd.iso --boot c --serial null --serial null --debugcon calls.log --display none --no-reboot";
const ON_QEMU: &str = "timeout 250 qemu-system-x86_64 -accel tcg -m 64 -L . -bios bios.bin -vga none \
    -device VGA,romfile=vgabios-stdvga.bin -nic none -parallel none -serial null -serial null -display none -boot c \
    -drive file=hda.img,format=raw,if=ide,snapshot=on,file.locking=off -drive file=scratch.img,format=raw,if=ide \
    -drive file=cd.iso,format=raw,if=ide,index=2,media=cdrom,file.locking=off \
    -debugcon file:calls.log -global isa-debugcon.iobase=0x402 -no-reboot";

/// Asserts that the results differ exactly as listed.
#[track_caller]
fn assert_known_differences(name: &str, sea: &Log, ours: &Log, lists: &[&str]) {
    let lists: Vec<_> = lists
        .iter()
        .flat_map(|list| {
            let path = project().join("tests/int_calls").join(list);
            KnownDifference::list(
                &fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
            )
        })
        .collect();
    let differences = sea.differences(ours);
    let mut report = String::new();
    for d in differences.iter().filter(|d| !lists.iter().any(|line| line.covers(d))) {
        let _ = writeln!(report, "{} | {} | {} -> {}", d.call, d.field, d.one, d.other);
    }
    let unlisted = report.lines().count();
    for line in lists.iter().filter(|line| !differences.iter().any(|d| line.covers(d))) {
        let _ = writeln!(report, "listed, but no difference: {}", line.title());
    }
    if let Some(dir) = std::env::var_os("PCVM_CALLS_DIR") {
        let all: String =
            differences.iter().map(|d| format!("{} | {} | {} -> {}\n", d.call, d.field, d.one, d.other)).collect();
        let dir = Path::new(&dir);
        fs::write(dir.join(format!("{name}.all")), all).unwrap_or_else(|error| panic!("{error}"));
        fs::write(dir.join(format!("{name}.open")), &report).unwrap_or_else(|error| panic!("{error}"));
    }
    assert!(sea.calls.len() > 2000, "only {} results", sea.calls.len());
    assert!(
        report.is_empty(),
        "{} differences, {unlisted} of them not listed:\n{}",
        differences.len(),
        report.lines().take(60).collect::<Vec<_>>().join("\n")
    );
}

#[test]
fn software_slow_services_on_pcvm_differ_from_seabios_only_as_listed() {
    require_kvm();
    let sea = calls("pcvm-sea", Firmware::Sea, ON_PCVM);
    let ours = calls("pcvm-ours", Firmware::Ours, ON_PCVM);
    assert_known_differences("pcvm", &sea, &ours, &["differences.txt", "on-pcvm.txt"]);
}

#[test]
fn services_on_qemu_differ_from_seabios_only_as_listed() {
    let sea = calls("qemu-sea", Firmware::Sea, ON_QEMU);
    let ours = calls("qemu-ours", Firmware::Ours, ON_QEMU);
    assert_known_differences("qemu", &sea, &ours, &["differences.txt", "on-qemu.txt"]);
}
