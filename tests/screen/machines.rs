//! Virtual machines that run a firmware image: pcvm, and QEMU's `pc` with TCG.

use crate::picture::Picture;
use pcvm_test_host::{Process, connect};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(120);

pub struct Machine {
    _process: Process,
    stdin: ChildStdin,
    bytes: Receiver<u8>,
    dir: tempfile::TempDir,
    qemu: Option<UnixStream>,
}

impl Machine {
    fn start(mut command: Command, dir: tempfile::TempDir) -> Self {
        let mut process = Process::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let stdin = process.stdin.take().expect("stdio is piped");
        let mut stdout = process.stdout.take().expect("stdio is piped");
        let (sender, bytes) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 256];
            while let Ok(len @ 1..) = stdout.read(&mut buffer) {
                if buffer[..len].iter().any(|&byte| sender.send(byte).is_err()) {
                    return;
                }
            }
        });
        Self { _process: process, stdin, bytes, dir, qemu: None }
    }

    pub fn pcvm(image: &Path, adapter: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_pcvm"));
        command.env_remove("PCVM_LOG").current_dir(dir.path()).arg("run").arg("--firmware").arg(image);
        command.args(["--memory", "16M", "--serial", "stdio", "--control", "unix:socket", "--vga", adapter]);
        Self::start(command, dir)
    }

    pub fn qemu(image: &Path, adapter: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new("qemu-system-x86_64");
        command.current_dir(dir.path()).args(["-accel", "tcg", "-m", "16", "-nodefaults", "-vga", adapter]);
        command.args(["-display", "none", "-serial", "stdio", "-monitor", "unix:monitor,server,nowait", "-bios"]);
        let mut machine = Self::start(
            {
                command.arg(image);
                command
            },
            dir,
        );
        let monitor = connect(&machine.dir.path().join("monitor"));
        monitor.set_read_timeout(Some(TIMEOUT)).expect("the monitor's read timeout is set");
        machine.qemu = Some(monitor);
        machine.wait_prompt();
        machine
    }

    /// Reads up to the prompt of QEMU's monitor.
    fn wait_prompt(&mut self) {
        let Some(monitor) = &mut self.qemu else { return };
        let mut seen = Vec::new();
        let mut byte = [0];
        while !seen.ends_with(b"(qemu) ") {
            monitor.read_exact(&mut byte).expect("QEMU's monitor prints its prompt");
            seen.push(byte[0]);
        }
    }

    /// Reads `len` bytes that the guest reports, and its end-of-scene mark.
    pub fn report(&mut self, len: usize) -> Vec<u8> {
        let mut report: Vec<_> = (0..=len)
            .map(|_| self.bytes.recv_timeout(TIMEOUT).unwrap_or_else(|_| panic!("the guest stopped reporting")))
            .collect();
        assert_eq!(report.pop(), Some(b'#'), "the guest reported more bytes than the scene has");
        report
    }

    pub fn picture(&mut self) -> Picture {
        let path = self.dir.path().join("screen.ppm");
        if let Some(monitor) = &mut self.qemu {
            monitor.write_all(b"screendump screen.ppm\n").expect("QEMU's monitor accepts the command");
            self.wait_prompt();
        } else {
            let output = Command::new(env!("CARGO_BIN_EXE_pcvm"))
                .current_dir(self.dir.path())
                .args(["screenshot", "./socket", "screen.ppm"])
                .output()
                .expect("pcvm screenshot starts");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        Picture::read_ppm(&path).unwrap_or_else(|| panic!("{} is not a PPM picture", path.display()))
    }

    /// Lets the guest draw the next scene.
    pub fn next_scene(&mut self) {
        self.stdin.write_all(b"\n").expect("the guest's serial input is open");
        self.stdin.flush().expect("the guest's serial input is open");
    }
}
