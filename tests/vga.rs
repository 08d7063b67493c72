//! `--vga`: adapters with other video memory than usual, and none.

use pcvm::config::CharSpec;
use pcvm::demo::{Demo, Verdict};
use pcvm_test_host::require_kvm;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What the self-test says, under our own BIOS, on a machine with that adapter: what VBE is, and what fails.
fn tested(vga: Option<u32>) -> (String, Vec<(String, String)>) {
    require_kvm();
    let mut demo = Demo::new(None, CharSpec::Null).unwrap();
    demo.config.vga = vga;
    let results = demo.run().unwrap().results;
    let vbe = results.iter().find(|result| result.name == "VBE").unwrap().note.clone();
    let failed = results.into_iter().filter(|result| result.verdict == Verdict::Fail);
    (vbe, failed.map(|result| (result.name, result.note)).collect())
}

#[test]
fn software_vbe_tells_of_the_memory_that_there_is() {
    for (mib, expect) in [(16, "3.0, 16 MiB, 97 modes; 143h"), (64, "3.0, 64 MiB, 97 modes; 143h")] {
        let (vbe, failed) = tested(Some(mib << 20));
        assert_eq!(failed, [], "{mib} MiB");
        assert!(vbe.starts_with(expect), "{mib} MiB: {vbe}");
    }
    // The self-test's mode takes nearly two.
    let (_, failed) = tested(Some(1 << 20));
    assert_eq!(failed, [("VBE".to_owned(), "no mode has 800 x 600 x 32".to_owned())]);
}

#[test]
fn software_a_machine_without_a_screen_boots_and_has_none() {
    let (_, failed) = tested(None);
    let failed: Vec<_> = failed.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(failed, ["VGA text", "VGA mode 13h", "VBE"]);

    // The BIOS' console is the serial port, and programs are told that there is no screen.
    let dir = tempfile::TempDir::new().unwrap();
    let pcvm = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pcvm"));
        command.current_dir(dir.path()).args(arguments).stdin(Stdio::null()).env_remove("PCVM_LOG");
        command
    };
    for firmware in [&[][..], &["--firmware", "/usr/share/seabios/bios-256k.bin"]] {
        let run = ["run", "--memory", "16M", "--vga", "none", "--serial", "file:serial", "--control", "unix:socket"];
        let mut machine = pcvm(&[&run, firmware].concat()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let seen = loop {
            let text = std::fs::read(dir.path().join("serial")).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            if text.contains("No bootable device") || Instant::now() > deadline {
                break text;
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        for arguments in [&["screen", "./socket", "--text"], &["screenshot", "./socket", "a.png"]] {
            let output = pcvm(arguments).output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(
                (output.status.code(), errors.as_str()),
                (Some(1), "pcvm: the machine has no screen (--vga none)\n"),
                "{arguments:?}"
            );
        }
        machine.kill().unwrap();
        machine.wait().unwrap();
        std::fs::remove_file(dir.path().join("serial")).unwrap();
        assert!(seen.contains("No bootable device"), "{firmware:?}: {seen}");
    }
}
