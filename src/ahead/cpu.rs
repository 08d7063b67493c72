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

/// Bytes of code that are kept at hand.
const AHEAD: usize = 64;

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
    /// Linear address of the code at hand, and how much there is.
    code_at: u32,
    code_len: u32,
    code: [u8; AHEAD],
    known: [Option<Known>; 4],
}

impl Cpu {
    /// One with these registers; `segments` as they are numbered.
    pub fn new(regs: [u32; 8], eip: u32, flags: u32, segments: [Segment; 6], paging: Paging, io: bool) -> Self {
        Self { regs, eip, flags, segments, paging, io, code_at: 0, code_len: 0, code: [0; AHEAD], known: [None; 4] }
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
    fn place(&mut self, bus: &mut impl Bus, segment: usize, offset: u32, size: Size, write: bool) -> Result<u32, Stop> {
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
        // It may have been code, or a page table.
        if !(0xa_0000..0xc_0000).contains(&at) {
            self.code_len = 0;
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

    /// A byte of code at an offset.
    pub(super) fn code_byte(&mut self, bus: &mut impl Bus, offset: u32) -> Result<u8, Stop> {
        let Segment { base, limit, .. } = self.segments[CS];
        if offset > limit {
            return Err(Stop);
        }
        let linear = base.wrapping_add(offset);
        let mut at = linear.wrapping_sub(self.code_at);
        if at >= self.code_len {
            let page = self.page(bus, linear, Access::Fetch)?;
            let len = AHEAD.min(0x1000 - (linear & 0xfff) as usize);
            self.code_len = 0;
            bus.read_code(page | linear & 0xfff, &mut self.code[..len])?;
            (self.code_at, self.code_len, at) = (linear, len as u32, 0);
        }
        self.code.get(at as usize).copied().ok_or(Stop)
    }
}
