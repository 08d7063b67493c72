//! Linux (Documentation/arch/x86/boot.rst): every boot protocol from the first zImages on. The loader ROM enters the kernel's
//! 16-bit setup code, which calls the BIOS for memory map, video mode, APM and disks.
//!
//! The setup code is at 10000h and the command line at 20000h; kernels before protocol 2.02 and zImages have both at
//! 90000h. The loader ROM moves the initial RAM disk down where the memory map requires it.

use super::{FIRMWARE_TABLES, HIGH, Kernel, KernelError, LOW, Loading, PAGE, key, word};
use linux_loader::loader::bootparam::setup_header;
use vm_memory::ByteValued;

/// Parameter of the loader ROM.
const KIND: u32 = 0;

/// Offsets in the setup code.
mod field {
    pub const OLD_COMMAND_LINE_MAGIC: usize = 0x20;
    pub const OLD_COMMAND_LINE: usize = 0x22;
    pub const SETUP_SECTS: usize = 0x1f1;
    pub const SYSSIZE: usize = 0x1f4;
    pub const VID_MODE: usize = 0x1fa;
    pub const BOOT_FLAG: usize = 0x1fe;
    /// Operand of the jump over the header, whose length is counted from [`HEADER`].
    pub const HEADER_LENGTH: usize = 0x201;
    pub const HEADER: usize = 0x202;
    pub const TYPE_OF_LOADER: usize = 0x210;
    pub const LOADFLAGS: usize = 0x211;
    pub const RAMDISK_IMAGE: usize = 0x218;
    pub const RAMDISK_SIZE: usize = 0x21c;
    pub const HEAP_END_PTR: usize = 0x224;
    pub const CMD_LINE_PTR: usize = 0x228;
}

const HEADER_MAGIC: &[u8] = b"HdrS";
const BOOT_FLAG: u16 = 0xaa55;
/// Magic of the command line before protocol 2.02.
const OLD_COMMAND_LINE_MAGIC: u16 = 0xa33f;
/// `type_of_loader` of a boot loader without an assigned id.
const LOADER_UNKNOWN: u8 = 0xff;
/// `loadflags`: the protected-mode code is loaded at 100000h; `heap_end_ptr` is valid.
const LOADED_HIGH: u8 = 1 << 0;
const CAN_USE_HEAP: u8 = 1 << 7;
/// `xloadflags`: kernel and initial RAM disk may be anywhere.
const ABOVE_4G: u16 = 1 << 1;

/// Where the parts of a kernel go.
struct Layout {
    setup: u64,
    code: u64,
    command_line: u64,
    /// Offset in the setup segment of the end of stack and heap.
    stack: u16,
}

const MODERN: Layout = Layout { setup: LOW, code: HIGH, command_line: 0x2_0000, stack: 0xe000 };
const OLD: Layout = Layout { setup: 0x9_0000, code: HIGH, command_line: 0x9_9800, stack: 0x9800 };
const ZIMAGE: Layout = Layout { code: LOW, ..OLD };

/// The longest setup code, boot sector included.
const SETUP_MAX: usize = 0x8200;
/// Bytes that a zImage's code may have, from 10000h to 8FFFFh.
const ZIMAGE_MAX: usize = 0x8_0000;
/// Bytes for the command line at 20000h.
const COMMAND_LINE_MAX: usize = 0xffff;
/// Bytes of command line that a kernel without `cmdline_size` accepts.
const OLD_COMMAND_LINE_MAX: usize = 255;
/// Highest address of an initial RAM disk for protocols without `initrd_addr_max`.
const OLD_INITRD_MAX: u64 = 0x37ff_ffff;
/// The stack that the setup code needs besides its heap.
const STACK_SIZE: u16 = 0x200;

/// Whether the file has the header of protocol 2.00 or later.
pub fn has_header(bytes: &[u8]) -> bool {
    bytes.get(field::HEADER..).is_some_and(|rest| rest.starts_with(HEADER_MAGIC))
}

/// Whether the file is a kernel from before protocol 2.00. It has no magic of its own, so the sizes in its first sector must
/// be those of the file.
pub fn is_old(bytes: &[u8]) -> bool {
    let setup = setup_size(bytes);
    let code = usize::from(word(bytes, field::SYSSIZE)) * 16;
    word(bytes, field::BOOT_FLAG) == BOOT_FLAG
        && code > 0
        && setup < SETUP_MAX
        && bytes.len() > setup
        && (bytes.len() - setup).abs_diff(code) < 512
}

