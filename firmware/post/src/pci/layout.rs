//! PCI resource allocation: addresses for BARs and bridge windows, in descending order of alignment to avoid gaps.

use super::config::{command, reg, write16, write32};
use super::{MAX_RANGES, Pci, Range, RangeKind};
use crate::Machine;

/// The address range for PCI memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryWindow {
    /// First address.
    pub start: u32,
    /// Address after the last one.
    pub end: u32,
}

/// I/O ports, first choice: above the ports of ISA devices and the chipset.
const IO: (u64, u64) = (0xc000, 0x1_0000);
/// I/O ports, second choice: below the power management and SMBus ports (AFE0h, B000h, B100h).
const MORE_IO: (u64, u64) = (0x1000, 0xa000);
const IO_GRANULE: u32 = 0x1000;
const MEMORY_GRANULE: u32 = 0x10_0000;
/// Values of a closed bridge window: limit below base.
const IO_CLOSED: u16 = 0x00f0;
const MEMORY_CLOSED: u32 = 0x0000_fff0;

impl Pci {
    /// Assigns an address to every range and writes it to the functions, whose decoding stays disabled.
    pub fn assign<M: Machine>(&mut self, machine: &mut M, window: MemoryWindow) {
        let requested = self.range_count;
        // Each round that fails drops the largest range.
        for _ in 0..=MAX_RANGES {
            self.range_count = requested;
            self.add_windows();
            if self.assign_io() && self.assign_memory(window) {
                break;
            }
        }
        self.assign_behind_bridges();
        for n in 0..self.range_count {
            let Some(range) = self.ranges.get(n).copied() else { break };
            self.write(machine, &range);
        }
    }

    /// Adds the windows of bridges, innermost first, as ranges on the bus in front of the bridge.
    fn add_windows(&mut self) {
        for bus in (1..self.bus_count).rev() {
            let Some(&super::Bus { bridge: Some(bridge), prefetchable, .. }) = self.buses.get(bus) else { continue };
            let Some(outer) = self.functions.get(usize::from(bridge)).map(|f| f.bus) else { continue };
            for (kind, register, granule) in [
                (RangeKind::Io, reg::IO_WINDOW, IO_GRANULE),
                (RangeKind::Memory, reg::MEMORY_WINDOW, MEMORY_GRANULE),
                (RangeKind::Prefetchable, reg::PREFETCHABLE_WINDOW, MEMORY_GRANULE),
            ] {
                if kind == RangeKind::Prefetchable && !prefetchable {
                    continue;
                }
                let (end, align) = self.layout(bus as u8, kind, 0);
                let align = align.max(granule);
                let Ok(size) = u32::try_from(end.next_multiple_of(granule.into())) else { continue };
                let window = Some(bus as u8);
                let range =
                    Range { function: bridge, register, kind, window, bus: outer, size, align, ..Range::default() };
                self.add_range(range);
            }
        }
    }

    /// Whether a range is allocated with the ranges of `kind` on `bus`.
    fn belongs(&self, range: &Range, bus: u8, kind: RangeKind) -> bool {
        let separate = bus != 0 && self.buses.get(usize::from(bus)).is_some_and(|bus| bus.prefetchable);
        let matches =
            range.kind == kind || kind == RangeKind::Memory && range.kind == RangeKind::Prefetchable && !separate;
        matches && range.bus == bus && !range.dropped && range.size != 0
    }

    /// Assigns addresses from `base` to all ranges of a kind on a bus. `base` has the largest alignment of the ranges.
    /// Returns the end address and that alignment.
    fn layout(&mut self, bus: u8, kind: RangeKind, base: u64) -> (u64, u32) {
        let mut aligns = 0;
        for range in self.ranges.iter().take(self.range_count) {
            if self.belongs(range, bus, kind) {
                aligns |= range.align;
            }
        }
        let largest = 1u32.checked_shl(31u32.wrapping_sub(aligns.leading_zeros())).unwrap_or(1);
        let mut next = base;
        while aligns != 0 {
            let align = 1 << (31 - aligns.leading_zeros());
            aligns &= !align;
            for n in 0..self.range_count {
                let Some(range) = self.ranges.get(n).copied() else { break };
                if range.align == align && self.belongs(&range, bus, kind) {
                    next = next.next_multiple_of(align.into());
                    if let Some(range) = self.ranges.get_mut(n) {
                        range.base = next as u32;
                    }
                    next += u64::from(range.size);
                }
            }
        }
        (next, largest)
    }

