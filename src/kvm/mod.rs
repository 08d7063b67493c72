//! KVM: virtual machine, memory slots, vCPUs, exits, coalescing ring and CPUID. No other module imports kvm-ioctls.
//!
//! [`vm`] is the virtual machine with its in-kernel interrupt controllers, [`slots`] its memory slots, [`vcpu`] a vCPU,
//! [`exit`] the decoded exits, [`ring`] the coalesced writes, [`cpuid`] the CPUID leaves of `--cpu`.
//! All `unsafe` of this module is in `slots`, `exit`, `ring` and `kick`.

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

/// KVM cannot be used, or a request to it failed.
#[derive(Debug, Error)]
pub enum KvmError {
    /// /dev/kvm does not exist or has no driver.
    #[error("/dev/kvm: does not exist: load kvm_intel or kvm_amd, with virtualisation enabled in the host's firmware")]
    Absent,
    /// The process has no access to /dev/kvm.
    #[error("/dev/kvm: permission denied: add the user to the group that owns it (usually `kvm`)")]
    Forbidden,
    /// /dev/kvm cannot be opened.
    #[error("/dev/kvm: cannot be opened: {0}")]
    Open(Errno),
    /// The host kernel's KVM lacks a capability, or a limit of it is too low.
    #[error("/dev/kvm: this kernel's KVM lacks {0}")]
    Lacks(&'static str),
    /// A request failed.
    #[error("KVM cannot {operation}: {errno}")]
    Request {
        /// The operation, as a verb and an object.
        operation: &'static str,
        /// KVM's error.
        errno: Errno,
    },
    /// mmap or sigaction failed.
    #[error("cannot {operation}: {error}")]
    Host {
        /// The operation, as a verb and an object.
        operation: &'static str,
        /// The host kernel's error.
        error: std::io::Error,
    },
}

/// Adds the name of the operation to KVM's error.
pub(crate) fn request<T>(operation: &'static str, result: Result<T, Errno>) -> Result<T, KvmError> {
    result.map_err(|errno| KvmError::Request { operation, errno })
}
