//! The memory map that INT 15h AX=E820h gives (ACPI specification 1.0b, chapter 14).

use crate::fw_cfg::FwCfg;
use crate::{Machine, cmos, scratch};
use pcvm_firmware_rt::{E820, Handoff};

/// RAM.
pub const RAM: u32 = 1;
/// Reserved.
pub const RESERVED: u32 = 2;
/// ACPI NVS: tables that the operating system must leave where they are.
pub const NVS: u32 = 4;
/// Nothing: [`Map::set`] takes the range out.
pub const NOTHING: u32 = 0;

/// Ranges that fw_cfg may name; the firmware's own come on top.
const MAX_TOLD: u32 = 40;
const TOLD_ENTRY: u32 = 20;
const MIB: u64 = 1 << 20;
/// Where RAM below 4 GiB ends at the latest, whatever the CMOS says: the rest is for devices.
const LOW_RAM_MAX: u64 = 0xe000_0000;
/// The last KiB of base memory: the extended BIOS data area.
const EBDA: (u64, u64) = (0x9_fc00, 0xa_0000);
/// The BIOS, from its data segment on.
const BIOS: (u64, u64) = (0xe_0000, 0x10_0000);
/// Where ROMs lie below 4 GiB.
const ROM: (u64, u64) = (0xfffc_0000, 0x1_0000_0000);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Range {
    start: u64,
    end: u64,
    kind: u32,
}

/// Ranges in order, none empty, none overlapping, neighbours of different kinds or apart.
#[derive(Clone, Copy, Debug)]
pub struct Map {
    ranges: [Range; Handoff::E820_MAX],
    count: usize,
}

impl Map {
    /// Empty.
    pub const fn new() -> Self {
        Self { ranges: [Range { start: 0, end: 0, kind: 0 }; Handoff::E820_MAX], count: 0 }
    }

    /// What the machine says about itself, and what every PC has.
    pub fn of_machine<M: Machine>(machine: &mut M, fw_cfg: Option<&FwCfg>) -> Self {
        let mut map = Self::new();
        if !fw_cfg.is_some_and(|fw_cfg| map.told(machine, fw_cfg)) {
            map.from_cmos(machine);
        }
        map.set(0xa_0000, BIOS.0, NOTHING);
        map.set(EBDA.0, EBDA.1, RESERVED);
        map.set(BIOS.0, BIOS.1, RESERVED);
        map.set(ROM.0, ROM.1, RESERVED);
        map
    }

    /// Takes `etc/e820`: u64 address, u64 length, u32 kind. False if it is not there or names no RAM.
    fn told<M: Machine>(&mut self, machine: &mut M, fw_cfg: &FwCfg) -> bool {
        let Some(file) = fw_cfg.file(machine, b"etc/e820") else { return false };
        let count = (file.size / TOLD_ENTRY).min(MAX_TOLD);
        if !fw_cfg.read_key(machine, file.key, scratch::BUFFER, count * TOLD_ENTRY) {
            return false;
        }
        // What is reserved wins over RAM.
        for ram in [true, false] {
            for n in 0..count {
                let at = scratch::BUFFER + n * TOLD_ENTRY;
                let kind = machine.read32(at + 16);
                if (kind == RAM) == ram && kind != NOTHING {
                    let base = u64::from(machine.read32(at + 4)) << 32 | u64::from(machine.read32(at));
                    let length = u64::from(machine.read32(at + 12)) << 32 | u64::from(machine.read32(at + 8));
                    self.set(base, base.saturating_add(length), kind);
                }
            }
        }
        self.low_ram_end() > MIB as u32
    }

    fn from_cmos<M: Machine>(&mut self, machine: &mut M) {
        *self = Self::new();
        let above_16m = u64::from(cmos::word(machine, cmos::ABOVE_16M)) << 16;
        let low = if above_16m != 0 {
            16 * MIB + above_16m
        } else {
            MIB + (u64::from(cmos::word(machine, cmos::EXTENDED)) << 10)
        };
        self.set(0, low.min(LOW_RAM_MAX), RAM);
        let high = u64::from(cmos::word(machine, cmos::ABOVE_4G)) << 16
            | u64::from(cmos::byte(machine, cmos::ABOVE_4G + 2)) << 32;
        self.set(1 << 32, (1 << 32) + high, RAM);
    }

    /// Makes the range this kind, whatever was there. Past what the map can hold, it is left as it is.
    pub fn set(&mut self, start: u64, end: u64, kind: u32) {
        if start >= end {
            return;
        }
        let mut next = Self::new();
        let mut placed = kind == NOTHING;
        let own = Range { start, end, kind };
        for &old in self.ranges.iter().take(self.count) {
            if !placed && old.start >= start {
                next.push(own);
                placed = true;
            }
            next.push(Range { end: old.end.min(start), ..old });
            if !placed && old.end > start {
                next.push(own);
                placed = true;
            }
            next.push(Range { start: old.start.max(end), ..old });
        }
        if !placed {
            next.push(own);
        }
        if next.count <= Handoff::E820_MAX {
            *self = next;
        }
    }

    fn push(&mut self, range: Range) {
        if range.start >= range.end {
            return;
        }
        if let Some(last) = self.count.checked_sub(1).and_then(|n| self.ranges.get_mut(n))
            && last.kind == range.kind
            && last.end == range.start
        {
            last.end = range.end;
            return;
        }
        if let Some(place) = self.ranges.get_mut(self.count) {
            *place = range;
        }
        // Counted even where there is no place: `set` sees it.
        self.count += 1;
    }

    /// Where the RAM that starts at 1 MiB ends: 1 MiB if there is none.
    pub fn low_ram_end(&self) -> u32 {
        let mut ranges = self.ranges.iter().take(self.count);
        let found = ranges.find(|r| r.kind == RAM && r.start <= MIB && r.end > MIB);
        found.map_or(MIB as u32, |range| range.end.min(0xffff_f000) as u32)
    }

    /// Bytes of RAM from 1 MiB up to the first hole.
    pub fn extended_memory(&self) -> u32 {
        self.low_ram_end() - MIB as u32
    }

    /// Where anything that is not a reserved range near the top of the first 4 GiB ends: above it there is room for
    /// devices.
    pub fn devices_start(&self) -> u32 {
        let below = self.ranges.iter().take(self.count).filter(|r| r.kind != RESERVED && r.end <= 1 << 32);
        below.map(|range| range.end.min(0xffff_ffff) as u32).max().unwrap_or(MIB as u32)
    }

    /// For the BIOS.
    pub fn write(&self, handoff: &mut Handoff) {
        let mut count = 0;
        for (to, from) in handoff.e820.iter_mut().zip(self.ranges.iter().take(self.count)) {
            let length = from.end - from.start;
            *to = E820 {
                base: from.start as u32,
                base_high: (from.start >> 32) as u32,
                length: length as u32,
                length_high: (length >> 32) as u32,
                kind: from.kind,
            };
            count += 1;
        }
        handoff.e820_count = count;
        handoff.extended_memory = self.extended_memory();
    }
}
