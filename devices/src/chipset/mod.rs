//! The chipset of the board: Intel 440FX north bridge (82441FX) and PIIX3 south bridge (82371SB), with the power
//! management function of the PIIX4 (82371AB), as the virtual PCs of QEMU and Xen have it.

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

/// Subsystem vendor of the chipset functions, frozen: firmware and installed guests recognise the board by it.
pub const SUBSYSTEM_VENDOR: u16 = 0x1af4;
/// Subsystem id of the chipset functions, frozen.
pub const SUBSYSTEM_ID: u16 = 0x1100;
/// Intel.
pub const VENDOR_INTEL: u16 = 0x8086;
