//! Guest memory as bus masters see it.
//!
//! RAM is one or two ranges: from 0 to the PCI hole, and from 4 GiB on. Between A0000h and FFFFFh a DMA meets video
//! memory and ROM: what it does there is harmless. Video memory is a range of its own, mapped for the guest by
//! [`crate::Region::video`].

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use vm_memory::{
    Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap, MemoryRegionAddress,
    VolatileSlice,
};

/// How one piece of C0000h-FFFFFh is decoded (82441FX data sheet, PAM registers: RE and WE).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shadow {
    /// Reads go to RAM (else to ROM).
    pub read_ram: bool,
    /// Writes go to RAM (else they are dropped).
    pub write_ram: bool,
}

/// Guest memory.
#[derive(Debug)]
pub struct Memory {
    ram: GuestMemoryMmap,
    video: GuestMemoryMmap,
    /// Bit n: piece n of C0000h-FFFFFh reads RAM; bit 16+n: writes reach RAM.
    shadow: AtomicU32,
    /// Pages of video memory that a device wrote, one bit each.
    video_written: Box<[AtomicU64]>,
}

/// Bytes of a page of video memory, as which it is kept account of.
pub const PAGE: u64 = 4096;

/// Parts of video memory, in whole pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirtyPages {
    all: bool,
    /// A bit for each page.
    pages: Vec<u64>,
}

impl DirtyPages {
    /// Nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// All of it.
    pub fn all() -> Self {
        Self { all: true, pages: Vec::new() }
    }

    /// Adds the pages in which bytes are.
    pub fn add(&mut self, bytes: Range<u64>) {
        for page in pages(bytes) {
            let word = (page / 64) as usize;
            if word >= self.pages.len() {
                self.pages.resize(word + 1, 0);
            }
            self.pages[word] |= 1 << (page % 64);
        }
    }

    /// Adds pages, a bit for each, from the one on that begins at byte `from`.
    pub fn add_log(&mut self, from: u64, log: &[u64]) {
        for (&bits, first) in log.iter().zip((from / PAGE..).step_by(64)).filter(|(bits, _)| **bits != 0) {
            let set = (first..first + 64).filter(|page| bits >> (page - first) & 1 != 0);
            set.for_each(|page| self.add(page * PAGE..(page + 1) * PAGE));
        }
    }

    /// Adds what another has.
    pub fn merge(&mut self, other: &Self) {
        self.all |= other.all;
        self.pages.resize(self.pages.len().max(other.pages.len()), 0);
        self.pages.iter_mut().zip(&other.pages).for_each(|(word, more)| *word |= more);
    }

    /// Whether it is nothing.
    pub fn is_empty(&self) -> bool {
        !self.all && self.pages.iter().all(|&word| word == 0)
    }

    /// Tells the pages that are touched, of so many.
    pub fn each_page(&self, count: u64, mut each: impl FnMut(u64)) {
        if self.all {
            return (0..count).for_each(each);
        }
        for (&bits, first) in self.pages.iter().zip((0..count).step_by(64)).filter(|(bits, _)| **bits != 0) {
            (first..count.min(first + 64)).filter(|page| bits >> (page - first) & 1 != 0).for_each(&mut each);
        }
    }

    /// Whether any of these bytes may have been touched.
    pub fn contains(&self, bytes: Range<u64>) -> bool {
        let has = |page: u64| self.pages.get((page / 64) as usize).is_some_and(|word| word >> (page % 64) & 1 != 0);
        self.all && !bytes.is_empty() || pages(bytes).any(has)
    }
}

/// The pages in which bytes are.
fn pages(bytes: Range<u64>) -> Range<u64> {
    if bytes.is_empty() { 0..0 } else { bytes.start / PAGE..(bytes.end - 1) / PAGE + 1 }
}

