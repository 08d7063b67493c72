//! SMBus host controller of the PIIX4 power management function (82371AB data sheet, 7.3). The bus has no devices:
//! every transfer ends at once with a device error, as if its address were not acknowledged.

use crate::pci::RegisterNames;
use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};

/// Bytes of I/O space.
pub(super) const LEN: u16 = 16;

/// SMBHSTSTS.
#[bitfield(u8)]
struct Smbhststs {
    busy: bool,
    interrupt: bool,
    device_error: bool,
    bus_collision: bool,
    failed: bool,
    #[bits(3)]
    __: u8,
}

/// SMBHSTCNT.
#[bitfield(u8)]
struct Smbhstcnt {
    interrupt_enable: bool,
    kill: bool,
    #[bits(3)]
    protocol: u8,
    __: bool,
    start: bool,
    __: bool,
}

/// The registers.
pub(super) const NAMES: &RegisterNames = &[
    (0x0..=0x0, "SMBHSTSTS"),
    (0x1..=0x1, "SMBSLVSTS"),
    (0x2..=0x2, "SMBHSTCNT"),
    (0x3..=0x3, "SMBHSTCMD"),
    (0x4..=0x4, "SMBHSTADD"),
    (0x5..=0x5, "SMBHSTDAT0"),
    (0x6..=0x6, "SMBHSTDAT1"),
    (0x7..=0x7, "SMBBLKDAT"),
    (0x8..=0x8, "SMBSLVCNT"),
    (0x9..=0x9, "SMBSHDWCMD"),
    (0xa..=0xb, "SMBSLVEVT"),
    (0xc..=0xd, "SMBSLVDAT"),
];

/// SMBHSTCNT without START, which reads as 0, and the reserved bits.
const SMBHSTCNT_READABLE: u8 = 0x1f;
const SMBHSTSTS: usize = 0x0;
const SMBHSTCNT: usize = 0x2;
const SMBHSTCMD: usize = 0x3;
const SMBHSTDAT1: usize = 0x6;
const SMBBLKDAT: usize = 0x7;
const SMBSLVCNT: usize = 0x8;
/// The slave event mask. SMBSHDWCMD and SMBSLVDAT, which only an external master sets, read as 0.
const SMBSLVEVT: [usize; 2] = [0xa, 0xb];
/// Bytes of block data.
const BLOCK_LEN: usize = 32;

/// The host controller's registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Smbus {
    status: u8,
    control: u8,
    /// SMBHSTCMD, SMBHSTADD, SMBHSTDAT0, SMBHSTDAT1.
    host: [u8; 4],
    block: [u8; BLOCK_LEN],
    block_index: u8,
    slave_control: u8,
    slave_event: [u8; 2],
}

impl Smbus {
    pub(super) const RESET: Self = Self {
        status: 0,
        control: 0,
        host: [0; 4],
        block: [0; BLOCK_LEN],
        block_index: 0,
        slave_control: 0,
        slave_event: [0; 2],
    };

    pub(super) fn read(&mut self, offset: u64) -> u8 {
        match offset as usize {
            SMBHSTSTS => self.status,
            SMBHSTCNT => {
                // A read of SMBHSTCNT resets the block data index.
                self.block_index = 0;
                self.control
            }
            at @ SMBHSTCMD..=SMBHSTDAT1 => self.host[at - SMBHSTCMD],
            SMBBLKDAT => {
                let at = self.next_block();
                self.block[at]
            }
            SMBSLVCNT => self.slave_control,
            at if SMBSLVEVT.contains(&at) => self.slave_event[at - SMBSLVEVT[0]],
            _ => 0,
        }
    }

    pub(super) fn write(&mut self, offset: u64, value: u8) {
        match offset as usize {
            SMBHSTSTS => self.status &= !value,
            SMBHSTCNT => self.command(Smbhstcnt::from_bits(value)),
            at @ SMBHSTCMD..=SMBHSTDAT1 => self.host[at - SMBHSTCMD] = value,
            SMBBLKDAT => {
                let at = self.next_block();
                self.block[at] = value;
            }
            SMBSLVCNT => self.slave_control = value & 0x0f,
            at if SMBSLVEVT.contains(&at) => self.slave_event[at - SMBSLVEVT[0]] = value,
            _ => {}
        }
    }

    fn next_block(&mut self) -> usize {
        let at = usize::from(self.block_index) % BLOCK_LEN;
        self.block_index = ((at + 1) % BLOCK_LEN) as u8;
        at
    }

    fn command(&mut self, control: Smbhstcnt) {
        let status = Smbhststs::from_bits(self.status);
        self.status = if control.kill() {
            status.with_failed(true)
        } else if control.start() {
            status.with_device_error(true)
        } else {
            status
        }
        .into_bits();
        self.control = control.with_start(false).into_bits() & SMBHSTCNT_READABLE;
    }

    /// The level of the controller's interrupt.
    pub(super) fn interrupt(&self) -> bool {
        Smbhstcnt::from_bits(self.control).interrupt_enable() && self.status != 0
    }

    /// Whether the chip can hold these values, for a saved state.
    pub(super) fn is_valid(&self) -> bool {
        self.status & 0xe1 == 0 && self.control & !SMBHSTCNT_READABLE == 0 && usize::from(self.block_index) < BLOCK_LEN
    }
}
