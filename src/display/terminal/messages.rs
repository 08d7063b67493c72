//! pcvm's standard error while the terminal shows the guest's screen: a pipe carries it to the display, which shows each
//! line for 10 s and prints all lines again after the terminal is restored.

use rustix::fs::OFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long a message is shown; a key press ends it.
const SHOWN_FOR: Duration = Duration::from_secs(10);
/// Lines stored for the end; older ones are dropped.
const LINES_MAX: usize = 100;
/// Bytes of a line; the rest is cut off.
const LINE_LENGTH_MAX: usize = 1000;

/// The diverted standard error and its recent lines.
#[derive(Debug, Default)]
pub struct Messages {
    pipe: Option<OwnedFd>,
    /// A line without its line feed yet.
    partial: Vec<u8>,
    lines: VecDeque<String>,
    /// The last line is shown until this time.
    shown_until: Option<Instant>,
}

impl Messages {
    /// Diverts standard error into a pipe if it is a terminal.
    pub fn open() -> io::Result<Self> {
        let mut messages = Self::default();
        if !rustix::termios::isatty(stdio::stderr()) {
            return Ok(messages);
        }
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        // A thread that writes to standard error must not block on a full pipe.
        for end in [&reader, &writer] {
            rustix::fs::fcntl_setfl(end, OFlags::NONBLOCK)?;
        }
        crate::tty::divert_stderr(&writer, &reader)?;
        messages.pipe = Some(reader);
        Ok(messages)
    }

    /// The descriptor to poll before [`Self::read`].
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Reads the pipe until it is empty.
    pub fn read(&mut self, now: Instant) {
        let mut buffer = [0; 4096];
        while let Some(pipe) = &self.pipe {
            let Ok(count @ 1..) = rustix::io::read(pipe, &mut buffer) else { return };
            self.take(buffer.get(..count).unwrap_or_default(), now);
        }
    }

    fn take(&mut self, bytes: &[u8], now: Instant) {
        for &byte in bytes {
            if byte == b'\n' {
                let line = String::from_utf8_lossy(&std::mem::take(&mut self.partial)).into_owned();
                self.lines.push_back(line);
                if self.lines.len() > LINES_MAX {
                    self.lines.pop_front();
                }
                self.shown_until = Some(now + SHOWN_FOR);
            } else if self.partial.len() < LINE_LENGTH_MAX {
                self.partial.push(byte);
            }
        }
    }

    /// The line to show at `now`.
    pub fn current(&self, now: Instant) -> Option<&str> {
        self.shown_until.filter(|&until| now < until)?;
        self.lines.back().map(String::as_str)
    }

    /// Stops showing the line.
    pub fn dismiss(&mut self) {
        self.shown_until = None;
    }
}

impl Drop for Messages {
    /// Prints the lines again; the terminal must have been restored.
    fn drop(&mut self) {
        let mut stderr = io::stderr();
        for line in &self.lines {
            let _ = writeln!(stderr, "{line}");
        }
        let _ = stderr.write_all(&self.partial);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_complete_line_is_shown_for_10_seconds_or_until_dismissed() {
        let now = Instant::now();
        let mut messages = Messages::default();
        messages.take(b"pcvm: VNC on", now);
        assert_eq!(messages.current(now), None);
        messages.take(b" 127.0.0.1\nnext\n", now);
        assert_eq!(messages.current(now), Some("next"));
        assert_eq!(messages.current(now + SHOWN_FOR), None);
        messages.take(&vec![b'x'; 5000], now);
        messages.take(b"\n", now);
        assert_eq!(messages.current(now).map(str::len), Some(LINE_LENGTH_MAX));
        messages.dismiss();
        assert_eq!(messages.current(now), None);
        for n in 0..300 {
            messages.take(format!("{n}\n").as_bytes(), now);
        }
        assert_eq!((messages.lines.len(), messages.lines[0].as_str()), (LINES_MAX, "200"));
        messages.lines.clear();
    }
}
