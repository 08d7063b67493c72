//! Real-mode addresses (segment:offset), and variables at such addresses.

use core::marker::PhantomData;

/// A real-mode address, in the first 1 MiB + 64 KiB - 16 bytes. Not a physical address: a memory manager that runs the
/// BIOS in virtual-8086 mode may map it elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FarPtr {
    /// Offset in the segment.
    pub offset: u16,
    /// Segment.
    pub segment: u16,
}

impl FarPtr {
    /// `segment:offset`.
    pub const fn new(segment: u16, offset: u16) -> Self {
        Self { offset, segment }
    }

    /// The address `bytes` higher in the same segment. The offset wraps at 64 KiB.
    pub const fn add(self, bytes: u16) -> Self {
        Self { offset: self.offset.wrapping_add(bytes), segment: self.segment }
    }

    /// The linear address: 0 to 10FFEFh.
    pub const fn linear(self) -> u32 {
        ((self.segment as u32) << 4) + self.offset as u32
    }

    /// The same address with the smallest offset: 0 to 15, or more above 1 MiB, where the last segment ends at 10FFEFh.
    pub const fn normalized(self) -> Self {
        Self::from_linear(self.linear())
    }

    /// The real-mode address of a linear address, with the smallest offset; FFFF:FFFF if real mode does not reach it.
    pub const fn from_linear(linear: u32) -> Self {
        const TOP: u32 = 0xf_fff0;
        match linear {
            0..0x10_0000 => Self::new((linear >> 4) as u16, (linear & 0xf) as u16),
            0x10_0000..0x10_fff0 => Self::new(0xffff, (linear - TOP) as u16),
            _ => Self::new(0xffff, 0xffff),
        }
    }

    /// From a dword, as interrupt vectors and far pointers in memory are.
    pub const fn from_u32(vector: u32) -> Self {
        Self { offset: vector as u16, segment: (vector >> 16) as u16 }
    }

    /// As a dword, as in an interrupt vector.
    pub const fn to_u32(self) -> u32 {
        (self.segment as u32) << 16 | self.offset as u32
    }

    /// The address of interrupt vector `number`.
    pub const fn vector(number: u8) -> Self {
        Self::new(0, number as u16 * 4)
    }
}

/// A variable of type `T` (u8, u16 or u32) at a fixed address.
#[derive(Clone, Copy, Debug)]
pub struct Field<T> {
    /// Its address.
    pub at: FarPtr,
    kind: PhantomData<T>,
}

impl<T> Field<T> {
    /// The variable at `segment:offset`.
    pub const fn new(segment: u16, offset: u16) -> Self {
        Self { at: FarPtr::new(segment, offset), kind: PhantomData }
    }
}

/// An integer that a [`Field`] can have.
pub trait Scalar: Copy {
    /// Reads the integer at `at`.
    fn load<H: crate::Hw + ?Sized>(hw: &mut H, at: FarPtr) -> Self;
    /// Writes the integer to `at`.
    fn store<H: crate::Hw + ?Sized>(self, hw: &mut H, at: FarPtr);
}

macro_rules! scalar {
    ($t:ty, $read:ident, $write:ident) => {
        impl Scalar for $t {
            fn load<H: crate::Hw + ?Sized>(hw: &mut H, at: FarPtr) -> Self {
                hw.$read(at)
            }
            fn store<H: crate::Hw + ?Sized>(self, hw: &mut H, at: FarPtr) {
                hw.$write(at, self)
            }
        }
    };
}
scalar!(u8, read8, write8);
scalar!(u16, read16, write16);
scalar!(u32, read32, write32);