/// Bytes of the setup code, boot sector included.
fn setup_size(bytes: &[u8]) -> usize {
    let sectors = match bytes.get(field::SETUP_SECTS) {
        None | Some(0) => 4,
        Some(&sectors) => usize::from(sectors),
    };
    (sectors + 1) * 512
}

/// The header's fields, up to those of protocol 2.15: those that the kernel has not are zero.
struct Header {
    fields: setup_header,
    version: u16,
}

impl Header {
    fn new(file: &[u8]) -> Self {
        let end = match file.get(field::HEADER_LENGTH) {
            Some(&length) if has_header(file) => field::HEADER + usize::from(length),
            _ => field::HEADER,
        };
        let mut fields = setup_header::default();
        let known = file.get(field::SETUP_SECTS..end.min(file.len())).unwrap_or_default();
        for (to, from) in fields.as_mut_slice().iter_mut().zip(known) {
            *to = *from;
        }
        Self { fields, version: fields.version }
    }

    /// A field, if the protocol has it from `since` on and it is not 0.
    fn since(&self, since: u16, field: u32) -> Option<u32> {
        Some(field).filter(|field| self.version >= since && *field != 0)
    }

    fn loaded_high(&self) -> bool {
        self.fields.loadflags & LOADED_HIGH != 0
    }

    fn layout(&self) -> Layout {
        match self.version {
            _ if !self.loaded_high() => ZIMAGE,
            0..0x202 => OLD,
            _ => MODERN,
        }
    }

    fn command_line_max(&self) -> usize {
        if self.version < 0x202 || !self.loaded_high() {
            return OLD_COMMAND_LINE_MAX;
        }
        let size = self.since(0x206, self.fields.cmdline_size);
        size.map_or(OLD_COMMAND_LINE_MAX, |size| (size as usize).min(COMMAND_LINE_MAX))
    }

    /// The highest address of the initial RAM disk.
    fn initrd_max(&self) -> u64 {
        // A kernel that takes it above 4 GiB has no limit below. `initrd_addr_max` is 2 GiB even so, for the sake of boot
        // loaders with signed addresses.
        if self.version >= 0x20c && self.fields.xloadflags & ABOVE_4G != 0 {
            return u32::MAX.into();
        }
        self.since(0x203, self.fields.initrd_addr_max).map_or(OLD_INITRD_MAX, u64::from)
    }

    /// End of the memory in which the kernel unpacks itself, for `code` bytes of protected-mode code.
    fn end(&self, at: u64, code: usize) -> u64 {
        let end = at + code as u64;
        let Some(size) = self.since(0x20a, self.fields.init_size) else { return end };
        let preferred = self.fields.pref_address;
        end.max(preferred.max(at).saturating_add(size.into()))
    }
}

/// `vid_mode` for `vga=` in the command line (boot.rst, "Special Command Line Options").
fn video_mode(append: &str) -> Result<Option<u16>, KernelError> {
    let Some(value) = append.split_ascii_whitespace().rev().find_map(|option| option.strip_prefix("vga=")) else {
        return Ok(None);
    };
    let number = |text: &str| {
        let lower = text.to_ascii_lowercase();
        match lower.strip_prefix("0x") {
            Some(digits) => u16::from_str_radix(digits, 16).ok(),
            None if lower.len() > 1 && lower.starts_with('0') => u16::from_str_radix(&lower, 8).ok(),
            None => lower.parse().ok(),
        }
    };
    match value {
        "normal" => Ok(Some(0xffff)),
        "ext" => Ok(Some(0xfffe)),
        "ask" => Ok(Some(0xfffd)),
        _ => number(value).map(Some).ok_or_else(|| {
            KernelError::Argument(format!(
                "vga={value} is not a video mode: use ask, normal, ext or a number such as 0x314"
            ))
        }),
    }
}

/// The end of memory that `mem=` sets: an integer in C notation with K, M, G, T, P or E. The kernel knows further forms, which
/// do not move the end.
fn memory_limit(append: &str) -> Option<u64> {
    append.split_ascii_whitespace().filter_map(|option| option.strip_prefix("mem=")).filter_map(size).next_back()
}

fn size(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let shift = match lower.as_bytes().last()? {
        b'k' => 10,
        b'm' => 20,
        b'g' => 30,
        b't' => 40,
        b'p' => 50,
        b'e' if !lower.starts_with("0x") => 60,
        _ => 0,
    };
    let digits = if shift == 0 { lower.as_str() } else { &lower[..lower.len() - 1] };
    let number = match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok()?,
        None if digits.len() > 1 && digits.starts_with('0') => u64::from_str_radix(digits, 8).ok()?,
        None => digits.parse().ok()?,
    };
    number.checked_mul(1 << shift)
}

