//! PVH (Xen, docs/misc/pvh.pandoc): ELF kernels with the note XEN_ELFNOTE_PHYS32_ENTRY, such as Linux' vmlinux. The loader ROM
//! adds the memory map and the ACPI RSDP to the start information.

use super::elf_image::ElfImage;
use super::{BOOT_INFO, Kernel, KernelError, Loading, key, push_text};
use linux_loader::loader::elf::start_info::{hvm_modlist_entry, hvm_start_info};
use vm_memory::ByteValued;

/// Parameter of the loader ROM.
const KIND: u32 = 2;
/// `hvm_start_info` (Xen, `public/arch-x86/hvm/start_info.h`).
const MAGIC: u32 = 0x336e_c578;
/// Version 1 adds the memory map.
const VERSION: u32 = 1;
/// Where the list of modules is in the start information, and the size of an entry.
const MODULES: usize = 64;
const MODULE: usize = size_of::<hvm_modlist_entry>();

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

    let mut info = vec![0; MODULES + MODULE * modules.len()];
    for (n, (module, &(paddr, size))) in modules.iter().zip(&placed.places).enumerate() {
        let cmdline_paddr = push_text(&mut info, &module.command_line).into();
        let entry = hvm_modlist_entry { paddr, size, cmdline_paddr, reserved: 0 };
        info[MODULES + MODULE * n..][..MODULE].copy_from_slice(entry.as_slice());
    }
    let start = hvm_start_info {
        magic: MAGIC,
        version: VERSION,
        nr_modules: modules.len() as u32,
        modlist_paddr: if modules.is_empty() { 0 } else { BOOT_INFO + MODULES as u64 },
        cmdline_paddr: push_text(&mut info, &loading.config.append).into(),
        ..hvm_start_info::default()
    };
    info[..size_of::<hvm_start_info>()].copy_from_slice(start.as_slice());
    loading.check_info(&info)?;

    let mut kernel = Kernel::new(&[KIND]);
    kernel.keys.insert(key::KERNEL_ENTRY, (entry as u32).to_le_bytes().to_vec());
    kernel.part(key::KERNEL, image.address, image.bytes);
    kernel.part(key::INITRD, placed.start, placed.bytes);
    kernel.part(key::SETUP, BOOT_INFO, info);
    Ok(kernel)
}
