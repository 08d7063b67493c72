//! The tally counters and their dump (RTL8139C(L)+ data sheet, DTCCR at 10h): 64 bytes written to memory on command.

use serde::{Deserialize, Serialize};

/// Bytes of a dump.
const DUMP: usize = 64;

/// The counters. They count up to their width in the dump and start again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) tx_ok: u64,
    pub(super) rx_ok: u64,
    pub(super) tx_err: u64,
    pub(super) rx_err: u32,
    pub(super) missed: u16,
    pub(super) rx_physical: u64,
    pub(super) rx_broadcast: u64,
    pub(super) rx_multicast: u32,
    pub(super) tx_aborted: u16,
}

impl Tally {
    /// The dump as it is in memory. Alignment errors, collisions and underruns do not happen here.
    pub(super) fn dump(&self) -> [u8; DUMP] {
        let Self { tx_ok, rx_ok, tx_err, rx_err, missed, rx_physical, rx_broadcast, rx_multicast, tx_aborted } = self;
        let mut dump = [0; DUMP];
        let mut put = |at: usize, bytes: &[u8]| dump[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &tx_ok.to_le_bytes());
        put(8, &rx_ok.to_le_bytes());
        put(16, &tx_err.to_le_bytes());
        put(24, &rx_err.to_le_bytes());
        put(28, &missed.to_le_bytes());
        put(40, &rx_physical.to_le_bytes());
        put(48, &rx_broadcast.to_le_bytes());
        put(56, &rx_multicast.to_le_bytes());
        put(60, &tx_aborted.to_le_bytes());
        dump
    }
}
