//! FreeBSD re(4) driver on the RTL8139C+ (sys/dev/re/if_re.c, sys/dev/rl/if_rlreg.h).

use super::descriptors::*;
use super::*;
use crate::net::{ChecksumAt, Offload, Segmentation};

/// Multiple read, checksums, VLAN tags, both rings.
const MODE: u16 = 0x006b;
const NPQ: u8 = 0x40;
const TDU: u16 = 0x0080;
/// Frames per run of the interrupt task.
const BUDGET: usize = 16;
const PATIENCE: u32 = 1000;

/// The driver's state. `moderated` is RE_TX_MODERATION: TOK is masked and TimerInt replaces it.
struct Re {
    bench: Bench<Rtl8139>,
    rings: Rings,
    moderated: bool,
    link: bool,
    completed: usize,
}

/// Changes only the mode and chip select bits; CS falls between words.
fn eeprom_words<const N: usize>(bench: &mut Bench<Rtl8139>, from: u32, width: u32) -> [u16; N] {
    set(bench, CR9346, EEM_PROGRAM);
    let words = std::array::from_fn(|n| {
        set(bench, CR9346, EECS);
        shift_out(bench, 6 << width | (from + n as u32), 3 + width);
        let word = shift_in(bench);
        clear(bench, CR9346, EECS);
        word
    });
    clear(bench, CR9346, EEM_PROGRAM);
    words
}

impl Re {
    fn attach(moderated: bool) -> Self {
        let mut bench = attached_card(Chip::CPlus);
        assert_eq!((bench.config_read(0, 2), bench.config_read(2, 2)), (0x10ec, 0x8139));
        assert_eq!(bench.config_read(8, 1), 0x20, "rl(4) attaches to other revisions");
        reset(&mut bench, PATIENCE);
        assert_eq!(bench.inl(TCR) & 0x7cc0_0000, 0x7480_0000, "RTL8139C+, or an unknown revision");
        // A later version of the driver checks other bits, and prints the rest as the MAC revision.
        assert_eq!((bench.inl(TCR) & 0x7c80_0000, bench.inl(TCR) & 0x0070_0000), (0x7480_0000, 0));
        assert_ne!(eeprom_words(&mut bench, 0, 8), [0x8129], "the EEPROM is no 93C56");
        assert_eq!(address(eeprom_words(&mut bench, 7, 6)), MAC);
        attach_phy(&mut bench);
        let rings = Rings::lay_out(&bench, 0);
        Self { bench, rings, moderated, link: false, completed: 0 }
    }

    fn mask(&self) -> u16 {
        if self.moderated { INTERRUPTS & !0x0004 } else { INTERRUPTS }
    }

    fn init(&mut self, loopback: bool) {
        self.stop();
        let mask = self.mask();
        let bench = &mut self.bench;
        bench.outw(CPCR, MODE);
        write_station(bench);
        self.rings = Rings::lay_out(bench, 0);
        bench.outl(RDSAR + 4, 0);
        bench.outl(RDSAR, RX as u32);
        bench.outl(TSAD + 4, 0);
        bench.outl(TSAD, TX as u32);
        bench.outb(CR, RE_TE);
        bench.outl(TCR, 0x0300_0700 | if loopback { 0x0006_0000 } else { 0 });
        bench.outb(ETTHR, 16);
        let mode = set_rcr(bench, loopback);
        if loopback {
            bench.outl(RCR, mode | 0x04);
            bench.outl(MAR, u32::MAX);
            bench.outl(MAR + 4, u32::MAX);
        } else {
            bench.outl(MAR, 0);
            bench.outl(MAR + 4, 0);
            bench.outl(RCR, mode | 0x04);
            let table = hashes(&[GROUP]);
            bench.outl(MAR, table[0]);
            bench.outl(MAR + 4, table[1]);
        }
        bench.outw(IMR, if loopback { 0 } else { mask });
        bench.outw(ISR, mask);
        bench.outl(MPC, 0);
        if self.moderated || loopback {
            bench.outl(TIMER_INT, 0x400);
        }
        if loopback {
            return;
        }
        negotiate(bench);
        set(bench, CONFIG1, 0x20);
        self.link = false;
    }

    fn stop(&mut self) {
        self.bench.outb(CR, 0);
        self.bench.outw(IMR, 0);
        self.bench.outw(ISR, 0xffff);
        assert_eq!((self.bench.inw(ISR), self.bench.irq(INTA)), (0, false));
    }

