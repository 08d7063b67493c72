//! Firmware tables: ACPI, SMBIOS, e820 memory map, and the fw_cfg items that carry them.
//!
//! Firmware reads the tables through fw_cfg ([`fw_cfg`]).

pub mod acpi;
pub mod e820;
pub mod fw_cfg;
pub mod smbios;
