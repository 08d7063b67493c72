//! RTL8139 transmission: the four slots of C mode (RTL8139C(L) data sheet, 5.2 and 9.1), and the path to the host for
//! both modes.
//!
//! A frame is sent at once, so early transmit thresholds have no effect and collisions and underruns do not occur.

use super::regs::{int, tcr, tsd};
use super::rx::{FCS, MIN_FRAME};
use super::{Rtl8139, filter};
use crate::ctx::Ctx;
use crate::net::{Frame, Offload};

/// The longest frame in a slot (5.2).
const MAX_SLOT: u32 = 1792;
const ETHERNET_HEADER: usize = 14;

/// The result of a transmission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TxOutcome {
    /// Handed to the host, or looped back.
    Sent,
    /// The link is down.
    NoCarrier,
}

impl Rtl8139 {
    /// A write to TSD of slot `n`, which sends the slot if OWN is clear.
    pub(super) fn write_tsd(&mut self, cx: &mut Ctx<'_>, n: usize, value: u32, mask: u32) {
        if let Some(status) = self.regs.tsd.get_mut(n) {
            // A write clears the status bits of the last transmission.
            *status = (*status & !mask | value & mask) & tsd::WRITABLE;
        }
        self.send_tx_slots(cx);
    }

    /// Sends the slots that the guest has given to the chip, in order.
    pub(super) fn send_tx_slots(&mut self, cx: &mut Ctx<'_>) {
        if !self.tx_enabled() {
            return;
        }
        for _ in 0..self.regs.tsd.len() {
            let n = usize::from(self.tx_slot);
            if self.regs.tsd[n] & tsd::OWN != 0 {
                return;
            }
            self.regs.tsd[n] |= self.send_tx_slot(cx, n) | tsd::OWN;
            self.tx_slot = (self.tx_slot + 1) & 3;
        }
    }

    /// Whether the transmitter is enabled and can read memory.
    pub(super) fn tx_enabled(&self) -> bool {
        self.regs.transmitter_enabled() && self.in_d0() && self.pci.bus_master()
    }

    /// Sends slot `n`. Returns the status bits for its TSD.
    fn send_tx_slot(&mut self, cx: &mut Ctx<'_>, n: usize) -> u32 {
        let size = self.regs.tsd[n] & tsd::SIZE;
        if size > MAX_SLOT {
            cx.guest_error("TSD.SIZE above 1792 bytes");
            self.count_tx_error();
            self.tally.tx_abt = self.tally.tx_abt.wrapping_add(1);
            return tsd::TABT;
        }
        let mut bytes = cx.frame_buffer();
        bytes.resize(size as usize, 0);
        cx.memory().read(self.regs.tsad[n].into(), &mut bytes);
        let outcome = self.transmit(cx, bytes, Offload::default());
        self.note_tx_done();
        if outcome == TxOutcome::NoCarrier { tsd::TOK | tsd::CRS } else { tsd::TOK }
    }

    pub(super) fn count_tx_error(&mut self) {
        self.regs.isr |= int::TER;
        self.tally.tx_er = self.tally.tx_er.wrapping_add(1);
    }

    /// A frame is sent: sets TOK.
    pub(super) fn note_tx_done(&mut self) {
        self.regs.isr |= int::TOK;
        self.tx_moderation.frame_sent();
    }

    /// Sends a frame to the host, or to the receiver in loopback mode. Frames that no station would accept are dropped:
    /// those shorter than an Ethernet header, and those with a wrong FCS that the guest appended itself.
    pub(super) fn transmit(&mut self, cx: &mut Ctx<'_>, mut bytes: Vec<u8>, offload: Offload) -> TxOutcome {
        let guest_fcs = self.regs.tcr & tcr::NO_CRC != 0;
        if self.regs.loopback() {
            if !guest_fcs {
                let fcs = filter::fcs(&bytes);
                bytes.extend_from_slice(&fcs);
            }
            self.tally.tx_ok = self.tally.tx_ok.wrapping_add(1);
            self.receive_loopback(cx, &bytes);
            cx.recycle(bytes);
            return TxOutcome::Sent;
        }
        if !self.regs.phy.link() {
            cx.recycle(bytes);
            return TxOutcome::NoCarrier;
        }
        self.tally.tx_ok = self.tally.tx_ok.wrapping_add(1);
        if guest_fcs {
            let body = bytes.len().saturating_sub(FCS);
            if bytes[body..] != filter::fcs(&bytes[..body]) {
                cx.recycle(bytes);
                return TxOutcome::Sent;
            }
            bytes.truncate(body);
        }
        if bytes.len() < ETHERNET_HEADER {
            cx.guest_error("transmit frame shorter than an Ethernet header");
            cx.recycle(bytes);
            return TxOutcome::Sent;
        }
        if bytes.len() < MIN_FRAME {
            bytes.resize(MIN_FRAME, 0);
        }
        cx.send(self.nic, Frame { bytes, offload });
        TxOutcome::Sent
    }
}
