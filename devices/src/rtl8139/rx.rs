//! RTL8139 reception: into the receive ring of C mode (RTL8139C(L) data sheet, sections 5.8 and 9.2) or into C+
//! descriptors (`cplus`).
//!
//! Frames are received in batches, and a batch sets ROK once. A frame that finds no room stays pending, with the frames
//! behind it in the host's queue, so that a guest that is late loses nothing. A timer polls for room, because a CAPR
//! write may be in the coalescing ring and descriptors are returned without a register access. If the guest makes no
//! room for [`MAX_POLLS`] polls, the NIC does what the real chip does at once: it drops frames, counts them and sets
//! RXOVW, until there is room or the guest writes CAPR.

use super::filter::{self, AddressMatch};
use super::regs::{int, rcr};
use super::{Rtl8139, TIMER_RX_POLL, offload};
use crate::ctx::Ctx;
use crate::net::Frame;
use crate::time::VmTime;
use serde::{Deserialize, Serialize};

/// Frames taken in one call, at most.
const MAX_FRAMES: u32 = 256;
/// Delay of the first poll for room, in nanoseconds. It doubles with each poll.
const FIRST_POLL: u64 = 500_000;
/// Polls before frames are dropped: about one second, enough for a guest on an overloaded host.
const MAX_POLLS: u8 = 11;
/// Minimum length of a frame without FCS; shorter ones are padded (IEEE 802.3, 4.2.3.3).
pub(super) const MIN_FRAME: usize = 60;
/// Length of the FCS in bytes.
pub(super) const FCS: usize = 4;
/// The longest frame received, with FCS; longer ones would set LONG (5.1).
const MAX_FRAME: usize = 4096;
/// Length of the Ethernet header: destination, source and type.
const HEADER: usize = 14;

/// Bits of the status before each frame in the ring (5.1). Descriptors have the same bits at other places.
pub(super) mod rx_status {
    pub(in super::super) const ROK: u16 = 1 << 0;
    pub(in super::super) const CRC: u16 = 1 << 2;
    pub(in super::super) const RUNT: u16 = 1 << 4;
    pub(in super::super) const BAR: u16 = 1 << 13;
    pub(in super::super) const PAM: u16 = 1 << 14;
    pub(in super::super) const MAR: u16 = 1 << 15;
}

/// State of the receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Receiver {
    /// An accepted frame, with its FCS, that found no room.
    pending: Option<Frame>,
    /// Polls that found no room.
    polls: u8,
    /// When the next poll is due.
    next_poll: Option<VmTime>,
    /// `MAX_POLLS` polls found no room: frames without room are dropped.
    dropping: bool,
    /// ROK was set again for frames that the guest left unread, and the guest has read none since.
    rok_repeated: bool,
    /// Filled descriptors that the guest had not returned when it last unmasked ROK.
    unread: u8,
}

impl Receiver {
    /// Whether the state, from a saved state, is possible.
    pub(super) fn is_valid(&self) -> bool {
        self.polls <= MAX_POLLS
            && self.pending.as_ref().is_none_or(|frame| {
                (HEADER + FCS..=MAX_FRAME).contains(&frame.bytes.len()) && frame.offload.checksum.is_none()
            })
    }

    /// Whether a frame waits for room.
    pub(super) fn has_pending_frame(&self) -> bool {
        self.pending.is_some()
    }

    /// A frame found room: ends the polling.
    fn on_room_found(&mut self) {
        (self.polls, self.next_poll, self.dropping, self.rok_repeated) = (0, None, false, false);
    }
}

impl Rtl8139 {
    /// Whether the NIC receives frames from the host.
    fn rx_enabled(&self) -> bool {
        self.regs.receiver_enabled() && self.regs.phy.link() && !self.regs.loopback() && self.in_d0()
    }

    /// Takes frames from the host while there is room.
    pub(super) fn receive(&mut self, cx: &mut Ctx<'_>) {
        let mut budget = MAX_FRAMES;
        if !self.rx_enabled() {
            self.discard_pending_frame(cx);
        }
        while budget > 0 {
            budget -= 1;
            let pending = self.rx.pending.take();
            let Some(frame) = pending.or_else(|| self.next_accepted(cx, &mut budget)) else { break };
            if self.deliver(cx, &frame.bytes, frame.offload.verified) {
                self.rx.on_room_found();
                cx.recycle(frame.bytes);
            } else if self.rx.dropping {
                self.drop_frame();
                cx.recycle(frame.bytes);
            } else {
                self.rx.pending = Some(frame);
                break;
            }
        }
        if self.rx.has_pending_frame() {
            // Frames that keep arriving do not postpone the poll.
            if self.rx.next_poll.is_none() {
                let at = cx.now().plus_nanos(FIRST_POLL << self.rx.polls.min(MAX_POLLS));
                self.rx.next_poll = Some(at);
                cx.arm(TIMER_RX_POLL, at);
            }
        } else if budget == 0 && cx.has_frame(self.nic) {
            cx.arm(TIMER_RX_POLL, cx.now());
        }
    }

