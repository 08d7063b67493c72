//! READ DVD STRUCTURE (MMC-3, 6.23): layer 0 of a single-layer DVD-ROM.

use super::{Atapi, Cdb, PacketResult, be16, sense::Sense};

/// The first physical sector of the data area.
const DATA_START: u32 = 0x3_0000;

// Structure formats.
const PHYSICAL_FORMAT: u8 = 0x00;
const COPYRIGHT: u8 = 0x01;
const MANUFACTURER: u8 = 0x04;
const STRUCTURE_LIST: u8 = 0xff;

impl Atapi {
    pub(super) fn read_dvd_structure(&mut self, cdb: &Cdb) -> PacketResult {
        let sectors = self.ready()?.sectors();
        let (layer, format) = (cdb[6], cdb[7]);
        if !self.is_dvd() && format != STRUCTURE_LIST {
            return Err(Sense::INCOMPATIBLE_MEDIUM);
        }
        let body = match format {
            PHYSICAL_FORMAT => {
                if layer != 0 {
                    return Err(Sense::INVALID_FIELD);
                }
                let mut body = vec![0; 2048];
                // DVD-ROM, part version 1; 120 mm, maximum rate not specified; one embossed layer; densities 0.
                body[0] = 0x01;
                body[1] = 0x0f;
                body[2] = 0x01;
                body[4..8].copy_from_slice(&DATA_START.to_be_bytes());
                body[8..12].copy_from_slice(&DATA_START.saturating_add(sectors.saturating_sub(1)).to_be_bytes());
                body
            }
            // No protection, no region restrictions.
            COPYRIGHT => vec![0; 4],
            MANUFACTURER => vec![0; 2048],
            // Format, readable, length.
            STRUCTURE_LIST => [(PHYSICAL_FORMAT, 2052u16), (COPYRIGHT, 8), (MANUFACTURER, 2052)]
                .into_iter()
                .flat_map(|(format, len)| {
                    let [high, low] = len.to_be_bytes();
                    [format, 0x40, high, low]
                })
                .collect(),
            _ => return Err(Sense::INVALID_FIELD),
        };
        let [high, low] = (body.len() as u16 + 2).to_be_bytes();
        let data = [&[high, low, 0, 0], body.as_slice()].concat();
        self.reply(data, be16(&cdb[8..]).into())
    }
}
