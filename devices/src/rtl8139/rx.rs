//! Receiving: into the ring (RTL8139C(L) data sheet, sections 5.8 and 9.2), or into descriptors (`cplus`).
//!
//! Frames come in batches, and a batch sets ROK once. A frame for which there is no room waits for a while, and the
//! others behind it in the host's queue: a guest that is a little late loses nothing. CAPR may lie in the coalescing ring
//! and a descriptor is given back without the chip being told, so a timer looks again. If the guest makes no room for
//! [`PATIENCE`] looks, the chip does what the real one does at once: frames are lost, counted and reported, until there
//! is room again, or the guest reads on.

use super::filter::{self, Match};
use super::regs::{int, rcr};
use super::{Rtl8139, TIMER_RX, offload};
use crate::ctx::Ctx;
use crate::net::Frame;
use crate::time::VmTime;
use serde::{Deserialize, Serialize};

/// Frames taken in one call; the rest follow in the next.
const BATCH: u32 = 256;
/// The first look for room after so many nanoseconds, then after twice as many each time.
const FIRST_LOOK: u64 = 500_000;
/// Looks before frames are lost: about a second, in which even a host that has little time for the guest gives it some.
const PATIENCE: u8 = 11;
/// A frame of less is padded on its way, without FCS (IEEE 802.3, 4.2.3.3).
pub(super) const MIN_FRAME: usize = 60;
/// Length of the FCS.
pub(super) const FCS: usize = 4;
/// The longest frame that is received, with FCS: more sets LONG (5.1).
const MAX_FRAME: usize = 4096;
/// Destination, source and type.
const HEADER: usize = 14;

/// The status before each frame in the ring (5.1); the descriptors' has the same meanings elsewhere.
pub(super) mod status {
    pub(in super::super) const ROK: u16 = 1 << 0;
    pub(in super::super) const CRC: u16 = 1 << 2;
    pub(in super::super) const RUNT: u16 = 1 << 4;
    pub(in super::super) const BAR: u16 = 1 << 13;
    pub(in super::super) const PAM: u16 = 1 << 14;
    pub(in super::super) const MAR: u16 = 1 << 15;
}

/// What waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Receiver {
    /// Accepted, with its FCS, and no room for it.
    held: Option<Frame>,
    /// How often there was no room when the timer looked.
    looks: u8,
    /// When it looks again.
    next_look: Option<VmTime>,
    /// Patience is over: what there is no room for is lost.
    lossy: bool,
    /// The guest was reminded of what it has left in the ring, and has not gone on since.
    reminded: bool,
    /// Filled descriptors that it had not given back when it last let receive interrupts through.
    unread: u8,
}

impl Receiver {
    /// Whether a saved state is one that there can be.
    pub(super) fn is_possible(&self) -> bool {
        self.looks <= PATIENCE
            && self.held.as_ref().is_none_or(|frame| {
                (HEADER + FCS..=MAX_FRAME).contains(&frame.bytes.len()) && frame.offload.checksum.is_none()
            })
    }

    /// Whether a frame waits for room.
    pub(super) fn waits(&self) -> bool {
        self.held.is_some()
    }

    /// There was room.
    fn start_over(&mut self) {
        (self.looks, self.next_look, self.lossy, self.reminded) = (0, None, false, false);
    }
}

impl Rtl8139 {
    /// Whether anything comes in from the cable.
    fn hears(&self) -> bool {
        self.regs.receiving() && self.regs.phy.link() && !self.regs.loopback() && self.awake()
    }

