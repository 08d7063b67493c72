//! A VM whose guest prints a text, waits for a key and then echoes typed characters.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of this module")]

use pcvm_test_host::{Process, connect, require_kvm};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// Boot sector: prints the text at 7C40h, waits for a key, prints an arrow, then echoes keys.
pub const BOOT_SECTOR: &[u8] = &[
    0xfc, // cld
    0x31, 0xc0, 0x8e, 0xd8, // xor ax, ax; mov ds, ax
    0xbe, 0x40, 0x7c, // mov si, 7C40h
    0xac, 0x08, 0xc0, 0x74, 0x06, // next: lodsb; or al, al; jz key
    0xb4, 0x0e, 0xcd, 0x10, 0xeb, 0xf5, // mov ah, 0Eh; int 10h; jmp next
    0xb4, 0x00, 0xcd, 0x16, // key: mov ah, 0; int 16h
    0xb8, 0x10, 0x0e, 0xcd, 0x10, // mov ax, 0E10h; int 10h
    0xb4, 0x00, 0xcd, 0x16, // echo: mov ah, 0; int 16h
    0xb4, 0x0e, 0xcd, 0x10, 0xeb, 0xf6, // mov ah, 0Eh; int 10h; jmp echo
];

/// Boot sector: sets mode 13h and fills the upper half with red, the lower half with blue.
pub const GRAPHICS_SECTOR: &[u8] = &[
    0xfc, // cld
    0xb8, 0x13, 0x00, 0xcd, 0x10, // mov ax, 13h; int 10h
    0xb8, 0x00, 0xa0, 0x8e, 0xc0, 0x31, 0xff, // mov ax, A000h; mov es, ax; xor di, di
    0xb0, 0x04, 0xb9, 0x00, 0x7d, 0xf3, 0xaa, // mov al, 4; mov cx, 32000; rep stosb
    0xb0, 0x01, 0xb9, 0x00, 0x7d, 0xf3, 0xaa, // mov al, 1; mov cx, 32000; rep stosb
    0xf4, 0xeb, 0xfd, // hlt; jmp $-1
];

/// A running VM and the directory with its disk and control socket.
pub struct Machine {
    pub child: Process,
    pub dir: TempDir,
}

/// A command that runs pcvm.
pub fn pcvm() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pcvm"));
    command.env_remove("PCVM_LOG").stdin(Stdio::null());
    command
}

/// Starts a VM whose boot sector prints `text`.
pub fn machine(text: &str, arguments: &[&str]) -> Machine {
    boot(BOOT_SECTOR, text, arguments, pcvm().stdout(Stdio::null()))
}

/// Starts a VM with the command `pcvm`, a boot sector and a text for it.
pub fn boot(code: &[u8], text: &str, arguments: &[&str], pcvm: &mut Command) -> Machine {
    require_kvm();
    let dir = TempDir::new().unwrap();
    let mut disk = code.to_vec();
    disk.resize(0x40, 0);
    disk.extend_from_slice(text.as_bytes());
    disk.resize(510, 0);
    disk.extend_from_slice(&[0x55, 0xaa]);
    disk.resize(1 << 20, 0);
    fs::write(dir.path().join("disk.img"), disk).unwrap();
    // Use SeaBIOS unless the test names a firmware.
    let has_firmware = arguments.contains(&"--firmware");
    let firmware = if has_firmware { &[][..] } else { &["--firmware", "/usr/share/seabios/bios-256k.bin"] };
    pcvm.current_dir(dir.path())
        .args(["run", "--memory", "16M", "--serial", "none", "--disk", "disk.img", "--control", "unix:socket"])
        .args(firmware)
        .args(arguments);
    let machine = Machine { child: Process::start(pcvm), dir };
    connect(&machine.socket());
    machine
}

impl Machine {
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// Runs `pcvm COMMAND SOCKET ARGUMENTS...`.
    pub fn run_command(&self, command: &str, arguments: &[&str]) -> Output {
        pcvm().current_dir(self.dir.path()).arg(command).arg("./socket").args(arguments).output().unwrap()
    }

    /// Runs a command that must succeed without messages; returns what it prints.
    #[track_caller]
    pub fn run_ok(&self, command: &str, arguments: &[&str]) -> String {
        let output = self.run_command(command, arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{command} {arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until a line of the text screen matches a regular expression.
    #[track_caller]
    pub fn wait_for_screen(&self, pattern: &str) {
        self.run_ok("wait", &["--text", pattern, "--timeout", "60"]);
    }

    /// The process's anonymous memory in RAM, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}
