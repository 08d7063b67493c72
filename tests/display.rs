//! `--display terminal` on a pseudo-terminal, whose output the terminal emulator `vt100` interprets.

mod echo;
mod pty;

use echo::{BOOT_SECTOR, GRAPHICS_SECTOR, Machine, pcvm};
use pcvm_test_host::{TIME_LIMIT, wait_for};
use pty::{Pty, same_modes};
use rustix::termios::{Termios, Winsize, tcsetwinsize};
use std::io::Write;
use std::num::NonZero;
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// The project's BIOS, which supports Alt with digits on the keypad. (SeaBIOS does not.)
const OURS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/firmware/prebuilt/bios.bin");

struct Terminal {
    pty: Pty,
    emulator: vt100::Parser,
    /// Bytes received.
    count: usize,
}

impl Terminal {
    fn new(columns: u16, rows: u16) -> Self {
        let emulator = vt100::Parser::new(NonZero::new(rows).unwrap(), NonZero::new(columns).unwrap(), 0);
        let mut terminal = Self { pty: Pty::new(), emulator, count: 0 };
        terminal.resize(columns, rows);
        terminal
    }

    fn resize(&mut self, columns: u16, rows: u16) {
        let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.pty.terminal, size).unwrap();
        self.emulator.screen_mut().set_size(NonZero::new(rows).unwrap(), NonZero::new(columns).unwrap());
    }

    /// A command that runs pcvm on this terminal.
    fn pcvm(&self) -> Command {
        let mut command = pcvm();
        command.env("TERM", "xterm-256color");
        command.stdin(self.pty.stdio()).stdout(self.pty.stdio()).stderr(self.pty.stdio());
        command
    }

    /// Starts a VM that is displayed on this terminal.
    fn machine(&self, code: &[u8], text: &str, arguments: &[&str]) -> Machine {
        echo::boot(code, text, &[&["--display", "terminal"], arguments].concat(), &mut self.pcvm())
    }

    fn rows(&self) -> Vec<String> {
        let screen = self.emulator.screen();
        let columns = screen.size().1;
        screen.rows(0, columns.into()).map(|row| row.trim_end().to_owned()).collect()
    }

    /// Interprets output of the next `limit`; false if there is none.
    fn read(&mut self, limit: Duration) -> bool {
        let bytes = self.pty.read(limit);
        self.emulator.process(&bytes);
        self.count += bytes.len();
        !bytes.is_empty()
    }

    /// Interprets output until there has been none for 100 ms.
    fn read_all(&mut self) {
        while self.read(Duration::from_millis(100)) {}
    }

    #[track_caller]
    fn wait_until(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        wait_for(what, TIME_LIMIT, || {
            self.read(Duration::from_millis(50));
            if condition(self) { Ok(()) } else { Err(format!("the screen is\n{}", self.rows().join("\n"))) }
        });
    }

    #[track_caller]
    fn wait_for_text(&mut self, text: &str) {
        self.wait_until(text, |terminal| terminal.rows().iter().any(|row| row.contains(text)));
    }

    fn type_bytes(&mut self, bytes: &[u8]) {
        self.pty.controller.write_all(bytes).unwrap();
    }

    /// Waits until pcvm ends, and checks that the terminal has its modes, its screen and its cursor back.
    #[track_caller]
    fn wait_for_end(&mut self, machine: &mut Machine, before: &Termios) -> ExitStatus {
        let status = wait_for("pcvm to end", TIME_LIMIT, || {
            self.read(Duration::from_millis(20));
            machine.child.try_wait().unwrap().ok_or_else(|| format!("the screen is\n{}", self.rows().join("\n")))
        });
        self.read_all();
        assert!(same_modes(&self.pty.settings(), before));
        let screen = self.emulator.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
        status
    }
}

