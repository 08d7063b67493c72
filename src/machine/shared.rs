//! What all threads of a machine share: the board behind its one lock, and what surrounds it.

use super::clock::VmClock;
use super::vcpus::VcpuGate;
use crate::block::BlockEngine;
use crate::board::{Board, MachineEvent, Wires, Work};
use crate::chardev::Chardev;
use crate::kvm::KvmError;
use crate::kvm::ring::CoalescedRing;
use crate::kvm::slots::{SlotSpec, Slots};
use crate::kvm::vm::{Coalesced, Vm};
use crate::net::NetPort;
use pcvm_devices::{CharId, Clock, DirtyPages, Frame, NicId, Space, VmTime};
use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use vmm_sys_util::eventfd::EventFd;

/// The board and the writes that the kernel keeps back for it.
struct Inner {
    board: Board,
    ring: CoalescedRing,
}

impl Inner {
    /// Gives the board the writes that the kernel has kept back, in order.
    #[inline]
    fn drain(&mut self) {
        let Self { board, ring } = self;
        ring.drain(|write| match write.space {
            Space::Io => board.port_out(write.addr as u16, write.len, write.bytes()),
            Space::Mem => board.mem_write(write.addr, write.bytes()),
        });
    }
}

/// The board, locked, with nothing kept back.
pub struct Locked<'a>(MutexGuard<'a, Inner>);

impl std::ops::Deref for Locked<'_> {
    type Target = Board;
    fn deref(&self) -> &Board {
        &self.0.board
    }
}

impl std::ops::DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Board {
        &mut self.0.board
    }
}

/// A machine as its threads see it.
pub struct Shared {
    inner: Mutex<Inner>,
    /// The processors' threads.
    pub vcpus: VcpuGate,
    /// Virtual time.
    pub clock: Arc<VmClock>,
    /// The images.
    pub engine: BlockEngine,
    /// By [`CharId`]. The lock is taken before the board's, so that output keeps its order.
    chardevs: [Option<Mutex<Chardev>>; CharId::COUNT],
    /// The network cards' cables, by [`pcvm_devices::NicId`].
    pub ports: Vec<NetPort>,
    events: Mutex<VecDeque<MachineEvent>>,
    /// Somebody outside has stopped the machine.
    paused: AtomicBool,
    /// Wakes the main loop when there are events.
    pub event_fd: EventFd,
}

impl Shared {
    /// Puts the parts together: among them character devices by [`CharId`] and cables by [`NicId`].
    pub fn new(
        board: Board,
        ring: CoalescedRing,
        vcpus: VcpuGate,
        clock: Arc<VmClock>,
        engine: BlockEngine,
        (chardevs, ports): ([Option<Chardev>; CharId::COUNT], Vec<NetPort>),
        event_fd: EventFd,
    ) -> Self {
        Self {
            inner: Mutex::new(Inner { board, ring }),
            vcpus,
            clock,
            engine,
            chardevs: chardevs.map(|chardev| chardev.map(Mutex::new)),
            ports,
            events: Mutex::new(VecDeque::new()),
            paused: AtomicBool::new(false),
            event_fd,
        }
    }

