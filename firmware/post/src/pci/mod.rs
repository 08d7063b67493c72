//! PCI enumeration: finds functions, numbers buses, assigns addresses and interrupt lines.
//!
//! Specifications: PCI Local Bus Specification 2.1; PCI-to-PCI Bridge Architecture Specification 1.0.
//!
//! All BARs, 64-bit ones too, get addresses below 4 GiB, where 32-bit operating systems reach them. If they do not all
//! fit, the largest stay disabled. Not implemented: windows reserved for hot-plugged cards.

pub mod config;
mod layout;
pub mod piix;

use crate::Machine;
use config::{Bdf, command, read8, read32, reg, write8, write16, write32};
pub use layout::MemoryWindow;

/// Maximum number of functions. Further functions are not configured.
pub const MAX_FUNCTIONS: usize = 128;
/// Maximum number of buses.
pub const MAX_BUSES: usize = 32;
/// Maximum number of address ranges, bridge windows included.
pub const MAX_RANGES: usize = 256;

/// Class and subclass of a VGA-compatible controller.
pub const CLASS_VGA: u16 = 0x0300;
/// Class and subclass of a VGA-compatible device from before PCI 2.0.
const CLASS_OLD_VGA: u16 = 0x0001;
const HEADER_MULTIFUNCTION: u8 = 0x80;
const HEADER_DEVICE: u8 = 0;
const HEADER_BRIDGE: u8 = 1;
/// ID register if no function responds.
const NO_FUNCTION: u32 = u32::MAX;

/// A function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Function {
    /// Its address.
    pub bdf: Bdf,
    /// Vendor ID | device ID << 16.
    pub id: u32,
    /// Class << 8 | subclass.
    pub class: u16,
    /// Interrupt pin: 0 none, 1 INTA# to 4 INTD#.
    pub pin: u8,
    /// Interrupt line that POST has written.
    pub line: u8,
    /// Index of its bus in [`Pci::buses`].
    pub bus: u8,
    /// It is a PCI-to-PCI bridge.
    pub bridge: bool,
    /// Decode bits of the command register that stay clear, because an address range did not fit.
    disabled: u16,
}

/// A PCI bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bus {
    /// Its number.
    pub number: u8,
    /// Highest bus number behind it.
    pub last: u8,
    /// Index in [`Pci::functions`] of the bridge to it. `None` for bus 0.
    pub bridge: Option<u8>,
    /// The bridge has a prefetchable memory window.
    prefetchable: bool,
}

/// Type of an address range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RangeKind {
    /// Memory.
    #[default]
    Memory,
    /// I/O ports.
    Io,
    /// Prefetchable memory.
    Prefetchable,
}

/// An address range: a BAR of a function, or a window of a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Range {
    function: u8,
    register: u8,
    kind: RangeKind,
    /// The BAR has 64 bits.
    wide: bool,
    /// Index of the bus behind the window; `None` for a BAR.
    window: Option<u8>,
    /// Index of the bus that it is on.
    bus: u8,
    size: u32,
    align: u32,
    base: u32,
    /// It did not fit and is disabled.
    dropped: bool,
}

