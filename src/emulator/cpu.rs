//! Emulated CPU state: registers, segments, and memory accesses with a small TLB and a cache of code bytes.

use super::alu::Size;
use super::paging::{Access, Paging};
use super::{Bus, NotEmulated};

pub(super) const AX: usize = 0;
pub(super) const CX: usize = 1;
pub(super) const DX: usize = 2;
pub(super) const BX: usize = 3;
pub(super) const SP: usize = 4;
pub(super) const BP: usize = 5;
pub(super) const SI: usize = 6;
pub(super) const DI: usize = 7;

/// ES. Segment registers have their numbers in instruction encodings.
pub const ES: usize = 0;
/// CS.
pub const CS: usize = 1;
/// SS.
pub const SS: usize = 2;
/// DS.
pub const DS: usize = 3;
/// FS.
pub const FS: usize = 4;
/// GS.
pub const GS: usize = 5;

/// The hidden part of a segment register (descriptor cache).
#[derive(Clone, Copy, Debug, Default)]
pub struct Segment {
    /// Linear address of offset 0.
    pub base: u32,
    /// Largest valid offset.
    pub limit: u32,
    /// Data can be read. An expand-down segment counts as neither readable nor writable.
    pub readable: bool,
    /// Data can be written.
    pub writable: bool,
    /// D/B flag: 32-bit code, or a 32-bit stack pointer.
    pub big: bool,
}

/// The display adapter's memory: [`Bus::read_table`] reads no page table there.
const VIDEO_MEMORY: std::ops::Range<u32> = 0xa_0000..0xc_0000;

/// Bytes of a line of the code cache.
const LINE: u32 = 64;
/// Lines of the code cache, which is direct-mapped.
const LINES: usize = 32;

/// Code bytes fetched for one instruction: one more than the longest instruction has.
pub(super) const CODE: usize = 16;

/// A line of the code cache.
#[derive(Clone, Copy)]
struct CodeLine {
    /// Linear address of the first byte; none for an invalid line.
    linear: Option<u32>,
    /// Physical address of the first byte.
    physical: u32,
    bytes: [u8; LINE as usize],
}

fn line_index(address: u32) -> usize {
    (address / LINE) as usize % LINES
}

/// A cached translation of a page.
#[derive(Clone, Copy)]
struct TlbEntry {
    linear: u32,
    physical: u32,
    /// The page may be written.
    write: bool,
}

/// A CPU outside long mode.
#[derive(Clone)]
pub struct Cpu {
    /// EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI: by their number in instruction encodings.
    pub regs: [u32; 8],
    /// EIP.
    pub eip: u32,
    /// EFLAGS.
    pub flags: u32,
    pub(super) segments: [Segment; 6],
    paging: Paging,
    /// IN and OUT need no check of the TSS' I/O permission bitmap (CPL <= IOPL).
    pub(super) io_allowed: bool,
    code_cache: [CodeLine; LINES],
    tlb: [Option<TlbEntry>; 4],
}

