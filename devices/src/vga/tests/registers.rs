//! VGA registers: names, decoding, implemented bits, the attribute flip-flop, the DAC, and retrace in ST1.

use super::*;

#[test]
fn registers_have_the_vga_and_dispi_names() {
    let mut vga = mapped();
    set_mode(&mut vga, &MODE_12);
    let name = |vga: &Bench<Vga>, port: u16| {
        let &(tag, base, _) = LEGACY_PORTS.iter().find(|(_, base, len)| (*base..base + len).contains(&port)).unwrap();
        Device::register_name(&vga.device, Access { tag, offset: u64::from(port - base), width: 1 })
    };
    vga.outb(SR_INDEX, 2);
    vga.outb(GR_INDEX, 8);
    vga.outb(CR_INDEX, 0x0e);
    vga.inb(ST1);
    for (port, expect) in [
        (AR_INDEX, Some("ARX")),
        (MISC_WRITE, Some("MISC/ST0")),
        (SR_INDEX, Some("SRX")),
        (SR_DATA, Some("SR2")),
        (DAC_DATA, Some("DACDATA")),
        (MISC_READ, Some("MISC")),
        (GR_DATA, Some("GR8")),
        (CR_DATA, Some("CR0E")),
        (CR_DATA - MONO_OFFSET, None),
        (ST1, Some("ST1/FEAT")),
        (0x3c3, None),
    ] {
        assert_eq!(name(&vga, port), expect, "port {port:x}");
    }
    vga.outb(AR_INDEX, 0x30);
    assert_eq!(name(&vga, AR_INDEX), Some("AR10"), "the flip-flop selects data");
    vga.outw(DISPI_IOPORT_INDEX, DISPI_INDEX_YRES);
    for (tag, offset, expect) in [
        (DISPI_TAG, 0, Some("VBE_DISPI_IOPORT_INDEX")),
        (DISPI_TAG, 1, Some("VBE_DISPI_INDEX_YRES")),
        (REGISTERS_TAG, 0x405, Some("SR2")),
        (REGISTERS_TAG, 0x508, Some("VBE_DISPI_INDEX_ENABLE")),
        (REGISTERS_TAG, 0x604, Some("QEXT_BYTEORDER")),
        (REGISTERS_TAG, 0, None),
        (WINDOW_TAG, 0, None),
        (CONFIG_TAG, 0, Some("VID")),
    ] {
        let at = Access { tag, offset, width: 1 };
        assert_eq!(Device::register_name(&vga.device, at), expect, "tag {tag} offset {offset:x}");
    }
}

#[test]
fn the_crtc_answers_at_the_address_that_misc_selects() {
    let mut vga = bench();
    vga.outb(MISC_WRITE, 0x63);
    write_cr(&mut vga, 0x0f, 0x5a);
    assert_eq!((vga.inb(CR_DATA), vga.inb(CR_DATA - MONO_OFFSET)), (0x5a, 0xff));
    vga.outb(MISC_WRITE, 0x62);
    assert_eq!((vga.inb(CR_DATA), vga.inb(CR_DATA - MONO_OFFSET)), (0xff, 0x5a));
    assert_eq!(vga.inb(MISC_READ), 0x62);
}

#[test]
fn cr11_protects_cr00_to_cr07_except_the_line_compare_bit() {
    let mut vga = bench();
    vga.outb(MISC_WRITE, 0x63);
    write_cr(&mut vga, 0x00, 0x5f);
    write_cr(&mut vga, 0x11, 0x80);
    write_cr(&mut vga, 0x00, 0x11);
    write_cr(&mut vga, 0x07, 0xff);
    write_cr(&mut vga, 0x12, 0x33);
    for (index, value) in [(0, 0x5f), (7, 0x10), (0x12, 0x33)] {
        vga.outb(CR_INDEX, index);
        assert_eq!(vga.inb(CR_DATA), value, "{index:x}");
    }
}

