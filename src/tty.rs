//! Terminals: raw mode and full screen with a way back on every exit, and new pseudo-terminals.
#![allow(unsafe_code)]

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, OutputModes, Termios, tcgetattr, tcsetattr};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The terminal's settings from before.
static BEFORE: OnceLock<Termios> = OnceLock::new();
/// The terminal is raw.
static RAW: AtomicBool = AtomicBool::new(false);
/// What is written to standard output when the terminal is given back.
static LEAVE: OnceLock<&[u8]> = OnceLock::new();
/// Where standard error went before it was diverted, and where what it says is read.
static STDERR: OnceLock<(OwnedFd, OwnedFd)> = OnceLock::new();
/// It is.
static DIVERTED: AtomicBool = AtomicBool::new(false);
/// Signals whose default is to end the process.
const ENDS: [libc::c_int; 6] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGABRT, libc::SIGSEGV];

/// Standard input is a raw terminal until this is dropped, the process exits or a signal ends it.
#[derive(Debug)]
pub struct RawMode(());

impl RawMode {
    /// Raw but for output: line feeds of our own messages still begin a new line.
    pub fn enter() -> io::Result<Self> {
        let first = BEFORE.set(tcgetattr(rustix::stdio::stdin())?).is_ok();
        RAW.store(true, Ordering::SeqCst);
        if first {
            restore_at_exit();
        }
        let mode = Self(());
        mode.again()?;
        Ok(mode)
    }

    /// Makes it raw once more: a shell that we were stopped by has its own ideas.
    pub fn again(&self) -> io::Result<()> {
        let stdin = rustix::stdio::stdin();
        let mut raw = tcgetattr(stdin)?;
        let before = raw.output_modes;
        raw.make_raw();
        raw.output_modes |= OutputModes::OPOST | before;
        raw.local_modes -= LocalModes::ECHO;
        Ok(tcsetattr(stdin, OptionalActions::Now, &raw)?)
    }

    /// The same for a program that fills the screen: on the way back `leave` is written to standard output, and standard
    /// error is what it was (see [`divert_stderr`]). Once in a process.
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

/// Standard error goes to `writer` until the terminal is given back; what is in `reader`, the other end, is told then.
/// Both are nonblocking.
pub fn divert_stderr(writer: &OwnedFd, reader: &OwnedFd) -> io::Result<()> {
    let before = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3)?;
    if STDERR.set((before, reader.try_clone()?)).is_ok() {
        DIVERTED.store(true, Ordering::SeqCst);
        rustix::stdio::dup2_stderr(writer)?;
    }
    Ok(())
}

/// Gives the terminal back, once. Atomic exchanges and system calls: fit for a signal handler.
fn restore() {
    if RAW.load(Ordering::SeqCst)
        && let Some(leave) = LEAVE.get()
    {
        // A terminal that is stopped would stop us.
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
        && let Some(before) = BEFORE.get()
    {
        // Not after output has drained: a terminal that is stopped would stop us.
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

/// `exit` (also from another thread, which drops nothing) and the signals that end a process.
fn restore_at_exit() {
    // SAFETY: the handler is a function without arguments that does not unwind and stays for ever.
    unsafe {
        libc::atexit(on_exit);
    }
    for signal in ENDS {
        // SAFETY: a zeroed sigaction is a valid one (default action, empty mask); the pointers are to live variables,
        // and the handler only does what signal handlers may. A signal that was ignored (nohup) stays so, and one
        // that somebody handles already is left to them.
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

/// A new pseudo-terminal in raw mode: our side (nonblocking), the other side, and its name.
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