    /// The poll timer.
    pub(super) fn on_rx_poll_timer(&mut self, cx: &mut Ctx<'_>) {
        if self.rx.next_poll.is_some_and(|at| at > cx.now()) {
            // The timer was armed for an earlier poll.
            return self.rearm_rx_poll_timer(cx);
        }
        if self.rx.has_pending_frame() {
            self.rx.next_poll = None;
            self.rx.polls = (self.rx.polls + 1).min(MAX_POLLS);
            self.rx.dropping |= self.rx.polls == MAX_POLLS;
        }
        self.receive(cx);
        self.repeat_rok();
    }

    /// Sets ROK again after a poll without room. The driver may have cleared ROK and stopped before the end of the
    /// ring; on the real chip the next frame would interrupt again, at the latest by RXOVW.
    fn repeat_rok(&mut self) {
        if self.rx.has_pending_frame() {
            self.regs.isr |= int::ROK;
        }
    }

    /// The guest unmasks ROK. If it left frames unread, ROK is set again, once. Pending frames fill the ring at once,
    /// so there may be more frames than a driver's budget, where on a wire the next frame would interrupt in time.
    /// Descriptors count as unread until the guest returns them; ROK is set again whenever their number has decreased.
    /// (FreeBSD's re(4) takes 16 frames and waits for the next interrupt.)
    pub(super) fn on_rok_unmasked(&mut self, cx: &Ctx<'_>) {
        let frames_left = if self.cplus_rx() {
            let unread = self.count_unread_descriptors(cx);
            self.rx.rok_repeated &= unread >= self.rx.unread;
            self.rx.unread = unread;
            unread > 0
        } else {
            !self.regs.rx_ring_empty()
        };
        if (frames_left || self.rx.has_pending_frame()) && !std::mem::replace(&mut self.rx.rok_repeated, true) {
            self.regs.isr |= int::ROK;
        }
    }

    /// The guest wrote CAPR: dropping ends. There may still be too little room for the pending frame, as it takes many
    /// small frames to make room for a large one.
    pub(super) fn on_capr_written(&mut self) {
        (self.rx.polls, self.rx.dropping, self.rx.rok_repeated) = (0, false, false);
    }

    /// Arms the poll timer, also after a restore.
    pub(super) fn rearm_rx_poll_timer(&self, cx: &mut Ctx<'_>) {
        if let Some(at) = self.rx.next_poll {
            cx.arm(TIMER_RX_POLL, at);
        }
    }

    /// Discards the pending frame, when the receiver is reset or disabled.
    pub(super) fn discard_pending_frame(&mut self, cx: &mut Ctx<'_>) {
        if let Some(frame) = self.rx.pending.take() {
            cx.recycle(frame.bytes);
        }
        self.rx.on_room_found();
    }

    /// The next frame that passes the filter, padded and with its FCS.
    fn next_accepted(&mut self, cx: &mut Ctx<'_>, budget: &mut u32) -> Option<Frame> {
        loop {
            let mut frame = cx.take_frame(self.nic)?;
            if self.rx_enabled() && self.passes_filter(&frame.bytes) {
                let filled = match frame.offload.checksum.take() {
                    Some(at) => {
                        // The checksum was never computed, so it counts as correct once filled in.
                        frame.offload.verified = true;
                        offload::fill_checksum(&mut frame.bytes, at)
                    }
                    None => true,
                };
                if filled && frame.bytes.len() <= MAX_FRAME - FCS {
                    if frame.bytes.len() < MIN_FRAME {
                        frame.bytes.resize(MIN_FRAME, 0);
                    }
                    let fcs = filter::fcs(&frame.bytes);
                    frame.bytes.extend_from_slice(&fcs);
                    return Some(frame);
                }
                self.count_rx_error();
            }
            cx.recycle(frame.bytes);
            if *budget == 0 {
                return None;
            }
            *budget -= 1;
        }
    }

    fn passes_filter(&self, bytes: &[u8]) -> bool {
        bytes.len() >= HEADER && filter::accepts(&self.regs, &bytes[..6]).is_some()
    }

    fn count_rx_error(&mut self) {
        self.regs.isr |= int::RER;
        self.tally.rx_er = self.tally.rx_er.wrapping_add(1);
    }

