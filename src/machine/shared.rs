//! State that all threads of a machine share: the board behind its one lock, and the host side around it.

use super::clock::VmClock;
use super::exits::ExitCounters;
use super::media::Drives;
use super::vcpus::VcpuGate;
use crate::block::{BlockEngine, Patience};
use crate::board::work::PendingEvents;
use crate::board::{Board, HostQueue, HostWork, MachineEvent};
use crate::chardev::Chardev;
use crate::kvm::ring::CoalescedRing;
use crate::net::NetPort;
use pcvm_devices::{CharId, Space};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vmm_sys_util::eventfd::EventFd;

/// The board, and the ring in which the kernel coalesces writes to it.
struct Inner {
    board: Board,
    ring: CoalescedRing,
}

impl Inner {
    /// Passes the coalesced writes to the board, in order.
    #[inline]
    fn drain(&mut self) {
        let Self { board, ring } = self;
        ring.drain(|write| match write.space {
            Space::Io => board.port_out(write.addr as u16, write.len, write.bytes()),
            Space::Mem => board.mem_write(write.addr, write.bytes()),
        });
    }
}

/// The board, locked, with the coalescing ring drained.
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

/// Buffers of [`Shared::perform`] that keep their allocations between calls, one set for each thread.
#[derive(Default)]
struct Scratch {
    queue: HostQueue,
    sent: Vec<Vec<u8>>,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// A machine as its threads see it.
pub struct Shared {
    inner: Mutex<Inner>,
    /// Parks, resets and restarts the vCPU threads.
    pub vcpus: VcpuGate,
    /// By vCPU: exits by reason.
    pub exits: Vec<ExitCounters>,
    /// Virtual time.
    pub clock: Arc<VmClock>,
    /// The disk images.
    pub engine: BlockEngine,
    /// The drives and what is in them.
    pub drives: Drives,
    /// By [`CharId`]. This lock is taken before the board's, so that output keeps its order.
    chardevs: Vec<Option<Mutex<Chardev>>>,
    /// The network backends, by [`pcvm_devices::NicId`].
    pub ports: Vec<NetPort>,
    events: Mutex<PendingEvents>,
    paused: AtomicBool,
    /// The machine is paused because of a drive's error.
    drive_error: AtomicBool,
    /// Wakes the main loop: events, sources that are ready again.
    pub event_fd: EventFd,
}

/// What [`Shared::new`] puts together.
pub struct SharedParts {
    /// The board.
    pub board: Board,
    /// The coalescing ring.
    pub ring: CoalescedRing,
    /// vCPUs.
    pub vcpus: u32,
    /// Virtual time.
    pub clock: Arc<VmClock>,
    /// The disk images.
    pub engine: BlockEngine,
    /// The drives and what is in them.
    pub drives: Drives,
    /// By [`CharId`].
    pub chardevs: Vec<Option<Chardev>>,
    /// By [`pcvm_devices::NicId`].
    pub ports: Vec<NetPort>,
    /// Wakes the main loop.
    pub event_fd: EventFd,
}

impl Shared {
    /// Puts the parts together. The vCPUs start parked.
    pub fn new(parts: SharedParts) -> Self {
        let SharedParts { board, ring, vcpus, clock, engine, drives, chardevs, ports, event_fd } = parts;
        Self {
            inner: Mutex::new(Inner { board, ring }),
            vcpus: VcpuGate::new(vcpus),
            exits: (0..vcpus).map(|_| ExitCounters::default()).collect(),
            clock,
            engine,
            drives,
            chardevs: chardevs.into_iter().map(|chardev| chardev.map(Mutex::new)).collect(),
            ports,
            events: Mutex::default(),
            paused: AtomicBool::new(false),
            drive_error: AtomicBool::new(false),
            event_fd,
        }
    }

    /// Locks the board and drains the coalescing ring.
    #[inline]
    pub fn lock(&self) -> Locked<'_> {
        // A panic in a device ends the machine (see `vcpu::spawn`); until then other threads may still read the board.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        // Which vCPU made a coalesced write is not known.
        inner.board.set_vcpu(None);
        inner.drain();
        Locked(inner)
    }

    /// Locks the board for `f`, then performs the work that was deferred.
    #[inline]
    pub fn with_board<R>(&self, f: impl FnOnce(&mut Board) -> R) -> R {
        self.with_locked(self.lock(), Patience::None, f)
    }

