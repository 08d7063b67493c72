//! PVH (Xen, docs/misc/pvh.pandoc): ELF kernels with the note XEN_ELFNOTE_PHYS32_ENTRY, such as Linux' vmlinux. The loader ROM
//! adds the memory map and the ACPI RSDP to the start information.

use super::elf_image::ElfImage;
use super::{BOOT_INFO, Kernel, KernelError, Loading, key, push_text};

/// Parameter of the loader ROM.
const KIND: u32 = 2;
/// `hvm_start_info` (Xen, `public/arch-x86/hvm/start_info.h`).
const MAGIC: u32 = 0x336e_c578;
/// Version 1 adds the memory map.
const VERSION: u32 = 1;
/// Bytes of it, of which the last 8 are padding.
const START_INFO: usize = 64;
/// Bytes of a `hvm_modlist_entry`: address, length, command line, reserved.
const MODULE: usize = 32;

pub fn load(loading: &Loading<'_>, bytes: &[u8]) -> Result<Kernel, KernelError> {
    let image = ElfImage::new(loading, bytes)?;
    let Some(entry) = image.pvh_entry else {
        return Err(loading.bad("is an ELF file, but has neither a Multiboot header nor a PVH entry: use the bzImage"));
    };
    if !(image.address..image.end()).contains(&entry) {
        return Err(loading.bad(format!("the PVH entry {entry:x}h is outside of the kernel")));
    }
    let modules = loading.modules()?;
    let placed = loading.place_modules(&modules, image.end())?;

    let mut info = vec![0; START_INFO + MODULE * modules.len()];
    for (n, (module, (address, length))) in modules.iter().zip(&placed.places).enumerate() {
        let text = u64::from(push_text(&mut info, &module.command_line));
        let at = START_INFO + MODULE * n;
        for (n, quad) in [*address, *length, text].into_iter().enumerate() {
            info[at + 8 * n..at + 8 * n + 8].copy_from_slice(&quad.to_le_bytes());
        }
    }
    let list = if modules.is_empty() { 0 } else { BOOT_INFO as u32 + START_INFO as u32 };
    let command_line = push_text(&mut info, &loading.config.append);
    // Magic, version, flags, number of modules, then the low halves of the addresses of modules and command line.
    for (n, word) in [MAGIC, VERSION, 0, modules.len() as u32, list, 0, command_line].into_iter().enumerate() {
        info[4 * n..4 * n + 4].copy_from_slice(&word.to_le_bytes());
    }
    loading.check_info(&info)?;

    let mut kernel = Kernel::new(&[KIND]);
    kernel.keys.insert(key::KERNEL_ENTRY, (entry as u32).to_le_bytes().to_vec());
    kernel.part(key::KERNEL, image.address, image.bytes);
    kernel.part(key::INITRD, placed.start, placed.bytes);
    kernel.part(key::SETUP, BOOT_INFO, info);
    Ok(kernel)
}
