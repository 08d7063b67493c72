//! Stopping, resetting and restarting the processors' threads.
//!
//! A processor's thread looks at one flag before each entry into the guest. When it is set the thread parks until it is
//! told what to do. Only the main loop gives commands; it never holds the board's lock while it waits for threads.

use crate::kvm::kick::Kick;
use crate::kvm::vcpu::FlatEntry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What the processors are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Run,
    Park,
    /// Reset yourselves, then stay parked. Processor 0 may start at a kernel's entry.
    Reset(Option<FlatEntry>),
    Exit,
}

#[derive(Debug)]
struct State {
    command: Command,
    /// Counts commands, so that each is carried out once by each processor.
    number: u64,
    parked: u32,
    /// Processors that have carried out command `number`.
    done: u32,
}

/// Shared between the main loop and the processors' threads.
pub struct VcpuGate {
    processors: u32,
    attention: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
    /// By processor.
    kicks: Mutex<Vec<(u32, Kick)>>,
}

/// What a processor's thread does after it was asked for attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VcpuCommand {
    /// Go on.
    Run,
    /// Reset the processor and ask again.
    Reset(Option<FlatEntry>),
    /// End.
    Exit,
}

impl VcpuGate {
    /// For so many processors, which start parked.
    pub fn new(processors: u32) -> Self {
        Self {
            processors,
            attention: AtomicBool::new(true),
            state: Mutex::new(State { command: Command::Park, number: 0, parked: 0, done: 0 }),
            changed: Condvar::new(),
            kicks: Mutex::new(Vec::new()),
        }
    }

    /// How many processors there are.
    #[inline]
    pub fn processors(&self) -> u32 {
        self.processors
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    // The processors' side.

    /// A processor's thread says how to kick it, before anything else.
    pub fn register(&self, processor: u32, kick: Kick) {
        self.kicks().push((processor, kick));
    }

    /// A processor's thread ends: nobody kicks it any more once this has returned, so its processor may go.
    pub fn unregister(&self, processor: u32) {
        self.kicks().retain(|(other, _)| *other != processor);
    }

    fn kicks(&self) -> MutexGuard<'_, Vec<(u32, Kick)>> {
        self.kicks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether to call [`VcpuGate::attend`] before entering the guest.
    #[inline]
    pub fn wants_attention(&self) -> bool {
        self.attention.load(Ordering::Acquire)
    }

    /// Parks until there is something to do. `seen` is the thread's own, 0 at first.
    pub fn attend(&self, seen: &mut u64) -> VcpuCommand {
        let mut state = self.state();
        state.parked += 1;
        self.changed.notify_all();
        let next = loop {
            match state.command {
                Command::Run => break VcpuCommand::Run,
                Command::Exit => break VcpuCommand::Exit,
                Command::Reset(entry) if state.number != *seen => {
                    *seen = state.number;
                    break VcpuCommand::Reset(entry);
                }
                Command::Reset(_) | Command::Park => state = self.wait(state),
            }
        };
        state.parked -= 1;
        next
    }

    /// A [`VcpuCommand::Reset`] has been carried out.
    pub fn reset_done(&self) {
        self.state().done += 1;
        self.changed.notify_all();
    }

    // The other side.

    /// Asks all processors to park, without waiting: any thread may.
    pub fn stop(&self) {
        let mut state = self.state();
        if state.command == Command::Run {
            state.command = Command::Park;
        }
        drop(state);
        self.attention.store(true, Ordering::SeqCst);
        for (_, kick) in self.kicks().iter() {
            kick.kick();
        }
    }

    /// Parks all processors and waits until they are.
    pub fn park(&self) {
        self.stop();
        let mut state = self.state();
        while state.parked < self.processors {
            state = self.wait(state);
        }
    }

    /// Resets all processors, which are parked, and waits until they have done it and are parked again.
    pub fn reset(&self, entry: Option<FlatEntry>) {
        let mut state = self.state();
        state.command = Command::Reset(entry);
        state.number += 1;
        state.done = 0;
        self.changed.notify_all();
        while state.done < self.processors || state.parked < self.processors {
            state = self.wait(state);
        }
        state.command = Command::Park;
    }

    /// Lets all processors, which are parked, go on.
    pub fn run(&self) {
        self.attention.store(false, Ordering::SeqCst);
        self.state().command = Command::Run;
        self.changed.notify_all();
    }

    /// Ends all threads.
    pub fn exit(&self) {
        self.stop();
        self.state().command = Command::Exit;
        self.changed.notify_all();
    }
}
