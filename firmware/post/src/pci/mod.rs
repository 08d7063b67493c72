//! PCI: finds every function behind every bridge, and gives each its bus numbers, addresses and interrupt line
//! (PCI Local Bus Specification 2.1; PCI-to-PCI Bridge Architecture Specification 1.0).
//!
//! All memory goes below 4 GiB, 64-bit registers too: 32-bit systems must reach it. What does not fit stays disabled,
//! the largest first. Left out: room kept for cards that are plugged in later.

pub mod config;
mod layout;
pub mod piix;

use crate::Machine;
use config::{Place, command, read8, read32, reg, write8, write16, write32};
pub use layout::Windows;

/// Functions that are looked after; more stay as they are.
pub const MAX_FUNCTIONS: usize = 128;
/// Buses, likewise.
pub const MAX_BUSES: usize = 32;
/// Address ranges of functions and windows of bridges, likewise.
pub const MAX_RANGES: usize = 256;

/// Class and sub-class of a VGA.
pub const CLASS_VGA: u16 = 0x0300;
const CLASS_OLD_VGA: u16 = 0x0001;
const CLASS_IDE: u16 = 0x0101;
const HEADER_MULTIFUNCTION: u8 = 0x80;
const HEADER_DEVICE: u8 = 0;
const HEADER_BRIDGE: u8 = 1;
const NOBODY: u32 = u32::MAX;

/// A function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Function {
    /// Where it is.
    pub place: Place,
    /// Vendor, and device << 16.
    pub id: u32,
    /// Class << 8 | sub-class.
    pub class: u16,
    /// Interrupt pin: 0 none, 1 INTA#.
    pub pin: u8,
    /// Interrupt line that it was given.
    pub line: u8,
    /// Position in [`Pci::buses`] of the bus that it is on.
    pub bus: u8,
    /// It is a PCI-to-PCI bridge.
    pub bridge: bool,
    /// Command bits that must not be set, as an address range behind them could not be had.
    lacking: u16,
}

/// A bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bus {
    /// Its number.
    pub number: u8,
    /// The highest number behind it.
    pub last: u8,
    /// Position in [`Pci::functions`] of the bridge to it. Bus 0 has none.
    pub bridge: Option<u8>,
    /// The bridge has a window for prefetchable memory.
    prefetchable: bool,
}

/// What an address range is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// I/O ports.
    Io,
    /// Memory.
    #[default]
    Memory,
    /// Memory that may be read ahead.
    Prefetchable,
}

/// An address range that a function asks for, or a window of the bridge to a bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Range {
    function: u8,
    register: u8,
    kind: Kind,
    /// The register is two dwords.
    wide: bool,
    /// A window onto this bus, rather than a base address register.
    window: Option<u8>,
    /// Position of the bus that it is on.
    bus: u8,
    size: u32,
    align: u32,
    base: u32,
    /// It could not be had.
    dropped: bool,
}

/// Everything that was found.
pub struct Pci {
    functions: [Function; MAX_FUNCTIONS],
    function_count: usize,
    buses: [Bus; MAX_BUSES],
    bus_count: usize,
    ranges: [Range; MAX_RANGES],
    range_count: usize,
    last_bus: u8,
}

impl Pci {
    /// Nothing found yet.
    pub const fn new() -> Self {
        const FUNCTION: Function =
            Function { place: 0, id: 0, class: 0, pin: 0, line: 0, bus: 0, bridge: false, lacking: 0 };
        const RANGE: Range = Range {
            function: 0,
            register: 0,
            kind: Kind::Memory,
            wide: false,
            window: None,
            bus: 0,
            size: 0,
            align: 0,
            base: 0,
            dropped: false,
        };
        Self {
            functions: [FUNCTION; MAX_FUNCTIONS],
            function_count: 0,
            buses: [Bus { number: 0, last: 0, bridge: None, prefetchable: false }; MAX_BUSES],
            bus_count: 0,
            ranges: [RANGE; MAX_RANGES],
            range_count: 0,
            last_bus: 0,
        }
    }

    /// Finds all functions, numbers the buses, and sizes what the functions ask for.
    pub fn scan<M: Machine>(&mut self, machine: &mut M) {
        self.buses[0] = Bus::default();
        self.bus_count = 1;
        self.scan_bus(machine, 0);
        self.buses[0].last = self.last_bus;
    }

    /// The functions found, in the order in which they were: by bus (depth first), device and function.
    pub fn functions(&self) -> &[Function] {
        self.functions.get(..self.function_count).unwrap_or(&[])
    }

