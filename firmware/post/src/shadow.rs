//! Shadow RAM: maps RAM over the ROM area C0000h to FFFFFh by PAM0 to PAM6 (Intel 82441FX data sheet 290549, 3.2.18).
//!
//! The PAM registers control blocks of 16 KiB, and F0000h to FFFFFh as one block.

use crate::Machine;
use crate::pci::config::{Bdf, read32, write32};

/// PCI function of the host bridge.
const HOST_BRIDGE: Bdf = 0;
/// Dwords with DRAMT and PAM0 to PAM2, and with PAM3 to PAM6.
const PAM: [u8; 2] = [0x58, 0x5c];
/// Read-enable and write-enable bits of a block.
const READ_WRITE: u64 = 3;
/// First address that the PAM registers control.
pub const START: u32 = 0xc_0000;
/// Bytes of a block.
pub const BLOCK: u32 = 0x4000;
/// The BIOS's data segment.
const DATA: u32 = 0xe_0000;
const DATA_SIZE: u32 = 0x8000;
/// Bytes of constants and statics at its start.
const CONSTANTS_SIZE: u32 = 0x2000;
/// The BIOS's boot code, which runs only before a boot sector starts.
pub const BOOT_CODE: u32 = 0xe_a800;
const BOOT_CODE_SIZE: u32 = 0x5800;
/// The BIOS's code segment.
const CODE: u32 = 0xf_0000;
const CODE_SIZE: u32 = 0x1_0000;
/// The three in the ROM below 4 GiB.
const ROM_DATA: u32 = 0xfffe_0000;
const ROM_BOOT_CODE: u32 = ROM_DATA + CONSTANTS_SIZE;
const ROM_CODE: u32 = 0xffff_0000;

/// Which blocks are mapped to RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// The two dwords with PAM0 to PAM6; bits 0-7 are DRAMT.
    registers: u64,
}

impl Shadow {
    /// Maps RAM at the BIOS's segments and copies the BIOS there from the ROM below 4 GiB.
    pub fn copy_bios<M: Machine>(machine: &mut M) -> Self {
        let low = read32(machine, HOST_BRIDGE, PAM[0]);
        let high = read32(machine, HOST_BRIDGE, PAM[1]);
        let mut shadow = Self { registers: u64::from(high) << 32 | u64::from(low) };
        // A CPU reset leaves PAM0 to PAM6 as they were: start with no RAM mapped.
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
        let mut at = start & !(BLOCK - 1);
        while at < start + bytes && (START..0x10_0000).contains(&at) {
            registers |= READ_WRITE << shift(at);
            at += BLOCK;
        }
        Self { registers }
    }

    /// Maps readable and writable RAM at the range.
    pub fn make_ram<M: Machine>(&mut self, machine: &mut M, start: u32, bytes: u32) {
        let wanted = self.with(start, bytes);
        if wanted != *self {
            *self = wanted;
            self.write(machine);
        }
    }

    /// Whether the block with the address `at` is mapped to RAM.
    pub fn is_ram(&self, at: u32) -> bool {
        self.registers >> shift(at) & 1 != 0
    }
}

/// Bit number, in the two dwords, of the enable bits of the block with the address `at`.
const fn shift(at: u32) -> u32 {
    if at >= CODE { 12 } else { 16 + 4 * ((at - START) / BLOCK) }
}