impl Cpu {
    /// A CPU with these registers. `segments` are ordered by their numbers.
    pub fn new(regs: [u32; 8], eip: u32, flags: u32, segments: [Segment; 6], paging: Paging, io_allowed: bool) -> Self {
        let code_cache = [CodeLine { linear: None, physical: 0, bytes: [0; LINE as usize] }; LINES];
        Self { regs, eip, flags, segments, paging, io_allowed, code_cache, tlb: [None; 4] }
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

    /// Replaces the flags of `mask` by those of `value`.
    pub(super) fn set_flags(&mut self, mask: u32, value: u32) {
        self.flags = self.flags & !mask | value & mask;
    }

    /// Physical address of the page of a linear address.
    fn translate(&mut self, bus: &mut impl Bus, linear: u32, access: Access) -> Result<u32, NotEmulated> {
        if !self.paging.pg {
            return Ok(linear & !0xfff);
        }
        let (page, slot, write) = (linear & !0xfff, (linear >> 12 & 3) as usize, access == Access::Write);
        if let Some(entry) = self.tlb[slot]
            && entry.linear == page
            && (entry.write || !write)
            && access != Access::Fetch
        {
            return Ok(entry.physical);
        }
        let physical = self.paging.translate(bus, linear, access)?;
        if access != Access::Fetch {
            self.tlb[slot] = Some(TlbEntry { linear: page, physical, write });
        }
        Ok(physical)
    }

    /// Linear address of an operand, after the segment's checks.
    fn linear(&self, segment: usize, offset: u32, len: u32, write: bool) -> Result<u32, NotEmulated> {
        let Segment { base, limit, readable, writable, .. } = self.segments[segment];
        let allowed = if write { writable } else { readable };
        let last = offset.checked_add(len - 1).ok_or(NotEmulated)?;
        if allowed && last <= limit { Ok(base.wrapping_add(offset)) } else { Err(NotEmulated) }
    }

    /// Physical address of a memory operand. Fails if the operand crosses a page boundary.
    pub(super) fn physical(
        &mut self,
        bus: &mut impl Bus,
        segment: usize,
        offset: u32,
        size: Size,
        write: bool,
    ) -> Result<u32, NotEmulated> {
        let linear = self.linear(segment, offset, size.bytes(), write)?;
        if (linear & 0xfff) + size.bytes() > 0x1000 {
            return Err(NotEmulated);
        }
        let page = self.translate(bus, linear, if write { Access::Write } else { Access::Read })?;
        Ok(page | linear & 0xfff)
    }

    pub(super) fn load(
        &mut self,
        bus: &mut impl Bus,
        segment: usize,
        offset: u32,
        size: Size,
    ) -> Result<u32, NotEmulated> {
        let at = self.physical(bus, segment, offset, size, false)?;
        let mut bytes = [0; 4];
        bus.read(at, bytes.get_mut(..size.bytes() as usize).ok_or(NotEmulated)?)?;
        Ok(u32::from_le_bytes(bytes))
    }

    pub(super) fn store(
        &mut self,
        bus: &mut impl Bus,
        segment: usize,
        offset: u32,
        size: Size,
        value: u32,
    ) -> Result<(), NotEmulated> {
        let at = self.physical(bus, segment, offset, size, true)?;
        bus.write(at, value.to_le_bytes().get(..size.bytes() as usize).ok_or(NotEmulated)?)?;
        // The store may have changed cached code or a page table. Linear and physical address select the same line, because
        // a page is larger than the cache.
        for end in [at, at + size.bytes() - 1] {
            let line = &mut self.code_cache[line_index(end)];
            if line.physical == end & !(LINE - 1) {
                line.linear = None;
            }
        }
        // Page tables are in RAM, never in the display adapter's memory, where most stores of a burst go.
        if self.paging.pg && !VIDEO_MEMORY.contains(&at) {
            self.tlb = [None; 4];
        }
        Ok(())
    }

    /// Reads the value at the top of the stack. Returns it and the stack pointer after a pop, without changing ESP.
    pub(super) fn read_top(&mut self, bus: &mut impl Bus, size: Size) -> Result<(u32, u32), NotEmulated> {
        let sp = self.regs[SP] & self.stack_size().mask();
        let value = self.load(bus, SS, sp, size)?;
        Ok((value, sp.wrapping_add(size.bytes())))
    }

    pub(super) fn push(&mut self, bus: &mut impl Bus, size: Size, value: u32) -> Result<(), NotEmulated> {
        let stack = self.stack_size();
        let sp = self.regs[SP].wrapping_sub(size.bytes()) & stack.mask();
        self.store(bus, SS, sp, size, value)?;
        self.set_reg(stack, SP, sp);
        Ok(())
    }

    /// Size of the stack pointer: SS.B.
    pub(super) fn stack_size(&self) -> Size {
        if self.segments[SS].big { Size::Dword } else { Size::Word }
    }

    /// The bytes at CS:EIP, and how many of them are valid: fewer than [`CODE`] at the segment limit or before a page that
    /// cannot be fetched.
    #[inline]
    pub(super) fn code(&mut self, bus: &mut impl Bus) -> Result<([u8; CODE], u32), NotEmulated> {
        let Segment { base, limit, .. } = self.segments[CS];
        let valid = match limit.checked_sub(self.eip) {
            Some(more) => more.min(CODE as u32 - 1) + 1,
            None => return Err(NotEmulated),
        };
        let linear = base.wrapping_add(self.eip);
        let at = (linear % LINE) as usize;
        let mut code = [0; CODE];
        if self.code_cache[line_index(linear)].linear != Some(linear - linear % LINE) {
            self.fetch(bus, linear)?;
        }
        let bytes = &self.code_cache[line_index(linear)].bytes;
        if let Some(all) = bytes.get(at..at + CODE) {
            code.copy_from_slice(all);
            return Ok((code, valid));
        }
        let first = LINE as usize - at;
        code[..first].copy_from_slice(&bytes[at..]);
        let next = linear.wrapping_add(first as u32);
        if self.code_cache[line_index(next)].linear != Some(next) && self.fetch(bus, next).is_err() {
            return Ok((code, valid.min(first as u32)));
        }
        code[first..].copy_from_slice(&self.code_cache[line_index(next)].bytes[..CODE - first]);
        Ok((code, valid))
    }

    /// Fills the code cache line of a linear address.
    #[cold]
    fn fetch(&mut self, bus: &mut impl Bus, linear: u32) -> Result<(), NotEmulated> {
        let start = linear & !(LINE - 1);
        let physical = self.translate(bus, linear, Access::Fetch)? | start & 0xfff;
        let line = &mut self.code_cache[line_index(linear)];
        line.linear = None;
        bus.read_code(physical, &mut line.bytes)?;
        (line.linear, line.physical) = (Some(start), physical);
        Ok(())
    }
}
