//! Host character devices: what a serial port is plugged into.
//!
//! - `stdio`: the terminal or pipes that pcvm was started with. A terminal on standard input is put into raw mode for
//!   as long as the device lives, and Ctrl-A is an escape (see [`Escape`]); anything else is taken as it comes, all
//!   256 values of a byte.
//! - `pty`: a new pseudo-terminal; its name is told on standard error. What nobody reads is kept to the last 64 KiB.
//! - `file`: truncated, written at once.
//! - `null`.
//!
//! Deliberately missing: sockets.

mod escape;
mod input;
mod output;
#[cfg(test)]
mod tests;

pub use escape::{Escape, EscapeCommand};

use crate::config::CharSpec;
use crate::error::host_error;
use crate::tty::{self, RawMode};
use input::Source;
use output::{Output, Patience};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// A character device cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum CharError {
    /// A file.
    #[error("{}: {}", path.display(), host_error(why))]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// A directory.
    #[error("{}: is a directory", .0.display())]
    Directory(PathBuf),
    /// A pseudo-terminal.
    #[error("cannot open a pseudo-terminal: {}", host_error(.0))]
    Pty(io::Error),
    /// Standard input or output.
    #[error("cannot use standard input and output: {}", host_error(.0))]
    Stdio(io::Error),
}

/// What came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// For the guest; at most 4096.
    pub bytes: Vec<u8>,
    /// The person at the terminal ends the machine (Ctrl-A x).
    pub quit: bool,
    /// Nothing will ever come again: the descriptor is to be watched no longer.
    pub closed: bool,
}

/// An open character device. Usable from any thread.
#[derive(Debug)]
pub struct Chardev {
    output: Output,
    source: Option<Source>,
    escape: Option<Mutex<Escape>>,
    closed: AtomicBool,
    /// Where the other end of a pty is.
    name: Option<String>,
    /// The other end of our pty, held so that its settings and what is in it stay while nobody else has it.
    _peer: Option<OwnedFd>,
    // Last: the terminal is given back when everything has been written.
    _raw: Option<RawMode>,
}

impl Chardev {
    /// Opens a character device. For `stdio` on a terminal, raw mode begins here and ends when the device is
    /// dropped, when the process exits, or when a signal ends it.
    pub fn open(spec: &CharSpec) -> Result<Self, CharError> {
        match spec {
            CharSpec::Null => Ok(Self::with(Output::null(), None)),
            CharSpec::File(path) => Ok(Self::with(Output::file(open_file(path)?), None)),
            CharSpec::Pty => Self::pty().map_err(CharError::Pty),
            CharSpec::Stdio => Self::stdio().map_err(CharError::Stdio),
        }
    }

    fn with(output: Output, source: Option<Source>) -> Self {
        Self { output, source, escape: None, closed: AtomicBool::new(false), name: None, _peer: None, _raw: None }
    }

    fn stdio() -> io::Result<Self> {
        let terminal = rustix::termios::isatty(rustix::stdio::stdin());
        let output = Output::stdout()?;
        let source = Source::stdin()?;
        let mut device = Self::with(output, source);
        if terminal {
            device.escape = Some(Mutex::default());
            device._raw = Some(RawMode::enter()?);
        }
        Ok(device)
    }

    fn pty() -> io::Result<Self> {
        let (controller, peer, name) = tty::open_pty()?;
        eprintln!("pcvm: serial on {name}");
        let source = Source::descriptor(controller.try_clone()?);
        let mut device = Self::with(Output::queued(controller, Patience::pty()), Some(source));
        device._peer = Some(peer);
        device.name = Some(name);
        Ok(device)
    }

    /// The name of the terminal that a person attaches to, of a pty.
    pub fn pty_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Writes bytes, in order. A reader that is slow is waited for as long as it reads at all; one that has stopped
    /// reading loses bytes after some seconds, with one warning. One that went away makes this do nothing.
    pub fn write(&self, bytes: &[u8]) {
        self.output.write(bytes);
    }

    /// Waits until everything has been written, or nothing has been for some time.
    pub fn flush(&self) {
        self.output.flush();
    }

    /// What to watch (level-triggered) for [`Self::read_input`]; none where nothing ever comes in.
    pub fn input_fd(&self) -> Option<BorrowedFd<'_>> {
        self.source.as_ref().filter(|_| !self.closed.load(Ordering::Relaxed)).map(AsFd::as_fd)
    }

    /// Whether a person types here, whose escapes count even when the guest takes nothing: it is to be read always,
    /// and what there is no room for is lost, as on a line without handshake.
    pub fn is_terminal(&self) -> bool {
        self.escape.is_some()
    }

    /// Takes what has come in, without waiting.
    pub fn read_input(&self) -> Input {
        let mut input = Input::default();
        let Some(source) = self.source.as_ref().filter(|_| !self.closed.load(Ordering::Relaxed)) else {
            input.closed = true;
            return input;
        };
        let mut buffer = [0; 4096];
        match source.read(&mut buffer) {
            input::Got::Nothing => {}
            input::Got::End => {
                self.closed.store(true, Ordering::Relaxed);
                input.closed = true;
            }
            input::Got::Bytes(count) => {
                let bytes = buffer.get(..count).unwrap_or_default();
                match &self.escape {
                    None => input.bytes.extend_from_slice(bytes),
                    Some(escape) => {
                        let mut escape = escape.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        for command in escape.feed(bytes, &mut input.bytes) {
                            match command {
                                EscapeCommand::Quit => input.quit = true,
                                EscapeCommand::Help => eprint!("{}", escape::HELP),
                            }
                        }
                    }
                }
            }
        }
        input
    }
}

fn open_file(path: &PathBuf) -> Result<File, CharError> {
    if path.is_dir() {
        return Err(CharError::Directory(path.clone()));
    }
    File::create(path).map_err(|why| CharError::File { path: path.clone(), why })
}
