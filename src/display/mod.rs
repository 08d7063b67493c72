//! The screen, keyboard and mouse on this host: in the terminal (`--display terminal`) or in a window (`--display sdl`,
//! with the cargo feature `sdl`).
//!
//! A display is a thread that looks at the screen up to thirty times a second while it changes and ever less while it does
//! not (see [`Pace`]); where nothing was written nothing is read. It never holds the board's lock while it draws. What a
//! person types goes into a [`Feed`], which gives it to the machine as fast as the guest takes it.

mod bell;
mod feed;
#[cfg(feature = "sdl")]
mod sdl;
mod terminal;

pub use bell::Bell;
pub use feed::Feed;

use crate::config;
use pcvm_devices::InputEvent;
use pcvm_devices::vga::{Bitmap, Canvas, TextScreen};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Whom to call when something was written to the display adapter. It is called by any thread, and must not wait.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// The machine as whoever shows its screen sees it. Nothing here may wait for long.
pub trait Console: Send + 'static {
    /// Looks at the screen: whether it shows anything else than the last time. `call` is called, once, when something is
    /// written to the adapter after this; what a processor writes into memory that does not trap is not seen.
    fn look(&mut self, call: Option<&Waker>) -> bool;
    /// What it shows, and what of that the last look changed.
    fn canvas(&self) -> &Canvas;
    /// The keyboard's LEDs: bit 0 scroll lock, 1 num lock, 2 caps lock.
    fn leds(&self) -> u8;
    /// Whether the machine can be told where the pointer is; else how far it moved.
    fn absolute(&self) -> bool;
    /// Bytes of scan codes that the guest has not taken, of the sixteen that the keyboard has room for.
    fn keys_waiting(&self) -> usize;
    /// A key or the pointer.
    fn input(&self, event: InputEvent);
}

/// What a screen shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// Text.
    Text(TextScreen),
    /// Graphics.
    Picture(Bitmap),
}

/// The machine as somebody who sits before it sees it.
pub trait Local: Console {
    /// Lets the cursor, and what else blinks, be seen or not, as is due at this time of the display's own clock. Gives
    /// whether the picture is another one, and when to come again; never if nothing blinks.
    fn blink(&mut self, time: Duration) -> (bool, Option<Duration>);
    /// As [`Console::look`], text as text; `None` if it shows what it showed the last time.
    fn view(&mut self, call: Option<&Waker>) -> Option<View>;
    /// Presses the power button.
    fn power_button(&self);
    /// Pulls the plug.
    fn quit(&self);
}

/// A display cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DisplayError {
    /// Standard input or output is something else.
    #[error("--display terminal: {0} is not a terminal")]
    NoTerminal(&'static str),
    /// The terminal does not know how to move its cursor.
    #[error("--display terminal: a terminal of type '{0}' cannot show a screen (environment variable TERM)")]
    Dumb(String),
    /// The terminal does not do what it is told.
    #[error("--display terminal: {}", crate::error::host_error(.0))]
    Terminal(std::io::Error),
    /// No window.
    #[error("--display sdl: {0}")]
    Window(String),
    /// No thread or descriptor.
    #[error("--display: {}", crate::error::host_error(.0))]
    Host(std::io::Error),
}

/// Whether this pcvm can open windows.
pub const HAS_SDL: bool = cfg!(feature = "sdl");

/// A display that is there but shows nothing yet.
pub enum Prepared {
    /// The terminal is one.
    Terminal(terminal::Prepared),
    /// The window is open.
    #[cfg(feature = "sdl")]
    Sdl(sdl::Prepared),
}

/// A display that runs; it ends when it is dropped.
pub enum Running {
    /// In the terminal.
    Terminal(terminal::Running),
    /// In a window.
    #[cfg(feature = "sdl")]
    Sdl(sdl::Running),
}

impl Prepared {
    /// Looks whether there is a display of that kind, and opens a window if it is one; `name` is the machine's.
    ///
    /// # Errors
    /// If there is none.
    pub fn open(display: config::Display, name: &str) -> Result<Option<Self>, DisplayError> {
        match display {
            config::Display::None => Ok(None),
            config::Display::Terminal => Ok(Some(Self::Terminal(terminal::Prepared::open(name)?))),
            #[cfg(feature = "sdl")]
            config::Display::Sdl => Ok(Some(Self::Sdl(sdl::Prepared::open(name)?))),
            #[cfg(not(feature = "sdl"))]
            config::Display::Sdl => Err(DisplayError::Window("this pcvm was built without it".to_owned())),
        }
    }

