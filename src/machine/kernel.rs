//! Direct boot of a Linux kernel (`--kernel`), without firmware.
//!
//! A bzImage starts by Linux's 32-bit boot protocol (Documentation/arch/x86/boot.rst), a vmlinux by PVH (Xen's
//! docs/misc/pvh.pandoc). Both are entered in flat 32-bit protected mode without paging. [`configure_chipset`] and [`ELCR`]
//! are the chipset settings that firmware would have made.
//!
//! Below 1 MiB: [`GDT`], start info, boot parameters and command line in conventional memory; ACPI and SMBIOS tables at
//! E0000h to FFFFFh.
//!
//! Deliberately missing: zImage and protocols before 2.05 (kernels before 2.6.20), 32-bit vmlinux.

use crate::board::Board;
use crate::config::{MachineConfig, Payload};
use crate::tables::{e820, fw_cfg};
use linux_loader::loader::bootparam::{boot_e820_entry, boot_params, setup_header};
use linux_loader::loader::elf::PvhBootCapability;
use linux_loader::loader::elf::start_info::{hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info};
use linux_loader::loader::{BzImage, Elf, KernelLoader};
use pcvm_devices::{Devfn, Memory};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use vm_memory::{ByteValued, Bytes, GuestAddress};

/// Address of the GDT that the protocols require ([`GDT`]).
pub const GDT_BASE: u64 = 0x500;
/// GDT entries: null, null, 32-bit flat code (selector 10h), 32-bit flat data (18h).
pub const GDT: [u64; 4] = [0, 0, 0x00cf_9b00_0000_ffff, 0x00cf_9300_0000_ffff];
/// Code segment at the entry.
pub const CODE_SELECTOR: u16 = 0x10;
/// Data and stack segments at the entry.
pub const DATA_SELECTOR: u16 = 0x18;

const START_INFO: u64 = 0x6000;
const MODULE_LIST: u64 = 0x6100;
const MEMORY_MAP: u64 = 0x6200;
const BOOT_PARAMS: u64 = 0x7000;
const COMMAND_LINE: u64 = 0x2_0000;
/// Bytes for the command line and its terminating zero.
const COMMAND_LINE_MAX: u64 = 0x1_0000;
const HIGH_MEMORY: u64 = 0x10_0000;
const PAGE: u64 = 0x1000;

/// PCI configuration bytes that firmware would have set: function, register, value.
const CONFIG_SETUP: [(Devfn, u8, u8); 16] = [
    // 82441FX PAM0 and PAM5, PAM6: E0000h-FFFFFh is RAM, for the tables.
    (Devfn::new(0, 0), 0x59, 0x30),
    (Devfn::new(0, 0), 0x5e, 0x33),
    (Devfn::new(0, 0), 0x5f, 0x33),
    // 82371SB PIRQRCA-D.
    (Devfn::new(1, 0), 0x60, 10),
    (Devfn::new(1, 0), 0x61, 10),
    (Devfn::new(1, 0), 0x62, 11),
    (Devfn::new(1, 0), 0x63, 11),
    // IDE: I/O space, and both channels decoded (IDETIM).
    (Devfn::new(1, 1), 0x04, 0x01),
    (Devfn::new(1, 1), 0x41, 0x80),
    (Devfn::new(1, 1), 0x43, 0x80),
    // 82371AB power management: interrupt line (the SCI), PMBA, PMREGMISC (PMIOSE).
    (Devfn::new(1, 3), 0x3c, 9),
    (Devfn::new(1, 3), 0x40, 0x01),
    (Devfn::new(1, 3), 0x41, (crate::tables::acpi::PM_BASE >> 8) as u8),
    (Devfn::new(1, 3), 0x42, 0),
    (Devfn::new(1, 3), 0x43, 0),
    (Devfn::new(1, 3), 0x80, 0x01),
];

/// Writes the chipset registers that firmware would have set: `CONFIG_SETUP`.
pub fn configure_chipset(board: &mut Board) {
    for (function, register, value) in CONFIG_SETUP {
        board.configure(function, register, &[value]);
    }
}

/// The ELCRs (4D0h, 4D1h) as firmware would have set them: IRQs 9, 10 and 11 are level-triggered.
pub const ELCR: u16 = 0x0e00;

/// Entry state of vCPU 0: protected mode without paging, interrupts off, segments as in [`GDT`], all general registers zero
/// except those named here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelEntry {
    /// Linux's 32-bit protocol.
    Linux32 {
        /// EIP.
        entry: u32,
        /// ESI.
        boot_params: u32,
    },
    /// PVH.
    Pvh {
        /// EIP.
        entry: u32,
        /// EBX.
        start_info: u32,
    },
}

