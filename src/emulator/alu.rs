//! Arithmetic of 8, 16 and 32 bits and the flags that come of it (Intel SDM, volume 2, the instructions' pages). Where the
//! manual leaves a flag undefined, it is what a processor of Intel's leaves, or as it was.

pub(super) const CF: u32 = 1 << 0;
pub(super) const PF: u32 = 1 << 2;
pub(super) const AF: u32 = 1 << 4;
pub(super) const ZF: u32 = 1 << 6;
pub(super) const SF: u32 = 1 << 7;
pub(super) const DF: u32 = 1 << 10;
pub(super) const OF: u32 = 1 << 11;
/// The flags that arithmetic changes.
pub(super) const STATUS: u32 = CF | PF | AF | ZF | SF | OF;

/// How many bytes an operand has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Byte,
    Word,
    Long,
}

impl Size {
    pub fn bytes(self) -> u32 {
        match self {
            Self::Byte => 1,
            Self::Word => 2,
            Self::Long => 4,
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

    /// The number as a signed one of 32 bits.
    pub fn extend(self, value: u32) -> u32 {
        let up = 32 - self.bits();
        ((value << up) as i32 >> up) as u32
    }
}

fn when(condition: bool, flag: u32) -> u32 {
    if condition { flag } else { 0 }
}

/// ZF, SF and PF of a result.
fn of_result(size: Size, result: u32) -> u32 {
    let even = (result as u8).count_ones().is_multiple_of(2);
    when(result & size.mask() == 0, ZF) | when(result & size.sign() != 0, SF) | when(even, PF)
}

// The eight operations of opcodes 00h to 3Fh and of group 1 have numbers; these are three.
pub(super) const ADD: u8 = 0;
pub(super) const SUB: u8 = 5;
pub(super) const CMP: u8 = 7;

/// Operation `number` of those. Gives the result, which CMP (7) does not store, and all status flags. `flags` has the carry
/// that ADC and SBB take.
pub(super) fn operate(number: u8, size: Size, a: u32, b: u32, flags: u32) -> (u32, u32) {
    let carry = flags & CF;
    match number & 7 {
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
    let flags = when(whole >> size.bits() != 0, CF) | (a ^ b ^ result) & AF | when(overflow, OF);
    (result, flags | of_result(size, result))
}

fn sub(size: Size, a: u32, b: u32, borrow: u32) -> (u32, u32) {
    let (a, b) = (a & size.mask(), b & size.mask());
    let result = a.wrapping_sub(b).wrapping_sub(borrow) & size.mask();
    let overflow = (a ^ b) & (a ^ result) & size.sign() != 0;
    let below = u64::from(a) < u64::from(b) + u64::from(borrow);
    (result, when(below, CF) | (a ^ b ^ result) & AF | when(overflow, OF) | of_result(size, result))
}

/// AND, OR, XOR, TEST: the flags of a result.
pub(super) fn logic(size: Size, result: u32) -> (u32, u32) {
    (result & size.mask(), of_result(size, result))
}

/// INC, or DEC if `down`, which leave the carry.
pub(super) fn step(size: Size, value: u32, down: bool, flags: u32) -> (u32, u32) {
    let (result, new) = if down { sub(size, value, 1, 0) } else { add(size, value, 1, 0) };
    (result, new & !CF | flags & CF)
}

/// Group 2 without the rotations through the carry: ROL (0), ROR (1), SHL (4), SHR (5), SAR (7). Gives the result and
/// all status flags; none for RCL and RCR, nor for 6, which nobody documents.
pub(super) fn shift(number: u8, size: Size, value: u32, count: u8, flags: u32) -> Option<(u32, u32)> {
    let (count, bits, value) = (u32::from(count & 31), size.bits(), value & size.mask());
    if matches!(number, 2 | 3 | 6) {
        return None;
    }
    if count == 0 {
        return Some((value, flags & STATUS));
    }
    let wide = u64::from(value);
    let top = |value: u32| value & size.sign() != 0;
    Some(match number {
        0 | 1 => {
            let left = if number == 0 { count % bits } else { (bits - count % bits) % bits };
            let result = (wide << left | wide >> ((bits - left) % bits)) as u32 & size.mask();
            let (carry, overflow) = match number {
                0 => (result & 1 != 0, top(result) != (result & 1 != 0)),
                _ => (top(result), top(result) != top(result << 1)),
            };
            (result, flags & STATUS & !(CF | OF) | when(carry, CF) | when(overflow, OF))
        }
        4 => {
            let whole = wide << count;
            let (result, carry) = (whole as u32 & size.mask(), whole >> bits & 1 != 0);
            (result, when(carry, CF) | when(top(result) != carry, OF) | of_result(size, result))
        }
        5 => {
            let (result, carry) = ((wide >> count) as u32, wide >> (count - 1) & 1 != 0);
            (result, when(carry, CF) | when(top(value), OF) | of_result(size, result))
        }
        _ => {
            let signed = i64::from(size.extend(value) as i32);
            let (result, carry) = ((signed >> count) as u32 & size.mask(), signed >> (count - 1) & 1 != 0);
            (result, when(carry, CF) | of_result(size, result))
        }
    })
}

/// The product of two signed numbers, cut to their size, and CF and OF: whether that lost something.
pub(super) fn imul(size: Size, a: u32, b: u32, flags: u32) -> (u32, u32) {
    let signed = |value| i64::from(size.extend(value) as i32);
    let whole = signed(a) * signed(b);
    let result = whole as u32 & size.mask();
    let lost = signed(result) != whole;
    (result, flags & STATUS & !(CF | OF) | when(lost, CF | OF))
}

/// The product of two numbers without a sign: low half, high half, and CF and OF: whether the high half is not 0.
pub(super) fn mul(size: Size, a: u32, b: u32, flags: u32) -> (u32, u32, u32) {
    let whole = u64::from(a & size.mask()) * u64::from(b & size.mask());
    let (low, high) = (whole as u32 & size.mask(), (whole >> size.bits()) as u32);
    (low, high, flags & STATUS & !(CF | OF) | when(high != 0, CF | OF))
}

/// Condition `number` of Jcc and SETcc.
pub(super) fn holds(number: u8, flags: u32) -> bool {
    let set = |mask: u32| flags & mask != 0;
    let met = match number >> 1 & 7 {
        0 => set(OF),
        1 => set(CF),
        2 => set(ZF),
        3 => set(CF | ZF),
        4 => set(SF),
        5 => set(PF),
        6 => set(SF) != set(OF),
        _ => set(ZF) || set(SF) != set(OF),
    };
    met != (number & 1 != 0)
}
