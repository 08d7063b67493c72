//! Signal handlers: SIGTERM, SIGINT and SIGHUP make the main loop shut the machine down.
#![allow(unsafe_code)]

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicI32, Ordering};
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::signal::register_signal_handler;

/// Descriptor of the eventfd, or -1.
static QUIT: AtomicI32 = AtomicI32::new(-1);

extern "C" fn quit(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let one: u64 = 1;
    // SAFETY: write is async-signal-safe. The buffer has the 8 bytes that an eventfd takes. The descriptor in QUIT is
    // never closed.
    unsafe { libc::write(QUIT.load(Ordering::Relaxed), (&raw const one).cast(), 8) };
}

/// Installs the handlers. Each signal adds 1 to the returned eventfd, which stays open until the process ends.
///
/// # Errors
/// If the host refuses an eventfd or a signal handler.
pub fn quit_event() -> std::io::Result<EventFd> {
    let event = EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC)?;
    let kept = event.try_clone()?;
    QUIT.store(kept.as_raw_fd(), Ordering::Relaxed);
    std::mem::forget(kept);
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        register_signal_handler(signal, quit).map_err(|error| std::io::Error::from_raw_os_error(error.errno()))?;
    }
    Ok(event)
}
