//! The guest's screen, keyboard and pointer, as the VNC server and the local displays use them.
//!
//! A viewer thread polls a [`GuestScreen`] at the times that a [`PollPace`] gives: 30 times a second while the screen
//! changes, less often while it is idle. The machine calls a [`Waker`] when it sees a write to the display adapter.

mod feed;
mod poll_pace;
mod wake_fd;

pub use feed::Feed;
pub use poll_pace::PollPace;
pub use wake_fd::WakeFd;

use pcvm_devices::InputEvent;
use pcvm_devices::vga::{Bitmap, Canvas, TextScreen};
use std::sync::Arc;
use std::time::Duration;

/// Callback for a write to the display adapter. Any thread may call it, so it must not block.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// The guest's screen, keyboard and pointer. No method may block for long.
pub trait GuestScreen: Send + 'static {
    /// Updates the canvas; true if it differs from the last poll. `waker` is called once at the first write to the adapter
    /// after this that exits to pcvm; a vCPU's stores to video memory that is a KVM memory slot do not exit.
    fn poll(&mut self, waker: Option<&Waker>) -> bool;
    /// The screen's pixels, and the lines that the last poll changed.
    fn canvas(&self) -> &Canvas;
    /// The keyboard's LEDs: bit 0 Scroll Lock, bit 1 Num Lock, bit 2 Caps Lock.
    fn leds(&self) -> u8;
    /// Whether the guest reads a tablet, which takes absolute positions; a mouse takes movements.
    fn absolute(&self) -> bool;
    /// Scan code bytes in the keyboard's 16-byte buffer that the guest has not read.
    fn keys_waiting(&self) -> usize;
    /// Sends a key or pointer event to the guest.
    fn input(&self, event: InputEvent);
}

/// The screen's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// A text mode's characters and attributes.
    Text(TextScreen),
    /// A graphics mode's pixels.
    Picture(Bitmap),
}

/// The guest's screen for a display on this host, which also has the front panel's switches and shows blinking.
pub trait LocalScreen: GuestScreen {
    /// Draws the cursor and other blinking parts in their phase at `time` of the display's own clock. Gives whether the
    /// canvas changed, and the time of the next phase; `None` if nothing on the screen blinks.
    fn blink(&mut self, time: Duration) -> (bool, Option<Duration>);
    /// As [`GuestScreen::poll`], but gives a text mode as text; `None` if the screen has not changed since the last poll.
    fn poll_view(&mut self, waker: Option<&Waker>) -> Option<View>;
    /// Presses the power button.
    fn power_button(&self);
    /// Ends the machine at once, as if its power failed.
    fn quit(&self);
}
