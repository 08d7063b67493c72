//! The main loop's part in the network: frames that come in.

use super::shared::Shared;
use crate::net::{BATCH, Received, Scratch, segment_received};
use event_manager::{EventOps, EventSet, Events};
use pcvm_devices::net::{Frame, NicId};
use std::os::fd::AsRawFd;

/// What is kept between batches.
#[derive(Default)]
pub(super) struct Net {
    scratch: Scratch,
    spare: Vec<Vec<u8>>,
    frames: Vec<Frame>,
    /// Cards whose cables are not read, and as which event they are.
    held: Vec<(NicId, u32)>,
}

impl Net {
    /// Reads a batch of frames and hands it to the card at once.
    pub(super) fn receive(&mut self, shared: &Shared, n: usize, events: &Events, ops: &mut EventOps<'_>) {
        let Some(port) = shared.ports.get(n) else { return };
        let nic = NicId(n as u8);
        let mut gone = false;
        while self.frames.len() < BATCH {
            let mut buffer = self.spare.pop().unwrap_or_default();
            match port.receive(&mut self.scratch, &mut buffer) {
                Received::Frame(frame) => segment_received(frame, &mut self.spare, &mut self.frames),
                Received::Nothing => break,
                Received::Disconnected => {
                    gone = true;
                    break;
                }
            }
        }
        let room = shared.with_board(|board| {
            let room = board.receive(nic, &mut self.frames);
            board.frame_buffers(&mut self.spare, BATCH);
            if gone {
                board.set_link(nic, false);
            }
            room
        });
        if gone || !room {
            let _ = ops.remove(Events::empty_raw(events.fd()));
        }
        if !gone && !room {
            self.held.push((nic, events.data()));
            // It may have made room meanwhile, and nobody would say so again.
            self.look_again(shared, ops);
        }
    }

    /// Cards that take frames again are read again.
    pub(super) fn look_again(&mut self, shared: &Shared, ops: &mut EventOps<'_>) {
        if self.held.is_empty() {
            return;
        }
        self.held.retain(|&(nic, data)| {
            let Some(port) = shared.ports.get(usize::from(nic.0)) else { return false };
            let room = shared.with_board(|board| board.has_room(nic));
            if room {
                let _ = ops.add(Events::with_data_raw(port.rx_fd().as_raw_fd(), data, EventSet::IN));
            }
            !room
        });
    }
}
