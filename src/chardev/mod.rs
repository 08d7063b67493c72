//! Character device backends for serial ports: stdio, pty, file, null.
//!
//! - `stdio`: standard input and output. A terminal on standard input is in raw mode for the device's lifetime, and Ctrl-A
//!   is an escape prefix (see [`EscapeParser`]); a pipe or file passes all 256 byte values.
//! - `pty`: a new pseudo-terminal, whose name is printed on standard error. The last 64 KiB of output that no program reads
//!   are queued for the next reader.
//! - `file`: truncated, written without buffering.
//! - `null`: discards output and has no input.
//!
//! Deliberately missing: sockets.

mod escape;
mod input;
mod output;
#[cfg(test)]
mod tests;

pub use escape::{EscapeCommand, EscapeParser};

use crate::config::CharSpec;
use crate::error::host_error;
use crate::tty::{self, RawMode};
use input::{InputSource, ReadResult};
use output::{Output, StallPolicy};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why a character device cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum CharError {
    /// The file cannot be created.
    #[error("{}: {}", path.display(), host_error(why))]
    File {
        /// The file.
        path: PathBuf,
        /// The host's error.
        why: io::Error,
    },
    /// The file is a directory.
    #[error("{}: is a directory", .0.display())]
    Directory(PathBuf),
    /// The host gave no pseudo-terminal.
    #[error("cannot open a pseudo-terminal: {}", host_error(.0))]
    Pty(io::Error),
    /// Standard input or output is unusable.
    #[error("cannot use standard input and output: {}", host_error(.0))]
    Stdio(io::Error),
}

/// Result of [`Chardev::read_input`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// Bytes for the guest, at most 4096.
    pub bytes: Vec<u8>,
    /// The user typed Ctrl-A x: the machine must end.
    pub quit: bool,
    /// End of file: stop polling the descriptor.
    pub closed: bool,
}

/// An open character device. Usable from any thread.
#[derive(Debug)]
pub struct Chardev {
    output: Output,
    source: Option<InputSource>,
    escape: Option<Mutex<EscapeParser>>,
    closed: AtomicBool,
    /// Name of a pty's peer.
    name: Option<String>,
    /// The pty's peer, held open: without an open peer, Linux drops the buffered output and the settings, and reads of the
    /// controller fail with EIO.
    _peer: Option<OwnedFd>,
    // Last: the terminal is restored after all output is written.
    _raw: Option<RawMode>,
}

impl Chardev {
    /// Opens a character device. For `stdio` on a terminal this enters raw mode, which ends when the device is dropped,
    /// when the process exits, or when a signal ends it.
    pub fn open(spec: &CharSpec) -> Result<Self, CharError> {
        match spec {
            CharSpec::Null => Ok(Self::with(Output::null(), None)),
            CharSpec::File(path) => Ok(Self::with(Output::file(open_file(path)?), None)),
            CharSpec::Pty => Self::pty().map_err(CharError::Pty),
            CharSpec::Stdio => Self::stdio().map_err(CharError::Stdio),
        }
    }

    fn with(output: Output, source: Option<InputSource>) -> Self {
        Self { output, source, escape: None, closed: AtomicBool::new(false), name: None, _peer: None, _raw: None }
    }

    fn stdio() -> io::Result<Self> {
        let terminal = rustix::termios::isatty(rustix::stdio::stdin());
        let output = Output::stdout()?;
        let source = InputSource::stdin()?;
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
        let source = InputSource::owned(controller.try_clone()?);
        let mut device = Self::with(Output::queued(controller, StallPolicy::pty()), Some(source));
        device._peer = Some(peer);
        device.name = Some(name);
        Ok(device)
    }

    /// The name of the pty to attach to, for instance /dev/pts/3; `None` for other backends.
    pub fn pty_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Writes bytes, in order. Blocks while the queue is full and the reader makes progress. After the backend's
    /// `StallPolicy` time without progress bytes are lost. If the reader closed its end, this does nothing.
    pub fn write(&self, bytes: &[u8]) {
        self.output.write(bytes);
    }

    /// Waits until all output is written, or the reader makes no progress for the backend's `StallPolicy` time.
    pub fn flush(&self) {
        self.output.flush();
    }

    /// The descriptor to poll (level-triggered) before [`Self::read_input`]; `None` for a backend without input.
    pub fn input_fd(&self) -> Option<BorrowedFd<'_>> {
        self.source.as_ref().filter(|_| !self.closed.load(Ordering::Relaxed)).map(AsFd::as_fd)
    }

    /// Whether the input is a terminal. Read it even if the guest's receiver is full, so that Ctrl-A x always works; input
    /// without room is lost, as on a serial line without handshake.
    pub fn is_terminal(&self) -> bool {
        self.escape.is_some()
    }

    /// Reads the available input without blocking.
    pub fn read_input(&self) -> Input {
        let mut input = Input::default();
        let Some(source) = self.source.as_ref().filter(|_| !self.closed.load(Ordering::Relaxed)) else {
            input.closed = true;
            return input;
        };
        let mut buffer = [0; 4096];
        match source.read(&mut buffer) {
            ReadResult::WouldBlock => {}
            ReadResult::End => {
                self.closed.store(true, Ordering::Relaxed);
                input.closed = true;
            }
            ReadResult::Bytes(count) => {
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
