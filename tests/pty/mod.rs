//! Pseudo-terminals, for tests of programs on a terminal.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of this module")]

use pcvm_test_host::wait_until;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, tcgetattr};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

pub struct Pty {
    /// The end of the terminal emulator.
    pub controller: File,
    /// The end of the program.
    pub terminal: OwnedFd,
}

impl Pty {
    pub fn new() -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        unlockpt(&controller).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = rustix::fs::open(ptsname(&controller, Vec::new()).unwrap(), flags, Mode::empty()).unwrap();
        Self { controller: controller.into(), terminal }
    }

    /// The program's end as a standard stream.
    pub fn stdio(&self) -> Stdio {
        self.terminal.try_clone().unwrap().into()
    }

    pub fn settings(&self) -> Termios {
        tcgetattr(&self.terminal).unwrap()
    }

    /// Whether the program receives every key at once, without echo and signals.
    pub fn is_raw(&self) -> bool {
        !self.settings().local_modes.intersects(LocalModes::ICANON | LocalModes::ISIG | LocalModes::ECHO)
    }

    /// Reads what the program has written; empty if it writes nothing within `limit`, which is under a second.
    pub fn read(&mut self, limit: Duration) -> Vec<u8> {
        let limit = Timespec { tv_sec: 0, tv_nsec: limit.as_nanos() as i64 };
        if poll(&mut [PollFd::new(&self.controller, PollFlags::IN)], Some(&limit)).unwrap() == 0 {
            return Vec::new();
        }
        let mut bytes = vec![0; 4096];
        let count = self.controller.read(&mut bytes).unwrap();
        bytes.truncate(count);
        bytes
    }

    /// Waits until the program has read everything that was typed.
    #[track_caller]
    pub fn wait_until_read(&self) {
        wait_until("the program to read its terminal", || rustix::io::ioctl_fionread(&self.terminal).unwrap() == 0);
    }
}

/// Whether two terminals have the same modes.
pub fn same_modes(a: &Termios, b: &Termios) -> bool {
    (a.input_modes, a.output_modes, a.control_modes, a.local_modes)
        == (b.input_modes, b.output_modes, b.control_modes, b.local_modes)
}
