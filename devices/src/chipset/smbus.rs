//! The SMBus host controller inside the PIIX4 power management function (82371AB data sheet, 7.3), with no device on
//! its bus: every transfer ends at once with "device error", as when nobody acknowledges an address.

use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};

/// Bytes of I/O space.
pub(super) const LEN: u16 = 16;

/// SMBHSTSTS.
#[bitfield(u8)]
struct HostStatus {
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
struct HostControl {
    interrupt_enable: bool,
    kill: bool,
    #[bits(3)]
    protocol: u8,
    __: bool,
    start: bool,
    __: bool,
}

/// SMBHSTCNT but START, which reads 0, and the reserved bits.
const KEPT_CONTROL: u8 = 0x1f;
const STATUS: usize = 0x0;
const CONTROL: usize = 0x2;
const COMMAND: usize = 0x3;
const DATA1: usize = 0x6;
const BLOCK_DATA: usize = 0x7;
const SLAVE_CONTROL: usize = 0x8;
/// The slave event mask (0Ah), which software sets and the shadow command and slave data, which only a master sets.
const SLAVE_EVENT: [usize; 2] = [0xa, 0xb];
const BLOCK: usize = 32;

/// The host controller's registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Smbus {
    status: u8,
    control: u8,
    /// SMBHSTCMD, SMBHSTADD, SMBHSTDAT0, SMBHSTDAT1.
    host: [u8; 4],
    block: [u8; BLOCK],
    block_at: u8,
    slave_control: u8,
    slave_event: [u8; 2],
}

impl Smbus {
    pub(super) const RESET: Self = Self {
        status: 0,
        control: 0,
        host: [0; 4],
        block: [0; BLOCK],
        block_at: 0,
        slave_control: 0,
        slave_event: [0; 2],
    };

    pub(super) fn read(&mut self, offset: u64) -> u8 {
        match offset as usize {
            STATUS => self.status,
            CONTROL => {
                // Reading the control register also rewinds the block data.
                self.block_at = 0;
                self.control
            }
            at @ COMMAND..=DATA1 => self.host[at - COMMAND],
            BLOCK_DATA => {
                let at = self.next_block();
                self.block[at]
            }
            SLAVE_CONTROL => self.slave_control,
            at if SLAVE_EVENT.contains(&at) => self.slave_event[at - SLAVE_EVENT[0]],
            _ => 0,
        }
    }

    pub(super) fn write(&mut self, offset: u64, value: u8) {
        match offset as usize {
            STATUS => self.status &= !value,
            CONTROL => self.command(HostControl::from_bits(value)),
            at @ COMMAND..=DATA1 => self.host[at - COMMAND] = value,
            BLOCK_DATA => {
                let at = self.next_block();
                self.block[at] = value;
            }
            SLAVE_CONTROL => self.slave_control = value & 0x0f,
            at if SLAVE_EVENT.contains(&at) => self.slave_event[at - SLAVE_EVENT[0]] = value,
            _ => {}
        }
    }

    fn next_block(&mut self) -> usize {
        let at = usize::from(self.block_at) % BLOCK;
        self.block_at = ((at + 1) % BLOCK) as u8;
        at
    }

    fn command(&mut self, control: HostControl) {
        let status = HostStatus::from_bits(self.status);
        self.status = if control.kill() {
            status.with_failed(true)
        } else if control.start() {
            status.with_device_error(true)
        } else {
            status
        }
        .into_bits();
        self.control = control.with_start(false).into_bits() & KEPT_CONTROL;
    }

    /// Whether it asks for its interrupt.
    pub(super) fn interrupt(&self) -> bool {
        HostControl::from_bits(self.control).interrupt_enable() && self.status != 0
    }

    /// Whether the chip can hold these values.
    pub(super) fn is_possible(&self) -> bool {
        self.status & 0xe1 == 0 && self.control & !KEPT_CONTROL == 0 && usize::from(self.block_at) < BLOCK
    }
}