    /// The buses found.
    pub fn buses(&self) -> &[Bus] {
        self.buses.get(..self.bus_count).unwrap_or(&[])
    }

    /// The highest bus number.
    pub fn last_bus(&self) -> u8 {
        self.last_bus
    }

    /// The first display adapter that is a VGA.
    pub fn vga(&self) -> Option<&Function> {
        self.functions().iter().find(|f| f.class == CLASS_VGA || f.class == CLASS_OLD_VGA)
    }

    /// The function with this vendor and device.
    pub fn find(&self, vendor: u16, device: u16) -> Option<&Function> {
        self.functions().iter().find(|f| f.id == u32::from(vendor) | u32::from(device) << 16)
    }

    fn scan_bus<M: Machine>(&mut self, machine: &mut M, bus: u8) {
        let number = self.buses.get(usize::from(bus)).map_or(0, |b| b.number);
        for device in 0..32u16 {
            let mut functions = 1;
            for function in 0..8u16 {
                if function >= functions {
                    break;
                }
                let place = u16::from(number) << 8 | device << 3 | function;
                let id = read32(machine, place, reg::ID);
                if id == NOBODY || id & 0xffff == 0 {
                    if function == 0 {
                        break;
                    }
                    continue;
                }
                let header = read8(machine, place, reg::HEADER);
                if function == 0 && header & HEADER_MULTIFUNCTION != 0 {
                    functions = 8;
                }
                self.add(machine, bus, place, id, header & !HEADER_MULTIFUNCTION);
            }
        }
    }

    fn add<M: Machine>(&mut self, machine: &mut M, bus: u8, place: Place, id: u32, header: u8) {
        let index = self.function_count;
        if index >= MAX_FUNCTIONS {
            return;
        }
        let class = (read32(machine, place, reg::CLASS) >> 16) as u16;
        let pin = (read32(machine, place, reg::INTERRUPT) >> 8) as u8;
        let bridge = header == HEADER_BRIDGE;
        let pin = if pin > 4 { 0 } else { pin };
        self.functions[index] = Function { place, id, class, pin, bus, bridge, ..Function::default() };
        self.function_count += 1;
        let now = read32(machine, place, reg::COMMAND) as u16;
        if now & (command::IO | command::MEMORY) != 0 {
            write16(machine, place, reg::COMMAND, now & !(command::IO | command::MEMORY));
        }
        match header {
            HEADER_DEVICE => self.size(machine, index as u8, bus, 6, reg::ROM),
            HEADER_BRIDGE => {
                self.size(machine, index as u8, bus, 2, reg::BRIDGE_ROM);
                self.enter(machine, index as u8, place);
            }
            // CardBus bridges and what is yet to come: theirs is another layout.
            _ => {}
        }
    }

    /// Numbers the bus behind a bridge, and finds what is on it.
    fn enter<M: Machine>(&mut self, machine: &mut M, bridge: u8, place: Place) {
        let bus = self.bus_count;
        if bus >= MAX_BUSES || self.last_bus == u8::MAX {
            write32(machine, place, reg::BUSES, 0);
            return;
        }
        self.last_bus += 1;
        let number = self.last_bus;
        let primary = u32::from(place >> 8);
        let numbers = |last: u8| u32::from(last) << 16 | u32::from(number) << 8 | primary;
        write32(machine, place, reg::BUSES, numbers(u8::MAX));
        let read = config::probe32(machine, place, reg::PREFETCHABLE_WINDOW, 0xfff0_fff0);
        self.buses[bus] = Bus { number, last: number, bridge: Some(bridge), prefetchable: read != 0 };
        self.bus_count += 1;
        self.scan_bus(machine, bus as u8);
        let last = self.last_bus;
        if let Some(bus) = self.buses.get_mut(bus) {
            bus.last = last;
        }
        write32(machine, place, reg::BUSES, numbers(last));
    }

