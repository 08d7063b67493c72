//! RTL8139C+ tally counters and their dump of 64 bytes to memory (RTL8139C(L)+ data sheet, DTCCR at 10h).

use serde::{Deserialize, Serialize};

/// Length of a dump in bytes.
const DUMP: usize = 64;

/// The counters. They wrap at their width in the dump.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) tx_ok: u64,
    pub(super) rx_ok: u64,
    pub(super) tx_er: u64,
    pub(super) rx_er: u32,
    pub(super) miss_pkt: u16,
    pub(super) rx_ok_phy: u64,
    pub(super) rx_ok_brd: u64,
    pub(super) rx_ok_mul: u32,
    pub(super) tx_abt: u16,
}

impl Tally {
    /// The dump. Alignment errors, collisions and underruns do not occur and stay 0.
    pub(super) fn dump(&self) -> [u8; DUMP] {
        let Self { tx_ok, rx_ok, tx_er, rx_er, miss_pkt, rx_ok_phy, rx_ok_brd, rx_ok_mul, tx_abt } = self;
        let mut dump = [0; DUMP];
        let mut put = |at: usize, bytes: &[u8]| dump[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &tx_ok.to_le_bytes());
        put(8, &rx_ok.to_le_bytes());
        put(16, &tx_er.to_le_bytes());
        put(24, &rx_er.to_le_bytes());
        put(28, &miss_pkt.to_le_bytes());
        put(40, &rx_ok_phy.to_le_bytes());
        put(48, &rx_ok_brd.to_le_bytes());
        put(56, &rx_ok_mul.to_le_bytes());
        put(60, &tx_abt.to_le_bytes());
        dump
    }
}
