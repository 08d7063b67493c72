//! The board as a device sees it during one call: clock, guest memory, requests to the host, bytes and frames from it.

use crate::block::{BlockRequest, DiskId};
use crate::chipset::isa_dma::DmaRequest;
use crate::memory::Memory;
use crate::net::{Frame, NicId};
use crate::time::VmTime;
use std::cell::Cell;
use std::collections::VecDeque;

/// A source of virtual machine time.
pub trait Clock {
    /// The time now. It stands still while the machine is paused.
    fn now(&self) -> VmTime;
}

impl<T: Clock + ?Sized> Clock for std::sync::Arc<T> {
    fn now(&self) -> VmTime {
        (**self).now()
    }
}

impl Clock for Cell<VmTime> {
    fn now(&self) -> VmTime {
        self.get()
    }
}

/// A timer of a device. Each device numbers its own timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerId(pub u8);

/// An interrupt output of a device. The board ORs the outputs that share a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IrqLine {
    /// ISA IRQ 0 to 15.
    Isa(u8),
    /// The PCI function's own INTA# (0) to INTD# (3), routed by slot and PIRQ.
    Pci(u8),
}

/// A byte stream between a device and the host: 0 to 3 are COM1 to COM4, 4 is the debug console.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CharId(pub u8);

impl CharId {
    /// The debug console (ports 402h and E9h).
    pub const DEBUG: Self = Self(4);
}

/// How much a reset resets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetKind {
    /// PCIRST#: all vCPUs and every device (port CF9h).
    Hard,
    /// INIT#: from the keyboard controller, port 92h or a triple fault. The board makes it a hard reset unless the CMOS
    /// shutdown byte holds a code with which software resumes after a processor reset.
    Init,
}

/// A change outside the device. The board applies it after the call that requested it has returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// [`crate::Device::regions`] changed.
    Remap,
    /// The i440FX's PAM registers changed: C0000h-EFFFFh in twelve 16 KiB pieces, then F0000h-FFFFFh.
    Shadow([crate::memory::Shadow; 13]),
    /// The PIIX3's PIRQ route control changed: the ISA IRQ of PIRQA# to PIRQD#.
    PirqRoutes([Option<u8>; 4]),
    /// The A20 gate opened or closed. KVM guests always have address line 20: the gate is a bit that reads back.
    A20(bool),
    /// The device starts (true) or stops (false) waiting for writes that may lie in KVM's coalescing ring. While it
    /// waits, the board drains the ring on a timer, because the guest may halt after the last write.
    AwaitCoalesced(bool),
    /// A write reached the display adapter after [`crate::Wake::ReportWrites`].
    ScreenWritten,
    /// The tray of a drive opened or closed, at the guest's or at the host's request. A guest that ejects the medium
    /// gives it back to the host.
    TrayMoved {
        /// The drive.
        disk: DiskId,
        /// Open.
        open: bool,
    },
    /// Reset the machine.
    Reset(ResetKind),
    /// Switch the machine off (ACPI S5).
    PowerOff,
}

/// Requests that a device made during one call, in order. The board empties it after the call.
#[derive(Default)]
pub struct Outbox {
    /// IRQ levels, in order: a pulse is true then false.
    pub irqs: Vec<(IrqLine, bool)>,
    /// Timers armed (`Some`, replacing the earlier setting) and disarmed (`None`).
    pub timers: Vec<(TimerId, Option<VmTime>)>,
    /// Disk requests.
    pub requests: Vec<BlockRequest>,
    /// ISA DMA requests.
    pub isa_dma: Vec<DmaRequest>,
    /// Effects.
    pub effects: Vec<Effect>,
    /// Bytes for the host's character devices.
    pub chars: Vec<(CharId, u8)>,
    /// Frames to send.
    pub frames: Vec<(NicId, Frame)>,
    /// Guest mistakes, for traces and statistics.
    pub guest_errors: Vec<&'static str>,
}

impl Outbox {
    /// Whether the device requested nothing.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.irqs.is_empty()
            && self.timers.is_empty()
            && self.requests.is_empty()
            && self.isa_dma.is_empty()
            && self.effects.is_empty()
            && self.chars.is_empty()
            && self.frames.is_empty()
            && self.guest_errors.is_empty()
    }
}