    /// Sizes base address registers by writing ones (PCI 2.1, 6.2.5.1).
    fn size<M: Machine>(&mut self, machine: &mut M, function: u8, bus: u8, registers: u8, rom: u8) {
        let Some(&Function { place, .. }) = self.functions.get(usize::from(function)) else { return };
        let mut n = 0;
        while n < registers {
            let register = reg::BAR0 + 4 * n;
            n += 1;
            let mask = config::probe32(machine, place, register, u32::MAX);
            if mask == 0 {
                continue;
            }
            let io = mask & 1 != 0;
            let wide = !io && mask >> 1 & 3 == 2 && n < registers;
            let mut bits = if io { mask & !3 | 0xffff_0000 } else { mask & !0xf };
            if wide {
                n += 1;
                // Registers of 4 GiB and more have no bit to be written in the low half.
                if bits == 0 || config::probe32(machine, place, register + 4, u32::MAX) != u32::MAX {
                    bits = 0;
                }
            }
            let kind = match (io, mask & 8 != 0) {
                (true, _) => Kind::Io,
                (false, true) => Kind::Prefetchable,
                (false, false) => Kind::Memory,
            };
            self.ask(Range { function, register, kind, wide, bus, ..sized(bits) });
        }
        let mask = config::probe32(machine, place, rom, !1) & !0x7ff;
        if mask != 0 {
            self.ask(Range { function, register: rom, bus, ..sized(mask) });
        }
    }

    fn ask(&mut self, range: Range) {
        if let Some(place) = self.ranges.get_mut(self.range_count) {
            *place = range;
            self.range_count += 1;
        }
    }

    /// Address and size of a function's expansion ROM, if it has one and it could be placed.
    pub fn rom(&self, function: usize) -> Option<(u32, u32)> {
        let ranges = self.ranges.iter().take(self.range_count);
        let mut of_function = ranges.filter(|r| usize::from(r.function) == function && r.window.is_none());
        let found = of_function.find(|r| r.register == reg::ROM || r.register == reg::BRIDGE_ROM)?;
        (!found.dropped).then_some((found.base, found.size))
    }

    /// The pin (0 for INTA#) and slot of bus 0 that a function's interrupt arrives at: each bridge on the way turns the
    /// pins by the slot (PCI-to-PCI Bridge Architecture 1.0, 9.1).
    pub fn at_root(&self, function: &Function) -> Option<(u8, u8)> {
        let mut pin = function.pin.checked_sub(1)?;
        let mut at = *function;
        for _ in 0..MAX_BUSES {
            let slot = (at.place >> 3) as u8 & 31;
            let Some(bridge) = self.buses.get(usize::from(at.bus)).and_then(|bus| bus.bridge) else {
                return Some((slot, pin));
            };
            pin = (pin + slot) & 3;
            at = *self.functions.get(usize::from(bridge))?;
        }
        None
    }

    /// Writes interrupt lines: `lines` are those of PIRQA# to PIRQD#, `fixed` that of functions wired elsewhere.
    pub fn route<M: Machine>(&mut self, machine: &mut M, lines: [u8; 4], fixed: impl Fn(&Function) -> Option<u8>) {
        for n in 0..self.function_count {
            let Some(function) = self.functions.get(n).copied() else { break };
            let Some((slot, pin)) = self.at_root(&function) else { continue };
            let routed = lines.get(usize::from(piix::pirq(slot, pin))).copied().unwrap_or(0);
            let line = fixed(&function).unwrap_or(routed);
            write8(machine, function.place, reg::INTERRUPT, line);
            if let Some(function) = self.functions.get_mut(n) {
                function.line = line;
            }
        }
    }

    /// Lets functions answer where they were put.
    pub fn enable<M: Machine>(&mut self, machine: &mut M) {
        let vga = self.vga().copied();
        for n in 0..self.function_count {
            let Some(function) = self.functions.get(n).copied() else { break };
            let mut bits = command::IO | command::MEMORY;
            if function.bridge || function.class == CLASS_IDE {
                bits |= command::MASTER;
            }
            write16(machine, function.place, reg::COMMAND, bits & !function.lacking);
        }
        // Bridges on the way to the VGA pass its fixed addresses on.
        let mut at = vga;
        for _ in 0..MAX_BUSES {
            let Some(function) = at else { break };
            let bus = self.buses.get(usize::from(function.bus)).copied().unwrap_or_default();
            at = bus.bridge.and_then(|bridge| self.functions.get(usize::from(bridge))).copied();
            if let Some(bridge) = at {
                const VGA: u16 = 1 << 3;
                write16(machine, bridge.place, reg::BRIDGE_CONTROL, VGA);
            }
        }
    }
}

/// Size and alignment from a register's writable bits: size 0 if there is no such range below 4 GiB.
fn sized(bits: u32) -> Range {
    let size = bits & bits.wrapping_neg();
    Range { size, align: size, dropped: size == 0, ..Range::default() }
}
