//! The `Device` trait: regions, accesses, wake-ups, reset and saved state.

use crate::block::{BlockDone, Medium, Tray, TrayRequest};
use crate::chipset::isa_dma::DmaDone;
use crate::ctx::{Ctx, TimerId};
use crate::input::InputEvent;
use crate::net::NicId;
use crate::state::RestoreError;
use crate::{CharId, DiskId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::ops::Range;

/// A PCI function on bus 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Devfn(pub u8);

impl Devfn {
    /// Slot 0 to 31, function 0 to 7.
    pub const fn new(slot: u8, function: u8) -> Self {
        Self(slot << 3 | (function & 7))
    }
    /// Slot.
    pub const fn slot(self) -> u8 {
        self.0 >> 3
    }
    /// Function.
    pub const fn function(self) -> u8 {
        self.0 & 7
    }
}

/// An address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// Ports, 0 to FFFFh.
    Io,
    /// Guest-physical memory.
    Mem,
}

/// The [`Access::tag`] of accesses to a PCI function's configuration space; `offset` is the register, 0 to FFh.
pub const CONFIG_TAG: u8 = 0xff;

/// The register that an access addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// [`Region::tag`], or [`CONFIG_TAG`].
    pub tag: u8,
    /// Bytes from the region's start.
    pub offset: u64,
    /// Bytes per access: 1, 2, 4 or 8. `data` is that long, except that string I/O on a [`Region::fifo`] region
    /// is one call with the whole string: `data.len() / width` accesses, all at this offset.
    pub width: u8,
}

/// Offsets of a region at which a write only latches a value until another access acts on it, so that KVM may coalesce
/// the write.
pub type Coalesce = Vec<Range<u64>>;

/// A range of ports or of memory that a device answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Address space.
    pub space: Space,
    /// First address.
    pub base: u64,
    /// Bytes, at least 1.
    pub len: u64,
    /// The device's number for it, which comes back as [`Access::tag`].
    pub tag: u8,
    /// Offset 0 is a FIFO: string I/O is one call.
    pub fifo: bool,
    /// Offsets whose writes may be coalesced.
    pub coalesce: Coalesce,
    /// Accesses do not trap: the region is a window into video memory, which starts at this offset.
    pub video: Option<u64>,
}

impl Region {
    /// Ports.
    pub fn io(base: u16, len: u16, tag: u8) -> Self {
        Self {
            space: Space::Io,
            base: base.into(),
            len: len.into(),
            tag,
            fifo: false,
            coalesce: Vec::new(),
            video: None,
        }
    }

    /// Memory that traps.
    pub fn mem(base: u64, len: u64, tag: u8) -> Self {
        Self { space: Space::Mem, base, len, ..Self::io(0, 1, tag) }
    }

    /// Memory that is a window into the machine's video memory from `offset` on, and does not trap.
    pub fn video(base: u64, len: u64, tag: u8, offset: u64) -> Self {
        Self { video: Some(offset), ..Self::mem(base, len, tag) }
    }

    /// The same, with a FIFO at offset 0.
    pub fn with_fifo(self) -> Self {
        Self { fifo: true, ..self }
    }

    /// The same, with `range` of its offsets coalesced.
    pub fn with_coalesce(mut self, range: Range<u64>) -> Self {
        self.coalesce.push(range);
        self
    }
}

/// Why the board calls a device without an access of the guest.
#[derive(Debug)]
pub enum Wake {
    /// An armed timer is due.
    Timer(TimerId),
    /// A disk request completed.
    Block(BlockDone),
    /// An ISA DMA request was carried out, as far as the channel allowed.
    IsaDma(DmaDone),
    /// [`Ctx::take_char`] has bytes of this stream.
    CharReady(CharId),
    /// A key or pointer event (keyboard controller, USB).
    Input(InputEvent),
    /// The power button was pressed (power management).
    PowerButton,
    /// A drive's medium was changed: the new one, or none (IDE CD-ROM, floppy).
    Medium(DiskId, Option<Medium>),
    /// The host moves the tray of a drive or presses its button (IDE CD-ROM).
    Tray(DiskId, TrayRequest),
    /// [`Ctx::take_frame`] has frames for this card.
    Frames(NicId),
    /// This card's cable was plugged in (true) or unplugged.
    Link(NicId, bool),
    /// Report the next write by [`crate::Effect::ScreenWritten`], once (display adapter).
    ReportWrites,
}

/// The host-side endpoints of a device. The board delivers disk completions, received frames and host bytes to the device
/// that owns the id. Two devices never own the same id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owned {
    /// Drives whose requests this device submits.
    pub disks: Vec<DiskId>,
    /// Network cards that this device is.
    pub nics: Vec<NicId>,
    /// Character streams that this device reads or writes.
    pub chars: Vec<CharId>,
}

