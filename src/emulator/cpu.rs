//! The processor's state as far as instructions of this kind need it, and its way to memory.

use super::alu::Size;
use super::paging::{Access, Paging};
use super::{Bus, Stop};

pub(super) const AX: usize = 0;
pub(super) const CX: usize = 1;
pub(super) const DX: usize = 2;
pub(super) const SP: usize = 4;
pub(super) const BP: usize = 5;
pub(super) const SI: usize = 6;
pub(super) const DI: usize = 7;

/// Segments, as instructions number them.
pub const ES: usize = 0;
/// Code.
pub const CS: usize = 1;
/// The stack.
pub const SS: usize = 2;
/// Data.
pub const DS: usize = 3;
/// More data.
pub const FS: usize = 4;
/// Still more.
pub const GS: usize = 5;

/// A segment register's hidden part.
#[derive(Clone, Copy, Debug, Default)]
pub struct Segment {
    /// Linear address of offset 0.
    pub base: u32,
    /// The last offset.
    pub limit: u32,
    /// Data can be read. A segment that ends where others begin (expand down) is taken for one that cannot be used.
    pub readable: bool,
    /// And written.
    pub writable: bool,
    /// 32 bits: of code, or of the stack pointer.
    pub big: bool,
}

/// Bytes of a line of code, and lines that are kept at hand, by the low bits of their number.
const LINE: u32 = 64;
const LINES: usize = 8;

/// Bytes of code that are looked at for an instruction: one more than it can have.
pub(super) const CODE: usize = 16;

/// Code, as it was when it was first needed.
#[derive(Clone, Copy)]
struct Line {
    /// Where it is, by linear and physical address, or none.
    linear: Option<u32>,
    physical: u32,
    bytes: [u8; LINE as usize],
}

fn line_of(address: u32) -> usize {
    (address / LINE) as usize % LINES
}

/// Where the page of a linear address is, as it was found before.
#[derive(Clone, Copy)]
struct Known {
    linear: u32,
    physical: u32,
    write: bool,
}

/// A processor outside long mode.
#[derive(Clone)]
pub struct Cpu {
    /// EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI, as instructions number them.
    pub regs: [u32; 8],
    /// The next instruction.
    pub eip: u32,
    /// EFLAGS.
    pub flags: u32,
    pub(super) segments: [Segment; 6],
    paging: Paging,
    /// Whether IN and OUT are allowed without asking the task's bitmap.
    pub(super) io: bool,
    lines: [Line; LINES],
    known: [Option<Known>; 4],
}

impl Cpu {
    /// One with these registers; `segments` as they are numbered.
    pub fn new(regs: [u32; 8], eip: u32, flags: u32, segments: [Segment; 6], paging: Paging, io: bool) -> Self {
        let lines = [Line { linear: None, physical: 0, bytes: [0; LINE as usize] }; LINES];
        Self { regs, eip, flags, segments, paging, io, lines, known: [None; 4] }
    }

    pub(super) fn reg(&self, size: Size, number: usize) -> u32 {
        match size {
            Size::Byte if number & 4 != 0 => self.regs[number & 3] >> 8 & 0xff,
            _ => self.regs[number & 7] & size.mask(),
        }
    }

    pub(super) fn set_reg(&mut self, size: Size, number: usize, value: u32) {
        let (number, shift) = match size {
            Size::Byte if number & 4 != 0 => (number & 3, 8),
            _ => (number & 7, 0),
        };
        let mask = size.mask() << shift;
        self.regs[number] = self.regs[number] & !mask | value << shift & mask;
    }

    /// Changes only these flags.
    pub(super) fn set_flags(&mut self, mask: u32, value: u32) {
        self.flags = self.flags & !mask | value & mask;
    }

    fn page(&mut self, bus: &mut impl Bus, linear: u32, access: Access) -> Result<u32, Stop> {
        if !self.paging.on {
            return Ok(linear & !0xfff);
        }
        let (page, slot, write) = (linear & !0xfff, (linear >> 12 & 3) as usize, access == Access::Write);
        if let Some(known) = self.known[slot]
            && known.linear == page
            && (known.write || !write)
            && access != Access::Fetch
        {
            return Ok(known.physical);
        }
        let physical = self.paging.page(bus, linear, access)?;
        if access != Access::Fetch {
            self.known[slot] = Some(Known { linear: page, physical, write });
        }
        Ok(physical)
    }

    fn linear(&self, segment: usize, offset: u32, len: u32, write: bool) -> Result<u32, Stop> {
        let Segment { base, limit, readable, writable, .. } = self.segments[segment];
        let allowed = if write { writable } else { readable };
        let last = offset.checked_add(len - 1).ok_or(Stop)?;
        if allowed && last <= limit { Ok(base.wrapping_add(offset)) } else { Err(Stop) }
    }