#[test]
fn a_read_of_st1_resets_the_attribute_flip_flop() {
    let mut vga = bench();
    vga.outb(MISC_WRITE, 0x63);
    vga.inb(ST1);
    vga.outb(AR_INDEX, 0x01);
    vga.inb(ST1);
    vga.outb(AR_INDEX, 0x02);
    vga.outb(AR_INDEX, 0x3c);
    vga.outb(AR_INDEX, 0x22);
    assert_eq!((vga.inb(AR_INDEX), vga.inb(AR_READ)), (0x22, 0x3c));
    vga.inb(ST1);
    vga.outb(AR_INDEX, 0x01);
    assert_eq!(vga.inb(AR_READ), 0, "AR01 was never written");
}

#[test]
fn sr_and_gr_writes_change_only_the_implemented_bits() {
    let mut vga = bench();
    for (port, index, bits) in [
        (SR_INDEX, 0, 0x03),
        (SR_INDEX, 1, 0x3d),
        (SR_INDEX, 2, 0x0f),
        (SR_INDEX, 3, 0x3f),
        (SR_INDEX, 4, 0x0e),
        (SR_INDEX, 5, 0x00),
        (GR_INDEX, 0, 0x0f),
        (GR_INDEX, 3, 0x1f),
        (GR_INDEX, 5, 0x7b),
        (GR_INDEX, 8, 0xff),
        (GR_INDEX, 9, 0x00),
    ] {
        vga.outw(port, u16::from_le_bytes([index, 0xff]));
        assert_eq!(vga.inb(port + 1), bits, "{port:x} index {index}");
    }
}

#[test]
fn the_dac_commits_complete_colours_and_reports_its_mode() {
    let mut vga = bench();
    vga.outb(DAC_WRITE_INDEX, 7);
    for component in [1, 2, 0xff, 4, 5, 6, 9] {
        vga.outb(DAC_DATA, component);
    }
    assert_eq!(vga.inb(DAC_READ_INDEX), 0);
    assert_eq!(vga.inb(DAC_WRITE_INDEX), 9);
    vga.outb(DAC_READ_INDEX, 7);
    assert_eq!(vga.inb(DAC_READ_INDEX), 3);
    let read: Vec<u8> = (0..9).map(|_| vga.inb(DAC_DATA)).collect();
    assert_eq!(read, [1, 2, 0x3f, 4, 5, 6, 0, 0, 0], "an incomplete colour is not committed");
    vga.outb(DAC_WRITE_INDEX, 255);
    for _ in 0..6 {
        vga.outb(DAC_DATA, 3);
    }
    vga.outb(DAC_READ_INDEX, 0);
    assert_eq!(vga.inb(DAC_DATA), 3, "the write index wraps");
}

#[test]
fn st1_shows_vertical_retrace_at_60_or_70_hz() {
    for (mode, hertz) in [(&MODE_12, 60), (&MODE_3, 70), (&MODE_13, 70)] {
        let mut vga = bench();
        set_mode(&mut vga, mode);
        let (mut frames, mut last, mut blanked) = (0, false, 0);
        for _ in 0..50_000 {
            vga.advance(20_000);
            let status = vga.inb(ST1);
            blanked += u32::from(status & 1);
            let retrace = status & 8 != 0;
            frames += u32::from(retrace && !last);
            last = retrace;
        }
        assert!((hertz - 1..=hertz + 1).contains(&frames), "{frames} frames for {hertz} Hz");
        assert!((10_000..40_000).contains(&blanked), "{blanked} samples outside the display");
    }
}

#[test]
fn st1_shows_vertical_retrace_for_any_crtc_values() {
    for fill in [0x00, 0xff, 0x80, 0x7f] {
        let mut vga = bench();
        vga.outb(MISC_WRITE, 0x63);
        for index in [0x11, 0, 1, 6, 7, 0x10, 0x12] {
            write_cr(&mut vga, index, if index == 0x11 { fill & 0x7f } else { fill });
        }
        let mut seen = [false; 2];
        for _ in 0..200_000 {
            vga.advance(1_000);
            seen[usize::from(vga.inb(ST1) >> 3 & 1)] = true;
        }
        assert!(seen[1], "CRTC values {fill:x}: no vertical retrace");
    }
}
