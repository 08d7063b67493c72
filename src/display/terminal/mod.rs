//! Terminal display (`--display terminal`): the guest's screen as characters, the terminal's keys as the guest's keyboard.
//!
//! - [`keys`]: parses the terminal's escape sequences into keys.
//! - [`compose`]: lays the guest's screen out in cells for the terminal's size.
//! - [`cells`]: encodes the cells that changed as escape sequences.
//! - `messages`: shows what pcvm writes to standard error.
//!
//! Deliberately missing: the mouse, and what terminals do not report (key releases, Ctrl with digits, Alt alone); `pcvm
//! key` sends such keys. The terminal's settings are restored however pcvm ends, see [`RawMode`].

mod cells;
mod compose;
mod keys;
mod messages;

use super::DisplayError;
use crate::keys::Keymap;
use crate::screen::Feed;
use crate::screen::{LocalScreen, PollPace, View, WakeFd, Waker};
use crate::tty::RawMode;
use cells::Painter;
use compose::{Composer, Status};
use keys::{Decoder, Mods, Typed};
use messages::Messages;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::stdio;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Ctrl-]: the key after it is a command to pcvm.
const ESCAPE: Typed = Typed::Char(']', Mods { shift: false, alt: false, ctrl: true });
/// Bytes that follow an Esc byte within this time are part of its escape sequence.
const SEQUENCE_TIMEOUT: Duration = Duration::from_millis(50);
/// Bytes that a write to a descriptor in blocking mode can take without blocking after poll(2) reports POLLOUT.
const BLOCKING_PART: usize = 256;
/// Ctrl-Alt-Delete.
const CTRL_ALT_DELETE: Typed = Typed::Key(0x153, Mods { shift: false, alt: true, ctrl: true });
/// Columns and rows assumed for a terminal that reports no size.
const DEFAULT_SIZE: (u16, u16) = (80, 25);

/// A terminal that can show a screen, before the machine runs.
pub struct Prepared {
    name: String,
    keymap: Keymap,
    /// The terminal supports DECSCUSR.
    cursor_shapes: bool,
}

/// The display's thread; dropping this ends it and restores the terminal.
pub struct Running {
    quit: WakeFd,
    thread: Option<JoinHandle<()>>,
}

impl Prepared {
    /// Checks that standard input and output are a terminal with cursor control.
    pub fn open(name: &str, keymap: Keymap) -> Result<Self, DisplayError> {
        for (is, what) in [
            (rustix::termios::isatty(stdio::stdin()), "standard input"),
            (rustix::termios::isatty(stdio::stdout()), "standard output"),
        ] {
            if !is {
                return Err(DisplayError::NoTerminal(what));
            }
        }
        let kind = std::env::var("TERM").unwrap_or_default();
        if matches!(kind.as_str(), "" | "dumb" | "unknown") {
            return Err(DisplayError::Dumb(kind));
        }
        Ok(Self { name: name.to_owned(), keymap, cursor_shapes: !kind.starts_with("linux") })
    }

