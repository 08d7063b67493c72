//! IDENTIFY DEVICE (ATA/ATAPI-6, 8.15), and what IDENTIFY PACKET DEVICE has in common with it.

use super::super::action::CommandContext;
use super::address::{cylinders, default_geometry};
use super::{Ata, MAX_MULTIPLE};

/// Firmware revision of the drives.
pub const FIRMWARE: &str = "1.0";

/// Word numbers of the IDENTIFY data.
pub mod word {
    use std::ops::Range;

    pub const GENERAL_CONFIGURATION: usize = 0;
    pub const CYLINDERS: usize = 1;
    pub const HEADS: usize = 3;
    /// Unformatted bytes per track; retired since ATA-2.
    pub const BYTES_PER_TRACK: usize = 4;
    /// Unformatted bytes per sector; retired since ATA-2.
    pub const BYTES_PER_SECTOR: usize = 5;
    pub const SECTORS_PER_TRACK: usize = 6;
    pub const SERIAL_NUMBER: Range<usize> = 10..20;
    pub const FIRMWARE_REVISION: Range<usize> = 23..27;
    pub const MODEL_NUMBER: Range<usize> = 27..47;
    pub const MAX_SECTORS_PER_MULTIPLE: usize = 47;
    pub const CAPABILITIES: usize = 49;
    pub const CAPABILITIES_2: usize = 50;
    pub const PIO_MODE: usize = 51;
    pub const FIELD_VALIDITY: usize = 53;
    pub const CURRENT_CYLINDERS: usize = 54;
    pub const CURRENT_HEADS: usize = 55;
    pub const CURRENT_SECTORS_PER_TRACK: usize = 56;
    /// Two words, low first.
    pub const CURRENT_CAPACITY: usize = 57;
    pub const MULTIPLE_SETTING: usize = 59;
    /// Two words, low first.
    pub const LBA28_SECTORS: usize = 60;
    pub const MULTIWORD_DMA_MODES: usize = 63;
    pub const ADVANCED_PIO_MODES: usize = 64;
    /// In nanoseconds: minimum and recommended multiword DMA, minimum PIO without and with IORDY.
    pub const CYCLE_TIMES: Range<usize> = 65..69;
    pub const MAJOR_VERSION: usize = 80;
    pub const COMMAND_SETS_SUPPORTED: usize = 82;
    pub const COMMAND_SETS_SUPPORTED_2: usize = 83;
    pub const COMMAND_SETS_SUPPORTED_3: usize = 84;
    pub const COMMAND_SETS_ENABLED: usize = 85;
    pub const COMMAND_SETS_ENABLED_2: usize = 86;
    pub const COMMAND_SETS_ENABLED_3: usize = 87;
    pub const ULTRA_DMA_MODES: usize = 88;
    pub const HARDWARE_RESET_RESULT: usize = 93;
    pub const LBA48_SECTORS: Range<usize> = 100..104;
    /// ACS-2: the most 512-byte blocks of DATA SET MANAGEMENT ranges.
    pub const MAX_DATA_SET_MANAGEMENT_BLOCKS: usize = 105;
    pub const SECTOR_SIZE: usize = 106;
    /// ACS-2.
    pub const DATA_SET_MANAGEMENT: usize = 169;
    pub const INTEGRITY: usize = 255;
}

/// Stores an ATA string: printable ASCII padded with blanks, two characters per word, the first one in the high byte.
pub fn text(words: &mut [u16], text: &str) {
    let mut bytes = text.bytes().map(|byte| if (0x20..0x7f).contains(&byte) { byte } else { b' ' });
    for word in words {
        *word = u16::from_be_bytes([bytes.next().unwrap_or(b' '), bytes.next().unwrap_or(b' ')]);
    }
}

/// [`word::HARDWARE_RESET_RESULT`]: an 80-conductor cable, and diagnostics passed as device 0 or 1.
pub fn reset_result(device1: bool) -> u16 {
    if device1 { 0x6b00 } else { 0x600b }
}

