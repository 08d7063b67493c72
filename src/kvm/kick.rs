//! Getting a processor out of the guest from another thread.
#![allow(unsafe_code)]

use super::KvmError;
use kvm_bindings::kvm_run;
use std::sync::atomic::{AtomicU8, Ordering};
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler};

extern "C" fn nothing(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

/// Installs the signal's handler, once per process: it does nothing, but KVM_RUN comes back with EINTR.
///
/// # Errors
/// If sigaction fails.
pub fn prepare() -> Result<(), KvmError> {
    register_signal_handler(SIGRTMIN(), nothing).map_err(|error| KvmError::Host {
        what: "install the kick signal's handler",
        error: std::io::Error::from_raw_os_error(error.errno()),
    })
}

/// Kicks one processor. Must be dropped before the processor is: its thread strikes it off the list first
/// (`Control::discharge`).
pub struct Kick {
    immediate_exit: *mut u8,
    thread: libc::pthread_t,
}

// SAFETY: both fields only name things that any thread may use: a byte accessed atomically, and a thread.
unsafe impl Send for Kick {}

impl Kick {
    /// For the calling thread, which runs the processor of `run`.
    pub fn current(run: &mut kvm_run) -> Self {
        // SAFETY: pthread_self cannot fail.
        Self { immediate_exit: &raw mut run.immediate_exit, thread: unsafe { libc::pthread_self() } }
    }

    /// Gets the processor out of the guest, or keeps it from entering. The flag is set before the signal is sent, so
    /// wherever the processor's thread is, the kernel or the thread sees one of them.
    pub fn kick(&self) {
        // SAFETY: the byte lies in the processor's mapping, which outlives `self`; the kernel reads it as a byte.
        unsafe { AtomicU8::from_ptr(self.immediate_exit) }.store(1, Ordering::SeqCst);
        // SAFETY: the thread has not been joined (see the type's comment), so its id is valid.
        unsafe { libc::pthread_kill(self.thread, SIGRTMIN()) };
    }
}

/// Takes the kick back, on the processor's own thread.
pub fn clear(run: &mut kvm_run) {
    // SAFETY: `run` is borrowed exclusively from Rust's side; other threads access this byte only as an atomic.
    unsafe { AtomicU8::from_ptr(&raw mut run.immediate_exit) }.store(0, Ordering::SeqCst);
}
