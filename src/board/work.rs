//! Deferred host work: what a device call left to do after the board's lock is released, and machine events.

use crate::screen::Waker;
use pcvm_devices::net::{Frame, NicId};
use pcvm_devices::{BlockError, BlockOp, BlockRequest, CharId, DiskId, ResetKind};
use std::collections::VecDeque;

/// An input source of the machine on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A character device.
    Char(CharId),
    /// A network backend.
    Nic(NicId),
}

/// Back-pressure: whether the main loop may go on reading an input source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Flow {
    /// The device's queue has room.
    Ready,
    /// The queue is full. The main loop stops polling the source until [`HostWork::Ready`] names it.
    Pause,
}

/// One piece of work for the thread that held the board's lock. The thread performs the queue in order, without the lock.
pub enum HostWork {
    /// Start a disk request.
    Block(BlockRequest),
    /// Send a frame through a network backend.
    Frame(NicId, Frame),
    /// Write the bytes that [`super::Board::take_chars`] returns.
    Chars(CharId),
    /// A source that answered [`Flow::Pause`] may be read again.
    Ready(Source),
    /// Wake a display client: something was written to the display adapter.
    Wake(Waker),
    /// Report a machine event to the main loop.
    Event(MachineEvent),
}

/// Deferred work in the order in which it was requested.
pub type HostQueue = VecDeque<HostWork>;

/// A request that the host has failed and that is tried again when the machine is resumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveError {
    /// The drive: "hda".
    pub drive: String,
    /// The operation.
    pub op: BlockOp,
    /// Why.
    pub error: BlockError,
}

/// Something that concerns the machine as a whole. The main loop handles it with all vCPUs parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MachineEvent {
    /// Reset the machine.
    Reset(ResetKind),
    /// The guest switched the machine off.
    PowerOff,
    /// A client, a display or a signal ends the machine.
    Quit,
    /// A client pauses the machine.
    Stop,
    /// A client resumes the machine.
    Continue,
    /// The host has failed a drive's request, and the drive's policy is to pause the machine.
    DriveError(DriveError),
    /// The tray of a drive opened or closed.
    TrayMoved {
        /// The drive.
        disk: DiskId,
        /// Open.
        open: bool,
    },
    /// The machine cannot continue: a report of several lines.
    Failed(String),
}

impl MachineEvent {
    /// Whether the run ends with this event.
    fn ends_the_run(&self) -> bool {
        matches!(self, Self::PowerOff | Self::Quit | Self::Failed(_))
    }
}

/// Machine events that the main loop has not handled yet.
///
/// The rule for which event wins: the first event that ends the run discards all others, earlier and later. A hard reset
/// replaces a pending reset, so that two vCPUs that reset the machine at the same time reset it once. A tray's movement that
/// is pending is not repeated. All other events are handled in order.
#[derive(Debug, Default)]
pub struct PendingEvents(VecDeque<MachineEvent>);

impl PendingEvents {
    /// Adds an event.
    pub fn post(&mut self, event: MachineEvent) {
        if self.0.front().is_some_and(MachineEvent::ends_the_run) {
            return;
        }
        if event.ends_the_run() {
            self.0.clear();
        }
        match event {
            MachineEvent::Reset(ResetKind::Hard) => self.discard_resets(),
            MachineEvent::Reset(ResetKind::Init) if self.0.iter().any(|e| matches!(e, MachineEvent::Reset(_))) => {
                return;
            }
            // A guest can move a tray more often than the main loop looks. Each state is reported at least once.
            MachineEvent::TrayMoved { .. } if self.0.contains(&event) => return,
            _ => {}
        }
        self.0.push_back(event);
    }

    /// Removes pending resets: the machine is being reset.
    pub fn discard_resets(&mut self) {
        self.0.retain(|event| !matches!(event, MachineEvent::Reset(_)));
    }

    /// Whether all events have been handled.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next event.
    pub fn take(&mut self) -> Option<MachineEvent> {
        self.0.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_of(events: &[MachineEvent]) -> Vec<MachineEvent> {
        let mut pending = PendingEvents::default();
        events.iter().for_each(|event| pending.post(event.clone()));
        std::iter::from_fn(|| pending.take()).collect()
    }

    #[test]
    fn the_first_event_that_ends_the_run_wins() {
        use MachineEvent::*;
        let (hard, init) = (Reset(ResetKind::Hard), Reset(ResetKind::Init));
        for (posted, expected) in [
            (vec![], vec![]),
            (vec![Stop, Continue, hard.clone()], vec![Stop, Continue, hard.clone()]),
            (vec![hard.clone(), PowerOff], vec![PowerOff]),
            (vec![PowerOff, hard.clone(), Quit], vec![PowerOff]),
            (vec![Stop, Quit, PowerOff], vec![Quit]),
            (vec![hard.clone(), Failed("x".to_owned()), Continue], vec![Failed("x".to_owned())]),
            (vec![hard.clone(), hard.clone()], vec![hard.clone()]),
            (vec![init.clone(), hard.clone()], vec![hard.clone()]),
            (vec![hard.clone(), init.clone()], vec![hard.clone()]),
            (vec![init.clone(), init.clone()], vec![init]),
            (vec![hard.clone(), Stop, hard.clone()], vec![Stop, hard]),
        ] {
            assert_eq!(left_of(&posted), expected, "{posted:?}");
        }
    }
}
