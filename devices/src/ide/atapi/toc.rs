//! Table of contents: READ TOC/PMA/ATIP, READ SUB-CHANNEL, READ HEADER (MMC-3, 6.27, 6.26, 6.20).

use super::sector::msf;
use super::{Atapi, Cdb, PacketResult, be16, be32, sense::Sense};

/// ADR 1, control: data track.
const DATA_TRACK: u8 = 0x14;
const LEAD_OUT: u8 = 0xaa;

/// A four-byte address, as MSF or LBA.
fn address(lba: u32, as_msf: bool) -> [u8; 4] {
    if as_msf {
        let [m, s, f] = msf(lba);
        [0, m, s, f]
    } else {
        lba.to_be_bytes()
    }
}

/// Prepends the header: the length of the data after the length field, first and last track or session.
fn with_length(first: u8, last: u8, body: &[u8]) -> Vec<u8> {
    let [high, low] = (body.len() as u16 + 2).to_be_bytes();
    [&[high, low, first, last], body].concat()
}

impl Atapi {
    pub(super) fn read_toc(&mut self, cdb: &Cdb) -> PacketResult {
        let disc = self.ready()?;
        let as_msf = cdb[1] & 2 != 0;
        // The format is in byte 2; drivers older than MMC put it into the top bits of byte 9.
        let format = if cdb[2] & 0xf != 0 { cdb[2] & 0xf } else { cdb[9] >> 6 };
        let start = cdb[6];
        let data = match format {
            // TOC.
            0 => {
                if start > 1 && start != LEAD_OUT {
                    return Err(Sense::INVALID_FIELD);
                }
                let mut body = Vec::new();
                for (track, lba) in [(1, 0), (LEAD_OUT, disc)] {
                    if track >= start {
                        body.extend([0, DATA_TRACK, track, 0]);
                        body.extend(address(lba, as_msf));
                    }
                }
                with_length(1, 1, &body)
            }
            // Session information.
            1 => {
                let mut body = vec![0, DATA_TRACK, 1, 0];
                body.extend(address(0, as_msf));
                with_length(1, 1, &body)
            }
            // Full TOC.
            2 => {
                if start > 1 {
                    return Err(Sense::INVALID_FIELD);
                }
                let mut body = Vec::new();
                // Entries for the first track, last track, lead-out and track 1: session, ADR and control, TNO, POINT,
                // MSF of the entry, 0, then the value that POINT selects.
                for (point, value) in [(0xa0, [1, 0, 0]), (0xa1, [1, 0, 0]), (0xa2, msf(disc)), (0x01, msf(0))] {
                    body.extend([1, DATA_TRACK, 0, point, 0, 0, 0, 0]);
                    body.extend(value);
                }
                with_length(1, 1, &body)
            }
            _ => return Err(Sense::INVALID_FIELD),
        };
        self.reply(data, be16(&cdb[7..]).into())
    }

    pub(super) fn read_sub_channel(&mut self, cdb: &Cdb) -> PacketResult {
        self.ready()?;
        let as_msf = cdb[1] & 2 != 0;
        // Header: audio status 15h, no status to return.
        let mut data = vec![0, 0x15, 0, 0];
        if cdb[2] & 0x40 != 0 {
            match cdb[3] {
                // Current position.
                1 => {
                    data.extend([1, DATA_TRACK, 1, 1]);
                    data.extend(address(0, as_msf));
                    data.extend(address(0, as_msf));
                }
                // Media catalogue number and ISRC: not valid.
                2 | 3 => {
                    data.extend([cdb[3], if cdb[3] == 3 { DATA_TRACK } else { 0 }, u8::from(cdb[3] == 3), 0]);
                    data.extend([0; 16]);
                }
                _ => return Err(Sense::INVALID_FIELD),
            }
            data[3] = data.len() as u8 - 4;
        }
        self.reply(data, be16(&cdb[7..]).into())
    }

    pub(super) fn read_header(&mut self, cdb: &Cdb) -> PacketResult {
        let lba = be32(&cdb[2..]);
        if lba >= self.ready()? {
            return Err(Sense::OUT_OF_RANGE);
        }
        // Mode 1.
        let mut data = vec![1, 0, 0, 0];
        data.extend(address(lba, cdb[1] & 2 != 0));
        self.reply(data, be16(&cdb[7..]).into())
    }
}