    /// Puts the terminal into raw mode and starts to show `screen`.
    pub fn start(self, screen: impl LocalScreen) -> Result<Running, DisplayError> {
        let quit = WakeFd::new().map_err(DisplayError::Host)?;
        let adapter_written = WakeFd::new().map_err(DisplayError::Host)?;
        let leave = if self.cursor_shapes { cells::LEAVE } else { cells::LEAVE_PLAIN };
        let now = Instant::now();
        let mut display = TerminalLoop {
            name: self.name,
            keymap: self.keymap,
            quit: quit.clone(),
            waker: adapter_written.waker(),
            adapter_written,
            tty: Tty::open().map_err(DisplayError::Terminal)?,
            decoder: Decoder::new(erase()),
            composer: Composer::default(),
            painter: Painter::new(self.cursor_shapes),
            feed: Feed::default(),
            pace: PollPace::new(now),
            view: None,
            painted: None,
            menu_open: false,
            redraw: true,
            out: cells::ENTER.to_vec(),
            sequence_since: None,
            raw: RawMode::enter_screen(leave).map_err(DisplayError::Terminal)?,
            messages: Messages::open().map_err(DisplayError::Terminal)?,
            screen,
        };
        let thread = std::thread::Builder::new().name("display".to_owned()).spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(|| display.run()));
            display.messages.read(Instant::now());
            // Without its terminal the user could no longer end the machine.
            if !matches!(result, Ok(Ok(()))) {
                display.screen.quit();
            }
            if let Err(panic) = result {
                drop(display);
                resume_unwind(panic);
            }
        });
        Ok(Running { quit, thread: Some(thread.map_err(DisplayError::Host)?) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.quit.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The byte that the terminal's Backspace key sends (VERASE).
fn erase() -> u8 {
    rustix::termios::tcgetattr(stdio::stdin())
        .map_or(0x7f, |settings| settings.special_codes[rustix::termios::SpecialCodeIndex::VERASE])
}

/// The terminal's output side; writes never block.
struct Tty {
    fd: OwnedFd,
    /// Most bytes of one write.
    write_max: usize,
}

impl Tty {
    fn open() -> io::Result<Self> {
        // Standard output's file description is shared with the shell, which would see O_NONBLOCK: open another one.
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match rustix::fs::open("/proc/self/fd/1", flags, Mode::empty()) {
            Ok(fd) => Ok(Self { fd, write_max: usize::MAX }),
            Err(_) => Ok(Self { fd: stdio::stdout().try_clone_to_owned()?, write_max: BLOCKING_PART }),
        }
    }

    /// Writes what the terminal takes without blocking, and removes it from `out`.
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Errno> {
        while !out.is_empty() {
            let part = out.get(..self.write_max.min(out.len())).unwrap_or_default();
            match rustix::io::write(&self.fd, part) {
                Ok(written) => drop(out.drain(..written)),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno),
            }
            if self.write_max < usize::MAX {
                return Ok(());
            }
        }
        Ok(())
    }

    fn size(&self) -> (u16, u16) {
        match rustix::termios::tcgetwinsize(&self.fd) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.min(1000), size.ws_row.min(500)),
            _ => DEFAULT_SIZE,
        }
    }
}

struct TerminalLoop<S> {
    /// The machine's name.
    name: String,
    /// The keyboard layout that the guest is set to.
    keymap: Keymap,
    quit: WakeFd,
    /// Woken by the guest's writes to the display adapter.
    adapter_written: WakeFd,
    waker: Waker,
    tty: Tty,
    decoder: Decoder,
    composer: Composer,
    painter: Painter,
    feed: Feed,
    pace: PollPace,
    /// The guest's screen at the last poll.
    view: Option<View>,
    /// The terminal's size and the message at the last paint.
    painted: Option<((u16, u16), Option<String>)>,
    menu_open: bool,
    /// The menu opened or closed since the last paint.
    redraw: bool,
    /// Bytes that the terminal has not taken yet.
    out: Vec<u8>,
    /// When the decoder's unfinished escape sequence arrived.
    sequence_since: Option<Instant>,
    screen: S,
    // Dropped in this order: the terminal is restored before the messages are printed on it.
    raw: RawMode,
    messages: Messages,
}

impl<S: LocalScreen> TerminalLoop<S> {
    /// Runs until `quit` is woken; fails if the terminal is gone.
    fn run(&mut self) -> Result<(), Errno> {
        loop {
            let now = Instant::now();
            if self.sequence_since.is_some_and(|since| now >= since + SEQUENCE_TIMEOUT) {
                self.sequence_since = None;
                let mut typed = Vec::new();
                self.decoder.timeout(&mut typed);
                self.typed(typed, now);
            }
            if self.out.is_empty() && now >= self.pace.next_poll() {
                self.poll_screen(now);
            }
            self.tty.write(&mut self.out)?;
            self.feed.deliver(&self.screen, now);
            if self.wait(now)? {
                return Ok(());
            }
        }
    }

