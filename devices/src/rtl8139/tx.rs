//! Sending: the four slots of C mode (RTL8139C(L) data sheet, 5.2 and 9.1), and what a frame goes
//! through on its way out in either mode.
//!
//! A frame is on the wire at once, so early transmit thresholds change nothing and there are no collisions or underruns.

use super::regs::{int, tcr, tsd};
use super::rx::{FCS, MIN_FRAME};
use super::{Rtl8139, filter};
use crate::ctx::Ctx;
use crate::net::{Frame, Offload};

/// The longest frame that a slot may hold (5.2).
const MAX_SLOT: u32 = 1792;
const ETHERNET: usize = 14;

/// How a frame left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// It is on its way.
    Sent,
    /// There was no carrier.
    NoCarrier,
}

impl Rtl8139 {
    /// A write to TSD of slot `n`.
    pub(super) fn write_slot(&mut self, cx: &mut Ctx<'_>, n: usize, value: u32, mask: u32) {
        if let Some(status) = self.regs.tsd.get_mut(n) {
            // Writing the size clears what the last transmission left.
            *status = (*status & !mask | value & mask) & tsd::WRITABLE;
        }
        self.send_slots(cx);
    }

    /// Sends the slots that are filled, in order.
    pub(super) fn send_slots(&mut self, cx: &mut Ctx<'_>) {
        if !self.may_send() {
            return;
        }
        for _ in 0..self.regs.tsd.len() {
            let n = usize::from(self.slot);
            if self.regs.tsd[n] & tsd::OWN != 0 {
                return;
            }
            self.regs.tsd[n] |= self.send_slot(cx, n) | tsd::OWN;
            self.slot = (self.slot + 1) & 3;
        }
    }

    /// Whether the transmitter runs.
    pub(super) fn may_send(&self) -> bool {
        self.regs.transmitting() && self.awake() && self.pci.bus_master()
    }

    /// Gives the status bits.
    fn send_slot(&mut self, cx: &mut Ctx<'_>, n: usize) -> u32 {
        let size = self.regs.tsd[n] & tsd::SIZE;
        if size > MAX_SLOT {
            self.transmit_error();
            self.tally.tx_aborted = self.tally.tx_aborted.wrapping_add(1);
            return tsd::TABT;
        }
        let mut bytes = cx.frame_buffer();
        bytes.resize(size as usize, 0);
        cx.memory().read(self.regs.tsad[n].into(), &mut bytes);
        let left = self.put_on_wire(cx, bytes, Offload::default());
        self.note_sent();
        if left == Left::NoCarrier { tsd::TOK | tsd::CRS } else { tsd::TOK }
    }

    pub(super) fn transmit_error(&mut self) {
        self.regs.isr |= int::TER;
        self.tally.tx_err = self.tally.tx_err.wrapping_add(1);
    }

    /// A frame, or the last piece of one, is done with.
    pub(super) fn note_sent(&mut self) {
        self.regs.isr |= int::TOK;
        self.sent.note();
    }

    /// Sends a frame, or receives it where the chip is told to hear itself. What is no frame on a wire is lost there: no
    /// whole header, or a wrong FCS that the guest has made itself.
    pub(super) fn put_on_wire(&mut self, cx: &mut Ctx<'_>, mut bytes: Vec<u8>, offload: Offload) -> Left {
        let own_fcs = self.regs.tcr & tcr::NO_CRC != 0;
        if self.regs.loopback() {
            if !own_fcs {
                let fcs = filter::fcs(&bytes);
                bytes.extend_from_slice(&fcs);
            }
            self.tally.tx_ok = self.tally.tx_ok.wrapping_add(1);
            self.loop_back(cx, &bytes);
            cx.recycle(bytes);
            return Left::Sent;
        }
        if !self.regs.phy.link() {
            cx.recycle(bytes);
            return Left::NoCarrier;
        }
        self.tally.tx_ok = self.tally.tx_ok.wrapping_add(1);
        if own_fcs {
            let body = bytes.len().saturating_sub(FCS);
            if bytes[body..] != filter::fcs(&bytes[..body]) {
                cx.recycle(bytes);
                return Left::Sent;
            }
            bytes.truncate(body);
        }
        if bytes.len() < ETHERNET {
            cx.recycle(bytes);
            return Left::Sent;
        }
        if bytes.len() < MIN_FRAME {
            bytes.resize(MIN_FRAME, 0);
        }
        cx.send(self.nic, Frame { bytes, offload });
        Left::Sent
    }
}
