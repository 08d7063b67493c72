//! Terminals: raw mode with a way back on every exit, and new pseudo-terminals.
#![allow(unsafe_code)]

use rustix::termios::{LocalModes, OptionalActions, OutputModes, Termios, tcgetattr, tcsetattr};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The terminal's settings from before.
static BEFORE: OnceLock<Termios> = OnceLock::new();
/// The terminal is raw.
static RAW: AtomicBool = AtomicBool::new(false);
/// Signals whose default is to end the process.
const ENDS: [libc::c_int; 6] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGABRT, libc::SIGSEGV];

/// Standard input is a raw terminal until this is dropped, the process exits or a signal ends it.
#[derive(Debug)]
pub struct RawMode(());

impl RawMode {
    /// Raw but for output: line feeds of our own messages still begin a new line.
    pub fn enter() -> io::Result<Self> {
        let stdin = rustix::stdio::stdin();
        let before = tcgetattr(stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        raw.output_modes |= OutputModes::OPOST | before.output_modes;
        raw.local_modes -= LocalModes::ECHO;
        let first = BEFORE.set(before).is_ok();
        RAW.store(true, Ordering::SeqCst);
        if first {
            restore_at_exit();
        }
        tcsetattr(stdin, OptionalActions::Now, &raw)?;
        Ok(Self(()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back, once. An atomic exchange and one ioctl: fit for a signal handler.
fn restore() {
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
