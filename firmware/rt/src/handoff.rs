//! What the 32-bit power-on code tells the 16-bit BIOS.

/// One range of the memory map, as INT 15h AX=E820h returns it (ACPI specification, section 15.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct E820 {
    /// First byte, low half.
    pub base: u32,
    /// First byte, high half.
    pub base_high: u32,
    /// Bytes, low half.
    pub length: u32,
    /// Bytes, high half.
    pub length_high: u32,
    /// 1 RAM, 2 reserved, 3 ACPI tables, 4 ACPI NVS.
    pub kind: u32,
}

/// An option ROM that lies in memory, not yet initialised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OptionRom {
    /// Segment.
    pub segment: u16,
    /// PCI bus, device and function (bus << 8 | device << 3 | function) that it came from, or FFFFh.
    pub function: u16,
}

/// Written at E000:7800 by the power-on code, before the BIOS runs.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Handoff {
    /// [`Handoff::MAGIC`].
    pub magic: u32,
    /// Ranges in `e820`.
    pub e820_count: u16,
    /// Option ROMs in `roms`, the VGA BIOS (if there is one) first.
    pub rom_count: u16,
    /// The memory map, in order.
    pub e820: [E820; Self::E820_MAX],
    /// The option ROMs.
    pub roms: [OptionRom; Self::ROMS_MAX],
    /// Bytes of RAM from 1 MiB up to the first hole below 4 GiB.
    pub extended_memory: u32,
    /// Processors that answered, 1 at least.
    pub processors: u16,
    /// Highest PCI bus number.
    pub last_bus: u8,
    /// Bit 0: the whole-machine menu is asked for (fw_cfg boot menu key), not only on a key.
    pub menu: u8,
    /// Milliseconds to wait for a key that opens the menu (`etc/boot-menu-wait`); 0: look only at keys already pressed.
    pub menu_wait: u16,
    /// Bytes of `boot_order`.
    pub boot_order_size: u16,
    /// Linear address of the boot order (fw_cfg `bootorder`), newline separated, below 1 MiB; 0 when there is none.
    pub boot_order: u32,
    /// Milliseconds until a reset when nothing boots (`etc/boot-fail-wait`); FFFFFFFFh: never.
    pub fail_wait: u32,
    /// CMOS boot order bytes (38h and 3Dh) count where there is no fw_cfg.
    pub has_fw_cfg: u8,
    /// Set if ACPI tables were installed.
    pub has_acpi: u8,
    /// Port base of the power management timer, 0 when there is none.
    pub pm_timer: u16,
    /// Port base of PM1a control, 0 when there is none (for power-off).
    pub pm1a_control: u16,
    /// SLP_TYP of S5.
    pub slp_typ_s5: u8,
    /// IRQ lines of PIRQ A-D, 0 when not routed.
    pub pirq: [u8; 4],
    reserved: [u8; 5],
}

impl Handoff {
    /// "pcvm".
    pub const MAGIC: u32 = 0x6d76_6370;
    /// Ranges of memory at most.
    pub const E820_MAX: usize = 64;
    /// Option ROMs at most.
    pub const ROMS_MAX: usize = 16;
    /// Its place: offset in segment E000h.
    pub const OFFSET: u16 = 0x7800;
    /// Nothing known.
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
