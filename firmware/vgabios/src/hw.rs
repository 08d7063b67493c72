//! Hardware access for the BIOS: I/O ports, memory by segment and offset, and the ROM's tables.
//!
//! `rom.rs` implements [`Hw`] with machine instructions; tests implement it on the VGA model of the `devices` crate.

use crate::bda;

/// A real-mode far pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Far {
    /// Segment.
    pub seg: u16,
    /// Offset. Arithmetic on it wraps at 64 KiB, as with the CPU's index registers.
    pub off: u16,
}

/// Makes a [`Far`].
pub const fn far(seg: u16, off: u16) -> Far {
    Far { seg, off }
}

impl Far {
    /// The address `n` bytes higher in the same segment.
    pub const fn at(self, n: u16) -> Self {
        Self { seg: self.seg, off: self.off.wrapping_add(n) }
    }
}

/// Access to I/O ports, memory and the ROM's tables.
pub trait Hw {
    /// The adapter is a Cirrus Logic CL-GD5446, else one with the Bochs display interface.
    const CIRRUS: bool;

    /// Reads a byte port.
    fn inb(&mut self, port: u16) -> u8;
    /// Writes a byte port.
    fn outb(&mut self, port: u16, value: u8);
    /// Reads a word port.
    fn inw(&mut self, port: u16) -> u16;
    /// Writes a word port.
    fn outw(&mut self, port: u16, value: u16);
    /// Reads a dword port.
    fn inl(&mut self, port: u16) -> u32;
    /// Writes a dword port.
    fn outl(&mut self, port: u16, value: u32);

    /// Reads a byte of memory.
    fn read8(&mut self, at: Far) -> u8;
    /// Writes a byte of memory.
    fn write8(&mut self, at: Far, value: u8);
    /// Reads a word of memory.
    fn read16(&mut self, at: Far) -> u16;
    /// Writes a word of memory.
    fn write16(&mut self, at: Far, value: u16);
    /// Copies `len` bytes upwards (`rep movs`): dwords first, then the remaining bytes.
    fn copy(&mut self, to: Far, from: Far, len: u16);
    /// Copies `len` bytes upwards one by one (`rep movsb`), as VGA latches require.
    fn copy_bytes(&mut self, to: Far, from: Far, len: u16);
    /// Reads memory into a local buffer.
    fn load(&mut self, to: &mut [u8], from: Far);
    /// Writes a local buffer to memory.
    fn store(&mut self, to: Far, from: &[u8]);
    /// Fills `len` bytes with a four-byte pattern, dwords first; an odd last byte gets the pattern's lowest byte.
    fn fill(&mut self, to: Far, value: u32, len: u16);

    /// Lets pending interrupts in if the caller has them enabled. Loops that access the adapter call it, so that no
    /// timer tick is lost.
    fn let_interrupts_in(&mut self) {}

    /// Address of [`crate::tables::TABLES`].
    fn tables(&self) -> Far;
    /// Reads a byte of [`crate::tables::TABLES`].
    fn table8(&self, at: u16) -> u8;
    /// PCI address of the adapter, as POST passed it in AX: bus, device and function as in CONFIG_ADDRESS bits 23-8.
    fn pci_address(&self) -> u16;
    /// Far pointer to the window function (WinFuncPtr), the alternative to 4F05h.
    fn window_function(&self) -> Far;
    /// Address and length of VBE's protected mode interface: its table and its code.
    fn protected_mode_interface(&self) -> (Far, u16);

    /// Reads a word of [`crate::tables::TABLES`].
    fn table16(&self, at: u16) -> u16 {
        u16::from(self.table8(at)) | u16::from(self.table8(at.wrapping_add(1))) << 8
    }

    /// Reads a byte of the BIOS data area.
    fn bda8(&mut self, at: u16) -> u8 {
        self.read8(far(bda::SEGMENT, at))
    }
    /// Reads a word of the BIOS data area.
    fn bda16(&mut self, at: u16) -> u16 {
        self.read16(far(bda::SEGMENT, at))
    }
    /// Writes a byte of the BIOS data area.
    fn set_bda8(&mut self, at: u16, value: u8) {
        self.write8(far(bda::SEGMENT, at), value);
    }
    /// Writes a word of the BIOS data area.
    fn set_bda16(&mut self, at: u16, value: u16) {
        self.write16(far(bda::SEGMENT, at), value);
    }

    /// Reads a far pointer, such as an interrupt vector.
    fn read_far(&mut self, at: Far) -> Far {
        let off = self.read16(at);
        far(self.read16(at.at(2)), off)
    }
    /// Writes a far pointer, such as an interrupt vector.
    fn write_far(&mut self, at: Far, value: Far) {
        self.write16(at, value.off);
        self.write16(at.at(2), value.seg);
    }
}
