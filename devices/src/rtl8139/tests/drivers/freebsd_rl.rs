//! FreeBSD rl(4) driver on the RTL8139C (sys/dev/rl/if_rl.c, if_rlreg.h).

use super::*;

/// The ring starts eight bytes into its memory.
const BUFFER: u64 = RING + 8;
const GUARD: [u8; 1530] = [0xa5; 1530];
/// Early transmit threshold of 96 units of 32 bytes, truncated to the field.
const THRESHOLD: u32 = 96 << 11;
const PATIENCE: u32 = 1000;

/// The driver's state.
struct Rl {
    bench: Bench<Rtl8139>,
    queued: [bool; 4],
    current: u16,
    last: u16,
    completed: u32,
    groups: Vec<[u8; 6]>,
    promiscuous: bool,
}

/// A read instruction with six address bits, preceded by zeros to eleven bits.
fn eeprom_word(bench: &mut Bench<Rtl8139>, at: u32) -> u16 {
    bench.outb(CR9346, EEM_PROGRAM | EECS);
    shift_out(bench, 0x180 | at, 11);
    bench.outb(CR9346, EEM_PROGRAM | EECS);
    let word = shift_in(bench);
    bench.outb(CR9346, 0);
    word
}

impl Rl {
    fn attach() -> Self {
        let mut bench = attached_card(Chip::C);
        assert_eq!((bench.config_read(0, 2), bench.config_read(2, 2)), (0x10ec, 0x8139));
        assert_ne!(bench.config_read(8, 1), 0x20, "re(4) attaches to this revision");
        reset(&mut bench, PATIENCE);
        assert_eq!(eeprom_word(&mut bench, 0), 0x8129, "the EEPROM has six address bits");
        let words = [7, 8, 9].map(|at| eeprom_word(&mut bench, at));
        assert_eq!(address(words), MAC);
        assert_eq!(eeprom_word(&mut bench, 2), 0x8139, "unknown device ID");
        attach_phy(&mut bench);
        // The driver disables wake-up frames on chips with power management and one of a few revisions.
        assert_eq!(power_management(&mut bench), 0x50);
        assert_eq!(bench.inl(TCR) & 0x7cc0_0000, 0x7400_0000, "RTL8139C");
        wake_by_nothing(&mut bench);
        bench.memory.write(BUFFER + 0x1_0000, &GUARD);
        Self { bench, queued: [false; 4], current: 0, last: 0, completed: 0, groups: vec![GROUP], promiscuous: false }
    }

    fn init(&mut self) {
        self.stop();
        let bench = &mut self.bench;
        reset(bench, PATIENCE);
        write_station(bench);
        bench.outl(RBSTART, BUFFER as u32);
        for n in 0..4 {
            bench.outl(TSAD + 4 * n, 0);
        }
        (self.current, self.last) = (0, 0);
        bench.outb(CR, RE_TE);
        bench.outl(TCR, 0x0300_0700);
        bench.outl(RCR, 0xff00);
        self.filter();
        let bench = &mut self.bench;
        bench.outw(IMR, INTERRUPTS);
        bench.outl(MPC, 0);
        bench.outb(CR, RE_TE);
        negotiate(bench);
        bench.outb(CONFIG1, 0x60);
        assert_eq!(bench.inb(CR), RE_TE | BUFE);
        assert_eq!(bench.inl(RCR), 0xff0e);
    }

    fn filter(&mut self) {
        let bench = &mut self.bench;
        let mode = bench.inl(RCR) & !0x0d | 0x0a;
        let (table, mode) = match (self.promiscuous, self.groups.is_empty()) {
            (true, _) => ([u32::MAX; 2], mode | 0x05),
            (false, true) => ([0; 2], mode),
            (false, false) => (hashes(&self.groups), mode | 0x04),
        };
        bench.outl(MAR, table[0]);
        bench.outl(MAR + 4, table[1]);
        bench.outl(RCR, mode);
    }

    fn stop(&mut self) {
        let bench = &mut self.bench;
        bench.outb(CR, 0);
        bench.outw(IMR, 0);
        assert!((0..PATIENCE).any(|_| bench.inb(CR) & RE_TE == 0), "Unable to stop");
        for (n, queued) in (0..).zip(&mut self.queued) {
            if std::mem::take(queued) {
                bench.outl(TSAD + 4 * n, 0);
            }
        }
    }