/// Input from the host that devices have not consumed yet, and shared signals that devices may read.
#[derive(Default)]
pub struct Inbox {
    chars: Vec<VecDeque<u8>>,
    frames: Vec<VecDeque<Frame>>,
    /// Level of the A20 gate, which the keyboard controller and port 92h share.
    pub a20: bool,
    /// Empty buffers for frames, used before.
    pub frame_pool: Vec<Vec<u8>>,
}

/// The queue number `n`, which comes into being when it is first used. Ids are `u8`, so there are at most 256.
fn queue<T>(queues: &mut Vec<VecDeque<T>>, n: u8) -> &mut VecDeque<T> {
    let n = usize::from(n);
    if queues.len() <= n {
        queues.resize_with(n + 1, VecDeque::new);
    }
    &mut queues[n]
}

impl Inbox {
    /// The bytes that wait for the device that owns a character stream.
    pub fn chars(&mut self, stream: CharId) -> &mut VecDeque<u8> {
        queue(&mut self.chars, stream.0)
    }

    /// The received frames that wait for a network card.
    pub fn frames(&mut self, nic: NicId) -> &mut VecDeque<Frame> {
        queue(&mut self.frames, nic.0)
    }

    /// How many bytes wait on a character stream.
    pub fn chars_waiting(&self, stream: CharId) -> usize {
        self.chars.get(usize::from(stream.0)).map_or(0, VecDeque::len)
    }

    /// How many frames wait for a network card.
    pub fn frames_waiting(&self, nic: NicId) -> usize {
        self.frames.get(usize::from(nic.0)).map_or(0, VecDeque::len)
    }
}

/// The board, lent to a device for one call.
pub struct Ctx<'a> {
    clock: &'a dyn Clock,
    memory: &'a Memory,
    pub(crate) out: &'a mut Outbox,
    pub(crate) inbox: &'a mut Inbox,
}

impl<'a> Ctx<'a> {
    /// Lends the board to a device.
    #[inline]
    pub fn new(clock: &'a dyn Clock, memory: &'a Memory, out: &'a mut Outbox, inbox: &'a mut Inbox) -> Self {
        Self { clock, memory, out, inbox }
    }

    /// Virtual machine time now.
    pub fn now(&self) -> VmTime {
        self.clock.now()
    }

    /// Drives an interrupt output. A device may repeat a level; the board passes on changes only.
    pub fn set_irq(&mut self, line: IrqLine, level: bool) {
        self.out.irqs.push((line, level));
    }

    /// Requests a [`crate::Wake::Timer`] at `at`, or at once if that has passed. Replaces the timer's earlier setting.
    pub fn arm(&mut self, timer: TimerId, at: VmTime) {
        self.out.timers.push((timer, Some(at)));
    }

    /// Cancels [`Ctx::arm`].
    pub fn disarm(&mut self, timer: TimerId) {
        self.out.timers.push((timer, None));
    }

    /// Guest memory, for DMA.
    pub fn memory(&self) -> &'a Memory {
        self.memory
    }

    /// Requests an ISA DMA transfer (DREQ). The board carries it out after this call and answers by
    /// [`crate::Wake::IsaDma`] before the guest runs again.
    pub fn isa_dma(&mut self, request: DmaRequest) {
        self.out.isa_dma.push(request);
    }

    /// Requests a change outside the device.
    pub fn effect(&mut self, effect: Effect) {
        self.out.effects.push(effect);
    }

    /// Reports that the guest did what the datasheet calls undefined. The board counts it and writes it to the trace, at
    /// a limited rate; the device itself behaves as the chip does.
    #[cold]
    pub fn guest_error(&mut self, what: &'static str) {
        /// Per call: one access of a hostile guest reports no more.
        const MAX: usize = 8;
        if self.out.guest_errors.len() < MAX {
            self.out.guest_errors.push(what);
        }
    }

    /// Sends a byte to a character device of the host.
    pub fn put_char(&mut self, to: CharId, byte: u8) {
        self.out.chars.push((to, byte));
    }

    /// The next byte that the host has sent on a character stream. [`crate::Wake::CharReady`] announces new bytes; the
    /// device takes as many as it has room for and calls this again when the guest has made room. The board stops
    /// reading the host's side while too many bytes wait.
    pub fn take_char(&mut self, from: CharId) -> Option<u8> {
        self.inbox.chars(from).pop_front()
    }

    /// Level of the A20 gate.
    pub fn a20(&self) -> bool {
        self.inbox.a20
    }

    /// Opens or closes the A20 gate.
    pub fn set_a20(&mut self, open: bool) {
        self.effect(Effect::A20(open));
    }
}
