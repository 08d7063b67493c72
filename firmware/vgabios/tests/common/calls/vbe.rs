//! VBE and VBE/DDC functions.

use super::*;

pub fn every_listed_vbe_mode_has_information_and_can_be_set(caller: &mut impl Caller) {
    put(caller, BUFFER, b"VBE2");
    put(caller, BUFFER.at(512), &[0x77]);
    assert_eq!(call(caller, 0x4f00, 0, 0, 0).ax(), 0x004f);
    assert_eq!(get(caller, BUFFER), *b"VESA\x00\x03");
    assert_eq!(caller.machine().word(BUFFER.at(0x12)), 256);
    assert_eq!(get(caller, BUFFER.at(512)), [0x77]);
    let far_at = |caller: &mut _, at: u16| {
        let machine = Caller::machine(caller);
        far(machine.word(BUFFER.at(at + 2)), machine.word(BUFFER.at(at)))
    };
    for pointer in [6, 0x16, 0x1a, 0x1e] {
        let text = far_at(caller, pointer);
        let length = (0..64).find(|&n| caller.machine().byte(text.at(n)) == 0).unwrap();
        assert!(length >= 3);
    }
    let list = far_at(caller, 0x0e);
    let modes: Vec<u16> =
        (0..).map(|n| caller.machine().word(list.at(2 * n))).take_while(|&mode| mode != 0xffff).collect();
    assert_eq!(modes.len(), vgabios::vbe::modes::COUNT);
    let mut seen = std::collections::BTreeSet::new();
    for mode in modes {
        let info_at = far(BUFFER.seg, 0x1000);
        let regs =
            caller.int10(Regs { eax: 0x4f01, ecx: mode.into(), es: info_at.seg, edi: 0x1000, ..Regs::default() });
        assert_eq!(regs.ax(), 0x004f, "mode {mode:x}");
        let word = |caller: &mut _, at| Caller::machine(caller).word(info_at.at(at));
        let [planes, bpp, banks, model]: [u8; 4] = get(caller, info_at.at(0x18));
        let (attributes, pitch, width, height) =
            (word(caller, 0), word(caller, 0x10), word(caller, 0x12), word(caller, 0x14));
        let base = u32::from(word(caller, 0x28)) | u32::from(word(caller, 0x2a)) << 16;
        assert!(seen.insert((width, height, bpp)), "mode {mode:x} duplicates another");
        assert_eq!((word(caller, 2), word(caller, 4), word(caller, 6), word(caller, 8), banks), (7, 64, 64, 0xa000, 1));
        assert_eq!(word(caller, 0x0e), 0xc000);
        if bpp == 4 {
            assert_eq!((planes, model, attributes, base, pitch), (4, 3, 0x3f, 0, width / 8));
        } else {
            assert_eq!((planes, attributes, base), (1, 0xbf, FRAME_BUFFER), "mode {mode:x}");
            assert_eq!((model, pitch), (if bpp == 8 { 4 } else { 6 }, width * ((u16::from(bpp) + 1) >> 3)));
            assert_eq!(word(caller, 0x32), pitch);
        }
        let masks: [u8; 8] = get(caller, info_at.at(0x1f));
        let expected = match bpp {
            15 => [5, 10, 5, 5, 5, 0, 1, 15],
            16 => [5, 11, 6, 5, 5, 0, 0, 0],
            24 => [8, 16, 8, 8, 8, 0, 0, 0],
            32 => [8, 16, 8, 8, 8, 0, 8, 24],
            _ => [0; 8],
        };
        assert_eq!(masks, expected);
        for flags in [0, 0x8000, 0x4000, 0xc000] {
            let regs = call(caller, 0x4f02, mode | flags, 0, 0);
            if bpp == 4 && flags & 0x4000 != 0 {
                assert_eq!(regs.ax(), 0x014f);
                continue;
            }
            assert_eq!(regs.ax(), 0x004f, "mode {mode:x}");
            assert_eq!(
                [dispi(caller, 1), dispi(caller, 2), dispi(caller, 3)],
                [width, height, bpp.into()],
                "mode {mode:x}"
            );
            assert_eq!(dispi(caller, 4) & 1, 1);
            let regs = call(caller, 0x4f03, 0, 0, 0);
            assert_eq!((regs.ax(), regs.bx()), (0x004f, mode | flags));
        }
        // The window and the linear frame buffer map the same memory.
        if bpp != 4 {
            call(caller, 0x4f02, mode | 0x4000, 0, 0);
            put(caller, far(0xa000, 0x10), &[0xfe, 0xdc]);
            let mut bytes = [0; 2];
            caller.machine().bench.mem_read(u64::from(FRAME_BUFFER) + 0x10, &mut bytes);
            assert_eq!(bytes, [0xfe, 0xdc]);
            call(caller, 0x4f02, mode | 0xc000, 0, 0);
            assert_eq!(get(caller, far(0xa000, 0x10)), [0xfe, 0xdc]);
            call(caller, 0x4f02, mode, 0, 0);
            assert_eq!(get(caller, far(0xa000, 0x10)), [0, 0], "mode {mode:x}");
        }
    }
    for (width, height) in [(640, 400), (640, 480), (800, 600), (1024, 768), (1280, 1024), (1920, 1080), (2560, 1600)] {
        for bpp in [8, 15, 16, 24, 32] {
            assert!(seen.contains(&(width, height, bpp)), "{width}x{height}x{bpp}");
        }
    }
    // VGA modes by 4F02h, and modes that do not exist.
    assert_eq!(call(caller, 0x4f02, 0x8003, 0, 0).ax(), 0x004f);
    assert_eq!(call(caller, 0x4f03, 0, 0, 0).bx(), 0x8003);
    for bx in [0x1fe, 0x10c, 0x55, 0x4102] {
        assert_eq!(call(caller, 0x4f02, bx, 0, 0).ax(), 0x014f, "{bx:x}");
    }
    assert_eq!(call(caller, 0x4f01, 0, 0x1fe, 0).ax(), 0x014f);
    set_mode(caller, 3);
    // Without the VBE2 signature only 256 bytes are written.
    put(caller, BUFFER, &[0; 4]);
    put(caller, BUFFER.at(256), &[0x66]);
    call(caller, 0x4f00, 0, 0, 0);
    assert_eq!(get(caller, BUFFER.at(256)), [0x66]);
}

