//! Frames between the network cards and the host.

use super::Board;
use pcvm_devices::Wake;
use pcvm_devices::net::{Frame, NicId};

/// Frames that wait for a card before its cable is not read any more, and from which on it is again.
const HIGH: usize = 256;
const LOW: usize = 64;

/// What the board remembers about the cards.
#[derive(Default)]
pub(super) struct Network {
    /// By card, a bit each: its cable is out.
    down: u8,
    /// Its cable is not read.
    held: u8,
}

impl Network {
    #[inline]
    pub(super) fn holds_back(&self) -> bool {
        self.held != 0
    }
}

fn bit(nic: NicId) -> u8 {
    1u8.checked_shl(nic.0.into()).unwrap_or(0)
}

impl Board {
    /// What a device wants to send becomes work.
    pub(super) fn collect_frames(&mut self) {
        for (nic, frame) in self.outbox.frames.drain(..) {
            if self.network.down & bit(nic) != 0 {
                continue;
            }
            self.work.frames.push((nic, frame));
            self.has_work = true;
        }
    }

    /// Frames that came in for a card. False: enough is waiting, and its cable is not to be read until a [`super::Work::room`].
    pub fn receive(&mut self, nic: NicId, frames: &mut Vec<Frame>) -> bool {
        let device = self.roles.nics.get(usize::from(nic.0)).copied().flatten();
        let (Some(device), false) = (device, self.network.down & bit(nic) != 0) else {
            frames.clear();
            return true;
        };
        let Some(waiting) = self.outbox.frame_input.get_mut(usize::from(nic.0)) else { return true };
        waiting.extend(frames.drain(..));
        self.call(device, |device, cx| device.wake(cx, Wake::Frames(nic)));
        let full = self.waiting(nic) >= HIGH;
        if full {
            self.network.held |= bit(nic);
        }
        !full
    }

    fn waiting(&self, nic: NicId) -> usize {
        self.outbox.frame_input.get(usize::from(nic.0)).map_or(0, |waiting| waiting.len())
    }

    /// Whether a card's cable is to be read.
    pub fn has_room(&self, nic: NicId) -> bool {
        self.network.held & bit(nic) == 0
    }

    #[cold]
    pub(super) fn look_for_room(&mut self) {
        for nic in (0..NicId::COUNT as u8).map(NicId) {
            if self.network.held & bit(nic) != 0 && self.waiting(nic) <= LOW {
                self.network.held &= !bit(nic);
                self.work.room = true;
                self.has_work = true;
            }
        }
    }

    /// Buffers for frames, used before, until `to` has `count`.
    pub fn frame_buffers(&mut self, to: &mut Vec<Vec<u8>>, count: usize) {
        let wanted = count.saturating_sub(to.len()).min(self.outbox.frame_pool.len());
        to.extend(self.outbox.frame_pool.drain(..wanted));
    }

    /// Gives sent frames back, for their buffers and their list.
    pub fn recycle(&mut self, mut frames: Vec<(NicId, Frame)>) {
        /// Enough for the next batch of small frames, and of large ones no memory to speak of.
        const POOL: usize = 64;
        for (_, Frame { bytes: mut buffer, .. }) in frames.drain(..) {
            if self.outbox.frame_pool.len() < POOL {
                buffer.clear();
                self.outbox.frame_pool.push(buffer);
            }
        }
        if self.work.frames.capacity() == 0 && frames.capacity() <= POOL {
            self.work.frames = frames;
        }
    }

    /// A card's cable is plugged in, or pulled out. False if there is no such card.
    pub fn set_link(&mut self, nic: NicId, up: bool) -> bool {
        let Some(device) = self.roles.nics.get(usize::from(nic.0)).copied().flatten() else { return false };
        if up {
            self.network.down &= !bit(nic);
        } else {
            self.network.down |= bit(nic);
            if let Some(waiting) = self.outbox.frame_input.get_mut(usize::from(nic.0)) {
                waiting.clear();
            }
        }
        self.call(device, |device, cx| device.wake(cx, Wake::Link(nic, up)));
        true
    }
}