    /// Runs once a second, and on a link change.
    fn tick(&mut self) {
        self.link = media(&mut self.bench).is_some();
    }

    /// Starts the transmission of queued frames.
    fn start(&mut self) {
        self.bench.outb(TPPOLL, NPQ);
        if self.moderated {
            self.bench.outl(TCTR, 1);
        }
    }

    /// The interrupt filter, which masks all interrupts, and the task that processes them and unmasks.
    fn interrupt(&mut self) -> Vec<Received> {
        let mut frames = Vec::new();
        if self.bench.inw(ISR) & self.mask() == 0 {
            return frames;
        }
        self.bench.outw(IMR, 0);
        assert!(!self.bench.irq(INTA));
        loop {
            let status = self.bench.inw(ISR);
            self.bench.outw(ISR, status);
            let mut again = false;
            if status & (ROK_RER | 0x0040) != 0 {
                let before = frames.len();
                frames.extend(self.rings.collect(&self.bench, BUDGET));
                again = frames.len() - before < BUDGET;
            }
            if status & (0x0008 | TDU | if self.moderated { TIMEOUT } else { 0x0004 }) != 0 {
                self.completed += self.rings.reap(&self.bench);
                if !self.rings.all_free() {
                    self.start();
                }
            }
            assert_eq!(status & SERR, 0);
            if status & PUN != 0 {
                self.tick();
            }
            if self.bench.inw(ISR) & self.mask() == 0 && !again {
                break;
            }
        }
        let mask = self.mask();
        self.bench.outw(IMR, mask);
        frames
    }

    fn running(moderated: bool) -> Self {
        let mut re = Self::attach(moderated);
        re.init(false);
        re.tick();
        assert!(re.link);
        re
    }
}

/// FreeBSD re(4), if_re.c: attach, which decides by HWVERID; init; frames in one to four descriptors several times
/// round the ring, completed by TOK or by TimerInt.
#[test]
fn re_sends_frames_with_and_without_moderation() {
    for moderated in [false, true] {
        let mut re = Re::running(moderated);
        let mut expect = Vec::new();
        for n in 0..300 {
            let bytes = frame(OTHER, 60 + n * 53 % 1455);
            let cut = bytes.len() / (1 + n % 4) + 1;
            let pieces: Vec<_> = bytes.chunks(cut).collect();
            while !re.rings.queue(&re.bench, &pieces, 0, 0) {
                assert!(interrupted(&mut re.bench), "watchdog timeout");
                re.interrupt();
            }
            re.start();
            re.bench.advance(5_000);
            expect.push(bytes);
        }
        while re.completed < expect.len() {
            assert!(interrupted(&mut re.bench), "watchdog timeout {moderated}");
            re.interrupt();
        }
        assert!(re.rings.all_free());
        assert!(sent(&mut re.bench) == expect);
    }
}

/// FreeBSD re(4), if_re.c, with moderation: every start restarts the timer, which interrupts once, 1024 clocks after
/// the last start.
#[test]
fn re_with_moderation_is_interrupted_by_timerint_only() {
    let mut re = Re::running(true);
    for _ in 0..10 {
        assert!(re.rings.queue(&re.bench, &[&frame(OTHER, 100)], 0, 0));
        re.start();
        re.bench.advance(30_000);
        assert!(!re.bench.irq(INTA));
    }
    re.bench.advance(1_000);
    assert!(re.bench.irq(INTA));
    assert_eq!(re.bench.inw(ISR) & TIMEOUT, TIMEOUT);
    re.interrupt();
    assert_eq!(re.completed, 10);
    re.bench.advance(10_000_000);
    assert!(!re.bench.irq(INTA), "the timer interrupts once");
}

/// FreeBSD re(4), if_re.c: the task takes 16 frames from a ring of 64 buffers of 2 KiB. It reschedules itself if it
/// found fewer, and waits for an interrupt if it found 16.
#[test]
fn re_receives_frames_in_batches_of_any_size() {
    for (batch, moderated) in [(1, false), (15, true), (16, false), (64, true), (64, false), (200, false)] {
        let mut re = Re::running(moderated);
        for frames in traffic(batch) {
            re.bench.receive(NIC, frames.iter().cloned().map(Frame::from));
            let mut got = Vec::new();
            while got.len() < frames.len() {
                assert!(interrupted(&mut re.bench), "{batch}: frames are pending without an interrupt");
                got.extend(re.interrupt().into_iter().map(|frame| frame.bytes));
            }
            assert!(got == frames, "{batch}");
        }
        assert_eq!(re.bench.inl(MPC), 0);
    }
}

