//! Guest memory for DMA, PAM shadowing, and dirty pages of video memory.
//!
//! RAM is one or two ranges: from 0 to the PCI hole, and from 4 GiB up. From A0000h to FFFFFh, DMA reaches RAM only
//! where the PAM registers say so; elsewhere a read returns FFh and a write is dropped. Video memory is a separate
//! range; [`crate::Region::video`] maps it for the guest.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use vm_memory::{
    Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap, MemoryRegionAddress,
    VolatileSlice,
};

/// How one PAM segment of C0000h-FFFFFh is decoded (82441FX data sheet, PAM registers, bits RE and WE).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shadow {
    /// Reads go to RAM; else to ROM.
    pub read_ram: bool,
    /// Writes go to RAM; else they are dropped.
    pub write_ram: bool,
}

/// Guest RAM and video memory.
#[derive(Debug)]
pub struct Memory {
    ram: GuestMemoryMmap,
    video: GuestMemoryMmap,
    /// Bit n: reads of PAM segment n go to RAM; bit 16+n: writes go to RAM.
    shadow: AtomicU32,
    /// Dirty bitmap of video memory: one bit per page that a device wrote.
    dirty_video: Box<[AtomicU64]>,
}

/// Bytes per page of dirty tracking.
pub const PAGE: u64 = 4096;

/// A set of dirty pages of video memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirtyPages {
    all: bool,
    /// One bit per page.
    bitmap: Vec<u64>,
}

impl DirtyPages {
    /// No page.
    pub fn none() -> Self {
        Self::default()
    }

    /// All pages.
    pub fn all() -> Self {
        Self { all: true, bitmap: Vec::new() }
    }

    /// Adds the pages that contain `bytes`.
    pub fn add(&mut self, bytes: Range<u64>) {
        for page in pages(bytes) {
            let word = (page / 64) as usize;
            if word >= self.bitmap.len() {
                self.bitmap.resize(word + 1, 0);
            }
            self.bitmap[word] |= 1 << (page % 64);
        }
    }

    /// Adds the pages of a KVM dirty log whose first bit is the page at byte `from`.
    pub fn add_log(&mut self, from: u64, log: &[u64]) {
        for (&bits, first) in log.iter().zip((from / PAGE..).step_by(64)).filter(|(bits, _)| **bits != 0) {
            let set = (first..first + 64).filter(|page| bits >> (page - first) & 1 != 0);
            set.for_each(|page| self.add(page * PAGE..(page + 1) * PAGE));
        }
    }

    /// Adds the pages of another set.
    pub fn merge(&mut self, other: &Self) {
        self.all |= other.all;
        self.bitmap.resize(self.bitmap.len().max(other.bitmap.len()), 0);
        self.bitmap.iter_mut().zip(&other.bitmap).for_each(|(word, more)| *word |= more);
    }

    /// Whether no page is dirty.
    pub fn is_empty(&self) -> bool {
        !self.all && self.bitmap.iter().all(|&word| word == 0)
    }

    /// Calls `each` with every dirty page among the first `count` pages.
    pub fn for_each_page(&self, count: u64, mut each: impl FnMut(u64)) {
        if self.all {
            return (0..count).for_each(each);
        }
        for (&bits, first) in self.bitmap.iter().zip((0..count).step_by(64)).filter(|(bits, _)| **bits != 0) {
            (first..count.min(first + 64)).filter(|page| bits >> (page - first) & 1 != 0).for_each(&mut each);
        }
    }

    /// Whether any of `bytes` is in a dirty page.
    pub fn contains(&self, bytes: Range<u64>) -> bool {
        let has = |page: u64| self.bitmap.get((page / 64) as usize).is_some_and(|word| word >> (page % 64) & 1 != 0);
        self.all && !bytes.is_empty() || pages(bytes).any(has)
    }
}

/// The pages that contain `bytes`.
fn pages(bytes: Range<u64>) -> Range<u64> {
    if bytes.is_empty() { 0..0 } else { bytes.start / PAGE..(bytes.end - 1) / PAGE + 1 }
}

/// Start of the PCI hole, and the most RAM below 4 GiB: 3 GiB, as on QEMU's `pc`. Firmware and tables read it from
/// fw_cfg.
pub const LOW_RAM_MAX: u64 = 0xc000_0000;
/// Start of RAM above the PCI hole.
pub const HIGH_RAM_BASE: u64 = 1 << 32;
/// Video memory window, option ROMs and BIOS.
const LEGACY_AREA: Range<u64> = 0xa_0000..0x10_0000;
/// Start of the PAM segments.
const SHADOW_BASE: u64 = 0xc_0000;

