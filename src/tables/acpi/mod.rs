//! ACPI tables that describe the board to the operating system.
//!
//! They follow the ACPI specification 1.0b, because Windows 2000 and XP need its table revisions and later systems accept
//! them:
//!
//! | table | revision | contents |
//! |---|---|---|
//! | RSDP | 0 | RSDT only, no XSDT: all tables are below 4 GiB |
//! | FACP (FADT) | 1 | Windows 2000 does not boot with a longer one |
//! | FACS | - | firmware waking vector, global lock |
//! | DSDT | 1 | 32-bit AML integers; see [`dsdt`] |
//! | APIC (MADT) | 1 | local APICs, I/O APIC, interrupt source overrides |
//! | WAET | 1 | one read of the PM timer suffices (Windows Vista and later) |
//!
//! Deliberately missing: HPET (Windows XP fails with one that claims IRQ 8), sleep states other than S5, processor power
//! states other than C1, a 64-bit PCI window (Windows XP).
//!
//! A configuration must give the same bytes in every version of pcvm: Windows keeps the HAL that it chose at installation.

pub mod dsdt;
pub mod fixed;
pub mod loader;
#[cfg(test)]
mod tests;

use crate::config::MachineConfig;
use loader::{Command, Zone};

/// PMBA: first port of the PIIX4's power management block. The firmware sets it.
pub const PM_BASE: u16 = 0x600;
/// PM1a_EVT_BLK: PM1 status and enable registers, 4 bytes.
pub const PM1A_EVT: u16 = PM_BASE;
/// PM1a_CNT_BLK: PM1 control register, 2 bytes.
pub const PM1A_CNT: u16 = PM_BASE + 4;
/// PM_TMR_BLK: power management timer, 4 bytes, of which 24 bits count.
pub const PM_TMR: u16 = PM_BASE + 8;
/// Number of ports of the power management block.
pub const PM_LEN: u8 = 0x40;
/// GPE0_BLK: general-purpose event status and enable registers, 2 bytes each.
pub const GPE0: u16 = 0xafe0;
/// GPE0_BLK_LEN in bytes.
pub const GPE0_LEN: u8 = 4;
/// SMI_CMD: SMI command port.
pub const SMI_CMD: u8 = 0xb2;
/// ACPI_ENABLE: the value for [`SMI_CMD`] that sets SCI_EN.
pub const ACPI_ENABLE: u8 = 0xf1;
/// ACPI_DISABLE: the value for [`SMI_CMD`] that clears SCI_EN.
pub const ACPI_DISABLE: u8 = 0xf0;
/// SCI_INT: IRQ of the system control interrupt.
pub const SCI_IRQ: u8 = 9;
/// SLP_TYPa of soft-off (S5) in PM1a_CNT.
pub const SLP_TYP_S5: u8 = 0;
/// IRQs to which a PCI interrupt link may be routed.
pub const PIRQ_IRQS: [u8; 3] = [5, 10, 11];
/// Physical address of the I/O APIC.
pub const IOAPIC_BASE: u32 = 0xfec0_0000;
/// Last address of the PCI memory window, below the I/O APIC.
pub const PCI_WINDOW_LAST: u32 = 0xfebf_ffff;

/// fw_cfg file of the tables.
pub const TABLES_FILE: &str = "etc/acpi/tables";
/// fw_cfg file of the RSDP.
pub const RSDP_FILE: &str = "etc/acpi/rsdp";
/// fw_cfg file of the loader commands.
pub const LOADER_FILE: &str = "etc/table-loader";

const OEM_ID: [u8; 6] = *b"PCVM  ";
const OEM_REVISION: u32 = 1;
/// Offset of Checksum in DESCRIPTION_HEADER.
const HEADER_CHECKSUM: usize = 9;
/// Alignment of the FACS in bytes.
const FACS_ALIGN: u32 = 64;
const RSDP_LEN: usize = 20;
const RSDP_CHECKSUM: usize = 8;
const RSDP_RSDT: usize = 16;
const RSDT_ENTRIES: usize = 36;