    /// Takes what came in, as far as there is room.
    pub(super) fn receive(&mut self, cx: &mut Ctx<'_>) {
        let mut left = BATCH;
        if !self.hears() {
            self.flush_receiver(cx);
        }
        while left > 0 {
            left -= 1;
            let waiting = self.rx.held.take();
            let Some(frame) = waiting.or_else(|| self.next_accepted(cx, &mut left)) else { break };
            if self.deliver(cx, &frame.bytes, frame.offload.verified) {
                self.rx.start_over();
                cx.recycle(frame.bytes);
            } else if self.rx.lossy {
                self.lose();
                cx.recycle(frame.bytes);
            } else {
                self.rx.held = Some(frame);
                break;
            }
        }
        if self.rx.waits() {
            // Frames that keep coming do not put off the look.
            if self.rx.next_look.is_none() {
                let at = cx.now().plus_nanos(FIRST_LOOK << self.rx.looks.min(PATIENCE));
                self.rx.next_look = Some(at);
                cx.arm(TIMER_RX, at);
            }
        } else if left == 0 && cx.has_frame(self.nic) {
            cx.arm(TIMER_RX, cx.now());
        }
    }

    /// The timer looks for room.
    pub(super) fn look_for_room(&mut self, cx: &mut Ctx<'_>) {
        if self.rx.next_look.is_some_and(|at| at > cx.now()) {
            // An earlier timer.
            return self.look_again(cx);
        }
        if self.rx.waits() {
            self.rx.next_look = None;
            self.rx.looks = (self.rx.looks + 1).min(PATIENCE);
            self.rx.lossy |= self.rx.looks == PATIENCE;
        }
        self.receive(cx);
        self.remind();
    }

    /// The timer has found no room: ROK is set again. A driver may have cleared it and stopped short of the ring's end, and
    /// the real chip would tell it of the next frame at the latest, if only by RXOVW.
    fn remind(&mut self) {
        if self.rx.waits() {
            self.regs.isr |= int::ROK;
        }
    }

    /// The guest lets receive interrupts through again. If it has left frames behind, ROK is set again, once: as room is
    /// filled at once from what waits, there may be more than a driver's budget in one go, where on a wire the next frame
    /// would come in time to tell it. Descriptors are left behind if they are not given back; each time that there are
    /// fewer of them the guest has gone on. (FreeBSD's re(4) takes 16 frames and waits for the next interrupt.)
    pub(super) fn unmasked(&mut self, cx: &Ctx<'_>) {
        let left = if self.receives_descriptors() {
            let unread = self.unread_descriptors(cx);
            self.rx.reminded &= unread >= self.rx.unread;
            self.rx.unread = unread;
            unread > 0
        } else {
            !self.regs.ring_empty()
        };
        if (left || self.rx.waits()) && !std::mem::replace(&mut self.rx.reminded, true) {
            self.regs.isr |= int::ROK;
        }
    }

    /// The guest has read on, which may not be enough for the frame that waits: many small ones make room for a large one.
    pub(super) fn read_on(&mut self) {
        (self.rx.looks, self.rx.lossy, self.rx.reminded) = (0, false, false);
    }

    /// The timer, of a restored machine too.
    pub(super) fn look_again(&self, cx: &mut Ctx<'_>) {
        if let Some(at) = self.rx.next_look {
            cx.arm(TIMER_RX, at);
        }
    }

    /// Forgets what waits, at a reset of the chip.
    pub(super) fn flush_receiver(&mut self, cx: &mut Ctx<'_>) {
        if let Some(frame) = self.rx.held.take() {
            cx.recycle(frame.bytes);
        }
        self.rx.start_over();
    }

