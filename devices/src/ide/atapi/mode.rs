//! MODE SENSE and MODE SELECT with their mode pages (SPC-2, 7.8 ff.; MMC-3, 5.5; SFF-8020i for the header).

use super::super::action::DriveAction;
use super::{ActiveCommand, Atapi, Cdb, PacketResult, be16, sense::Sense};
use serde::{Deserialize, Serialize};

/// Read/Write Error Recovery Parameters page.
const PAGE_RECOVERY: u8 = 0x01;
/// CD-ROM Parameters page (SFF-8020i, 10.8.6.3).
const PAGE_CDROM: u8 = 0x0d;
/// CD Audio Control page.
const PAGE_AUDIO: u8 = 0x0e;
/// C/DVD Capabilities and Mechanical Status page.
const PAGE_CAPABILITIES: u8 = 0x2a;
/// All pages.
const PAGE_ALL: u8 = 0x3f;
/// The longest parameter list accepted: more than header, block descriptor and all pages.
const MAX_PARAMETERS: u16 = 512;

/// The parts of the mode pages that the guest can change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModePages {
    /// Error recovery parameter and read retry count.
    recovery: [u8; 2],
    /// Inactivity timer multiplier: how long the drive stays spinning, 0 to 15. Discs here need no time to spin up.
    inactivity: u8,
    /// CD Audio Control: flags, then channel selection and volume of ports 0 to 3.
    audio: [u8; 9],
}

impl Default for ModePages {
    fn default() -> Self {
        Self { recovery: [0, 5], inactivity: 0, audio: [0x04, 1, 0xff, 2, 0xff, 0, 0, 0, 0] }
    }
}

impl ModePages {
    /// The body of a page of `atapi`, with the changeable parts of `self`.
    fn page(&self, atapi: &Atapi, page: u8) -> Option<Vec<u8>> {
        Some(match page {
            PAGE_RECOVERY => vec![self.recovery[0], self.recovery[1], 0, 0, 0, 0, 0, 0, 0, 0],
            // 60 seconds per minute, 75 frames per second.
            PAGE_CDROM => vec![0, self.inactivity, 0, 60, 0, 75],
            PAGE_AUDIO => {
                let [flags, ports @ ..] = self.audio;
                [&[flags, 0, 0, 0, 0, 0], ports.as_slice()].concat()
            }
            PAGE_CAPABILITIES => {
                let mut body = vec![0; 20];
                // Reads CD-R, CD-RW, DVD-ROM, DVD-R and DVD-RAM; writes nothing.
                body[0] = 0x3b;
                // Audio play, multi-session, mode 2 forms 1 and 2.
                body[2] = 0x71;
                // CD-DA commands, accurate to the sample; R to W; C2 flags; ISRC; catalogue number.
                body[3] = 0x77;
                // Tray mechanism, eject, lock; the lock state.
                body[4] = 0x29 | u8::from(atapi.tray().locked) << 1;
                // Separate volume and mute of each channel.
                body[5] = 0x03;
                // Maximum read speed in kB/s: 52 times 176 kB/s.
                let speed = (52 * 176u16).to_be_bytes();
                body[6..8].copy_from_slice(&speed);
                // Volume levels.
                body[8..10].copy_from_slice(&256u16.to_be_bytes());
                // Buffer size in KiB.
                body[10..12].copy_from_slice(&512u16.to_be_bytes());
                // Current read speed.
                body[12..14].copy_from_slice(&speed);
                body
            }
            _ => return None,
        })
    }

    /// Whether playback stops at the end of each track (SOTC).
    pub fn stops_on_track_crossing(&self) -> bool {
        self.audio[0] & 0x02 != 0
    }

    /// The mask of the bits that the guest can change.
    fn changeable() -> Self {
        Self { recovery: [0xff, 0xff], inactivity: 0x0f, audio: [0x06, 0x0f, 0xff, 0x0f, 0xff, 0, 0, 0, 0] }
    }
}

