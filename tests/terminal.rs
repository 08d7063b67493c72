//! `--serial stdio` on real terminals and pipes. Each test starts this program again as a process of its own, with the
//! test [`child`] as its main function.

use pcvm::chardev::Chardev;
use pcvm::config::CharSpec;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Signal;
use rustix::termios::{LocalModes, Termios, tcgetattr};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const MODE: &str = "PCVM_TERMINAL_TEST";

/// Not a test by itself: what the other tests start.
#[test]
fn child() {
    let Ok(mode) = std::env::var(MODE) else { return };
    let device = Chardev::open(&CharSpec::Stdio).unwrap();
    device.write(b"<ready>");
    match mode.as_str() {
        "echo" => loop {
            if let Some(fd) = device.input_fd() {
                poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).unwrap();
            }
            let input = device.read_input();
            device.write(&input.bytes);
            if input.quit || input.closed {
                device.write(if input.quit { b"<quit>" } else { b"<closed>" });
                drop(device);
                std::process::exit(0);
            }
        },
        "flood" => {
            for n in 0..200_000 {
                device.write(format!("{n}\n").as_bytes());
            }
            drop(device);
            std::process::exit(0);
        }
        // Nothing is dropped.
        "exit" => std::process::exit(3),
        "panic" => panic!("as asked"),
        "abort" => std::process::abort(),
        "wait" => loop {
            std::thread::sleep(Duration::from_secs(60));
        },
        other => panic!("{other}"),
    }
}

fn start(mode: &str, stdin: impl Into<Stdio>, stdout: impl Into<Stdio>) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(MODE, mode)
        .stdin(stdin)
        .stdout(stdout)
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

struct Terminal {
    ours: File,
    theirs: OwnedFd,
    seen: Vec<u8>,
}

impl Terminal {
    fn new() -> Self {
        use rustix::fs::{Mode, OFlags};
        use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = rustix::fs::open(name, flags, Mode::empty()).unwrap();
        Self { ours: ours.into(), theirs, seen: Vec::new() }
    }

    fn settings(&self) -> Termios {
        tcgetattr(&self.theirs).unwrap()
    }

    fn start(&self, mode: &str) -> Child {
        start(mode, self.theirs.try_clone().unwrap(), self.theirs.try_clone().unwrap())
    }

    /// Reads until `text` has appeared.
    fn expect(&mut self, text: &[u8]) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut part = [0; 4096];
        while !self.seen.windows(text.len()).any(|window| window == text) {
            let left = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
            if poll(&mut [PollFd::new(&self.ours, PollFlags::IN)], Some(&left)).unwrap() > 0 {
                let count = self.ours.read(&mut part).unwrap();
                self.seen.extend_from_slice(&part[..count]);
            }
            assert!(Instant::now() < deadline, "{:?}", String::from_utf8_lossy(&self.seen));
        }
    }
}

fn same(a: &Termios, b: &Termios) -> bool {
    (a.input_modes, a.output_modes, a.control_modes, a.local_modes)
        == (b.input_modes, b.output_modes, b.control_modes, b.local_modes)
}

#[test]
fn the_terminal_is_raw_and_is_given_back_on_every_way_out() {
    for mode in ["exit", "panic", "abort"] {
        let mut terminal = Terminal::new();
        let before = terminal.settings();
        let mut child = terminal.start(mode);
        terminal.expect(b"<ready>");
        assert!(!child.wait().unwrap().success());
        assert!(same(&terminal.settings(), &before), "{mode}");
    }
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut terminal = Terminal::new();
        let before = terminal.settings();
        let mut child = terminal.start("wait");
        terminal.expect(b"<ready>");
        let raw = LocalModes::ICANON | LocalModes::ISIG | LocalModes::ECHO;
        assert!(!terminal.settings().local_modes.intersects(raw));
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(signal.as_raw()));
        assert!(same(&terminal.settings(), &before), "{signal:?}");
    }
}

