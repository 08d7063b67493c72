//! E820 memory map, as INT 15h AX=E820h returns it (ACPI specification 1.0b, chapter 14).

use crate::fw_cfg::FwCfg;
use crate::{Machine, cmos, scratch};
use pcvm_firmware_rt::{E820, Handoff};

/// RAM.
pub const RAM: u32 = 1;
/// Reserved.
pub const RESERVED: u32 = 2;
/// ACPI NVS: tables that the operating system must preserve.
pub const NVS: u32 = 4;
/// No entry: [`Map::set`] removes the range.
pub const REMOVE: u32 = 0;

/// Entries of `etc/e820` that are used. The firmware adds ranges of its own.
const MAX_FW_CFG_ENTRIES: u32 = 40;
/// Bytes of an entry: u64 address, u64 length, u32 type.
const FW_CFG_ENTRY: u32 = 20;
const MIB: u64 = 1 << 20;
/// Limit of RAM below 4 GiB from the CMOS: the rest is for devices.
const LOW_RAM_MAX: u64 = 0xe000_0000;
/// The extended BIOS data area: the last KiB of base memory.
const EBDA: (u64, u64) = (0x9_fc00, 0xa_0000);
/// The BIOS: its data segment and its code.
const BIOS: (u64, u64) = (0xe_0000, 0x10_0000);
/// The ROMs below 4 GiB.
const ROM: (u64, u64) = (0xfffc_0000, 0x1_0000_0000);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Range {
    start: u64,
    end: u64,
    kind: u32,
}

/// Memory ranges in ascending order: not empty, not overlapping; adjacent ranges have different types.
#[derive(Clone, Copy, Debug)]
pub struct Map {
    ranges: [Range; Handoff::E820_MAX],
    count: usize,
}

impl Map {
    /// An empty map.
    pub const fn new() -> Self {
        Self { ranges: [Range { start: 0, end: 0, kind: 0 }; Handoff::E820_MAX], count: 0 }
    }

    /// The machine's RAM according to fw_cfg or the CMOS, with the reserved ranges of a PC.
    pub fn of_machine<M: Machine>(machine: &mut M, fw_cfg: Option<&FwCfg>) -> Self {
        let mut map = Self::new();
        if !fw_cfg.is_some_and(|fw_cfg| map.add_fw_cfg(machine, fw_cfg)) {
            map.set_from_cmos(machine);
        }
        map.set(0xa_0000, BIOS.0, REMOVE);
        map.set(EBDA.0, EBDA.1, RESERVED);
        map.set(BIOS.0, BIOS.1, RESERVED);
        map.set(ROM.0, ROM.1, RESERVED);
        map
    }

    /// Adds the ranges of `etc/e820`. False if the file is missing or lists no RAM above 1 MiB.
    fn add_fw_cfg<M: Machine>(&mut self, machine: &mut M, fw_cfg: &FwCfg) -> bool {
        let Some(file) = fw_cfg.file(machine, b"etc/e820") else { return false };
        let count = (file.size / FW_CFG_ENTRY).min(MAX_FW_CFG_ENTRIES);
        let bytes = count * FW_CFG_ENTRY;
        if !fw_cfg.read_key(machine, file.key, scratch::BUFFER, bytes) {
            return false;
        }
        // RAM first: reserved ranges override it.
        for ram in [true, false] {
            for n in 0..count {
                let at = scratch::BUFFER + n * FW_CFG_ENTRY;
                let kind = machine.read32(at + 16);
                if (kind == RAM) == ram && kind != REMOVE {
                    let base = u64::from(machine.read32(at + 4)) << 32 | u64::from(machine.read32(at));
                    let length = u64::from(machine.read32(at + 12)) << 32 | u64::from(machine.read32(at + 8));
                    self.set(base, base.saturating_add(length), kind);
                }
            }
        }
        machine.fill(scratch::BUFFER, 0, bytes);
        self.low_ram_end() > MIB as u32
    }

    fn set_from_cmos<M: Machine>(&mut self, machine: &mut M) {
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

    /// Sets the type of a range, overriding ranges that it overlaps. Does nothing if the map is full.
    pub fn set(&mut self, start: u64, end: u64, kind: u32) {
        // Needs up to two free entries: the new range may split another one.
        if start >= end || self.count + 2 > self.ranges.len() {
            return;
        }
        let mut n = 0;
        while let Some(range) = self.ranges.get_mut(n).filter(|_| n < self.count) {
            let old = *range;
            if old.end <= start {
                n += 1;
            } else if old.start >= end {
                break;
            } else if old.start < start {
                range.end = start;
                if old.end > end {
                    self.insert(n + 1, Range { start: end, ..old });
                }
                n += 1;
            } else if old.end > end {
                range.start = end;
                break;
            } else {
                self.remove(n);
            }
        }
        if kind == REMOVE {
            return;
        }
        self.insert(n, Range { start, end, kind });
        self.join(n + 1);
        self.join(n);
    }

    /// Joins range `n` to the one before it, if they are adjacent and of the same type.
    fn join(&mut self, n: usize) {
        let before = n.checked_sub(1).and_then(|n| self.ranges.get(n)).copied();
        let (Some(before), Some(range)) = (before, self.ranges.get_mut(n).filter(|_| n < self.count)) else { return };
        if before.kind == range.kind && before.end == range.start {
            range.start = before.start;
            self.remove(n - 1);
        }
    }

    fn insert(&mut self, at: usize, range: Range) {
        for n in (at..self.count).rev() {
            self.ranges[n + 1] = self.ranges[n];
        }
        self.ranges[at] = range;
        self.count += 1;
    }

    fn remove(&mut self, at: usize) {
        self.count -= 1;
        for n in at..self.count {
            self.ranges[n] = self.ranges[n + 1];
        }
    }

    /// End of the RAM that starts at 1 MiB; 1 MiB if there is none.
    pub fn low_ram_end(&self) -> u32 {
        let mut ranges = self.ranges.iter().take(self.count);
        let found = ranges.find(|r| r.kind == RAM && r.start <= MIB && r.end > MIB);
        found.map_or(MIB as u32, |range| range.end.min(0xffff_f000) as u32)
    }

    /// Bytes of RAM from 1 MiB to the first hole.
    pub fn extended_memory(&self) -> u32 {
        self.low_ram_end() - MIB as u32
    }

    /// End of the last range below 4 GiB that is not reserved: the PCI window starts there or higher.
    pub fn devices_start(&self) -> u32 {
        let below = self.ranges.iter().take(self.count).filter(|r| r.kind != RESERVED && r.end <= 1 << 32);
        below.map(|range| range.end.min(0xffff_ffff) as u32).max().unwrap_or(MIB as u32)
    }

    /// Writes the map to the handoff structure.
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