    /// Shows `machine`.
    ///
    /// # Errors
    /// If the terminal cannot be set up, or the host has no more threads.
    pub fn start(self, machine: impl Local) -> Result<Running, DisplayError> {
        match self {
            Self::Terminal(terminal) => terminal.start(machine).map(Running::Terminal),
            #[cfg(feature = "sdl")]
            Self::Sdl(window) => window.start(machine).map(Running::Sdl),
        }
    }
}

/// When to look at the screen next: thirty times a second while it changes, and then after a twentieth of the time for
/// which it has not, so that what comes at last is seen that much late, and at most a second. What the machine can tell
/// ends the wait at once: see [`Console::look`].
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    next: Instant,
    looked: Instant,
    changed: Instant,
    /// The next look is because of a call.
    called: bool,
}

/// Between two looks at the screen while it changes.
const FRAME: Duration = Duration::from_millis(33);
/// Between two looks at the most.
const CALM_FRAME: Duration = Duration::from_secs(1);
/// Between two looks when nothing has changed for so many times as long.
const CALM_PART: u32 = 20;

impl Pace {
    /// Looks at once.
    pub fn new(now: Instant) -> Self {
        Self { next: now, looked: now, changed: now, called: false }
    }

    /// When.
    pub fn next(&self) -> Instant {
        self.next
    }

    fn wait(&self, now: Instant) -> Duration {
        (now.saturating_duration_since(self.changed) / CALM_PART).clamp(FRAME, CALM_FRAME)
    }

    /// Whether the look that is due is to have the machine call. Not after a call: either it was right, and the screen
    /// changes, or the machine writes what is not seen, and would call again and again.
    pub fn wants_call(&self, now: Instant) -> bool {
        !self.called && self.wait(now) > FRAME
    }

    /// The screen is looked at; `changed`: it is not what it was.
    pub fn looked(&mut self, now: Instant, changed: bool) {
        if changed {
            self.changed = now;
        }
        (self.looked, self.called) = (now, false);
        self.next = now + self.wait(now);
    }

    /// The machine called.
    pub fn called(&mut self, now: Instant) {
        self.called = true;
        self.next = self.next.min(now.max(self.looked + FRAME));
    }

    /// Somebody typed, or wants to see the screen as it is now: what comes of it is not to wait.
    pub fn typed(&mut self, now: Instant) {
        self.next = self.next.min(now + FRAME / 2);
        self.changed = now;
    }
}

/// The proportions of a picture on a screen, width to height: the VGA's own modes, up to 400 lines, fill a tube of 4 to 3
/// whatever the number of their pixels.
pub fn proportions((width, height): (u32, u32)) -> (u32, u32) {
    if height <= 400 { (4, 3) } else { (width.max(1), height.max(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks from `now` on at a screen that does not change, until `end`.
    fn looks(pace: &mut Pace, end: Instant) -> u32 {
        let mut looks = 0;
        while pace.next() < end {
            let now = pace.next();
            pace.looked(now, false);
            looks += 1;
        }
        looks
    }

    #[test]
    fn a_screen_that_is_calm_is_looked_at_ever_less() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(start);
        assert_eq!(pace.next(), start);
        pace.looked(start, true);
        assert_eq!(pace.next(), start + FRAME);
        assert!((50..70).contains(&looks(&mut pace, after(4))));
        let waits = [4_u64, 10, 30].map(|seconds| {
            looks(&mut pace, after(seconds));
            pace.looked(after(seconds), false);
            pace.next() - after(seconds)
        });
        assert_eq!(waits.map(|wait| wait.as_millis()), [200, 500, 1000]);
        assert_eq!(looks(&mut pace, after(90)), 59);
        let typed = after(89) + Duration::from_millis(500);
        pace.typed(typed);
        assert_eq!(pace.next(), typed + FRAME / 2);
        pace.looked(typed, false);
        assert_eq!(pace.next(), typed + FRAME);
    }

    #[test]
    fn a_call_ends_the_wait_but_calls_in_vain_do_not_come_faster_than_looks() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut pace = Pace::new(start);
        pace.looked(start, true);
        assert!(!pace.wants_call(after(100)), "the next look is soon enough");
        looks(&mut pace, after(30_000));
        assert!(pace.wants_call(after(30_000)));
        pace.looked(after(30_000), false);
        pace.called(after(30_010));
        assert_eq!(pace.next(), after(30_033));
        assert!(!pace.wants_call(after(30_033)));
        pace.looked(after(30_033), false);
        assert_eq!(pace.next(), after(31_033), "in vain");
        assert!(pace.wants_call(after(31_033)));
        pace.looked(after(31_033), false);
        pace.called(after(31_500));
        assert_eq!(pace.next(), after(31_500));
        pace.looked(after(31_500), true);
        assert_eq!(pace.next(), after(31_533));
    }
}
