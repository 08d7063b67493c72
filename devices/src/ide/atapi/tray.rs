//! Tray and medium change: START STOP UNIT, PREVENT ALLOW MEDIUM REMOVAL, GET EVENT STATUS NOTIFICATION, MECHANISM
//! STATUS, and discs that the host inserts or removes (MMC-3, 6.13, 6.6; SPC-2).

use super::super::action::DriveAction;
use super::{Atapi, Cdb, PacketResult, be16, sense::Sense};
use crate::Disc;
use serde::{Deserialize, Serialize};

/// A unit attention condition: the next command fails with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnitAttention {
    /// Power-on or reset.
    Reset,
    /// A disc was inserted.
    MediumChanged,
}

impl UnitAttention {
    /// The sense data.
    pub fn sense(self) -> Sense {
        match self {
            Self::Reset => Sense::RESET,
            Self::MediumChanged => Sense::MEDIUM_CHANGED,
        }
    }
}

/// The media event that GET EVENT STATUS NOTIFICATION has not reported yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MediaEvent {
    #[default]
    None,
    New,
    Removed,
}

impl Atapi {
    /// Whether the tray is open.
    pub fn tray_open(&self) -> bool {
        self.state.tray_open
    }

    /// Whether the guest prevents the removal of the medium.
    pub fn tray_locked(&self) -> bool {
        self.state.removal_prevented
    }

    /// The host inserts a disc, or removes the disc. Closes the tray.
    pub fn set_medium(&mut self, disc: Option<Disc>) {
        self.disc = disc;
        self.state.tray_open = false;
        if self.disc.is_some() {
            self.state.attention = Some(UnitAttention::MediumChanged);
            self.state.event = MediaEvent::New;
        } else {
            self.state.event = MediaEvent::Removed;
        }
    }

    pub(super) fn start_stop(&mut self, cdb: &Cdb) -> PacketResult {
        let (load_eject, start) = (cdb[4] & 2 != 0, cdb[4] & 1 != 0);
        // A power condition request has no effect.
        if cdb[4] >> 4 == 0 && load_eject {
            match (start, self.state.tray_open) {
                (false, false) => {
                    if self.state.removal_prevented {
                        return Err(Sense::REMOVAL_PREVENTED);
                    }
                    self.state.tray_open = true;
                    self.state.event = MediaEvent::Removed;
                }
                (true, true) => {
                    self.state.tray_open = false;
                    if self.disc.is_some() {
                        self.state.attention = Some(UnitAttention::MediumChanged);
                        self.state.event = MediaEvent::New;
                    }
                }
                _ => {}
            }
        }
        Ok(DriveAction::Done { irq: true })
    }

    pub(super) fn prevent_removal(&mut self, cdb: &Cdb) -> PacketResult {
        self.state.removal_prevented = cdb[4] & 1 != 0;
        Ok(DriveAction::Done { irq: true })
    }

    /// GET EVENT STATUS NOTIFICATION, polled mode only; the media class is the only class supported.
    pub(super) fn get_event_status(&mut self, cdb: &Cdb) -> PacketResult {
        const MEDIA: u8 = 4;
        if cdb[1] & 1 == 0 {
            return Err(Sense::INVALID_FIELD);
        }
        let allocation = be16(&cdb[7..]).into();
        let data = if cdb[4] & 1 << MEDIA == 0 {
            // NEA: no supported event class was requested.
            vec![0, 2, 0x80, 1 << MEDIA]
        } else {
            // Media event code.
            let code = match self.state.event {
                MediaEvent::None => 0,
                MediaEvent::New => 2,
                MediaEvent::Removed => 3,
            };
            if allocation > 4 {
                self.state.event = MediaEvent::None;
            }
            let present = self.disc.is_some() && !self.state.tray_open;
            vec![0, 6, MEDIA, 1 << MEDIA, code, u8::from(present) << 1 | u8::from(self.state.tray_open), 0, 0]
        };
        self.reply(data, allocation)
    }

    pub(super) fn mechanism_status(&mut self, cdb: &Cdb) -> PacketResult {
        let mut data = vec![0; 8];
        data[1] = u8::from(self.state.tray_open) << 4;
        self.reply(data, be16(&cdb[8..]).into())
    }
}