impl Atapi {
    pub(super) fn mode_sense(&mut self, cdb: &Cdb, ten: bool) -> PacketResult {
        let (page_control, requested) = (cdb[2] >> 6, cdb[2] & 0x3f);
        let allocation = if ten { usize::from(be16(&cdb[7..])) } else { cdb[4].into() };
        // Page control: current, changeable, default and saved values.
        let pages = match page_control {
            0 => self.state.pages.clone(),
            1 => ModePages::changeable(),
            2 => ModePages::default(),
            _ => return Err(Sense::SAVING_NOT_SUPPORTED),
        };
        let mut body = Vec::new();
        for page in [PAGE_RECOVERY, PAGE_CDROM, PAGE_AUDIO, PAGE_CAPABILITIES] {
            if requested != page && requested != PAGE_ALL {
                continue;
            }
            let Some(mut content) = pages.page(self, page) else { continue };
            match page {
                // Constants: no bit can be changed.
                PAGE_CAPABILITIES if page_control == 1 => content.fill(0),
                PAGE_CDROM if page_control == 1 => content[2..].fill(0),
                _ => {}
            }
            body.extend([page, content.len() as u8]);
            body.extend(content);
        }
        if body.is_empty() {
            return Err(Sense::INVALID_FIELD);
        }
        let medium = self.medium_type();
        let data = if ten {
            let [high, low] = (body.len() as u16 + 6).to_be_bytes();
            [&[high, low, medium, 0, 0, 0, 0, 0], body.as_slice()].concat()
        } else {
            [&[body.len() as u8 + 3, medium, 0, 0], body.as_slice()].concat()
        };
        self.reply(data, allocation)
    }

    /// The medium type (SFF-8020i): 120 mm disc with data, audio or both, several sessions, tray open, or no disc.
    fn medium_type(&self) -> u8 {
        match self.ready() {
            Ok(disc) if disc.sessions.len() > 1 => 0x04,
            Ok(disc) => {
                let audio = disc.tracks.iter().filter(|track| track.is_audio()).count();
                match audio {
                    0 => 0x01,
                    _ if audio == disc.tracks.len() => 0x02,
                    _ => 0x03,
                }
            }
            Err(Sense::NO_MEDIUM_TRAY_OPEN) => 0x71,
            Err(_) => 0x70,
        }
    }

    pub(super) fn mode_select(&mut self, cdb: &Cdb, ten: bool) -> PacketResult {
        if cdb[1] & 1 != 0 {
            return Err(Sense::INVALID_FIELD);
        }
        let len = if ten { be16(&cdb[7..]) } else { cdb[4].into() };
        match len {
            0 => Ok(DriveAction::Done { irq: true }),
            1..=MAX_PARAMETERS => Ok(self.request_parameters(ten, len, Vec::new())),
            _ => Err(Sense::PARAMETER_LENGTH),
        }
    }

    fn request_parameters(&mut self, ten: bool, len: u16, data: Vec<u8>) -> DriveAction {
        let left = usize::from(len).saturating_sub(data.len());
        self.state.active = ActiveCommand::ModeSelect { ten, len, data };
        if self.state.dma {
            DriveAction::DmaOut { len: left }
        } else {
            DriveAction::PioOut { len: left.min(self.state.byte_count_limit.into()), irq: true }
        }
    }

    /// Adds parameters that the guest wrote, and sets the pages once the list is complete.
    pub(super) fn mode_select_data(&mut self, ten: bool, len: u16, mut data: Vec<u8>, more: Vec<u8>) -> PacketResult {
        data.extend(more);
        if data.len() < usize::from(len) {
            return Ok(self.request_parameters(ten, len, data));
        }
        self.set_pages(ten, &data)?;
        Ok(DriveAction::Done { irq: true })
    }

    fn set_pages(&mut self, ten: bool, data: &[u8]) -> Result<(), Sense> {
        let (header, descriptors) = match (ten, data) {
            (true, [_, _, _, _, _, _, high, low, ..]) => (8, usize::from(be16(&[*high, *low]))),
            (false, [_, _, _, len, ..]) => (4, usize::from(*len)),
            _ => return Err(Sense::PARAMETER_LENGTH),
        };
        let mut rest = data.get(header + descriptors..).ok_or(Sense::PARAMETER_LENGTH)?;
        let mut pages = self.state.pages.clone();
        while let [page, len, tail @ ..] = rest {
            let body = tail.get(..usize::from(*len)).ok_or(Sense::PARAMETER_LENGTH)?;
            let mask = ModePages::changeable();
            match (page & 0x3f, body) {
                (PAGE_RECOVERY, [parameter, retries, ..]) => pages.recovery = [*parameter, *retries],
                (PAGE_CDROM, [_, inactivity, ..]) => pages.inactivity = inactivity & mask.inactivity,
                (PAGE_AUDIO, [flags, _, _, _, _, _, ports @ ..]) if ports.len() == 8 => {
                    for (n, value) in std::iter::once(flags).chain(ports).enumerate() {
                        pages.audio[n] = pages.audio[n] & !mask.audio[n] | value & mask.audio[n];
                    }
                }
                // The page is read-only; writing it is not an error.
                (PAGE_CAPABILITIES, _) => {}
                _ => return Err(Sense::INVALID_PARAMETER),
            }
            rest = &tail[usize::from(*len)..];
        }
        self.state.pages = pages;
        Ok(())
    }
}
