//! Frozen PCI slots of the board.
//!
//! Installed guests bind drivers to these numbers, which are those of QEMU's `pc` machine and of Xen's HVM guests.

/// PCI slot of the first network card; further cards follow it.
pub const FIRST_NIC: u8 = 3;
