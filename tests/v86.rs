//! BIOS and VGA BIOS services in virtual-8086 mode with paging, as under EMM386: they return what they return in real
//! mode, and execute no instruction that faults in a V86 monitor.
//!
//! The monitor (`tests/guests/src/v86.s`) is booted from a CD and then starts the guest in V86 mode. It reports a fault and
//! stops. A software KVM has no 32-bit paging, so this runs under QEMU's TCG, and under pcvm where operating systems run.

use std::fs;
use std::time::Duration;

use pcvm_test_guests::calls::{KnownDifference, Log, drives};
use pcvm_test_guests::{floppy, v86};
use pcvm_test_host::{Host, Job, Output, assert_has, project, tail};

/// Runs the calls: in V86 mode after the monitor, or in real mode after a CD with the same layout but no monitor.
/// `command` writes the output on port 402h to `calls.log`.
fn calls(host: Host, name: &str, in_v86: bool, command: &str) -> Log {
    let drives = drives().unwrap_or_else(|error| panic!("{error}"));
    // The job's own directory is a slow file system (9p) on a nested host.
    let script = format!(
        "here=$PWD
         scratch=$(mktemp -d /tmp/pcvm.XXXXXX)
         trap 'cp $scratch/calls.log $here; rm -rf $scratch' EXIT
         cp * $scratch
         cd $scratch
         {command}"
    );
    let mut job = Job::new(name, script).pcvm().unwrap_or_else(|error| panic!("{error}"));
    for file in ["hda.img", "hdb.img", "cd.iso"] {
        job = job.file(drives.join(file), file);
    }
    job = job.file(v86::iso(in_v86).unwrap_or_else(|error| panic!("{error}")), "v86.iso");
    let prebuilt = project().join("firmware/prebuilt");
    for (rom, file) in [("bios.bin", "ours.bin"), ("vgabios.bin", "ours-vga.bin")] {
        job = job.file(prebuilt.join(rom), file);
    }
    let output = host.run(&job.timeout(Duration::from_secs(280))).unwrap_or_else(|error| panic!("{error}"));
    let text = output.text("calls.log");
    assert_eq!(text.contains(v86::INSTALLED), in_v86, "{text}");
    Log::parse(&text)
        .unwrap_or_else(|| panic!("{name}: the log is incomplete\n{}\n{}", tail(&output.console), tail(&text)))
}

#[track_caller]
fn assert_known_differences(real: &Log, v86: &Log) {
    let list = project().join("tests/int_calls/in-v86.txt");
    let list =
        KnownDifference::list(&fs::read_to_string(&list).unwrap_or_else(|error| panic!("{}: {error}", list.display())));
    assert!(real.calls.len() > 2000, "only {} results", real.calls.len());
    let differences = real.differences(v86);
    let unlisted: Vec<String> = differences
        .iter()
        .filter(|difference| !list.iter().any(|line| line.covers(difference)))
        .map(|d| format!("{} | {} | {} -> {}", d.call, d.field, d.one, d.other))
        .collect();
    assert!(unlisted.is_empty(), "{} differences are not listed:\n{}", unlisted.len(), unlisted.join("\n"));
    for line in &list {
        assert!(
            differences.iter().any(|difference| line.covers(difference)),
            "listed, but no difference: {}",
            line.title()
        );
    }
}

const ON_QEMU: &str = "timeout 130 qemu-system-x86_64 -accel tcg -m 64 -bios ours.bin -vga none \
    -device VGA,romfile=ours-vga.bin -nic none -parallel none -serial null -serial null -display none -boot order=dc \
    -drive file=hda.img,format=raw,if=ide -drive file=hdb.img,format=raw,if=ide \
    -drive file=cd.iso,format=raw,if=ide,index=2,media=cdrom -drive file=v86.iso,format=raw,if=ide,index=3,media=cdrom \
    -debugcon file:calls.log -global isa-debugcon.iobase=0x402 -no-reboot";
const ON_PCVM: &str = "./pcvm run --memory 64M --floppy none --disk hda.img,readonly --disk hdb.img --cdrom cd.iso --cdrom v86.iso \
    --boot dc --serial null --serial null --debugcon calls.log --display none --no-reboot";

#[test]
fn services_on_qemu_return_the_same_in_v86_mode_as_in_real_mode() {
    let real = calls(Host::Here, "v86-qemu-real", false, ON_QEMU);
    assert_known_differences(&real, &calls(Host::Here, "v86-qemu", true, ON_QEMU));
}

#[test]
fn nested_services_return_the_same_in_v86_mode_as_in_real_mode() {
    let real = calls(Host::Here, "v86-calls-real", false, ON_PCVM);
    assert_known_differences(&real, &calls(Host::pick(), "v86-calls", true, ON_PCVM));
}

/// Runs DOS in V86 mode and types commands on its console, COM1.
fn freedos(iso: std::path::PathBuf) -> Output {
    let script = floppy::CONSOLE.to_string()
        + r#"
        mkfifo /tmp/keys; exec 3<>/tmp/keys
        ./pcvm run --control unix:/tmp/dos.sock --memory 64M --cdrom v86.iso --cdrom freedos.iso --boot d --no-reboot \
          --serial stdio --debugcon firmware.log --display none </tmp/keys >serial.log 2>errors.log &
        vm=$!
        expect 'A:.>'
        type_line 'dir'
        expect 'bytes free'
        type_line 'hello'
        expect 'Hello'
        type_line 'cpulevel'
        prompts() { [ $(tr -d '\r' <serial.log | grep -c 'A:.>') -ge 4 ]; }
        wait_for 60 prompts || exit
        ./pcvm screenshot /tmp/dos.sock screen.png || exit
        ./pcvm screen /tmp/dos.sock --text >screen.txt || exit
        kill $vm; wait $vm
        exit 0"#;
    let job = Job::new("v86-freedos", script);
    let job = job.pcvm().unwrap_or_else(|error| panic!("{error}"));
    let job = job.file(iso, "freedos.iso").file(v86::iso(true).unwrap_or_else(|error| panic!("{error}")), "v86.iso");
    let output = Host::pick().run(&job.timeout(Duration::from_secs(280))).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["firmware.log", "serial.log", "errors.log"]);
    output
}

#[test]
fn nested_freedos_runs_commands_in_v86_mode() {
    let Some(iso) = floppy::freedos_iso().unwrap_or_else(|error| panic!("{error}")) else {
        eprintln!("not tested: there is no FreeDOS image");
        return;
    };
    let output = freedos(iso);
    let firmware = output.text("firmware.log");
    assert!(firmware.contains(v86::INSTALLED), "{firmware}");
    assert_eq!(firmware.matches("V86:").count(), 1, "the monitor reports a fault:\n{firmware}");
    assert_has(&output.text("serial.log"), &["Welcome to FreeDOS"]);
}
