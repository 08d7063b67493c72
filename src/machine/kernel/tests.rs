//! Tests with kernels made here: every kind is recognised, placed and described, and every unusable one is named.

use super::*;
use std::io::Write;
use tempfile::NamedTempFile;

const MIB: u64 = 1 << 20;

fn temp(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// A Linux kernel with this boot protocol version, two setup sectors and `code` bytes of code. It is never run.
fn linux(version: u16, code: usize, change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut bytes = vec![0; 1536 + code];
    put(&mut bytes, 0x1f1, &[2]);
    put(&mut bytes, 0x1f4, &(code as u32 / 16).to_le_bytes());
    put(&mut bytes, 0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
    put(&mut bytes, 0x202, b"HdrS");
    put(&mut bytes, 0x206, &version.to_le_bytes());
    put(&mut bytes, 0x211, &[1]);
    put(&mut bytes, 0x22c, &0x7fff_ffffu32.to_le_bytes());
    put(&mut bytes, 0x238, &2047u32.to_le_bytes());
    put(&mut bytes, 0x258, &0x10_0000u64.to_le_bytes());
    put(&mut bytes, 0x260, &(2u32 << 20).to_le_bytes());
    bytes[1536..].fill(0xc3);
    change(&mut bytes);
    bytes
}

/// A zImage without a header, as Linux 1.0 has them.
fn old_linux() -> Vec<u8> {
    linux(0, 0x8000, |bytes| bytes[0x200..0x26c].fill(0))
}

/// Physical address, virtual address, content, bytes in memory.
type Segment<'a> = (u64, u64, &'a [u8], u64);

/// An ELF file of 32 or 64 bits with these segments, and optionally a PVH note.
fn elf(bits: u8, machine: u16, entry: u64, segments: &[Segment<'_>], pvh: Option<u32>) -> Vec<u8> {
    let wide = bits == 64;
    let (header, size) = if wide { (64, 56) } else { (52, 32) };
    let mut notes = Vec::new();
    if let Some(pvh) = pvh {
        // Another note first: owner and type decide.
        notes.extend_from_slice(b"\x04\0\0\0\x04\0\0\0\x12\0\0\0GNU\0\x01\0\0\0");
        notes.extend_from_slice(b"\x04\0\0\0\x04\0\0\0\x12\0\0\0Xen\0");
        notes.extend_from_slice(&pvh.to_le_bytes());
    }
    let count = segments.len() + usize::from(pvh.is_some());
    let mut bytes = vec![0; header + size * count];
    put(&mut bytes, 0, &[0x7f, b'E', b'L', b'F', if wide { 2 } else { 1 }, 1, 1]);
    put(&mut bytes, 16, &[2, 0]);
    put(&mut bytes, 18, &machine.to_le_bytes());
    put(&mut bytes, 20, &[1]);
    let number = |value: u64| if wide { value.to_le_bytes().to_vec() } else { (value as u32).to_le_bytes().to_vec() };
    put(&mut bytes, 24, &number(entry));
    put(&mut bytes, if wide { 32 } else { 28 }, &number(header as u64));
    put(&mut bytes, if wide { 52 } else { 40 }, &[header as u8, 0, size as u8, 0, count as u8]);
    let load = segments.iter().map(|segment| (1, *segment));
    let note: Option<(u32, Segment<'_>)> = pvh.map(|_| (4, (0, 0, &notes[..], notes.len() as u64)));
    for (n, (kind, (physical, virtual_, content, memory))) in load.chain(note).enumerate() {
        let at = header + size * n;
        let offset = bytes.len().next_multiple_of(16);
        bytes.resize(offset, 0);
        let fields = [offset as u64, virtual_, physical, content.len() as u64, memory];
        put(&mut bytes, at, &kind.to_le_bytes()[..]);
        if wide {
            put(&mut bytes, at + 4, &[7]);
            put(&mut bytes, at + 8, &fields.map(u64::to_le_bytes).concat());
            put(&mut bytes, at + 48, &[4]);
        } else {
            put(&mut bytes, at + 4, &fields.map(|field| (field as u32).to_le_bytes()).concat());
            put(&mut bytes, at + 24, &[7, 0, 0, 0, 4]);
        }
        bytes.extend_from_slice(content);
    }
    bytes
}

/// A Multiboot header.
fn multiboot(flags: u32, rest: &[u32]) -> Vec<u8> {
    let magic = 0x1bad_b002u32;
    let checksum = 0u32.wrapping_sub(magic.wrapping_add(flags));
    [magic, flags, checksum].iter().chain(rest).flat_map(|word| word.to_le_bytes()).collect()
}

fn start(ram: u64, kernel: &[u8], initrd: Option<&str>, append: &str) -> (Result<Kernel, KernelError>, String) {
    let kernel = temp(kernel);
    let path = kernel.path().to_owned();
    let append = append.to_owned();
    let result = load(&KernelConfig { kernel: path.clone(), initrd: initrd.map(Into::into), append }, ram);
    (result, path.display().to_string())
}

/// Address and content of a part.
fn part(kernel: &Kernel, [address, size, data]: [u16; 3]) -> (u32, &[u8]) {
    let bytes = &kernel.keys[&data][..];
    assert_eq!(dword(&kernel.keys[&size], 0) as usize, bytes.len());
    (dword(&kernel.keys[&address], 0), bytes)
}

fn parameters(kernel: &Kernel) -> Vec<u32> {
    assert_eq!(kernel.rom.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0, "the ROM's checksum");
    (0..8).map(|n| dword(&kernel.rom, ROM_PARAMETERS + 4 * n)).collect()
}

fn text(info: &[u8], address: u32) -> &str {
    let at = (u64::from(address) - BOOT_INFO) as usize;
    let end = info[at..].iter().position(|byte| *byte == 0).unwrap();
    str::from_utf8(&info[at..at + end]).unwrap()
}

#[test]
fn a_bzimage_gets_command_line_heap_and_initrd_at_the_end_of_memory() {
    let initrd = temp(&[7; 5000]);
    let append = "console=ttyS0 vga=0x314";
    let (kernel, _) = start(16 * MIB, &linux(0x20f, 0x8000, |_| ()), initrd.path().to_str(), append);
    let kernel = kernel.unwrap();
    assert_eq!(parameters(&kernel)[..2], [0, 3 << 20]);
    let (at, setup) = part(&kernel, key::SETUP);
    assert_eq!((at, setup.len()), (0x1_0000, 1536));
    assert_eq!((setup[0x210], setup[0x211]), (0xff, 0x81));
    assert_eq!(word(setup, 0x1fa), 0x314);
    assert_eq!(word(setup, 0x224), 0xde00);
    assert_eq!(dword(setup, 0x228), 0x2_0000);
    assert_eq!((dword(setup, 0x218), dword(setup, 0x21c)), (0xff_e000, 5000));
    assert_eq!(part(&kernel, key::KERNEL), (0x10_0000, &[0xc3; 0x8000][..]));
    assert_eq!(part(&kernel, key::COMMAND_LINE), (0x2_0000, format!("{append}\0").as_bytes()));
    assert_eq!(part(&kernel, key::INITRD), (0xff_e000, &[7; 5000][..]));
}

#[test]
fn kernels_before_protocol_2_02_are_loaded_at_90000h() {
    for (file, version, code) in [
        (linux(0x201, 0x8000, |_| ()), 0x201, 0x10_0000),
        (linux(0x200, 0x8000, |bytes| bytes[0x211] = 0), 0x200, 0x1_0000),
        (old_linux(), 0, 0x1_0000),
    ] {
        let kernel = start(16 * MIB, &file, None, "root=/dev/hda1").0.unwrap();
        let (at, setup) = part(&kernel, key::SETUP);
        assert_eq!(at, 0x9_0000, "{version:x}");
        assert_eq!((word(setup, 0x20), word(setup, 0x22)), (0xa33f, 0x9800));
        assert_eq!(part(&kernel, key::COMMAND_LINE), (0x9_9800, &b"root=/dev/hda1\0"[..]));
        assert_eq!(part(&kernel, key::KERNEL).0, code);
        assert_eq!(setup[0x210], if version == 0 { 0 } else { 0xff });
        assert_eq!(setup[0x211] & 0x80 != 0, version >= 0x201);
    }
    // A zImage of a later protocol takes its command line by the pointer.
    let zimage = linux(0x206, 0x8000, |bytes| bytes[0x211] = 0);
    let kernel = start(16 * MIB, &zimage, None, "quiet").0.unwrap();
    let (at, setup) = part(&kernel, key::SETUP);
    assert_eq!((at, dword(setup, 0x228)), (0x9_0000, 0x9_9800));
}

#[test]
fn an_initrd_stays_below_the_limits_of_kernel_and_command_line() {
    let at = |kernel: &[u8], append: &str| {
        let initrd = temp(&[1; 4096]);
        part(&start(1024 * MIB, kernel, initrd.path().to_str(), append).0.unwrap(), key::INITRD).0
    };
    let low = linux(0x20f, 0x8000, |bytes| put(bytes, 0x22c, &0x4f_ffffu32.to_le_bytes()));
    assert_eq!(at(&low, ""), 0x4f_f000);
    assert_eq!(at(&linux(0x202, 0x8000, |_| ()), ""), 0x37ff_f000);
    let modern = linux(0x20f, 0x8000, |_| ());
    assert_eq!(at(&modern, ""), 0x3fff_f000);
    for (append, expect) in [
        ("mem=64M", 0x3ff_f000),
        ("mem=0x4000000", 0x3ff_f000),
        ("quiet mem=65536k vga=ask", 0x3ff_f000),
        ("mem=nopentium", 0x3fff_f000),
        ("mem=64M mem=8G", 0x3fff_f000),
    ] {
        assert_eq!(at(&modern, append), expect, "{append}");
    }
}

#[test]
fn an_initrd_may_pass_initrd_addr_max_if_the_kernel_takes_it_above_4_gib() {
    let initrd = temp(&[1; 4096]);
    for (flags, expect) in [(0u16, 0x7fff_f000), (2, 0xbfff_f000)] {
        let file = linux(0x20c, 0x8000, |bytes| put(bytes, 0x236, &flags.to_le_bytes()));
        let kernel = start(4096 * MIB, &file, initrd.path().to_str(), "").0.unwrap();
        assert_eq!(part(&kernel, key::INITRD).0, expect);
    }
}

#[test]
fn vga_sets_the_video_mode_as_in_other_boot_loaders() {
    for (append, expect) in [
        ("vga=normal", 0xffff),
        ("vga=ext", 0xfffe),
        ("quiet vga=ask", 0xfffd),
        ("vga=0x317 splash", 0x317),
        ("vga=791", 791),
        ("vga=01427", 0o1427),
        ("vga=791 vga=ask", 0xfffd),
        ("novga=791", 0),
    ] {
        let kernel = start(16 * MIB, &linux(0x20f, 0x8000, |_| ()), None, append).0.unwrap();
        assert_eq!(word(part(&kernel, key::SETUP).1, 0x1fa), expect, "{append}");
    }
    for wrong in ["vga=current", "vga=", "vga=70000", "vga=0xg"] {
        let error = start(16 * MIB, &linux(0x20f, 0x8000, |_| ()), None, wrong).0.unwrap_err().to_string();
        assert!(error.starts_with(&format!("--append: {wrong} is not a video mode")), "{error}");
    }
}

#[test]
fn a_multiboot_elf_gets_its_segments_modules_and_command_line() {
    let header = multiboot(3, &[]);
    let bss = [&header[..], &[1; 20]].concat();
    for bits in [32, 64] {
        let machine = if bits == 32 { 3 } else { 62 };
        // Linked at C0000000h.
        let segments: [Segment<'_>; 2] =
            [(0x10_0000, 0xc010_0000, &bss, 0x1000), (0x10_2000, 0xc010_2000, &[5; 16], 0x20)];
        let file = elf(bits, machine, 0xc010_000c, &segments, None);
        let (one, two) = (temp(&[1; 100]), temp(&[2; 5000]));
        let (one, two) = (one.path().to_str().unwrap(), two.path().to_str().unwrap());
        let (kernel, path) = start(16 * MIB, &file, Some(&format!("{one} a=1 b, {two}")), "x y");
        let kernel = kernel.unwrap();
        assert_eq!(parameters(&kernel)[..3], [1, 0, 0]);
        assert_eq!(kernel.keys[&key::KERNEL_ENTRY], 0x10_000cu32.to_le_bytes());
        let (at, image) = part(&kernel, key::KERNEL);
        assert_eq!((at, image.len()), (0x10_0000, 0x2020));
        assert_eq!((&image[..12], &image[0x1ff0..0x2000], image[0x2000]), (&header[..], &[0; 16][..], 5));
        let (at, info) = part(&kernel, key::SETUP);
        assert_eq!((at, dword(info, 0)), (0x8000, 1 << 2 | 1 << 3 | 1 << 9));
        assert_eq!(text(info, dword(info, 16)), format!("{path} x y"));
        assert_eq!(text(info, dword(info, 64)), "pcvm");
        assert_eq!((dword(info, 20), dword(info, 24)), (2, 0x8080));
        assert_eq!([128, 132].map(|at| dword(info, at)), [0x10_3000, 0x10_3064]);
        assert_eq!([144, 148].map(|at| dword(info, at)), [0x10_4000, 0x10_5388]);
        assert_eq!([136, 152].map(|at| text(info, dword(info, at))), [&format!("{one} a=1 b"), two]);
        let (at, modules) = part(&kernel, key::INITRD);
        assert_eq!((at, modules.len()), (0x10_3000, 0x3000));
        assert_eq!((modules[99], modules[100], modules[0x1000]), (1, 0, 2));
    }
}

#[test]
fn a_multiboot_header_with_addresses_decides_what_is_loaded() {
    // header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr; then the video mode.
    let kernel = |addresses: [u32; 5]| {
        let rest = [&addresses[..], &[0, 1024, 768, 32]].concat();
        let mut file = vec![0xee; 0x40];
        file.extend_from_slice(&multiboot(1 << 16 | 1 << 2, &rest));
        file.resize(0x400, 0xcc);
        file
    };
    let file = kernel([0x20_0010, 0x20_0000, 0x20_0100, 0x20_0200, 0x20_0080]);
    let loaded = start(16 * MIB, &file, None, "").0.unwrap();
    assert_eq!(parameters(&loaded), [1, 0, 1, 0, 1024, 768, 32, 0]);
    let (at, image) = part(&loaded, key::KERNEL);
    assert_eq!((at, image.len(), image[0], image[0xff], image[0x100]), (0x20_0000, 0x200, 0xee, 0xcc, 0));
    // Zeros: to the end of the file, and no bss.
    let file = kernel([0x20_0040, 0x20_0000, 0, 0, 0x20_0080]);
    assert_eq!(part(&start(16 * MIB, &file, None, "").0.unwrap(), key::KERNEL), (0x20_0000, &file[..]));
    // Conventional memory.
    let file = kernel([0x2_0040, 0x2_0000, 0, 0, 0x2_0080]);
    assert_eq!(part(&start(16 * MIB, &file, None, "").0.unwrap(), key::KERNEL).0, 0x2_0000);
    for (addresses, expect) in [
        ([0x20_0000, 0x20_0001, 0, 0, 0x20_0000], "load_addr is above header_addr"),
        ([0x20_0100, 0x20_0000, 0, 0, 0x20_0000], "load_addr is before the file"),
        ([0x20_0040, 0x20_0000, 0x1f_ffff, 0, 0x20_0000], "load_end_addr is below load_addr"),
        ([0x20_0040, 0x20_0000, 0x21_0000, 0, 0x20_0000], "load_end_addr is behind the end of the file"),
        ([0x20_0040, 0x20_0000, 0, 0x20_0001, 0x20_0000], "bss_end_addr is below load_end_addr"),
        ([0x20_0040, 0x20_0000, 0, 0, 0x30_0000], "the entry 300000h is outside of the kernel"),
        ([0x20_0040, 0x20_0000, 0, 0xffff_ffff, 0x20_0000], "needs 4097 MiB"),
        ([0x8040, 0x8000, 0, 0, 0x8000], "is loaded to 8000h to 83ffh"),
        ([0x9_f040, 0x9_f000, 0, 0, 0x9_f000], "is loaded to 9f000h to 9f3ffh"),
    ] {
        let error = start(16 * MIB, &kernel(addresses), None, "").0.unwrap_err().to_string();
        assert!(error.contains(expect), "{expect}: {error}");
    }
}

#[test]
fn a_vmlinux_gets_pvh_start_information() {
    for bits in [32, 64] {
        let machine = if bits == 32 { 3 } else { 62 };
        let file = elf(bits, machine, 0x20_0000, &[(0x20_0000, 0x20_0000, &[0x90; 64], 0x1000)], Some(0x20_0010));
        let initrd = temp(&[3; 100]);
        let initrd = initrd.path().to_str().unwrap();
        let kernel = start(16 * MIB, &file, Some(initrd), "root=/dev/sda1").0.unwrap();
        assert_eq!(parameters(&kernel)[0], 2);
        assert_eq!(kernel.keys[&key::KERNEL_ENTRY], 0x20_0010u32.to_le_bytes());
        let (at, info) = part(&kernel, key::SETUP);
        assert_eq!((at, dword(info, 0), dword(info, 4), dword(info, 12)), (0x8000, 0x336e_c578, 1, 1));
        assert_eq!(text(info, dword(info, 24)), "root=/dev/sda1");
        assert_eq!(dword(info, 16), 0x8040);
        assert_eq!((dword(info, 64), dword(info, 72), text(info, dword(info, 80))), (0x20_1000, 100, initrd));
        assert_eq!(part(&kernel, key::INITRD).1[..100], [3; 100]);
    }
}

#[test]
fn a_list_of_modules_is_split_at_single_commas() {
    for (list, expect) in
        [("a", &["a"][..]), ("a x=1, b,c", &["a x=1", "b", "c"]), ("a,,b,c", &["a,b", "c"]), ("a,,,b", &["a,", "b"])]
    {
        assert_eq!(split_list(list), expect, "{list}");
    }
}

#[test]
fn an_unusable_kernel_is_named_with_the_reason() {
    let cut = linux(0x20f, 0x8000, |bytes| put(bytes, 0x1f4, &0x10_0000u32.to_le_bytes()));
    let huge = linux(0x20f, 0x8000, |bytes| put(bytes, 0x260, &(64u32 << 20).to_le_bytes()));
    let setup = linux(0x20f, 0x8000, |bytes| bytes[0x1f1] = 0x80);
    let zimage = linux(0x200, 0x9_0000, |bytes| bytes[0x211] = 0);
    let mut disk = vec![0; 4 << 20];
    put(&mut disk, 510, &[0x55, 0xaa]);
    let segment = |at: u64, memory: u64| -> [Segment<'_>; 1] { [(at, at, &[0x90; 64], memory)] };
    let second = [0xe852_50d6u32, 0, 24, 0u32.wrapping_sub(0xe852_50d6 + 24)];
    let second: Vec<u8> = second.iter().flat_map(|word| word.to_le_bytes()).collect();
    let with_header = |flags| [multiboot(flags, &[0; 9]), vec![0; 100]].concat();
    let long = "x".repeat(2048);
    let longer = "x".repeat(0x5000);
    let pvh = elf(64, 62, 0x20_0000, &segment(0x20_0000, 0x1000), Some(0x20_0010));
    for (kernel, append, expect) in [
        (vec![], "", "is empty"),
        (vec![0; 100], "", "is not a kernel"),
        (b"#!/bin/sh\n".repeat(200), "", "is not a kernel"),
        (disk, "", "is not a kernel"),
        (vec![0x1f, 0x8b, 8, 0], "", "is compressed by gzip"),
        (second, "", "is a kernel for Multiboot 2"),
        (cut, "", "is truncated: 34304 of 16778752 bytes"),
        (linux(0x20f, 0, |_| ()), "", "is truncated"),
        (huge, "", "needs 66 MiB of memory below 3 GiB, but the machine has 16 MiB"),
        (setup, "", "its setup code is too long: 66048 bytes"),
        (zimage, "", "is too long for a zImage"),
        (linux(0x20f, 0x8000, |_| ()), &long, "--append: 2048 bytes"),
        (old_linux(), &long[..256], "--append: 256 bytes"),
        (linux(0x20f, 0x8000, |_| ()), "a\0b", "--append: contains a zero byte"),
        (pvh, &longer, "--append: command line and modules take"),
        (with_header(1 << 3), "", "requires what pcvm does not have (flags 8h)"),
        (with_header(0), "", "neither ELF segments nor addresses in the header"),
        (elf(64, 183, 0x20_0000, &segment(0x20_0000, 0x1000), None), "", "is an ELF file, but not for x86"),
        (b"\x7fELF".to_vec(), "", "is a damaged ELF file"),
        (elf(64, 62, 0, &[], None), "", "without a segment to load"),
        (elf(64, 62, 0x20_0000, &segment(0x20_0000, 0x1000), None), "", "neither a Multiboot header nor a PVH entry"),
        (elf(64, 62, 0x20_0000, &segment(0x20_0000, 0x1000), Some(16)), "", "the PVH entry 10h is outside"),
        (elf(64, 62, 0x20_0000, &segment(0x20_0000, 64 << 20), Some(0x20_0000)), "", "needs 67 MiB"),
        (elf(64, 62, 0x20_0000, &segment(0x20_0000, u64::MAX), Some(0x20_0000)), "", "MiB of memory below 3 GiB"),
        (elf(64, 62, 0x1000, &segment(0x1000, 0x1000), Some(0x1000)), "", "is loaded to 1000h to 1fffh"),
    ] {
        let (result, path) = start(16 * MIB, &kernel, None, append);
        let error = result.unwrap_err().to_string();
        assert!(error.contains(expect), "{expect}: {error}");
        assert!((error.starts_with(&path) || error.starts_with("--append: ")) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn an_unreadable_or_unfitting_file_is_named_with_the_reason() {
    let kernel = linux(0x20f, 0x8000, |_| ());
    let dir = tempfile::tempdir().unwrap();
    let (empty, huge) = (temp(&[]), temp(&[]));
    huge.as_file().set_len(1 << 40).unwrap();
    let large = temp(&[]);
    large.as_file().set_len(13 << 20).unwrap();
    let missing = dir.path().join("missing");
    let low = linux(0x20f, 0x8000, |bytes| put(bytes, 0x22c, &0x2f_ffffu32.to_le_bytes()));
    let module = |path: &Path| format!("{},{}", empty.path().display(), path.display());
    let elf = elf(64, 62, 0x20_0000, &[(0x20_0000, 0x20_0000, &[0x90; 64], 0x1000)], Some(0x20_0010));
    for (kernel, initrd, append, named, expect) in [
        (&kernel, missing.display().to_string(), "", &*missing, "No such file or directory"),
        (&kernel, dir.path().display().to_string(), "", dir.path(), "is a directory"),
        (&kernel, "/dev/null".to_owned(), "", Path::new("/dev/null"), "is not a regular file"),
        (&kernel, empty.path().display().to_string(), "", empty.path(), "is empty"),
        (&kernel, huge.path().display().to_string(), "", huge.path(), "needs 1048576 MiB"),
        (&kernel, large.path().display().to_string(), "", large.path(), "needs 17 MiB of memory"),
        (&kernel, large.path().display().to_string(), "mem=8M", large.path(), "needs 17 MiB of memory"),
        (&low, large.path().display().to_string(), "", large.path(), "at most 0 MiB (initrd_addr_max is 2fffffh)"),
        (&elf, module(&missing), "", empty.path(), "is empty"),
        (
            &elf,
            large.path().display().to_string() + "," + &large.path().display().to_string(),
            "",
            large.path(),
            "needs 29",
        ),
    ] {
        let error = start(16 * MIB, kernel, Some(&initrd), append).0.unwrap_err().to_string();
        assert!(error.starts_with(&named.display().to_string()) && error.contains(expect), "{expect}: {error}");
    }
    let error = start(16 * MIB, &old_linux(), empty.path().to_str(), "").0.unwrap_err().to_string();
    assert!(error.contains("takes no initial RAM disk: its boot protocol is older than 2.00"), "{error}");
}

#[test]
fn a_kernel_does_not_fit_into_1_mib_of_ram_but_a_zimage_does() {
    assert!(matches!(start(MIB, &linux(0x20f, 0x8000, |_| ()), None, "").0, Err(KernelError::TooBig { .. })));
    assert!(start(MIB, &old_linux(), None, "").0.is_ok());
}

#[test]
fn cut_and_changed_kernels_never_panic() {
    let segments: [Segment<'_>; 1] = [(0x10_0000, 0x10_0000, &[0x90; 64], 0x1000)];
    let multiboot = [multiboot(1 << 16, &[0x10_0000, 0x10_0000, 0, 0, 0x10_0000]), vec![0; 100]].concat();
    let mut seed = 1u32;
    for good in [linux(0x20f, 0x100, |_| ()), elf(32, 3, 0x10_0000, &segments, Some(0x10_0000)), multiboot] {
        for n in 0..2000 {
            let mut file = good.clone();
            for _ in 0..=n % 3 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (seed >> 8) as usize % file.len();
                file[at] = [0, 1, 0x7f, 0xff, seed as u8][seed as usize % 5];
            }
            if n % 5 == 0 {
                file.truncate((seed >> 8) as usize % file.len());
            }
            let loading = KernelConfig { kernel: "k".into(), initrd: None, append: String::new() };
            let _ = load_bytes(&Loading { config: &loading, low: 16 * MIB }, file);
        }
    }
}
