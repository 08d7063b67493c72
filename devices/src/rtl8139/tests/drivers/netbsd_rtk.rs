//! NetBSD rtk(4) driver on the RTL8139C (sys/dev/ic/rtl81x9.c, sys/dev/pci/if_rtk_pci.c).

use super::*;
use std::collections::VecDeque;

/// Early transmit threshold of 256 bytes, in units of 32.
const THRESHOLD: u32 = 8 << 16;

/// The driver's state: the free slots, and those that the chip owns, in order.
struct Rtk {
    bench: Bench<Rtl8139>,
    free: VecDeque<u16>,
    dirty: VecDeque<u16>,
    completed: u32,
}

/// Sets the mode, then the chip select, and clocks an instruction without leading zeros.
pub(super) fn eeprom_word(bench: &mut Bench<Rtl8139>, at: u32, width: u32) -> u16 {
    bench.outb(CR9346, EEM_PROGRAM);
    set(bench, CR9346, EECS);
    shift_out(bench, 6 << width | at, 3 + width);
    let word = shift_in(bench);
    bench.outb(CR9346, 0);
    word
}

impl Rtk {
    fn attach(mut bench: Bench<Rtl8139>) -> Self {
        // The driver reads the EEPROM before the reset.
        assert_ne!(eeprom_word(&mut bench, 0, 8), 0x8129, "the EEPROM is no 93C56");
        let words = [7, 8, 9].map(|at| eeprom_word(&mut bench, at, 6));
        assert_eq!(address(words), MAC);
        reset(&mut bench, 1000);
        attach_phy(&mut bench);
        Self { bench, free: VecDeque::new(), dirty: VecDeque::new(), completed: 0 }
    }

    /// Neither `init` nor `stop` resets the chip.
    fn init(&mut self) {
        self.stop();
        let bench = &mut self.bench;
        // Byte by byte, and without configuration write mode.
        for (n, byte) in (0..).zip(MAC) {
            bench.outb(IDR + n, byte);
        }
        bench.outl(RBSTART, RING as u32);
        for n in 0..4 {
            bench.outl(TSAD + 4 * n, 0);
        }
        self.free = (0..4).collect();
        bench.outb(CR, RE_TE);
        bench.outl(TCR, 0x0300_0400);
        bench.outl(RCR, 0x9c00);
        let mode = bench.inl(RCR) | 0x02;
        bench.outl(RCR, mode & !0x01);
        bench.outl(RCR, mode & !0x01 | 0x08);
        let mode = bench.inl(RCR);
        bench.outl(MAR, 0);
        bench.outl(MAR + 4, 0);
        bench.outl(RCR, mode | 0x04);
        let table = hashes(&[GROUP]);
        bench.outl(MAR, table[0]);
        bench.outl(MAR + 4, table[1]);
        bench.outw(IMR, INTERRUPTS);
        bench.outl(MPC, 0);
        bench.outb(CR, RE_TE);
        bench.outb(CONFIG1, 0x60);
        negotiate(bench);
        assert_eq!(bench.inl(RCR), 0x9c0e);
    }

    fn stop(&mut self) {
        self.bench.outb(CR, 0);
        self.bench.outw(IMR, 0);
        for slot in self.dirty.drain(..) {
            self.bench.outl(TSAD + 4 * slot, 0);
        }
    }

    fn start(&mut self, bytes: &[u8]) -> bool {
        let Some(slot) = self.free.pop_front() else { return false };
        let at = SEND + 0x800 * u64::from(slot);
        self.bench.memory.write(at, bytes);
        self.dirty.push_back(slot);
        self.bench.outl(TSAD + 4 * slot, at as u32);
        self.bench.outl(TSD + 4 * slot, THRESHOLD | bytes.len() as u32);
        true
    }

    fn reap(&mut self) {
        while let Some(&slot) = self.dirty.front() {
            let status = self.bench.inl(TSD + 4 * slot);
            if status & 0x4000_c000 == 0 {
                break;
            }
            assert_eq!(status & 0x0f00_8000, 0x8000, "sent without collisions");
            self.dirty.pop_front();
            self.free.push_back(slot);
            self.completed += 1;
        }
    }

