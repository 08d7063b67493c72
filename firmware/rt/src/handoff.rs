//! Handoff structure: results of the 32-bit power-on code for the 16-bit BIOS.

/// One range of the memory map, as INT 15h AX=E820h returns it (ACPI specification, section 15.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct E820 {
    /// Base address, low half.
    pub base: u32,
    /// Base address, high half.
    pub base_high: u32,
    /// Length in bytes, low half.
    pub length: u32,
    /// Length in bytes, high half.
    pub length_high: u32,
    /// 1 RAM, 2 reserved, 3 ACPI reclaimable, 4 ACPI NVS.
    pub kind: u32,
}

/// An option ROM in memory that the BIOS has to initialize.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OptionRom {
    /// Segment.
    pub segment: u16,
    /// PCI function that it belongs to (bus << 8 | device << 3 | function), FFFFh if none.
    pub function: u16,
}

/// Results of the power-on code, which writes them to E000:7800 before the BIOS runs.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Handoff {
    /// [`Handoff::MAGIC`].
    pub magic: u32,
    /// Number of ranges in `e820`.
    pub e820_count: u16,
    /// Number of option ROMs in `roms`. The VGA BIOS, if there is one, is the first.
    pub rom_count: u16,
    /// Memory map in ascending order.
    pub e820: [E820; Self::E820_MAX],
    /// Option ROMs.
    pub roms: [OptionRom; Self::ROMS_MAX],
    /// Bytes of RAM from 1 MiB up to the first hole below 4 GiB.
    pub extended_memory: u32,
    /// Number of processors that have started, the boot processor included.
    pub processors: u16,
    /// Highest PCI bus number.
    pub last_bus: u8,
    /// Bit 0: show the boot menu even if no key is pressed (fw_cfg boot menu item).
    pub menu: u8,
    /// Milliseconds to wait for the key that opens the boot menu (`etc/boot-menu-wait`); 0: only a key pressed before
    /// counts.
    pub menu_wait: u16,
    /// Length of the boot order in bytes.
    pub boot_order_size: u16,
    /// Linear address below 1 MiB of the boot order (fw_cfg `bootorder`, one device path a line); 0 if there is none.
    pub boot_order: u32,
    /// Milliseconds until a reset if no device boots (`etc/boot-fail-wait`); FFFFFFFFh: no reset.
    pub fail_wait: u32,
    /// The machine has fw_cfg. Without it, CMOS 38h and 3Dh have the boot order.
    pub has_fw_cfg: u8,
    /// ACPI tables are installed.
    pub has_acpi: u8,
    /// I/O port of the ACPI PM timer, 0 if there is none.
    pub pm_timer: u16,
    /// I/O port of PM1a_CNT for power-off, 0 if there is none.
    pub pm1a_control: u16,
    /// SLP_TYP value of S5.
    pub slp_typ_s5: u8,
    /// IRQs of PIRQA# to PIRQD#, 0 if not routed.
    pub pirq: [u8; 4],
    reserved: [u8; 5],
}

impl Handoff {
    /// "pcvm".
    pub const MAGIC: u32 = 0x6d76_6370;
    /// Maximum number of memory ranges.
    pub const E820_MAX: usize = 64;
    /// Maximum number of option ROMs.
    pub const ROMS_MAX: usize = 16;
    /// Offset of the structure in segment E000h.
    pub const OFFSET: u16 = 0x7800;
    /// An empty memory map, no option ROMs, one processor.
    pub const EMPTY: Self = Self {
        magic: Self::MAGIC,
        e820_count: 0,
        rom_count: 0,
        e820: [E820 { base: 0, base_high: 0, length: 0, length_high: 0, kind: 0 }; Self::E820_MAX],
        roms: [OptionRom { segment: 0, function: 0 }; Self::ROMS_MAX],
        extended_memory: 0,
        processors: 1,
        last_bus: 0,
        menu: 0,
        menu_wait: 0,
        boot_order_size: 0,
        boot_order: 0,
        fail_wait: u32::MAX,
        has_fw_cfg: 0,
        has_acpi: 0,
        pm_timer: 0,
        pm1a_control: 0,
        slp_typ_s5: 0,
        pirq: [0; 4],
        reserved: [0; 5],
    };
}

const _: () = assert!(size_of::<Handoff>() <= 0x800);
