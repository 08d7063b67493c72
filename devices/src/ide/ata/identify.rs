//! IDENTIFY DEVICE (ATA/ATAPI-6, 8.15).

use super::super::drive::CommandContext;
use super::address::{cylinders, default_geometry};
use super::{Ata, MAX_MULTIPLE};

/// Our firmware's revision, words 23-26.
pub const FIRMWARE: &str = "1.0";

/// Puts a string into words: printable ASCII, padded with blanks, two characters a word with the first one high.
pub fn text(words: &mut [u16], text: &str) {
    let mut bytes = text.bytes().map(|byte| if (0x20..0x7f).contains(&byte) { byte } else { b' ' });
    for word in words {
        *word = u16::from_be_bytes([bytes.next().unwrap_or(b' '), bytes.next().unwrap_or(b' ')]);
    }
}

/// Word 93: what the drive saw during RESET#: an 80-wire cable, and itself at its place.
pub fn reset_result(device1: bool) -> u16 {
    if device1 { 0x6b00 } else { 0x600b }
}

/// The words as the guest reads them, with word 255 made right: signature A5h and a checksum.
pub fn finish(mut words: [u16; 256]) -> Vec<u8> {
    words[255] = 0x00a5;
    let sum = words.iter().flat_map(|word| word.to_le_bytes()).fold(0u8, u8::wrapping_add);
    words[255] |= u16::from(sum.wrapping_neg()) << 8;
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

impl Ata {
    pub(super) fn identify(&self, context: CommandContext) -> Vec<u8> {
        let state = &self.state;
        let mut words = [0u16; 256];
        let (heads, sectors_per_track) = default_geometry(self.sectors);
        let accessible_sectors = state.accessible_sectors;
        words[0] = 0x0040;
        words[1] = cylinders(accessible_sectors, heads, sectors_per_track).min(16_383) as u16;
        words[3] = heads.into();
        // Bytes per track and per sector, retired since ATA-2. Bochs' BIOS moves as many bytes a sector as word 5 says.
        words[4] = 512 * u16::from(sectors_per_track);
        words[5] = 512;
        words[6] = sectors_per_track.into();
        text(&mut words[10..20], &self.serial);
        text(&mut words[23..27], FIRMWARE);
        text(&mut words[27..47], &self.model);
        words[47] = 0x8000 | u16::from(MAX_MULTIPLE);
        // Standard standby timer, IORDY that can be switched off, LBA, DMA.
        words[49] = 0x2f00;
        words[50] = 0x4000;
        words[51] = 0x0200;
        words[53] = 0x0007;
        let current = cylinders(accessible_sectors, state.heads, state.sectors_per_track).min(0xffff);
        let in_chs = (current * u64::from(state.heads) * u64::from(state.sectors_per_track)) as u32;
        words[54] = current as u16;
        words[55] = state.heads.into();
        words[56] = state.sectors_per_track.into();
        words[57] = in_chs as u16;
        words[58] = (in_chs >> 16) as u16;
        words[59] = if state.sectors_per_block > 0 { 0x100 | u16::from(state.sectors_per_block) } else { 0 };
        let in_28 = accessible_sectors.min(0x0fff_ffff) as u32;
        words[60] = in_28 as u16;
        words[61] = (in_28 >> 16) as u16;
        words[63] = state.transfer_mode.multiword();
        words[64] = 0x0003;
        words[65..69].fill(120);
        // ATA-4 to ATA/ATAPI-7.
        words[80] = 0x00f0;
        // NOP, READ BUFFER, WRITE BUFFER, host protected area, look-ahead, write cache, power management, SMART.
        words[82] = 0x7469;
        // FLUSH CACHE EXT, FLUSH CACHE, 48-bit addresses.
        words[83] = 0x7400;
        // FUA, SMART self-test, SMART error log.
        words[84] = 0x4043;
        words[85] = words[82] & !0x0061
            | u16::from(state.look_ahead) << 6
            | u16::from(state.write_cache) << 5
            | u16::from(state.smart.is_enabled());
        words[86] = words[83] & 0x3fff;
        words[87] = words[84];
        words[88] = state.transfer_mode.ultra();
        words[93] = reset_result(context.device1);
        for (n, word) in words[100..104].iter_mut().enumerate() {
            *word = (accessible_sectors >> (16 * n)) as u16;
        }
        words[105] = super::trim::MAX_BLOCKS.into();
        // One logical sector per physical sector.
        words[106] = 0x4000;
        words[169] = u16::from(!self.read_only);
        finish(words)
    }
}
