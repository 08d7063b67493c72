//! What a device may do to the world, lent to it for one call.

use crate::block::BlockRequest;
use crate::memory::Memory;
use crate::net::{Frame, NicId};
use crate::time::VmTime;
use std::cell::Cell;
use std::collections::VecDeque;

/// Tells virtual machine time.
pub trait Clock {
    /// Now.
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

/// A timer of a device, numbered by the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerId(pub u8);

/// An interrupt output of a device. Sharers of a line are ORed by the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IrqLine {
    /// ISA IRQ 0 to 15.
    Isa(u8),
    /// The PCI function's own INTA# (0) to INTD# (3), routed by slot and PIRQ.
    Pci(u8),
}

/// A byte stream to and from the host: 0 to 3 are COM1 to COM4, 4 is the debug console.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CharId(pub u8);

impl CharId {
    /// The debug console (ports 402h and E9h).
    pub const DEBUG: Self = Self(4);
    /// How many there are.
    pub const COUNT: usize = 5;
}

/// How much a reset resets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetKind {
    /// PCIRST#: processors and every device (port CF9h).
    Hard,
    /// INIT#: from the keyboard controller, port 92h or a triple fault. The board makes it a hard reset unless the
    /// CMOS shutdown byte says that software means to come back from it.
    Init,
}

/// What the board does after the call that asked for it, never inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// [`crate::Device::regions`] has other answers than before.
    Remap,
    /// The i440FX's PAM registers changed: C0000h-EFFFFh in twelve 16 KiB pieces, then F0000h-FFFFFh.
    Shadow([crate::memory::Shadow; 13]),
    /// The PIIX3's PIRQ route control changed: the ISA IRQ of PIRQA# to PIRQD#.
    PirqRoutes([Option<u8>; 4]),
    /// Reset the machine.
    Reset(ResetKind),
    /// Switch it off (ACPI S5).
    PowerOff,
}

/// What a device asked for during a call, in order. The board empties it afterwards.
#[derive(Default)]
pub struct Outbox {
    /// IRQ levels, in order: a pulse is true then false.
    pub irqs: Vec<(IrqLine, bool)>,
    /// Timers armed (`Some`, replacing the earlier setting) and disarmed (`None`).
    pub timers: Vec<(TimerId, Option<VmTime>)>,
    /// Disk requests.
    pub requests: Vec<BlockRequest>,
    /// Effects.
    pub effects: Vec<Effect>,
    /// Bytes to the host's character devices.
    pub chars: Vec<(CharId, u8)>,
    /// Bytes from the host that no device has taken yet, by [`CharId`].
    pub char_input: [VecDeque<u8>; CharId::COUNT],
    /// Frames to send.
    pub frames: Vec<(NicId, Frame)>,
    /// Frames that came in and that no card has taken yet, by [`NicId`].
    pub frame_input: [VecDeque<Frame>; NicId::COUNT],
    /// Buffers of frames that are done with.
    pub frame_pool: Vec<Vec<u8>>,
    /// The A20 gate, shared by the keyboard controller and port 92h. KVM guests always have address line 20: the
    /// gate is a bit that reads back.
    pub a20: bool,
    /// Somebody waits for writes that may lie in the coalescing ring ([`Ctx::await_writes`]).
    pub awaits_writes: bool,
    /// The board wants to know the next time that something is written to the display adapter.
    pub awaits_screen: bool,
    /// Something was, and it did.
    pub screen_touched: bool,
}

impl Outbox {
    /// Whether the device asked for nothing that the board must see to.
    #[inline]
    pub fn is_quiet(&self) -> bool {
        self.irqs.is_empty()
            && self.timers.is_empty()
            && self.requests.is_empty()
            && self.effects.is_empty()
            && self.chars.is_empty()
            && self.frames.is_empty()
            && !self.screen_touched
    }
}

/// The world as lent to a device for one call.
pub struct Ctx<'a> {
    clock: &'a dyn Clock,
    memory: &'a Memory,
    pub(crate) out: &'a mut Outbox,
}

impl<'a> Ctx<'a> {
    /// Lends the world.
    #[inline]
    pub fn new(clock: &'a dyn Clock, memory: &'a Memory, out: &'a mut Outbox) -> Self {
        Self { clock, memory, out }
    }

    /// Virtual machine time now.
    pub fn now(&self) -> VmTime {
        self.clock.now()
    }

    /// Drives an interrupt output. A device may repeat a level; the board passes on changes only.
    pub fn set_irq(&mut self, line: IrqLine, level: bool) {
        self.out.irqs.push((line, level));
    }

    /// Asks for a [`crate::Wake::Timer`] at `at` (or at once, if that has passed). Replaces the timer's earlier setting.
    pub fn arm(&mut self, timer: TimerId, at: VmTime) {
        self.out.timers.push((timer, Some(at)));
    }

    /// Takes back [`Ctx::arm`].
    pub fn disarm(&mut self, timer: TimerId) {
        self.out.timers.push((timer, None));
    }

    /// Guest memory, for DMA.
    pub fn memory(&self) -> &'a Memory {
        self.memory
    }

    /// Asks the board for something that concerns more than this device.
    pub fn effect(&mut self, effect: Effect) {
        self.out.effects.push(effect);
    }

    /// Sends a byte to a character device of the host.
    pub fn put_char(&mut self, to: CharId, byte: u8) {
        self.out.chars.push((to, byte));
    }

    /// Takes the next byte that a character device of the host has for the guest. New bytes are announced by
    /// [`crate::Wake::CharReady`]; the device takes as many as it has room for, and comes back for more by itself.
    pub fn take_char(&mut self, from: CharId) -> Option<u8> {
        self.out.char_input.get_mut(usize::from(from.0))?.pop_front()
    }

    /// Says whether the device now waits for writes to a range of its that may be kept back, and that must not lie
    /// there until the guest's next exit: it may halt after the last of them. Only the IDE function does so.
    #[inline]
    pub fn await_writes(&mut self, waits: bool) {
        self.out.awaits_writes = waits;
    }

    /// Something was written to the display adapter: what it shows may have changed.
    #[inline]
    pub fn touch_screen(&mut self) {
        if self.out.awaits_screen {
            self.out.awaits_screen = false;
            self.out.screen_touched = true;
        }
    }

    /// The A20 gate.
    pub fn a20(&self) -> bool {
        self.out.a20
    }

    /// Sets the A20 gate.
    pub fn set_a20(&mut self, open: bool) {
        self.out.a20 = open;
    }
}
