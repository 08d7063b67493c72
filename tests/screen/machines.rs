//! Whole machines: pcvm, and QEMU's `pc`, with a firmware image as their guest.

use crate::picture::Picture;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);

pub struct Machine {
    child: Child,
    stdin: ChildStdin,
    bytes: Receiver<u8>,
    dir: tempfile::TempDir,
    qemu: Option<UnixStream>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Machine {
    fn start(mut command: Command, dir: tempfile::TempDir) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the machine starts");
        let stdin = child.stdin.take().expect("a pipe");
        let mut stdout = child.stdout.take().expect("a pipe");
        let (sender, bytes) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 256];
            while let Ok(len @ 1..) = stdout.read(&mut buffer) {
                if buffer[..len].iter().any(|&byte| sender.send(byte).is_err()) {
                    return;
                }
            }
        });
        Self { child, stdin, bytes, dir, qemu: None }
    }

    pub fn pcvm(image: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_pcvm"));
        command.env_remove("PCVM_LOG").current_dir(dir.path()).arg("run").arg("--firmware").arg(image);
        command.args(["--memory", "16M", "--serial", "stdio", "--control", "unix:socket"]);
        Self::start(command, dir)
    }

    pub fn qemu(image: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut command = Command::new("qemu-system-x86_64");
        command.current_dir(dir.path()).args(["-accel", "tcg", "-m", "16", "-nodefaults", "-vga", "std"]);
        command.args(["-display", "none", "-serial", "stdio", "-monitor", "unix:monitor,server,nowait", "-bios"]);
        let mut machine = Self::start(
            {
                command.arg(image);
                command
            },
            dir,
        );
        let deadline = Instant::now() + PATIENCE;
        let monitor = loop {
            match UnixStream::connect(machine.dir.path().join("monitor")) {
                Ok(monitor) => break monitor,
                Err(error) => assert!(Instant::now() < deadline, "QEMU's monitor: {error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        monitor.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        machine.qemu = Some(monitor);
        machine.answer();
        machine
    }

    /// Reads to the prompt of QEMU's monitor.
    fn answer(&mut self) {
        let Some(monitor) = &mut self.qemu else { return };
        let mut seen = Vec::new();
        let mut byte = [0];
        while !seen.ends_with(b"(qemu) ") {
            monitor.read_exact(&mut byte).expect("the monitor answers");
            seen.push(byte[0]);
        }
    }

    /// So many bytes that the guest reports, and its sign that the picture is complete.
    pub fn report(&mut self, len: usize) -> Vec<u8> {
        let mut report: Vec<_> = (0..=len)
            .map(|_| self.bytes.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("the guest reports nothing more")))
            .collect();
        assert_eq!(report.pop(), Some(b'#'), "the end of a scene");
        report
    }

    pub fn picture(&mut self) -> Picture {
        let path = self.dir.path().join("screen.ppm");
        if let Some(monitor) = &mut self.qemu {
            monitor.write_all(b"screendump screen.ppm\n").expect("the monitor listens");
            self.answer();
        } else {
            let output = Command::new(env!("CARGO_BIN_EXE_pcvm"))
                .current_dir(self.dir.path())
                .args(["screenshot", "./socket", "screen.ppm"])
                .output()
                .expect("pcvm");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        Picture::read_ppm(&path).unwrap_or_else(|| panic!("{} is no picture", path.display()))
    }

    /// Has the guest draw the next scene.
    pub fn go_on(&mut self) {
        self.stdin.write_all(b"\n").expect("the guest waits");
        self.stdin.flush().expect("the guest waits");
    }
}