/// Where RAM stops below 4 GiB at the latest, and the PCI hole begins (as on QEMU's `pc`: 3 GiB, of which firmware
/// and tables know through fw_cfg).
pub const LOW_RAM_MAX: u64 = 0xc000_0000;
/// Where RAM goes on above the PCI hole.
pub const HIGH_RAM_BASE: u64 = 1 << 32;
const LEGACY: Range<u64> = 0xa_0000..0x10_0000;
const SHADOW_BASE: u64 = 0xc_0000;

/// Guest memory could not be allocated.
#[derive(Debug, thiserror::Error)]
#[error("cannot allocate {bytes} bytes of guest memory: {why}")]
pub struct AllocateError {
    bytes: u64,
    why: String,
}

impl Memory {
    /// RAM of `ram` bytes (zeroed, untouched until used) and `video` bytes of video memory (0 for none).
    ///
    /// # Errors
    /// If the host does not give that much.
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
            video_written: (0..video.div_ceil(PAGE * 64)).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// RAM as vm-memory has it, for KVM memory slots and for loaders. Addresses are guest-physical.
    pub fn ram(&self) -> &GuestMemoryMmap {
        &self.ram
    }

    /// Video memory as vm-memory has it: one region at address 0, or none.
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

    /// The board says how C0000h-FFFFFh is decoded.
    pub fn set_shadow(&self, shadow: &[Shadow; 13]) {
        let bits = shadow
            .iter()
            .enumerate()
            .fold(0, |bits, (n, s)| bits | u32::from(s.read_ram) << n | u32::from(s.write_ram) << (16 + n));
        self.shadow.store(bits, Ordering::Relaxed);
    }

