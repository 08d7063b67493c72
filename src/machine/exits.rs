//! Exit counters of a vCPU, by reason.

use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};

/// Exits of one vCPU since it was created. Only its own thread writes them.
#[derive(Debug, Default)]
pub struct ExitCounters {
    pub(super) port_reads: AtomicU64,
    pub(super) port_writes: AtomicU64,
    pub(super) mmio_reads: AtomicU64,
    pub(super) mmio_writes: AtomicU64,
    pub(super) interrupted: AtomicU64,
    pub(super) other: AtomicU64,
}

/// A copy of [`ExitCounters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
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
    /// Adds one to a counter, on the vCPU's own thread. With one writer, a load and a store cost less than an atomic
    /// addition.
    #[inline]
    pub fn bump(counter: &AtomicU64) {
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