/// FreeBSD re(4), if_re.c: checksum flags in every descriptor of a frame (IP only, or TCP or UDP as well), and what
/// re_rxeof makes of the protocol and error bits of received frames.
#[test]
fn re_offloads_checksums_in_both_directions() {
    let mut re = Re::running(false);
    for (protocol, flags) in [(6, IPCS | TCPCS), (17, IPCS | UDPCS)] {
        for len in [18, 99, 1400] {
            let right = packet(OTHER, protocol, &vec![0x5a; len]);
            let bytes = unsummed(right.clone());
            let (head, rest) = bytes.split_at(54);
            assert!(re.rings.queue(&re.bench, &[head, rest], flags, 0));
            re.start();
            let mut expect = right;
            expect.resize(expect.len().max(60), 0);
            assert_eq!(on_the_wire(&mut re.bench), [expect], "{protocol} {len}");
        }
    }
    // The driver pads datagrams of less than 60 bytes, because the chip is said to corrupt them.
    let mut expect = packet(OTHER, 17, b"short");
    expect.resize(60, 0);
    let bytes = unsummed(expect.clone());
    assert!(re.rings.queue(&re.bench, &[&bytes], IPCS | UDPCS, 0));
    re.start();
    assert_eq!(on_the_wire(&mut re.bench), [expect]);

    // Protocol bits, and the error bits of IP, UDP and TCP.
    let spoilt = |protocol, at: usize| {
        let mut bytes = packet(MAC, protocol, &[7; 100]);
        bytes[at] ^= 1;
        bytes
    };
    let all = [
        (packet(MAC, 6, &[7; 100]), 0x0001_0000),
        (packet(MAC, 17, &[7; 100]), 0x0002_0000),
        (spoilt(6, 22), 0x0001_8000),
        (spoilt(17, 60), 0x0002_4000),
        (spoilt(6, 60), 0x0001_2000),
        (frame(MAC, 100), 0),
    ];
    re.bench.receive(NIC, all.iter().map(|(bytes, _)| Frame::from(bytes.clone())));
    for (got, (bytes, expect)) in re.interrupt().into_iter().zip(&all) {
        assert_eq!((got.status & 0x0003_e000, &got.bytes), (*expect, bytes));
    }
}

/// FreeBSD re(4), if_re.c: large send, which this driver uses on the C+, with the MSS in every descriptor; VLAN tags in
/// network byte order in both directions.
#[test]
fn re_sends_large_packets_and_vlan_tags() {
    let mut re = Re::running(false);
    let payload: Vec<u8> = (0..20_000).map(|n| (n * 13) as u8).collect();
    let bytes = unsummed(packet(OTHER, 6, &payload));
    let pieces: Vec<_> = std::iter::once(&bytes[..54]).chain(bytes[54..].chunks(4096)).collect();
    assert!(re.rings.queue(&re.bench, &pieces, LGSEN | 1460 << 16, 0));
    re.start();
    let large = re.bench.sent.remove(0).1;
    let cut = Segmentation { ipv6: false, header: 54, mss: 1460 };
    let at = ChecksumAt { start: 34, offset: 16 };
    assert_eq!(large.offload, Offload { checksum: Some(at), segmentation: Some(cut), verified: false });
    assert_eq!(large.bytes[54..], payload);
    re.interrupt();
    assert_eq!(re.completed, 1);

    let plain = frame(OTHER, 200);
    let tagged = |bytes: &[u8]| [&bytes[..12], &[0x81, 0x00, 0x21, 0x23], &bytes[12..]].concat();
    let tag = u32::from(0x2123u16.swap_bytes());
    assert!(re.rings.queue(&re.bench, &[&plain[..40], &plain[40..]], 0, TAGC | tag));
    re.start();
    assert_eq!(sent(&mut re.bench), [tagged(&plain)]);
    let plain = frame(MAC, 200);
    re.bench.receive(NIC, [tagged(&plain).into(), plain.clone().into()]);
    let got: Vec<_> = re.interrupt().into_iter().map(|frame| (frame.bytes, frame.tag)).collect();
    assert_eq!(got, [(plain.clone(), 0x0001_0000 | tag), (plain, 0)]);
}

