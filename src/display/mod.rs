//! Displays on this host: the terminal (`--display terminal`) or an SDL window (`--display sdl`, cargo feature `sdl`).
//!
//! A display is a thread that polls the guest's screen at the times that [`crate::screen::PollPace`] gives, and reads only
//! the video memory that was written. It never holds the board's lock while it draws. Keys and pointer events go through a
//! [`crate::screen::Feed`], which sends them to the guest as fast as its driver reads the keyboard.

#[cfg(feature = "sdl")]
mod sdl;
mod terminal;

use crate::config;
use crate::keys::Keymap;
use crate::screen::LocalScreen;

/// Why a display cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DisplayError {
    /// Standard input or standard output is not a terminal.
    #[error("--display terminal: {0} is not a terminal")]
    NoTerminal(&'static str),
    /// TERM names a terminal without cursor control.
    #[error("--display terminal: a terminal of type '{0}' cannot show a screen (environment variable TERM)")]
    Dumb(String),
    /// Reading or changing the terminal's settings failed.
    #[error("--display terminal: {}", crate::error::host_error(.0))]
    Terminal(std::io::Error),
    /// SDL failed, or this pcvm was built without it.
    #[error("--display sdl: {0}")]
    Window(String),
    /// The host has no free thread or descriptor.
    #[error("--display: {}", crate::error::host_error(.0))]
    Host(std::io::Error),
}

/// Whether this pcvm was built with `--display sdl`.
pub const HAS_SDL: bool = cfg!(feature = "sdl");

/// An open display before the machine runs: it shows nothing.
pub enum Prepared {
    /// Standard input and output are a terminal.
    Terminal(terminal::Prepared),
    /// The window is open and black.
    #[cfg(feature = "sdl")]
    Sdl(sdl::Prepared),
}

/// A running display; dropping it stops its thread and closes it.
pub enum Running {
    /// In the terminal.
    Terminal(terminal::Running),
    /// In a window.
    #[cfg(feature = "sdl")]
    Sdl(sdl::Running),
}

impl Prepared {
    /// Checks that the configured display is usable, and opens the window if it is one. `name` is the machine's name, and
    /// `keymap` the keyboard layout that the guest is set to: `None` is English (US), and keys by their place in a window.
    ///
    /// # Errors
    /// If the terminal or the window system cannot show a screen.
    pub fn open(display: config::Display, name: &str, keymap: Option<Keymap>) -> Result<Option<Self>, DisplayError> {
        match display {
            config::Display::None => Ok(None),
            config::Display::Terminal => {
                Ok(Some(Self::Terminal(terminal::Prepared::open(name, keymap.unwrap_or_default())?)))
            }
            #[cfg(feature = "sdl")]
            config::Display::Sdl => Ok(Some(Self::Sdl(sdl::Prepared::open(name, keymap)?))),
            #[cfg(not(feature = "sdl"))]
            config::Display::Sdl => {
                Err(DisplayError::Window("this pcvm was built without it (cargo build --features sdl)".to_owned()))
            }
        }
    }

    /// Starts to show `screen`.
    ///
    /// # Errors
    /// If the terminal cannot be set up, or the host has no free thread.
    pub fn start(self, screen: impl LocalScreen) -> Result<Running, DisplayError> {
        match self {
            Self::Terminal(terminal) => terminal.start(screen).map(Running::Terminal),
            #[cfg(feature = "sdl")]
            Self::Sdl(window) => window.start(screen).map(Running::Sdl),
        }
    }
}

/// The aspect ratio of a picture on a monitor, width to height: the VGA's own modes, up to 400 lines, fill a 4:3 tube
/// whatever their resolution; higher ones have square pixels.
pub fn aspect_ratio((width, height): (u32, u32)) -> (u32, u32) {
    if height <= 400 { (4, 3) } else { (width.max(1), height.max(1)) }
}