    /// The same on a vCPU's thread, outside the guest.
    #[inline]
    pub fn with_board_at_exit<R>(&self, vcpu: u32, f: impl FnOnce(&mut Board) -> R) -> R {
        let mut board = self.lock();
        if self.vcpus.count() == 1 {
            board.0.ring.rewind();
        }
        board.set_vcpu(Some(vcpu));
        self.with_locked(board, Patience::Briefly, f)
    }

    #[inline]
    fn with_locked<'a, R>(&'a self, mut board: Locked<'a>, patience: Patience, f: impl FnOnce(&mut Board) -> R) -> R {
        // Work of coalesced writes comes before the access that follows them: a driver that reads the status right after
        // the last word of a sector finds the sector written and need not poll again.
        if board.has_work() {
            self.perform(board, patience);
            board = self.lock();
        }
        let result = f(&mut board);
        if board.has_work() {
            self.perform(board, patience);
        }
        result
    }

    /// Releases the board's lock and performs the deferred work in order. Requests that complete at once may defer more.
    #[cold]
    fn perform(&self, mut board: Locked<'_>, patience: Patience) {
        let Scratch { mut queue, mut sent } = SCRATCH.take();
        board.take_work(&mut queue);
        drop(board);
        while let Some(work) = queue.pop_front() {
            match work {
                HostWork::Block(request) => {
                    if let Some(done) = self.engine.start(request, patience) {
                        let mut board = self.lock();
                        board.block_done(done);
                        board.take_work(&mut queue);
                    }
                }
                HostWork::Frame(nic, frame) => {
                    if let Some(port) = self.ports.get(usize::from(nic.0)) {
                        port.send(&frame);
                    }
                    sent.push(frame.bytes);
                    if !matches!(queue.front(), Some(HostWork::Frame(..))) {
                        let mut board = self.lock();
                        board.recycle(&mut sent);
                        board.take_work(&mut queue);
                    }
                }
                HostWork::Chars(stream) => self.write_chars(stream, &mut queue),
                HostWork::Ready(_) => {
                    let _ = self.event_fd.write(1);
                }
                HostWork::Wake(waker) => waker(),
                HostWork::Event(event) => self.post(event),
            }
        }
        SCRATCH.set(Scratch { queue, sent });
    }

    /// Writes what the guest has sent on a character stream. Locking the board drains the coalescing ring, which may defer
    /// more work.
    fn write_chars(&self, stream: CharId, queue: &mut HostQueue) {
        let chardev = self.chardev(stream);
        let mut board = self.lock();
        let bytes = board.take_chars(stream);
        board.take_work(queue);
        drop(board);
        if let Some(chardev) = chardev
            && !bytes.is_empty()
        {
            chardev.write(&bytes);
        }
    }

    /// A character device, locked.
    pub fn chardev(&self, stream: CharId) -> Option<MutexGuard<'_, Chardev>> {
        let chardev = self.chardevs.get(usize::from(stream.0))?.as_ref()?;
        Some(chardev.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The character streams that have a host side.
    pub fn streams(&self) -> impl Iterator<Item = CharId> {
        self.chardevs.iter().zip(0..).filter_map(|(chardev, n)| chardev.as_ref().map(|_| CharId(n)))
    }

    /// Reports an event to the main loop and stops the vCPUs.
    pub fn post(&self, event: MachineEvent) {
        let mut pending = self.pending();
        pending.post(event);
        // Under the lock: the main loop would otherwise handle the event and run the vCPUs before they are stopped, and
        // they would stay stopped.
        self.vcpus.stop();
        drop(pending);
        let _ = self.event_fd.write(1);
    }

    /// Lets the vCPUs enter the guest, unless the machine is paused or an event is pending. The main loop calls it after it
    /// has handled events.
    pub fn run_vcpus(&self) {
        let pending = self.pending();
        if pending.is_empty() && !self.paused() {
            self.vcpus.run();
        }
    }

    /// The machine events that the main loop has not handled yet.
    pub fn pending(&self) -> MutexGuard<'_, PendingEvents> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a client has paused the machine.
    pub fn paused(&self) -> bool {
        self.paused.load(Ordering::SeqCst)
    }

    /// The main loop has paused (true) or resumed the machine.
    pub fn set_paused(&self, paused: bool) {
        if !paused {
            self.drive_error.store(false, Ordering::SeqCst);
        }
        self.paused.store(paused, Ordering::SeqCst);
    }

    /// Whether the machine is paused because of a drive's error.
    pub fn drive_error(&self) -> bool {
        self.drive_error.load(Ordering::SeqCst)
    }

    /// The machine pauses because of a drive's error.
    pub fn set_drive_error(&self) {
        self.drive_error.store(true, Ordering::SeqCst);
    }
}
