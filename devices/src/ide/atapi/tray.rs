//! Tray and medium change: START STOP UNIT, PREVENT ALLOW MEDIUM REMOVAL, GET EVENT STATUS NOTIFICATION, MECHANISM
//! STATUS, and discs that the host inserts or removes (MMC-5, 6.45, 6.18, 6.6, 6.12; SPC-2).
//!
//! A disc that the guest or the host ejects lies on the tray, and is in the drive again when the tray closes, until the host
//! takes it away.

use super::super::action::DriveAction;
use super::audio::Audio;
use super::{ActiveCommand, Atapi, Cdb, PacketResult, be16, sense::Sense};
use crate::{Disc, Tray, TrayRequest};
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

/// PREVENT ALLOW MEDIUM REMOVAL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prevention {
    /// Prevent: neither the button nor the guest can open the tray.
    pub locked: bool,
    /// Persistent prevent: the button only reports an eject request to the guest, which can open the tray.
    pub persistent: bool,
}

impl Atapi {
    /// The tray.
    pub fn tray(&self) -> Tray {
        let Prevention { locked, persistent } = self.state.prevention;
        Tray { open: self.state.tray_open, locked: locked || persistent, loaded: self.disc.is_some() }
    }

    /// The host inserts a disc and closes the tray, or takes the disc out and leaves the tray open. A read in progress
    /// fails. Returns the tray movements that happened, oldest first: true is open.
    pub fn set_medium(&mut self, disc: Option<Disc>) -> &'static [bool] {
        self.disc = disc.filter(|disc| disc.validate().is_ok());
        if matches!(self.state.active, ActiveCommand::Dma | ActiveCommand::Read(_)) {
            self.state.active = ActiveCommand::Interrupted;
        }
        let was_open = self.state.tray_open;
        self.open_tray();
        if self.disc.is_none() {
            return if was_open { &[] } else { &[true] };
        }
        self.close_tray();
        if was_open { &[false] } else { &[true, false] }
    }

    /// A request of the host. Returns whether the tray moved.
    pub fn tray_request(&mut self, request: TrayRequest) -> bool {
        let was_open = self.state.tray_open;
        match request {
            TrayRequest::Open if !was_open => self.open_tray(),
            TrayRequest::Close if was_open => self.close_tray(),
            TrayRequest::Open | TrayRequest::Close => {}
            TrayRequest::Button => self.state.eject_requested = true,
        }
        was_open != self.state.tray_open
    }

    fn open_tray(&mut self) {
        if !self.state.tray_open {
            self.state.event = MediaEvent::Removed;
        }
        self.state.tray_open = true;
        self.state.eject_requested = false;
        self.state.audio = Audio::Idle;
        self.state.position = 0;
        // The disc that the pending unit attention announces has gone.
        if self.state.attention == Some(UnitAttention::MediumChanged) {
            self.state.attention = None;
        }
    }

    fn close_tray(&mut self) {
        self.state.tray_open = false;
        if self.disc.is_some() {
            self.state.attention.get_or_insert(UnitAttention::MediumChanged);
            self.state.event = MediaEvent::New;
        }
    }

    pub(super) fn start_stop(&mut self, cdb: &Cdb) -> PacketResult {
        let (load_eject, start) = (cdb[4] & 2 != 0, cdb[4] & 1 != 0);
        // A power condition request has no effect.
        if cdb[4] >> 4 != 0 {
            return Ok(DriveAction::Done { irq: true });
        }
        match (load_eject, start, self.state.tray_open) {
            (true, false, false) => {
                if self.state.prevention.locked {
                    return Err(Sense::REMOVAL_PREVENTED);
                }
                self.open_tray();
            }
            (true, true, true) => self.close_tray(),
            // Stops the disc.
            (false, false, _) => self.state.audio = Audio::Idle,
            _ => {}
        }
        Ok(DriveAction::Done { irq: true })
    }

    pub(super) fn prevent_removal(&mut self, cdb: &Cdb) -> PacketResult {
        let prevent = cdb[4] & 1 != 0;
        if cdb[4] & 2 == 0 {
            self.state.prevention.locked = prevent;
        } else {
            self.state.prevention.persistent = prevent;
        }
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
            // Media event code. An eject request comes first: after the removal it has no meaning.
            let code = match (self.state.eject_requested, self.state.event) {
                (true, _) => 1,
                (false, MediaEvent::None) => 0,
                (false, MediaEvent::New) => 2,
                (false, MediaEvent::Removed) => 3,
            };
            if allocation > 4 && !std::mem::take(&mut self.state.eject_requested) {
                self.state.event = MediaEvent::None;
            }
            let present = self.disc.is_some() && !self.state.tray_open;
            vec![0, 6, MEDIA, 1 << MEDIA, code, u8::from(present) << 1 | u8::from(self.state.tray_open), 0, 0]
        };
        self.reply(data, allocation)
    }

    pub(super) fn mechanism_status(&mut self, cdb: &Cdb) -> PacketResult {
        let mut data = vec![0; 8];
        // Door open; mechanism state: playing (audio).
        data[1] = u8::from(self.state.tray_open) << 4 | u8::from(matches!(self.state.audio, Audio::Playing(_))) << 5;
        let [_, high, mid, low] = self.state.position.to_be_bytes();
        data[2..5].copy_from_slice(&[high, mid, low]);
        self.reply(data, be16(&cdb[8..]).into())
    }
}
