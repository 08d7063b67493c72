//! Shadow RAM: C0000h to FFFFFh in pieces of 16 KiB (the F segment in one), each of which is RAM or what lies on the bus
//! (Intel 82441FX data sheet 290549, 3.2.18, PAM0 to PAM6).

use crate::Machine;
use crate::pci::config::{read32, write32};

/// The host bridge.
const HOST_BRIDGE: u16 = 0;
/// DRAMT and PAM0 to PAM2; PAM3 to PAM6 follow.
const PAM: [u8; 2] = [0x58, 0x5c];
/// Read and write enable.
const READ_WRITE: u64 = 3;
/// First address.
pub const START: u32 = 0xc_0000;
/// Bytes of a piece.
pub const PIECE: u32 = 0x4000;
/// Where the BIOS's data segment lies.
const DATA: u32 = 0xe_0000;
const DATA_SIZE: u32 = 0x8000;
/// Constants and statics at its start.
const CONSTANTS_SIZE: u32 = 0x2000;
/// Code that only the way to a boot sector needs.
pub const BOOT_CODE: u32 = 0xe_a000;
const BOOT_CODE_SIZE: u32 = 0x6000;
/// Where its code lies.
const CODE: u32 = 0xf_0000;
const CODE_SIZE: u32 = 0x1_0000;
/// The same in the ROM below 4 GiB.
const ROM_DATA: u32 = 0xfffe_0000;
const ROM_BOOT_CODE: u32 = ROM_DATA + CONSTANTS_SIZE;
const ROM_CODE: u32 = 0xffff_0000;

/// Which pieces are RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// The two dwords with PAM0 to PAM6.
    registers: u64,
}

impl Shadow {
    /// Makes the BIOS's own segments RAM and copies it there from its place below 4 GiB.
    pub fn copy_bios<M: Machine>(machine: &mut M) -> Self {
        let low = read32(machine, HOST_BRIDGE, PAM[0]);
        let high = read32(machine, HOST_BRIDGE, PAM[1]);
        let mut shadow = Self { registers: u64::from(high) << 32 | u64::from(low) };
        // A reset of the processor alone leaves RAM where it was.
        shadow.registers &= 0xff;
        let bios = shadow.with(DATA, DATA_SIZE).with(BOOT_CODE, BOOT_CODE_SIZE).with(CODE, CODE_SIZE);
        bios.write(machine);
        machine.copy(ROM_DATA, DATA, CONSTANTS_SIZE);
        machine.fill(DATA + CONSTANTS_SIZE, 0, DATA_SIZE - CONSTANTS_SIZE);
        machine.copy(ROM_BOOT_CODE, BOOT_CODE, BOOT_CODE_SIZE);
        machine.copy(ROM_CODE, CODE, CODE_SIZE);
        bios
    }

    fn write<M: Machine>(self, machine: &mut M) {
        write32(machine, HOST_BRIDGE, PAM[0], self.registers as u32);
        write32(machine, HOST_BRIDGE, PAM[1], (self.registers >> 32) as u32);
    }

    fn with(self, start: u32, bytes: u32) -> Self {
        let mut registers = self.registers;
        let mut at = start & !(PIECE - 1);
        while at < start + bytes && (START..0x10_0000).contains(&at) {
            registers |= READ_WRITE << shift(at);
            at += PIECE;
        }
        Self { registers }
    }

    /// Makes the range RAM that can be read and written, if it is not yet.
    pub fn make_ram<M: Machine>(&mut self, machine: &mut M, start: u32, bytes: u32) {
        let wanted = self.with(start, bytes);
        if wanted != *self {
            *self = wanted;
            self.write(machine);
        }
    }

    /// Whether the piece that `at` lies in is RAM.
    pub fn is_ram(&self, at: u32) -> bool {
        self.registers >> shift(at) & 1 != 0
    }
}

/// Where the enable bits of the piece at `at` are in the two dwords.
const fn shift(at: u32) -> u32 {
    if at >= CODE { 12 } else { 16 + 4 * ((at - START) / PIECE) }
}
