//! The instructions: those of loops that draw. Each is carried out whole, or not at all.

use super::alu::{self, CF, DF, OF, STATUS, Size, ZF};
use super::cpu::{AX, BP, CODE, CS, CX, Cpu, DI, DS, DX, ES, FS, GS, SI, SP, SS};
use super::{Bus, Stop};

/// Bytes of an instruction at most.
const LONGEST: u32 = CODE as u32 - 1;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    No,
    /// F3h: while ZF is set, or just so often.
    Equal,
    /// F2h.
    Unequal,
}

/// An operand.
#[derive(Clone, Copy)]
enum Place {
    Register(usize),
    Memory(usize, u32),
}

/// An instruction under way. Nothing of the processor is changed before all that can fail has been done.
struct Instruction<'a, B> {
    cpu: &'a mut Cpu,
    bus: &'a mut B,
    /// Offset of the next byte of code.
    at: u32,
    /// The code, how much there is, and how much of it was taken.
    code: [u8; CODE],
    there: u32,
    length: u32,
    operand: Size,
    address: Size,
    segment: Option<usize>,
    repeat: Repeat,
}

/// Carries out the next instruction; gives how many bytes it has. `budget` is how often a string instruction may repeat; what
/// it takes of that is subtracted.
///
/// # Errors
/// If it is none of those, or cannot be carried out: then the processor has to, and is as it was before it (a string
/// instruction may have been repeated some times).
pub fn step(cpu: &mut Cpu, bus: &mut impl Bus, budget: &mut u32) -> Result<u32, Stop> {
    let size = if cpu.segments[CS].big { Size::Long } else { Size::Word };
    let at = cpu.eip;
    let (code, there) = cpu.code(bus)?;
    let mut instruction = Instruction {
        cpu,
        bus,
        at,
        code,
        there: there.min(LONGEST),
        length: 0,
        operand: size,
        address: size,
        segment: None,
        repeat: Repeat::No,
    };
    instruction.run(budget)?;
    Ok(instruction.length)
}

