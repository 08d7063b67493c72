//! Kicks: a signal and `immediate_exit` make KVM_RUN of a vCPU return, from any thread.
#![allow(unsafe_code)]

use super::KvmError;
use kvm_bindings::kvm_run;
use std::sync::atomic::{AtomicU8, Ordering};
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler};

extern "C" fn ignore(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

/// Installs an empty handler for the kick signal, once per process, so that the signal interrupts KVM_RUN with EINTR.
///
/// # Errors
/// If sigaction fails.
pub fn install_signal_handler() -> Result<(), KvmError> {
    register_signal_handler(SIGRTMIN(), ignore).map_err(|error| KvmError::Host {
        operation: "install the kick signal's handler",
        error: std::io::Error::from_raw_os_error(error.errno()),
    })
}

/// Kicks one vCPU. It must be dropped before the vCPU: the vCPU's thread unregisters it first
/// (`VcpuGate::unregister`).
pub struct Kick {
    immediate_exit: *mut u8,
    thread: libc::pthread_t,
}

// SAFETY: any thread may use both fields: a byte that is accessed atomically, and a thread id.
unsafe impl Send for Kick {}

impl Kick {
    /// A kick for the vCPU of `run`, which the calling thread runs.
    pub fn current(run: &mut kvm_run) -> Self {
        // SAFETY: pthread_self cannot fail.
        Self { immediate_exit: &raw mut run.immediate_exit, thread: unsafe { libc::pthread_self() } }
    }

    /// Makes the vCPU leave the guest, or not enter it. `immediate_exit` is set before the signal is sent: if the signal
    /// arrives before KVM_RUN, KVM_RUN sees the flag and returns at once.
    pub fn kick(&self) {
        // SAFETY: the byte is in the vCPU's kvm_run mapping, which outlives `self`; the kernel reads it as a byte.
        unsafe { AtomicU8::from_ptr(self.immediate_exit) }.store(1, Ordering::SeqCst);
        // SAFETY: the thread has not been joined (see the type's comment), so its id is valid.
        unsafe { libc::pthread_kill(self.thread, SIGRTMIN()) };
    }
}

/// Clears a kick, on the vCPU's own thread.
pub fn clear(run: &mut kvm_run) {
    // SAFETY: `run` is borrowed exclusively from Rust's side; other threads access this byte only as an atomic.
    unsafe { AtomicU8::from_ptr(&raw mut run.immediate_exit) }.store(0, Ordering::SeqCst);
}