/// The initial RAM disk: the highest address that the kernel and `mem=` allow, and its content. `floor` is the end of the
/// kernel.
fn initrd(loading: &Loading<'_>, header: &Header, floor: u64) -> Result<(u64, Vec<u8>), KernelError> {
    let Some(path) = &loading.config.initrd else { return Ok((0, Vec::new())) };
    if header.version < 0x200 {
        return Err(loading.bad("takes no initial RAM disk: its boot protocol is older than 2.00 (--initrd)"));
    }
    let bytes = loading.read(path)?;
    let len = bytes.len() as u64;
    let limit = header.initrd_max().saturating_add(1);
    if floor + len > limit {
        return Err(KernelError::Bad {
            path: path.clone(),
            why: format!(
                "has {} MiB, but this kernel takes an initial RAM disk of at most {} MiB (initrd_addr_max is {:x}h)",
                len.div_ceil(1 << 20),
                limit.saturating_sub(floor) >> 20,
                limit - 1
            ),
        });
    }
    let memory = memory_limit(&loading.config.append).map_or(loading.low, |end| end.min(loading.low));
    let end = memory.min(limit);
    if floor + len + if memory < loading.low { 0 } else { FIRMWARE_TABLES } > memory {
        return Err(loading.too_big(path, floor + len + FIRMWARE_TABLES));
    }
    Ok(((end - len) & !(PAGE - 1), bytes))
}

pub fn load(loading: &Loading<'_>, mut file: Vec<u8>) -> Result<Kernel, KernelError> {
    let header = Header::new(&file);
    let layout = header.layout();
    let setup_size = setup_size(&file);
    if setup_size > SETUP_MAX {
        return Err(loading.bad(format!("its setup code is too long: {setup_size} bytes")));
    }
    // `syssize` has four bytes from protocol 2.04 on; older boot loaders ignored it.
    let syssize = header.since(0x204, header.fields.syssize).map_or(0, |size| size as usize * 16);
    if file.len() <= setup_size || file.len().next_multiple_of(16) < setup_size + syssize {
        return Err(loading.bad(format!("is truncated: {} of {} bytes", file.len(), setup_size + syssize.max(1))));
    }
    let code = file.split_off(setup_size);
    let mut setup = file;
    if layout.code == LOW && code.len() > ZIMAGE_MAX {
        return Err(loading.bad(format!("is too long for a zImage: {} of at most {ZIMAGE_MAX} bytes", code.len())));
    }
    let end = header.end(layout.code, code.len());
    let needed = end.saturating_add(FIRMWARE_TABLES);
    if layout.code == HIGH && needed > loading.low {
        return Err(loading.too_big(loading.path(), needed));
    }
    let floor = end.max(HIGH);
    let command_line = loading.command_line(header.command_line_max())?;
    let (initrd_at, initrd) = initrd(loading, &header, floor)?;

    let mut set = |at: usize, bytes: &[u8]| setup[at..at + bytes.len()].copy_from_slice(bytes);
    if let Some(mode) = video_mode(command_line)? {
        set(field::VID_MODE, &mode.to_le_bytes());
    }
    if header.version >= 0x202 {
        set(field::CMD_LINE_PTR, &(layout.command_line as u32).to_le_bytes());
    } else {
        set(field::OLD_COMMAND_LINE_MAGIC, &OLD_COMMAND_LINE_MAGIC.to_le_bytes());
        set(field::OLD_COMMAND_LINE, &((layout.command_line - layout.setup) as u16).to_le_bytes());
    }
    if header.version >= 0x200 {
        set(field::TYPE_OF_LOADER, &[LOADER_UNKNOWN]);
        set(field::RAMDISK_IMAGE, &(initrd_at as u32).to_le_bytes());
        set(field::RAMDISK_SIZE, &(initrd.len() as u32).to_le_bytes());
    }
    if header.version >= 0x201 {
        set(field::LOADFLAGS, &[header.fields.loadflags | CAN_USE_HEAP]);
        set(field::HEAP_END_PTR, &(layout.stack - STACK_SIZE).to_le_bytes());
    }

    let mut kernel = Kernel::new(&[KIND, floor as u32]);
    kernel.part(key::SETUP, layout.setup, setup);
    kernel.part(key::KERNEL, layout.code, code);
    kernel.part(key::COMMAND_LINE, layout.command_line, [command_line.as_bytes(), b"\0"].concat());
    kernel.part(key::INITRD, initrd_at, initrd);
    Ok(kernel)
}
