//! The chips of a classic PC, as plain data.
//!
//! A device owns its registers and nothing else. For the length of one call it borrows a [`Ctx`], by which it raises an IRQ,
//! arms a timer, accesses guest memory or submits a disk request. Every device can therefore be tested, fuzzed, saved and
//! restored without a virtual machine.
//!
//! The guest is hostile: no access makes a device panic, loop without bound or allocate without bound.
#![forbid(unsafe_code)]

pub mod block;
pub mod calendar;
pub mod chipset;
pub mod cmos;
pub mod ctx;
pub mod debug;
pub mod device;
pub mod disc;
pub mod fdc;
pub mod fw_cfg;
pub mod ide;
pub mod input;
pub mod memory;
pub mod net;
pub mod pci;
pub mod ps2;
pub mod rtl8139;
pub mod serial;
pub mod state;
pub mod testing;
pub mod time;
pub mod usb;
pub mod vga;

pub use block::{
    BlockData, BlockDone, BlockError, BlockOp, BlockRequest, DiskId, GuestRange, Medium, Tray, TrayRequest,
};
pub use ctx::{CharId, Clock, Ctx, Effect, Inbox, IrqLine, Outbox, ResetKind, TimerId};
pub use device::{Access, CONFIG_TAG, Coalesce, Devfn, Device, DynDevice, Owned, Region, Space, Wake};
pub use disc::Disc;
pub use input::InputEvent;
pub use memory::{DirtyPages, Memory, Shadow};
pub use net::{Frame, NicId};
pub use state::RestoreError;
pub use time::VmTime;
