//! Which guest-physical addresses are memory: RAM, shadow RAM and ROM below 1 MiB, video windows, the ROM below 4 GiB.

use crate::kvm::slots::SlotSpec;
use pcvm_devices::memory::HIGH_RAM_BASE;
use pcvm_devices::{Memory, Region, Shadow};
use std::ops::Range;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

const CONVENTIONAL_END: u64 = 0xa_0000;
const SHADOW_BASE: u64 = 0xc_0000;
const EXTENDED_BASE: u64 = 0x10_0000;
/// How much of the firmware's end appears below 1 MiB.
const LEGACY_ROM: u64 = 0x2_0000;

/// A firmware image in memory, or an empty socket.
#[derive(Clone, Debug, Default)]
pub struct Rom(Option<(GuestMemoryMmap, u64)>);

impl Rom {
    /// Copies the image, which is a whole number of 4 KiB pages, into memory of its own. No bytes: an empty socket.
    ///
    /// # Errors
    /// If that cannot be allocated.
    pub fn new(image: &[u8]) -> Result<Self, String> {
        let len = image.len();
        if len == 0 {
            return Ok(Self(None));
        }
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), len)]).map_err(|error| error.to_string())?;
        vm_memory::Bytes::write_slice(&memory, image, GuestAddress(0)).map_err(|error| error.to_string())?;
        Ok(Self(Some((memory, len as u64))))
    }
}

/// Where piece `n` of the shadowed area lies.
fn piece(n: usize) -> Range<u64> {
    let start = SHADOW_BASE + (n as u64) * 0x4000;
    if n == 12 { start..EXTENDED_BASE } else { start..start + 0x4000 }
}

/// All memory slots.
pub fn slots(memory: &Memory, shadow: &[Shadow; 13], rom: &Rom, video: &[Region]) -> Vec<SlotSpec> {
    let mut all = Vec::new();
    let ram = |range: Range<u64>, read_only| SlotSpec {
        gpa: range.start,
        len: range.end - range.start,
        memory: memory.ram().clone(),
        at: range.start,
        read_only,
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
    if let Rom(Some((image, len))) = rom {
        all.push(SlotSpec { gpa: HIGH_RAM_BASE - len, len: *len, memory: image.clone(), at: 0, read_only: true });
    }
    for window in video {
        let Some(at) = window.video else { continue };
        let len = window.len.min(memory.video_size().saturating_sub(at));
        let taken = |slot: &SlotSpec| window.base < slot.gpa + slot.len && slot.gpa < window.base + len;
        // A BAR that the guest put over RAM or ROM stays hidden behind it, as behind the host bridge.
        if len >= 0x1000 && !all.iter().any(taken) {
            let len = len & !0xfff;
            all.push(SlotSpec { gpa: window.base, len, memory: memory.video().clone(), at, read_only: false });
        }
    }
    all
}

/// C0000h-FFFFFh: neighbours of one kind become one slot.
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
    let rom_start = match rom {
        Rom(Some((_, len))) => EXTENDED_BASE - (*len).min(LEGACY_ROM),
        Rom(None) => EXTENDED_BASE,
    };
    let mut n = 0;
    while n < 13 {
        let kind = |n: usize| {
            let range = piece(n);
            match shadow[n] {
                Shadow { read_ram: true, write_ram } if range.end <= ram_end => Kind::Ram { read_only: !write_ram },
                _ if range.start >= rom_start => Kind::Rom,
                _ => Kind::Nothing,
            }
        };
        let first = n;
        while n < 13 && kind(n) == kind(first) {
            n += 1;
        }
        let range = piece(first).start..piece(n - 1).end;
        match (kind(first), rom) {
            (Kind::Ram { read_only }, _) => all.push(ram(range, read_only)),
            (Kind::Rom, Rom(Some((image, len)))) => all.push(SlotSpec {
                gpa: range.start,
                len: range.end - range.start,
                memory: image.clone(),
                at: len - (EXTENDED_BASE - range.start),
                read_only: true,
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
    fn at_power_on_the_rom_shows_below_1_mib_and_below_4_gib() {
        let memory = Memory::new(16 << 20, 0).unwrap();
        let rom = Rom::new(&vec![0; 256 << 10]).unwrap();
        assert_eq!(
            summary(&slots(&memory, &[Shadow::default(); 13], &rom, &[])),
            [
                (0, 0xa_0000, 0, false),
                (0xe_0000, 0x2_0000, 0x2_0000, true),
                (0x10_0000, 15 << 20, 0x10_0000, false),
                (0xfffc_0000, 0x4_0000, 0, true),
            ]
        );
    }

    #[test]
    fn shadow_pieces_become_ram_or_read_only_ram() {
        let memory = Memory::new(16 << 20, 0).unwrap();
        let rom = Rom::new(&vec![0; 64 << 10]).unwrap();
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