    fn poll_screen(&mut self, now: Instant) {
        let size = self.tty.size();
        let waker = self.pace.wants_waker(now).then_some(&self.waker);
        let view = self.screen.poll_view(waker);
        let changed = view.is_some();
        if changed {
            self.view = view;
        }
        self.pace.polled(now, changed);
        let message = self.messages.current(now).map(str::to_owned);
        let same = self.painted.as_ref().is_some_and(|(old_size, old)| (*old_size, old) == (size, &message));
        if changed || self.redraw || !same {
            let status = Status { name: &self.name, menu_open: self.menu_open, message: message.as_deref() };
            let grid = self.composer.compose(self.view.as_ref(), size, &status);
            self.out.extend(self.painter.paint(grid));
            self.painted = Some((size, message));
            self.redraw = false;
        }
    }

    /// Waits for an event or the next deadline and reads input; true if the thread must end.
    fn wait(&mut self, now: Instant) -> Result<bool, Errno> {
        let poll_at = self.out.is_empty().then(|| self.pace.next_poll());
        let sequence = self.sequence_since.map(|since| since + SEQUENCE_TIMEOUT);
        let next = [poll_at, sequence, self.feed.next(now)].into_iter().flatten().min();
        let timeout = next.map(|next| {
            let left = next.saturating_duration_since(now);
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }
        });
        let stdin = stdio::stdin();
        let when = |flags: PollFlags, wanted: bool| if wanted { flags } else { PollFlags::empty() };
        let mut fds = [
            PollFd::new(&self.quit, PollFlags::IN),
            PollFd::new(&stdin, when(PollFlags::IN, self.feed.has_room())),
            PollFd::new(&self.tty.fd, when(PollFlags::OUT, !self.out.is_empty())),
            PollFd::new(&self.adapter_written, PollFlags::IN),
        ]
        .into_iter()
        .chain(self.messages.fd().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)))
        .collect::<Vec<_>>();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(false),
            Err(errno) => return Err(errno),
        }
        let ready: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        if !ready[0].is_empty() {
            return Ok(true);
        }
        if !ready[3].is_empty() {
            self.adapter_written.clear();
            self.pace.woken(now);
        }
        if ready.get(4).is_some_and(|flags| !flags.is_empty()) {
            self.messages.read(now);
            self.pace.expedite(now);
        }
        if !ready[1].is_empty() {
            let mut buffer = [0; 512];
            match rustix::io::read(stdin.as_fd(), &mut buffer) {
                Ok(0) => return Err(Errno::PIPE),
                Ok(count) => {
                    let mut typed = Vec::new();
                    self.decoder.feed(buffer.get(..count).unwrap_or_default(), &mut typed);
                    self.sequence_since = self.decoder.has_pending().then(Instant::now);
                    self.typed(typed, now);
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(false)
    }

    fn typed(&mut self, typed: Vec<Typed>, now: Instant) {
        for typed in typed {
            self.pace.expedite(now);
            if std::mem::take(&mut self.menu_open) {
                self.redraw = true;
                self.command(typed);
            } else if typed == ESCAPE {
                (self.menu_open, self.redraw) = (true, true);
            } else {
                self.press(typed);
            }
            self.messages.dismiss();
        }
    }

    fn press(&mut self, typed: Typed) {
        let locks = self.feed.locks(&self.screen);
        self.feed.push(keys::strokes(typed, self.keymap, locks));
    }

    /// Runs the menu command of the key after [`ESCAPE`]; other keys only close the menu.
    fn command(&mut self, typed: Typed) {
        let function = |c: char| "1234567890-=".find(c).map(|n| keys::function_key(n as u16 + 1));
        match typed {
            ESCAPE | Typed::Char(']', _) => self.press(ESCAPE),
            Typed::Char('q' | 'Q' | 'x' | 'X', _) => self.screen.quit(),
            Typed::Char('d' | 'D', _) | Typed::Key(0x153, _) => self.press(CTRL_ALT_DELETE),
            Typed::Char('p' | 'P', _) => self.screen.power_button(),
            Typed::Char('r' | 'R', _) => {
                let _ = self.raw.enter_again();
                self.painter.forget();
                self.out.extend_from_slice(cells::ENTER);
            }
            Typed::Char(c, mods) => {
                if let Some(code) = function(c) {
                    self.press(Typed::Key(code, mods));
                }
            }
            Typed::Key(..) => {}
        }
    }
}
