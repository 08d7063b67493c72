//! Guest-physical memory map as KVM memory slots: RAM, shadow RAM and ROM below 1 MiB, video windows, the ROM below 4 GiB.

use crate::kvm::slots::SlotSpec;
use pcvm_devices::memory::HIGH_RAM_BASE;
use pcvm_devices::{Memory, Region, Shadow};
use std::ops::Range;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

const CONVENTIONAL_END: u64 = 0xa_0000;
const SHADOW_BASE: u64 = 0xc_0000;
const EXTENDED_BASE: u64 = 0x10_0000;
/// How much of the end of the firmware image is mapped below 1 MiB, in bytes.
const LEGACY_ROM: u64 = 0x2_0000;
/// How much of the video BIOS is mapped at C0000h, in bytes.
const VIDEO_ROM: u64 = 0xc000;
/// Bytes that one half of a PAM register controls.
const PIECE: u64 = 0x4000;

/// The ROM images, each in a mapping of its own; none for an empty socket.
#[derive(Clone, Debug, Default)]
pub struct Rom {
    system: Option<Image>,
    video: Option<Image>,
}

#[derive(Clone, Debug)]
struct Image {
    memory: GuestMemoryMmap,
    len: u64,
}

impl Rom {
    /// Copies the system BIOS, a multiple of 64 KiB, and the video BIOS. An empty slice is an empty socket. Up to 48 KiB of
    /// the video BIOS are mapped at C0000h while that is not shadowed, as for an adapter on the main board: not every BIOS
    /// copies it from the adapter's expansion ROM.
    ///
    /// # Errors
    /// If memory for them cannot be allocated.
    pub fn new(system: &[u8], video: &[u8]) -> Result<Self, String> {
        let image = |bytes: &[u8]| -> Result<Option<Image>, String> {
            if bytes.is_empty() {
                return Ok(None);
            }
            let len = bytes.len().next_multiple_of(PIECE as usize);
            let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), len)]).map_err(|error| error.to_string())?;
            vm_memory::Bytes::write_slice(&memory, bytes, GuestAddress(0)).map_err(|error| error.to_string())?;
            Ok(Some(Image { memory, len: len as u64 }))
        };
        Ok(Self { system: image(system)?, video: image(video)? })
    }

    /// Reads ROM at a guest-physical address under these PAM settings. False if not all bytes are in one image.
    pub fn read(&self, shadow: &[Shadow; 13], addr: u64, data: &mut [u8]) -> bool {
        let end = addr + data.len() as u64;
        let found = if (SHADOW_BASE..EXTENDED_BASE).contains(&addr) {
            let n = ((addr - SHADOW_BASE) / PIECE).min(12) as usize;
            let image = self.below_1_mib(n).filter(|_| !shadow[n].read_ram && end <= piece(n).end);
            image.map(|(image, at)| (image, at + addr - piece(n).start))
        } else {
            let image = self.system.as_ref().filter(|image| addr >= HIGH_RAM_BASE - image.len && end <= HIGH_RAM_BASE);
            image.map(|image| (image, addr + image.len - HIGH_RAM_BASE))
        };
        found.is_some_and(|(image, at)| vm_memory::Bytes::read_slice(&image.memory, data, GuestAddress(at)).is_ok())
    }

    /// The image behind piece `n` of C0000h-FFFFFh where RAM is not readable, and the offset in it.
    fn below_1_mib(&self, n: usize) -> Option<(&Image, u64)> {
        let range = piece(n);
        if let Some(system) = &self.system
            && EXTENDED_BASE - range.start <= system.len.min(LEGACY_ROM)
        {
            return Some((system, system.len - (EXTENDED_BASE - range.start)));
        }
        let video = self.video.as_ref()?;
        let end = range.end - SHADOW_BASE;
        (end <= video.len.min(VIDEO_ROM)).then(|| (video, range.start - SHADOW_BASE))
    }
}

/// The addresses of piece `n` of C0000h-FFFFFh.
fn piece(n: usize) -> Range<u64> {
    let start = SHADOW_BASE + (n as u64) * PIECE;
    if n == 12 { start..EXTENDED_BASE } else { start..start + PIECE }
}

