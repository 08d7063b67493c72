//! ReactOS NDIS 5 miniport driver for the RTL8139 (drivers/network/dd/rtl8139: hardware.c, ndis.c, interrupt.c,
//! info.c), of the kind that Windows 2000 and XP load. It uses ports only.

use super::*;

const SIZE: usize = 0x8000;
/// RCR: early receive threshold 8/16, FIFO threshold of 512 bytes, ring of 32 KiB, unlimited DMA bursts, WRAP.
const MODE: u32 = 0x0800_b780;
const OVERFLOW: u16 = 0x0050;
const CHANGED: u32 = 0x0800;

/// The driver's state.
struct Miniport {
    bench: Bench<Rtl8139>,
    offset: usize,
    pending: u16,
    link_change: bool,
    connected: bool,
    dirty: u16,
    current: u16,
    full: bool,
    sent_ok: u32,
    failed: u32,
}

impl Miniport {
    fn initialize(chip: Chip) -> Self {
        let mut bench = attached_card(chip);
        // CONFIG1 is locked, so the driver's write to power the chip up has no effect.
        bench.outb(CONFIG1, 0);
        reset(&mut bench, 25);
        let station: Vec<u8> = (0..6).map(|n| bench.inb(IDR + n)).collect();
        assert_eq!(station, MAC);
        let mut miniport = Self {
            bench,
            offset: 0,
            pending: 0,
            link_change: false,
            connected: false,
            dirty: 0,
            current: 0,
            full: false,
            sent_ok: 0,
            failed: 0,
        };
        miniport.update_link();
        let bench = &mut miniport.bench;
        bench.outl(RBSTART, RING as u32);
        bench.outw(IMR, INTERRUPTS);
        bench.outb(CR, RE_TE);
        bench.outl(RCR, MODE);
        bench.outl(TCR, 0x0700);
        miniport
    }

    fn update_link(&mut self) {
        let status = self.bench.inb(MSR);
        self.connected = status & 0x04 == 0;
        assert_eq!(status & 0x08, 0, "100 Mb/s");
    }

    fn filter(&mut self, bits: u32) {
        self.bench.outl(RCR, MODE | bits);
    }

    /// Returns false if all slots are in use.
    fn send(&mut self, bytes: &[u8]) -> bool {
        if self.full {
            return false;
        }
        // The driver copies and pads short frames.
        let mut bytes = bytes.to_vec();
        bytes.resize(bytes.len().max(60), 0);
        let at = SEND + 0x800 * u64::from(self.current);
        self.bench.memory.write(at, &bytes);
        self.bench.outl(TSAD + 4 * self.current, at as u32);
        self.bench.outl(TSD + 4 * self.current, bytes.len() as u32);
        self.current = (self.current + 1) % 4;
        self.full = self.current == self.dirty;
        true
    }

    /// MiniportISR. It reads CSCR before it acknowledges PUN.
    fn isr(&mut self) -> bool {
        let status = self.bench.inw(ISR) & INTERRUPTS;
        self.pending |= status;
        if status == 0 {
            return false;
        }
        if self.pending & PUN != 0 && self.bench.inl(CSCR) & CHANGED != 0 {
            self.link_change = true;
            self.update_link();
        }
        self.bench.outw(ISR, self.pending);
        true
    }

    /// MiniportHandleInterrupt.
    fn handle(&mut self) -> Vec<Vec<u8>> {
        if self.pending & TOK_TER != 0 {
            while self.full || self.dirty != self.current {
                let status = self.bench.inl(TSD + 4 * self.dirty);
                if status & 0x4000_c000 == 0 {
                    break;
                }
                if status & 0x8000 != 0 {
                    self.sent_ok += 1
                } else {
                    self.failed += 1
                }
                self.dirty = (self.dirty + 1) % 4;
                self.pending &= !TOK_TER;
                self.full = false;
            }
        }
        let mut frames = Vec::new();
        while self.pending & ROK_RER != 0 {
            if self.bench.inb(CR) & BUFE != 0 {
                self.pending &= !ROK_RER;
                break;
            }
            self.offset %= SIZE;
            let at = RING + self.offset as u64;
            let header = self.bench.memory.read_u32(at);
            let len = (header >> 16) as usize;
            assert_eq!(header & 0x3f, 1, "receive failed: {header:08x} at {at:x}");
            // Contiguous, also past the ring's end.
            frames.push(memory(&self.bench, at + 4, len - 4));
            self.offset = (self.offset + 4 + len).next_multiple_of(4);
            self.bench.outw(CAPR, (self.offset as u16).wrapping_sub(16));
            if self.pending & OVERFLOW != 0 {
                self.bench.outw(ISR, OVERFLOW);
                self.pending &= !OVERFLOW;
            }
        }
        frames
    }

