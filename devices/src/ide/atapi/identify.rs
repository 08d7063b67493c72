//! IDENTIFY PACKET DEVICE (ATA/ATAPI-6, 8.16).

use super::super::ata::{FIRMWARE, finish, reset_result, text};
use super::super::drive::CommandContext;
use super::Atapi;

impl Atapi {
    pub(super) fn identify(&self, context: CommandContext) -> Vec<u8> {
        let mut words = [0u16; 256];
        // Packet device, CD-ROM, removable, DRQ within 50 us of PACKET, 12-byte packets.
        words[0] = 0x85c0;
        text(&mut words[10..20], &self.serial);
        text(&mut words[23..27], FIRMWARE);
        text(&mut words[27..47], &self.model);
        // IORDY that can be switched off, LBA, DMA.
        words[49] = 0x0f00;
        words[50] = 0x4000;
        words[51] = 0x0200;
        words[53] = 0x0006;
        words[63] = self.state.transfer_mode.multiword();
        words[64] = 0x0003;
        words[65..69].fill(120);
        words[80] = 0x00f0;
        // NOP, DEVICE RESET, PACKET, power management.
        words[82] = 0x4218;
        words[83] = 0x4000;
        words[84] = 0x4000;
        words[85] = 0x4218;
        words[87] = 0x4000;
        words[88] = self.state.transfer_mode.ultra();
        words[93] = reset_result(context.device1);
        finish(words)
    }
}