    /// The next frame that the filter lets through, as it is on the wire: padded, and with its FCS.
    fn next_accepted(&mut self, cx: &mut Ctx<'_>, left: &mut u32) -> Option<Frame> {
        loop {
            let mut frame = cx.take_frame(self.nic)?;
            if self.hears() && self.wants(&frame.bytes) {
                let filled = match frame.offload.checksum.take() {
                    Some(at) => {
                        // It is right then, as far as anybody can know.
                        frame.offload.verified = true;
                        offload::fill(&mut frame.bytes, at)
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
                self.receive_error();
            }
            cx.recycle(frame.bytes);
            if *left == 0 {
                return None;
            }
            *left -= 1;
        }
    }

    fn wants(&self, bytes: &[u8]) -> bool {
        bytes.len() >= HEADER && filter::accepts(&self.regs, &bytes[..6]).is_some()
    }

    fn receive_error(&mut self) {
        self.regs.isr |= int::RER;
        self.tally.rx_err = self.tally.rx_err.wrapping_add(1);
    }

    /// A frame is lost because there is no room for it.
    fn lose(&mut self) {
        self.regs.isr |= int::RXOVW;
        self.regs.missed = (self.regs.missed + 1) & 0x00ff_ffff;
        self.tally.missed = self.tally.missed.wrapping_add(1);
    }

    /// A frame that this card sent comes back to it (TCR.LBK), with the FCS that it was sent with.
    pub(super) fn loop_back(&mut self, cx: &mut Ctx<'_>, bytes: &[u8]) {
        if !self.regs.receiving() || bytes.len() < HEADER + FCS || !self.wants(bytes) {
            return;
        }
        if bytes.len() > MAX_FRAME {
            return self.receive_error();
        }
        if bytes.len() < MIN_FRAME + FCS && self.regs.rcr & rcr::AR == 0 {
            return;
        }
        let (body, fcs) = bytes.split_at(bytes.len() - FCS);
        if fcs != filter::fcs(body) && self.regs.rcr & rcr::AER == 0 {
            return self.receive_error();
        }
        if !self.deliver(cx, bytes, false) {
            self.lose();
        }
    }

    /// Puts a frame with its FCS where the guest reads it. False if there is no room.
    fn deliver(&mut self, cx: &Ctx<'_>, bytes: &[u8], verified: bool) -> bool {
        if !self.pci.bus_master() {
            return false;
        }
        let (body, fcs) = bytes.split_at(bytes.len() - FCS);
        let matched = filter::accepts(&self.regs, &bytes[..6]);
        let mut status = match matched {
            Some(Match::Physical) => status::PAM,
            Some(Match::Multicast) => status::MAR,
            Some(Match::Broadcast) => status::BAR,
            // A filter that was changed while the frame waited has let it through before.
            Some(Match::Other) | None => 0,
        };
        if bytes.len() < MIN_FRAME + FCS {
            status |= status::RUNT;
        }
        // Only what was looped back can be wrong.
        if self.regs.loopback() && fcs != filter::fcs(body) {
            status |= status::CRC;
        } else {
            status |= status::ROK;
        }
        let placed = if self.receives_descriptors() {
            self.deliver_to_descriptors(cx, bytes, status, verified)
        } else {
            self.deliver_to_ring(cx, bytes, status)
        };
        if placed {
            self.count(matched, status);
        }
        placed
    }

    fn count(&mut self, matched: Option<Match>, status: u16) {
        if status & status::ROK == 0 {
            return self.receive_error();
        }
        self.regs.isr |= int::ROK;
        self.tally.rx_ok = self.tally.rx_ok.wrapping_add(1);
        match matched {
            Some(Match::Physical) => self.tally.rx_physical = self.tally.rx_physical.wrapping_add(1),
            Some(Match::Broadcast) => self.tally.rx_broadcast = self.tally.rx_broadcast.wrapping_add(1),
            Some(Match::Multicast) => self.tally.rx_multicast = self.tally.rx_multicast.wrapping_add(1),
            _ => {}
        }
    }

    /// A header of status and length, the frame, its FCS; the next one begins at a multiple of four. The ring is never
    /// filled to the last byte: it would look empty.
    fn deliver_to_ring(&mut self, cx: &Ctx<'_>, bytes: &[u8], status: u16) -> bool {
        let size = self.regs.ring_size();
        let (read, write) = (self.regs.ring_read(), self.regs.ring_write());
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
        // A header never wraps; a frame does, unless the guest has room behind the ring for it (RCR.WRAP, which means
        // nothing to a ring of 64 KiB).
        let to_end = (size - write - 4) as usize;
        let straight = self.regs.rcr & rcr::WRAP != 0 && size < 0x1_0000;
        let (first, second) = if straight || bytes.len() <= to_end { (bytes, &[][..]) } else { bytes.split_at(to_end) };
        cx.memory().write(at + 4, first);
        cx.memory().write(base, second);
        self.regs.cbr = ((write + need) & (size - 1)) as u16;
        true
    }
}
