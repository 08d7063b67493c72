//! What pcvm says on standard error while the terminal shows the screen: it goes through a pipe to us, is shown for a
//! while, and is told again when the terminal is given back.

use rustix::fs::OFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long a message is shown, if nobody types.
const SHOWN: Duration = Duration::from_secs(10);
/// Messages that are kept, and bytes of one.
const KEPT: usize = 100;
const LENGTH: usize = 1000;

/// Where messages go.
#[derive(Debug, Default)]
pub struct Messages {
    pipe: Option<OwnedFd>,
    /// The beginning of a line.
    partial: Vec<u8>,
    kept: VecDeque<String>,
    /// The last one is shown until then.
    until: Option<Instant>,
}

impl Messages {
    /// From now on standard error is ours, unless it goes somewhere else than to a terminal.
    pub fn open() -> io::Result<Self> {
        let mut messages = Self::default();
        if !rustix::termios::isatty(stdio::stderr()) {
            return Ok(messages);
        }
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        // Nobody waits until we have read.
        for end in [&reader, &writer] {
            rustix::fs::fcntl_setfl(end, OFlags::NONBLOCK)?;
        }
        crate::tty::divert_stderr(&writer, &reader)?;
        messages.pipe = Some(reader);
        Ok(messages)
    }

    /// What to watch for [`Self::read`].
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Takes what was said.
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
                self.kept.push_back(line);
                if self.kept.len() > KEPT {
                    self.kept.pop_front();
                }
                self.until = Some(now + SHOWN);
            } else if self.partial.len() < LENGTH {
                self.partial.push(byte);
            }
        }
    }

    /// What to show now.
    pub fn current(&self, now: Instant) -> Option<&str> {
        self.until.filter(|&until| now < until)?;
        self.kept.back().map(String::as_str)
    }

    /// Somebody has typed: what is shown was seen.
    pub fn seen(&mut self) {
        self.until = None;
    }
}

impl Drop for Messages {
    /// After the terminal was given back.
    fn drop(&mut self) {
        let mut stderr = io::stderr();
        for line in &self.kept {
            let _ = writeln!(stderr, "{line}");
        }
        let _ = stderr.write_all(&self.partial);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_message_is_shown_for_a_while() {
        let now = Instant::now();
        let mut messages = Messages::default();
        messages.take(b"pcvm: VNC on", now);
        assert_eq!(messages.current(now), None);
        messages.take(b" 127.0.0.1\nnext\n", now);
        assert_eq!(messages.current(now), Some("next"));
        assert_eq!(messages.current(now + SHOWN), None);
        messages.take(&vec![b'x'; 5000], now);
        messages.take(b"\n", now);
        assert_eq!(messages.current(now).map(str::len), Some(LENGTH));
        messages.seen();
        assert_eq!(messages.current(now), None);
        for n in 0..300 {
            messages.take(format!("{n}\n").as_bytes(), now);
        }
        assert_eq!((messages.kept.len(), messages.kept[0].as_str()), (KEPT, "200"));
        messages.kept.clear();
    }
}
