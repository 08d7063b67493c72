//! Where the functions' address ranges go: sorted by alignment, so that nothing is lost between them.

use super::config::{command, reg, write16, write32};
use super::{Kind, MAX_RANGES, Pci, Range};
use crate::Machine;

/// Addresses that there are for devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Memory: first address.
    pub memory_start: u32,
    /// Memory: the address after the last.
    pub memory_end: u32,
}

/// I/O ports, first choice: above everything that ISA devices and the chipset use.
const IO: (u64, u64) = (0xc000, 0x1_0000);
/// More of them: below the power management and SMBus ports (AFE0h, B000h, B100h).
const MORE_IO: (u64, u64) = (0x1000, 0xa000);
const IO_GRANULE: u32 = 0x1000;
const MEMORY_GRANULE: u32 = 0x10_0000;
/// A window that is closed: its limit lies below its base.
const IO_CLOSED: u16 = 0x00f0;
const MEMORY_CLOSED: u32 = 0x0000_fff0;

impl Pci {
    /// Gives every range an address, and writes it to the functions. They do not answer yet.
    pub fn place<M: Machine>(&mut self, machine: &mut M, windows: Windows) {
        let asked = self.range_count;
        // Each round that fails drops a range.
        for _ in 0..=MAX_RANGES {
            self.range_count = asked;
            self.add_windows();
            if self.place_io() && self.place_memory(windows) {
                break;
            }
        }
        self.place_behind_bridges();
        for n in 0..self.range_count {
            let Some(range) = self.ranges.get(n).copied() else { break };
            self.write(machine, &range);
        }
    }

    /// The windows of bridges, from the innermost out: each is a range on the bus in front of it.
    fn add_windows(&mut self) {
        for bus in (1..self.bus_count).rev() {
            let Some(&super::Bus { bridge: Some(bridge), prefetchable, .. }) = self.buses.get(bus) else { continue };
            let Some(outer) = self.functions.get(usize::from(bridge)).map(|f| f.bus) else { continue };
            for (kind, register, granule) in [
                (Kind::Io, reg::IO_WINDOW, IO_GRANULE),
                (Kind::Memory, reg::MEMORY_WINDOW, MEMORY_GRANULE),
                (Kind::Prefetchable, reg::PREFETCHABLE_WINDOW, MEMORY_GRANULE),
            ] {
                if kind == Kind::Prefetchable && !prefetchable {
                    continue;
                }
                let (end, align) = self.layout(bus as u8, kind, 0);
                let align = align.max(granule);
                let Ok(size) = u32::try_from(end.next_multiple_of(granule.into())) else { continue };
                let window = Some(bus as u8);
                let range =
                    Range { function: bridge, register, kind, window, bus: outer, size, align, ..Range::default() };
                self.ask(range);
            }
        }
    }

    /// Whether a range on `bus` goes where ranges of `kind` go.
    fn goes(&self, range: &Range, bus: u8, kind: Kind) -> bool {
        let apart = bus != 0 && self.buses.get(usize::from(bus)).is_some_and(|bus| bus.prefetchable);
        let matches = range.kind == kind || kind == Kind::Memory && range.kind == Kind::Prefetchable && !apart;
        matches && range.bus == bus && !range.dropped && range.size != 0
    }

    /// Places all ranges of a kind on a bus from `base` on, which is aligned as the largest asks. Returns where they
    /// end, and that alignment.
    fn layout(&mut self, bus: u8, kind: Kind, base: u64) -> (u64, u32) {
        let mut aligns = 0;
        for range in self.ranges.iter().take(self.range_count) {
            if self.goes(range, bus, kind) {
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
                if range.align == align && self.goes(&range, bus, kind) {
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

    fn place_io(&mut self) -> bool {
        let (end, align) = self.layout(0, Kind::Io, 0);
        let start = [IO, MORE_IO].into_iter().find_map(|(first, last)| {
            let start = first.next_multiple_of(align.into());
            (start + end <= last).then_some(start)
        });
        match start {
            Some(start) => {
                self.layout(0, Kind::Io, start);
                true
            }
            None => !self.drop_largest(|kind| kind == Kind::Io),
        }
    }

    fn place_memory(&mut self, windows: Windows) -> bool {
        let (size, align) = self.layout(0, Kind::Memory, 0);
        let start = u64::from(windows.memory_end).checked_sub(size).map(|start| start & !(u64::from(align) - 1));
        match start.filter(|&start| start >= u64::from(windows.memory_start)) {
            Some(start) => {
                self.layout(0, Kind::Memory, start);
                true
            }
            None => !self.drop_largest(|kind| kind != Kind::Io),
        }
    }

    /// Gives up the largest range. False if there is none left.
    fn drop_largest(&mut self, wanted: impl Fn(Kind) -> bool) -> bool {
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

    fn place_behind_bridges(&mut self) {
        // Outer buses come before the ones behind them.
        for bus in 1..self.bus_count {
            for kind in [Kind::Io, Kind::Memory, Kind::Prefetchable] {
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
        let place = function.place;
        if range.window.is_some() {
            let first = range.base;
            let last = range.base.wrapping_add(range.size).wrapping_sub(1);
            let open = range.size != 0;
            match range.kind {
                Kind::Io => {
                    let value = if open { (last >> 8 & 0xf0) << 8 | first >> 8 & 0xf0 } else { IO_CLOSED.into() };
                    write16(machine, place, range.register, value as u16);
                    write32(machine, place, reg::IO_WINDOW_HIGH, 0);
                }
                _ => {
                    let value = if open { last & 0xfff0_0000 | first >> 16 & 0xfff0 } else { MEMORY_CLOSED };
                    write32(machine, place, range.register, value);
                    if range.kind == Kind::Prefetchable {
                        // High halves of base and limit.
                        write32(machine, place, reg::PREFETCHABLE_WINDOW + 4, 0);
                        write32(machine, place, reg::PREFETCHABLE_WINDOW + 8, 0);
                    }
                }
            }
            return;
        }
        if range.dropped && range.register != reg::ROM && range.register != reg::BRIDGE_ROM {
            function.lacking |= if range.kind == Kind::Io { command::IO } else { command::MEMORY };
        }
        // A ROM's enable bit stays off.
        write32(machine, place, range.register, if range.dropped { 0 } else { range.base });
        if range.wide {
            write32(machine, place, range.register + 4, 0);
        }
    }
}
