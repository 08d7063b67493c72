use super::*;
use crate::tables::fw_cfg::tests::machine;
use std::io::Write;
use tempfile::NamedTempFile;

const MIB: u64 = 1 << 20;

fn temp(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// A bzImage with this boot protocol version, one setup sector and `code` bytes of code. It is loaded but never run.
fn bzimage(version: u16, code: usize, change: impl Fn(&mut setup_header)) -> Vec<u8> {
    let mut header = setup_header {
        setup_sects: 1,
        syssize: (code / 16) as u32,
        header: HEADER_MAGIC,
        version,
        loadflags: LOADED_HIGH,
        // A jump over the header: EBh, length.
        jump: 0x66eb,
        initrd_addr_max: 0x7fff_ffff,
        cmdline_size: 2047,
        pref_address: HIGH_MEMORY,
        init_size: 2 << 20,
        ..Default::default()
    };
    change(&mut header);
    let mut bytes = vec![0; 1024 + code];
    bytes[0x1f1..0x1f1 + size_of::<setup_header>()].copy_from_slice(header.as_slice());
    bytes[1024..].fill(0xc3);
    bytes
}

/// An x86-64 ELF file with one segment at `paddr` and an optional PVH note with an entry point.
fn vmlinux(paddr: u64, memsz: u64, entry: Option<u32>) -> Vec<u8> {
    let mut bytes = vec![0; 0x200];
    bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    bytes[16..20].copy_from_slice(&[2, 0, 62, 0]);
    bytes[24..32].copy_from_slice(&paddr.to_le_bytes());
    bytes[32] = 64;
    bytes[52] = 64;
    bytes[54] = 56;
    bytes[56] = 1 + u8::from(entry.is_some());
    let mut header = |at: usize, kind: u32, offset: u64, paddr: u64, filesz: u64, memsz: u64| {
        bytes[at..at + 4].copy_from_slice(&kind.to_le_bytes());
        for (n, value) in [offset, paddr, paddr, filesz, memsz, 4].into_iter().enumerate() {
            bytes[at + 8 + 8 * n..at + 16 + 8 * n].copy_from_slice(&value.to_le_bytes());
        }
    };
    header(64, 1, 0x180, paddr, 0x40, memsz);
    header(120, 4, 0x100, 0, 20, 20);
    if let Some(entry) = entry {
        bytes[0x100..0x110].copy_from_slice(b"\x04\0\0\0\x04\0\0\0\x12\0\0\0Xen\0");
        bytes[0x110..0x114].copy_from_slice(&entry.to_le_bytes());
    }
    bytes[0x180..0x1c0].fill(0x90);
    bytes
}

fn start(
    ram: u64,
    kernel: &[u8],
    initrd: Option<&[u8]>,
    append: &str,
) -> (Memory, Result<KernelEntry, KernelError>, String) {
    let memory = Memory::new(ram, 0).unwrap();
    let (kernel, initrd) = (temp(kernel), initrd.map(temp));
    let path = kernel.path().display().to_string();
    let payload = Payload::Kernel {
        kernel: kernel.path().to_owned(),
        initrd: initrd.as_ref().map(|file| file.path().to_owned()),
        append: append.to_owned(),
    };
    let entry = load(&memory, &machine(ram), &payload);
    (memory, entry, path)
}

fn bytes_at(memory: &Memory, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    memory.ram().read_slice(&mut bytes, GuestAddress(at)).unwrap();
    bytes
}

#[test]
fn a_bzimage_gets_boot_parameters_initrd_command_line_and_memory_map() {
    let initrd = vec![7; 5000];
    let (memory, entry, _) = start(16 * MIB, &bzimage(0x20f, 0x8000, |_| ()), Some(&initrd), "console=ttyS0");
    assert_eq!(entry.unwrap(), KernelEntry::Linux32 { entry: 0x10_0000, boot_params: 0x7000 });
    assert_eq!(bytes_at(&memory, HIGH_MEMORY, 0x8000), vec![0xc3; 0x8000]);
    let params: boot_params = memory.ram().read_obj(GuestAddress(0x7000)).unwrap();
    let header = params.hdr;
    assert_eq!({ header.type_of_loader }, 0xff);
    let at = u64::from(header.ramdisk_image);
    assert_eq!((at, { header.ramdisk_size }), (16 * MIB - 0x2000, 5000));
    assert_eq!(bytes_at(&memory, at, 5000), initrd);
    assert_eq!(bytes_at(&memory, header.cmd_line_ptr.into(), 14), b"console=ttyS0\0");
    assert_eq!(params.e820_entries, 5);
    let last = params.e820_table[3];
    assert_eq!(({ last.addr }, { last.size }), (MIB, 15 * MIB));
    assert_eq!(bytes_at(&memory, params.acpi_rsdp_addr, 8), b"RSD PTR ");
    assert_eq!(bytes_at(&memory, GDT_BASE + 16, 8), 0x00cf_9b00_0000_ffffu64.to_le_bytes());
}

#[test]
fn an_initrd_is_loaded_below_initrd_addr_max_and_above_the_kernel() {
    let low = |header: &mut setup_header| header.initrd_addr_max = 0x4f_ffff;
    let (memory, entry, _) = start(16 * MIB, &bzimage(0x20f, 0x8000, low), Some(&[1; 4096]), "");
    entry.unwrap();
    let params: boot_params = memory.ram().read_obj(GuestAddress(0x7000)).unwrap();
    assert_eq!({ params.hdr.ramdisk_image }, 0x4f_f000);

    let tight = |header: &mut setup_header| header.initrd_addr_max = 0x2f_ffff;
    let (_, entry, _) = start(16 * MIB, &bzimage(0x20f, 0x8000, tight), Some(&[1; 4096]), "");
    assert!(matches!(entry, Err(KernelError::TooBig { .. })));
}

#[test]
fn a_short_header_leaves_the_rest_of_the_parameters_zero() {
    // The header of protocol 2.05 ends before cmdline_size; code follows it.
    let old = |header: &mut setup_header| header.jump = 0x36eb;
    let (memory, entry, _) = start(16 * MIB, &bzimage(0x205, 0x8000, old), None, "quiet");
    entry.unwrap();
    let params: boot_params = memory.ram().read_obj(GuestAddress(0x7000)).unwrap();
    assert_eq!(({ params.hdr.cmdline_size }, { params.hdr.init_size }), (0, 0));
    assert_eq!({ params.acpi_rsdp_addr }, 0, "acpi_rsdp_addr exists from protocol 2.14 on");
    assert_eq!({ params.hdr.initrd_addr_max }, 0x7fff_ffff);
}

#[test]
fn a_vmlinux_gets_pvh_start_info() {
    let (memory, entry, _) =
        start(16 * MIB, &vmlinux(0x20_0000, 0x1000, Some(0x20_0010)), Some(&[3; 100]), "root=/dev/sda1");
    assert_eq!(entry.unwrap(), KernelEntry::Pvh { entry: 0x20_0010, start_info: 0x6000 });
    let info: hvm_start_info = memory.ram().read_obj(GuestAddress(0x6000)).unwrap();
    assert_eq!((info.magic, info.version, info.nr_modules, info.memmap_entries), (0x336e_c578, 1, 1, 5));
    assert_eq!(bytes_at(&memory, info.cmdline_paddr, 15), b"root=/dev/sda1\0");
    assert_eq!(bytes_at(&memory, info.rsdp_paddr, 8), b"RSD PTR ");
    let module: hvm_modlist_entry = memory.ram().read_obj(GuestAddress(info.modlist_paddr)).unwrap();
    assert_eq!(bytes_at(&memory, module.paddr, module.size as usize), [3; 100]);
    assert_eq!(bytes_at(&memory, 0x20_0000, 0x40), [0x90; 0x40]);
}

#[test]
fn an_unusable_kernel_is_named_with_the_reason() {
    let zimage = bzimage(0x20f, 0x8000, |header| header.loadflags = 0);
    let cut = bzimage(0x20f, 0x8000, |header| header.syssize = 0x10_0000);
    let huge = bzimage(0x20f, 0x8000, |header| header.init_size = 64 << 20);
    let mut elf32 = vmlinux(0x20_0000, 0x1000, None);
    elf32[4] = 1;
    let long = "x".repeat(2048);
    for (kernel, append, expect) in [
        (vec![], "", "is not a Linux kernel"),
        (vec![0; 100], "", "is not a Linux kernel"),
        (b"#!/bin/sh\n".repeat(200), "", "is not a Linux kernel"),
        (bzimage(0x203, 0x8000, |_| ()), "", "kernel is too old: boot protocol 2.03"),
        (zimage, "", "kernel is too old"),
        (cut, "", "kernel is truncated: 33792 of 16778240 bytes"),
        (huge, "", "needs 65 MiB of memory below 3 GiB, but the machine has 16 MiB"),
        (bzimage(0x20f, 0x8000, |_| ()), &long, "--append: 2048 bytes"),
        (elf32, "", "is an ELF file, but not for x86-64"),
        (b"\x7fELF".to_vec(), "", "is too short"),
        (vmlinux(0x20_0000, 0x1000, None), "", "has no PVH entry"),
        (vmlinux(0x20_0000, 0x1000, Some(0x10)), "", "PVH entry 10h is outside RAM"),
        (vmlinux(0x20_0000, 64 << 20, Some(0x20_0000)), "", "needs 66 MiB"),
        (vmlinux(64 << 20, 0x1000, Some(0x20_0000)), "", "memory is too small"),
    ] {
        let (_, entry, path) = start(16 * MIB, &kernel, None, append);
        let error = entry.unwrap_err().to_string();
        assert!(error.contains(expect), "{expect}: {error}");
        assert!(error.contains(&path) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn an_unreadable_file_is_named_with_the_reason() {
    let memory = Memory::new(16 * MIB, 0).unwrap();
    let kernel = temp(&bzimage(0x20f, 0x8000, |_| ()));
    let dir = tempfile::tempdir().unwrap();
    let empty = temp(&[]);
    let missing = dir.path().join("missing");
    let attempt = |kernel: &Path, initrd: Option<&Path>| {
        let payload =
            Payload::Kernel { kernel: kernel.to_owned(), initrd: initrd.map(Path::to_owned), append: String::new() };
        load(&memory, &machine(16 * MIB), &payload).unwrap_err().to_string()
    };
    for (error, path, expect) in [
        (attempt(&missing, None), &*missing, "No such file"),
        (attempt(dir.path(), None), dir.path(), "not a regular file"),
        (attempt(kernel.path(), Some(&missing)), &*missing, "No such file"),
        (attempt(kernel.path(), Some(dir.path())), dir.path(), "not a regular file"),
        (attempt(kernel.path(), Some(empty.path())), empty.path(), "is empty"),
    ] {
        assert!(error.starts_with(&path.display().to_string()) && error.contains(expect), "{error}");
    }
    let huge = temp(&[]);
    huge.as_file().set_len(1 << 40).unwrap();
    assert!(attempt(kernel.path(), Some(huge.path())).contains("needs 1048"), "a sparse file of 1 TiB");
    assert!(attempt(huge.path(), None).contains("is not a Linux kernel"));
}

#[test]
fn a_kernel_does_not_fit_into_1_mib_of_ram() {
    let (_, entry, _) = start(MIB, &bzimage(0x20f, 0x8000, |_| ()), None, "");
    assert!(matches!(entry, Err(KernelError::TooBig { .. })));
}
