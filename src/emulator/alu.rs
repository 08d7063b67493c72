//! x86 ALU: 8, 16 and 32-bit arithmetic and its status flags (Intel SDM volume 2, the pages of the instructions). A flag
//! that the manual leaves undefined gets the value that Intel CPUs give it, or stays unchanged.

pub(super) const CF: u32 = 1 << 0;
pub(super) const PF: u32 = 1 << 2;
pub(super) const AF: u32 = 1 << 4;
pub(super) const ZF: u32 = 1 << 6;
pub(super) const SF: u32 = 1 << 7;
pub(super) const DF: u32 = 1 << 10;
pub(super) const OF: u32 = 1 << 11;
/// The six status flags.
pub(super) const STATUS: u32 = CF | PF | AF | ZF | SF | OF;

/// Operand size or address size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Byte,
    Word,
    Dword,
}

impl Size {
    pub fn bytes(self) -> u32 {
        match self {
            Self::Byte => 1,
            Self::Word => 2,
            Self::Dword => 4,
        }
    }

    pub fn bits(self) -> u32 {
        self.bytes() * 8
    }

    pub fn mask(self) -> u32 {
        u32::MAX >> (32 - self.bits())
    }

    fn sign(self) -> u32 {
        1 << (self.bits() - 1)
    }

    /// Sign-extends a value of this size to 32 bits.
    pub fn sign_extend(self, value: u32) -> u32 {
        let shift = 32 - self.bits();
        ((value << shift) as i32 >> shift) as u32
    }
}

fn flag_if(condition: bool, flag: u32) -> u32 {
    if condition { flag } else { 0 }
}

/// ZF, SF and PF of a result.
fn result_flags(size: Size, result: u32) -> u32 {
    let even = (result as u8).count_ones().is_multiple_of(2);
    flag_if(result & size.mask() == 0, ZF) | flag_if(result & size.sign() != 0, SF) | flag_if(even, PF)
}

// Bits 5:3 of opcodes 00h-3Fh, and the /digit of group 1: ADD, OR, ADC, SBB, AND, SUB, XOR, CMP.
pub(super) const ADD: u8 = 0;
pub(super) const SUB: u8 = 5;
pub(super) const CMP: u8 = 7;

/// Arithmetic operation `op`, 0 (ADD) to 7 (CMP). Returns the result, which the caller does not store for CMP, and all
/// status flags. `flags` holds the CF that ADC and SBB use.
pub(super) fn arithmetic(op: u8, size: Size, a: u32, b: u32, flags: u32) -> (u32, u32) {
    let carry = flags & CF;
    match op & 7 {
        ADD => add(size, a, b, 0),
        1 => logic(size, a | b),
        2 => add(size, a, b, carry),
        3 => sub(size, a, b, carry),
        4 => logic(size, a & b),
        6 => logic(size, a ^ b),
        _ => sub(size, a, b, 0),
    }
}

fn add(size: Size, a: u32, b: u32, carry: u32) -> (u32, u32) {
    let (a, b) = (a & size.mask(), b & size.mask());
    let whole = u64::from(a) + u64::from(b) + u64::from(carry);
    let result = whole as u32 & size.mask();
    let overflow = (a ^ result) & (b ^ result) & size.sign() != 0;
    let flags = flag_if(whole >> size.bits() != 0, CF) | (a ^ b ^ result) & AF | flag_if(overflow, OF);
    (result, flags | result_flags(size, result))
}

fn sub(size: Size, a: u32, b: u32, borrow: u32) -> (u32, u32) {
    let (a, b) = (a & size.mask(), b & size.mask());
    let result = a.wrapping_sub(b).wrapping_sub(borrow) & size.mask();
    let overflow = (a ^ b) & (a ^ result) & size.sign() != 0;
    let below = u64::from(a) < u64::from(b) + u64::from(borrow);
    (result, flag_if(below, CF) | (a ^ b ^ result) & AF | flag_if(overflow, OF) | result_flags(size, result))
}

