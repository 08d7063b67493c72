//! MODE SENSE and MODE SELECT (SPC-2, 7.8 ff.; MMC-3, 5.5; SFF-8020i for the header).

use super::super::drive::DriveAction;
use super::{ActiveCommand, Atapi, Cdb, PacketResult, be16, sense::Sense};
use serde::{Deserialize, Serialize};

const PAGE_RECOVERY: u8 = 0x01;
const PAGE_AUDIO: u8 = 0x0e;
const PAGE_CAPABILITIES: u8 = 0x2a;
const PAGE_ALL: u8 = 0x3f;
/// The longest parameter list that makes sense: header, block descriptor and all pages.
const MAX_PARAMETERS: u16 = 512;

/// The pages' contents that software can change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModePages {
    /// Error recovery parameter and read retry count.
    recovery: [u8; 2],
    /// Audio: flags, and the ports' channels and volumes.
    audio: [u8; 9],
}

impl Default for ModePages {
    fn default() -> Self {
        Self { recovery: [0, 5], audio: [0x04, 1, 0xff, 2, 0xff, 0, 0, 0, 0] }
    }
}

impl ModePages {
    /// A page's body. The bytes that software can change come from `self`.
    fn page(&self, atapi: &Atapi, page: u8) -> Option<Vec<u8>> {
        Some(match page {
            PAGE_RECOVERY => vec![self.recovery[0], self.recovery[1], 0, 0, 0, 0, 0, 0, 0, 0],
            PAGE_AUDIO => {
                let [flags, ports @ ..] = self.audio;
                [&[flags, 0, 0, 0, 0, 0], ports.as_slice()].concat()
            }
            PAGE_CAPABILITIES => {
                let mut body = vec![0; 20];
                // Reads CD-R, CD-RW, DVD-ROM; writes nothing.
                body[0] = 0x3b;
                // Multi-session, mode 2 forms 1 and 2.
                body[2] = 0x70;
                // Tray, ejects, locks; locked now?
                body[4] = 0x29 | u8::from(atapi.state.removal_prevented) << 1;
                // 52 times CD speed, of 176 kB/s each; 2 volume levels; 512 KiB of buffer.
                let speed = (52 * 176u16).to_be_bytes();
                body[6..8].copy_from_slice(&speed);
                body[8..10].copy_from_slice(&2u16.to_be_bytes());
                body[10..12].copy_from_slice(&512u16.to_be_bytes());
                body[12..14].copy_from_slice(&speed);
                body
            }
            _ => return None,
        })
    }

    /// Which bits of a page software can change.
    fn changeable() -> Self {
        Self { recovery: [0xff, 0xff], audio: [0x06, 0x0f, 0xff, 0x0f, 0xff, 0, 0, 0, 0] }
    }
}

impl Atapi {
    pub(super) fn mode_sense(&mut self, cdb: &Cdb, ten: bool) -> PacketResult {
        let (control, wanted) = (cdb[2] >> 6, cdb[2] & 0x3f);
        let allocation = if ten { usize::from(be16(&cdb[7..])) } else { cdb[4].into() };
        let pages = match control {
            0 => self.state.pages.clone(),
            1 => ModePages::changeable(),
            2 => ModePages::default(),
            _ => return Err(Sense::SAVING_NOT_SUPPORTED),
        };
        let mut body = Vec::new();
        for page in [PAGE_RECOVERY, PAGE_AUDIO, PAGE_CAPABILITIES] {
            if wanted != page && wanted != PAGE_ALL {
                continue;
            }
            let Some(mut content) = pages.page(self, page) else { continue };
            if control == 1 && page == PAGE_CAPABILITIES {
                content.fill(0);
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

    /// The medium type of SFF-8020i: open, none, or a 120 mm data disc.
    fn medium_type(&self) -> u8 {
        match self.ready() {
            Ok(_) => 0x01,
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
                (PAGE_AUDIO, [flags, _, _, _, _, _, ports @ ..]) if ports.len() == 8 => {
                    for (n, value) in std::iter::once(flags).chain(ports).enumerate() {
                        pages.audio[n] = pages.audio[n] & !mask.audio[n] | value & mask.audio[n];
                    }
                }
                // Nothing in it can be changed; writing it back is not an error.
                (PAGE_CAPABILITIES, _) => {}
                _ => return Err(Sense::INVALID_PARAMETER),
            }
            rest = &tail[usize::from(*len)..];
        }
        self.state.pages = pages;
        Ok(())
    }
}
