//! The coalesced ring (KVM API, KVM_REGISTER_COALESCED_MMIO): writes that the kernel accepted without stopping the
//! processor. One ring serves all processors of a machine.
#![allow(unsafe_code)]

use super::KvmError;
use kvm_bindings::{KVM_COALESCED_MMIO_PAGE_OFFSET, kvm_coalesced_mmio, kvm_coalesced_mmio_ring};
use pcvm_devices::Space;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

const PAGE: usize = 4096;
/// Entries of a one-page ring.
const ENTRIES: u32 = ((PAGE - size_of::<kvm_coalesced_mmio_ring>()) / size_of::<kvm_coalesced_mmio>()) as u32;
/// Where entries begin after [`CoalescedRing::rewind`]: anywhere in the second half.
const START: u32 = 128;

/// The machine's ring, mapped.
pub struct CoalescedRing {
    page: NonNull<kvm_coalesced_mmio_ring>,
}

// SAFETY: the page is shared with the kernel alone; this is the one place in the process that takes entries from it,
// and it needs `&mut self` for that.
unsafe impl Send for CoalescedRing {}

/// One write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptWrite {
    /// Ports or memory.
    pub space: Space,
    /// Where.
    pub addr: u64,
    /// The bytes; only the first `len` count.
    pub data: [u8; 8],
    /// 1 to 8.
    pub len: u8,
}

impl CoalescedRing {
    /// Maps the ring through a processor's descriptor.
    ///
    /// # Errors
    /// If mmap fails.
    pub fn map(vcpu: BorrowedFd<'_>) -> Result<Self, KvmError> {
        let fd: RawFd = vcpu.as_raw_fd();
        let offset = PAGE as libc::off_t * libc::off_t::from(KVM_COALESCED_MMIO_PAGE_OFFSET as u8);
        // SAFETY: a fresh mapping of one page at an address of the kernel's choice; it touches no memory of ours.
        let page = unsafe {
            libc::mmap(std::ptr::null_mut(), PAGE, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, fd, offset)
        };
        if page == libc::MAP_FAILED {
            return Err(KvmError::Host { what: "map the coalesced ring", error: std::io::Error::last_os_error() });
        }
        NonNull::new(page.cast()).map(|page| Self { page }).ok_or(KvmError::Lacks("coalesced I/O"))
    }

    /// Where the kernel takes the next entry from us, and where it will put the next one.
    #[inline]
    fn ends(&self) -> (&AtomicU32, &AtomicU32) {
        let ring = self.page.as_ptr();
        // SAFETY: `ring` points to the mapped page, which lives as long as `self`; `first` and `last` are aligned u32s
        // that the kernel changes concurrently, so they are accessed as atomics.
        unsafe { (AtomicU32::from_ptr(&raw mut (*ring).first), AtomicU32::from_ptr(&raw mut (*ring).last)) }
    }

    /// Takes the writes that lie there now, oldest first, and none that come meanwhile: other processors can write as
    /// fast as entries are taken, and must not keep the caller for ever.
    #[inline]
    pub fn drain(&mut self, mut take: impl FnMut(&KeptWrite)) {
        let (first, last) = self.ends();
        // Only we move `first`, and the kernel takes it from us an entry at a time, so that a panic in `take` does not
        // bring the same write back.
        let (mut at, end) = (first.load(Ordering::Relaxed), last.load(Ordering::Acquire));
        if at == end || at >= ENTRIES || end >= ENTRIES {
            return;
        }
        while at != end {
            // SAFETY: `at` is below ENTRIES, so the entry lies within the page; the kernel published it before it moved
            // `last` past it and does not touch it again until `first` moves.
            let entry = unsafe { (*self.page.as_ptr()).coalesced_mmio.as_ptr().add(at as usize).read() };
            // SAFETY: `pio` shares its u32 with `pad` of the same type.
            let pio = unsafe { entry.__bindgen_anon_1.pio };
            at = if at + 1 == ENTRIES { 0 } else { at + 1 };
            first.store(at, Ordering::Release);
            take(&KeptWrite {
                space: if pio == 0 { Space::Mem } else { Space::Io },
                addr: entry.phys_addr,
                data: entry.data,
                len: entry.len.min(8) as u8,
            });
        }
    }

    /// Makes the next entries begin at `START`, if the ring is empty, which gives a kernel before 6.12 all of the room:
    /// its subtraction wraps at 2^32, and it takes the ring for full at half of its length unless the entries wrap first.
    ///
    /// The kernel must not be putting an entry there: no processor may be in the guest. Only for a machine with one
    /// processor, on that processor's thread.
    #[inline]
    pub fn rewind(&mut self) {
        let (first, last) = self.ends();
        if first.load(Ordering::Relaxed) == last.load(Ordering::Acquire) {
            first.store(START, Ordering::Relaxed);
            last.store(START, Ordering::Release);
        }
    }
}

impl KeptWrite {
    /// The bytes that were written.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.data.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl Drop for CoalescedRing {
    fn drop(&mut self) {
        // SAFETY: unmaps the page that `map` mapped; nothing else refers to it.
        unsafe { libc::munmap(self.page.as_ptr().cast(), PAGE) };
    }
}

/// The descriptor of a processor, which kvm-ioctls only gives out raw.
pub(super) fn borrow(owner: &kvm_ioctls::VcpuFd) -> BorrowedFd<'_> {
    // SAFETY: the descriptor belongs to `owner`, which is borrowed for as long as the result lives.
    unsafe { BorrowedFd::borrow_raw(owner.as_raw_fd()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's side of a ring in memory of our own.
    fn ring() -> (CoalescedRing, impl FnMut(u64)) {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh mapping at an address of the kernel's choice.
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
    fn writes_that_come_while_the_ring_is_drained_wait_for_the_next_time() {
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
            assert_eq!(count(&mut ring), 7, "they are not lost");
        }
        assert_eq!(count(&mut ring), 0);
    }

    fn count(ring: &mut CoalescedRing) -> usize {
        let mut count = 0;
        ring.drain(|_| count += 1);
        count
    }

    #[test]
    fn a_rewound_ring_gives_a_kernel_before_6_12_all_of_its_room() {
        // `coalesced_mmio_has_room` of Linux 4.20 to 6.11.
        let has_room = |ring: &CoalescedRing| {
            let (first, last) = ring.ends();
            let (first, last) = (first.load(Ordering::Relaxed), last.load(Ordering::Relaxed));
            !first.wrapping_sub(last).wrapping_sub(1).is_multiple_of(ENTRIES)
        };
        let (mut ring, mut push) = ring();
        for round in 0..10 {
            // Whatever has happened before.
            (0..round * 7).for_each(&mut push);
            ring.rewind();
            assert_eq!(count(&mut ring), round as usize * 7, "entries that wait are left where they are");
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