/// AND, OR, XOR and TEST: the result and its flags.
pub(super) fn logic(size: Size, result: u32) -> (u32, u32) {
    (result & size.mask(), result_flags(size, result))
}

/// INC, or DEC if `dec`. Both leave CF unchanged.
pub(super) fn inc_dec(size: Size, value: u32, dec: bool, flags: u32) -> (u32, u32) {
    let (result, new) = if dec { sub(size, value, 1, 0) } else { add(size, value, 1, 0) };
    (result, new & !CF | flags & CF)
}

/// Group 2 by its /digit: ROL (0), ROR (1), SHL (4), SHR (5), SAR (7). Returns the result and all status flags. None for
/// RCL (2), RCR (3) and the undocumented /6.
pub(super) fn shift(op: u8, size: Size, value: u32, count: u8, flags: u32) -> Option<(u32, u32)> {
    let (count, bits, value) = (u32::from(count & 31), size.bits(), value & size.mask());
    if matches!(op, 2 | 3 | 6) {
        return None;
    }
    if count == 0 {
        return Some((value, flags & STATUS));
    }
    let wide = u64::from(value);
    let top = |value: u32| value & size.sign() != 0;
    Some(match op {
        0 | 1 => {
            let left = if op == 0 { count % bits } else { (bits - count % bits) % bits };
            let result = (wide << left | wide >> ((bits - left) % bits)) as u32 & size.mask();
            let (carry, overflow) = match op {
                0 => (result & 1 != 0, top(result) != (result & 1 != 0)),
                _ => (top(result), top(result) != top(result << 1)),
            };
            (result, flags & STATUS & !(CF | OF) | flag_if(carry, CF) | flag_if(overflow, OF))
        }
        4 => {
            let whole = wide << count;
            let (result, carry) = (whole as u32 & size.mask(), whole >> bits & 1 != 0);
            (result, flag_if(carry, CF) | flag_if(top(result) != carry, OF) | result_flags(size, result))
        }
        5 => {
            let (result, carry) = ((wide >> count) as u32, wide >> (count - 1) & 1 != 0);
            (result, flag_if(carry, CF) | flag_if(top(value), OF) | result_flags(size, result))
        }
        _ => {
            let signed = i64::from(size.sign_extend(value) as i32);
            let (result, carry) = ((signed >> count) as u32 & size.mask(), signed >> (count - 1) & 1 != 0);
            (result, flag_if(carry, CF) | result_flags(size, result))
        }
    })
}

/// IMUL with two or three operands: the product truncated to the operand size. CF and OF are set if bits were lost.
pub(super) fn imul(size: Size, a: u32, b: u32, flags: u32) -> (u32, u32) {
    let signed = |value| i64::from(size.sign_extend(value) as i32);
    let whole = signed(a) * signed(b);
    let result = whole as u32 & size.mask();
    let lost = signed(result) != whole;
    (result, flags & STATUS & !(CF | OF) | flag_if(lost, CF | OF))
}

/// MUL: low half, high half and flags. CF and OF are set if the high half is not 0.
pub(super) fn mul(size: Size, a: u32, b: u32, flags: u32) -> (u32, u32, u32) {
    let whole = u64::from(a & size.mask()) * u64::from(b & size.mask());
    let (low, high) = (whole as u32 & size.mask(), (whole >> size.bits()) as u32);
    (low, high, flags & STATUS & !(CF | OF) | flag_if(high != 0, CF | OF))
}

/// Whether condition code `cc` of Jcc and SETcc (bits 3:0 of the opcode) holds: O, NO, B, NB, Z, NZ, BE, NBE, S, NS, P, NP,
/// L, NL, LE, NLE.
pub(super) fn condition_holds(cc: u8, flags: u32) -> bool {
    let set = |mask: u32| flags & mask != 0;
    let met = match cc >> 1 & 7 {
        0 => set(OF),
        1 => set(CF),
        2 => set(ZF),
        3 => set(CF | ZF),
        4 => set(SF),
        5 => set(PF),
        6 => set(SF) != set(OF),
        _ => set(ZF) || set(SF) != set(OF),
    };
    met != (cc & 1 != 0)
}
