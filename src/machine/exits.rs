//! Exit counters of a vCPU, by reason.

use crate::kvm::exit::Exit;
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};

/// Exits of one vCPU since it was created. Only its own thread writes them.
#[derive(Debug, Default)]
pub struct ExitCounters {
    port_reads: AtomicU64,
    port_writes: AtomicU64,
    mmio_reads: AtomicU64,
    mmio_writes: AtomicU64,
    interrupted: AtomicU64,
    other: AtomicU64,
}

/// A copy of [`ExitCounters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Exits {
    /// `in` and `ins`.
    pub port_reads: u64,
    /// `out` and `outs`; coalesced writes do not exit.
    pub port_writes: u64,
    /// Reads of memory without a slot.
    pub mmio_reads: u64,
    /// Writes of memory without a slot.
    pub mmio_writes: u64,
    /// A signal, or an exit without a request.
    pub interrupted: u64,
    /// Triple faults, system events and failures.
    pub other: u64,
}

impl ExitCounters {
    /// Counts an exit. On the vCPU's own thread.
    #[inline]
    pub fn count(&self, exit: &Exit<'_>) {
        let counter = match exit {
            Exit::In { .. } => &self.port_reads,
            Exit::Out { .. } => &self.port_writes,
            Exit::MemRead { .. } => &self.mmio_reads,
            Exit::MemWrite { .. } => &self.mmio_writes,
            Exit::Again => &self.interrupted,
            _ => &self.other,
        };
        // One writer: a load and a store cost less than an atomic addition.
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// The counts now.
    pub fn read(&self) -> Exits {
        Exits {
            port_reads: self.port_reads.load(Ordering::Relaxed),
            port_writes: self.port_writes.load(Ordering::Relaxed),
            mmio_reads: self.mmio_reads.load(Ordering::Relaxed),
            mmio_writes: self.mmio_writes.load(Ordering::Relaxed),
            interrupted: self.interrupted.load(Ordering::Relaxed),
            other: self.other.load(Ordering::Relaxed),
        }
    }
}
