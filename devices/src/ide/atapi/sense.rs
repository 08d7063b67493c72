//! Sense data (SPC-2, 7.20; MMC-3, annex F).

use super::audio::Audio;
use super::{Atapi, Cdb, PacketResult};
use serde::{Deserialize, Serialize};

/// Sense data of a failed command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sense {
    /// Sense key, 0 to 15.
    pub key: u8,
    /// Additional sense code.
    pub asc: u8,
    /// Additional sense code qualifier.
    pub ascq: u8,
}

impl Sense {
    const fn new(key: u8, asc: u8, ascq: u8) -> Self {
        Self { key, asc, ascq }
    }

    // Sense keys: 0 no sense, 2 not ready, 3 medium error, 5 illegal request, 6 unit attention, Bh aborted command.
    pub const NONE: Self = Self::new(0, 0, 0);
    pub const NO_MEDIUM: Self = Self::new(2, 0x3a, 1);
    pub const NO_MEDIUM_TRAY_OPEN: Self = Self::new(2, 0x3a, 2);
    pub const READ_ERROR: Self = Self::new(3, 0x11, 0);
    pub const PARAMETER_LENGTH: Self = Self::new(5, 0x1a, 0);
    pub const INVALID_OPCODE: Self = Self::new(5, 0x20, 0);
    pub const OUT_OF_RANGE: Self = Self::new(5, 0x21, 0);
    pub const INVALID_FIELD: Self = Self::new(5, 0x24, 0);
    pub const INVALID_PARAMETER: Self = Self::new(5, 0x26, 0);
    pub const INCOMPATIBLE_MEDIUM: Self = Self::new(5, 0x30, 0);
    pub const COMMAND_SEQUENCE: Self = Self::new(5, 0x2c, 0);
    pub const SAVING_NOT_SUPPORTED: Self = Self::new(5, 0x39, 0);
    pub const REMOVAL_PREVENTED: Self = Self::new(5, 0x53, 2);
    pub const ILLEGAL_MODE: Self = Self::new(5, 0x64, 0);
    pub const MEDIUM_CHANGED: Self = Self::new(6, 0x28, 0);
    pub const RESET: Self = Self::new(6, 0x29, 0);
    pub const ABORTED: Self = Self::new(0xb, 0, 0);
}

impl Atapi {
    /// REQUEST SENSE: the sense data of the last command, or, if it did not fail, of a pending unit attention.
    pub(super) fn request_sense(&mut self, cdb: &Cdb) -> PacketResult {
        let mut sense = std::mem::replace(&mut self.state.sense, Sense::NONE);
        if sense == Sense::NONE
            && let Some(attention) = self.state.attention.take()
        {
            sense = attention.sense();
        }
        // Without an error, the qualifier is the audio status (SFF-8020i).
        if sense == Sense::NONE && matches!(self.state.audio, Audio::Playing(_) | Audio::Paused { .. }) {
            sense.ascq = self.state.audio.status();
        }
        let mut data = vec![0; 18];
        // Response code: current error, fixed format.
        data[0] = 0x70;
        data[2] = sense.key;
        // Additional sense length.
        data[7] = 10;
        data[12] = sense.asc;
        data[13] = sense.ascq;
        self.reply(data, cdb[4].into())
    }
}
