//! Instruction decoder and execution: one-byte opcodes, the 0Fh map, string instructions. An instruction either completes
//! or leaves the CPU unchanged.

use super::alu::{self, CF, DF, OF, STATUS, Size, ZF};
use super::cpu::{AX, BP, BX, CODE, CS, CX, Cpu, DI, DS, DX, ES, FS, GS, SI, SP, SS};
use super::{Bus, NotEmulated};

/// Largest length of an instruction in bytes.
const MAX_LENGTH: u32 = CODE as u32 - 1;

/// Repeat prefix.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    No,
    /// F3h, REP or REPE: until CX is 0; CMPS and SCAS also stop when ZF is clear.
    Equal,
    /// F2h, REPNE: CMPS and SCAS stop when ZF is set.
    NotEqual,
}

/// A register or memory operand.
#[derive(Clone, Copy)]
enum Operand {
    /// Register number.
    Register(usize),
    /// Segment and effective address.
    Memory(usize, u32),
}

/// The instruction being executed. It changes registers and flags only after every step that can fail.
struct Instruction<'a, B> {
    cpu: &'a mut Cpu,
    bus: &'a mut B,
    /// EIP after the bytes decoded so far; at the end, EIP of the next instruction.
    next_eip: u32,
    /// Code bytes at EIP.
    code: [u8; CODE],
    /// Valid bytes in `code`.
    available: u32,
    /// Bytes decoded.
    length: u32,
    operand_size: Size,
    address_size: Size,
    /// Segment override prefix.
    segment: Option<usize>,
    repeat: Repeat,
}

/// Executes the next instruction and returns its length in bytes. `budget` limits the repetitions of a string instruction;
/// each repetition decrements it.
///
/// # Errors
/// If the instruction is not implemented, would fault or accesses something that [`Bus`] refuses. The CPU is then in its
/// state before the instruction; a repeated string instruction may have completed some repetitions.
pub fn step(cpu: &mut Cpu, bus: &mut impl Bus, budget: &mut u32) -> Result<u32, NotEmulated> {
    let size = if cpu.segments[CS].big { Size::Dword } else { Size::Word };
    let next_eip = cpu.eip;
    let (code, available) = cpu.code(bus)?;
    let mut instruction = Instruction {
        cpu,
        bus,
        next_eip,
        code,
        available: available.min(MAX_LENGTH),
        length: 0,
        operand_size: size,
        address_size: size,
        segment: None,
        repeat: Repeat::No,
    };
    instruction.run(budget)?;
    Ok(instruction.length)
}

/// The counter of the next instruction, if that is a repeated string instruction that reads memory, and whether it is CX
/// and not ECX.
///
/// # Errors
/// If the code cannot be read.
pub fn repeat_count(cpu: &mut Cpu, bus: &mut impl Bus) -> Result<Option<(u32, bool)>, NotEmulated> {
    let (code, available) = cpu.code(bus)?;
    let (mut repeated, mut prefixed) = (false, false);
    for &byte in code.iter().take(available as usize) {
        match byte {
            0xf2 | 0xf3 => repeated = true,
            0x67 => prefixed = true,
            0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x66 => {}
            // MOVS, CMPS, LODS, SCAS: those that read memory.
            0xa4..=0xa7 | 0xac..=0xaf if repeated => {
                let size = if cpu.segments[CS].big != prefixed { Size::Dword } else { Size::Word };
                return Ok(Some((cpu.reg(size, CX), size == Size::Word)));
            }
            _ => break,
        }
    }
    Ok(None)
}

