//! Interruption of a network disk's requests: a machine that quits or resets must not wait for a lost server.

use super::link::Socket;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

/// Ends requests of one network disk that wait for its server. Any thread may use it; nothing here blocks.
#[derive(Debug, Default)]
pub struct Interrupt {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stopped: bool,
    /// Incremented by [`Interrupt::cancel`].
    cancelled: u64,
    /// The sockets that a request may wait for.
    sockets: Vec<Weak<Socket>>,
}

/// What an operation remembers to find out whether it was cancelled since it began.
#[derive(Clone, Copy, Debug)]
pub struct Ticket(u64);

impl Interrupt {
    /// Fails all requests now in progress with ECANCELED, also those that wait for a lost server. Later requests connect
    /// again. Writes that the server has acknowledged are kept for it.
    pub fn cancel(&self) {
        let mut state = self.lock();
        state.cancelled += 1;
        self.wake(state);
    }

    /// Fails all requests, now and in the future, with ECANCELED.
    pub fn shut_down(&self) {
        let mut state = self.lock();
        state.stopped = true;
        self.wake(state);
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        for socket in state.sockets.drain(..).filter_map(|socket| socket.upgrade()) {
            socket.shut_down();
        }
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For an operation that begins now.
    pub fn ticket(&self) -> Ticket {
        Ticket(self.lock().cancelled)
    }

    /// Whether an operation was cancelled, or all are.
    pub fn is_over(&self, ticket: Ticket) -> bool {
        let state = self.lock();
        state.stopped || state.cancelled != ticket.0
    }

    /// Whether [`Self::shut_down`] was called.
    pub fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Adds a socket that is shut down when requests are cancelled. False if that has happened already.
    pub fn register(&self, socket: &Arc<Socket>, ticket: Ticket) -> bool {
        let mut state = self.lock();
        if state.stopped || state.cancelled != ticket.0 {
            return false;
        }
        state.sockets.retain(|socket| socket.strong_count() > 0);
        state.sockets.push(Arc::downgrade(socket));
        true
    }

    /// Waits until `until`. False as soon as the operation is cancelled.
    pub fn wait_until(&self, until: Instant, ticket: Ticket) -> bool {
        let mut state = self.lock();
        loop {
            if state.stopped || state.cancelled != ticket.0 {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
