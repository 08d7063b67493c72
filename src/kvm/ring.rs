//! Coalescing ring (KVM API, KVM_REGISTER_COALESCED_MMIO): writes that KVM recorded without an exit. All vCPUs of a virtual
//! machine share one ring.
#![allow(unsafe_code)]

use super::KvmError;
use kvm_bindings::{KVM_COALESCED_MMIO_PAGE_OFFSET, kvm_coalesced_mmio, kvm_coalesced_mmio_ring};
use pcvm_devices::Space;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

const PAGE: usize = 4096;
/// Entries of the one-page ring. One of them always stays free.
const ENTRIES: u32 = ((PAGE - size_of::<kvm_coalesced_mmio_ring>()) / size_of::<kvm_coalesced_mmio>()) as u32;
/// Index of the first entry after [`CoalescedRing::rewind`]: any index in the second half serves.
const START: u32 = 128;

/// The virtual machine's ring, mapped.
pub struct CoalescedRing {
    page: NonNull<kvm_coalesced_mmio_ring>,
}

// SAFETY: only the kernel shares the page. In this process only `drain` and `rewind` change it, and they need `&mut self`.
unsafe impl Send for CoalescedRing {}

/// One coalesced write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoalescedWrite {
    /// Port I/O or MMIO.
    pub space: Space,
    /// Port or guest-physical address.
    pub addr: u64,
    /// The bytes written, in the first `len` elements.
    pub data: [u8; 8],
    /// Bytes written, 1 to 8.
    pub len: u8,
}

impl CoalescedRing {
    /// Maps the ring through a vCPU's descriptor.
    ///
    /// # Errors
    /// If mmap fails.
    pub fn map(vcpu: BorrowedFd<'_>) -> Result<Self, KvmError> {
        let fd: RawFd = vcpu.as_raw_fd();
        let offset = PAGE as libc::off_t * libc::off_t::from(KVM_COALESCED_MMIO_PAGE_OFFSET as u8);
        // SAFETY: a new mapping of one page at an address that the kernel chooses; it replaces no other mapping.
        let page = unsafe {
            libc::mmap(std::ptr::null_mut(), PAGE, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, fd, offset)
        };
        if page == libc::MAP_FAILED {
            return Err(KvmError::Host {
                operation: "map the coalescing ring",
                error: std::io::Error::last_os_error(),
            });
        }
        NonNull::new(page.cast()).map(|page| Self { page }).ok_or(KvmError::Lacks("coalesced I/O"))
    }

    /// Indices of the oldest entry, which this process advances, and of the next entry that the kernel will write.
    #[inline]
    fn ends(&self) -> (&AtomicU32, &AtomicU32) {
        let ring = self.page.as_ptr();
        // SAFETY: `ring` points to the mapped page, which lives as long as `self`; `first` and `last` are aligned u32s
        // that the kernel changes concurrently, so they are accessed as atomics.
        unsafe { (AtomicU32::from_ptr(&raw mut (*ring).first), AtomicU32::from_ptr(&raw mut (*ring).last)) }
    }

    /// Passes the entries of the ring to `take`, oldest first, and removes them. Entries that arrive during the call stay
    /// for the next one: other vCPUs can write as fast as this loop reads, and must not delay the caller without bound.
    #[inline]
    pub fn drain(&mut self, mut take: impl FnMut(&CoalescedWrite)) {
        let (first, last) = self.ends();
        // Only this process moves `first`. It moves with each entry, so that a panic in `take` does not deliver a write
        // twice.
        let (mut at, end) = (first.load(Ordering::Relaxed), last.load(Ordering::Acquire));
        if at == end || at >= ENTRIES || end >= ENTRIES {
            return;
        }
        while at != end {
            // SAFETY: `at` is below ENTRIES, so the entry is within the page; the kernel published it before it moved
            // `last` past it and does not touch it again until `first` moves.
            let entry = unsafe { (*self.page.as_ptr()).coalesced_mmio.as_ptr().add(at as usize).read() };
            // SAFETY: `pio` shares its u32 with `pad` of the same type.
            let pio = unsafe { entry.__bindgen_anon_1.pio };
            at = if at + 1 == ENTRIES { 0 } else { at + 1 };
            first.store(at, Ordering::Release);
            take(&CoalescedWrite {
                space: if pio == 0 { Space::Mem } else { Space::Io },
                addr: entry.phys_addr,
                data: entry.data,
                len: entry.len.min(8) as u8,
            });
        }
    }