    /// The handler masks all interrupts before it reads ISR, and loops until ISR is 0.
    fn interrupt(&mut self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        self.bench.outw(IMR, 0);
        for round in 0.. {
            assert!(round < 50, "the handler never returns");
            let status = self.bench.inw(ISR);
            if status != 0 {
                self.bench.outw(ISR, status);
            }
            if status & INTERRUPTS == 0 {
                break;
            }
            for _ in 0..(status & ROK_RER).count_ones() {
                frames.extend(walk_ring(&mut self.bench, RING, 2046));
            }
            if status & TOK_TER != 0 {
                self.reap();
            }
            assert_eq!(status & SERR, 0);
        }
        self.bench.outw(IMR, INTERRUPTS);
        frames
    }
}

/// NetBSD rtk(4), rtl81x9.c: attach, which probes the EEPROM's address width before the reset; init without a reset;
/// frames in both directions.
#[test]
fn rtk_attaches_and_exchanges_frames() {
    let mut rtk = Rtk::attach(attached_card(Chip::C));
    rtk.init();
    assert_eq!(media(&mut rtk.bench), Some((100, true)));
    let mut expect = Vec::new();
    for frames in traffic(9) {
        rtk.bench.receive(NIC, frames.iter().cloned().map(Frame::from));
        for bytes in &frames {
            if rtk.start(bytes) {
                expect.push(bytes.clone());
            }
        }
        let mut got = Vec::new();
        while got.len() < frames.len() {
            assert!(interrupted(&mut rtk.bench), "frames are pending without an interrupt");
            got.extend(rtk.interrupt());
        }
        assert!(got == frames);
    }
    while rtk.completed < expect.len() as u32 {
        assert!(interrupted(&mut rtk.bench), "watchdog timeout");
        rtk.interrupt();
    }
    assert_eq!(sent(&mut rtk.bench), expect);
}

/// NetBSD rtk(4), rtl81x9.c: the watchdog's init without a reset. Transmission restarts at slot 0 (5.4); the receive
/// ring continues where it was.
#[test]
fn rtk_reinitialises_without_a_reset() {
    let mut rtk = Rtk::attach(attached_card(Chip::C));
    rtk.init();
    for round in 0..30 {
        let incoming: Vec<_> = (0..5).map(|n| frame(MAC, 700 + n * 100 + round)).collect();
        rtk.bench.receive(NIC, incoming.iter().cloned().map(Frame::from));
        assert_eq!(rtk.interrupt(), incoming, "{round}");
        for n in 0..round % 4 {
            assert!(rtk.start(&frame(OTHER, 60 + n)));
        }
        assert_eq!(sent(&mut rtk.bench).len(), round % 4, "{round}");
        rtk.reap();
        rtk.init();
    }
}

/// NetBSD if_rtk_pci.c and OpenBSD if_rl_pci.c: the previous system left the card in D3. The driver saves the BARs,
/// sets D0 and restores the BARs.
#[test]
fn rtk_attaches_to_a_card_left_in_d3() {
    let mut bench = attached_card(Chip::C);
    bench.config_write(0x54, 4, 3);
    assert_eq!(bench.config_read(0x50, 4) & 0xff, 1, "the power management capability");
    assert_eq!(bench.config_read(0x54, 4) & 3, 3);
    let saved = [0x10, 0x14, 0x3c].map(|register| (register, bench.config_read(register, 4)));
    let status = bench.config_read(0x54, 4);
    bench.config_write(0x54, 4, status & !3);
    for (register, value) in saved {
        bench.config_write(register, 4, value);
    }
    let command = bench.config_read(4, 4);
    bench.config_write(4, 4, command | 4);
    let mut rtk = Rtk::attach(bench);
    rtk.init();
    rtk.bench.receive(NIC, [frame(MAC, 100).into()]);
    assert_eq!(rtk.interrupt(), [frame(MAC, 100)]);
}
