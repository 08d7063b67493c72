//! Services: parts of the main loop that drive a machine from outside, such as the control socket.

use crate::board::DriveError;
use event_manager::MutEventSubscriber;

/// A change of the machine as a whole, for services to report to their clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A client paused it.
    Paused,
    /// A drive's error pauses it.
    DriveError(DriveError),
    /// A client resumed it.
    Resumed,
    /// It was reset.
    Reset,
    /// A drive's tray opened or closed.
    TrayMoved {
        /// The drive: "hdc".
        drive: String,
        /// Open.
        open: bool,
    },
    /// It ends.
    Shutdown {
        /// The guest ended it; else a client, a display or a signal.
        guest: bool,
    },
}

/// A subscriber of the main loop's events that also learns what happens to the machine. It must not block.
pub trait Service: MutEventSubscriber + Send {
    /// The main loop has handled all pending machine events; these are the changes since the last call.
    fn changed(&mut self, changes: &[Change]);
    /// The machine ends after this call: send what can be sent without waiting.
    fn finish(&mut self);
}