/// A chip. The crate's documentation says what a device may do.
pub trait Device: Send + 'static {
    /// Everything that a restored machine needs to continue, as plain data. It excludes what the configuration defines:
    /// sizes, names, ROM contents.
    type State: Serialize + DeserializeOwned;

    /// The device's name in saved states. It never changes.
    const KIND: &'static str;

    /// Counts incompatible changes of `State`.
    const VERSION: u32;

    /// The ports and memory that the device answers now. When they change, the device requests [`crate::Effect::Remap`].
    /// Where regions of several devices overlap, the device that comes first on the board wins.
    fn regions(&self) -> Vec<Region>;

    /// The device's PCI function, if it is one.
    fn pci(&self) -> Option<Devfn> {
        None
    }

    /// The disks, network cards and character streams that belong to this device. The board reads it once, when the
    /// machine is built.
    fn owns(&self) -> Owned {
        Owned::default()
    }

    /// The tray of a drive; `None` if the device has no such drive, or one without a tray.
    fn tray(&self, disk: DiskId) -> Option<Tray> {
        let _ = disk;
        None
    }

    /// The datasheet's name of the register at `at`, for traces; `None` where there is no name.
    fn register_name(&self, at: Access) -> Option<&'static str> {
        let _ = at;
        None
    }

    /// The guest reads. `data` is preset to all ones; the device leaves bytes without a register as they are.
    fn read(&mut self, cx: &mut Ctx<'_>, at: Access, data: &mut [u8]);

    /// The guest writes.
    fn write(&mut self, cx: &mut Ctx<'_>, at: Access, data: &[u8]);

    /// The board reports a timer, a completion or input.
    fn wake(&mut self, cx: &mut Ctx<'_>, why: Wake) {
        let _ = (cx, why);
    }

    /// Hard reset (PCIRST#) and power-on. It also drives the outputs (IRQs, effects) to their reset levels.
    fn reset(&mut self, cx: &mut Ctx<'_>);

    /// The state to save.
    fn save(&self) -> Self::State;

    /// Restores a state.
    ///
    /// # Errors
    /// If the device can never have that state; the device is then unchanged.
    fn load(&mut self, state: Self::State) -> Result<(), RestoreError>;

    /// Called after [`Device::load`]: drives IRQ levels, timers and effects as the restored state requires.
    fn resync(&mut self, cx: &mut Ctx<'_>);
}

/// [`Device`] without its types, for the board.
pub trait DynDevice: Send {
    /// [`Device::KIND`].
    fn kind(&self) -> &'static str;
    /// [`Device::VERSION`].
    fn version(&self) -> u32;
    /// [`Device::regions`].
    fn regions(&self) -> Vec<Region>;
    /// [`Device::pci`].
    fn pci(&self) -> Option<Devfn>;
    /// [`Device::owns`].
    fn owns(&self) -> Owned;
    /// [`Device::tray`].
    fn tray(&self, disk: DiskId) -> Option<Tray>;
    /// [`Device::register_name`].
    fn register_name(&self, at: Access) -> Option<&'static str>;
    /// [`Device::read`].
    fn read(&mut self, cx: &mut Ctx<'_>, at: Access, data: &mut [u8]);
    /// [`Device::write`].
    fn write(&mut self, cx: &mut Ctx<'_>, at: Access, data: &[u8]);
    /// [`Device::wake`].
    fn wake(&mut self, cx: &mut Ctx<'_>, why: Wake);
    /// [`Device::reset`].
    fn reset(&mut self, cx: &mut Ctx<'_>);
    /// [`Device::resync`].
    fn resync(&mut self, cx: &mut Ctx<'_>);
    /// [`Device::save`] as CBOR.
    fn save_cbor(&self) -> Vec<u8>;
    /// [`Device::load`] from CBOR.
    ///
    /// # Errors
    /// If the bytes are not a state of this device.
    fn load_cbor(&mut self, bytes: &[u8]) -> Result<(), RestoreError>;
    /// The device itself.
    fn as_any(&self) -> &dyn Any;
    /// The device itself.
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<D: Device> DynDevice for D {
    fn kind(&self) -> &'static str {
        D::KIND
    }
    fn version(&self) -> u32 {
        D::VERSION
    }
    fn regions(&self) -> Vec<Region> {
        Device::regions(self)
    }
    fn pci(&self) -> Option<Devfn> {
        Device::pci(self)
    }
    fn owns(&self) -> Owned {
        Device::owns(self)
    }
    fn tray(&self, disk: DiskId) -> Option<Tray> {
        Device::tray(self, disk)
    }
    fn register_name(&self, at: Access) -> Option<&'static str> {
        Device::register_name(self, at)
    }
    fn read(&mut self, cx: &mut Ctx<'_>, at: Access, data: &mut [u8]) {
        Device::read(self, cx, at, data);
    }
    fn write(&mut self, cx: &mut Ctx<'_>, at: Access, data: &[u8]) {
        Device::write(self, cx, at, data);
    }
    fn wake(&mut self, cx: &mut Ctx<'_>, why: Wake) {
        Device::wake(self, cx, why);
    }
    fn reset(&mut self, cx: &mut Ctx<'_>) {
        Device::reset(self, cx);
    }
    fn resync(&mut self, cx: &mut Ctx<'_>) {
        Device::resync(self, cx);
    }
    fn save_cbor(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // This fails only for types that CBOR cannot express, which every device's round-trip test would show.
        if let Err(error) = ciborium::into_writer(&self.save(), &mut bytes) {
            tracing::error!("{}: state not saved: {error}", D::KIND);
        }
        bytes
    }
    fn load_cbor(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        let state = ciborium::from_reader(bytes)
            .map_err(|error| RestoreError::Malformed { kind: D::KIND, why: error.to_string() })?;
        self.load(state)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}
