//! Types keys at a pace that guests can follow: every chord is held for a while, and no key is sent before the keyboard
//! has room for it.

use crate::machine::Handle;
use pcvm_devices::InputEvent;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Events that wait at most.
const QUEUE: usize = 4096;
/// Scan code bytes that wait in the keyboard, of the sixteen that it has room for, while another key may be sent: no key
/// has more than eight.
const KEYBOARD_LOW: usize = 8;
/// How often a full keyboard is looked at again.
const RETRY: Duration = Duration::from_millis(5);
/// How long a guest may leave the keyboard unread until keys are sent, and lost, regardless.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between a key's release and the next key.
const GAP: Duration = Duration::from_millis(15);

/// There is more to type than anybody would want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Types.
pub struct Typist {
    handle: Handle,
    timer: OwnedFd,
    /// Each with what is waited for after it.
    queue: VecDeque<(InputEvent, Duration)>,
    pushed: u64,
    done: u64,
    waited: Duration,
    armed: bool,
}

impl Typist {
    /// Nothing to type yet.
    ///
    /// # Errors
    /// If the host has no more descriptors.
    pub fn new(handle: Handle) -> std::io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        Ok(Self { handle, timer, queue: VecDeque::new(), pushed: 0, done: 0, waited: Duration::ZERO, armed: false })
    }

    /// What to watch for [`Self::tick`].
    pub fn timer(&self) -> &OwnedFd {
        &self.timer
    }

    /// Presses `keys` in order, holds them, and releases them. Gives the number that [`Self::done`] reaches then.
    ///
    /// # Errors
    /// If too much waits already.
    pub fn chord(&mut self, keys: &[u16], hold: Duration) -> Result<u64, Full> {
        if self.queue.len() + 2 * keys.len() > QUEUE {
            return Err(Full);
        }
        let last = keys.len().saturating_sub(1);
        let down =
            keys.iter().enumerate().map(|(n, &code)| (code, true, if n == last { hold } else { Duration::ZERO }));
        let up =
            keys.iter().enumerate().rev().map(|(n, &code)| (code, false, if n == 0 { GAP } else { Duration::ZERO }));
        self.queue.extend(down.chain(up).map(|(code, down, after)| (InputEvent::Key { code, down }, after)));
        self.pushed += 2 * keys.len() as u64;
        // Else the last chord is still held, or has just been released.
        if !self.armed {
            self.arm(Duration::ZERO);
        }
        Ok(self.pushed)
    }

    /// How many events have been sent.
    pub fn done(&self) -> u64 {
        self.done
    }

    fn arm(&mut self, after: Duration) {
        self.armed = true;
        // Zero would stop the timer.
        let after = after.max(Duration::from_nanos(1));
        let value = Timespec { tv_sec: after.as_secs() as i64, tv_nsec: after.subsec_nanos().into() };
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let set = Itimerspec { it_interval: zero, it_value: value };
        if let Err(error) = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &set) {
            tracing::error!("cannot set the timer: {error}");
        }
    }

    /// The timer went off.
    pub fn tick(&mut self) {
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
        self.armed = false;
        while let Some(&(event, after)) = self.queue.front() {
            if self.handle.keys_waiting() > KEYBOARD_LOW && self.waited < PATIENCE {
                self.waited += RETRY;
                return self.arm(RETRY);
            }
            // A guest that has not read for long is not waited for again until it reads.
            if self.handle.keys_waiting() <= KEYBOARD_LOW {
                self.waited = Duration::ZERO;
            }
            self.handle.input(event);
            self.queue.pop_front();
            self.done += 1;
            if !after.is_zero() {
                return self.arm(after);
            }
        }
    }
}