impl<B: Bus> Instruction<'_, B> {
    #[inline]
    fn byte(&mut self) -> Result<u8, Stop> {
        if self.length >= self.there {
            return Err(Stop);
        }
        let byte = self.code[self.length as usize % CODE];
        self.length += 1;
        self.at = self.at.wrapping_add(1);
        Ok(byte)
    }

    #[inline]
    fn immediate(&mut self, size: Size) -> Result<u32, Stop> {
        Ok(match size {
            Size::Byte => self.byte()?.into(),
            Size::Word => u16::from_le_bytes([self.byte()?, self.byte()?]).into(),
            Size::Long => u32::from_le_bytes([self.byte()?, self.byte()?, self.byte()?, self.byte()?]),
        })
    }

    /// A byte with its sign.
    fn short(&mut self) -> Result<u32, Stop> {
        Ok(Size::Byte.extend(self.byte()?.into()))
    }

    /// The second operand's kind and the first operand.
    fn modrm(&mut self) -> Result<(usize, Place), Stop> {
        let byte = self.byte()?;
        let (mode, reg, rm) = (byte >> 6, usize::from(byte >> 3 & 7), usize::from(byte & 7));
        if mode == 3 {
            return Ok((reg, Place::Register(rm)));
        }
        let regs = self.cpu.regs;
        let (mut offset, mut segment) = (0_u32, DS);
        let mut add = |value: u32| offset = offset.wrapping_add(value);
        let displacement;
        if self.address == Size::Word {
            if mode == 0 && rm == 6 {
                displacement = Some(Size::Word);
            } else {
                let (base, index) = match rm {
                    0 => (3, Some(SI)),
                    1 => (3, Some(DI)),
                    2 => (BP, Some(SI)),
                    3 => (BP, Some(DI)),
                    4 => (SI, None),
                    5 => (DI, None),
                    6 => (BP, None),
                    _ => (3, None),
                };
                if base == BP {
                    segment = SS;
                }
                add(regs[base]);
                add(index.map_or(0, |index| regs[index]));
                displacement = [None, Some(Size::Byte), Some(Size::Word)][usize::from(mode)];
            }
        } else {
            let mut base = Some(rm);
            if rm == 4 {
                let sib = self.byte()?;
                let index = usize::from(sib >> 3 & 7);
                if index != SP {
                    add(regs[index] << (sib >> 6));
                }
                base = Some(usize::from(sib & 7));
            }
            if mode == 0 && base == Some(BP) {
                base = None;
            }
            if let Some(base) = base {
                add(regs[base]);
                if base == BP || base == SP {
                    segment = SS;
                }
            }
            displacement = match mode {
                0 if base.is_none() => Some(Size::Long),
                0 => None,
                1 => Some(Size::Byte),
                _ => Some(Size::Long),
            };
        }
        if let Some(size) = displacement {
            let value = self.immediate(size)?;
            offset = offset.wrapping_add(size.extend(value));
        }
        Ok((reg, Place::Memory(self.segment.unwrap_or(segment), offset & self.address.mask())))
    }

    fn load(&mut self, size: Size, place: Place) -> Result<u32, Stop> {
        match place {
            Place::Register(number) => Ok(self.cpu.reg(size, number)),
            Place::Memory(segment, offset) => self.cpu.load(self.bus, segment, offset, size),
        }
    }

    fn store(&mut self, size: Size, place: Place, value: u32) -> Result<(), Stop> {
        match place {
            Place::Register(number) => {
                self.cpu.set_reg(size, number, value);
                Ok(())
            }
            Place::Memory(segment, offset) => self.cpu.store(self.bus, segment, offset, size, value),
        }
    }

    /// Goes on at an offset from the next instruction.
    fn jump(&mut self, by: u32) -> Result<(), Stop> {
        self.go_to(self.at.wrapping_add(by))
    }

    fn go_to(&mut self, at: u32) -> Result<(), Stop> {
        let at = at & self.operand.mask();
        // A jump past the segment's end faults before it is taken.
        if at > self.cpu.segments[CS].limit {
            return Err(Stop);
        }
        self.at = at;
        Ok(())
    }

    fn run(&mut self, budget: &mut u32) -> Result<(), Stop> {
        let code = loop {
            match self.byte()? {
                0x66 => self.operand = other(self.cpu.segments[CS].big),
                0x67 => self.address = other(self.cpu.segments[CS].big),
                0x26 => self.segment = Some(ES),
                0x2e => self.segment = Some(CS),
                0x36 => self.segment = Some(SS),
                0x3e => self.segment = Some(DS),
                0x64 => self.segment = Some(FS),
                0x65 => self.segment = Some(GS),
                0xf2 => self.repeat = Repeat::Unequal,
                0xf3 => self.repeat = Repeat::Equal,
                code => break code,
            }
        };
        let string = matches!(code, 0xa4..=0xa7 | 0xaa..=0xaf);
        if self.repeat != Repeat::No && !string {
            return Err(Stop);
        }
        let size = if code & 1 == 0 { Size::Byte } else { self.operand };
        match code {
            // Eight operations, by register and operand, operand and register, accumulator and number.
            0x00..=0x3f if code & 7 < 6 => {
                let number = code >> 3;
                if code & 7 < 4 {
                    let (reg, place) = self.modrm()?;
                    let (to, from) =
                        if code & 2 == 0 { (place, Place::Register(reg)) } else { (Place::Register(reg), place) };
                    let from = self.load(size, from)?;
                    self.operate(number, size, to, from)?;
                } else {
                    let from = self.immediate(size)?;
                    self.operate(number, size, Place::Register(AX), from)?;
                }
            }
            0x40..=0x4f => {
                let (size, reg) = (self.operand, usize::from(code & 7));
                let (value, flags) = alu::step(size, self.cpu.reg(size, reg), code & 8 != 0, self.cpu.flags);
                self.cpu.set_reg(size, reg, value);
                self.cpu.set_flags(STATUS, flags);
            }
            0x50..=0x57 => {
                let value = self.cpu.reg(self.operand, usize::from(code & 7));
                self.cpu.push(self.bus, self.operand, value)?;
            }
            0x58..=0x5f => {
                let (value, sp) = self.cpu.top(self.bus, self.operand)?;
                self.cpu.set_reg(self.cpu.stack(), SP, sp);
                self.cpu.set_reg(self.operand, usize::from(code & 7), value);
            }
            0x69 | 0x6b => {
                let (reg, place) = self.modrm()?;
                let from = self.load(self.operand, place)?;
                let by = if code == 0x69 { self.immediate(self.operand)? } else { self.short()? };
                let (value, flags) = alu::imul(self.operand, from, by, self.cpu.flags);
                self.cpu.set_reg(self.operand, reg, value);
                self.cpu.set_flags(STATUS, flags);
            }
            0x70..=0x7f => {
                let by = self.short()?;
                if alu::holds(code & 15, self.cpu.flags) {
                    self.jump(by)?;
                }
            }
            0x80 | 0x81 | 0x83 => {
                let (number, place) = self.modrm()?;
                let from = if code == 0x83 { self.short()? } else { self.immediate(size)? };
                self.operate(number as u8, size, place, from)?;
            }
            0x84 | 0x85 => {
                let (reg, place) = self.modrm()?;
                let (a, b) = (self.load(size, place)?, self.cpu.reg(size, reg));
                self.cpu.set_flags(STATUS, alu::logic(size, a & b).1);
            }
            0x86 | 0x87 => {
                let (reg, place) = self.modrm()?;
                self.exchange(size, reg, place)?;
            }
            0x88 | 0x89 => {
                let (reg, place) = self.modrm()?;
                self.store(size, place, self.cpu.reg(size, reg))?;
            }
            0x8a | 0x8b => {
                let (reg, place) = self.modrm()?;
                let value = self.load(size, place)?;
                self.cpu.set_reg(size, reg, value);
            }
            0x8d => match self.modrm()? {
                (reg, Place::Memory(_, offset)) => self.cpu.set_reg(self.operand, reg, offset),
                _ => return Err(Stop),
            },
            0x90..=0x97 => self.exchange(self.operand, AX, Place::Register(usize::from(code & 7)))?,
            0x98 => {
                let from = if self.operand == Size::Word { Size::Byte } else { Size::Word };
                self.cpu.set_reg(self.operand, AX, from.extend(self.cpu.reg(from, AX)));
            }
            0x99 => {
                let sign = self.operand.extend(self.cpu.reg(self.operand, AX)) as i32 >> 31;
                self.cpu.set_reg(self.operand, DX, sign as u32);
            }
            0xa0..=0xa3 => {
                let offset = self.immediate(self.address)?;
                let place = Place::Memory(self.segment.unwrap_or(DS), offset);
                if code < 0xa2 {
                    let value = self.load(size, place)?;
                    self.cpu.set_reg(size, AX, value);
                } else {
                    self.store(size, place, self.cpu.reg(size, AX))?;
                }
            }
            0xa8 | 0xa9 => {
                let value = self.immediate(size)?;
                self.cpu.set_flags(STATUS, alu::logic(size, self.cpu.reg(size, AX) & value).1);
            }
            0xa4..=0xa7 | 0xaa..=0xaf => return self.string(code, size, budget),
            0xb0..=0xb7 => {
                let value = self.immediate(Size::Byte)?;
                self.cpu.set_reg(Size::Byte, usize::from(code & 7), value);
            }
            0xb8..=0xbf => {
                let value = self.immediate(self.operand)?;
                self.cpu.set_reg(self.operand, usize::from(code & 7), value);
            }
            0xc0 | 0xc1 | 0xd0..=0xd3 => {
                let (number, place) = self.modrm()?;
                let count = match code {
                    0xc0 | 0xc1 => self.byte()?,
                    0xd0 | 0xd1 => 1,
                    _ => self.cpu.reg(Size::Byte, CX) as u8,
                };
                let value = self.load(size, place)?;
                let (value, flags) = alu::shift(number as u8, size, value, count, self.cpu.flags).ok_or(Stop)?;
                self.store(size, place, value)?;
                self.cpu.set_flags(STATUS, flags);
            }
            0xc2 | 0xc3 => {
                let more = if code == 0xc2 { self.immediate(Size::Word)? } else { 0 };
                let (to, sp) = self.cpu.top(self.bus, self.operand)?;
                self.go_to(to)?;
                self.cpu.set_reg(self.cpu.stack(), SP, sp.wrapping_add(more));
            }
            0xc6 | 0xc7 => {
                let (0, place) = self.modrm()? else { return Err(Stop) };
                let value = self.immediate(size)?;
                self.store(size, place, value)?;
            }
            0xe0..=0xe3 => {
                let by = self.short()?;
                let count = self.cpu.reg(self.address, CX).wrapping_sub(u32::from(code != 0xe3)) & self.address.mask();
                let zero = self.cpu.flags & ZF != 0;
                let jumps = match code {
                    0xe0 => count != 0 && !zero,
                    0xe1 => count != 0 && zero,
                    0xe2 => count != 0,
                    _ => count == 0,
                };
                if jumps {
                    self.jump(by)?;
                }
                self.cpu.set_reg(self.address, CX, count);
            }
            0xe8 | 0xe9 => {
                let by = self.immediate(self.operand)?;
                let next = self.at;
                self.jump(self.operand.extend(by))?;
                if code == 0xe8 {
                    self.cpu.push(self.bus, self.operand, next)?;
                }
            }
            0xeb => {
                let by = self.short()?;
                self.jump(by)?;
            }
            0xe4..=0xe7 | 0xec..=0xef => {
                let port = if code & 8 == 0 { self.byte()?.into() } else { self.cpu.reg(Size::Word, DX) as u16 };
                if !self.cpu.io {
                    return Err(Stop);
                }
                let mut bytes = self.cpu.reg(size, AX).to_le_bytes();
                let data = &mut bytes[..size.bytes() as usize];
                if code & 2 == 0 {
                    self.bus.port_in(port, data)?;
                    self.cpu.set_reg(size, AX, u32::from_le_bytes(bytes));
                } else {
                    self.bus.port_out(port, data)?;
                }
            }
            0xf5 => self.cpu.flags ^= CF,
            0xf6 | 0xf7 => self.unary(size)?,
            0xf8 | 0xf9 => self.cpu.set_flags(CF, if code & 1 != 0 { CF } else { 0 }),
            0xfc | 0xfd => self.cpu.set_flags(DF, if code & 1 != 0 { DF } else { 0 }),
            0xfe | 0xff => self.up_or_down(size)?,
            0x0f => self.two_bytes()?,
            _ => return Err(Stop),
        }
        self.cpu.eip = self.at;
        Ok(())
    }

    fn operate(&mut self, number: u8, size: Size, to: Place, from: u32) -> Result<(), Stop> {
        let value = self.load(size, to)?;
        let (result, flags) = alu::operate(number, size, value, from, self.cpu.flags);
        if number & 7 != alu::CMP {
            self.store(size, to, result)?;
        }
        self.cpu.set_flags(STATUS, flags);
        Ok(())
    }

    /// XCHG. With memory it locks the bus, which nobody here can do: but a device is reached under the board's lock.
    fn exchange(&mut self, size: Size, reg: usize, place: Place) -> Result<(), Stop> {
        if let Place::Memory(segment, offset) = place {
            let at = self.cpu.place(self.bus, segment, offset, size, true)?;
            if !self.bus.is_device(at, size.bytes() as usize) {
                return Err(Stop);
            }
        }
        let value = self.load(size, place)?;
        let mine = self.cpu.reg(size, reg);
        self.store(size, place, mine)?;
        self.cpu.set_reg(size, reg, value);
        Ok(())
    }

    /// Group 3: TEST, NOT, NEG, MUL, IMUL.
    fn unary(&mut self, size: Size) -> Result<(), Stop> {
        let (number, place) = self.modrm()?;
        let with = if number == 0 { self.immediate(size)? } else { 0 };
        let value = self.load(size, place)?;
        match number {
            0 => self.cpu.set_flags(STATUS, alu::logic(size, value & with).1),
            2 => self.store(size, place, !value)?,
            3 => {
                let (result, flags) = alu::operate(alu::SUB, size, 0, value, 0);
                self.store(size, place, result)?;
                self.cpu.set_flags(STATUS, flags);
            }
            4 | 5 => {
                let a = self.cpu.reg(size, AX);
                let (low, mut high, mut flags) = alu::mul(size, a, value, self.cpu.flags);
                if number == 5 {
                    // The same low half; the high one is less by what the signs count twice.
                    let negative = |x: u32| size.extend(x) as i32 >> 31;
                    high = high.wrapping_sub(negative(a) as u32 & value).wrapping_sub(negative(value) as u32 & a);
                    high &= size.mask();
                    let sign = negative(low) as u32 & size.mask();
                    flags = flags & !(CF | OF) | if high == sign { 0 } else { CF | OF };
                }
                if size == Size::Byte {
                    self.cpu.set_reg(Size::Word, AX, low | high << 8);
                } else {
                    self.cpu.set_reg(size, AX, low);
                    self.cpu.set_reg(size, DX, high);
                }
                self.cpu.set_flags(STATUS, flags);
            }
            // A division can fault; 1 is nowhere documented, and not every processor takes it for TEST.
            _ => return Err(Stop),
        }
        Ok(())
    }

    /// Groups 4 and 5: INC, DEC, CALL, JMP, PUSH.
    fn up_or_down(&mut self, size: Size) -> Result<(), Stop> {
        let (number, place) = self.modrm()?;
        if number > 1 && size == Size::Byte || matches!(number, 3 | 5 | 7) {
            return Err(Stop);
        }
        let value = self.load(size, place)?;
        match number {
            0 | 1 => {
                let (value, flags) = alu::step(size, value, number == 1, self.cpu.flags);
                self.store(size, place, value)?;
                self.cpu.set_flags(STATUS, flags);
            }
            2 | 4 => {
                let next = self.at;
                self.go_to(value)?;
                if number == 2 {
                    self.cpu.push(self.bus, size, next)?;
                }
            }
            _ => self.cpu.push(self.bus, size, value)?,
        }
        Ok(())
    }

    fn two_bytes(&mut self) -> Result<(), Stop> {
        let code = self.byte()?;
        match code {
            0x80..=0x8f => {
                let by = self.immediate(self.operand)?;
                if alu::holds(code & 15, self.cpu.flags) {
                    self.jump(self.operand.extend(by))?;
                }
            }
            0x90..=0x9f => {
                let (_, place) = self.modrm()?;
                self.store(Size::Byte, place, alu::holds(code & 15, self.cpu.flags).into())?;
            }
            0xaf => {
                let (reg, place) = self.modrm()?;
                let by = self.load(self.operand, place)?;
                let (value, flags) = alu::imul(self.operand, self.cpu.reg(self.operand, reg), by, self.cpu.flags);
                self.cpu.set_reg(self.operand, reg, value);
                self.cpu.set_flags(STATUS, flags);
            }
            0xb6 | 0xb7 | 0xbe | 0xbf => {
                let (reg, place) = self.modrm()?;
                let from = if code & 1 == 0 { Size::Byte } else { Size::Word };
                let value = self.load(from, place)?;
                self.cpu.set_reg(self.operand, reg, if code & 8 == 0 { value } else { from.extend(value) });
            }
            _ => return Err(Stop),
        }
        Ok(())
    }

    /// MOVS, CMPS, STOS, LODS and SCAS, once or repeated.
    fn string(&mut self, code: u8, size: Size, budget: &mut u32) -> Result<(), Stop> {
        let next = self.at;
        if self.repeat == Repeat::No {
            self.string_once(code, size)?;
            self.cpu.eip = next;
            return Ok(());
        }
        let compares = matches!(code & !1, 0xa6 | 0xae);
        loop {
            let count = self.cpu.reg(self.address, CX);
            if count == 0 {
                break;
            }
            // The instruction goes on another time.
            *budget = budget.checked_sub(1).ok_or(Stop)?;
            self.string_once(code, size)?;
            self.cpu.set_reg(self.address, CX, count - 1);
            let equal = self.cpu.flags & ZF != 0;
            if compares && equal != (self.repeat == Repeat::Equal) {
                break;
            }
        }
        self.cpu.eip = next;
        Ok(())
    }

    fn string_once(&mut self, code: u8, size: Size) -> Result<(), Stop> {
        let by = if self.cpu.flags & DF == 0 { size.bytes() } else { size.bytes().wrapping_neg() };
        let (si, di) = (self.cpu.reg(self.address, SI), self.cpu.reg(self.address, DI));
        let from = Place::Memory(self.segment.unwrap_or(DS), si);
        let to = Place::Memory(ES, di);
        let (mut moves_si, mut moves_di) = (false, false);
        match code & !1 {
            0xa4 => {
                let value = self.load(size, from)?;
                self.store(size, to, value)?;
                (moves_si, moves_di) = (true, true);
            }
            0xa6 => {
                let (a, b) = (self.load(size, from)?, self.load(size, to)?);
                self.cpu.set_flags(STATUS, alu::operate(alu::CMP, size, a, b, 0).1);
                (moves_si, moves_di) = (true, true);
            }
            0xaa => {
                self.store(size, to, self.cpu.reg(size, AX))?;
                moves_di = true;
            }
            0xac => {
                let value = self.load(size, from)?;
                self.cpu.set_reg(size, AX, value);
                moves_si = true;
            }
            _ => {
                let value = self.load(size, to)?;
                self.cpu.set_flags(STATUS, alu::operate(alu::CMP, size, self.cpu.reg(size, AX), value, 0).1);
                moves_di = true;
            }
        }
        if moves_si {
            self.cpu.set_reg(self.address, SI, si.wrapping_add(by));
        }
        if moves_di {
            self.cpu.set_reg(self.address, DI, di.wrapping_add(by));
        }
        Ok(())
    }
}

/// The size that a prefix asks for.
fn other(big: bool) -> Size {
    if big { Size::Word } else { Size::Long }
}
