//! Chipset: Intel 440FX north bridge (82441FX) and PIIX3 south bridge (82371SB), with the PIIX4's power management
//! function (82371AB), the combination of QEMU's `pc` and of Xen HVM.

pub mod acpi_pm;
pub mod i440fx;
pub mod isa_dma;
pub mod piix3;
pub mod port92;
mod smbus;

pub use acpi_pm::AcpiPm;
pub use i440fx::I440fx;
pub use isa_dma::IsaDma;
pub use piix3::Piix3;
pub use port92::Port92;

/// Subsystem vendor ID of the chipset functions. Frozen: firmware and installed guests identify the board by it.
pub const SUBSYSTEM_VENDOR: u16 = 0x1af4;
/// Subsystem ID of the chipset functions. Frozen.
pub const SUBSYSTEM_ID: u16 = 0x1100;
/// Intel's vendor ID.
pub const VENDOR_INTEL: u16 = 0x8086;