    /// The driver pads short frames itself. Returns false if all slots are in use.
    fn start(&mut self, bytes: &[u8]) -> bool {
        if self.queued[usize::from(self.current)] {
            return false;
        }
        let mut bytes = bytes.to_vec();
        bytes.resize(bytes.len().max(60), 0);
        let at = SEND + 0x800 * u64::from(self.current);
        self.bench.memory.write(at, &bytes);
        self.queued[usize::from(self.current)] = true;
        self.bench.outl(TSAD + 4 * self.current, at as u32);
        self.bench.outl(TSD + 4 * self.current, THRESHOLD | bytes.len() as u32);
        self.current = (self.current + 1) % 4;
        true
    }

    fn reap(&mut self) {
        while self.queued[usize::from(self.last)] {
            let status = self.bench.inl(TSD + 4 * self.last);
            if status & 0x4000_c000 == 0 {
                break;
            }
            assert_eq!(status & 0x6f00_c000, 0x8000, "a transmit error, which resets the chip: {status:08x}");
            self.queued[usize::from(self.last)] = false;
            self.completed += 1;
            self.last = (self.last + 1) % 4;
        }
    }

    fn interrupt(&mut self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut status = self.bench.inw(ISR);
        if status & INTERRUPTS == 0 {
            return frames;
        }
        self.bench.outw(IMR, 0);
        assert!(!self.bench.irq(INTA));
        for _ in 0..16 {
            self.bench.outw(ISR, status);
            if status & ROK_RER != 0 {
                frames.extend(walk_ring(&mut self.bench, BUFFER, 1522));
            }
            if status & TOK_TER != 0 {
                self.reap();
            }
            assert_eq!(status & SERR, 0);
            status = self.bench.inw(ISR);
            if status & INTERRUPTS == 0 {
                break;
            }
        }
        self.bench.outw(IMR, INTERRUPTS);
        frames
    }
}

/// Follows the capability list to power management.
fn power_management(bench: &mut Bench<Rtl8139>) -> u8 {
    assert_eq!(bench.config_read(6, 2) & 0x10, 0x10, "the capability list bit");
    let mut at = bench.config_read(0x34, 1) as u8;
    while at != 0 && bench.config_read(at, 1) != 1 {
        at = bench.config_read(at + 1, 1) as u8;
    }
    at
}

fn wake_by_nothing(bench: &mut Bench<Rtl8139>) {
    bench.outb(CR9346, EEM_CONFIG);
    clear(bench, CONFIG3, 0x30);
    bench.outb(CR9346, 0);
    clear(bench, CONFIG5, 0x72);
    assert_eq!((bench.inb(CONFIG3) & 0x30, bench.inb(CONFIG5) & 0x72), (0, 0));
}

/// FreeBSD rl(4), if_rl.c: attach, init and the interrupt handler, with all four slots in use.
#[test]
fn rl_sends_by_four_slots_and_completes_them_in_order() {
    let mut rl = Rl::attach();
    rl.init();
    assert_eq!(media(&mut rl.bench), Some((100, true)));
    let frames: Vec<_> = (0..400).map(|n| frame(OTHER, 42 + n * 53 % 1473)).collect();
    for bytes in &frames {
        while !rl.start(bytes) {
            assert!(interrupted(&mut rl.bench), "watchdog timeout");
            assert!(rl.interrupt().is_empty());
        }
    }
    while rl.completed < 400 {
        assert!(interrupted(&mut rl.bench), "watchdog timeout");
        rl.interrupt();
    }
    let mut expect = frames;
    expect.iter_mut().for_each(|bytes| bytes.resize(bytes.len().max(60), 0));
    assert_eq!(sent(&mut rl.bench), expect);
}

/// FreeBSD rl(4), if_rl.c: reading a ring of 64 KiB, many frames at a time.
#[test]
fn rl_receives_frames_and_the_ring_is_never_overrun() {
    for batch in [1, 7, 40, 200] {
        let mut rl = Rl::attach();
        rl.init();
        for frames in traffic(batch) {
            rl.bench.receive(NIC, frames.iter().cloned().map(Frame::from));
            let mut got = Vec::new();
            while got.len() < frames.len() {
                assert!(interrupted(&mut rl.bench), "{batch}: frames are pending without an interrupt");
                got.extend(rl.interrupt());
            }
            assert!(got == frames, "{batch}");
        }
        assert!(!rl.bench.irq(INTA));
        assert_eq!(rl.bench.inl(MPC), 0);
        assert_eq!(memory(&rl.bench, BUFFER + 0x1_0000, GUARD.len()), GUARD);
    }
}

