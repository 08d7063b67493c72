//! `--serial stdio` on real terminals and pipes. Each test starts this test program again as a child process, which runs
//! only the test [`child`].

mod pty;

use pcvm::chardev::Chardev;
use pcvm::config::CharSpec;
use pcvm_test_host::{Process, TIME_LIMIT, wait_for, wait_until};
use pty::{Pty, same_modes};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::ioctl_fionread;
use rustix::process::Signal;
use std::io::{Read, Seek, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const MODE: &str = "PCVM_TERMINAL_TEST";

/// Main function of the processes that the other tests start; without [`MODE`] it does nothing.
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
        // These end without running `Chardev`'s destructor.
        "exit" => std::process::exit(3),
        "panic" => panic!("mode panic"),
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
    pty: Pty,
    /// Everything that the program has written.
    output: Vec<u8>,
}

impl Terminal {
    fn new() -> Self {
        Self { pty: Pty::new(), output: Vec::new() }
    }

    fn start(&self, mode: &str) -> Child {
        start(mode, self.pty.stdio(), self.pty.stdio())
    }

    /// Waits until the program has written `text`.
    #[track_caller]
    fn expect(&mut self, text: &[u8]) {
        wait_for(&format!("{:?}", String::from_utf8_lossy(text)), TIME_LIMIT, || {
            self.output.extend(self.pty.read(Duration::from_millis(100)));
            let written = self.output.windows(text.len()).any(|window| window == text);
            if written { Ok(()) } else { Err(String::from_utf8_lossy(&self.output).into_owned()) }
        });
    }
}

#[test]
fn a_terminal_is_raw_while_pcvm_runs_and_restored_however_it_ends() {
    for mode in ["exit", "panic", "abort"] {
        let mut terminal = Terminal::new();
        let before = terminal.pty.settings();
        let mut child = terminal.start(mode);
        terminal.expect(b"<ready>");
        assert!(!child.wait().unwrap().success());
        assert!(same_modes(&terminal.pty.settings(), &before), "{mode}");
    }
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut terminal = Terminal::new();
        let before = terminal.pty.settings();
        let mut child = terminal.start("wait");
        terminal.expect(b"<ready>");
        assert!(terminal.pty.is_raw());
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(signal.as_raw()));
        assert!(same_modes(&terminal.pty.settings(), &before), "{signal:?}");
    }
}

#[test]
fn keys_reach_the_guest_and_ctrl_a_x_quits() {
    let mut terminal = Terminal::new();
    let before = terminal.pty.settings();
    let mut child = terminal.start("echo");
    terminal.expect(b"<ready>");
    terminal.pty.controller.write_all(b"abc\x03\x04\x01\x01\x1adef").unwrap();
    terminal.expect(b"abc\x03\x04\x01\x1adef");
    terminal.pty.controller.write_all(b"\x01").unwrap();
    terminal.pty.wait_until_read();
    terminal.pty.controller.write_all(b"x").unwrap();
    terminal.expect(b"<quit>");
    assert!(child.wait().unwrap().success());
    assert!(same_modes(&terminal.pty.settings(), &before));
}

/// Firmware that halts the vCPU for good.
fn halted() -> tempfile::NamedTempFile {
    let mut image = vec![0; 0x1_0000];
    // hlt; jmp $-1
    image[0xfff0..0xfff3].copy_from_slice(&[0xf4, 0xeb, 0xfd]);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&image).unwrap();
    file
}

#[test]
fn software_ctrl_a_x_quits_while_the_guest_reads_no_input() {
    pcvm_test_host::require_kvm();
    let mut terminal = Terminal::new();
    let firmware = halted();
    let mut machine = Process::start(
        Command::new(env!("CARGO_BIN_EXE_pcvm"))
            .args(["run", "--memory", "16M", "--serial", "stdio", "--display", "none", "--firmware"])
            .arg(firmware.path())
            .stdin(terminal.pty.stdio())
            .stdout(terminal.pty.stdio())
            .stderr(Stdio::null()),
    );
    wait_until("raw mode", || terminal.pty.is_raw());
    // More than the port's queue holds.
    for _ in 0..20 {
        terminal.pty.controller.write_all(&[b'a'; 1000]).unwrap();
        terminal.pty.wait_until_read();
    }
    terminal.pty.controller.write_all(b"\x01x").unwrap();
    let status = wait_for("pcvm to end", TIME_LIMIT, || machine.try_wait().unwrap().ok_or("it runs"));
    assert!(status.success());
}

fn all_output(mut child: Child) -> Vec<u8> {
    let mut all = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut all).unwrap();
    assert!(child.wait().unwrap().success());
    all
}

#[test]
fn without_a_terminal_every_byte_passes_and_end_of_input_does_not_quit() {
    let bytes: Vec<u8> = (0..=255).chain(*b"\x01x").collect();
    let expect = [&b"<ready>"[..], &bytes, b"<closed>"].concat();
    let ends_well = |out: &[u8]| out.ends_with(&expect);

    let mut child = start("echo", Stdio::piped(), Stdio::piped());
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    assert!(ends_well(&all_output(child)), "a pipe");

    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    file.rewind().unwrap();
    assert!(ends_well(&all_output(start("echo", file, Stdio::piped()))), "a file, which epoll refuses");

    let out = all_output(start("echo", Stdio::null(), Stdio::piped()));
    assert!(out.ends_with(b"<ready><closed>"), "/dev/null");
}

#[test]
fn a_reader_that_closes_its_end_does_not_kill_pcvm() {
    let mut child = start("flood", Stdio::null(), Stdio::piped());
    let mut stdout = child.stdout.take().unwrap();
    // The test harness in the child would not survive a closed pipe, so it must have printed its lines.
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
fn a_log_through_a_slow_pipe_or_to_a_file_is_complete() {
    let expect: String = (0..200_000).map(|n| format!("{n}\n")).collect();
    let mut child = start("flood", Stdio::null(), Stdio::piped());
    let mut stdout = child.stdout.take().unwrap();
    // A reader slower than the writer: it waits until most of the pipe, which holds 64 KiB, is full.
    let mut all = vec![0; 256 << 10];
    for part in all.chunks_mut(4096) {
        wait_until("the pipe to fill", || ioctl_fionread(&stdout).unwrap() >= 48 << 10);
        stdout.read_exact(part).unwrap();
    }
    stdout.read_to_end(&mut all).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(all.ends_with(expect.as_bytes()));

    let log = tempfile::NamedTempFile::new().unwrap();
    assert!(start("flood", Stdio::null(), log.reopen().unwrap()).wait().unwrap().success());
    assert!(std::fs::read(log.path()).unwrap().ends_with(expect.as_bytes()));
}