pub fn vbe_lists_exactly_the_modes_that_fit_in_video_memory(caller: &mut impl Caller) {
    let info = far(BUFFER.seg, 0x1000);
    // Mode number and bytes per screen.
    let mut all: Vec<(u16, u64)> = Vec::new();
    for mib in [256, 1, 2, 4, 8, 16, 32, 64, 128] {
        caller.machine().replace_adapter(mib << 20);
        set_mode(caller, 3);
        assert_eq!(call(caller, 0x4f00, 0, 0, 0).ax(), 0x004f);
        assert_eq!(caller.machine().word(BUFFER.at(0x12)), (mib * 16) as u16);
        let list = far(caller.machine().word(BUFFER.at(0x10)), caller.machine().word(BUFFER.at(0x0e)));
        let listed: Vec<u16> =
            (0..).map(|n| caller.machine().word(list.at(2 * n))).take_while(|&mode| mode != 0xffff).collect();
        let describe = |caller: &mut _, mode: u16| {
            let regs = Regs { eax: 0x4f01, ecx: mode.into(), es: info.seg, edi: info.off.into(), ..Regs::default() };
            Caller::int10(caller, regs).ax() == 0x004f
        };
        if all.is_empty() {
            for &mode in &listed {
                assert!(describe(caller, mode));
                let word = |caller: &mut _, at| u64::from(Caller::machine(caller).word(info.at(at)));
                let planes = if caller.machine().byte(info.at(0x19)) == 4 { 4 } else { 1 };
                all.push((mode, word(caller, 0x10) * word(caller, 0x14) * planes));
            }
        }
        let fitting: Vec<u16> = all.iter().filter(|(_, bytes)| *bytes <= u64::from(mib) << 20).map(|m| m.0).collect();
        assert_eq!(listed, fitting, "{mib} MiB");
        for (mode, bytes) in all.clone() {
            let fits = listed.contains(&mode);
            assert_eq!(describe(caller, mode), fits, "mode {mode:x} in {mib} MiB");
            if fits {
                let images = u64::from(caller.machine().byte(info.at(0x1d))) + 1;
                assert!(images * bytes <= u64::from(mib) << 20, "mode {mode:x} in {mib} MiB: {images} images");
            }
            let set = call(caller, 0x4f02, mode, 0, 0).ax();
            assert_eq!(set, if fits { 0x004f } else { 0x014f }, "mode {mode:x} in {mib} MiB");
        }
        // The last bank can be set, the one after it cannot.
        call(caller, 0x4f02, 0x101, 0, 0);
        assert_eq!(call(caller, 0x4f05, 0, 0, (mib * 16) as u16 - 1).ax(), 0x004f);
        assert_eq!(call(caller, 0x4f05, 0, 0, (mib * 16) as u16).ax(), 0x014f);
    }
    caller.machine().replace_adapter(pcvm_devices::vga::Vga::DEFAULT_VRAM);
    set_mode(caller, 3);
}

