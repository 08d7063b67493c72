//! The tray and what is in it: START STOP UNIT, PREVENT ALLOW MEDIUM REMOVAL, GET EVENT STATUS NOTIFICATION, and the
//! change of discs from outside (MMC-3, 6.13, 6.6; SPC-2).

use super::super::drive::DriveAction;
use super::{Atapi, Cdb, PacketResult, be16, sense::Sense, whole_sectors};
use serde::{Deserialize, Serialize};

/// What the next command is told instead of being carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnitAttention {
    /// Power-on or reset.
    Reset,
    /// There is another disc.
    MediumChanged,
}

impl UnitAttention {
    /// As sense data.
    pub fn sense(self) -> Sense {
        match self {
            Self::Reset => Sense::RESET,
            Self::MediumChanged => Sense::MEDIUM_CHANGED,
        }
    }
}

/// What happened to the medium since GET EVENT STATUS last told.
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

    /// Whether the guest forbids that it is opened.
    pub fn tray_locked(&self) -> bool {
        self.state.removal_prevented
    }

    /// A disc of `size` bytes was put in, or taken out.
    pub fn set_medium(&mut self, size: Option<u64>) {
        self.disc = size.map(whole_sectors);
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
        // Power conditions are taken and change nothing.
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

    /// GET EVENT STATUS NOTIFICATION, polled; the media class is all there is.
    pub(super) fn get_event_status(&mut self, cdb: &Cdb) -> PacketResult {
        const MEDIA: u8 = 4;
        if cdb[1] & 1 == 0 {
            return Err(Sense::INVALID_FIELD);
        }
        let allocation = be16(&cdb[7..]).into();
        let data = if cdb[4] & 1 << MEDIA == 0 {
            // No event of the classes asked for is available here.
            vec![0, 2, 0x80, 1 << MEDIA]
        } else {
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