/// Guest memory could not be allocated.
#[derive(Debug, thiserror::Error)]
#[error("cannot allocate {bytes} bytes of guest memory: {why}")]
pub struct AllocateError {
    bytes: u64,
    why: String,
}

impl Memory {
    /// Allocates `ram` bytes of RAM (zeroed; the host kernel allocates pages on first use) and `video` bytes of video
    /// memory (may be 0).
    ///
    /// # Errors
    /// If the host cannot map that much memory.
    pub fn new(ram: u64, video: u64) -> Result<Self, AllocateError> {
        let low = ram.min(LOW_RAM_MAX);
        let mut ranges = vec![(GuestAddress(0), low)];
        if ram > low {
            ranges.push((GuestAddress(HIGH_RAM_BASE), ram - low));
        }
        let allocate = |ranges: &[(GuestAddress, u64)]| {
            let total = ranges.iter().map(|r| r.1).sum();
            let fail = |why: String| AllocateError { bytes: total, why };
            let sized: Vec<_> = ranges.iter().map(|&(base, len)| (base, len as usize)).collect();
            GuestMemoryMmap::<()>::from_ranges(&sized).map_err(|error| fail(error.to_string()))
        };
        Ok(Self {
            ram: allocate(&ranges)?,
            video: if video == 0 { GuestMemoryMmap::new() } else { allocate(&[(GuestAddress(0), video)])? },
            shadow: AtomicU32::new(0),
            dirty_video: (0..video.div_ceil(PAGE * 64)).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// RAM as vm-memory regions, for KVM memory slots and loaders. Addresses are guest-physical.
    pub fn ram(&self) -> &GuestMemoryMmap {
        &self.ram
    }

    /// Video memory as a vm-memory region at address 0; empty if the machine has no video memory.
    pub fn video(&self) -> &GuestMemoryMmap {
        &self.video
    }

    /// Bytes of RAM.
    pub fn ram_size(&self) -> u64 {
        self.ram.iter().map(region_len).sum()
    }

    /// Bytes of video memory.
    pub fn video_size(&self) -> u64 {
        self.video.iter().map(region_len).sum()
    }

    /// Sets how the PAM segments are decoded: twelve of 16 KiB from C0000h, then F0000h-FFFFFh. Called by the board.
    pub fn set_shadow(&self, shadow: &[Shadow; 13]) {
        let bits = shadow
            .iter()
            .enumerate()
            .fold(0, |bits, (n, s)| bits | u32::from(s.read_ram) << n | u32::from(s.write_ram) << (16 + n));
        self.shadow.store(bits, Ordering::Relaxed);
    }

    /// Splits `len` bytes at `addr` into runs and calls `each` for each of them, in order: with a slice if the run is
    /// RAM, else with `None`. `write` is the direction of the access. The number of runs is bounded by the number of
    /// RAM ranges and PAM segments.
    pub fn for_each_run<'a>(
        &'a self,
        addr: u64,
        len: u64,
        write: bool,
        mut each: impl FnMut(Option<VolatileSlice<'a>>, usize),
    ) {
        let mut at = addr;
        let mut left = len;
        while left > 0 {
            let (is_ram, run) = self.run_at(at, write);
            let run = run.min(left);
            let slice = if is_ram {
                GuestMemoryBackend::get_slice(&self.ram, GuestAddress(at), run as usize).ok()
            } else {
                None
            };
            each(slice, run as usize);
            left -= run;
            match at.checked_add(run) {
                Some(next) => at = next,
                None => {
                    if left > 0 {
                        each(None, left as usize);
                    }
                    return;
                }
            }
        }
    }

    /// Whether an access in this direction at `at` reaches RAM, and the number of bytes for which that holds at least.
    fn run_at(&self, at: u64, write: bool) -> (bool, u64) {
        if LEGACY_AREA.contains(&at) {
            if at < SHADOW_BASE {
                return (false, SHADOW_BASE - at);
            }
            let segment = ((at - SHADOW_BASE) >> 14).min(12);
            let end = if segment == 12 { LEGACY_AREA.end } else { SHADOW_BASE + ((segment + 1) << 14) };
            let bits = self.shadow.load(Ordering::Relaxed) >> if write { 16 } else { 0 };
            let exists = GuestMemoryBackend::address_in_range(&self.ram, GuestAddress(at));
            return (exists && bits >> segment & 1 == 1, end - at);
        }
        let next_edge = if at < LEGACY_AREA.start { LEGACY_AREA.start } else { u64::MAX };
        match GuestMemoryBackend::find_region(&self.ram, GuestAddress(at)) {
            Some(region) => {
                let end = region_start(region) + region_len(region);
                (true, end.min(next_edge) - at)
            }
            None => {
                let next = self
                    .ram
                    .iter()
                    .map(region_start)
                    .filter(|&start| start > at)
                    .min()
                    .unwrap_or(u64::MAX)
                    .min(next_edge);
                (false, (next - at).max(1))
            }
        }
    }

    /// Whether an access in this direction reaches RAM with all of its `len` bytes.
    pub fn is_ram(&self, addr: u64, len: u64, write: bool) -> bool {
        let mut all = true;
        self.for_each_run(addr, len, write, |slice, _| all &= slice.is_some());
        all
    }

    /// DMA read. Addresses that are not RAM read as FFh.
    pub fn read(&self, addr: u64, buf: &mut [u8]) {
        let mut done = 0;
        self.for_each_run(addr, buf.len() as u64, false, |slice, len| {
            let Some(part) = buf.get_mut(done..done + len) else { return };
            match slice {
                Some(slice) => {
                    slice.copy_to(part);
                }
                None => part.fill(0xff),
            }
            done += len;
        });
    }

    /// DMA write. Bytes for addresses that are not RAM are dropped.
    pub fn write(&self, addr: u64, buf: &[u8]) {
        let mut done = 0;
        self.for_each_run(addr, buf.len() as u64, true, |slice, len| {
            if let (Some(slice), Some(part)) = (slice, buf.get(done..done + len)) {
                slice.copy_from(part);
            }
            done += len;
        });
    }

    /// DMA read of a little-endian dword.
    pub fn read_u32(&self, addr: u64) -> u32 {
        let mut bytes = [0; 4];
        self.read(addr, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    /// Reads video memory. Bytes past its end read as FFh.
    pub fn read_video(&self, offset: u64, buf: &mut [u8]) {
        match self.video_slice(offset, buf.len()) {
            Some(slice) => {
                slice.copy_to(buf);
            }
            None => {
                buf.fill(0xff);
                let _ = Bytes::read(&self.video, buf, GuestAddress(offset));
            }
        }
    }

    /// Writes video memory and marks its pages dirty. Bytes past its end are dropped.
    pub fn write_video(&self, offset: u64, buf: &[u8]) {
        match self.video_slice(offset, buf.len()) {
            Some(slice) => slice.copy_from(buf),
            // A partial write, up to the end.
            None => drop(Bytes::write(&self.video, buf, GuestAddress(offset))),
        }
        self.mark_video_dirty(offset, buf.len());
    }

    #[inline]
    fn mark_video_dirty(&self, offset: u64, len: usize) {
        let end = offset.saturating_add(len as u64).min(self.dirty_video.len() as u64 * 64 * PAGE);
        for page in pages(offset..end) {
            let (word, bit) = (page / 64, 1 << (page % 64));
            if let Some(word) = self.dirty_video.get(word as usize)
                && word.load(Ordering::Relaxed) & bit == 0
            {
                word.fetch_or(bit, Ordering::Relaxed);
            }
        }
    }

    /// The slice of video memory, if all of it exists. Faster than vm-memory's search for a region: there is only one.
    #[inline]
    fn video_slice(&self, offset: u64, len: usize) -> Option<VolatileSlice<'_>> {
        self.video.iter().next()?.get_slice(MemoryRegionAddress(offset), len).ok()
    }

    /// Calls `each` with the byte range of every page that [`Self::write_video`] wrote since the last call, and marks
    /// them clean. Guest writes through a mapped window are not included; KVM's dirty log has them.
    pub fn take_dirty_video(&self, mut each: impl FnMut(Range<u64>)) {
        for (word, at) in self.dirty_video.iter().zip((0..).step_by(64)) {
            if word.load(Ordering::Relaxed) != 0 {
                let bits = word.swap(0, Ordering::Relaxed);
                (at..at + 64)
                    .filter(|page| bits >> (page % 64) & 1 != 0)
                    .for_each(|page| each(page * PAGE..(page + 1) * PAGE));
            }
        }
    }
}

fn region_start(region: &GuestRegionMmap) -> u64 {
    GuestMemoryRegion::start_addr(region).0
}

fn region_len(region: &GuestRegionMmap) -> u64 {
    GuestMemoryRegion::len(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dma_across_the_legacy_area_reads_ff_and_drops_writes_there() {
        let memory = Memory::new(2 << 20, 0).unwrap();
        let pattern: Vec<u8> = (0..0x8_0000u32).map(|n| n as u8 | 1).collect();
        memory.write(0x9_0000, &pattern);
        let mut back = vec![0; pattern.len()];
        memory.read(0x9_0000, &mut back);
        assert_eq!(back[..0x1_0000], pattern[..0x1_0000], "conventional memory");
        assert!(back[0x1_0000..0x7_0000].iter().all(|&b| b == 0xff), "video memory and ROM read as FFh");
        assert_eq!(back[0x7_0000..], pattern[0x7_0000..], "extended memory");
    }

    #[test]
    fn dma_past_the_end_of_ram_or_of_the_address_space_reads_ff() {
        let memory = Memory::new(1 << 20, 0).unwrap();
        for addr in [0xf_fffe, 0x10_0000, 0xffff_fffe, u64::MAX - 1, u64::MAX] {
            memory.write(addr, &[1, 2, 3, 4]);
            let mut back = [0; 4];
            memory.read(addr, &mut back);
            assert_eq!(back, [0xff; 4]);
        }
    }

    #[test]
    fn a_written_page_of_video_memory_is_reported_dirty_once() {
        let memory = Memory::new(1 << 20, 0x10_8000).unwrap();
        let take_dirty = || {
            let mut dirty = DirtyPages::none();
            memory.take_dirty_video(|bytes| dirty.add(bytes));
            dirty
        };
        assert_eq!(take_dirty(), DirtyPages::none());
        memory.write_video(0x1fff, &[1, 2]);
        memory.write_video(0x10_7fff, &[1, 2, 3]);
        memory.write_video(0x20_0000, &[1]);
        memory.write_video(u64::MAX, &[1, 2]);
        let written = take_dirty();
        for (bytes, expect) in [
            (0..0x1000, false),
            (0x1000..0x1001, true),
            (0x2fff..0x4000, true),
            (0x3000..0x10_7000, false),
            (0x3000..0x10_7001, true),
            (0x10_9000..0x30_0000, false),
            (0x1000..0x1000, false),
        ] {
            assert_eq!(written.contains(bytes.clone()), expect, "{bytes:x?}");
            assert_eq!(DirtyPages::all().contains(bytes.clone()), !bytes.is_empty());
        }
        assert_eq!(take_dirty(), DirtyPages::none());
    }

    #[test]
    fn pages_of_a_kvm_dirty_log_are_listed_below_the_count() {
        let mut log = DirtyPages::none();
        log.add_log(0x5000, &[1, 0, 1 << 63]);
        let mut pages = Vec::new();
        log.for_each_page(300, |page| pages.push(page));
        assert_eq!(pages, [5, 5 + 191]);
        log.for_each_page(5 + 191, |page| assert_eq!(page, 5));
        DirtyPages::all().for_each_page(3, |page| pages.push(page));
        assert_eq!(pages[2..], [0, 1, 2]);
    }

    #[test]
    fn pam_read_and_write_enables_are_independent() {
        let memory = Memory::new(1 << 20, 0).unwrap();
        let mut shadow = [Shadow::default(); 13];
        shadow[0] = Shadow { read_ram: true, write_ram: true };
        shadow[1] = Shadow { read_ram: false, write_ram: true };
        shadow[12] = Shadow { read_ram: true, write_ram: false };
        memory.set_shadow(&shadow);
        for (addr, expect) in [(0xc_0000, 7), (0xc_4000, 0xff), (0xf_ffff, 0), (0xc_8000, 0xff)] {
            memory.write(addr, &[7]);
            let mut back = [9];
            memory.read(addr, &mut back);
            assert_eq!(back[0], expect, "{addr:x}");
        }
        shadow[1].read_ram = true;
        memory.set_shadow(&shadow);
        let mut back = [0];
        memory.read(0xc_4000, &mut back);
        assert_eq!(back[0], 7, "the write reached RAM");
    }
}