/// The memory slots of the whole map.
pub fn slots(memory: &Memory, shadow: &[Shadow; 13], rom: &Rom, video: &[Region]) -> Vec<SlotSpec> {
    let mut all = Vec::new();
    let ram = |range: Range<u64>, read_only| SlotSpec {
        gpa: range.start,
        len: range.end - range.start,
        memory: memory.ram().clone(),
        at: range.start,
        read_only,
        video: false,
    };
    for region in memory.ram().iter() {
        let start = region.start_addr().0;
        let end = start + region.len();
        if start == 0 {
            all.push(ram(0..end.min(CONVENTIONAL_END), false));
            shadowed(&mut all, end, shadow, rom, &ram);
            if end > EXTENDED_BASE {
                all.push(ram(EXTENDED_BASE..end, false));
            }
        } else {
            debug_assert_eq!(start, HIGH_RAM_BASE);
            all.push(ram(start..end, false));
        }
    }
    if let Some(Image { memory, len }) = &rom.system {
        all.push(SlotSpec {
            gpa: HIGH_RAM_BASE - len,
            len: *len,
            memory: memory.clone(),
            at: 0,
            read_only: true,
            video: false,
        });
    }
    for window in video {
        let Some(at) = window.video else { continue };
        let len = window.len.min(memory.video_size().saturating_sub(at));
        let taken = |slot: &SlotSpec| window.base < slot.gpa + slot.len && slot.gpa < window.base + len;
        // RAM and ROM hide a BAR that the guest puts over them, as behind the host bridge.
        if len >= 0x1000 && !all.iter().any(taken) {
            let len = len & !0xfff;
            all.push(SlotSpec {
                gpa: window.base,
                len,
                memory: memory.video().clone(),
                at,
                read_only: false,
                video: true,
            });
        }
    }
    all
}

/// C0000h-FFFFFh, with one slot for adjacent pieces of the same kind.
fn shadowed(
    all: &mut Vec<SlotSpec>,
    ram_end: u64,
    shadow: &[Shadow; 13],
    rom: &Rom,
    ram: &impl Fn(Range<u64>, bool) -> SlotSpec,
) {
    #[derive(PartialEq, Clone, Copy)]
    enum Kind {
        Ram { read_only: bool },
        Rom,
        Nothing,
    }
    let kind = |n: usize| match shadow[n] {
        Shadow { read_ram: true, write_ram } if piece(n).end <= ram_end => Kind::Ram { read_only: !write_ram },
        _ if rom.below_1_mib(n).is_some() => Kind::Rom,
        _ => Kind::Nothing,
    };
    // Whether piece `n` continues the one before it.
    let follows = |n: usize| {
        kind(n) == kind(n - 1)
            && match (rom.below_1_mib(n - 1), rom.below_1_mib(n)) {
                (Some((_, before)), Some((_, at))) if kind(n) == Kind::Rom => at == before + PIECE,
                _ => true,
            }
    };
    let mut n = 0;
    while n < 13 {
        let first = n;
        n += 1;
        while n < 13 && follows(n) {
            n += 1;
        }
        let range = piece(first).start..piece(n - 1).end;
        match (kind(first), rom.below_1_mib(first)) {
            (Kind::Ram { read_only }, _) => all.push(ram(range, read_only)),
            (Kind::Rom, Some((image, at))) => all.push(SlotSpec {
                gpa: range.start,
                len: range.end - range.start,
                memory: image.memory.clone(),
                at,
                read_only: true,
                video: false,
            }),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(slots: &[SlotSpec]) -> Vec<(u64, u64, u64, bool)> {
        slots.iter().map(|s| (s.gpa, s.len, s.at, s.read_only)).collect()
    }

    #[test]
    fn the_roms_are_mapped_below_1_mib_and_below_4_gib_at_power_on() {
        let memory = Memory::new(16 << 20, 0).unwrap();
        let rom = Rom::new(&vec![0; 256 << 10], &vec![0; 0x9000]).unwrap();
        assert_eq!(
            summary(&slots(&memory, &[Shadow::default(); 13], &rom, &[])),
            [
                (0, 0xa_0000, 0, false),
                (0xc_0000, 0xc000, 0, true),
                (0xe_0000, 0x2_0000, 0x2_0000, true),
                (0x10_0000, 15 << 20, 0x10_0000, false),
                (0xfffc_0000, 0x4_0000, 0, true),
            ]
        );
    }

    #[test]
    fn shadow_pieces_become_ram_or_read_only_ram() {
        let memory = Memory::new(16 << 20, 0).unwrap();
        let rom = Rom::new(&vec![0; 64 << 10], &[]).unwrap();
        let mut shadow = [Shadow { read_ram: true, write_ram: true }; 13];
        shadow[2] = Shadow { read_ram: false, write_ram: true };
        shadow[12] = Shadow { read_ram: true, write_ram: false };
        assert_eq!(
            summary(&slots(&memory, &shadow, &rom, &[]))[1..4],
            [
                (0xc_0000, 0x8000, 0xc_0000, false),
                (0xc_c000, 0x2_4000, 0xc_c000, false),
                (0xf_0000, 0x1_0000, 0xf_0000, true),
            ]
        );
    }

    #[test]
    fn a_video_window_never_covers_ram() {
        let memory = Memory::new(16 << 20, 1 << 20).unwrap();
        let windows = [
            Region::video(0x80_0000, 1 << 20, 0, 0),
            Region::video(0xa_0000, 0x1_0000, 1, 0x1_0000),
            Region::video(0xe000_0000, 16 << 20, 2, 0),
        ];
        let all = summary(&slots(&memory, &[Shadow::default(); 13], &Rom::default(), &windows));
        assert_eq!(all[2..], [(0xa_0000, 0x1_0000, 0x1_0000, false), (0xe000_0000, 1 << 20, 0, false)]);
    }
}