    /// Splits `len` bytes at `addr` into runs that are RAM, given as slices, and runs that are not, given as `None`;
    /// `write` says which way the bytes would go. Work is bounded by the number of RAM ranges.
    pub fn pieces<'a>(
        &'a self,
        addr: u64,
        len: u64,
        write: bool,
        mut each: impl FnMut(Option<VolatileSlice<'a>>, usize),
    ) {
        let mut at = addr;
        let mut left = len;
        while left > 0 {
            let (is_ram, run) = self.run(at, write);
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

    /// Whether `at` is RAM in this direction, and for how many bytes at least the answer holds.
    fn run(&self, at: u64, write: bool) -> (bool, u64) {
        if LEGACY.contains(&at) {
            if at < SHADOW_BASE {
                return (false, SHADOW_BASE - at);
            }
            let piece = ((at - SHADOW_BASE) >> 14).min(12);
            let end = if piece == 12 { LEGACY.end } else { SHADOW_BASE + ((piece + 1) << 14) };
            let bits = self.shadow.load(Ordering::Relaxed) >> if write { 16 } else { 0 };
            let exists = GuestMemoryBackend::address_in_range(&self.ram, GuestAddress(at));
            return (exists && bits >> piece & 1 == 1, end - at);
        }
        let next_edge = if at < LEGACY.start { LEGACY.start } else { u64::MAX };
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

    /// A bus master reads; what is not RAM reads as FFh.
    pub fn read(&self, addr: u64, buf: &mut [u8]) {
        let mut done = 0;
        self.pieces(addr, buf.len() as u64, false, |slice, len| {
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

    /// A bus master writes; what is not RAM swallows it.
    pub fn write(&self, addr: u64, buf: &[u8]) {
        let mut done = 0;
        self.pieces(addr, buf.len() as u64, true, |slice, len| {
            if let (Some(slice), Some(part)) = (slice, buf.get(done..done + len)) {
                slice.copy_from(part);
            }
            done += len;
        });
    }

    /// A little-endian dword, as a descriptor fetch reads it.
    pub fn read_u32(&self, addr: u64) -> u32 {
        let mut bytes = [0; 4];
        self.read(addr, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    /// Reads video memory; past its end it reads as FFh.
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

    /// Writes video memory; what lies past its end is dropped.
    pub fn write_video(&self, offset: u64, buf: &[u8]) {
        match self.video_slice(offset, buf.len()) {
            Some(slice) => slice.copy_from(buf),
            // Up to the end.
            None => drop(Bytes::write(&self.video, buf, GuestAddress(offset))),
        }
        self.note_video_written(offset, buf.len());
    }

    #[inline]
    fn note_video_written(&self, offset: u64, len: usize) {
        let end = offset.saturating_add(len as u64).min(self.video_written.len() as u64 * 64 * PAGE);
        for page in pages(offset..end) {
            let (word, bit) = (page / 64, 1 << (page % 64));
            if let Some(word) = self.video_written.get(word as usize)
                && word.load(Ordering::Relaxed) & bit == 0
            {
                word.fetch_or(bit, Ordering::Relaxed);
            }
        }
    }

    /// Video memory that is there as a whole: it is one region, which need not be looked for.
    #[inline]
    fn video_slice(&self, offset: u64, len: usize) -> Option<VolatileSlice<'_>> {
        self.video.iter().next()?.get_slice(MemoryRegionAddress(offset), len).ok()
    }

    /// Tells which pages [`Self::write_video`] wrote since this was asked for the last time, as ranges of bytes. Who writes
    /// through a window is not seen here.
    pub fn take_video_written(&self, mut each: impl FnMut(Range<u64>)) {
        for (word, at) in self.video_written.iter().zip((0..).step_by(64)) {
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
    fn a_dma_passes_over_holes_without_harm() {
        let memory = Memory::new(2 << 20, 0).unwrap();
        let pattern: Vec<u8> = (0..0x8_0000u32).map(|n| n as u8 | 1).collect();
        memory.write(0x9_0000, &pattern);
        let mut back = vec![0; pattern.len()];
        memory.read(0x9_0000, &mut back);
        assert_eq!(back[..0x1_0000], pattern[..0x1_0000], "conventional memory");
        assert!(back[0x1_0000..0x7_0000].iter().all(|&b| b == 0xff), "video memory and ROM read as nothing");
        assert_eq!(back[0x7_0000..], pattern[0x7_0000..], "extended memory");
    }

    #[test]
    fn the_end_of_memory_and_of_the_address_space_are_holes() {
        let memory = Memory::new(1 << 20, 0).unwrap();
        for addr in [0xf_fffe, 0x10_0000, 0xffff_fffe, u64::MAX - 1, u64::MAX] {
            memory.write(addr, &[1, 2, 3, 4]);
            let mut back = [0; 4];
            memory.read(addr, &mut back);
            assert_eq!(back, [0xff; 4]);
        }
    }

    #[test]
    fn pages_of_video_memory_that_were_written_are_told_once() {
        let memory = Memory::new(1 << 20, 0x10_8000).unwrap();
        let touched = || {
            let mut touched = DirtyPages::none();
            memory.take_video_written(|bytes| touched.add(bytes));
            touched
        };
        assert_eq!(touched(), DirtyPages::none());
        memory.write_video(0x1fff, &[1, 2]);
        memory.write_video(0x10_7fff, &[1, 2, 3]);
        memory.write_video(0x20_0000, &[1]);
        memory.write_video(u64::MAX, &[1, 2]);
        let written = touched();
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
        assert_eq!(touched(), DirtyPages::none());
        // As KVM tells it.
        let mut log = DirtyPages::none();
        log.add_log(0x5000, &[1, 0, 1 << 63]);
        let mut pages = Vec::new();
        log.each_page(300, |page| pages.push(page));
        assert_eq!(pages, [5, 5 + 191]);
        log.each_page(5 + 191, |page| assert_eq!(page, 5));
        DirtyPages::all().each_page(3, |page| pages.push(page));
        assert_eq!(pages[2..], [0, 1, 2]);
    }

    #[test]
    fn shadow_decides_each_direction_by_itself() {
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
        assert_eq!(back[0], 7, "the write had reached RAM");
    }
}
