//! ATA registers and command opcodes: the task file, Device Control, Status and Error (ATA/ATAPI-6, T13 1410D, chapters
//! 7 and 8).

use crate::pci::RegisterNames;
use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};

/// Bytes per sector of a disk.
pub const SECTOR_SIZE: u64 = 512;
/// Bytes of user data per sector of a CD.
pub const CD_SECTOR_SIZE: u64 = 2048;

// Task file registers, as offsets from 1F1h or 171h.
/// Error (read), Features (write).
pub const ERROR_FEATURES: u64 = 0;
/// Sector Count; Interrupt Reason of a packet device.
pub const SECTOR_COUNT: u64 = 1;
/// LBA Low; Sector Number in CHS addressing.
pub const LBA_LOW: u64 = 2;
/// LBA Mid; Cylinder Low in CHS addressing; Byte Count Low of a packet device.
pub const LBA_MID: u64 = 3;
/// LBA High; Cylinder High in CHS addressing; Byte Count High of a packet device.
pub const LBA_HIGH: u64 = 4;
/// Device; the low nibble is the head in CHS addressing.
pub const DEVICE: u64 = 5;
/// Status (read), Command (write).
pub const STATUS_COMMAND: u64 = 6;

/// The task file's register names.
pub const TASK_FILE_NAMES: &RegisterNames = &[
    (0..=0, "Error/Features"),
    (1..=1, "Sector Count"),
    (2..=2, "LBA Low"),
    (3..=3, "LBA Mid"),
    (4..=4, "LBA High"),
    (5..=5, "Device"),
    (6..=6, "Status/Command"),
];

/// Status register.
#[bitfield(u8)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub struct AtaStatus {
    /// Error; CHK of a packet device.
    pub err: bool,
    #[bits(2)]
    __: u8,
    /// Data request: a DRQ block or a DMA transfer is due.
    pub drq: bool,
    /// Device seek complete; SERV of a packet device.
    pub dsc: bool,
    /// Device fault.
    pub df: bool,
    /// Device ready.
    pub drdy: bool,
    /// Busy: the other bits and registers are not valid.
    pub bsy: bool,
}

/// Error register.
#[bitfield(u8)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub struct AtaError {
    /// Illegal length indicator (packet devices).
    pub ili: bool,
    /// No media; end of media (packet devices).
    pub nm: bool,
    /// Command aborted.
    pub abrt: bool,
    /// Media change requested.
    pub mcr: bool,
    /// ID not found: the address is out of range.
    pub idnf: bool,
    /// Media changed.
    pub mc: bool,
    /// Uncorrectable data error.
    pub unc: bool,
    /// Interface CRC error.
    pub icrc: bool,
}

impl AtaError {
    /// ABRT alone.
    pub const ABORT: Self = Self::new().with_abrt(true);
    /// IDNF alone.
    pub const NOT_FOUND: Self = Self::new().with_idnf(true);
    /// Diagnostic code 01h: passed.
    pub const PASSED: Self = Self::from_bits(1);
}

/// Device Control register (3F6h, 376h).
#[bitfield(u8)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceControl {
    __: bool,
    /// Disables the interrupt (nIEN).
    pub nien: bool,
    /// Software reset of both devices.
    pub srst: bool,
    #[bits(4)]
    __: u8,
    /// High order byte: the task file reads the previous contents.
    pub hob: bool,
}

/// Device register: selects device 1.
pub const DEVICE_DEV: u8 = 0x10;
/// Device register: LBA addressing; else CHS.
pub const DEVICE_LBA: u8 = 0x40;

/// A task file register that is two bytes deep for 48-bit commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwoByteRegister {
    /// The byte written most recently.
    pub current: u8,
    /// The byte written before that.
    pub previous: u8,
}

impl TwoByteRegister {
    /// A write by the guest.
    pub fn write(&mut self, value: u8) {
        self.previous = self.current;
        self.current = value;
    }

    /// Sets the current byte and clears the previous one.
    pub fn set(&mut self, value: u8) {
        *self = Self { current: value, previous: 0 };
    }

    /// Both bytes as a word.
    pub fn word(self) -> u16 {
        u16::from_le_bytes([self.current, self.previous])
    }
}

/// A drive's task file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFile {
    /// Features.
    pub features: TwoByteRegister,
    /// Sector Count, or Interrupt Reason.
    pub sector_count: TwoByteRegister,
    /// LBA Low.
    pub lba_low: TwoByteRegister,
    /// LBA Mid, or Byte Count Low.
    pub lba_mid: TwoByteRegister,
    /// LBA High, or Byte Count High.
    pub lba_high: TwoByteRegister,
    /// Device.
    pub device: u8,
    /// Error.
    pub error: AtaError,
    /// Status without BSY and DRQ, which the channel computes from its phase.
    pub status: AtaStatus,
}

