//! RTL8139 receive address filter: RCR, IDR and MAR (RTL8139C(L) data sheet, 5.8).

use super::regs::{Registers, rcr};

/// The kind of destination address of an accepted frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressMatch {
    Physical,
    Multicast,
    Broadcast,
    /// Another station's address, accepted in promiscuous mode (RCR.AAP).
    Other,
}

/// The FCS of a frame (IEEE 802.3, 3.2.9), in wire byte order.
pub(super) fn fcs(bytes: &[u8]) -> [u8; 4] {
    crc32fast::hash(bytes).to_le_bytes()
}

/// The bit of MAR that a multicast address selects: the upper six bits of the address's CRC, in the bit order of the
/// chip's shift register.
pub(super) fn mar_hash(address: &[u8]) -> usize {
    ((!crc32fast::hash(address)).reverse_bits() >> 26) as usize
}

/// How a frame to `address` is accepted; `None` if the filter rejects it.
pub(super) fn accepts(regs: &Registers, address: &[u8]) -> Option<AddressMatch> {
    let mode = regs.rcr;
    let (matched, bit) = if address == [0xff; 6] {
        (AddressMatch::Broadcast, rcr::AB)
    } else if address.first().is_some_and(|byte| byte & 1 != 0) {
        let at = mar_hash(address);
        let hit = regs.mar[at / 8] >> (at % 8) & 1 != 0;
        (AddressMatch::Multicast, if hit { rcr::AM } else { 0 })
    } else if address == regs.idr {
        (AddressMatch::Physical, rcr::APM)
    } else {
        (AddressMatch::Other, 0)
    };
    (mode & (bit | rcr::AAP) != 0).then_some(matched)
}
