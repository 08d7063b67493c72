//! IDENTIFY PACKET DEVICE (ATA/ATAPI-6, 8.16).

use super::super::action::CommandContext;
use super::super::ata::{FIRMWARE, finish, reset_result, text, word};
use super::Atapi;

impl Atapi {
    pub(super) fn identify(&self, context: CommandContext) -> Vec<u8> {
        let mut words = [0u16; 256];
        // Packet device, CD-ROM, removable, DRQ within 50 us of PACKET, 12-byte packets.
        words[word::GENERAL_CONFIGURATION] = 0x85c0;
        text(&mut words[word::SERIAL_NUMBER], &self.serial);
        text(&mut words[word::FIRMWARE_REVISION], FIRMWARE);
        text(&mut words[word::MODEL_NUMBER], &self.model);
        // IORDY that can be disabled, LBA, DMA.
        words[word::CAPABILITIES] = 0x0f00;
        words[word::CAPABILITIES_2] = 0x4000;
        words[word::PIO_MODE] = 0x0200;
        // Words 64 to 70 and 88 are valid.
        words[word::FIELD_VALIDITY] = 0x0006;
        words[word::MULTIWORD_DMA_MODES] = self.state.transfer_mode.multiword();
        // PIO modes 3 and 4.
        words[word::ADVANCED_PIO_MODES] = 0x0003;
        words[word::CYCLE_TIMES].fill(120);
        // ATA-4 to ATA/ATAPI-7.
        words[word::MAJOR_VERSION] = 0x00f0;
        // NOP, DEVICE RESET, PACKET, power management.
        words[word::COMMAND_SETS_SUPPORTED] = 0x4218;
        words[word::COMMAND_SETS_SUPPORTED_2] = 0x4000;
        words[word::COMMAND_SETS_SUPPORTED_3] = 0x4000;
        words[word::COMMAND_SETS_ENABLED] = 0x4218;
        words[word::COMMAND_SETS_ENABLED_3] = 0x4000;
        words[word::ULTRA_DMA_MODES] = self.state.transfer_mode.ultra();
        words[word::HARDWARE_RESET_RESULT] = reset_result(context.device1);
        finish(words)
    }
}
