//! Host terminal: raw mode that is undone on every exit, diversion of standard error, and new pseudo-terminals.
#![allow(unsafe_code)]

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, OutputModes, Termios, tcgetattr, tcsetattr};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The terminal's settings before raw mode.
static ORIGINAL: OnceLock<Termios> = OnceLock::new();
/// The terminal is in raw mode.
static RAW: AtomicBool = AtomicBool::new(false);
/// Escape sequences written to standard output when the terminal is restored.
static LEAVE: OnceLock<&[u8]> = OnceLock::new();
/// The original standard error, and the read end of the pipe to which it was diverted.
static STDERR: OnceLock<(OwnedFd, OwnedFd)> = OnceLock::new();
/// Standard error is diverted.
static DIVERTED: AtomicBool = AtomicBool::new(false);
/// Signals that end the process by default.
const FATAL_SIGNALS: [libc::c_int; 6] =
    [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGABRT, libc::SIGSEGV];

/// Raw mode of the terminal on standard input. It ends when this is dropped, when the process exits, and when a signal ends
/// the process.
#[derive(Debug)]
pub struct RawMode(());

impl RawMode {
    /// Enters raw mode for input. Output processing stays on, so that a line feed in pcvm's messages also returns the
    /// cursor to the first column.
    pub fn enter() -> io::Result<Self> {
        let first = ORIGINAL.set(tcgetattr(rustix::stdio::stdin())?).is_ok();
        RAW.store(true, Ordering::SeqCst);
        if first {
            restore_at_exit();
        }
        let mode = Self(());
        mode.enter_again()?;
        Ok(mode)
    }

    /// Enters raw mode again, after a shell changed the settings while pcvm was stopped.
    pub fn enter_again(&self) -> io::Result<()> {
        let stdin = rustix::stdio::stdin();
        let mut raw = tcgetattr(stdin)?;
        let before = raw.output_modes;
        raw.make_raw();
        raw.output_modes |= OutputModes::OPOST | before;
        raw.local_modes -= LocalModes::ECHO;
        Ok(tcsetattr(stdin, OptionalActions::Now, &raw)?)
    }

    /// As [`Self::enter`], for full-screen output: restoring the terminal also writes `leave` to standard output and undoes
    /// [`divert_stderr`]. Works once in a process.
    pub fn enter_screen(leave: &'static [u8]) -> io::Result<Self> {
        let raw = Self::enter()?;
        let _ = LEAVE.set(leave);
        Ok(raw)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Diverts standard error to the pipe `writer` until the terminal is restored; what is then left in `reader`, its read end,
/// goes to the original standard error. Both must be nonblocking.
pub fn divert_stderr(writer: &OwnedFd, reader: &OwnedFd) -> io::Result<()> {
    let before = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3)?;
    if STDERR.set((before, reader.try_clone()?)).is_ok() {
        DIVERTED.store(true, Ordering::SeqCst);
        rustix::stdio::dup2_stderr(writer)?;
    }
    Ok(())
}

/// Restores the terminal, once. Async-signal-safe: atomic exchanges and system calls only.
fn restore() {
    if RAW.load(Ordering::SeqCst)
        && let Some(leave) = LEAVE.get()
    {
        // A write to a terminal stopped by Ctrl-S would block.
        let stdout = rustix::stdio::stdout();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if poll(&mut [PollFd::new(&stdout, PollFlags::OUT)], Some(&now)) == Ok(1) {
            let _ = rustix::io::write(stdout, leave);
        }
    }
    if DIVERTED.swap(false, Ordering::SeqCst)
        && let Some((before, reader)) = STDERR.get()
    {
        let _ = rustix::stdio::dup2_stderr(before);
        let mut buffer = [0; 256];
        while let Ok(count @ 1..) = rustix::io::read(reader, &mut buffer) {
            let _ = rustix::io::write(before, buffer.get(..count).unwrap_or_default());
        }
    }
    if RAW.swap(false, Ordering::SeqCst)
        && let Some(before) = ORIGINAL.get()
    {
        // Not OptionalActions::Drain: it would block on a terminal stopped by Ctrl-S.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, before);
    }
}

extern "C" fn on_exit() {
    restore();
}

extern "C" fn on_signal(signal: libc::c_int) {
    restore();
    // SAFETY: both are async-signal-safe (signal-safety(7)). SA_RESETHAND has put the default action back; the signal
    // is blocked while its handler runs, so the process ends when it returns.
    unsafe {
        libc::raise(signal);
    }
}

/// Restores the terminal at exit(3), which drops nothing, and at the signals that end the process.
fn restore_at_exit() {
    // SAFETY: the handler is a static function without arguments that does not unwind.
    unsafe {
        libc::atexit(on_exit);
    }
    for signal in FATAL_SIGNALS {
        // SAFETY: a zeroed sigaction is a valid one (default action, empty mask); the pointers are to live variables,
        // and the handler is async-signal-safe. A signal that is ignored (nohup) or has a handler already keeps its
        // disposition.
        unsafe {
            let mut old: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(signal, std::ptr::null(), &raw mut old) != 0 || old.sa_sigaction != libc::SIG_DFL {
                continue;
            }
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_signal as *const () as libc::sighandler_t;
            action.sa_flags = libc::SA_RESETHAND;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

/// Opens a pseudo-terminal in raw mode: its controller (nonblocking), its peer, and the peer's name.
pub fn open_pty() -> io::Result<(OwnedFd, OwnedFd, String)> {
    use rustix::fs::{Mode, OFlags};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&controller)?;
    unlockpt(&controller)?;
    let name = ptsname(&controller, Vec::new())?;
    let peer = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    let mut settings = tcgetattr(&peer)?;
    settings.make_raw();
    tcsetattr(&peer, OptionalActions::Now, &settings)?;
    rustix::io::ioctl_fionbio(&controller, true)?;
    Ok((controller, peer, name.to_string_lossy().into_owned()))
}
