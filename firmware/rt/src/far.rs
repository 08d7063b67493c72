//! Addresses in real mode.

use core::marker::PhantomData;

/// A real-mode address. It names a place in the first MiB (and 64 KiB) for whoever runs in real or virtual-8086 mode; it
/// is not a physical address: under a memory manager the two differ.
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

    /// The place `bytes` further on, in the same segment; the offset wraps as the processor's does.
    pub const fn add(self, bytes: u16) -> Self {
        Self { offset: self.offset.wrapping_add(bytes), segment: self.segment }
    }

    /// The linear address: 0 to 10FFEFh.
    pub const fn linear(self) -> u32 {
        ((self.segment as u32) << 4) + self.offset as u32
    }

    /// The same place with the smallest offset (0 to 15), so that up to 65520 bytes follow without a wrap.
    pub const fn normalized(self) -> Self {
        let paragraphs = self.segment.wrapping_add(self.offset >> 4);
        Self { offset: self.offset & 0xf, segment: paragraphs }
    }

    /// From the dword that an interrupt vector or a pointer in memory is.
    pub const fn from_u32(vector: u32) -> Self {
        Self { offset: vector as u16, segment: (vector >> 16) as u16 }
    }

    /// As the dword that an interrupt vector is.
    pub const fn to_u32(self) -> u32 {
        (self.segment as u32) << 16 | self.offset as u32
    }

    /// The place of interrupt vector `number`.
    pub const fn vector(number: u8) -> Self {
        Self::new(0, number as u16 * 4)
    }
}

/// A variable of type `T` (u8, u16 or u32) at a fixed address.
#[derive(Clone, Copy, Debug)]
pub struct Field<T> {
    /// Where it is.
    pub at: FarPtr,
    kind: PhantomData<T>,
}

impl<T> Field<T> {
    /// The variable at `segment:offset`.
    pub const fn new(segment: u16, offset: u16) -> Self {
        Self { at: FarPtr::new(segment, offset), kind: PhantomData }
    }
}

/// A number that lies in memory.
pub trait Scalar: Copy {
    /// Reads one from `at`.
    fn load<H: crate::Hw + ?Sized>(hw: &mut H, at: FarPtr) -> Self;
    /// Writes it to `at`.
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
