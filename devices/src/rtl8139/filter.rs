//! Which frames are for this card (RTL8139C(L) data sheet, 5.8).

use super::regs::{Registers, rcr};

/// How a destination address matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    Physical,
    Multicast,
    Broadcast,
    /// Somebody else's, taken because everything is.
    Other,
}

/// The FCS of a frame (IEEE 802.3, 3.2.9), in the order of its bytes on the wire.
pub(super) fn fcs(bytes: &[u8]) -> [u8; 4] {
    crc32fast::hash(bytes).to_le_bytes()
}

/// Which of MAR's 64 bits a multicast address hashes to: the upper six bits of its CRC, in the order in which the chip's
/// shift register holds them.
pub(super) fn hash(address: &[u8]) -> usize {
    ((!crc32fast::hash(address)).reverse_bits() >> 26) as usize
}

/// Whether a frame to `address` is accepted.
pub(super) fn accepts(regs: &Registers, address: &[u8]) -> Option<Match> {
    let mode = regs.rcr;
    let (matched, bit) = if address == [0xff; 6] {
        (Match::Broadcast, rcr::AB)
    } else if address.first().is_some_and(|byte| byte & 1 != 0) {
        let at = hash(address);
        let hit = regs.mar[at / 8] >> (at % 8) & 1 != 0;
        (Match::Multicast, if hit { rcr::AM } else { 0 })
    } else if address == regs.idr {
        (Match::Physical, rcr::APM)
    } else {
        (Match::Other, 0)
    };
    (mode & (bit | rcr::AAP) != 0).then_some(matched)
}