/// FreeBSD rl(4), if_rl.c: rl_rxfilter while running.
#[test]
fn rl_changes_its_filter_while_running() {
    let mut rl = Rl::attach();
    rl.init();
    let other_group = [0x01, 0x00, 0x5e, 0x7f, 0xff, 0xfa];
    assert_ne!(hashes(&[GROUP]), hashes(&[other_group]));
    let frames = [MAC, [0xff; 6], GROUP, other_group, OTHER].map(|to| frame(to, 100));
    for (groups, promiscuous, expect) in [
        (vec![GROUP], false, &frames[..3]),
        (vec![], false, &frames[..2]),
        (vec![GROUP, other_group], false, &frames[..4]),
        (vec![], true, &frames[..]),
        (vec![GROUP], false, &frames[..3]),
    ] {
        (rl.groups, rl.promiscuous) = (groups, promiscuous);
        rl.filter();
        rl.bench.receive(NIC, frames.iter().cloned().map(Frame::from));
        assert_eq!(rl.interrupt(), expect);
    }
}

/// FreeBSD rl(4), if_rl.c and rlphy.c: the tick that checks the link, stop with frames in the slots, wake-up configured
/// for suspend, and resume.
#[test]
fn rl_handles_link_changes_stop_and_restart() {
    let mut rl = Rl::attach();
    rl.init();
    set_link(&mut rl.bench, false);
    assert!(rl.interrupt().is_empty(), "PUN is only acknowledged");
    assert!(!rl.bench.irq(INTA));
    assert_eq!(media(&mut rl.bench), None);
    set_link(&mut rl.bench, true);
    rl.interrupt();
    assert_eq!(media(&mut rl.bench), Some((100, true)));
    // The driver forces a speed without configuration write mode, which has no effect (5.9).
    rl.bench.outw(BMCR, 0x0000);
    assert_eq!(media(&mut rl.bench), Some((100, true)));

    assert!(rl.start(&frame(OTHER, 100)) && rl.start(&frame(OTHER, 101)));
    rl.bench.receive(NIC, [frame(MAC, 200).into()]);
    rl.stop();
    assert!(!rl.bench.irq(INTA));
    rl.bench.receive(NIC, [frame(MAC, 300).into()]);
    assert!(!rl.bench.irq(INTA));
    let power = u16::from(power_management(&mut rl.bench)) + 4;
    rl.bench.outb(CR9346, EEM_CONFIG);
    set(&mut rl.bench, CONFIG1, 0x01);
    clear(&mut rl.bench, CONFIG3, 0x30);
    set(&mut rl.bench, CONFIG3, 0x20);
    clear(&mut rl.bench, CONFIG5, 0x72);
    set(&mut rl.bench, CONFIG5, 0x02);
    rl.bench.outb(CR9346, 0);
    let status = rl.bench.config_read(power as u8, 2);
    rl.bench.config_write(power as u8, 2, status | 0x8100);
    assert_eq!(rl.bench.inb(CONFIG3) & 0x30, 0x20);

    let status = rl.bench.config_read(power as u8, 2);
    rl.bench.config_write(power as u8, 2, status & !0x0100);
    wake_by_nothing(&mut rl.bench);
    rl.init();
    sent(&mut rl.bench);
    assert!(rl.start(&frame(OTHER, 102)), "slot 0 is free");
    assert_eq!(sent(&mut rl.bench), [frame(OTHER, 102)]);
    rl.bench.receive(NIC, [frame(MAC, 400).into()]);
    assert_eq!(rl.interrupt(), [frame(MAC, 400)], "no frame from before the init");
}

/// FreeBSD rl(4), if_rl.c: rl_twister_update, which tunes the PHY for the set_link if the user enables it.
#[test]
fn rl_tunes_the_twister_if_the_link_is_up() {
    let mut rl = Rl::attach();
    rl.init();
    assert_eq!(rl.bench.inw(CSCR) & 0x0400, 0x0400, "the link is up, else tuning ends here");
    rl.bench.outw(CSCR, 0x03c0);
    assert_eq!(rl.bench.inw(CSCR) & 0xf000, 0, "a short set_link selects the first row of parameters");
    rl.bench.outl(NWAYTR, 0);
    for parameter in [0xcb39_de43, 0xcb39_ce43, 0xfb38_de03, 0xcb38_de43] {
        rl.bench.outl(TW_PARM, parameter);
    }
    rl.bench.receive(NIC, [frame(MAC, 100).into()]);
    assert_eq!(rl.interrupt(), [frame(MAC, 100)]);
    set_link(&mut rl.bench, false);
    assert_eq!(rl.bench.inw(CSCR) & 0x0400, 0);
}