/// The kernel cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The payload is not a kernel.
    #[error("the configuration names no kernel")]
    NoKernel,
    /// A file cannot be read.
    #[error("{}: {why}", path.display())]
    Read {
        /// File.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// The content of a file is not usable.
    #[error("{}: {why}", path.display())]
    Bad {
        /// File.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The kernel or the initial RAM disk does not fit into RAM.
    #[error("{}: needs {need} MiB of memory below 3 GiB, but the machine has {have} MiB (--memory)", path.display())]
    TooBig {
        /// File.
        path: PathBuf,
        /// MiB of RAM needed.
        need: u64,
        /// MiB of RAM below 3 GiB.
        have: u64,
    },
    /// The command line is longer than the kernel accepts.
    #[error("--append: {len} bytes, but {} accepts at most {max}", path.display())]
    CommandLine {
        /// Kernel.
        path: PathBuf,
        /// Length in bytes.
        len: usize,
        /// Limit in bytes.
        max: u64,
    },
    /// ACPI and SMBIOS tables cannot be written.
    #[error(transparent)]
    Tables(#[from] fw_cfg::TablePlacementError),
    /// Guest memory below 1 MiB is missing.
    #[error("guest memory: {0}")]
    Memory(#[from] vm_memory::GuestMemoryError),
}

/// Loads kernel, initial RAM disk, command line, memory map and tables into guest RAM.
///
/// # Errors
/// If a file cannot be read, is not a kernel, or is too big.
pub fn load(memory: &Memory, config: &MachineConfig, payload: &Payload) -> Result<KernelEntry, KernelError> {
    let Payload::Kernel { kernel, initrd, append } = payload else { return Err(KernelError::NoKernel) };
    let boot = DirectBoot { memory, path: kernel, initrd: initrd.as_deref(), append: append.as_bytes() };
    if boot.low() <= HIGH_MEMORY {
        return Err(boot.too_big(kernel, HIGH_MEMORY + PAGE));
    }
    let mut file = open(kernel)?;
    let mut magic = [0; 4];
    let len = read_up_to(&mut file, kernel, &mut magic)?;
    let rsdp = fw_cfg::place_tables(config, memory)?.rsdp;
    for (n, descriptor) in GDT.into_iter().enumerate() {
        memory.ram().write_obj(descriptor, GuestAddress(GDT_BASE + 8 * n as u64))?;
    }
    if len == 4 && magic == *b"\x7fELF" { boot.vmlinux(file, rsdp) } else { boot.bzimage(file, rsdp) }
}

fn open(path: &Path) -> Result<File, KernelError> {
    let fail = |why| KernelError::Read { path: path.to_owned(), why };
    let file = File::open(path).map_err(fail)?;
    let kind = file.metadata().map_err(fail)?;
    if !kind.is_file() {
        return Err(KernelError::Bad { path: path.to_owned(), why: "is not a regular file".into() });
    }
    Ok(file)
}

/// Reads from the start of the file until `buf` is full or the file ends.
fn read_up_to(file: &mut File, path: &Path, buf: &mut [u8]) -> Result<usize, KernelError> {
    let mut read = || {
        file.seek(SeekFrom::Start(0))?;
        let mut done = 0;
        while done < buf.len() {
            match file.read(&mut buf[done..])? {
                0 => break,
                more => done += more,
            }
        }
        Ok(done)
    };
    read().map_err(|why| KernelError::Read { path: path.to_owned(), why })
}

/// Offsets in a bzImage (boot.rst, "The Real-Mode Kernel Header").
mod offset {
    pub const SETUP_HEADER: usize = 0x1f1;
    /// Base of the header length that is stored at [`super::HEADER_LEN`].
    pub const HEADER: usize = 0x202;
}
/// Offset of the header's length: the operand of its jump instruction.
const HEADER_LEN: usize = 0x201;
const HEADER_MAGIC: u32 = u32::from_le_bytes(*b"HdrS");
/// `loadflags` bit 0: the protected-mode code is loaded at 100000h.
const LOADED_HIGH: u8 = 1;
/// `type_of_loader` of a boot loader without an assigned id.
const LOADER_UNKNOWN: u8 = 0xff;
/// The oldest supported protocol: 2.05.
const OLDEST: u16 = 0x205;
/// Protocol 2.06 adds `cmdline_size`.
const HAS_CMDLINE_SIZE: u16 = 0x206;
/// Protocol 2.10 adds `pref_address` and `init_size`.
const HAS_INIT_SIZE: u16 = 0x20a;
/// Protocol 2.14 adds `acpi_rsdp_addr`.
const HAS_ACPI_RSDP: u16 = 0x20e;
/// Bytes of command line that a kernel without `cmdline_size` accepts.
const OLD_COMMAND_LINE: u64 = 255;
/// Offset of EI_CLASS; 2 is a 64-bit file.
const ELF_CLASS: usize = 4;
/// Offset of the low byte of e_machine; 62 is x86-64.
const ELF_MACHINE: usize = 18;

/// A direct boot while files are loaded.
struct DirectBoot<'a> {
    memory: &'a Memory,
    path: &'a Path,
    initrd: Option<&'a Path>,
    append: &'a [u8],
}

impl DirectBoot<'_> {
    /// Bytes of RAM below the PCI hole.
    fn low(&self) -> u64 {
        e820::low_ram(self.memory.ram_size())
    }

    fn bad(&self, why: impl Into<String>) -> KernelError {
        KernelError::Bad { path: self.path.to_owned(), why: why.into() }
    }

    fn too_big(&self, path: &Path, need: u64) -> KernelError {
        KernelError::TooBig { path: path.to_owned(), need: need.div_ceil(1 << 20), have: self.low() >> 20 }
    }

    /// Writes the command line, at most `max` bytes without the terminating zero.
    fn command_line(&self, max: u64) -> Result<(), KernelError> {
        let max = max.min(COMMAND_LINE_MAX - 1);
        if self.append.len() as u64 > max {
            return Err(KernelError::CommandLine { path: self.path.to_owned(), len: self.append.len(), max });
        }
        if self.append.contains(&0) {
            return Err(KernelError::Bad { path: "--append".into(), why: "contains a zero byte".into() });
        }
        self.memory.ram().write_slice(self.append, GuestAddress(COMMAND_LINE))?;
        self.memory.ram().write_obj(0u8, GuestAddress(COMMAND_LINE + self.append.len() as u64))?;
        Ok(())
    }

    /// Loads the initial RAM disk as high as `last` allows, above `floor`. Returns address and length, zeros without one.
    fn initrd(&self, floor: u64, last: u64) -> Result<(u64, u64), KernelError> {
        let Some(path) = self.initrd else { return Ok((0, 0)) };
        let fail = |why| KernelError::Read { path: path.to_owned(), why };
        let mut file = open(path)?;
        let len = file.seek(SeekFrom::End(0)).map_err(fail)?;
        if len == 0 {
            return Err(KernelError::Bad { path: path.to_owned(), why: "is empty".into() });
        }
        let end = self.low().min(last.saturating_add(1));
        let at = end.saturating_sub(len) & !(PAGE - 1);
        if at < floor {
            return Err(self.too_big(path, floor.saturating_add(len).saturating_add(PAGE)));
        }
        file.seek(SeekFrom::Start(0)).map_err(fail)?;
        let read = self.memory.ram().read_exact_volatile_from(GuestAddress(at), &mut file, len as usize);
        read.map_err(|why| KernelError::Bad { path: path.to_owned(), why: format!("cannot be read: {why}") })?;
        Ok((at, len))
    }

    fn bzimage(&self, mut file: File, rsdp: u64) -> Result<KernelEntry, KernelError> {
        const NOT_A_KERNEL: &str = "is not a Linux kernel (neither bzImage nor ELF)";
        let mut sector = [0; offset::SETUP_HEADER + size_of::<setup_header>()];
        let len = read_up_to(&mut file, self.path, &mut sector)?;
        if len < offset::HEADER + 4 {
            return Err(self.bad(NOT_A_KERNEL));
        }
        let mut header = setup_header::default();
        header.as_mut_slice().copy_from_slice(&sector[offset::SETUP_HEADER..]);
        if header.header != HEADER_MAGIC {
            return Err(self.bad(NOT_A_KERNEL));
        }
        let version = header.version;
        if version < OLDEST || header.loadflags & LOADED_HIGH == 0 {
            let (major, minor) = (version >> 8, version & 0xff);
            return Err(
                self.bad(format!("kernel is too old: boot protocol {major}.{minor:02}, but 2.05 or later is needed"))
            );
        }
        // The bytes after a shorter header are code.
        let fields = offset::HEADER + usize::from(sector[HEADER_LEN]) - offset::SETUP_HEADER;
        if let Some(beyond) = header.as_mut_slice().get_mut(fields..) {
            beyond.fill(0);
        }

        let setup = (if header.setup_sects == 0 { 4 } else { u64::from(header.setup_sects) } + 1) * 512;
        let size = file.metadata().map_err(|why| KernelError::Read { path: self.path.to_owned(), why })?.len();
        let code = u64::from(header.syssize) * 16;
        if size <= setup || size.next_multiple_of(16) < setup + code {
            return Err(self.bad(format!("kernel is truncated: {size} of {} bytes", setup + code)));
        }
        // End of the area into which the kernel decompresses itself.
        let mut end = HIGH_MEMORY + (size - setup);
        if version >= HAS_INIT_SIZE {
            end = end.max(header.pref_address.max(HIGH_MEMORY).saturating_add(header.init_size.into()));
        }
        if end > self.low() {
            return Err(self.too_big(self.path, end));
        }
        let loaded = BzImage::load(self.memory.ram(), Some(GuestAddress(HIGH_MEMORY)), &mut file, None);
        loaded.map_err(|why| self.bad(why.to_string()))?;

        let known = version >= HAS_CMDLINE_SIZE && header.cmdline_size != 0;
        self.command_line(if known { header.cmdline_size.into() } else { OLD_COMMAND_LINE })?;
        let (initrd, initrd_len) = self.initrd(end, header.initrd_addr_max.into())?;

        header.type_of_loader = LOADER_UNKNOWN;
        header.code32_start = HIGH_MEMORY as u32;
        header.ramdisk_image = initrd as u32;
        header.ramdisk_size = initrd_len as u32;
        header.cmd_line_ptr = COMMAND_LINE as u32;
        let mut params = boot_params { hdr: header, ..Default::default() };
        let map = e820::for_kernel(self.memory.ram_size());
        let mut table = params.e820_table;
        for (slot, entry) in table.iter_mut().zip(&map) {
            *slot = boot_e820_entry { addr: entry.base, size: entry.len, r#type: entry.kind as u32 };
        }
        params.e820_table = table;
        params.e820_entries = map.len() as u8;
        if version >= HAS_ACPI_RSDP {
            params.acpi_rsdp_addr = rsdp;
        }
        self.memory.ram().write_obj(params, GuestAddress(BOOT_PARAMS))?;
        Ok(KernelEntry::Linux32 { entry: HIGH_MEMORY as u32, boot_params: BOOT_PARAMS as u32 })
    }

    fn vmlinux(&self, mut file: File, rsdp: u64) -> Result<KernelEntry, KernelError> {
        let mut ident = [0; 64];
        let len = read_up_to(&mut file, self.path, &mut ident)?;
        if len < ident.len() {
            return Err(self.bad("is too short for an ELF kernel"));
        }
        if ident[ELF_CLASS] != 2 || ident[ELF_MACHINE] != 62 {
            return Err(self.bad("is an ELF file, but not for x86-64: use the bzImage of this kernel"));
        }
        let loaded = Elf::load(self.memory.ram(), None, &mut file, None);
        let loaded =
            loaded.map_err(|why| self.bad(format!("{why}, or the machine's memory is too small (--memory)")))?;
        let PvhBootCapability::PvhEntryPresent(entry) = loaded.pvh_boot_cap else {
            return Err(self.bad("has no PVH entry (CONFIG_PVH): use the bzImage of this kernel"));
        };
        if loaded.kernel_end > self.low() {
            return Err(self.too_big(self.path, loaded.kernel_end));
        }
        if entry.0 < HIGH_MEMORY || entry.0 >= self.low() {
            return Err(self.bad(format!("PVH entry {:x}h is outside RAM", entry.0)));
        }
        self.command_line(COMMAND_LINE_MAX)?;
        let (initrd, initrd_len) = self.initrd(loaded.kernel_end.next_multiple_of(PAGE), u32::MAX.into())?;

        let map = e820::for_kernel(self.memory.ram_size());
        let ram = self.memory.ram();
        for (n, entry) in map.iter().enumerate() {
            let at = MEMORY_MAP + (n * size_of::<hvm_memmap_table_entry>()) as u64;
            let entry =
                hvm_memmap_table_entry { addr: entry.base, size: entry.len, type_: entry.kind as u32, reserved: 0 };
            ram.write_obj(entry, GuestAddress(at))?;
        }
        let module = hvm_modlist_entry { paddr: initrd, size: initrd_len, ..Default::default() };
        ram.write_obj(module, GuestAddress(MODULE_LIST))?;
        let info = hvm_start_info {
            magic: 0x336e_c578,
            // Version 1 adds the memory map.
            version: 1,
            nr_modules: u32::from(initrd_len != 0),
            modlist_paddr: if initrd_len == 0 { 0 } else { MODULE_LIST },
            cmdline_paddr: COMMAND_LINE,
            rsdp_paddr: rsdp,
            memmap_paddr: MEMORY_MAP,
            memmap_entries: map.len() as u32,
            ..Default::default()
        };
        ram.write_obj(info, GuestAddress(START_INFO))?;
        Ok(KernelEntry::Pvh { entry: entry.0 as u32, start_info: START_INFO as u32 })
    }
}

#[cfg(test)]
mod tests;