pub fn vbe_sets_bank_scan_line_length_and_display_start(caller: &mut impl Caller) {
    set_mode(caller, 3);
    for function in [0x4f05, 0x4f06, 0x4f07] {
        assert_eq!(call(caller, function, 0x0001, 0, 0).ax(), 0x034f);
    }
    call(caller, 0x4f02, 0x0118, 0, 0);
    assert_eq!(call(caller, 0x4f05, 0, 0, 7).ax(), 0x004f);
    assert_eq!(call(caller, 0x4f05, 0x0100, 0, 0).dx(), 7);
    put(caller, far(0xa000, 5), &[0x5a]);
    let mut byte = [0];
    caller.machine().bench.mem_read(u64::from(FRAME_BUFFER) + 0x7_0005, &mut byte);
    assert_eq!(byte, [0x5a]);
    assert_eq!(call(caller, 0x4f05, 0, 0, 256).ax(), 0x014f);
    assert_eq!(call(caller, 0x4f05, 0x0001, 0, 0).ax(), 0x014f);
    let regs = call(caller, 0x4f06, 1, 0, 0);
    assert_eq!((regs.ax(), regs.bx(), regs.cx(), regs.dx()), (0x004f, 3072, 1024, 5461));
    let regs = call(caller, 0x4f06, 0, 2000, 0);
    assert_eq!((regs.ax(), regs.bx(), regs.cx(), regs.dx()), (0x004f, 6000, 2000, 2796));
    let regs = call(caller, 0x4f06, 2, 4800, 0);
    assert_eq!((regs.ax(), regs.bx(), regs.cx()), (0x004f, 4800, 1600));
    let regs = call(caller, 0x4f06, 3, 0, 0);
    assert_eq!((regs.ax(), regs.cx()), (0x004f, 7280));
    assert_eq!(call(caller, 0x4f06, 0, 7288, 0).ax(), 0x024f);
    // A length below the screen's width sets the screen's width.
    assert_eq!(call(caller, 0x4f06, 0, 100, 0).cx(), 1024);
    call(caller, 0x4f06, 0, 1600, 0);
    for bl in [0x00, 0x80] {
        assert_eq!(call(caller, 0x4f07, bl, 100, 200).ax(), 0x004f);
        let regs = call(caller, 0x4f07, 1, 0, 0);
        assert_eq!((regs.bh(), regs.cx(), regs.dx()), (0, 100, 200));
    }
    let regs = caller.int10(Regs { eax: 0x4f07, ebx: 2, ecx: 4800 * 300 + 30, ..Regs::default() });
    assert_eq!(regs.ax(), 0x004f);
    assert_eq!((dispi(caller, 8), dispi(caller, 9)), (10, 300));
    assert_eq!(call(caller, 0x4f07, 4, 0, 0).cx(), 1);
    // A line may pass the end of the logical line, but not of video memory: 3495 lines of 4800 bytes, and 1216 bytes.
    assert_eq!(call(caller, 0x4f07, 0, 1599, 0).ax(), 0x004f);
    assert_eq!((dispi(caller, 8), dispi(caller, 9)), (1599, 0));
    let regs = caller.int10(Regs { eax: 0x4f07, ebx: 2, ecx: 4800 * 5 + 3 * 1300, ..Regs::default() });
    assert_eq!(regs.ax(), 0x004f);
    assert_eq!((dispi(caller, 8), dispi(caller, 9)), (1300, 5));
    let most = (0x100_0000 - 767 * 4800 - 1024 * 3) / 3 * 3;
    let regs = caller.int10(Regs { eax: 0x4f07, ebx: 2, ecx: most, ..Regs::default() });
    assert_eq!(regs.ax(), 0x004f);
    assert_eq!((u32::from(dispi(caller, 8)) * 3, u32::from(dispi(caller, 9))), (most % 4800, most / 4800));
    let regs = caller.int10(Regs { eax: 0x4f07, ebx: 2, ecx: most + 3, ..Regs::default() });
    assert_eq!(regs.ax(), 0x014f);
    assert_eq!(call(caller, 0x4f07, 0, 0, 0xffff).ax(), 0x014f);
    set_mode(caller, 3);
}

