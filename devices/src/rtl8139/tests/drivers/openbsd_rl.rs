//! OpenBSD rl(4) driver on the RTL8139C (sys/dev/ic/rtl81x9.c), where it differs from FreeBSD's and NetBSD's.

use super::*;

const BUFFER: u64 = RING + 8;

fn eeprom_word(bench: &mut Bench<Rtl8139>, at: u32, width: u32) -> u16 {
    bench.outb(CR9346, EEM_PROGRAM | EECS);
    shift_out(bench, 6 << width | at, 3 + width);
    bench.outb(CR9346, EEM_PROGRAM | EECS);
    let word = shift_in(bench);
    bench.outb(CR9346, 0);
    word
}

/// Stop, which does not reset the chip, and init.
fn init(bench: &mut Bench<Rtl8139>, promiscuous: bool) {
    bench.outb(CR, 0);
    bench.outw(IMR, 0);
    write_station(bench);
    bench.outl(RBSTART, BUFFER as u32);
    for n in 0..4 {
        bench.outl(TSAD + 4 * n, 0);
    }
    bench.outb(CR, RE_TE);
    bench.outl(TCR, 0x0300_0700);
    let mode = set_rcr(bench, promiscuous);
    if promiscuous {
        bench.outl(RCR, mode | 0x04);
        bench.outl(MAR, u32::MAX);
        bench.outl(MAR + 4, u32::MAX);
    } else {
        bench.outl(MAR, 0);
        bench.outl(MAR + 4, 0);
        bench.outl(RCR, mode & !0x04);
        bench.outl(MAR, 0);
        bench.outl(MAR + 4, 0);
    }
    bench.outw(IMR, INTERRUPTS);
    bench.outl(MPC, 0);
    bench.outb(CR, RE_TE);
    negotiate(bench);
    bench.outb(CONFIG1, 0x60);
}

fn interrupt(bench: &mut Bench<Rtl8139>) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    bench.outw(IMR, 0);
    loop {
        let status = bench.inw(ISR);
        if status != 0 {
            bench.outw(ISR, status);
        }
        if status & INTERRUPTS == 0 {
            break;
        }
        if status & ROK_RER != 0 {
            frames.extend(walk_ring(bench, BUFFER, 1518));
        }
        assert_eq!(status & SERR, 0);
    }
    bench.outw(IMR, INTERRUPTS);
    frames
}

/// OpenBSD rl(4), rtl81x9.c: attach, and an init for every change of the interface flags, with frames in between.
#[test]
fn openbsd_rl_reinitialises_on_every_flag_change() {
    let mut bench = attached_card(Chip::C);
    reset(&mut bench, 1000);
    assert_ne!(eeprom_word(&mut bench, 0, 8), 0x8129);
    assert_eq!(eeprom_word(&mut bench, 0, 6), 0x8129);
    let words = [7, 8, 9].map(|at| eeprom_word(&mut bench, at, 6));
    assert_eq!(address(words), MAC);
    assert_eq!(eeprom_word(&mut bench, 2, 6), 0x8139, "the PCI device ID in the EEPROM");
    attach_phy(&mut bench);
    for round in 0..100 {
        let promiscuous = round % 3 == 1;
        init(&mut bench, promiscuous);
        assert_eq!(media(&mut bench), Some((100, true)));
        let all = [MAC, [0xff; 6], GROUP, OTHER].map(|to| frame(to, 60 + round * 14));
        bench.receive(NIC, all.iter().cloned().map(Frame::from));
        assert!(interrupted(&mut bench));
        assert_eq!(interrupt(&mut bench), all[..if promiscuous { 4 } else { 2 }], "{round}");
        // Padded to 60 bytes, in the first slots, with FreeBSD's threshold of 96 units.
        for (slot, bytes) in (0..).zip(&all[..round % 5 % 4]) {
            bench.memory.write(SEND, bytes);
            bench.outl(TSAD + 4 * slot, SEND as u32);
            bench.outl(TSD + 4 * slot, 96 << 11 | bytes.len() as u32);
            assert_eq!(bench.inl(TSD + 4 * slot) & 0x4000_c000, 0x8000);
        }
        assert_eq!(sent(&mut bench), all[..round % 5 % 4], "{round}");
        interrupt(&mut bench);
    }
}