    fn assign_io(&mut self) -> bool {
        let (end, align) = self.layout(0, RangeKind::Io, 0);
        let start = [IO, MORE_IO].into_iter().find_map(|(first, last)| {
            let start = first.next_multiple_of(align.into());
            (start + end <= last).then_some(start)
        });
        match start {
            Some(start) => {
                self.layout(0, RangeKind::Io, start);
                true
            }
            None => !self.drop_largest(|kind| kind == RangeKind::Io),
        }
    }

    fn assign_memory(&mut self, window: MemoryWindow) -> bool {
        let (size, align) = self.layout(0, RangeKind::Memory, 0);
        let start = u64::from(window.end).checked_sub(size).map(|start| start & !(u64::from(align) - 1));
        match start.filter(|&start| start >= u64::from(window.start)) {
            Some(start) => {
                self.layout(0, RangeKind::Memory, start);
                true
            }
            None => !self.drop_largest(|kind| kind != RangeKind::Io),
        }
    }

    /// Drops the largest range. False if none is left.
    fn drop_largest(&mut self, wanted: impl Fn(RangeKind) -> bool) -> bool {
        let mut largest: Option<&mut Range> = None;
        for range in self.ranges.iter_mut().take(self.range_count) {
            let counts = range.window.is_none() && !range.dropped && wanted(range.kind);
            if counts && largest.as_ref().is_none_or(|l| l.size < range.size) {
                largest = Some(range);
            }
        }
        let found = largest.is_some();
        if let Some(range) = largest {
            range.dropped = true;
        }
        found
    }

    fn assign_behind_bridges(&mut self) {
        // Outer buses precede the buses behind them.
        for bus in 1..self.bus_count {
            for kind in [RangeKind::Io, RangeKind::Memory, RangeKind::Prefetchable] {
                let mut windows = self.ranges.iter().take(self.range_count);
                let window = windows.find(|r| r.window == Some(bus as u8) && r.kind == kind && r.size != 0);
                if let Some(base) = window.map(|window| window.base) {
                    self.layout(bus as u8, kind, base.into());
                }
            }
        }
    }

    fn write<M: Machine>(&mut self, machine: &mut M, range: &Range) {
        let Some(function) = self.functions.get_mut(usize::from(range.function)) else { return };
        let bdf = function.bdf;
        if range.window.is_some() {
            let first = range.base;
            let last = range.base.wrapping_add(range.size).wrapping_sub(1);
            let open = range.size != 0;
            match range.kind {
                RangeKind::Io => {
                    let value = if open { (last >> 8 & 0xf0) << 8 | first >> 8 & 0xf0 } else { IO_CLOSED.into() };
                    write16(machine, bdf, range.register, value as u16);
                    write32(machine, bdf, reg::IO_WINDOW_HIGH, 0);
                }
                _ => {
                    let value = if open { last & 0xfff0_0000 | first >> 16 & 0xfff0 } else { MEMORY_CLOSED };
                    write32(machine, bdf, range.register, value);
                    if range.kind == RangeKind::Prefetchable {
                        // High dwords of base and limit.
                        write32(machine, bdf, reg::PREFETCHABLE_WINDOW + 4, 0);
                        write32(machine, bdf, reg::PREFETCHABLE_WINDOW + 8, 0);
                    }
                }
            }
            return;
        }
        if range.dropped && range.register != reg::ROM && range.register != reg::BRIDGE_ROM {
            function.disabled |= if range.kind == RangeKind::Io { command::IO } else { command::MEMORY };
        }
        // The enable bit of a ROM BAR stays clear.
        write32(machine, bdf, range.register, if range.dropped { 0 } else { range.base });
        if range.wide {
            write32(machine, bdf, range.register + 4, 0);
        }
    }
}
