//! MP configuration table (Intel MultiProcessor Specification 1.4, chapter 4): processors, buses, I/O APIC, interrupts.
//!
//! The table has an entry for each PCI interrupt, because some operating systems have no other source of PCI routing.

use super::{TableSpace, fix_sum, put};
use crate::Machine;
use crate::pci::Pci;
use crate::processors::Processors;
use crate::shadow::Shadow;

const IO_APIC: u32 = 0xfec0_0000;
const LOCAL_APIC: u32 = 0xfee0_0000;
const HEADER_LEN: u32 = 0x2c;
/// Entry types.
const PROCESSOR: u8 = 0;
const BUS: u8 = 1;
const IO_APIC_ENTRY: u8 = 2;
const IO_INTERRUPT: u8 = 3;
const LOCAL_INTERRUPT: u8 = 4;
/// Interrupt types.
const INT: u8 = 0;
const NMI: u8 = 1;
const EXTINT: u8 = 3;
/// Flags: polarity and trigger mode as usual for the bus.
const CONFORMS: u16 = 0;
/// Flags: active high, level-triggered.
const LEVEL_HIGH: u16 = 3 << 2 | 1;
/// Local APIC ID: all processors.
const ALL: u8 = 0xff;

/// Writes the table's entries to memory.
struct Writer {
    start: u32,
    next: u32,
    entries: u16,
}

impl Writer {
    fn entry<M: Machine>(&mut self, machine: &mut M, bytes: &[u8]) {
        put(machine, self.next, bytes);
        self.next += bytes.len() as u32;
        self.entries += 1;
    }

    fn interrupt<M: Machine>(&mut self, machine: &mut M, what: (u8, u8, u16), from: (u8, u8), to: (u8, u8)) {
        let (entry, kind, flags) = what;
        self.entry(machine, &[entry, kind, flags as u8, (flags >> 8) as u8, from.0, from.1, to.0, to.1]);
    }
}

/// Writes the table and its floating pointer structure. `None` without a local APIC or I/O APIC.
pub fn install<M: Machine>(
    machine: &mut M,
    processors: &Processors,
    pci: &Pci,
    space: &mut TableSpace,
    shadow: &mut Shadow,
) -> Option<u32> {
    if !processors.apic {
        return None;
    }
    let io_apic_version = io_apic_version(machine)?;
    let pci_pins = pci.functions().iter().filter(|function| function.pin != 0).count() as u32;
    let buses = pci.buses().len() as u32;
    // Processors, PCI buses, ISA bus, I/O APIC, 16 ISA interrupts, PCI interrupts, two local interrupts.
    let max_size = HEADER_LEN + 20 * u32::from(processors.count) + 8 * (buses + 1 + 1 + 16 + pci_pins + 2);
    // Operating systems search segment F000h for the floating pointer. The table may be anywhere.
    let floating = space.code(16, 16)?;
    let at = match space.low(machine, shadow, max_size, 16) {
        Some(at) => at,
        None => space.high(max_size, 16)?,
    };
    let mut table = Writer { start: at, next: at + HEADER_LEN, entries: 0 };

    let [signature, features] = processors.signature;
    for (n, &id) in processors.ids.iter().take(processors.count.into()).enumerate() {
        // Bit 0: enabled; bit 1: boot processor.
        let flags = if n == 0 { 3 } else { 1 };
        let mut entry = [PROCESSOR, id, processors.apic_version, flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for (to, from) in entry.iter_mut().skip(4).zip((signature & 0xfff).to_le_bytes()) {
            *to = from;
        }
        for (to, from) in entry.iter_mut().skip(8).zip(features.to_le_bytes()) {
            *to = from;
        }
        table.entry(machine, &entry);
    }
    let mut isa = 0;
    for bus in pci.buses() {
        table.entry(machine, &[BUS, bus.number, b'P', b'C', b'I', b' ', b' ', b' ']);
        isa = isa.max(bus.number.wrapping_add(1));
    }
    if pci.functions().is_empty() {
        isa = 0;
    }
    table.entry(machine, &[BUS, isa, b'I', b'S', b'A', b' ', b' ', b' ']);
    let io_apic = io_apic_id(machine);
    let [a, b, c, d] = IO_APIC.to_le_bytes();
    table.entry(machine, &[IO_APIC_ENTRY, io_apic, io_apic_version, 1, a, b, c, d]);

    // PCI interrupts: bus, slot and pin are routed to the I/O APIC pin with the number of the function's IRQ.
    let mut used = 0u16;
    let mut last = None;
    for function in pci.functions() {
        let source = ((function.bdf >> 3) as u8 & 31) << 2 | function.pin.wrapping_sub(1) & 3;
        let bus = (function.bdf >> 8) as u8;
        if function.pin == 0 || function.line == 0 || function.line > 15 {
            continue;
        }
        // Functions of one device often share a pin.
        if last.replace((bus, source)) == Some((bus, source)) {
            continue;
        }
        used |= 1 << function.line;
        let what = (IO_INTERRUPT, INT, LEVEL_HIGH);
        table.interrupt(machine, what, (bus, source), (io_apic, function.line));
    }
    // ISA interrupts: IRQ n on pin n, except that IRQ 0 is on pin 2. IRQs that PCI uses are not ISA interrupts.
    for line in 0..16u8 {
        let to = match line {
            0 => 2,
            2 => continue,
            line => line,
        };
        if used >> line & 1 == 0 {
            table.interrupt(machine, (IO_INTERRUPT, INT, CONFORMS), (isa, line), (io_apic, to));
        }
    }
    let first = processors.ids.first().copied().unwrap_or(0);
    table.interrupt(machine, (LOCAL_INTERRUPT, EXTINT, CONFORMS), (isa, 0), (first, 0));
    table.interrupt(machine, (LOCAL_INTERRUPT, NMI, CONFORMS), (isa, 0), (ALL, 1));

    let length = table.next - table.start;
    machine.fill(at, 0, HEADER_LEN);
    put(machine, at, b"PCMP");
    machine.write16(at + 4, length as u16);
    // Version 1.4.
    machine.write8(at + 6, 4);
    put(machine, at + 8, b"PCVM    i440FX PC   ");
    machine.write16(at + 0x22, table.entries);
    machine.write32(at + 0x24, LOCAL_APIC);
    fix_sum(machine, at + 7, at, length);

    machine.fill(floating, 0, 16);
    put(machine, floating, b"_MP_");
    machine.write32(floating + 4, at);
    machine.write8(floating + 8, 1);
    machine.write8(floating + 9, 4);
    fix_sum(machine, floating + 10, floating, 16);
    Some(floating)
}

/// Version of the I/O APIC, `None` if there is none.
fn io_apic_version<M: Machine>(machine: &mut M) -> Option<u8> {
    const VERSION: u32 = 1;
    machine.write32(IO_APIC, VERSION);
    let version = machine.read32(IO_APIC + 0x10);
    (version != u32::MAX && version != 0).then_some(version as u8)
}

/// The I/O APIC's ID: that of its register (82093AA data sheet, IOAPICID), which is 0 after a reset, as in the ACPI
/// tables. Operating systems compare the table with the register. An ID that no processor has is theirs to choose.
fn io_apic_id<M: Machine>(machine: &mut M) -> u8 {
    const ID: u32 = 0;
    machine.write32(IO_APIC, ID);
    (machine.read32(IO_APIC + 0x10) >> 24 & 0xf) as u8
}