    /// Moves an empty ring's indices to `START`, so that a kernel before 6.12 uses all entries. Its check for room
    /// subtracts the indices modulo 2^32 instead of modulo 170, the ring's size. While `last` has not wrapped the ring
    /// therefore seems full at 85 entries.
    ///
    /// The kernel must not add an entry during the call: no vCPU may be in the guest. Only for a machine with one vCPU, on
    /// the thread of that vCPU.
    #[inline]
    pub fn rewind(&mut self) {
        let (first, last) = self.ends();
        if first.load(Ordering::Relaxed) == last.load(Ordering::Acquire) {
            first.store(START, Ordering::Relaxed);
            last.store(START, Ordering::Release);
        }
    }
}

impl CoalescedWrite {
    /// The bytes written.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.data.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl Drop for CoalescedRing {
    fn drop(&mut self) {
        // SAFETY: unmaps the page that `map` mapped; no other pointer to it exists.
        unsafe { libc::munmap(self.page.as_ptr().cast(), PAGE) };
    }
}

/// A vCPU's descriptor, of which kvm-ioctls returns only the number.
pub(super) fn borrow(owner: &kvm_ioctls::VcpuFd) -> BorrowedFd<'_> {
    // SAFETY: the descriptor belongs to `owner`, which is borrowed for as long as the result lives.
    unsafe { BorrowedFd::borrow_raw(owner.as_raw_fd()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ring in anonymous memory, and a function that adds an entry as the kernel does.
    fn ring() -> (CoalescedRing, impl FnMut(u64)) {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED);
        let page = NonNull::new(page.cast::<kvm_coalesced_mmio_ring>()).unwrap();
        let push = move |addr| {
            let ring = page.as_ptr();
            // SAFETY: the page is mapped for as long as the tests use `push`, and `last` stays below ENTRIES.
            unsafe {
                let last = (*ring).last;
                let entry = kvm_coalesced_mmio { phys_addr: addr, len: 1, ..Default::default() };
                (*ring).coalesced_mmio.as_mut_ptr().add(last as usize).write(entry);
                (*ring).last = (last + 1) % ENTRIES;
            }
        };
        (CoalescedRing { page }, push)
    }

    #[test]
    fn writes_that_arrive_during_a_drain_stay_for_the_next_drain() {
        let (mut ring, mut push) = ring();
        for round in 0..100 {
            let base = 10 * round;
            for n in base..base + 7 {
                push(n);
            }
            let mut taken = Vec::new();
            ring.drain(|write| {
                push(base + 7);
                taken.push(write.addr);
            });
            assert_eq!(taken, (base..base + 7).collect::<Vec<_>>());
            assert_eq!(count(&mut ring), 7, "writes during the drain are lost");
        }
        assert_eq!(count(&mut ring), 0);
    }

    fn count(ring: &mut CoalescedRing) -> usize {
        let mut count = 0;
        ring.drain(|_| count += 1);
        count
    }

    #[test]
    fn a_kernel_before_6_12_uses_all_entries_of_a_rewound_ring() {
        // `coalesced_mmio_has_room` of Linux 4.20 to 6.11.
        let has_room = |ring: &CoalescedRing| {
            let (first, last) = ring.ends();
            let (first, last) = (first.load(Ordering::Relaxed), last.load(Ordering::Relaxed));
            !first.wrapping_sub(last).wrapping_sub(1).is_multiple_of(ENTRIES)
        };
        let (mut ring, mut push) = ring();
        for round in 0..10 {
            // Rewinding works from any position.
            (0..round * 7).for_each(&mut push);
            ring.rewind();
            assert_eq!(count(&mut ring), round as usize * 7, "rewinding a ring with entries changed it");
            ring.rewind();
            let mut entries = 0;
            while has_room(&ring) {
                push(entries);
                entries += 1;
            }
            assert_eq!(entries, u64::from(ENTRIES) - 1);
            let mut next = 0;
            ring.drain(|write| {
                assert_eq!(write.addr, next);
                next += 1;
            });
            assert_eq!(next, entries);
        }
    }
}
