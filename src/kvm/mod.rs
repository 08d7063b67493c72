//! The only importer of kvm-ioctls: the machine as the kernel runs it.
//!
//! [`vm`] is the virtual machine with its in-kernel interrupt controllers, [`slots`] its memory, [`vcpu`] a processor,
//! [`exit`] why a processor stopped, [`ring`] the writes that the kernel keeps back, [`cpu_model`] what CPUID says.
//! All `unsafe` of this module is in `slots`, `exit`, `ring` and `kick`.

pub mod cpu_features;
pub mod cpu_model;
pub mod cpuid;
mod emulation;
pub mod exit;
pub mod kick;
pub mod ring;
pub mod slots;
pub mod vcpu;
pub mod vm;

use kvm_ioctls::Error as Errno;
use thiserror::Error;

/// KVM refused.
#[derive(Debug, Error)]
pub enum KvmError {
    /// There is no /dev/kvm.
    #[error("/dev/kvm: not there: this host has no KVM, or its kvm_intel or kvm_amd module is not loaded")]
    Absent,
    /// /dev/kvm may not be opened.
    #[error("/dev/kvm: permission denied: add the user to the group that owns it (usually `kvm`)")]
    Forbidden,
    /// /dev/kvm cannot be opened.
    #[error("/dev/kvm: {0}")]
    Open(Errno),
    /// The kernel's KVM is too old or too small.
    #[error("/dev/kvm: this kernel's KVM lacks {0}")]
    Lacks(&'static str),
    /// A request failed.
    #[error("KVM cannot {what}: {errno}")]
    Request {
        /// What was asked.
        what: &'static str,
        /// The answer.
        errno: Errno,
    },
    /// mmap or sigaction failed.
    #[error("cannot {what}: {error}")]
    Host {
        /// What was asked.
        what: &'static str,
        /// The answer.
        error: std::io::Error,
    },
}

/// Names the request that failed.
pub(crate) fn ask<T>(what: &'static str, result: Result<T, Errno>) -> Result<T, KvmError> {
    result.map_err(|errno| KvmError::Request { what, errno })
}