    /// Locks the board and gives it the writes that the kernel has kept back, in order.
    #[inline]
    pub fn lock(&self) -> Locked<'_> {
        // A panic in a device ends the machine (see `vcpu::spawn`); until then the others may still look.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.drain();
        Locked(inner)
    }

    /// Locks the board for `f`, then does what it left to do.
    #[inline]
    pub fn with_board<R>(&self, f: impl FnOnce(&mut Board) -> R) -> R {
        self.with_locked(self.lock(), f)
    }

    /// The same, on the thread of a processor that is not in the guest.
    #[inline]
    pub fn with_board_at_exit<R>(&self, f: impl FnOnce(&mut Board) -> R) -> R {
        let mut board = self.lock();
        if self.vcpus.processors() == 1 {
            board.0.ring.rewind();
        }
        self.with_locked(board, f)
    }

    #[inline]
    fn with_locked<'a, R>(&'a self, mut board: Locked<'a>, f: impl FnOnce(&mut Board) -> R) -> R {
        // What the kept writes began comes before what follows them: a driver that looks at the status right after
        // the last word of a sector finds the sector written, and need not look again.
        if let Some(work) = board.take_work() {
            drop(board);
            self.perform(work);
            board = self.lock();
        }
        let result = f(&mut board);
        let work = board.take_work();
        drop(board);
        if let Some(work) = work {
            self.perform(work);
        }
        result
    }

    /// Disk requests, output and events, without the board's lock. Requests that end at once may bring more.
    #[cold]
    fn perform(&self, work: Work) {
        let mut next = Some(work);
        while let Some(work) = next.take() {
            if work.chars {
                self.flush_chars(&mut next);
            }
            if !work.frames.is_empty() {
                self.send_frames(work.frames, &mut next);
            }
            if work.room {
                let _ = self.event_fd.write(1);
            }
            work.calls.iter().for_each(|call| call());
            if let Some(event) = work.event {
                self.post(event);
            }
            for request in work.requests {
                if let Some(done) = self.engine.start(request) {
                    let mut board = self.lock();
                    board.block_done(done);
                    Work::merge(&mut next, board.take_work());
                }
            }
        }
    }

    /// Sends what the guest's network cards have sent.
    fn send_frames(&self, frames: Vec<(NicId, Frame)>, next: &mut Option<Work>) {
        for (nic, frame) in &frames {
            if let Some(port) = self.ports.get(usize::from(nic.0)) {
                port.send(frame);
            }
        }
        let mut board = self.lock();
        board.recycle(frames);
        Work::merge(next, board.take_work());
    }

    /// Writes what the guest has sent to its character devices. Locking the board may bring more to do: writes that
    /// the kernel kept back.
    fn flush_chars(&self, next: &mut Option<Work>) {
        let mut take = |n: usize| {
            let mut board = self.lock();
            let bytes = board.take_chars(CharId(n as u8));
            Work::merge(next, board.take_work());
            bytes
        };
        for (n, chardev) in self.chardevs.iter().enumerate() {
            let Some(chardev) = chardev else {
                take(n);
                continue;
            };
            let chardev = chardev.lock().unwrap_or_else(PoisonError::into_inner);
            let bytes = take(n);
            if !bytes.is_empty() {
                chardev.write(&bytes);
            }
        }
    }

    /// A character device.
    pub fn chardev(&self, n: usize) -> Option<MutexGuard<'_, Chardev>> {
        Some(self.chardevs.get(n)?.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells the main loop that something happened to the machine, and stops the processors.
    pub fn post(&self, event: MachineEvent) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
        self.vcpus.stop();
        let _ = self.event_fd.write(1);
    }

    /// Whether somebody outside has stopped the machine.
    pub fn paused(&self) -> bool {
        self.paused.load(Ordering::SeqCst)
    }

    /// The main loop has stopped the machine, or lets it go on.
    pub fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::SeqCst);
    }

    /// Forgets resets that were asked for before one that is carried out now: two processors that reset the machine at
    /// the same time reset it once.
    pub fn forget_resets(&self) {
        self.events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|event| !matches!(event, MachineEvent::Reset(_)));
    }

    /// The oldest event.
    pub fn take_event(&self) -> Option<MachineEvent> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// The board's wires, connected to KVM and to a timerfd.
pub struct KvmWires {
    vm: Arc<Vm>,
    slots: Slots,
    coalesced: Coalesced,
    timer: Arc<OwnedFd>,
    clock: Arc<VmClock>,
    failure: Arc<OnceLock<KvmError>>,
    /// Wakes the main loop, which looks at `failure`.
    event: EventFd,
}

impl KvmWires {
    /// Connects.
    pub fn new(vm: Arc<Vm>, timer: Arc<OwnedFd>, clock: Arc<VmClock>, event: EventFd) -> Self {
        let (slots, coalesced) = (Slots::new(vm.fd().clone()), Coalesced::new(&vm));
        Self { vm, slots, coalesced, timer, clock, failure: Arc::default(), event }
    }

    /// Where the first failure of a wire is found.
    pub fn failure(&self) -> Arc<OnceLock<KvmError>> {
        self.failure.clone()
    }

    fn check(&self, result: Result<(), KvmError>) {
        if let Err(error) = result {
            tracing::error!("{error}");
            let _ = self.failure.set(error);
            let _ = self.event.write(1);
        }
    }
}

impl Wires for KvmWires {
    fn gsi(&mut self, gsi: u32, level: bool) {
        let result = self.vm.irq_line(gsi, level);
        self.check(result);
    }

    fn alarm(&mut self, at: VmTime) {
        let nanos = at.since(self.clock.now()).as_nanos().clamp(1, i64::MAX as u128) as i64;
        let value = Timespec { tv_sec: nanos / 1_000_000_000, tv_nsec: nanos % 1_000_000_000 };
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        if let Err(error) = timerfd_settime(
            &*self.timer,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: zero, it_value: value },
        ) {
            tracing::error!("cannot set the timer: {error}");
        }
    }

    fn memory_map(&mut self, slots: &[SlotSpec]) {
        let result = self.slots.set(slots);
        self.check(result);
    }

    fn video_touched(&mut self, touched: &mut DirtyPages) {
        self.slots.video_touched(touched);
    }

    fn coalesce(&mut self, ranges: &[(Space, u64, u64)]) {
        let result = self.coalesced.set(ranges);
        self.check(result);
    }
}