    /// Where an operand in memory is. One that lies in two pages is left to the processor.
    pub(super) fn place(
        &mut self,
        bus: &mut impl Bus,
        segment: usize,
        offset: u32,
        size: Size,
        write: bool,
    ) -> Result<u32, Stop> {
        let linear = self.linear(segment, offset, size.bytes(), write)?;
        if (linear & 0xfff) + size.bytes() > 0x1000 {
            return Err(Stop);
        }
        let page = self.page(bus, linear, if write { Access::Write } else { Access::Read })?;
        Ok(page | linear & 0xfff)
    }

    pub(super) fn load(&mut self, bus: &mut impl Bus, segment: usize, offset: u32, size: Size) -> Result<u32, Stop> {
        let at = self.place(bus, segment, offset, size, false)?;
        let mut bytes = [0; 4];
        bus.read(at, bytes.get_mut(..size.bytes() as usize).ok_or(Stop)?)?;
        Ok(u32::from_le_bytes(bytes))
    }

    pub(super) fn store(
        &mut self,
        bus: &mut impl Bus,
        segment: usize,
        offset: u32,
        size: Size,
        value: u32,
    ) -> Result<(), Stop> {
        let at = self.place(bus, segment, offset, size, true)?;
        bus.write(at, value.to_le_bytes().get(..size.bytes() as usize).ok_or(Stop)?)?;
        // It may have been code, or a page table. A line has the same place by either address: pages are larger.
        for end in [at, at + size.bytes() - 1] {
            let line = &mut self.lines[line_of(end)];
            if line.physical == end & !(LINE - 1) {
                line.linear = None;
            }
        }
        if self.paging.on {
            self.known = [None; 4];
        }
        Ok(())
    }

    /// A value on the stack is read, and the stack pointer behind it given.
    pub(super) fn top(&mut self, bus: &mut impl Bus, size: Size) -> Result<(u32, u32), Stop> {
        let sp = self.regs[SP] & self.stack().mask();
        let value = self.load(bus, SS, sp, size)?;
        Ok((value, sp.wrapping_add(size.bytes())))
    }

    pub(super) fn push(&mut self, bus: &mut impl Bus, size: Size, value: u32) -> Result<(), Stop> {
        let stack = self.stack();
        let sp = self.regs[SP].wrapping_sub(size.bytes()) & stack.mask();
        self.store(bus, SS, sp, size, value)?;
        self.set_reg(stack, SP, sp);
        Ok(())
    }

    /// The size of the stack pointer.
    pub(super) fn stack(&self) -> Size {
        if self.segments[SS].big { Size::Long } else { Size::Word }
    }

    /// The bytes at the instruction pointer, as many as an instruction can have; and how many of them there are.
    #[inline]
    pub(super) fn code(&mut self, bus: &mut impl Bus) -> Result<([u8; CODE], u32), Stop> {
        let Segment { base, limit, .. } = self.segments[CS];
        let most = match limit.checked_sub(self.eip) {
            Some(more) => more.min(CODE as u32 - 1) + 1,
            None => return Err(Stop),
        };
        let linear = base.wrapping_add(self.eip);
        let at = (linear % LINE) as usize;
        let mut code = [0; CODE];
        if self.lines[line_of(linear)].linear != Some(linear - linear % LINE) {
            self.fetch(bus, linear)?;
        }
        let bytes = &self.lines[line_of(linear)].bytes;
        if let Some(all) = bytes.get(at..at + CODE) {
            code.copy_from_slice(all);
            return Ok((code, most));
        }
        let first = LINE as usize - at;
        code[..first].copy_from_slice(&bytes[at..]);
        let next = linear.wrapping_add(first as u32);
        if self.lines[line_of(next)].linear != Some(next) && self.fetch(bus, next).is_err() {
            return Ok((code, most.min(first as u32)));
        }
        code[first..].copy_from_slice(&self.lines[line_of(next)].bytes[..CODE - first]);
        Ok((code, most))
    }

    #[cold]
    fn fetch(&mut self, bus: &mut impl Bus, linear: u32) -> Result<(), Stop> {
        let start = linear & !(LINE - 1);
        let physical = self.page(bus, linear, Access::Fetch)? | start & 0xfff;
        let line = &mut self.lines[line_of(linear)];
        line.linear = None;
        bus.read_code(physical, &mut line.bytes)?;
        (line.linear, line.physical) = (Some(start), physical);
        Ok(())
    }
}
