//! Parking, resetting and restarting the vCPU threads.
//!
//! A vCPU thread checks one flag before each entry into the guest. When the flag is set the thread parks until the main
//! loop gives a command. Only the main loop gives commands; it never holds the board's lock while it waits for threads.

use crate::kvm::kick::Kick;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The command that all vCPUs follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Run,
    Park,
    /// Reset, then stay parked.
    Reset,
    Exit,
}

#[derive(Debug)]
struct State {
    command: Command,
    /// Counts commands, so that each vCPU carries out each command once.
    number: u64,
    parked: u32,
    /// vCPUs that have carried out command `number`.
    done: u32,
}

/// Shared between the main loop and the vCPU threads.
pub struct VcpuGate {
    count: u32,
    attention: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
    /// By vCPU.
    kicks: Mutex<Vec<(u32, Kick)>>,
}

/// What a vCPU thread does after [`VcpuGate::attend`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VcpuCommand {
    /// Enter the guest.
    Run,
    /// Reset the vCPU, report [`VcpuGate::reset_done`] and attend again.
    Reset,
    /// End the thread.
    Exit,
}

impl VcpuGate {
    /// For `count` vCPUs, which start parked.
    pub fn new(count: u32) -> Self {
        Self {
            count,
            attention: AtomicBool::new(true),
            state: Mutex::new(State { command: Command::Park, number: 0, parked: 0, done: 0 }),
            changed: Condvar::new(),
            kicks: Mutex::new(Vec::new()),
        }
    }

    /// How many vCPUs there are.
    #[inline]
    pub fn count(&self) -> u32 {
        self.count
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    // For vCPU threads.

    /// Registers how to kick a vCPU out of the guest, before its thread does anything else.
    pub fn register(&self, vcpu: u32, kick: Kick) {
        self.kicks().push((vcpu, kick));
    }

    /// Unregisters a vCPU whose thread ends. No kick reaches it after this has returned, so the vCPU may be freed.
    pub fn unregister(&self, vcpu: u32) {
        self.kicks().retain(|(other, _)| *other != vcpu);
    }

    fn kicks(&self) -> MutexGuard<'_, Vec<(u32, Kick)>> {
        self.kicks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether to call [`VcpuGate::attend`] before entering the guest.
    #[inline]
    pub fn wants_attention(&self) -> bool {
        self.attention.load(Ordering::Acquire)
    }

    /// Parks until there is a command to follow. `seen` belongs to the thread and starts at 0.
    pub fn attend(&self, seen: &mut u64) -> VcpuCommand {
        let mut state = self.state();
        state.parked += 1;
        self.changed.notify_all();
        let next = loop {
            match state.command {
                Command::Run => break VcpuCommand::Run,
                Command::Exit => break VcpuCommand::Exit,
                Command::Reset if state.number != *seen => {
                    *seen = state.number;
                    break VcpuCommand::Reset;
                }
                Command::Reset | Command::Park => state = self.wait(state),
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

    // For the main loop; `stop` for any thread.

    /// Makes all vCPUs park, without waiting for them. Any thread may call it.
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

    /// Parks all vCPUs and waits until they are parked.
    pub fn park(&self) {
        self.stop();
        let mut state = self.state();
        while state.parked < self.count {
            state = self.wait(state);
        }
    }

    /// Resets all vCPUs, which are parked, and waits until they are parked again.
    pub fn reset(&self) {
        let mut state = self.state();
        state.command = Command::Reset;
        state.number += 1;
        state.done = 0;
        self.changed.notify_all();
        while state.done < self.count || state.parked < self.count {
            state = self.wait(state);
        }
        state.command = Command::Park;
    }

    /// Lets all vCPUs, which are parked, enter the guest. The caller makes sure that no thread stops them at the same time.
    pub fn run(&self) {
        self.attention.store(false, Ordering::SeqCst);
        self.state().command = Command::Run;
        self.changed.notify_all();
    }

    /// Ends all vCPU threads.
    pub fn exit(&self) {
        self.stop();
        self.state().command = Command::Exit;
        self.changed.notify_all();
    }
}
