//! BIOS services call by call: our BIOS and VGA BIOS against SeaBIOS and its VGA BIOS, on pcvm and on QEMU. What differs
//! is what `tests/int_calls/*.txt` say, with the reason; a difference that is not there, and a line there that nothing
//! differs by any more, fail.
//!
//! `PCVM_CALLS_DIR=DIR` keeps the logs and the differences there.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use pcvm_test_guests::calls::{KnownDifference, Log, drives};
use pcvm_test_host::{Host, Job, project, require_kvm};

/// Which firmware.
#[derive(Clone, Copy)]
enum Firmware {
    Sea,
    Ours,
}

/// Runs the calls and gives what came back.
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
        panic!("{name}: no end\n{}\n{}", pcvm_test_host::tail(&output.console), pcvm_test_host::tail(&text))
    })
}

const ON_PCVM: &str = "./pcvm run --memory 64M --firmware bios.bin --disk hda.img,readonly --disk scratch.img \
    --cdrom cd.iso --boot c --serial null --serial null --debugcon calls.log --display none --no-reboot";
const ON_QEMU: &str = "timeout 250 qemu-system-x86_64 -accel tcg -m 64 -L . -bios bios.bin -vga none \
    -device VGA,romfile=vgabios-stdvga.bin -nic none -parallel none -serial null -serial null -display none -boot c \
    -drive file=hda.img,format=raw,if=ide,snapshot=on,file.locking=off -drive file=scratch.img,format=raw,if=ide \
    -drive file=cd.iso,format=raw,if=ide,index=2,media=cdrom,file.locking=off \
    -debugcon file:calls.log -global isa-debugcon.iobase=0x402 -no-reboot";

/// Asserts that the two differ exactly as the list says.
#[track_caller]
fn differ_as_explained(name: &str, sea: &Log, ours: &Log, lists: &[&str]) {
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
    let unexplained = report.lines().count();
    for line in lists.iter().filter(|line| !differences.iter().any(|d| line.covers(d))) {
        let _ = writeln!(report, "nothing differs by: {}", line.title());
    }
    if let Some(dir) = std::env::var_os("PCVM_CALLS_DIR") {
        let all: String =
            differences.iter().map(|d| format!("{} | {} | {} -> {}\n", d.call, d.field, d.one, d.other)).collect();
        let dir = Path::new(&dir);
        fs::write(dir.join(format!("{name}.all")), all).unwrap_or_else(|error| panic!("{error}"));
        fs::write(dir.join(format!("{name}.open")), &report).unwrap_or_else(|error| panic!("{error}"));
    }
    assert!(sea.calls.len() > 2000, "only {} calls and looks", sea.calls.len());
    assert!(
        report.is_empty(),
        "{} differences, {unexplained} of them unexplained:\n{}",
        differences.len(),
        report.lines().take(60).collect::<Vec<_>>().join("\n")
    );
}

#[test]
fn software_services_on_pcvm_differ_from_seabios_as_explained() {
    require_kvm();
    let sea = calls("pcvm-sea", Firmware::Sea, ON_PCVM);
    let ours = calls("pcvm-ours", Firmware::Ours, ON_PCVM);
    differ_as_explained("pcvm", &sea, &ours, &["differences.txt", "on-pcvm.txt"]);
}

#[test]
fn services_on_qemu_differ_from_seabios_as_explained() {
    let sea = calls("qemu-sea", Firmware::Sea, ON_QEMU);
    let ours = calls("qemu-ours", Firmware::Ours, ON_QEMU);
    differ_as_explained("qemu", &sea, &ours, &["differences.txt", "on-qemu.txt"]);
}
