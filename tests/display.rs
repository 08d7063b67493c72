//! `--display terminal` on a pseudo-terminal, whose contents somebody else's terminal emulator (the crate `vt100`) tells.

mod echo;

use echo::{BOOT_SECTOR, GRAPHICS_SECTOR, Machine, pcvm};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Our own BIOS, which makes characters of numbers that are typed with Alt.
const OURS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/firmware/prebuilt/bios.bin");

struct Terminal {
    ours: File,
    theirs: OwnedFd,
    emulator: vt100::Parser,
    /// Bytes that came.
    count: usize,
}

impl Terminal {
    fn new(columns: u16, rows: u16) -> Self {
        use rustix::fs::{Mode, OFlags};
        use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        unlockpt(&ours).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = rustix::fs::open(ptsname(&ours, Vec::new()).unwrap(), flags, Mode::empty()).unwrap();
        let emulator = vt100::Parser::new(NonZero::new(rows).unwrap(), NonZero::new(columns).unwrap(), 0);
        let mut terminal = Self { ours: ours.into(), theirs, emulator, count: 0 };
        terminal.resize(columns, rows);
        terminal
    }

    fn resize(&mut self, columns: u16, rows: u16) {
        let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.theirs, size).unwrap();
        self.emulator.screen_mut().set_size(NonZero::new(rows).unwrap(), NonZero::new(columns).unwrap());
    }

    fn settings(&self) -> Termios {
        tcgetattr(&self.theirs).unwrap()
    }

    /// pcvm, with this terminal as its own.
    fn pcvm(&self) -> Command {
        let end = || Stdio::from(self.theirs.try_clone().unwrap());
        let mut command = pcvm();
        command.env("TERM", "xterm-256color").stdin(end()).stdout(end()).stderr(end());
        command
    }

    /// A machine that is shown here.
    fn machine(&self, code: &[u8], text: &str, arguments: &[&str]) -> Machine {
        echo::boot(code, text, &[&["--display", "terminal"], arguments].concat(), &mut self.pcvm())
    }

    fn rows(&self) -> Vec<String> {
        let screen = self.emulator.screen();
        let columns = screen.size().1;
        screen.rows(0, columns.into()).map(|row| row.trim_end().to_owned()).collect()
    }

    /// Shows what came; false if nothing did.
    fn read(&mut self, patience: Duration) -> bool {
        let left = Timespec { tv_sec: 0, tv_nsec: patience.as_nanos() as i64 };
        if poll(&mut [PollFd::new(&self.ours, PollFlags::IN)], Some(&left)).unwrap() == 0 {
            return false;
        }
        let mut part = [0; 4096];
        let count = self.ours.read(&mut part).unwrap();
        self.emulator.process(&part[..count]);
        self.count += count;
        true
    }

    #[track_caller]
    fn until(&mut self, mut what: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !what(self) {
            assert!(Instant::now() < deadline, "nothing for a minute\n{}", self.rows().join("\n"));
            self.read(Duration::from_millis(50));
        }
    }

    #[track_caller]
    fn shows(&mut self, text: &str) {
        self.until(|terminal| terminal.rows().iter().any(|row| row.contains(text)));
    }

    fn types(&mut self, bytes: &[u8]) {
        self.ours.write_all(bytes).unwrap();
    }

    /// The machine's end, and nothing left of it in the terminal but what it has said.
    #[track_caller]
    fn ends(&mut self, machine: &mut Machine, before: &Termios) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(60);
        let status = loop {
            self.read(Duration::from_millis(20));
            if let Some(status) = machine.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end\n{}", self.rows().join("\n"));
        };
        while self.read(Duration::from_millis(100)) {}
        let after = self.settings();
        assert_eq!(
            (after.input_modes, after.output_modes, after.local_modes),
            (before.input_modes, before.output_modes, before.local_modes)
        );
        let screen = self.emulator.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
        status
    }
}

