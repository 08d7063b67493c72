//! Input from the host: character devices and network backends that the main loop polls, with back-pressure.
//!
//! When a device's queue is full the main loop stops polling its source. The board reports [`HostWork::Ready`] when the
//! queue has room again, which wakes the main loop to poll the source again: no timer is involved.
//!
//! [`HostWork::Ready`]: crate::board::HostWork::Ready

use super::shared::Shared;
use crate::board::{Flow, MachineEvent, Source};
use crate::net::{BATCH, Received, Scratch, segment_received};
use event_manager::{EventOps, EventSet, Events};
use pcvm_devices::CharId;
use pcvm_devices::net::{Frame, NicId};
use std::os::fd::{AsRawFd, RawFd};

/// Event ids: a base plus the number of the character stream or network card.
const CHAR: u32 = 0x100;
const NIC: u32 = 0x200;
/// The network backend can write the rest of a frame that it took in part.
const NIC_TX: u32 = 0x300;

/// The main loop's state of all sources.
#[derive(Default)]
pub(super) struct InputSources {
    scratch: Scratch,
    spare: Vec<Vec<u8>>,
    frames: Vec<Frame>,
    /// Sources that are not polled until their devices are ready.
    paused: Vec<Source>,
}

/// The event id of a source.
fn event_id(source: Source) -> u32 {
    match source {
        Source::Char(stream) => CHAR + u32::from(stream.0),
        Source::Nic(nic) => NIC + u32::from(nic.0),
    }
}

fn add(fd: RawFd, event_id: u32, ops: &mut EventOps<'_>) {
    if let Err(error) = ops.add(Events::with_data_raw(fd, event_id, EventSet::IN)) {
        tracing::warn!("descriptor {fd} cannot be polled: {error}");
    }
}

fn descriptor(shared: &Shared, source: Source) -> Option<RawFd> {
    match source {
        Source::Char(stream) => shared.chardev(stream)?.input_fd().map(|fd| fd.as_raw_fd()),
        Source::Nic(nic) => Some(shared.ports.get(usize::from(nic.0))?.rx_fd().as_raw_fd()),
    }
}

fn poll(shared: &Shared, source: Source, ops: &mut EventOps<'_>) {
    if let Some(fd) = descriptor(shared, source) {
        add(fd, event_id(source), ops);
    }
}

impl InputSources {
    /// Polls every source.
    pub(super) fn init(&self, shared: &Shared, ops: &mut EventOps<'_>) {
        let chars = shared.streams().map(Source::Char);
        let nics = (0..shared.ports.len()).map(|n| Source::Nic(NicId(n as u8)));
        chars.chain(nics).for_each(|source| poll(shared, source, ops));
        for (port, n) in shared.ports.iter().zip(0..) {
            if let Some(fd) = port.tx_fd() {
                add(fd.as_raw_fd(), NIC_TX + n, ops);
            }
        }
    }

    /// Handles an event of a source.
    pub(super) fn process(&mut self, shared: &Shared, event_id: u32, events: &Events, ops: &mut EventOps<'_>) {
        match event_id {
            CHAR..NIC => self.read(shared, Source::Char(CharId((event_id - CHAR) as u8)), events, ops),
            NIC..NIC_TX => self.read(shared, Source::Nic(NicId((event_id - NIC) as u8)), events, ops),
            NIC_TX.. => {
                if let Some(port) = shared.ports.get((event_id - NIC_TX) as usize) {
                    port.flush_tx();
                }
            }
            _ => {}
        }
    }

    /// Reads a source that has input.
    fn read(&mut self, shared: &Shared, source: Source, events: &Events, ops: &mut EventOps<'_>) {
        let (flow, closed) = match source {
            Source::Char(stream) => read_chars(shared, stream),
            Source::Nic(nic) => self.read_frames(shared, nic),
        };
        if closed || flow == Flow::Pause {
            let _ = ops.remove(Events::empty_raw(events.fd()));
        }
        if flow == Flow::Pause && !closed {
            self.paused.push(source);
            // The device may have made room before the source was on the list.
            self.resume(shared, ops);
        }
    }

    /// Polls the paused sources whose devices have room again.
    pub(super) fn resume(&mut self, shared: &Shared, ops: &mut EventOps<'_>) {
        self.paused.retain(|&source| {
            let ready = shared.with_board(|board| board.is_ready(source));
            if ready {
                poll(shared, source, ops);
            }
            !ready
        });
    }

    /// Reads a batch of frames and delivers it under one lock, so that the card can raise one interrupt for the batch.
    fn read_frames(&mut self, shared: &Shared, nic: NicId) -> (Flow, bool) {
        let Some(port) = shared.ports.get(usize::from(nic.0)) else { return (Flow::Ready, true) };
        let mut closed = false;
        while self.frames.len() < BATCH {
            let mut buffer = self.spare.pop().unwrap_or_default();
            match port.receive(&mut self.scratch, &mut buffer) {
                Received::Frame(frame) => segment_received(frame, &mut self.spare, &mut self.frames),
                Received::Nothing => break,
                Received::Disconnected => {
                    closed = true;
                    break;
                }
            }
        }
        let flow = shared.with_board(|board| {
            let flow = board.receive(nic, &mut self.frames);
            board.frame_buffers(&mut self.spare, BATCH);
            if closed {
                board.set_link(nic, false);
            }
            flow
        });
        (flow, closed)
    }
}

/// Reads a character device. A terminal is always read, because its escape keys must work while the guest does not read:
/// bytes without room are dropped there.
fn read_chars(shared: &Shared, stream: CharId) -> (Flow, bool) {
    let Some((input, terminal)) = shared.chardev(stream).map(|dev| (dev.read_input(), dev.is_terminal())) else {
        return (Flow::Ready, true);
    };
    if input.quit {
        shared.post(MachineEvent::Quit);
    }
    if input.bytes.is_empty() {
        return (Flow::Ready, input.closed);
    }
    let flow = shared.with_board(|board| {
        let room = if terminal { board.char_room(stream) } else { usize::MAX };
        board.char_input(stream, input.bytes.get(..room).unwrap_or(&input.bytes))
    });
    (if terminal { Flow::Ready } else { flow }, input.closed)
}
