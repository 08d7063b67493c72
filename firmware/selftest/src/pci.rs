//! Test of PCI configuration space and the PCI BIOS (PCI Local Bus Specification 2.1, sections 6.1 and 6.2.5).

use crate::{Outcome, Test};
use pcvm_guest::{Machine, Text, regs};

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
const COMMAND: u8 = 0x04;
/// Command register: I/O and memory decoding enabled.
const DECODE: u32 = 3;
const HEADER_TYPE: u8 = 0x0c;
const BAR_0: u8 = 0x10;
const INTERRUPT: u8 = 0x3c;
/// Class and subclass of an IDE controller.
const IDE: u32 = 0x0101;
/// End of PCI memory: I/O APIC, local APIC and ROM follow.
const MEMORY_END: u64 = 0xfec0_0000;

/// Address of a function: bus << 8 | device << 3 | function.
pub type Bdf = u16;

/// Reads a dword of configuration space.
pub fn read<M: Machine>(m: &mut M, function: Bdf, register: u8) -> u32 {
    m.outl(ADDRESS, 0x8000_0000 | u32::from(function) << 8 | u32::from(register & 0xfc));
    m.inl(DATA)
}

/// Writes a dword of configuration space.
pub fn write<M: Machine>(m: &mut M, function: Bdf, register: u8, value: u32) {
    m.outl(ADDRESS, 0x8000_0000 | u32::from(function) << 8 | u32::from(register & 0xfc));
    m.outl(DATA, value);
}

/// The first function from address `from` up to bus `last_bus`.
pub fn next<M: Machine>(m: &mut M, from: u32, last_bus: u8) -> Option<Bdf> {
    let mut at = from;
    while at < u32::from(last_bus) * 256 + 256 {
        let function = at as Bdf;
        // Only multifunction devices have functions 1 to 7.
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

/// Address range of a BAR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Memory (true) or I/O ports.
    pub memory: bool,
    /// Base address.
    pub base: u64,
    /// Size in bytes.
    pub size: u64,
}

/// Returns the first fault of the windows' addresses. `memory_end` is the end of RAM below 4 GiB.
pub fn find_fault(windows: &[Window], memory_end: u64) -> Option<&'static str> {
    for (n, window) in windows.iter().enumerate() {
        if window.base == 0 {
            return Some("a base address is not assigned");
        }
        if window.base & (window.size - 1) != 0 {
            return Some("a base address is not aligned");
        }
        let end = window.base + window.size;
        if window.memory && (window.base < memory_end || end > MEMORY_END) {
            return Some("a window is outside of the PCI hole");
        }
        if !window.memory && (window.base < 0x100 || end > 0x1_0000) {
            return Some("a window is outside of the I/O ports");
        }
        let same = |other: &&Window| other.memory == window.memory;
        if windows.iter().skip(n + 1).filter(same).any(|w| w.base < end && window.base < w.base + w.size) {
            return Some("two windows overlap");
        }
    }
    None
}

/// Reads and sizes the BAR at `register`. Returns its window and its number of dwords.
fn window<M: Machine>(m: &mut M, function: Bdf, register: u8) -> (Option<Window>, u8) {
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

/// Lists all functions. Their windows do not overlap, and the PCI BIOS finds the functions.
pub fn functions<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    let mut regs = regs! { eax: 0xb101 };
    t.bios(0x1a, &mut regs);
    check!(t, !regs.cf() && regs.ah() == 0 && regs.edx == 0x2049_4350, "there is no PCI BIOS")?;
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
                    t.findings.bus_master = window.base as u16;
                }
                line.put(if window.memory { " mem " } else { " io " });
                line.hex(window.base as u32, if window.memory { 8 } else { 4 });
                if let Some(free) = windows.get_mut(count) {
                    *free = window;
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

        // By the PCI BIOS: read the ID, and find the function by it.
        let mut regs = regs! { eax: 0xb10a, ebx: function.into(), edi: 0 };
        t.bios(0x1a, &mut regs);
        check!(t, !regs.cf() && regs.ecx == id, "INT 1Ah B10Ah reads another ID")?;
        let mut nth = 0;
        loop {
            let mut regs = regs! { eax: 0xb102, ecx: id >> 16, edx: id & 0xffff, esi: nth };
            t.bios(0x1a, &mut regs);
            check!(t, !regs.cf() && nth < 32, "INT 1Ah B102h does not find a function")?;
            if regs.bx() == function {
                break;
            }
            nth += 1;
        }
    }
    check!(t, found > 0, "no functions")?;
    let memory_end = u64::from(t.expect.memory.min(3072)) << 20;
    if let Some(why) = find_fault(windows.get(..count).unwrap_or_default(), memory_end) {
        return t.fail(why);
    }
    t.note.decimal(found).put(" functions, ").decimal(count as u32).put(" windows");
    Ok(())
}