/// The tables with pointers relative to their files, and the loader commands that make the pointers absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// FACS, DSDT, FADT, MADT, WAET, RSDT, in this order.
    pub tables: Vec<u8>,
    /// The RSDP.
    pub rsdp: Vec<u8>,
    /// The loader commands.
    pub commands: Vec<Command>,
}

impl Tables {
    /// The tables of a machine with `ram` bytes of RAM.
    pub fn new(config: &MachineConfig, ram: u64) -> Self {
        let mut file = TableFile::default();
        let facs = file.add(&fixed::facs());
        let dsdt = file.add_table(&dsdt::dsdt(config, ram));
        let fadt = file.add_table(&fixed::fadt(&config.cpus));
        file.add_pointer(fadt + fixed::FADT_FIRMWARE_CTRL, facs);
        file.add_pointer(fadt + fixed::FADT_DSDT, dsdt);
        let listed = [fadt, file.add_table(&fixed::madt(&config.cpus)), file.add_table(&fixed::waet())];
        let rsdt = file.add_table(&fixed::rsdt(listed.len()));
        for (n, table) in listed.into_iter().enumerate() {
            file.add_pointer(rsdt + RSDT_ENTRIES + 4 * n, table);
        }

        let mut rsdp = vec![0; RSDP_LEN];
        rsdp[..8].copy_from_slice(b"RSD PTR ");
        rsdp[9..15].copy_from_slice(&OEM_ID);
        rsdp[RSDP_RSDT..].copy_from_slice(&(rsdt as u32).to_le_bytes());

        let mut commands = vec![
            Command::Allocate { file: RSDP_FILE, align: 16, zone: Zone::FSegment },
            Command::Allocate { file: TABLES_FILE, align: FACS_ALIGN, zone: Zone::High },
        ];
        commands.extend(file.pointers.iter().map(|&offset| Command::AddPointer {
            file: TABLES_FILE,
            target: TABLES_FILE,
            offset: offset as u32,
            size: 4,
        }));
        commands.push(Command::AddPointer { file: RSDP_FILE, target: TABLES_FILE, offset: RSDP_RSDT as u32, size: 4 });
        // Checksums last, because they cover the pointers.
        commands.extend(file.checksummed.iter().map(|&(start, len)| Command::AddChecksum {
            file: TABLES_FILE,
            offset: (start + HEADER_CHECKSUM) as u32,
            start: start as u32,
            len: len as u32,
        }));
        commands.push(Command::AddChecksum {
            file: RSDP_FILE,
            offset: RSDP_CHECKSUM as u32,
            start: 0,
            len: RSDP_LEN as u32,
        });
        Self { tables: file.bytes, rsdp, commands }
    }
}

/// Builder of [`TABLES_FILE`].
#[derive(Default)]
struct TableFile {
    bytes: Vec<u8>,
    /// Offsets of 32-bit pointers into the file itself.
    pointers: Vec<usize>,
    /// Offset and length of each table with a checksum.
    checksummed: Vec<(usize, usize)>,
}

impl TableFile {
    /// Appends bytes, aligned to 16, and returns their offset.
    fn add(&mut self, table: &[u8]) -> usize {
        self.bytes.resize(self.bytes.len().next_multiple_of(16), 0);
        let at = self.bytes.len();
        self.bytes.extend_from_slice(table);
        at
    }

    /// Appends a table with a DESCRIPTION_HEADER, whose checksum the loader computes. Returns its offset.
    fn add_table(&mut self, table: &[u8]) -> usize {
        let at = self.add(table);
        self.bytes[at + HEADER_CHECKSUM] = 0;
        self.checksummed.push((at, table.len()));
        at
    }

    /// Makes the dword at `offset` a pointer to offset `target`.
    fn add_pointer(&mut self, offset: usize, target: usize) {
        self.bytes[offset..offset + 4].copy_from_slice(&(target as u32).to_le_bytes());
        self.pointers.push(offset);
    }
}

/// A table that consists of its DESCRIPTION_HEADER.
fn sdt(signature: &[u8; 4], revision: u8, len: u32) -> acpi_tables::sdt::Sdt {
    let mut table_id = *b"PCVM    ";
    table_id[4..].copy_from_slice(signature);
    acpi_tables::sdt::Sdt::new(*signature, len, revision, OEM_ID, table_id, OEM_REVISION)
}
