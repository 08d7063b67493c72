//! INQUIRY (SPC-2, 7.3 and 8.4).

use super::super::ata::FIRMWARE;
use super::{Atapi, Cdb, PacketResult, be16, sense::Sense};

/// Peripheral device type: CD-ROM.
const CDROM: u8 = 0x05;
const VENDOR: &str = "PCVM";

// Vital product data pages.
const PAGE_SUPPORTED_PAGES: u8 = 0x00;
const PAGE_UNIT_SERIAL_NUMBER: u8 = 0x80;
const PAGE_DEVICE_IDENTIFICATION: u8 = 0x83;

/// A string of a fixed width, padded with blanks.
fn padded(text: &str, width: usize) -> impl Iterator<Item = u8> + '_ {
    let clean = text.bytes().map(|byte| if (0x20..0x7f).contains(&byte) { byte } else { b' ' });
    clean.chain(std::iter::repeat(b' ')).take(width)
}

impl Atapi {
    pub(super) fn inquiry(&mut self, cdb: &Cdb) -> PacketResult {
        let allocation = usize::from(be16(&cdb[3..]));
        let vital = cdb[1] & 1 != 0;
        if !vital && cdb[2] != 0 {
            return Err(Sense::INVALID_FIELD);
        }
        let data = if vital { self.vital_product_data(cdb[2])? } else { self.standard_data() };
        self.reply(data, allocation)
    }

    fn standard_data(&self) -> Vec<u8> {
        // Removable; version 0 (ATAPI); response data format 1 with ATAPI version 2; additional length 31.
        let mut data = vec![CDROM, 0x80, 0x00, 0x21, 31, 0, 0, 0];
        data.extend(padded(VENDOR, 8));
        data.extend(padded(self.model.strip_prefix(VENDOR).unwrap_or(&self.model).trim(), 16));
        data.extend(padded(FIRMWARE, 4));
        data
    }

    fn vital_product_data(&self, page: u8) -> Result<Vec<u8>, Sense> {
        let body: Vec<u8> = match page {
            PAGE_SUPPORTED_PAGES => {
                vec![PAGE_SUPPORTED_PAGES, PAGE_UNIT_SERIAL_NUMBER, PAGE_DEVICE_IDENTIFICATION]
            }
            PAGE_UNIT_SERIAL_NUMBER => padded(&self.serial, 20).collect(),
            PAGE_DEVICE_IDENTIFICATION => {
                // One identification descriptor: code set ASCII, type "vendor ID based".
                let id: Vec<u8> =
                    padded(VENDOR, 8).chain(padded(&self.model, 16)).chain(padded(&self.serial, 20)).collect();
                [&[0x02, 0x01, 0x00, id.len() as u8], id.as_slice()].concat()
            }
            _ => return Err(Sense::INVALID_FIELD),
        };
        Ok([&[CDROM, page, 0, body.len() as u8], body.as_slice()].concat())
    }
}
