//! The board: what is where, what the firmware is told about it, and how a kernel is started without firmware.

pub mod acpi;
pub mod e820;
pub mod firmware;
pub mod kernel;
pub mod smbios;
