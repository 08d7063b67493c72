//! The PCI bus (PCI Local Bus Specification 2.1, sections 6.1 and 6.2.5), by mechanism 1 and by the BIOS.

use crate::{Outcome, Test};
use pcvm_guest::{Machine, Text, regs};

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
const COMMAND: u8 = 0x04;
/// Command: ports and memory are decoded.
const DECODE: u32 = 3;
const HEADER_TYPE: u8 = 0x0c;
const BAR_0: u8 = 0x10;
const INTERRUPT: u8 = 0x3c;
/// Class and subclass of IDE.
const IDE: u32 = 0x0101;
/// Where IO APIC, local APIC and ROM begin.
const MEMORY_END: u64 = 0xfec0_0000;

/// Bus, device and function: bus << 8 | device << 3 | function.
pub type Function = u16;

/// Reads a dword of configuration space.
pub fn read<M: Machine>(m: &mut M, function: Function, register: u8) -> u32 {
    m.outl(ADDRESS, 0x8000_0000 | u32::from(function) << 8 | u32::from(register & 0xfc));
    m.inl(DATA)
}

/// Writes one.
pub fn write<M: Machine>(m: &mut M, function: Function, register: u8, value: u32) {
    m.outl(ADDRESS, 0x8000_0000 | u32::from(function) << 8 | u32::from(register & 0xfc));
    m.outl(DATA, value);
}

/// The functions that are there, in order: the next from `from` on, up to bus `last_bus`.
pub fn next<M: Machine>(m: &mut M, from: u32, last_bus: u8) -> Option<Function> {
    let mut at = from;
    while at < u32::from(last_bus) * 256 + 256 {
        let function = at as Function;
        // Functions beyond the first are there only where the first says so.
        if function & 7 != 0 && read(m, function & !7, HEADER_TYPE) & 0x80_0000 == 0 {
            at = (at | 7) + 1;
            continue;
        }
        if read(m, function, 0) & 0xffff != 0xffff {
            return Some(function);
        }
        at = if function & 7 == 0 { at + 8 } else { at + 1 };
    }
    None
}

/// What a base address register decodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Memory; else ports.
    pub memory: bool,
    /// First address.
    pub base: u64,
    /// How many.
    pub size: u64,
}

/// What is wrong with where windows lie, if anything is. `memory_end` is the first address below 4 GiB that is not RAM.
pub fn fault(windows: &[Window], memory_end: u64) -> Option<&'static str> {
    for (n, window) in windows.iter().enumerate() {
        if window.base == 0 {
            return Some("a base address is not assigned");
        }
        if window.base & (window.size - 1) != 0 {
            return Some("a base address is not aligned");
        }
        let end = window.base + window.size;
        if window.memory && (window.base < memory_end || end > MEMORY_END) {
            return Some("a window lies outside of the PCI hole");
        }
        if !window.memory && (window.base < 0x100 || end > 0x1_0000) {
            return Some("a window lies outside of the ports");
        }
        let same = |other: &&Window| other.memory == window.memory;
        if windows.iter().skip(n + 1).filter(same).any(|w| w.base < end && window.base < w.base + w.size) {
            return Some("two windows overlap");
        }
    }
    None
}

/// Reads the window of the base address register `register`, and says how many dwords the register has.
fn window<M: Machine>(m: &mut M, function: Function, register: u8) -> (Option<Window>, u8) {
    let value = read(m, function, register);
    write(m, function, register, u32::MAX);
    let mask = read(m, function, register);
    write(m, function, register, value);
    let dwords = if value & 7 == 4 { 2 } else { 1 };
    let memory = value & 1 == 0;
    let fixed = if memory { 0xffff_fff0 } else { 0xffff_fffc };
    let bits = mask & fixed | if memory { 0 } else { 0xffff_0000 };
    if mask & fixed == 0 {
        return (None, dwords);
    }
    let high = if dwords == 2 { read(m, function, register + 4) } else { 0 };
    let size = u64::from((!bits).wrapping_add(1));
    (Some(Window { memory, base: u64::from(high) << 32 | u64::from(value & fixed), size }), dwords)
}

/// Every function is listed; its windows lie where nothing else is; the BIOS finds it too.
pub fn functions<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    let mut regs = regs! { eax: 0xb101 };
    t.bios(0x1a, &mut regs);
    need!(t, !regs.cf() && regs.ah() == 0 && regs.edx == 0x2049_4350, "there is no PCI BIOS")?;
    let last_bus = regs.cl();
    let mut windows = [Window::default(); 32];
    let mut count = 0;
    let mut found = 0;
    let mut from = 0;
    while let Some(function) = next(t.m, from, last_bus) {
        from = u32::from(function) + 1;
        found += 1;
        let id = read(t.m, function, 0);
        let class = read(t.m, function, 8) >> 16;
        let mut line = Text::<70>::new();
        line.put("  ").hex(u32::from(function >> 8), 2).byte(b':').hex(u32::from(function >> 3 & 31), 2);
        line.byte(b'.').hex(u32::from(function & 7), 1).byte(b' ');
        line.hex(id & 0xffff, 4).byte(b':').hex(id >> 16, 4).put(" class ").hex(class, 4);
        let command = read(t.m, function, COMMAND) & 0xffff;
        write(t.m, function, COMMAND, command & !DECODE);
        let last = if read(t.m, function, HEADER_TYPE) >> 16 & 0x7f == 0 { 0x28 } else { 0x18 };
        let mut register = BAR_0;
        while register < last {
            let (window, dwords) = window(t.m, function, register);
            if let Some(window) = window {
                if class == IDE && register == 0x20 && !window.memory {
                    t.facts.bus_master = window.base as u16;
                }
                line.put(if window.memory { " mem " } else { " io " });
                line.hex(window.base as u32, if window.memory { 8 } else { 4 });
                if let Some(place) = windows.get_mut(count) {
                    *place = window;
                    count += 1;
                }
            }
            register += dwords * 4;
        }
        write(t.m, function, COMMAND, command);
        let interrupt = read(t.m, function, INTERRUPT);
        if interrupt >> 8 & 0xff != 0 {
            line.put(" INT").byte(b'A'.wrapping_add((interrupt >> 8) as u8).wrapping_sub(1));
            line.put(" IRQ ").decimal(interrupt & 0xff);
        }
        t.line(line);

        // The BIOS: read the id, and find it by the id.
        let mut regs = regs! { eax: 0xb10a, ebx: function.into(), edi: 0 };
        t.bios(0x1a, &mut regs);
        need!(t, !regs.cf() && regs.ecx == id, "INT 1Ah B10Ah reads something else")?;
        let mut nth = 0;
        loop {
            let mut regs = regs! { eax: 0xb102, ecx: id >> 16, edx: id & 0xffff, esi: nth };
            t.bios(0x1a, &mut regs);
            need!(t, !regs.cf() && nth < 32, "INT 1Ah B102h does not find a function")?;
            if regs.bx() == function {
                break;
            }
            nth += 1;
        }
    }
    need!(t, found > 0, "no functions")?;
    let memory_end = u64::from(t.expect.memory.min(3072)) << 20;
    if let Some(why) = fault(windows.get(..count).unwrap_or_default(), memory_end) {
        return t.fail(why);
    }
    t.note.decimal(found).put(" functions, ").decimal(count as u32).put(" windows");
    Ok(())
}
