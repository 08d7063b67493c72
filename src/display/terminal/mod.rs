//! `--display terminal`: the text screen in the terminal that pcvm was started in, whose keys are the machine's keyboard.
//!
//! - [`keys`]: from what terminals send to keys.
//! - [`compose`]: from the machine's screen to a screen of the terminal's size.
//! - [`canvas`]: from that to bytes, of what has changed.
//! - `messages`: what pcvm has to say meanwhile.
//!
//! A key that a terminal does not tell apart is not there (keys let go, Ctrl with digits, Alt alone): they come by
//! `pcvm key`. There is no mouse. The terminal is given back on every way out, see [`RawMode`].

mod canvas;
mod compose;
mod keys;
mod messages;

use super::{Bell, DisplayError, Feed, Local, Pace, View, Waker};
use crate::tty::RawMode;
use canvas::Painter;
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

/// The key before those that are ours.
const ESCAPE: Typed = Typed::Char(']', Mods { shift: false, alt: false, ctrl: true });
/// What follows an Esc within this time belongs to it.
const SEQUENCE: Duration = Duration::from_millis(50);
/// What a descriptor in blocking mode takes at least once poll says that it is writable.
const BLOCKING_PART: usize = 256;
/// Ctrl-Alt-Delete.
const CTRL_ALT_DELETE: Typed = Typed::Key(0x153, Mods { shift: false, alt: true, ctrl: true });
/// Columns and rows of a terminal that does not say.
const SIZE: (u16, u16) = (80, 25);

/// The terminal can show a screen; it does not yet.
pub struct Prepared {
    name: String,
    shapes: bool,
}

/// The thread that shows the screen; it ends when this is dropped.
pub struct Running {
    quit: Bell,
    thread: Option<JoinHandle<()>>,
}

impl Prepared {
    /// Looks at standard input and output.
    pub fn open(name: &str) -> Result<Self, DisplayError> {
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
        Ok(Self { name: name.to_owned(), shapes: !kind.starts_with("linux") })
    }

    /// Takes the terminal, and shows `machine` there.
    pub fn start(self, machine: impl Local) -> Result<Running, DisplayError> {
        let quit = Bell::new().map_err(DisplayError::Host)?;
        let touched = Bell::new().map_err(DisplayError::Host)?;
        let leave = if self.shapes { canvas::LEAVE } else { canvas::LEAVE_PLAIN };
        let now = Instant::now();
        let mut showing = Showing {
            name: self.name,
            quit: quit.clone(),
            call: touched.call(),
            touched,
            tty: Tty::open().map_err(DisplayError::Terminal)?,
            decoder: Decoder::new(erase()),
            composer: Composer::default(),
            painter: Painter::new(self.shapes),
            feed: Feed::default(),
            pace: Pace::new(now),
            view: None,
            composed: None,
            menu: false,
            stale: true,
            out: canvas::ENTER.to_vec(),
            sequence: None,
            raw: RawMode::enter_screen(leave).map_err(DisplayError::Terminal)?,
            messages: Messages::open().map_err(DisplayError::Terminal)?,
            machine,
        };
        let thread = std::thread::Builder::new().name("display".to_owned()).spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(|| showing.run()));
            showing.messages.read(Instant::now());
            // Nobody could end the machine from here any more.
            if !matches!(result, Ok(Ok(()))) {
                showing.machine.quit();
            }
            if let Err(panic) = result {
                drop(showing);
                resume_unwind(panic);
            }
        });
        Ok(Running { quit, thread: Some(thread.map_err(DisplayError::Host)?) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.quit.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the terminal's Backspace sends.
fn erase() -> u8 {
    rustix::termios::tcgetattr(stdio::stdin())
        .map_or(0x7f, |settings| settings.special_codes[rustix::termios::SpecialCodeIndex::VERASE])
}

/// The terminal to write to, without ever waiting for it.
struct Tty {
    fd: OwnedFd,
    part: usize,
}

impl Tty {
    fn open() -> io::Result<Self> {
        // The open file description is shared with the shell, which would see O_NONBLOCK: open our own.
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match rustix::fs::open("/proc/self/fd/1", flags, Mode::empty()) {
            Ok(fd) => Ok(Self { fd, part: usize::MAX }),
            Err(_) => Ok(Self { fd: stdio::stdout().try_clone_to_owned()?, part: BLOCKING_PART }),
        }
    }

    /// Writes as much as goes.
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Errno> {
        while !out.is_empty() {
            let part = out.get(..self.part.min(out.len())).unwrap_or_default();
            match rustix::io::write(&self.fd, part) {
                Ok(written) => drop(out.drain(..written)),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno),
            }
            if self.part < usize::MAX {
                return Ok(());
            }
        }
        Ok(())
    }

    fn size(&self) -> (u16, u16) {
        match rustix::termios::tcgetwinsize(&self.fd) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.min(1000), size.ws_row.min(500)),
            _ => SIZE,
        }
    }
}