/// FreeBSD re(4), if_re.c: link changes, counter dump, stop with frames in both directions, wake-up, and a new init.
#[test]
fn re_handles_link_changes_counter_dumps_and_stop() {
    let mut re = Re::running(false);
    for up in [false, true] {
        set_link(&mut re.bench, up);
        assert!(re.bench.irq(INTA));
        re.interrupt();
        assert_eq!((re.link, re.bench.irq(INTA)), (up, false));
    }
    re.bench.receive(NIC, [frame(MAC, 60).into(), frame([0xff; 6], 60).into()]);
    re.interrupt();
    assert!(re.rings.queue(&re.bench, &[&frame(OTHER, 60)], 0, 0));
    re.start();
    re.bench.outl(TSD + 4, 0);
    re.bench.outl(TSD, 0x3_0000);
    re.bench.outl(TSD, 0x3_0000 | 8);
    assert!((0..PATIENCE).any(|_| re.bench.inl(TSD) & 8 == 0), "DUMP statistics request timed out");
    let counter = |at: u64| re.bench.memory.read_u32(0x3_0000 + at);
    assert_eq!((counter(0), counter(8), counter(40), counter(48)), (1, 2, 1, 1), "TxOk, RxOk, RxOkPhy, RxOkBrd");

    assert!(re.rings.queue(&re.bench, &[&frame(OTHER, 61)], 0, 0));
    re.stop();
    re.bench.outb(CR9346, EEM_CONFIG);
    set(&mut re.bench, CONFIG1, 0x01);
    clear(&mut re.bench, CONFIG3, 0x30);
    set(&mut re.bench, CONFIG3, 0x20);
    re.bench.outb(CR9346, 0);
    clear(&mut re.bench, CONFIG5, 0x72);
    set(&mut re.bench, CONFIG5, 0x02);
    assert_eq!((re.bench.inb(CONFIG3) & 0x30, re.bench.inb(CONFIG5) & 0x72), (0x20, 0x02));
    sent(&mut re.bench);
    re.bench.receive(NIC, [frame(MAC, 100).into()]);

    re.init(false);
    re.tick();
    assert!(re.rings.queue(&re.bench, &[&frame(OTHER, 62)], 0, 0));
    // Driver versions of 2003 to 2006 write TPPoll with 16 bits.
    re.bench.outw(TPPOLL, NPQ.into());
    assert_eq!(sent(&mut re.bench), [frame(OTHER, 62)]);
    re.bench.receive(NIC, [frame(MAC, 101).into()]);
    let got: Vec<_> = re.interrupt().into_iter().map(|frame| frame.bytes).collect();
    assert_eq!(got, [frame(MAC, 101)], "no frame from before the init");
}

/// FreeBSD re(4), if_re.c, and OpenBSD re(4), re.c: re_diag, whose failure ends the attach. In loopback with interrupts
/// disabled a frame to no station returns into the first descriptor; one read of ISR shows both ROK and TimeOut.
#[test]
fn re_passes_its_loopback_diagnostic() {
    let mut re = Re::attach(true);
    reset(&mut re.bench, PATIENCE);
    re.init(true);
    re.bench.outw(BMCR, 0x8000);
    assert!((0..PATIENCE).any(|_| re.bench.inw(BMCR) & 0x8000 == 0));
    re.bench.outw(BMCR, 0x4000);
    re.bench.outw(ISR, INTERRUPTS);
    re.bench.advance(100_000_000);
    let mut bytes = b"\0hello\0world\x08\0".to_vec();
    bytes.resize(60, 0xdb);
    re.bench.outw(ISR, 0xffff);
    assert!(re.rings.queue(&re.bench, &[&bytes], 0, 0));
    re.start();
    re.bench.advance(100_000_000);
    let seen = (0..PATIENCE).any(|_| {
        let status = re.bench.inw(ISR);
        re.bench.outw(ISR, status);
        re.bench.advance(10_000);
        status & (TIMEOUT | 1) == TIMEOUT | 1
    });
    assert!(seen, "failed to receive packet in loopback mode");
    let got = re.rings.collect(&re.bench, BUDGET);
    assert_eq!(got.len(), 1);
    assert_eq!((got[0].status & 0x1fff, &got[0].bytes), (64, &bytes), "DMA FAILURE");
    assert!(sent(&mut re.bench).is_empty());
    re.stop();

    re.init(false);
    re.tick();
    assert!(re.link);
    re.bench.receive(NIC, [frame(MAC, 100).into()]);
    assert_eq!(re.interrupt().len(), 1);
}