/// Sets [`word::INTEGRITY`] (signature A5h and checksum) and returns the words as bytes.
pub fn finish(mut words: [u16; 256]) -> Vec<u8> {
    words[word::INTEGRITY] = 0x00a5;
    let sum = words.iter().flat_map(|word| word.to_le_bytes()).fold(0u8, u8::wrapping_add);
    words[word::INTEGRITY] |= u16::from(sum.wrapping_neg()) << 8;
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

impl Ata {
    pub(super) fn identify(&self, context: CommandContext) -> Vec<u8> {
        let state = &self.state;
        let mut words = [0u16; 256];
        let (heads, sectors_per_track) = default_geometry(self.sectors);
        let accessible_sectors = state.accessible_sectors;
        // ATA device, fixed.
        words[word::GENERAL_CONFIGURATION] = 0x0040;
        words[word::CYLINDERS] = cylinders(accessible_sectors, heads, sectors_per_track).min(16_383) as u16;
        words[word::HEADS] = heads.into();
        words[word::BYTES_PER_TRACK] = 512 * u16::from(sectors_per_track);
        // Bochs' BIOS transfers this number of bytes per sector.
        words[word::BYTES_PER_SECTOR] = 512;
        words[word::SECTORS_PER_TRACK] = sectors_per_track.into();
        text(&mut words[word::SERIAL_NUMBER], &self.serial);
        text(&mut words[word::FIRMWARE_REVISION], FIRMWARE);
        text(&mut words[word::MODEL_NUMBER], &self.model);
        words[word::MAX_SECTORS_PER_MULTIPLE] = 0x8000 | u16::from(MAX_MULTIPLE);
        // Standard standby timer values, IORDY that can be disabled, LBA, DMA.
        words[word::CAPABILITIES] = 0x2f00;
        words[word::CAPABILITIES_2] = 0x4000;
        words[word::PIO_MODE] = 0x0200;
        // Words 54 to 58, 64 to 70 and 88 are valid.
        words[word::FIELD_VALIDITY] = 0x0007;
        let current_cylinders = cylinders(accessible_sectors, state.heads, state.sectors_per_track).min(0xffff);
        let chs_capacity = (current_cylinders * u64::from(state.heads) * u64::from(state.sectors_per_track)) as u32;
        words[word::CURRENT_CYLINDERS] = current_cylinders as u16;
        words[word::CURRENT_HEADS] = state.heads.into();
        words[word::CURRENT_SECTORS_PER_TRACK] = state.sectors_per_track.into();
        words[word::CURRENT_CAPACITY] = chs_capacity as u16;
        words[word::CURRENT_CAPACITY + 1] = (chs_capacity >> 16) as u16;
        words[word::MULTIPLE_SETTING] =
            if state.sectors_per_block > 0 { 0x100 | u16::from(state.sectors_per_block) } else { 0 };
        let lba28_sectors = accessible_sectors.min(0x0fff_ffff) as u32;
        words[word::LBA28_SECTORS] = lba28_sectors as u16;
        words[word::LBA28_SECTORS + 1] = (lba28_sectors >> 16) as u16;
        words[word::MULTIWORD_DMA_MODES] = state.transfer_mode.multiword();
        // PIO modes 3 and 4.
        words[word::ADVANCED_PIO_MODES] = 0x0003;
        words[word::CYCLE_TIMES].fill(120);
        // ATA-4 to ATA/ATAPI-7.
        words[word::MAJOR_VERSION] = 0x00f0;
        // NOP, READ BUFFER, WRITE BUFFER, host protected area, look-ahead, write cache, power management, SMART.
        words[word::COMMAND_SETS_SUPPORTED] = 0x7469;
        // FLUSH CACHE EXT, FLUSH CACHE, 48-bit addresses.
        words[word::COMMAND_SETS_SUPPORTED_2] = 0x7400;
        // FUA, SMART self-test, SMART error log.
        words[word::COMMAND_SETS_SUPPORTED_3] = 0x4043;
        // Look-ahead (bit 6), write cache (bit 5) and SMART (bit 0) can be disabled.
        words[word::COMMAND_SETS_ENABLED] = words[word::COMMAND_SETS_SUPPORTED] & !0x0061
            | u16::from(state.look_ahead) << 6
            | u16::from(state.write_cache) << 5
            | u16::from(state.smart.is_enabled());
        words[word::COMMAND_SETS_ENABLED_2] = words[word::COMMAND_SETS_SUPPORTED_2] & 0x3fff;
        words[word::COMMAND_SETS_ENABLED_3] = words[word::COMMAND_SETS_SUPPORTED_3];
        words[word::ULTRA_DMA_MODES] = state.transfer_mode.ultra();
        words[word::HARDWARE_RESET_RESULT] = reset_result(context.device1);
        for (n, word) in words[word::LBA48_SECTORS].iter_mut().enumerate() {
            *word = (accessible_sectors >> (16 * n)) as u16;
        }
        words[word::MAX_DATA_SET_MANAGEMENT_BLOCKS] = super::trim::MAX_BLOCKS.into();
        // One logical sector per physical sector.
        words[word::SECTOR_SIZE] = 0x4000;
        // TRIM.
        words[word::DATA_SET_MANAGEMENT] = u16::from(!self.read_only);
        finish(words)
    }
}