    /// Counts a frame that is dropped for lack of room.
    fn drop_frame(&mut self) {
        self.regs.isr |= int::RXOVW;
        self.regs.mpc = (self.regs.mpc + 1) & 0x00ff_ffff;
        self.tally.miss_pkt = self.tally.miss_pkt.wrapping_add(1);
    }

    /// Receives a frame that this NIC sent in loopback mode (TCR.LBK), with the FCS that it was sent with.
    pub(super) fn receive_loopback(&mut self, cx: &mut Ctx<'_>, bytes: &[u8]) {
        if !self.regs.receiver_enabled() || bytes.len() < HEADER + FCS || !self.passes_filter(bytes) {
            return;
        }
        if bytes.len() > MAX_FRAME {
            return self.count_rx_error();
        }
        if bytes.len() < MIN_FRAME + FCS && self.regs.rcr & rcr::AR == 0 {
            return;
        }
        let (body, fcs) = bytes.split_at(bytes.len() - FCS);
        if fcs != filter::fcs(body) && self.regs.rcr & rcr::AER == 0 {
            return self.count_rx_error();
        }
        if !self.deliver(cx, bytes, false) {
            self.drop_frame();
        }
    }

    /// Stores a frame with its FCS for the guest. Returns false if there is no room.
    fn deliver(&mut self, cx: &mut Ctx<'_>, bytes: &[u8], verified: bool) -> bool {
        if !self.pci.bus_master() {
            return false;
        }
        let (body, fcs) = bytes.split_at(bytes.len() - FCS);
        let matched = filter::accepts(&self.regs, &bytes[..6]);
        let mut status = match matched {
            Some(AddressMatch::Physical) => rx_status::PAM,
            Some(AddressMatch::Multicast) => rx_status::MAR,
            Some(AddressMatch::Broadcast) => rx_status::BAR,
            // The filter was changed while the frame was pending.
            Some(AddressMatch::Other) | None => 0,
        };
        if bytes.len() < MIN_FRAME + FCS {
            status |= rx_status::RUNT;
        }
        // Only a looped-back frame can have a wrong FCS.
        if self.regs.loopback() && fcs != filter::fcs(body) {
            status |= rx_status::CRC;
        } else {
            status |= rx_status::ROK;
        }
        let placed = if self.cplus_rx() {
            self.deliver_to_cplus_ring(cx, bytes, status, verified)
        } else {
            self.deliver_to_c_ring(cx, bytes, status)
        };
        if placed {
            self.count(matched, status);
        }
        placed
    }

    fn count(&mut self, matched: Option<AddressMatch>, status: u16) {
        if status & rx_status::ROK == 0 {
            return self.count_rx_error();
        }
        self.regs.isr |= int::ROK;
        self.tally.rx_ok = self.tally.rx_ok.wrapping_add(1);
        match matched {
            Some(AddressMatch::Physical) => self.tally.rx_ok_phy = self.tally.rx_ok_phy.wrapping_add(1),
            Some(AddressMatch::Broadcast) => self.tally.rx_ok_brd = self.tally.rx_ok_brd.wrapping_add(1),
            Some(AddressMatch::Multicast) => self.tally.rx_ok_mul = self.tally.rx_ok_mul.wrapping_add(1),
            _ => {}
        }
    }

    /// Stores a header of status and length, the frame and its FCS, aligned to four bytes. One byte of the ring stays
    /// unused, because a full ring would look empty.
    fn deliver_to_c_ring(&mut self, cx: &Ctx<'_>, bytes: &[u8], status: u16) -> bool {
        let size = self.regs.rx_ring_size();
        let (read, write) = (self.regs.rx_read_offset(), self.regs.rx_write_offset());
        let need = (4 + bytes.len() as u32).next_multiple_of(4);
        let free = if read == write { size } else { read.wrapping_sub(write) & (size - 1) };
        if need >= free {
            return false;
        }
        let base = u64::from(self.regs.rbstart);
        let [status_low, status_high] = status.to_le_bytes();
        let [length_low, length_high] = (bytes.len() as u16).to_le_bytes();
        let at = base + u64::from(write);
        cx.memory().write(at, &[status_low, status_high, length_low, length_high]);
        // A header never wraps. A frame wraps unless RCR.WRAP is set, which has no effect with a ring of 64 KiB.
        let to_end = (size - write - 4) as usize;
        let straight = self.regs.rcr & rcr::WRAP != 0 && size < 0x1_0000;
        let (first, second) = if straight || bytes.len() <= to_end { (bytes, &[][..]) } else { bytes.split_at(to_end) };
        cx.memory().write(at + 4, first);
        cx.memory().write(base, second);
        self.regs.cbr = ((write + need) & (size - 1)) as u16;
        true
    }
}