#[test]
fn software_the_terminal_shows_the_screen_and_its_keys_reach_the_guest() {
    let mut terminal = Terminal::new(80, 26);
    let before = terminal.pty.settings();
    let mut machine = terminal.machine(BOOT_SECTOR, "Ready", &["--name", "shown", "--vnc-unused", "--firmware", OURS]);
    terminal.wait_for_text("Ready");
    assert!(terminal.pty.is_raw());
    // Messages are on the status line until the first key.
    terminal.wait_for_text("pcvm: VNC on 127.0.0.1:");
    terminal.type_bytes(b"x");
    terminal.wait_for_text("shown: text 80 x 25, Ctrl-] for pcvm's keys");
    // Capitals, punctuation and a character without a key (by Alt and its code); then Ctrl-P, and an escape
    // sequence that types nothing (bracketed paste).
    let typed = "Hello, \"World\"! [~|`^] é";
    terminal.type_bytes(typed.as_bytes());
    terminal.type_bytes(b"\x10<\x1b[200~>");
    terminal.wait_for_text(&format!("►{typed}►<>"));
    terminal.read_all();
    let (row, column) = terminal.emulator.screen().cursor_position();
    let line = terminal.rows()[usize::from(row)].clone();
    assert_eq!(line.chars().count(), usize::from(column), "the cursor is not at the guest's position: {line}");
    let cell = terminal.emulator.screen().cell(row, column - 1).unwrap();
    assert_eq!((cell.fgcolor(), cell.bgcolor()), (vt100::Color::Idx(7), vt100::Color::Idx(0)));
    // A new character costs few bytes; an unchanged screen costs none.
    terminal.read_all();
    let count = terminal.count;
    terminal.type_bytes(b"y");
    terminal.wait_for_text("<>y");
    terminal.wait_until("the cursor", |terminal| terminal.emulator.screen().cursor_position() == (row, column + 1));
    terminal.read_all();
    assert!(terminal.count - count <= 16, "{} bytes for one character", terminal.count - count);
    assert!(!terminal.read(Duration::from_millis(900)), "output without a change of the screen");

    // Ctrl-] opens the menu; a key that the menu does not have closes it. Ctrl-] twice types one.
    terminal.type_bytes(b"\x1d");
    terminal.wait_for_text("q end  d Ctrl-Alt-Del");
    terminal.type_bytes(b"z");
    terminal.wait_for_text("shown: text");
    terminal.type_bytes(b"\x1d\x1d");
    terminal.wait_for_text("<>y↔");
    // Ctrl-Alt-Del restarts the BIOS.
    terminal.type_bytes(b"\x1dd");
    terminal
        .wait_until("the BIOS to clear the screen", |terminal| !terminal.rows().iter().any(|row| row.contains("<>y")));
    terminal.wait_for_text("Ready");
    terminal.type_bytes(b"\x1dq");
    assert!(terminal.wait_for_end(&mut machine, &before).success());
    assert!(terminal.rows().iter().any(|row| row.starts_with("pcvm: VNC on")), "{:?}", terminal.rows());
}

#[test]
fn software_a_small_terminal_shows_the_rows_at_the_cursor_and_a_large_one_shows_all() {
    let mut terminal = Terminal::new(40, 10);
    let before = terminal.pty.settings();
    let lines: String = (1..=25).map(|n| format!("row {n}\r\n")).collect();
    let mut machine = terminal.machine(BOOT_SECTOR, &lines, &["--name", "small"]);
    terminal.wait_for_text("row 25");
    let status = |text: &'static str| move |terminal: &Terminal| terminal.rows().last().unwrap().contains(text);
    terminal.wait_until("a status line", status("small: text 80 x 25, shown: rows 17-25"));
    assert!(!terminal.rows().iter().any(|row| row == "row 5"));
    terminal.resize(100, 30);
    terminal.wait_until("another status line", status("small: text 80 x 25, Ctrl-]"));
    assert!(terminal.rows().iter().any(|row| row == "row 5"));
    // SIGTERM ends pcvm like its menu.
    let pid = rustix::process::Pid::from_child(&machine.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(terminal.wait_for_end(&mut machine, &before).success());
}

#[test]
fn software_graphics_modes_are_shown_as_half_blocks() {
    let mut terminal = Terminal::new(80, 24);
    let before = terminal.pty.settings();
    let mut machine = terminal.machine(GRAPHICS_SECTOR, "", &["--name", "drawn"]);
    terminal.wait_for_text("drawn: graphics 640 x 400, Ctrl-]");
    let colour = |terminal: &Terminal, row| terminal.emulator.screen().cell(row, 40).unwrap().bgcolor();
    let (red, blue) = (vt100::Color::Rgb(170, 0, 0), vt100::Color::Rgb(0, 0, 170));
    terminal.wait_until("both colours", |terminal| (colour(terminal, 2), colour(terminal, 20)) == (red, blue));
    terminal.type_bytes(b"\x1dq");
    assert!(terminal.wait_for_end(&mut machine, &before).success());
}
