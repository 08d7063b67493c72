//! Raster operations of the CL-GD5446's BitBLT engine (GR32).

/// A function of source and destination bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rop {
    Zero,
    SourceAndDest,
    Nop,
    SourceAndNotDest,
    NotDest,
    Source,
    One,
    NotSourceAndDest,
    Xor,
    Or,
    Nor,
    Xnor,
    SourceOrNotDest,
    NotSource,
    NotSourceOrDest,
    Nand,
}

impl Rop {
    /// The operation of a code; an undefined code leaves the destination as it is.
    pub fn from_code(code: u8) -> Self {
        match code {
            0x00 => Self::Zero,
            0x05 => Self::SourceAndDest,
            0x09 => Self::SourceAndNotDest,
            0x0b => Self::NotDest,
            0x0d => Self::Source,
            0x0e => Self::One,
            0x50 => Self::NotSourceAndDest,
            0x59 => Self::Xor,
            0x6d => Self::Or,
            0x90 => Self::Nor,
            0x95 => Self::Xnor,
            0xad => Self::SourceOrNotDest,
            0xd0 => Self::NotSource,
            0xd6 => Self::NotSourceOrDest,
            0xda => Self::Nand,
            _ => Self::Nop,
        }
    }

    /// Whether the result depends on the destination.
    pub fn reads_dest(self) -> bool {
        !matches!(self, Self::Zero | Self::Source | Self::One | Self::NotSource)
    }

    /// Whether the result depends on the source.
    pub fn reads_source(self) -> bool {
        !matches!(self, Self::Zero | Self::Nop | Self::NotDest | Self::One)
    }

    /// The result of one byte.
    pub fn byte(self, source: u8, dest: u8) -> u8 {
        let mut result = [dest];
        self.apply(&[source], &mut result);
        result[0]
    }

    /// Applies the operation to a row.
    pub fn apply(self, source: &[u8], dest: &mut [u8]) {
        match self {
            Self::Zero => dest.fill(0),
            Self::SourceAndDest => pairs(source, dest, |s, d| s & d),
            Self::Nop => {}
            Self::SourceAndNotDest => pairs(source, dest, |s, d| s & !d),
            Self::NotDest => dest.iter_mut().for_each(|dest| *dest = !*dest),
            Self::Source => pairs(source, dest, |s, _| s),
            Self::One => dest.fill(0xff),
            Self::NotSourceAndDest => pairs(source, dest, |s, d| !s & d),
            Self::Xor => pairs(source, dest, |s, d| s ^ d),
            Self::Or => pairs(source, dest, |s, d| s | d),
            Self::Nor => pairs(source, dest, |s, d| !(s | d)),
            Self::Xnor => pairs(source, dest, |s, d| !(s ^ d)),
            Self::SourceOrNotDest => pairs(source, dest, |s, d| s | !d),
            Self::NotSource => pairs(source, dest, |s, _| !s),
            Self::NotSourceOrDest => pairs(source, dest, |s, d| !s | d),
            Self::Nand => pairs(source, dest, |s, d| !(s & d)),
        }
    }
}

/// A loop of its own for each operation, so that the compiler vectorises it.
fn pairs(source: &[u8], dest: &mut [u8], f: impl Fn(u8, u8) -> u8) {
    dest.iter_mut().zip(source).for_each(|(dest, &source)| *dest = f(source, *dest));
}