struct Showing<M> {
    name: String,
    quit: Bell,
    /// Something was written to the adapter.
    touched: Bell,
    call: Waker,
    tty: Tty,
    decoder: Decoder,
    composer: Composer,
    painter: Painter,
    feed: Feed,
    pace: Pace,
    /// What the machine's screen showed at the last look.
    view: Option<View>,
    /// The terminal's size and the message when it was last painted.
    composed: Option<((u16, u16), Option<String>)>,
    menu: bool,
    /// Something of ours has changed.
    stale: bool,
    /// What the terminal has not taken yet.
    out: Vec<u8>,
    /// Since when the decoder waits for more.
    sequence: Option<Instant>,
    machine: M,
    // In this order: the terminal is given back, then it is told what was said.
    raw: RawMode,
    messages: Messages,
}

impl<M: Local> Showing<M> {
    /// Until the end, or until the terminal is gone.
    fn run(&mut self) -> Result<(), Errno> {
        loop {
            let now = Instant::now();
            if self.sequence.is_some_and(|since| now >= since + SEQUENCE) {
                self.sequence = None;
                let mut typed = Vec::new();
                self.decoder.timeout(&mut typed);
                self.typed(typed, now);
            }
            if self.out.is_empty() && now >= self.pace.next() {
                self.look(now);
            }
            self.tty.write(&mut self.out)?;
            self.feed.deliver(&self.machine, now);
            if self.wait(now)? {
                return Ok(());
            }
        }
    }

    fn look(&mut self, now: Instant) {
        let size = self.tty.size();
        let call = self.pace.wants_call(now).then_some(&self.call);
        let view = self.machine.view(call);
        let changed = view.is_some();
        if changed {
            self.view = view;
        }
        self.pace.looked(now, changed);
        let message = self.messages.current(now).map(str::to_owned);
        let same = self.composed.as_ref().is_some_and(|(then, told)| (*then, told) == (size, &message));
        if changed || self.stale || !same {
            let status = Status { name: &self.name, menu: self.menu, message: message.as_deref() };
            let canvas = self.composer.compose(self.view.as_ref(), size, &status);
            self.out.extend(self.painter.paint(canvas));
            self.composed = Some((size, message));
            self.stale = false;
        }
    }

    /// Waits until there is something to do, and reads; true at the end.
    fn wait(&mut self, now: Instant) -> Result<bool, Errno> {
        let look = self.out.is_empty().then(|| self.pace.next());
        let sequence = self.sequence.map(|since| since + SEQUENCE);
        let next = [look, sequence, self.feed.next(now)].into_iter().flatten().min();
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
            PollFd::new(&self.touched, PollFlags::IN),
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
            self.touched.silence();
            self.pace.called(now);
        }
        if ready.get(4).is_some_and(|flags| !flags.is_empty()) {
            self.messages.read(now);
            self.pace.typed(now);
        }
        if !ready[1].is_empty() {
            let mut buffer = [0; 512];
            match rustix::io::read(stdin.as_fd(), &mut buffer) {
                Ok(0) => return Err(Errno::PIPE),
                Ok(count) => {
                    let mut typed = Vec::new();
                    self.decoder.feed(buffer.get(..count).unwrap_or_default(), &mut typed);
                    self.sequence = self.decoder.waits().then(Instant::now);
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
            self.pace.typed(now);
            if std::mem::take(&mut self.menu) {
                self.stale = true;
                self.command(typed);
            } else if typed == ESCAPE {
                (self.menu, self.stale) = (true, true);
            } else {
                self.press(typed);
            }
            self.messages.seen();
        }
    }

    fn press(&mut self, typed: Typed) {
        let caps = self.machine.leds() & 4 != 0;
        self.feed.push(keys::strokes(typed, caps));
    }

    /// A key after the escape; any other one closes the menu.
    fn command(&mut self, typed: Typed) {
        let function = |c: char| "1234567890-=".find(c).map(|n| keys::function_key(n as u16 + 1));
        match typed {
            ESCAPE | Typed::Char(']', _) => self.press(ESCAPE),
            Typed::Char('q' | 'Q' | 'x' | 'X', _) => self.machine.quit(),
            Typed::Char('d' | 'D', _) | Typed::Key(0x153, _) => self.press(CTRL_ALT_DELETE),
            Typed::Char('p' | 'P', _) => self.machine.power_button(),
            Typed::Char('r' | 'R', _) => {
                let _ = self.raw.again();
                self.painter.forget();
                self.out.extend_from_slice(canvas::ENTER);
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