impl<B: Bus> Instruction<'_, B> {
    /// The next code byte.
    #[inline]
    fn byte(&mut self) -> Result<u8, NotEmulated> {
        if self.length >= self.available {
            return Err(NotEmulated);
        }
        let byte = self.code[self.length as usize % CODE];
        self.length += 1;
        self.next_eip = self.next_eip.wrapping_add(1);
        Ok(byte)
    }

    /// An immediate operand or displacement.
    #[inline]
    fn immediate(&mut self, size: Size) -> Result<u32, NotEmulated> {
        Ok(match size {
            Size::Byte => self.byte()?.into(),
            Size::Word => u16::from_le_bytes([self.byte()?, self.byte()?]).into(),
            Size::Dword => u32::from_le_bytes([self.byte()?, self.byte()?, self.byte()?, self.byte()?]),
        })
    }

    /// A sign-extended byte: imm8, rel8 or disp8.
    fn immediate_i8(&mut self) -> Result<u32, NotEmulated> {
        Ok(Size::Byte.sign_extend(self.byte()?.into()))
    }

    /// Decodes ModR/M, SIB and displacement: the reg field, and the r/m operand with its effective address.
    fn modrm(&mut self) -> Result<(usize, Operand), NotEmulated> {
        let byte = self.byte()?;
        let (mode, reg, rm) = (byte >> 6, usize::from(byte >> 3 & 7), usize::from(byte & 7));
        if mode == 3 {
            return Ok((reg, Operand::Register(rm)));
        }
        let regs = self.cpu.regs;
        let (mut offset, mut segment) = (0_u32, DS);
        let mut add = |value: u32| offset = offset.wrapping_add(value);
        let displacement;
        if self.address_size == Size::Word {
            if mode == 0 && rm == 6 {
                displacement = Some(Size::Word);
            } else {
                let (base, index) = match rm {
                    0 => (BX, Some(SI)),
                    1 => (BX, Some(DI)),
                    2 => (BP, Some(SI)),
                    3 => (BP, Some(DI)),
                    4 => (SI, None),
                    5 => (DI, None),
                    6 => (BP, None),
                    _ => (BX, None),
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
                0 if base.is_none() => Some(Size::Dword),
                0 => None,
                1 => Some(Size::Byte),
                _ => Some(Size::Dword),
            };
        }
        if let Some(size) = displacement {
            let value = self.immediate(size)?;
            offset = offset.wrapping_add(size.sign_extend(value));
        }
        Ok((reg, Operand::Memory(self.segment.unwrap_or(segment), offset & self.address_size.mask())))
    }

    fn load(&mut self, size: Size, operand: Operand) -> Result<u32, NotEmulated> {
        match operand {
            Operand::Register(number) => Ok(self.cpu.reg(size, number)),
            Operand::Memory(segment, offset) => self.cpu.load(self.bus, segment, offset, size),
        }
    }

    fn store(&mut self, size: Size, operand: Operand, value: u32) -> Result<(), NotEmulated> {
        match operand {
            Operand::Register(number) => {
                self.cpu.set_reg(size, number, value);
                Ok(())
            }
            Operand::Memory(segment, offset) => self.cpu.store(self.bus, segment, offset, size, value),
        }
    }

    /// Jumps relative to the next instruction.
    fn jump_relative(&mut self, displacement: u32) -> Result<(), NotEmulated> {
        self.jump_to(self.next_eip.wrapping_add(displacement))
    }

    fn jump_to(&mut self, eip: u32) -> Result<(), NotEmulated> {
        let eip = eip & self.operand_size.mask();
        // A jump beyond the segment limit faults at the jump.
        if eip > self.cpu.segments[CS].limit {
            return Err(NotEmulated);
        }
        self.next_eip = eip;
        Ok(())
    }

    fn run(&mut self, budget: &mut u32) -> Result<(), NotEmulated> {
        // Prefixes. LOCK (F0h) is not implemented.
        let opcode = loop {
            match self.byte()? {
                0x66 => self.operand_size = prefixed_size(self.cpu.segments[CS].big),
                0x67 => self.address_size = prefixed_size(self.cpu.segments[CS].big),
                0x26 => self.segment = Some(ES),
                0x2e => self.segment = Some(CS),
                0x36 => self.segment = Some(SS),
                0x3e => self.segment = Some(DS),
                0x64 => self.segment = Some(FS),
                0x65 => self.segment = Some(GS),
                0xf2 => self.repeat = Repeat::NotEqual,
                0xf3 => self.repeat = Repeat::Equal,
                opcode => break opcode,
            }
        };
        let string = matches!(opcode, 0xa4..=0xa7 | 0xaa..=0xaf);
        if self.repeat != Repeat::No && !string {
            return Err(NotEmulated);
        }
        let size = if opcode & 1 == 0 { Size::Byte } else { self.operand_size };
        match opcode {
            // ADD, OR, ADC, SBB, AND, SUB, XOR, CMP: r/m,r; r,r/m; AL/eAX,imm
            0x00..=0x3f if opcode & 7 < 6 => {
                let op = opcode >> 3;
                if opcode & 7 < 4 {
                    let (reg, rm) = self.modrm()?;
                    let reg = Operand::Register(reg);
                    let (destination, source) = if opcode & 2 == 0 { (rm, reg) } else { (reg, rm) };
                    let source = self.load(size, source)?;
                    self.arithmetic(op, size, destination, source)?;
                } else {
                    let source = self.immediate(size)?;
                    self.arithmetic(op, size, Operand::Register(AX), source)?;
                }
            }
            // INC r, DEC r
            0x40..=0x4f => {
                let (size, reg) = (self.operand_size, usize::from(opcode & 7));
                let (value, flags) = alu::inc_dec(size, self.cpu.reg(size, reg), opcode & 8 != 0, self.cpu.flags);
                self.cpu.set_reg(size, reg, value);
                self.cpu.set_flags(STATUS, flags);
            }
            // PUSH r
            0x50..=0x57 => {
                let value = self.cpu.reg(self.operand_size, usize::from(opcode & 7));
                self.cpu.push(self.bus, self.operand_size, value)?;
            }
            // POP r
            0x58..=0x5f => {
                let (value, sp) = self.cpu.read_top(self.bus, self.operand_size)?;
                self.cpu.set_reg(self.cpu.stack_size(), SP, sp);
                self.cpu.set_reg(self.operand_size, usize::from(opcode & 7), value);
            }
            // PUSHA
            0x60 => {
                let before = self.cpu.regs;
                for value in before {
                    if self.cpu.push(self.bus, self.operand_size, value & self.operand_size.mask()).is_err() {
                        self.cpu.regs = before;
                        return Err(NotEmulated);
                    }
                }
            }
            // POPA, which skips the stack pointer
            0x61 => {
                let before = self.cpu.regs;
                for number in (AX..=DI).rev() {
                    let Ok((value, sp)) = self.cpu.read_top(self.bus, self.operand_size) else {
                        self.cpu.regs = before;
                        return Err(NotEmulated);
                    };
                    self.cpu.set_reg(self.cpu.stack_size(), SP, sp);
                    if number != SP {
                        self.cpu.set_reg(self.operand_size, number, value);
                    }
                }
            }
            // PUSH imm; PUSH imm8
            0x68 | 0x6a => {
                let value = if opcode == 0x68 { self.immediate(self.operand_size)? } else { self.immediate_i8()? };
                self.cpu.push(self.bus, self.operand_size, value & self.operand_size.mask())?;
            }
            // IMUL r,r/m,imm; IMUL r,r/m,imm8
            0x69 | 0x6b => {
                let (reg, rm) = self.modrm()?;
                let a = self.load(self.operand_size, rm)?;
                let b = if opcode == 0x69 { self.immediate(self.operand_size)? } else { self.immediate_i8()? };
                let (value, flags) = alu::imul(self.operand_size, a, b, self.cpu.flags);
                self.cpu.set_reg(self.operand_size, reg, value);
                self.cpu.set_flags(STATUS, flags);
            }
            // Jcc rel8
            0x70..=0x7f => {
                let displacement = self.immediate_i8()?;
                if alu::condition_holds(opcode & 15, self.cpu.flags) {
                    self.jump_relative(displacement)?;
                }
            }
            // Group 1: ADD, OR, ADC, SBB, AND, SUB, XOR, CMP r/m,imm
            0x80 | 0x81 | 0x83 => {
                let (op, rm) = self.modrm()?;
                let source = if opcode == 0x83 { self.immediate_i8()? } else { self.immediate(size)? };
                self.arithmetic(op as u8, size, rm, source)?;
            }
            // TEST r/m,r
            0x84 | 0x85 => {
                let (reg, rm) = self.modrm()?;
                let (a, b) = (self.load(size, rm)?, self.cpu.reg(size, reg));
                self.cpu.set_flags(STATUS, alu::logic(size, a & b).1);
            }
            // XCHG r/m,r
            0x86 | 0x87 => {
                let (reg, rm) = self.modrm()?;
                self.xchg(size, reg, rm)?;
            }
            // MOV r/m,r
            0x88 | 0x89 => {
                let (reg, rm) = self.modrm()?;
                self.store(size, rm, self.cpu.reg(size, reg))?;
            }
            // MOV r,r/m
            0x8a | 0x8b => {
                let (reg, rm) = self.modrm()?;
                let value = self.load(size, rm)?;
                self.cpu.set_reg(size, reg, value);
            }
            // LEA r,m
            0x8d => match self.modrm()? {
                (reg, Operand::Memory(_, offset)) => self.cpu.set_reg(self.operand_size, reg, offset),
                _ => return Err(NotEmulated),
            },
            // NOP; XCHG eAX,r
            0x90..=0x97 => self.xchg(self.operand_size, AX, Operand::Register(usize::from(opcode & 7)))?,
            // CBW, CWDE
            0x98 => {
                let half = if self.operand_size == Size::Word { Size::Byte } else { Size::Word };
                self.cpu.set_reg(self.operand_size, AX, half.sign_extend(self.cpu.reg(half, AX)));
            }
            // CWD, CDQ
            0x99 => {
                let sign = self.operand_size.sign_extend(self.cpu.reg(self.operand_size, AX)) as i32 >> 31;
                self.cpu.set_reg(self.operand_size, DX, sign as u32);
            }
            // MOV AL/eAX,moffs; MOV moffs,AL/eAX
            0xa0..=0xa3 => {
                let offset = self.immediate(self.address_size)?;
                let rm = Operand::Memory(self.segment.unwrap_or(DS), offset);
                if opcode < 0xa2 {
                    let value = self.load(size, rm)?;
                    self.cpu.set_reg(size, AX, value);
                } else {
                    self.store(size, rm, self.cpu.reg(size, AX))?;
                }
            }
            // TEST AL/eAX,imm
            0xa8 | 0xa9 => {
                let value = self.immediate(size)?;
                self.cpu.set_flags(STATUS, alu::logic(size, self.cpu.reg(size, AX) & value).1);
            }
            // MOVS, CMPS, STOS, LODS, SCAS
            0xa4..=0xa7 | 0xaa..=0xaf => return self.string(opcode, size, budget),
            // MOV r8,imm8
            0xb0..=0xb7 => {
                let value = self.immediate(Size::Byte)?;
                self.cpu.set_reg(Size::Byte, usize::from(opcode & 7), value);
            }
            // MOV r,imm
            0xb8..=0xbf => {
                let value = self.immediate(self.operand_size)?;
                self.cpu.set_reg(self.operand_size, usize::from(opcode & 7), value);
            }
            // Group 2: ROL, ROR, SHL, SHR, SAR r/m,imm8; r/m,1; r/m,CL
            0xc0 | 0xc1 | 0xd0..=0xd3 => {
                let (op, rm) = self.modrm()?;
                let count = match opcode {
                    0xc0 | 0xc1 => self.byte()?,
                    0xd0 | 0xd1 => 1,
                    _ => self.cpu.reg(Size::Byte, CX) as u8,
                };
                let value = self.load(size, rm)?;
                let (value, flags) = alu::shift(op as u8, size, value, count, self.cpu.flags).ok_or(NotEmulated)?;
                self.store(size, rm, value)?;
                self.cpu.set_flags(STATUS, flags);
            }
            // RET imm16, RET (near)
            0xc2 | 0xc3 => {
                let release = if opcode == 0xc2 { self.immediate(Size::Word)? } else { 0 };
                let (target, sp) = self.cpu.read_top(self.bus, self.operand_size)?;
                self.jump_to(target)?;
                self.cpu.set_reg(self.cpu.stack_size(), SP, sp.wrapping_add(release));
            }
            // Group 11: MOV r/m,imm
            0xc6 | 0xc7 => {
                let (0, rm) = self.modrm()? else { return Err(NotEmulated) };
                let value = self.immediate(size)?;
                self.store(size, rm, value)?;
            }
            // LEAVE
            0xc9 => {
                let stack = self.cpu.stack_size();
                let frame = self.cpu.reg(stack, BP);
                let value = self.cpu.load(self.bus, SS, frame, self.operand_size)?;
                self.cpu.set_reg(stack, SP, frame.wrapping_add(self.operand_size.bytes()));
                self.cpu.set_reg(self.operand_size, BP, value);
            }
            // XLAT
            0xd7 => {
                let table = self.cpu.reg(self.address_size, BX);
                let offset = table.wrapping_add(self.cpu.reg(Size::Byte, AX)) & self.address_size.mask();
                let value = self.load(Size::Byte, Operand::Memory(self.segment.unwrap_or(DS), offset))?;
                self.cpu.set_reg(Size::Byte, AX, value);
            }
            // LOOPNE, LOOPE, LOOP, JCXZ rel8
            0xe0..=0xe3 => {
                let displacement = self.immediate_i8()?;
                let count = self.cpu.reg(self.address_size, CX).wrapping_sub(u32::from(opcode != 0xe3))
                    & self.address_size.mask();
                let zero = self.cpu.flags & ZF != 0;
                let jumps = match opcode {
                    0xe0 => count != 0 && !zero,
                    0xe1 => count != 0 && zero,
                    0xe2 => count != 0,
                    _ => count == 0,
                };
                if jumps {
                    self.jump_relative(displacement)?;
                }
                self.cpu.set_reg(self.address_size, CX, count);
            }
            // CALL rel, JMP rel (near)
            0xe8 | 0xe9 => {
                let displacement = self.immediate(self.operand_size)?;
                let return_address = self.next_eip;
                self.jump_relative(self.operand_size.sign_extend(displacement))?;
                if opcode == 0xe8 {
                    self.cpu.push(self.bus, self.operand_size, return_address)?;
                }
            }
            // JMP rel8
            0xeb => {
                let displacement = self.immediate_i8()?;
                self.jump_relative(displacement)?;
            }
            // IN and OUT with imm8 or DX
            0xe4..=0xe7 | 0xec..=0xef => {
                let port = if opcode & 8 == 0 { self.byte()?.into() } else { self.cpu.reg(Size::Word, DX) as u16 };
                if !self.cpu.io_allowed {
                    return Err(NotEmulated);
                }
                let mut bytes = self.cpu.reg(size, AX).to_le_bytes();
                let data = &mut bytes[..size.bytes() as usize];
                if opcode & 2 == 0 {
                    self.bus.port_in(port, data)?;
                    self.cpu.set_reg(size, AX, u32::from_le_bytes(bytes));
                } else {
                    self.bus.port_out(port, data)?;
                }
            }
            // CMC
            0xf5 => self.cpu.flags ^= CF,
            // TEST, NOT, NEG, MUL, IMUL, DIV
            0xf6 | 0xf7 => self.group_3(size)?,
            // CLC, STC
            0xf8 | 0xf9 => self.cpu.set_flags(CF, if opcode & 1 != 0 { CF } else { 0 }),
            // CLD, STD
            0xfc | 0xfd => self.cpu.set_flags(DF, if opcode & 1 != 0 { DF } else { 0 }),
            // INC, DEC, CALL, JMP, PUSH
            0xfe | 0xff => self.group_4_5(size)?,
            0x0f => self.two_byte_opcode()?,
            _ => return Err(NotEmulated),
        }
        self.cpu.eip = self.next_eip;
        Ok(())
    }

    /// ADD to CMP: see [`alu::arithmetic`].
    fn arithmetic(&mut self, op: u8, size: Size, destination: Operand, source: u32) -> Result<(), NotEmulated> {
        let value = self.load(size, destination)?;
        let (result, flags) = alu::arithmetic(op, size, value, source, self.cpu.flags);
        if op & 7 != alu::CMP {
            self.store(size, destination, result)?;
        }
        self.cpu.set_flags(STATUS, flags);
        Ok(())
    }

    /// XCHG. With a memory operand it is a locked access, which the emulator cannot do in RAM. In the display adapter's
    /// memory the board's lock makes it atomic.
    fn xchg(&mut self, size: Size, reg: usize, rm: Operand) -> Result<(), NotEmulated> {
        if let Operand::Memory(segment, offset) = rm {
            let at = self.cpu.physical(self.bus, segment, offset, size, true)?;
            if !self.bus.is_device(at, size.bytes() as usize) {
                return Err(NotEmulated);
            }
        }
        let value = self.load(size, rm)?;
        let register = self.cpu.reg(size, reg);
        self.store(size, rm, register)?;
        self.cpu.set_reg(size, reg, value);
        Ok(())
    }

    /// Group 3 (F6h, F7h): TEST, NOT, NEG, MUL, IMUL, DIV.
    fn group_3(&mut self, size: Size) -> Result<(), NotEmulated> {
        let (op, rm) = self.modrm()?;
        let immediate = if op == 0 { self.immediate(size)? } else { 0 };
        let value = self.load(size, rm)?;
        match op {
            // TEST
            0 => self.cpu.set_flags(STATUS, alu::logic(size, value & immediate).1),
            // NOT
            2 => self.store(size, rm, !value)?,
            // NEG
            3 => {
                let (result, flags) = alu::arithmetic(alu::SUB, size, 0, value, 0);
                self.store(size, rm, result)?;
                self.cpu.set_flags(STATUS, flags);
            }
            // MUL, IMUL
            4 | 5 => {
                let a = self.cpu.reg(size, AX);
                let (low, mut high, mut flags) = alu::mul(size, a, value, self.cpu.flags);
                if op == 5 {
                    // MUL and IMUL have the same low half. For each negative factor, the unsigned high half is too large by
                    // the other factor.
                    let negative = |x: u32| size.sign_extend(x) as i32 >> 31;
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
            // DIV, if it does not fault. Its flags are undefined.
            6 => {
                let low = if size == Size::Byte { Size::Word } else { size };
                let high = if size == Size::Byte { 0 } else { self.cpu.reg(size, DX) };
                let dividend = u64::from(high) << size.bits() | u64::from(self.cpu.reg(low, AX));
                let (Some(quotient), Some(rest)) =
                    (dividend.checked_div(value.into()), dividend.checked_rem(value.into()))
                else {
                    return Err(NotEmulated);
                };
                if quotient > size.mask().into() {
                    return Err(NotEmulated);
                }
                if size == Size::Byte {
                    self.cpu.set_reg(Size::Word, AX, quotient as u32 | (rest as u32) << 8);
                } else {
                    self.cpu.set_reg(size, AX, quotient as u32);
                    self.cpu.set_reg(size, DX, rest as u32);
                }
            }
            // IDIV (7). /1 is undocumented; not every CPU executes it as TEST.
            _ => return Err(NotEmulated),
        }
        Ok(())
    }

    /// Groups 4 and 5 (FEh, FFh): INC, DEC, near CALL, near JMP, PUSH.
    fn group_4_5(&mut self, size: Size) -> Result<(), NotEmulated> {
        let (op, rm) = self.modrm()?;
        // Group 4 has only INC and DEC. /3 and /5 are far CALL and JMP.
        if op > 1 && size == Size::Byte || matches!(op, 3 | 5 | 7) {
            return Err(NotEmulated);
        }
        let value = self.load(size, rm)?;
        match op {
            // INC, DEC
            0 | 1 => {
                let (value, flags) = alu::inc_dec(size, value, op == 1, self.cpu.flags);
                self.store(size, rm, value)?;
                self.cpu.set_flags(STATUS, flags);
            }
            // CALL r/m, JMP r/m
            2 | 4 => {
                let return_address = self.next_eip;
                self.jump_to(value)?;
                if op == 2 {
                    self.cpu.push(self.bus, size, return_address)?;
                }
            }
            // PUSH r/m
            _ => self.cpu.push(self.bus, size, value)?,
        }
        Ok(())
    }

    /// Opcodes 0Fh xx.
    fn two_byte_opcode(&mut self) -> Result<(), NotEmulated> {
        let opcode = self.byte()?;
        match opcode {
            // Jcc rel
            0x80..=0x8f => {
                let displacement = self.immediate(self.operand_size)?;
                if alu::condition_holds(opcode & 15, self.cpu.flags) {
                    self.jump_relative(self.operand_size.sign_extend(displacement))?;
                }
            }
            // SETcc r/m8
            0x90..=0x9f => {
                let (_, rm) = self.modrm()?;
                self.store(Size::Byte, rm, alu::condition_holds(opcode & 15, self.cpu.flags).into())?;
            }
            // IMUL r,r/m
            0xaf => {
                let (reg, rm) = self.modrm()?;
                let b = self.load(self.operand_size, rm)?;
                let (value, flags) =
                    alu::imul(self.operand_size, self.cpu.reg(self.operand_size, reg), b, self.cpu.flags);
                self.cpu.set_reg(self.operand_size, reg, value);
                self.cpu.set_flags(STATUS, flags);
            }
            // MOVZX, MOVSX r,r/m8 and r,r/m16
            0xb6 | 0xb7 | 0xbe | 0xbf => {
                let (reg, rm) = self.modrm()?;
                let source_size = if opcode & 1 == 0 { Size::Byte } else { Size::Word };
                let value = self.load(source_size, rm)?;
                let value = if opcode & 8 == 0 { value } else { source_size.sign_extend(value) };
                self.cpu.set_reg(self.operand_size, reg, value);
            }
            _ => return Err(NotEmulated),
        }
        Ok(())
    }

    /// MOVS, CMPS, STOS, LODS and SCAS, with or without a repeat prefix.
    fn string(&mut self, opcode: u8, size: Size, budget: &mut u32) -> Result<(), NotEmulated> {
        let next_eip = self.next_eip;
        if self.repeat == Repeat::No {
            self.string_iteration(opcode, size)?;
            self.cpu.eip = next_eip;
            return Ok(());
        }
        let compares = matches!(opcode & !1, 0xa6 | 0xae);
        loop {
            let count = self.cpu.reg(self.address_size, CX);
            if count == 0 {
                break;
            }
            // Without budget EIP stays at the instruction, which continues after this burst.
            *budget = budget.checked_sub(1).ok_or(NotEmulated)?;
            self.string_iteration(opcode, size)?;
            self.cpu.set_reg(self.address_size, CX, count - 1);
            let equal = self.cpu.flags & ZF != 0;
            if compares && equal != (self.repeat == Repeat::Equal) {
                break;
            }
        }
        self.cpu.eip = next_eip;
        Ok(())
    }

    /// One repetition of a string instruction.
    fn string_iteration(&mut self, opcode: u8, size: Size) -> Result<(), NotEmulated> {
        let step = if self.cpu.flags & DF == 0 { size.bytes() } else { size.bytes().wrapping_neg() };
        let (si, di) = (self.cpu.reg(self.address_size, SI), self.cpu.reg(self.address_size, DI));
        let source = Operand::Memory(self.segment.unwrap_or(DS), si);
        let destination = Operand::Memory(ES, di);
        let (mut moves_si, mut moves_di) = (false, false);
        match opcode & !1 {
            // MOVS
            0xa4 => {
                let value = self.load(size, source)?;
                self.store(size, destination, value)?;
                (moves_si, moves_di) = (true, true);
            }
            // CMPS
            0xa6 => {
                let (a, b) = (self.load(size, source)?, self.load(size, destination)?);
                self.cpu.set_flags(STATUS, alu::arithmetic(alu::CMP, size, a, b, 0).1);
                (moves_si, moves_di) = (true, true);
            }
            // STOS
            0xaa => {
                self.store(size, destination, self.cpu.reg(size, AX))?;
                moves_di = true;
            }
            // LODS
            0xac => {
                let value = self.load(size, source)?;
                self.cpu.set_reg(size, AX, value);
                moves_si = true;
            }
            // SCAS
            _ => {
                let value = self.load(size, destination)?;
                self.cpu.set_flags(STATUS, alu::arithmetic(alu::CMP, size, self.cpu.reg(size, AX), value, 0).1);
                moves_di = true;
            }
        }
        if moves_si {
            self.cpu.set_reg(self.address_size, SI, si.wrapping_add(step));
        }
        if moves_di {
            self.cpu.set_reg(self.address_size, DI, di.wrapping_add(step));
        }
        Ok(())
    }
}

/// Operand or address size with a size prefix, in a segment whose D flag is `big`.
fn prefixed_size(big: bool) -> Size {
    if big { Size::Word } else { Size::Dword }
}
