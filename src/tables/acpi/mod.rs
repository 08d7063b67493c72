//! ACPI tables: what an operating system reads about the board.
//!
//! Built after the ACPI specification 1.0b (the revisions of Windows 2000 and XP, which later systems read too) with
//! the acpi_tables crate:
//!
//! | table | revision | contents |
//! |---|---|---|
//! | RSDP | 0 | 32-bit RSDT only: an XSDT would add nothing below 4 GiB, where all tables lie |
//! | FACP | 1 | Windows 2000 does not boot with a longer one |
//! | FACS | - | waking vector, global lock |
//! | DSDT | 1 | 32-bit AML integers; see [`dsdt`] |
//! | APIC | 1 | processors, I/O APIC, interrupt overrides |
//! | WAET | 1 | one read of the PM timer is enough (Windows Vista on) |
//!
//! Missing on purpose: HPET (Windows XP cannot cope with one that claims IRQ 8), sleep states other than S5,
//! processor power states other than C1, a 64-bit PCI window (Windows XP).
//!
//! The same configuration gives the same bytes for ever: Windows keeps the HAL that it chose at installation.

pub mod dsdt;
pub mod fixed;
pub mod loader;
#[cfg(test)]
mod tests;

use crate::config::MachineConfig;
use loader::{Command, Zone};

/// First port of the PIIX4's power management block, which the firmware (or the board, where there is none) puts here.
pub const PM_BASE: u16 = 0x600;
/// PM1a event block: 4 bytes.
pub const PM1A_EVT: u16 = PM_BASE;
/// PM1a control register: 2 bytes.
pub const PM1A_CNT: u16 = PM_BASE + 4;
/// Power management timer: 4 bytes, of which 24 bits count.
pub const PM_TMR: u16 = PM_BASE + 8;
/// Ports of the power management block.
pub const PM_LEN: u8 = 0x40;
/// General-purpose event block 0: status and enable, 2 bytes each.
pub const GPE0: u16 = 0xafe0;
/// Bytes of the general-purpose event block 0.
pub const GPE0_LEN: u8 = 4;
/// SMI command port.
pub const SMI_CMD: u8 = 0xb2;
/// Written to [`SMI_CMD`] it sets SCI_EN.
pub const ACPI_ENABLE: u8 = 0xf1;
/// Written to [`SMI_CMD`] it clears SCI_EN.
pub const ACPI_DISABLE: u8 = 0xf0;
/// The system control interrupt's IRQ.
pub const SCI_IRQ: u8 = 9;
/// The sleep type of soft-off in PM1a control.
pub const SLP_TYP_S5: u8 = 0;
/// What the PCI interrupt router may choose between.
pub const PIRQ_IRQS: [u8; 3] = [5, 10, 11];
/// I/O APIC.
pub const IOAPIC_BASE: u32 = 0xfec0_0000;
/// Where the window for PCI memory ends: below the I/O APIC.
pub const PCI_WINDOW_LAST: u32 = 0xfebf_ffff;

/// fw_cfg file that the tables are in.
pub const TABLES_FILE: &str = "etc/acpi/tables";
/// fw_cfg file that the RSDP is in.
pub const RSDP_FILE: &str = "etc/acpi/rsdp";
/// fw_cfg file with the loader's commands.
pub const LOADER_FILE: &str = "etc/table-loader";

const OEM_ID: [u8; 6] = *b"PCVM  ";
const OEM_REVISION: u32 = 1;
/// Offset of the checksum in a table header.
const HEADER_CHECKSUM: usize = 9;
/// The FACS lies on a 64-byte boundary.
const FACS_ALIGN: u32 = 64;
const RSDP_LEN: usize = 20;
const RSDP_CHECKSUM: usize = 8;
const RSDP_RSDT: usize = 16;
const RSDT_ENTRIES: usize = 36;

/// The tables with pointers that are relative to their files, and what is to be done to make them absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// FACS, DSDT, FACP, APIC, WAET, RSDT, in this order.
    pub tables: Vec<u8>,
    /// RSDP.
    pub rsdp: Vec<u8>,
    /// How to place them.
    pub commands: Vec<Command>,
}

impl Tables {
    /// The tables of a machine with `ram` bytes of RAM.
    pub fn new(config: &MachineConfig, ram: u64) -> Self {
        let mut file = Assembly::default();
        let facs = file.add(&fixed::facs());
        let dsdt = file.add_table(&dsdt::dsdt(config, ram));
        let facp = file.add_table(&fixed::facp(&config.cpus));
        file.point(facp + fixed::FACP_FACS, facs);
        file.point(facp + fixed::FACP_DSDT, dsdt);
        let listed = [facp, file.add_table(&fixed::madt(&config.cpus)), file.add_table(&fixed::waet())];
        let rsdt = file.add_table(&fixed::rsdt(listed.len()));
        for (n, table) in listed.into_iter().enumerate() {
            file.point(rsdt + RSDT_ENTRIES + 4 * n, table);
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
        // Checksums last: they cover the pointers.
        commands.extend(file.summed.iter().map(|&(start, len)| Command::AddChecksum {
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

/// The file of tables while it grows.
#[derive(Default)]
struct Assembly {
    bytes: Vec<u8>,
    pointers: Vec<usize>,
    summed: Vec<(usize, usize)>,
}

impl Assembly {
    /// Appends bytes, 16-byte aligned, and says where they are.
    fn add(&mut self, table: &[u8]) -> usize {
        self.bytes.resize(self.bytes.len().next_multiple_of(16), 0);
        let at = self.bytes.len();
        self.bytes.extend_from_slice(table);
        at
    }

    /// Appends a table with a header, whose checksum the loader will make.
    fn add_table(&mut self, table: &[u8]) -> usize {
        let at = self.add(table);
        self.bytes[at + HEADER_CHECKSUM] = 0;
        self.summed.push((at, table.len()));
        at
    }

    /// Makes the dword at `offset` point to what is at `target`.
    fn point(&mut self, offset: usize, target: usize) {
        self.bytes[offset..offset + 4].copy_from_slice(&(target as u32).to_le_bytes());
        self.pointers.push(offset);
    }
}

fn sdt(signature: &[u8; 4], revision: u8, len: u32) -> acpi_tables::sdt::Sdt {
    let mut table_id = *b"PCVM    ";
    table_id[4..].copy_from_slice(signature);
    acpi_tables::sdt::Sdt::new(*signature, len, revision, OEM_ID, table_id, OEM_REVISION)
}
