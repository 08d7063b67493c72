//! The board's outputs, connected to KVM and to a timerfd.

use super::clock::VmClock;
use crate::board::Outputs;
use crate::kvm::KvmError;
use crate::kvm::slots::{SlotSpec, Slots};
use crate::kvm::vm::{CoalescedRanges, Vm};
use pcvm_devices::{Clock, DirtyPages, Space, VmTime};
use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use vmm_sys_util::eventfd::EventFd;

/// KVM's interrupt controllers, memory slots and coalescing, and the timerfd that the main loop polls.
pub struct KvmOutputs {
    vm: Arc<Vm>,
    slots: Slots,
    coalesced: CoalescedRanges,
    timer: Arc<OwnedFd>,
    clock: Arc<VmClock>,
    failure: Arc<OnceLock<KvmError>>,
    /// Wakes the main loop, which checks `failure`.
    event: EventFd,
}

impl KvmOutputs {
    /// Connects the board to `vm` and to the timerfd. `event` wakes the main loop.
    pub fn new(vm: Arc<Vm>, timer: Arc<OwnedFd>, clock: Arc<VmClock>, event: EventFd) -> Self {
        let (slots, coalesced) = (Slots::new(vm.fd().clone()), CoalescedRanges::new(&vm));
        Self { vm, slots, coalesced, timer, clock, failure: Arc::default(), event }
    }

    /// Holds KVM's first error, after it has occurred.
    pub fn failure(&self) -> Arc<OnceLock<KvmError>> {
        self.failure.clone()
    }

    fn check(&self, result: Result<(), KvmError>) {
        if let Err(error) = result {
            // The main loop reports it once; later ones follow from the first.
            if self.failure.set(error).is_ok() {
                let _ = self.event.write(1);
            }
        }
    }
}

impl Outputs for KvmOutputs {
    fn set_gsi(&mut self, gsi: u32, level: bool) {
        let result = self.vm.irq_line(gsi, level);
        self.check(result);
    }

    fn set_alarm(&mut self, at: VmTime) {
        let nanos = at.since(self.clock.now()).as_nanos().clamp(1, i64::MAX as u128) as i64;
        let value = Timespec { tv_sec: nanos / 1_000_000_000, tv_nsec: nanos % 1_000_000_000 };
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        if let Err(error) = timerfd_settime(
            &*self.timer,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: zero, it_value: value },
        ) {
            tracing::error!("cannot set the machine's timer: {error}");
        }
    }

    fn set_memory_map(&mut self, slots: &[SlotSpec]) {
        let result = self.slots.set(slots);
        self.check(result);
    }

    fn collect_dirty_video(&mut self, dirty: &mut DirtyPages) {
        self.slots.collect_dirty_video(dirty);
    }

    fn set_coalesced(&mut self, ranges: &[(Space, u64, u64)]) {
        let result = self.coalesced.set(ranges);
        self.check(result);
    }
}