    fn interrupt(&mut self) -> Vec<Vec<u8>> {
        if self.isr() { self.handle() } else { Vec::new() }
    }
}

/// ReactOS ndis.c and interrupt.c: MiniportInitialize, a filter, MiniportSend by four slots, reception into a ring of
/// 32 KiB whose last frame continues past its end. (Also on the C+ in C mode, which the same driver uses.)
#[test]
fn the_miniport_exchanges_frames() {
    for chip in [Chip::C, Chip::CPlus] {
        let mut miniport = Miniport::initialize(chip);
        assert!(miniport.connected);
        // Directed, multicast, broadcast; the driver never writes MAR.
        miniport.filter(0x0e);
        let mut expect = Vec::new();
        for frames in traffic(5) {
            miniport.bench.receive(NIC, frames.iter().cloned().map(Frame::from));
            assert_eq!(miniport.bench.inl(ERBCR) & 0x00ff_ffff, 0, "ERBCR and ERSR read 0");
            for bytes in &frames {
                if miniport.send(&bytes[..bytes.len() - 20]) {
                    expect.push(bytes[..bytes.len() - 20].to_vec());
                }
            }
            let wanted: Vec<_> = frames.into_iter().filter(|bytes| bytes[..6] != GROUP).collect();
            let mut got = Vec::new();
            while got.len() < wanted.len() {
                assert!(interrupted(&mut miniport.bench), "frames are pending without an interrupt");
                got.extend(miniport.interrupt());
            }
            assert!(got == wanted);
        }
        while miniport.sent_ok < expect.len() as u32 {
            assert!(interrupted(&mut miniport.bench), "frames were sent without an interrupt");
            miniport.interrupt();
        }
        expect.iter_mut().for_each(|bytes| bytes.resize(bytes.len().max(60), 0));
        assert!(sent(&mut miniport.bench) == expect);
        assert_eq!((miniport.failed, miniport.bench.irq(INTA)), (0, false));
    }
}

/// ReactOS info.c: NDIS packet filters; the promiscuous one accepts multicast too.
#[test]
fn the_miniport_sets_its_filter() {
    let mut miniport = Miniport::initialize(Chip::C);
    let frames = [MAC, [0xff; 6], GROUP, OTHER].map(|to| frame(to, 100));
    for (filter, expect) in [(0x00, &frames[..0]), (0x02, &frames[..1]), (0x0a, &frames[..2]), (0x01, &frames[..])] {
        miniport.filter(filter);
        miniport.bench.receive(NIC, frames.iter().cloned().map(Frame::from));
        assert_eq!(miniport.interrupt(), expect, "{filter:x}");
    }
}

/// ReactOS interrupt.c (Linux's 8139too.c does the same with 16 bits): PUN is a link change if CSCR has the change bit,
/// which the driver reads with 32 bits before it acknowledges PUN.
#[test]
fn the_miniport_detects_link_changes() {
    let mut miniport = Miniport::initialize(Chip::C);
    miniport.filter(0x0a);
    for up in [false, true, false, true] {
        set_link(&mut miniport.bench, up);
        assert!(miniport.bench.irq(INTA));
        miniport.interrupt();
        assert_eq!((std::mem::take(&mut miniport.link_change), miniport.connected), (true, up));
        assert!(!miniport.bench.irq(INTA));
        // PUN stays in the driver's `pending`, so it reads CSCR at every interrupt from now on.
        if up {
            miniport.bench.receive(NIC, [frame(MAC, 100).into()]);
            assert_eq!(miniport.interrupt(), [frame(MAC, 100)]);
            assert!(!miniport.link_change, "one link change is reported once");
        }
    }
}

/// ReactOS ndis.c, interrupt.c: the ring overflows while the driver does not run; RXOVW can be cleared once CAPR has
/// advanced.
#[test]
fn the_miniport_recovers_from_an_overflow() {
    let mut miniport = Miniport::initialize(Chip::C);
    miniport.filter(0x02);
    let frames: Vec<_> = (0..60).map(|n| frame(MAC, 1400 + n)).collect();
    miniport.bench.receive(NIC, frames.iter().cloned().map(Frame::from));
    miniport.bench.advance(3_000_000_000);
    let status = miniport.bench.inw(ISR);
    assert_eq!(status & 0x0011, 0x0011, "{status:04x}");
    let missed = miniport.bench.inl(MPC) as usize;
    assert!(missed > 0);
    let mut got = Vec::new();
    while miniport.bench.irq(INTA) {
        got.extend(miniport.interrupt());
    }
    assert!(got == frames[..frames.len() - missed]);
    miniport.bench.receive(NIC, [frame(MAC, 99).into()]);
    assert_eq!(miniport.interrupt(), [frame(MAC, 99)]);
}
