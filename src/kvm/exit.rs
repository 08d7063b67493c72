//! KVM_RUN and its exit reasons: `struct kvm_run` (KVM API, section 5) as a Rust enum.
//!
//! kvm-ioctls also has such an enum, but without the width of a string I/O access.
#![allow(unsafe_code)]

use kvm_bindings::*;
use kvm_ioctls::{Error as Errno, VcpuFd};
use std::os::fd::AsRawFd;

/// _IO(KVMIO, 0x80).
const KVM_RUN: libc::Ioctl = 0xae80;

/// Why KVM_RUN returned.
#[derive(Debug)]
pub enum Exit<'a> {
    /// `in` or `ins`: fill `data`, which holds one or more accesses.
    In {
        /// Port.
        port: u16,
        /// Bytes of one access: 1, 2 or 4.
        width: u8,
        /// `width` times the number of accesses.
        data: &'a mut [u8],
    },
    /// `out` or `outs`, one or more accesses.
    Out {
        /// Port.
        port: u16,
        /// Bytes of one access: 1, 2 or 4.
        width: u8,
        /// `width` times the number of accesses.
        data: &'a [u8],
    },
    /// A read of memory without a slot (MMIO): fill `data`.
    MemRead {
        /// Guest-physical address.
        addr: u64,
        /// 1 to 8 bytes.
        data: &'a mut [u8],
    },
    /// A write of memory without a slot (MMIO), or of a read-only slot.
    MemWrite {
        /// Guest-physical address.
        addr: u64,
        /// 1 to 8 bytes.
        data: &'a [u8],
    },
    /// Triple fault.
    Shutdown,
    /// A signal interrupted KVM_RUN, or the exit needs no action: enter the guest again.
    Again,
    /// The guest requested a shutdown or reset from KVM (KVM_SYSTEM_EVENT_*).
    SystemEvent(u32),
    /// KVM cannot run the vCPU any further, for this reason.
    Failed(String),
}

/// The KVM_RUN ioctl. `VcpuFd::run` of kvm-ioctls would also decode the exit.
#[inline]
pub(super) fn enter(vcpu: &VcpuFd) -> Result<(), Errno> {
    // SAFETY: the descriptor is a vCPU's, borrowed for the call. KVM_RUN takes no argument (0). Of this process' memory it
    // accesses only the kvm_run mapping, which is not borrowed while `vcpu` is, and guest memory, which is volatile.
    match unsafe { libc::ioctl(vcpu.as_raw_fd(), KVM_RUN, 0) } {
        0.. => Ok(()),
        _ => Err(Errno::last()),
    }
}

/// Decodes the exit.
///
/// Safety relies on `run` being the mapping that kvm-ioctls made, of KVM_GET_VCPU_MMAP_SIZE bytes (`run_size`): it holds
/// the I/O data after the structure.
#[inline(always)]
pub fn decode(run: &mut kvm_run, run_size: usize) -> Exit<'_> {
    match run.exit_reason {
        KVM_EXIT_IO => {
            // SAFETY: by exit_reason the kernel filled the member `io`; all its bit patterns are valid.
            let io = unsafe { run.__bindgen_anon_1.io };
            let len = usize::from(io.size) * io.count as usize;
            let offset = io.data_offset as usize;
            if offset.checked_add(len).is_none_or(|end| end > run_size) {
                return Exit::Failed(format!("I/O data at {offset:#x}+{len:#x} is outside the kvm_run mapping"));
            }
            // SAFETY: [offset, offset+len) is within the mapping of `run_size` bytes, checked just above; the kernel
            // does not touch it until the next KVM_RUN, which needs the vCPU from which `run` is borrowed.
            let data = unsafe {
                let start = std::ptr::from_mut(run).cast::<u8>().add(offset);
                std::slice::from_raw_parts_mut(start, len)
            };
            match u32::from(io.direction) {
                KVM_EXIT_IO_IN => Exit::In { port: io.port, width: io.size, data },
                _ => Exit::Out { port: io.port, width: io.size, data },
            }
        }
        KVM_EXIT_MMIO => {
            // SAFETY: by exit_reason the kernel filled the member `mmio`; all its bit patterns are valid.
            let mmio = unsafe { &mut run.__bindgen_anon_1.mmio };
            let len = (mmio.len as usize).min(8);
            if mmio.is_write == 0 {
                Exit::MemRead { addr: mmio.phys_addr, data: &mut mmio.data[..len] }
            } else {
                Exit::MemWrite { addr: mmio.phys_addr, data: &mmio.data[..len] }
            }
        }
        KVM_EXIT_SHUTDOWN => Exit::Shutdown,
        KVM_EXIT_INTR
        | KVM_EXIT_HLT
        | KVM_EXIT_IRQ_WINDOW_OPEN
        | KVM_EXIT_SET_TPR
        | KVM_EXIT_NMI
        | KVM_EXIT_TPR_ACCESS
        | KVM_EXIT_IOAPIC_EOI => Exit::Again,
        KVM_EXIT_SYSTEM_EVENT => {
            // SAFETY: by exit_reason the kernel filled the member `system_event`.
            Exit::SystemEvent(unsafe { run.__bindgen_anon_1.system_event.type_ })
        }
        KVM_EXIT_INTERNAL_ERROR => {
            // SAFETY: by exit_reason the kernel filled the member `internal`.
            let error = unsafe { run.__bindgen_anon_1.internal };
            let what = match error.suberror {
                KVM_INTERNAL_ERROR_EMULATION => "KVM cannot emulate an instruction",
                KVM_INTERNAL_ERROR_SIMUL_EX => "KVM met simultaneous exceptions",
                KVM_INTERNAL_ERROR_DELIVERY_EV => "KVM cannot deliver an event",
                KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON => "KVM met an unexpected hardware exit",
                _ => "KVM internal error",
            };
            let data = &error.data[..(error.ndata as usize).min(error.data.len())];
            Exit::Failed(format!("{what} (suberror {}, data {data:x?})", error.suberror))
        }
        KVM_EXIT_FAIL_ENTRY => {
            // SAFETY: by exit_reason the kernel filled the member `fail_entry`.
            let entry = unsafe { run.__bindgen_anon_1.fail_entry };
            Exit::Failed(format!(
                "the host CPU failed to enter the guest (hardware reason {:#x})",
                entry.hardware_entry_failure_reason
            ))
        }
        KVM_EXIT_UNKNOWN => {
            // SAFETY: by exit_reason the kernel filled the member `hw`.
            let hw = unsafe { run.__bindgen_anon_1.hw };
            Exit::Failed(format!("KVM does not know hardware exit {:#x}", hw.hardware_exit_reason))
        }
        reason => Exit::Failed(format!("unexpected KVM exit reason {reason}")),
    }
}
