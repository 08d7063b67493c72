//! `--vga`: video memory of several sizes, and no display adapter.

use pcvm::config::{Adapter, CharSpec};
use pcvm::demo::{Demo, Verdict};
use pcvm_test_host::{Process, TIME_LIMIT, require_kvm, wait_for_text};
use std::process::{Command, Stdio};

/// Runs the self-test with this much video memory; returns its note on VBE, and names and notes of the tests that fail.
fn run_selftest(vga: Option<Adapter>) -> (String, Vec<(String, String)>) {
    require_kvm();
    let mut demo = Demo::new(None, CharSpec::Null).unwrap();
    demo.config.vga = vga;
    let results = demo.run().unwrap().results;
    let vbe = results.iter().find(|result| result.name == "VBE").unwrap().note.clone();
    let failed = results.into_iter().filter(|result| result.verdict == Verdict::Fail);
    (vbe, failed.map(|result| (result.name, result.note)).collect())
}

#[test]
fn software_a_cirrus_adapter_passes_the_selftest() {
    let (vbe, failed) = run_selftest(Some(Adapter::Cirrus));
    assert_eq!(failed, []);
    assert!(vbe.starts_with("3.0, 4 MiB, 23 modes; 143h"), "{vbe}");
}

#[test]
fn software_vbe_reports_the_size_of_the_video_memory() {
    for (mib, expect) in [(16, "3.0, 16 MiB, 97 modes; 143h"), (64, "3.0, 64 MiB, 97 modes; 143h")] {
        let (vbe, failed) = run_selftest(Some(Adapter::Std { vram: mib << 20 }));
        assert_eq!(failed, [], "{mib} MiB");
        assert!(vbe.starts_with(expect), "{mib} MiB: {vbe}");
    }
    // The self-test's mode takes nearly 2 MiB.
    let (_, failed) = run_selftest(Some(Adapter::Std { vram: 1 << 20 }));
    assert_eq!(failed, [("VBE".to_owned(), "no mode has 800 x 600 x 32".to_owned())]);
}

#[test]
fn software_a_vm_without_an_adapter_boots_and_screen_commands_fail() {
    let (_, failed) = run_selftest(None);
    let failed: Vec<_> = failed.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(failed, ["VGA text", "VGA mode 13h", "VBE"]);

    // The BIOS prints on the serial port; commands for the screen report an error.
    let dir = tempfile::TempDir::new().unwrap();
    let pcvm = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pcvm"));
        command.current_dir(dir.path()).args(arguments).stdin(Stdio::null()).env_remove("PCVM_LOG");
        command
    };
    for firmware in [&[][..], &["--firmware", "/usr/share/seabios/bios-256k.bin"]] {
        let run = ["run", "--memory", "16M", "--vga", "none", "--serial", "file:serial", "--control", "unix:socket"];
        let _vm = Process::start(&mut pcvm(&[&run, firmware].concat()));
        let serial = dir.path().join("serial");
        wait_for_text(&serial, "No bootable device", TIME_LIMIT);
        for arguments in [&["screen", "./socket", "--text"], &["screenshot", "./socket", "a.png"]] {
            let output = pcvm(arguments).output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(
                (output.status.code(), errors.as_str()),
                (Some(1), "pcvm: the machine has no screen (--vga none)\n"),
                "{arguments:?}"
            );
        }
        std::fs::remove_file(serial).unwrap();
    }
}