/// The PCI buses, functions and address ranges of the machine.
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
    /// No functions yet. The value has about 10 KiB.
    #[allow(clippy::new_without_default, reason = "a const fn, which Default::default is not")]
    pub const fn new() -> Self {
        const FUNCTION: Function =
            Function { bdf: 0, id: 0, class: 0, pin: 0, line: 0, bus: 0, bridge: false, disabled: 0 };
        const RANGE: Range = Range {
            function: 0,
            register: 0,
            kind: RangeKind::Memory,
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

    /// Finds all functions, numbers the buses and sizes the BARs.
    pub fn scan<M: Machine>(&mut self, machine: &mut M) {
        self.buses[0] = Bus::default();
        self.bus_count = 1;
        self.scan_bus(machine, 0);
        self.buses[0].last = self.last_bus;
    }

    /// The functions in the order of the scan: by bus (depth first), device and function.
    pub fn functions(&self) -> &[Function] {
        self.functions.get(..self.function_count).unwrap_or(&[])
    }

    /// The buses in the order of the scan.
    pub fn buses(&self) -> &[Bus] {
        self.buses.get(..self.bus_count).unwrap_or(&[])
    }

    /// The highest bus number.
    pub fn last_bus(&self) -> u8 {
        self.last_bus
    }

    /// The first VGA-compatible display adapter.
    pub fn vga(&self) -> Option<&Function> {
        self.functions().iter().find(|f| f.class == CLASS_VGA || f.class == CLASS_OLD_VGA)
    }

    /// The first function with this vendor ID and device ID.
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
                let bdf = u16::from(number) << 8 | device << 3 | function;
                let id = read32(machine, bdf, reg::ID);
                if id == NO_FUNCTION || id & 0xffff == 0 {
                    if function == 0 {
                        break;
                    }
                    continue;
                }
                let header = read8(machine, bdf, reg::HEADER);
                if function == 0 && header & HEADER_MULTIFUNCTION != 0 {
                    functions = 8;
                }
                self.add(machine, bus, bdf, id, header & !HEADER_MULTIFUNCTION);
            }
        }
    }

    fn add<M: Machine>(&mut self, machine: &mut M, bus: u8, bdf: Bdf, id: u32, header: u8) {
        let index = self.function_count;
        if index >= MAX_FUNCTIONS {
            return;
        }
        let class = (read32(machine, bdf, reg::CLASS) >> 16) as u16;
        let pin = (read32(machine, bdf, reg::INTERRUPT) >> 8) as u8;
        let bridge = header == HEADER_BRIDGE;
        let pin = if pin > 4 { 0 } else { pin };
        self.functions[index] = Function { bdf, id, class, pin, bus, bridge, ..Function::default() };
        self.function_count += 1;
        let now = read32(machine, bdf, reg::COMMAND) as u16;
        if now & (command::IO | command::MEMORY) != 0 {
            write16(machine, bdf, reg::COMMAND, now & !(command::IO | command::MEMORY));
        }
        match header {
            HEADER_DEVICE => self.size_bars(machine, index as u8, bus, 6, reg::ROM),
            HEADER_BRIDGE => {
                self.size_bars(machine, index as u8, bus, 2, reg::BRIDGE_ROM);
                self.scan_behind(machine, index as u8, bdf);
            }
            // CardBus bridges and unknown types have other header layouts.
            _ => {}
        }
    }

    /// Numbers the bus behind a bridge and scans it.
    fn scan_behind<M: Machine>(&mut self, machine: &mut M, bridge: u8, bdf: Bdf) {
        let bus = self.bus_count;
        if bus >= MAX_BUSES || self.last_bus == u8::MAX {
            write32(machine, bdf, reg::BUSES, 0);
            return;
        }
        self.last_bus += 1;
        let number = self.last_bus;
        let primary = u32::from(bdf >> 8);
        let numbers = |last: u8| u32::from(last) << 16 | u32::from(number) << 8 | primary;
        write32(machine, bdf, reg::BUSES, numbers(u8::MAX));
        let read = config::probe32(machine, bdf, reg::PREFETCHABLE_WINDOW, 0xfff0_fff0);
        self.buses[bus] = Bus { number, last: number, bridge: Some(bridge), prefetchable: read != 0 };
        self.bus_count += 1;
        self.scan_bus(machine, bus as u8);
        let last = self.last_bus;
        if let Some(bus) = self.buses.get_mut(bus) {
            bus.last = last;
        }
        write32(machine, bdf, reg::BUSES, numbers(last));
    }

    /// Sizes BARs and the expansion ROM BAR by writing ones (PCI 2.1, 6.2.5.1).
    fn size_bars<M: Machine>(&mut self, machine: &mut M, function: u8, bus: u8, registers: u8, rom: u8) {
        let Some(&Function { bdf, .. }) = self.functions.get(usize::from(function)) else { return };
        let mut n = 0;
        while n < registers {
            let register = reg::BAR0 + 4 * n;
            n += 1;
            let mask = config::probe32(machine, bdf, register, u32::MAX);
            if mask == 0 {
                continue;
            }
            let io = mask & 1 != 0;
            let wide = !io && mask >> 1 & 3 == 2 && n < registers;
            let mut bits = if io { mask & !3 | 0xffff_0000 } else { mask & !0xf };
            if wide {
                n += 1;
                // BARs of 4 GiB or more have no writable bit in the low dword.
                if bits == 0 || config::probe32(machine, bdf, register + 4, u32::MAX) != u32::MAX {
                    bits = 0;
                }
            }
            let kind = match (io, mask & 8 != 0) {
                (true, _) => RangeKind::Io,
                (false, true) => RangeKind::Prefetchable,
                (false, false) => RangeKind::Memory,
            };
            self.add_range(Range { function, register, kind, wide, bus, ..range_of_bits(bits) });
        }
        let mask = config::probe32(machine, bdf, rom, !1) & !0x7ff;
        if mask != 0 {
            self.add_range(Range { function, register: rom, bus, ..range_of_bits(mask) });
        }
    }

    fn add_range(&mut self, range: Range) {
        if let Some(free) = self.ranges.get_mut(self.range_count) {
            *free = range;
            self.range_count += 1;
        }
    }

    /// Address and size of a function's expansion ROM, if it has one that did fit.
    pub fn rom(&self, function: usize) -> Option<(u32, u32)> {
        let ranges = self.ranges.iter().take(self.range_count);
        let mut of_function = ranges.filter(|r| usize::from(r.function) == function && r.window.is_none());
        let found = of_function.find(|r| r.register == reg::ROM || r.register == reg::BRIDGE_ROM)?;
        (!found.dropped).then_some((found.base, found.size))
    }

    /// The slot and pin (0 for INTA#) of bus 0 at which a function's interrupt arrives: each bridge on the way rotates
    /// the pins by the slot number (PCI-to-PCI Bridge Architecture 1.0, 9.1).
    pub fn root_slot_and_pin(&self, function: &Function) -> Option<(u8, u8)> {
        let mut pin = function.pin.checked_sub(1)?;
        let mut at = *function;
        for _ in 0..MAX_BUSES {
            let slot = (at.bdf >> 3) as u8 & 31;
            let Some(bridge) = self.buses.get(usize::from(at.bus)).and_then(|bus| bus.bridge) else {
                return Some((slot, pin));
            };
            pin = (pin + slot) & 3;
            at = *self.functions.get(usize::from(bridge))?;
        }
        None
    }

    /// Writes interrupt lines. `lines` are the IRQs of PIRQA# to PIRQD#; `fixed` returns that of functions with another
    /// wiring.
    pub fn route<M: Machine>(&mut self, machine: &mut M, lines: [u8; 4], fixed: impl Fn(&Function) -> Option<u8>) {
        for n in 0..self.function_count {
            let Some(function) = self.functions.get(n).copied() else { break };
            let Some((slot, pin)) = self.root_slot_and_pin(&function) else { continue };
            let routed = lines.get(usize::from(piix::pirq(slot, pin))).copied().unwrap_or(0);
            let line = fixed(&function).unwrap_or(routed);
            write8(machine, function.bdf, reg::INTERRUPT, line);
            if let Some(function) = self.functions.get_mut(n) {
                function.line = line;
            }
        }
    }

    /// Enables decoding of the assigned addresses and SERR#, and bus mastering of bridges. Bus mastering of all others is for
    /// their drivers to enable: Windows notes the first value that it reads.
    pub fn enable<M: Machine>(&mut self, machine: &mut M) {
        let vga = self.vga().copied();
        for n in 0..self.function_count {
            let Some(function) = self.functions.get(n).copied() else { break };
            let mut bits = command::IO | command::MEMORY | command::SERR;
            if function.bridge {
                bits |= command::MASTER;
            }
            write16(machine, function.bdf, reg::COMMAND, bits & !function.disabled);
        }
        // Bridges between bus 0 and the VGA forward its legacy addresses.
        let mut at = vga;
        for _ in 0..MAX_BUSES {
            let Some(function) = at else { break };
            let bus = self.buses.get(usize::from(function.bus)).copied().unwrap_or_default();
            at = bus.bridge.and_then(|bridge| self.functions.get(usize::from(bridge))).copied();
            if let Some(bridge) = at {
                const VGA: u16 = 1 << 3;
                write16(machine, bridge.bdf, reg::BRIDGE_CONTROL, VGA);
            }
        }
    }
}

/// A range with size and alignment from a BAR's writable bits; dropped if they mean 4 GiB or more.
fn range_of_bits(bits: u32) -> Range {
    let size = bits & bits.wrapping_neg();
    Range { size, align: size, dropped: size == 0, ..Range::default() }
}