#[test]
fn keys_reach_the_guest_and_the_escape_ends_the_machine() {
    let mut terminal = Terminal::new();
    let before = terminal.settings();
    let mut child = terminal.start("echo");
    terminal.expect(b"<ready>");
    terminal.ours.write_all(b"abc\x03\x04\x01\x01\x1adef").unwrap();
    terminal.expect(b"abc\x03\x04\x01\x1adef");
    terminal.ours.write_all(b"\x01").unwrap();
    std::thread::sleep(Duration::from_millis(20));
    terminal.ours.write_all(b"x").unwrap();
    terminal.expect(b"<quit>");
    assert!(child.wait().unwrap().success());
    assert!(same(&terminal.settings(), &before));
}

/// A processor that halts for ever, as firmware.
fn halted() -> tempfile::NamedTempFile {
    let mut image = vec![0; 0x1_0000];
    // hlt; jmp to it.
    image[0xfff0..0xfff3].copy_from_slice(&[0xf4, 0xeb, 0xfd]);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&image).unwrap();
    file
}

#[test]
fn software_a_guest_that_reads_nothing_does_not_hide_the_escape() {
    pcvm_test_host::require_kvm();
    let mut terminal = Terminal::new();
    let firmware = halted();
    let mut machine = Command::new(env!("CARGO_BIN_EXE_pcvm"))
        .args(["run", "--memory", "16M", "--serial", "stdio", "--display", "none", "--firmware"])
        .arg(firmware.path())
        .stdin(terminal.theirs.try_clone().unwrap())
        .stdout(terminal.theirs.try_clone().unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while terminal.settings().local_modes.contains(LocalModes::ICANON) {
        assert!(Instant::now() < deadline, "no raw mode");
        std::thread::sleep(Duration::from_millis(10));
    }
    // More than the port's queue holds.
    for _ in 0..20 {
        terminal.ours.write_all(&[b'a'; 1000]).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    terminal.ours.write_all(b"\x01x").unwrap();
    let status = loop {
        if let Some(status) = machine.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            let _ = machine.kill();
            panic!("Ctrl-A x was not seen");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(status.success());
}

fn all_output(mut child: Child) -> Vec<u8> {
    let mut all = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut all).unwrap();
    assert!(child.wait().unwrap().success());
    all
}

#[test]
fn without_a_terminal_every_byte_passes_and_the_end_of_input_is_only_that() {
    let bytes: Vec<u8> = (0..=255).chain(*b"\x01x").collect();
    let expect = [&b"<ready>"[..], &bytes, b"<closed>"].concat();
    let ends_well = |out: &[u8]| out.ends_with(&expect);

    let mut child = start("echo", Stdio::piped(), Stdio::piped());
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    assert!(ends_well(&all_output(child)), "a pipe");

    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    file.rewind().unwrap();
    assert!(ends_well(&all_output(start("echo", file, Stdio::piped()))), "a file, which cannot be watched");

    let out = all_output(start("echo", Stdio::null(), Stdio::piped()));
    assert!(out.ends_with(b"<ready><closed>"), "nothing");
}

#[test]
fn a_reader_that_closes_its_end_does_not_kill_the_machine() {
    let mut child = start("flood", Stdio::null(), Stdio::piped());
    let mut stdout = child.stdout.take().unwrap();
    // Until the test harness in the child has said what it has to: it would not survive a closed pipe itself.
    let mut seen = Vec::new();
    while !seen.ends_with(b"<ready>") {
        let mut byte = [0];
        stdout.read_exact(&mut byte).unwrap();
        seen.extend(byte);
    }
    drop(stdout);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_log_through_a_slow_pipe_or_to_a_file_is_whole() {
    let expect: String = (0..200_000).map(|n| format!("{n}\n")).collect();
    let mut child = start("flood", Stdio::null(), Stdio::piped());
    let mut stdout = child.stdout.take().unwrap();
    // Longer than it takes to fill the pipe and the queue.
    std::thread::sleep(Duration::from_millis(500));
    let mut all = Vec::new();
    stdout.read_to_end(&mut all).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(all.ends_with(expect.as_bytes()));

    let log = tempfile::NamedTempFile::new().unwrap();
    assert!(start("flood", Stdio::null(), log.reopen().unwrap()).wait().unwrap().success());
    assert!(std::fs::read(log.path()).unwrap().ends_with(expect.as_bytes()));
}
