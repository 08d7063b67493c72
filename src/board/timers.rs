//! Device timers: one host timer, set to the earliest of them.

use super::Board;
use pcvm_devices::{TimerId, VmTime, Wake};

/// How long writes to an IDE data port may stay in the coalescing ring, in nanoseconds. Nothing else would drain the ring
/// if the guest halts until the interrupt that follows the last word.
const DRAIN_NANOS: u64 = 500_000;
/// Timer wake-ups per call of [`Board::fire_timers`]: a device may re-arm a timer in the past at each wake-up, and must
/// not hold the lock.
pub(super) const MAX_WAKES: usize = 64;

/// The owner of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Device(usize, TimerId),
    /// The board's own: drain the coalescing ring.
    Drain,
}

/// Armed timers.
#[derive(Default)]
pub(super) struct Timers {
    armed: Vec<(VmTime, Owner)>,
    /// When the host timer fires, if it is set.
    alarm: Option<VmTime>,
    /// Devices that wait for coalesced writes, a bit each.
    awaiting: u64,
    /// The drain timer is armed.
    draining: bool,
}

impl Board {
    /// Applies the timer settings that a device requested.
    pub(super) fn set_timers(&mut self, device: usize) {
        for (timer, at) in self.outbox.timers.drain(..) {
            let owner = Owner::Device(device, timer);
            self.timers.armed.retain(|&(_, other)| other != owner);
            if let Some(at) = at {
                self.timers.armed.push((at, owner));
            }
        }
        self.note_next_wake(device);
        self.set_alarm();
    }

    /// Keeps the time of a device's next timer where an access finds it.
    fn note_next_wake(&mut self, device: usize) {
        let of_device = |&&(_, owner): &&(VmTime, Owner)| matches!(owner, Owner::Device(other, _) if other == device);
        let next = self.timers.armed.iter().filter(of_device).map(|timer| timer.0).min();
        if let Some(slot) = self.devices.get_mut(device) {
            slot.next_wake = next;
        }
    }

    /// Wakes a device for its timers that are due, before a vCPU accesses it. The main loop may be late, and the guest
    /// must not find a register as it was before: a keyboard byte that is due is in the output buffer.
    #[cold]
    pub(super) fn fire_due_timers(&mut self, device: usize) {
        let now = self.clock.now();
        for _ in 0..MAX_WAKES {
            let armed = &mut self.timers.armed;
            let of_device = |n: &usize| {
                let (at, owner) = armed[*n];
                at <= now && matches!(owner, Owner::Device(other, _) if other == device)
            };
            let Some(due) = (0..armed.len()).filter(of_device).min_by_key(|&n| armed[n].0) else { break };
            let Owner::Device(_, timer) = armed.swap_remove(due).1 else { break };
            self.note_next_wake(device);
            self.wake(device, Wake::Timer(timer));
        }
    }

    fn set_alarm(&mut self) {
        // An alarm that fires too early finds nothing due, which is cheaper than a system call for each later setting.
        if let Some(next) = self.timers.armed.iter().map(|timer| timer.0).min()
            && self.timers.alarm.is_none_or(|alarm| next < alarm)
        {
            self.timers.alarm = Some(next);
            self.outputs.set_alarm(next);
        }
    }

    /// Wakes the devices whose timers are due. The main loop calls it when the host timer fires.
    pub fn fire_timers(&mut self) {
        self.timers.alarm = None;
        let now = self.clock.now();
        for _ in 0..MAX_WAKES {
            let armed = &mut self.timers.armed;
            let due = (0..armed.len()).filter(|&n| armed[n].0 <= now).min_by_key(|&n| armed[n].0);
            let Some(due) = due else { break };
            match armed.swap_remove(due).1 {
                Owner::Device(device, timer) => {
                    self.note_next_wake(device);
                    self.wake(device, Wake::Timer(timer));
                }
                Owner::Drain => {
                    // The ring was drained when the board was locked.
                    self.timers.draining = false;
                    self.start_draining();
                }
            }
        }
        self.set_alarm();
    }

    /// A device starts or stops waiting for coalesced writes.
    pub(super) fn await_coalesced(&mut self, device: usize, waits: bool) {
        let bit = 1u64 << (device & 63);
        self.timers.awaiting = if waits { self.timers.awaiting | bit } else { self.timers.awaiting & !bit };
        if waits {
            self.start_draining();
        }
    }

    /// Arms the drain timer if a device waits. Once armed it stays until it fires: PIO transfers begin and end too often to
    /// disarm it each time.
    fn start_draining(&mut self) {
        if self.timers.awaiting != 0 && !self.timers.draining {
            self.timers.draining = true;
            self.timers.armed.push((self.clock.now().plus_nanos(DRAIN_NANOS), Owner::Drain));
            self.set_alarm();
        }
    }
}
