//! Registers of the 82077AA in PC AT mode (data sheet 290166, section 2.1), and status registers 0 to 3 (section 6).

use crate::pci::RegisterNames;
use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};

/// First port of the controller; [`CCR_DIR`] lies outside the range, because 3F6h is the IDE channel's.
pub const BASE: u16 = 0x3f0;
/// Port of DIR (read) and CCR (write).
pub const CCR_DIR: u16 = 0x3f7;

// Offsets from `BASE`. Status registers A and B at 0 and 1 exist only in PS/2 and Model 30 mode.
/// Digital output register.
pub const DOR: u64 = 2;
/// Tape drive register.
pub const TDR: u64 = 3;
/// Main status register (read), data rate select register (write).
pub const MSR_DSR: u64 = 4;
/// Data register.
pub const FIFO: u64 = 5;

/// The register names by offset.
pub const NAMES: &RegisterNames =
    &[(0..=0, "SRA"), (1..=1, "SRB"), (2..=2, "DOR"), (3..=3, "TDR"), (4..=4, "MSR/DSR"), (5..=5, "FIFO")];

/// Digital output register (2.1.2).
#[bitfield(u8)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub struct Dor {
    /// Selected drive.
    #[bits(2)]
    pub drive: u8,
    /// RESET#: the controller is held in reset while it is clear.
    pub not_reset: bool,
    /// DMAGATE#: DRQ and INT are connected.
    pub dma_gate: bool,
    /// Motor enable of drives 0 to 3.
    #[bits(4)]
    pub motors: u8,
}

impl Dor {
    /// Whether a drive's motor is on.
    pub fn motor(self, drive: u8) -> bool {
        self.motors() >> (drive & 3) & 1 == 1
    }
}

/// Main status register (2.1.4).
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Msr {
    /// Drives 0 to 3 are seeking, or their seek has not been sensed.
    #[bits(4)]
    pub drives_busy: u8,
    /// A command is in progress.
    pub command_busy: bool,
    /// The execution phase transfers data by PIO.
    pub non_dma: bool,
    /// The next transfer is from the controller to the CPU.
    pub dio: bool,
    /// The data register may be accessed.
    pub rqm: bool,
}

/// DSR bit 7: software reset, which clears itself.
pub const DSR_RESET: u8 = 0x80;
/// DSR bit 6: power down, until the next reset or access.
pub const DSR_POWER_DOWN: u8 = 0x40;

/// DIR bit 7: disk change. Bits 6 to 0 are not driven, and the bus pulls them up.
pub const DIR_CHANGED: u8 = 0x80;
/// What undriven bits read as.
pub const FLOATING: u8 = 0x7f;

/// Status register 0 (6.1).
pub mod st0 {
    /// Interrupt code 01: abnormal termination.
    pub const ABNORMAL: u8 = 0x40;
    /// Interrupt code 10: invalid command.
    pub const INVALID: u8 = 0x80;
    /// Interrupt code 11: the polling after a reset.
    pub const POLLING: u8 = 0xc0;
    /// SE: a seek has ended.
    pub const SEEK_END: u8 = 0x20;
    /// EC: track 0 was not found, or a step went past it.
    pub const EQUIPMENT_CHECK: u8 = 0x10;
}

/// Status register 1 (6.2).
pub mod st1 {
    /// EN: a sector past the end of the cylinder is needed.
    pub const END_OF_CYLINDER: u8 = 0x80;
    /// DE: CRC error.
    pub const DATA_ERROR: u8 = 0x20;
    /// OR: the host did not serve the data in time.
    pub const OVERRUN: u8 = 0x10;
    /// ND: the sector was not found.
    pub const NO_DATA: u8 = 0x04;
    /// NW: the disk is write-protected.
    pub const NOT_WRITABLE: u8 = 0x02;
    /// MA: no address mark.
    pub const MISSING_ADDRESS_MARK: u8 = 0x01;
}

/// Status register 2 (6.3).
pub mod st2 {
    /// CM: a sector with the other data address mark was met.
    pub const CONTROL_MARK: u8 = 0x40;
    /// DD: CRC error in the data field.
    pub const DATA_ERROR: u8 = 0x20;
    /// WC: the track's cylinder number differs.
    pub const WRONG_CYLINDER: u8 = 0x10;
    /// SH: a scan found equal data.
    pub const SCAN_EQUAL: u8 = 0x08;
    /// SN: a scan was not satisfied.
    pub const SCAN_NOT_SATISFIED: u8 = 0x04;
}

/// Status register 3 (6.4): bits 5 and 3 are always set.
pub mod st3 {
    /// WP.
    pub const WRITE_PROTECTED: u8 = 0x40;
    /// T0.
    pub const TRACK_0: u8 = 0x10;
    /// Always set.
    pub const FIXED: u8 = 0x28;
}
