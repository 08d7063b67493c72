//! The registers of an IDE channel: task file, device control, status and error, and the opcodes.
//!
//! Names and bits as in ATA/ATAPI-6 (T13 1410D), chapters 7 and 8.

use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};

/// Bytes in a sector of a disk.
pub const SECTOR_SIZE: u64 = 512;
/// Bytes in a sector of a CD, as READ (10) gives it.
pub const CD_SECTOR_SIZE: u64 = 2048;

/// Task file: error when read, features when written (1F1h).
pub const ERROR_FEATURES: u64 = 0;
/// Sector count; interrupt reason of a packet device.
pub const SECTOR_COUNT: u64 = 1;
/// LBA low; sector number.
pub const LBA_LOW: u64 = 2;
/// LBA mid; cylinder low; byte count low of a packet device.
pub const LBA_MID: u64 = 3;
/// LBA high; cylinder high; byte count high of a packet device.
pub const LBA_HIGH: u64 = 4;
/// Device and head.
pub const DEVICE: u64 = 5;
/// Status when read, command when written.
pub const STATUS_COMMAND: u64 = 6;

/// Status register.
#[bitfield(u8)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub struct AtaStatus {
    /// The command failed (CHK of a packet device).
    pub err: bool,
    #[bits(2)]
    __: u8,
    /// The device wants to move data.
    pub drq: bool,
    /// Seek complete (SERV of a packet device).
    pub dsc: bool,
    /// Device fault.
    pub df: bool,
    /// Ready.
    pub drdy: bool,
    /// Busy: nothing else in the task file means anything.
    pub bsy: bool,
}

/// Error register.
#[bitfield(u8)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub struct AtaError {
    /// Illegal length (packet devices).
    pub ili: bool,
    /// End of media (packet devices), no media.
    pub nm: bool,
    /// Command aborted.
    pub abrt: bool,
    /// Media change requested.
    pub mcr: bool,
    /// Address not found.
    pub idnf: bool,
    /// Media changed.
    pub mc: bool,
    /// Data cannot be corrected.
    pub unc: bool,
    /// CRC error on the interface.
    pub icrc: bool,
}

impl AtaError {
    /// "Command aborted", nothing else.
    pub const ABORT: Self = Self::new().with_abrt(true);
    /// "Address not found".
    pub const NOT_FOUND: Self = Self::new().with_idnf(true);
    /// The diagnostic code for "passed".
    pub const PASSED: Self = Self::from_bits(1);
}

/// Device control register (3F6h).
#[bitfield(u8)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceControl {
    __: bool,
    /// Interrupts off.
    pub nien: bool,
    /// Software reset of both devices.
    pub srst: bool,
    #[bits(4)]
    __: u8,
    /// Reads of the task file give the previous content.
    pub hob: bool,
}

/// Device register: drive.
pub const DEVICE_DEV: u8 = 0x10;
/// Device register: LBA, not CHS.
pub const DEVICE_LBA: u8 = 0x40;

/// A register of the task file that is two bytes deep for 48-bit commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwoByteRegister {
    /// Last written.
    pub current: u8,
    /// Written before that.
    pub previous: u8,
}

impl TwoByteRegister {
    /// The guest writes.
    pub fn write(&mut self, value: u8) {
        self.previous = self.current;
        self.current = value;
    }

    /// The drive sets both halves.
    pub fn set(&mut self, value: u8) {
        *self = Self { current: value, previous: 0 };
    }

    /// Both halves as a word.
    pub fn word(self) -> u16 {
        u16::from_le_bytes([self.current, self.previous])
    }
}

/// One drive's registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFile {
    /// Features.
    pub features: TwoByteRegister,
    /// Sector count or interrupt reason.
    pub sector_count: TwoByteRegister,
    /// LBA low.
    pub lba_low: TwoByteRegister,
    /// LBA mid or byte count low.
    pub lba_mid: TwoByteRegister,
    /// LBA high or byte count high.
    pub lba_high: TwoByteRegister,
    /// Device and head.
    pub device: u8,
    /// Error.
    pub error: AtaError,
    /// Status, without BSY and DRQ, which follow from what the channel is doing.
    pub status: AtaStatus,
}

/// Interrupt reason of a packet device, in the sector count register: command, not data.
pub const REASON_CD: u8 = 1;
/// Interrupt reason: to the host.
pub const REASON_IO: u8 = 2;

/// Opcodes.
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