#[test]
fn software_the_screen_is_in_the_terminal_and_its_keys_are_the_machines() {
    let mut terminal = Terminal::new(80, 26);
    let before = terminal.settings();
    let mut machine = terminal.machine(BOOT_SECTOR, "Ready", &["--name", "shown", "--vnc-unused", "--firmware", OURS]);
    terminal.shows("Ready");
    assert!(!terminal.settings().local_modes.intersects(LocalModes::ICANON | LocalModes::ISIG | LocalModes::ECHO));
    // What pcvm has to say is below, until somebody types.
    terminal.shows("pcvm: VNC on 127.0.0.1:");
    terminal.types(b"x");
    terminal.shows("shown: text 80 x 25, Ctrl-] for pcvm's keys");
    // Capitals and signs, by code what has no key, Ctrl with a letter, a key that ends what is no key, Alt.
    let typed = "Hello, \"World\"! [~|`^] é";
    terminal.types(typed.as_bytes());
    terminal.types(b"\x10<\x1b[200~>");
    terminal.shows(&format!("►{typed}►<>"));
    let (row, column) = terminal.emulator.screen().cursor_position();
    let line = terminal.rows()[usize::from(row)].clone();
    assert_eq!(line.chars().count(), usize::from(column), "the cursor is where the guest's is: {line}");
    let cell = terminal.emulator.screen().cell(row, column - 1).unwrap();
    assert_eq!((cell.fgcolor(), cell.bgcolor()), (vt100::Color::Idx(7), vt100::Color::Idx(0)));
    // One that is typed costs little more than itself.
    while terminal.read(Duration::from_millis(300)) {}
    let count = terminal.count;
    terminal.types(b"y");
    terminal.shows("<>y");
    while terminal.read(Duration::from_millis(300)) {}
    assert!(terminal.count - count <= 16, "{} bytes for one character", terminal.count - count);
    let count = terminal.count;
    std::thread::sleep(Duration::from_secs(1));
    assert!(!terminal.read(Duration::ZERO) && terminal.count == count, "nothing for nothing");

    // The menu; anything else closes it. The escape twice is one for the guest.
    terminal.types(b"\x1d");
    terminal.shows("q end  d Ctrl-Alt-Del");
    terminal.types(b"z");
    terminal.shows("shown: text");
    terminal.types(b"\x1d\x1d");
    terminal.shows("<>y↔");
    // The three keys: the BIOS begins again.
    terminal.types(b"\x1dd");
    terminal.until(|terminal| !terminal.rows().iter().any(|row| row.contains("<>y")));
    terminal.shows("Ready");
    terminal.types(b"\x1dq");
    assert!(terminal.ends(&mut machine, &before).success());
    assert!(terminal.rows().iter().any(|row| row.starts_with("pcvm: VNC on")), "{:?}", terminal.rows());
}

#[test]
fn software_a_small_terminal_follows_the_cursor_and_a_larger_one_shows_all() {
    let mut terminal = Terminal::new(40, 10);
    let before = terminal.settings();
    let lines: String = (1..=25).map(|n| format!("row {n}\r\n")).collect();
    let mut machine = terminal.machine(BOOT_SECTOR, &lines, &["--name", "small"]);
    terminal.shows("row 25");
    terminal.until(|terminal| terminal.rows()[9].contains("small: text 80 x 25, shown: rows 17-25"));
    assert!(!terminal.rows().iter().any(|row| row == "row 5"));
    terminal.resize(100, 30);
    terminal.until(|terminal| terminal.rows()[29].contains("small: text 80 x 25, Ctrl-]"));
    assert!(terminal.rows().iter().any(|row| row == "row 5"));
    // It ends at a signal as it does at its own.
    let pid = rustix::process::Pid::from_child(&machine.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(terminal.ends(&mut machine, &before).success());
}

#[test]
fn software_graphics_are_half_blocks() {
    let mut terminal = Terminal::new(80, 24);
    let before = terminal.settings();
    let mut machine = terminal.machine(GRAPHICS_SECTOR, "", &["--name", "drawn"]);
    terminal.shows("drawn: graphics 640 x 400, Ctrl-]");
    let colour = |terminal: &Terminal, row| terminal.emulator.screen().cell(row, 40).unwrap().bgcolor();
    let (red, blue) = (vt100::Color::Rgb(170, 0, 0), vt100::Color::Rgb(0, 0, 170));
    terminal.until(|terminal| (colour(terminal, 2), colour(terminal, 20)) == (red, blue));
    terminal.types(b"\x1dq");
    assert!(terminal.ends(&mut machine, &before).success());
}
