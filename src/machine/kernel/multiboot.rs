//! Multiboot kernels (Multiboot Specification 0.6.96): the header, the memory image, command line and modules. The loader ROM
//! adds what only the BIOS knows.

use super::elf_image::{self, ElfImage};
use super::{BOOT_INFO, Kernel, KernelError, Loading, dword, key, push_text};

/// Parameter of the loader ROM.
const KIND: u32 = 1;
const MAGIC: u32 = 0x1bad_b002;
/// Magic of the second version's header.
const MAGIC_2: u32 = 0xe852_50d6;
/// The header is within these first bytes of the file.
const SEARCHED: usize = 8192;
/// The second version's header is within these.
const SEARCHED_2: usize = 32768;

/// Flags of the header. Bits 0 (modules on page boundaries) and 1 (memory information) are always satisfied.
const WANTS_VIDEO: u32 = 1 << 2;
const HAS_ADDRESSES: u32 = 1 << 16;
/// Bits of requirements that this loader must refuse, because it does not know them.
const UNKNOWN: u32 = 0xfff8;

/// Bytes of the information structure.
const INFO: usize = 128;
/// Bytes of a module's entry.
const MODULE: usize = 16;
/// Flags of the information structure.
const HAS_COMMAND_LINE: u32 = 1 << 2;
const HAS_MODULES: u32 = 1 << 3;
const HAS_LOADER_NAME: u32 = 1 << 9;

/// A Multiboot header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Offset in the file.
    at: usize,
    flags: u32,
    /// header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr.
    addresses: [u32; 5],
    /// mode_type, width, height, depth.
    video: [u32; 4],
}

impl Header {
    /// The header of the file, if it has one.
    pub fn find(bytes: &[u8]) -> Option<Self> {
        let searched = bytes.get(..SEARCHED).unwrap_or(bytes);
        let at = (0..searched.len()).step_by(4).find(|&at| {
            let [magic, flags, checksum] = [0, 4, 8].map(|offset| dword(searched, at + offset));
            magic == MAGIC && magic.wrapping_add(flags).wrapping_add(checksum) == 0
        })?;
        Some(Self {
            at,
            flags: dword(bytes, at + 4),
            addresses: [12, 16, 20, 24, 28].map(|offset| dword(bytes, at + offset)),
            video: [32, 36, 40, 44].map(|offset| dword(bytes, at + offset)),
        })
    }
}

/// Whether the file has a header of Multiboot 2.
pub fn is_version_2(bytes: &[u8]) -> bool {
    let searched = bytes.get(..SEARCHED_2).unwrap_or(bytes);
    (0..searched.len()).step_by(8).any(|at| {
        let words = [0, 4, 8, 12].map(|offset| dword(searched, at + offset));
        words[0] == MAGIC_2 && words.into_iter().fold(0, u32::wrapping_add) == 0
    })
}

/// Address, content and entry of a kernel whose header has addresses, whatever its format ("a.out kludge").
fn image_by_addresses(loading: &Loading<'_>, bytes: &[u8], header: Header) -> Result<(u64, Vec<u8>, u64), KernelError> {
    let wrong = |what: &str| loading.bad(format!("its Multiboot header is wrong: {what}"));
    let [header_address, start, load_end, bss_end, entry] = header.addresses.map(u64::from);
    let skipped = header_address.checked_sub(start).ok_or_else(|| wrong("load_addr is above header_addr"))?;
    let from = (header.at as u64).checked_sub(skipped).ok_or_else(|| wrong("load_addr is before the file"))?;
    let content = &bytes[from as usize..];
    let content = match load_end {
        0 => content,
        end => {
            let length = end.checked_sub(start).ok_or_else(|| wrong("load_end_addr is below load_addr"))?;
            content.get(..length as usize).ok_or_else(|| wrong("load_end_addr is behind the end of the file"))?
        }
    };
    let loaded = start + content.len() as u64;
    let end = if bss_end == 0 { loaded } else { bss_end };
    if end < loaded {
        return Err(wrong("bss_end_addr is below load_end_addr"));
    }
    loading.check_range(start, end)?;
    let mut image = content.to_vec();
    image.resize((end - start) as usize, 0);
    Ok((start, image, entry))
}

pub fn load(loading: &Loading<'_>, bytes: &[u8], header: Header) -> Result<Kernel, KernelError> {
    if header.flags & UNKNOWN != 0 {
        let unknown = header.flags & UNKNOWN;
        return Err(loading.bad(format!("its Multiboot header requires what pcvm does not have (flags {unknown:x}h)")));
    }
    let (address, image, entry) = if header.flags & HAS_ADDRESSES != 0 {
        image_by_addresses(loading, bytes, header)?
    } else if elf_image::is_elf(bytes) {
        let ElfImage { address, bytes, entry, .. } = ElfImage::new(loading, bytes)?;
        (address, bytes, entry)
    } else {
        return Err(loading.bad("has a Multiboot header, but neither ELF segments nor addresses in the header"));
    };
    let end = address + image.len() as u64;
    if !(address..end).contains(&entry) {
        return Err(loading.bad(format!("the entry {entry:x}h is outside of the kernel")));
    }
    let modules = loading.modules()?;
    let placed = loading.place_modules(&modules, end)?;

    let mut info = vec![0; INFO + MODULE * modules.len()];
    for (n, (module, (start, length))) in modules.iter().zip(&placed.places).enumerate() {
        let text = push_text(&mut info, &module.command_line);
        let at = INFO + MODULE * n;
        for (n, word) in [*start as u32, (start + length) as u32, text].into_iter().enumerate() {
            info[at + 4 * n..at + 4 * n + 4].copy_from_slice(&word.to_le_bytes());
        }
    }
    // As GRUB Legacy and QEMU: the kernel's name is the first word.
    let append = &loading.config.append;
    let name = loading.path().to_string_lossy();
    let command_line = if append.is_empty() { name.into_owned() } else { format!("{name} {append}") };
    let command_line = push_text(&mut info, &command_line);
    let loader_name = push_text(&mut info, "pcvm");
    let mut flags = HAS_COMMAND_LINE | HAS_LOADER_NAME;
    let mut set = |at: usize, word: u32| info[at..at + 4].copy_from_slice(&word.to_le_bytes());
    set(16, command_line);
    set(64, loader_name);
    if !modules.is_empty() {
        flags |= HAS_MODULES;
        set(20, modules.len() as u32);
        set(24, BOOT_INFO as u32 + INFO as u32);
    }
    set(0, flags);
    loading.check_info(&info)?;

    let [mode, width, height, depth] = header.video;
    let mut kernel = Kernel::new(&[KIND, 0, u32::from(header.flags & WANTS_VIDEO != 0), mode, width, height, depth]);
    kernel.keys.insert(key::KERNEL_ENTRY, (entry as u32).to_le_bytes().to_vec());
    kernel.part(key::KERNEL, address, image);
    kernel.part(key::INITRD, placed.start, placed.bytes);
    kernel.part(key::SETUP, BOOT_INFO, info);
    Ok(kernel)
}