pub fn vbe_palette_entries_read_back_with_6_and_8_bits(caller: &mut impl Caller) {
    call(caller, 0x4f02, 0x0101, 0, 0);
    assert_eq!(call(caller, 0x4f08, 1, 0, 0).bh(), 6);
    assert_eq!(call(caller, 0x4f08, 0x0800, 0, 0).bx(), 0x0800);
    assert_eq!(call(caller, 0x4f08, 1, 0, 0).bh(), 8);
    assert_eq!(call(caller, 0x4f03, 0, 0, 0).bx(), 0x101);
    put(caller, BUFFER, &[0xf1, 0xe2, 0xd3, 0, 1, 2, 3, 0]);
    assert_eq!(call(caller, 0x4f09, 0, 2, 254).ax(), 0x004f);
    put(caller, BUFFER, &[0xcc; 8]);
    assert_eq!(call(caller, 0x4f09, 1, 2, 254).ax(), 0x004f);
    assert_eq!(get(caller, BUFFER), [0xf1, 0xe2, 0xd3, 0, 1, 2, 3, 0]);
    assert_eq!(call(caller, 0x4f09, 0, 3, 254).ax(), 0x014f);
    assert_eq!(call(caller, 0x4f09, 2, 0, 0).ax(), 0x024f);
    assert_eq!(call(caller, 0x4f08, 0x0600, 0, 0).bh(), 6);
    assert_eq!(call(caller, 0x4f08, 0x0500, 0, 0).ax(), 0x014f);
    call(caller, 0x4f02, 0x0118, 0, 0);
    assert_eq!(call(caller, 0x4f08, 1, 0, 0).ax(), 0x034f);
    assert_eq!(call(caller, 0x4f09, 0, 1, 0).ax(), 0x034f);
    set_mode(caller, 3);
    assert_eq!(call(caller, 0x4f08, 0x0800, 0, 0).bh(), 6);
}

pub fn ddc_returns_the_only_edid_block_for_any_number(caller: &mut impl Caller) {
    let regs = call(caller, 0x4f15, 0, 0, 0);
    assert_eq!((regs.ax(), regs.bx()), (0x004f, 2));
    assert_eq!(call(caller, 0x4f15, 1, 0, 0).ax(), 0x004f);
    let edid: [u8; 128] = get(caller, BUFFER);
    assert_eq!(edid[..8], [0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]);
    assert_eq!(edid.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
    // get-edid reads block 1 first: it gets the only block.
    put(caller, BUFFER, &[0x13_u8; 128]);
    assert_eq!(call(caller, 0x4f15, 1, 0, 1).ax(), 0x004f);
    assert_eq!(get::<128>(caller, BUFFER), edid);
    assert_eq!(call(caller, 0x4f15, 2, 0, 0).ax(), 0x014f);
}