/// Interrupt Reason, C/D: command packet or status; else data.
pub const REASON_CD: u8 = 1;
/// Interrupt Reason, I/O: to the host; else to the device.
pub const REASON_IO: u8 = 2;

/// Command opcodes. `_OLD` are the aliases of ATA-1 to ATA-3; `_NO_RETRY` is the obsolete variant without retries.
#[allow(missing_docs)]
pub mod op {
    pub const NOP: u8 = 0x00;
    pub const DATA_SET_MANAGEMENT: u8 = 0x06;
    pub const DEVICE_RESET: u8 = 0x08;
    pub const RECALIBRATE: u8 = 0x10;
    pub const RECALIBRATE_LAST: u8 = 0x1f;
    pub const READ_SECTORS: u8 = 0x20;
    pub const READ_SECTORS_NO_RETRY: u8 = 0x21;
    pub const READ_SECTORS_EXT: u8 = 0x24;
    pub const READ_DMA_EXT: u8 = 0x25;
    pub const READ_NATIVE_MAX_ADDRESS_EXT: u8 = 0x27;
    pub const READ_MULTIPLE_EXT: u8 = 0x29;
    pub const WRITE_SECTORS: u8 = 0x30;
    pub const WRITE_SECTORS_NO_RETRY: u8 = 0x31;
    pub const WRITE_SECTORS_EXT: u8 = 0x34;
    pub const WRITE_DMA_EXT: u8 = 0x35;
    pub const SET_MAX_ADDRESS_EXT: u8 = 0x37;
    pub const WRITE_MULTIPLE_EXT: u8 = 0x39;
    pub const WRITE_VERIFY: u8 = 0x3c;
    pub const WRITE_DMA_FUA_EXT: u8 = 0x3d;
    pub const READ_VERIFY_SECTORS: u8 = 0x40;
    pub const READ_VERIFY_SECTORS_NO_RETRY: u8 = 0x41;
    pub const READ_VERIFY_SECTORS_EXT: u8 = 0x42;
    pub const SEEK: u8 = 0x70;
    pub const SEEK_LAST: u8 = 0x7f;
    pub const EXECUTE_DEVICE_DIAGNOSTIC: u8 = 0x90;
    pub const INITIALIZE_DEVICE_PARAMETERS: u8 = 0x91;
    pub const STANDBY_IMMEDIATE_OLD: u8 = 0x94;
    pub const IDLE_IMMEDIATE_OLD: u8 = 0x95;
    pub const STANDBY_OLD: u8 = 0x96;
    pub const IDLE_OLD: u8 = 0x97;
    pub const CHECK_POWER_MODE_OLD: u8 = 0x98;
    pub const SLEEP_OLD: u8 = 0x99;
    pub const PACKET: u8 = 0xa0;
    pub const IDENTIFY_PACKET_DEVICE: u8 = 0xa1;
    pub const SMART: u8 = 0xb0;
    pub const READ_MULTIPLE: u8 = 0xc4;
    pub const WRITE_MULTIPLE: u8 = 0xc5;
    pub const SET_MULTIPLE_MODE: u8 = 0xc6;
    pub const READ_DMA: u8 = 0xc8;
    pub const READ_DMA_NO_RETRY: u8 = 0xc9;
    pub const WRITE_DMA: u8 = 0xca;
    pub const WRITE_DMA_NO_RETRY: u8 = 0xcb;
    pub const WRITE_MULTIPLE_FUA_EXT: u8 = 0xce;
    pub const STANDBY_IMMEDIATE: u8 = 0xe0;
    pub const IDLE_IMMEDIATE: u8 = 0xe1;
    pub const STANDBY: u8 = 0xe2;
    pub const IDLE: u8 = 0xe3;
    pub const READ_BUFFER: u8 = 0xe4;
    pub const CHECK_POWER_MODE: u8 = 0xe5;
    pub const SLEEP: u8 = 0xe6;
    pub const FLUSH_CACHE: u8 = 0xe7;
    pub const WRITE_BUFFER: u8 = 0xe8;
    pub const FLUSH_CACHE_EXT: u8 = 0xea;
    pub const IDENTIFY_DEVICE: u8 = 0xec;
    pub const SET_FEATURES: u8 = 0xef;
    pub const SECURITY_FREEZE_LOCK: u8 = 0xf5;
    pub const READ_NATIVE_MAX_ADDRESS: u8 = 0xf8;
    pub const SET_MAX_ADDRESS: u8 = 0xf9;
}
