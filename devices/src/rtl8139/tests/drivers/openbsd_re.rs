//! OpenBSD and NetBSD re(4) drivers on the RTL8139C+ (sys/dev/ic/re.c, sys/dev/pci/if_re_pci.c; sys/dev/ic/rtl8169.c),
//! where they differ from FreeBSD's. They use MMIO.

use super::descriptors::*;
use super::*;

/// Multiple read, checksums, both rings.
const MODE: u16 = 0x002b;
/// TOK stays masked.
const MASK: u16 = INTERRUPTS & !0x0004;
const NPQ: u8 = 0x40;
const TDU: u16 = 0x0080;

fn at(register: u16) -> u64 {
    MMIO + u64::from(register - IO)
}

fn read<const N: usize>(bench: &mut Bench<Rtl8139>, register: u16) -> [u8; N] {
    let mut data = [0; N];
    bench.mem_read(at(register), &mut data);
    data
}

fn read8(bench: &mut Bench<Rtl8139>, register: u16) -> u8 {
    read::<1>(bench, register)[0]
}

fn read16(bench: &mut Bench<Rtl8139>, register: u16) -> u16 {
    u16::from_le_bytes(read(bench, register))
}

fn read32(bench: &mut Bench<Rtl8139>, register: u16) -> u32 {
    u32::from_le_bytes(read(bench, register))
}

fn write8(bench: &mut Bench<Rtl8139>, register: u16, value: u8) {
    bench.mem_write(at(register), &[value]);
}

fn write16(bench: &mut Bench<Rtl8139>, register: u16, value: u16) {
    bench.mem_write(at(register), &value.to_le_bytes());
}

fn write32(bench: &mut Bench<Rtl8139>, register: u16, value: u32) {
    bench.mem_write(at(register), &value.to_le_bytes());
}

/// Which of the two drivers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum System {
    OpenBsd,
    NetBsd,
}

struct Re {
    bench: Bench<Rtl8139>,
    system: System,
    rings: Rings,
    completed: usize,
    link: bool,
}

impl Re {
    fn attach(system: System) -> Self {
        let mut bench = attached_card(Chip::CPlus);
        assert_eq!(bench.config_read(0x50, 4) & 0xff, 1, "OpenBSD expects the capability at 50h");
        let rings = Rings::lay_out(&bench, 2);
        let mut re = Self { bench, system, rings, completed: 0, link: false };
        re.reset();
        let bench = &mut re.bench;
        match system {
            System::OpenBsd => {
                // Unlike the others it tries six address bits first. (By ports here; the pins are the same.)
                set(bench, CR9346, EEM_PROGRAM);
                let words = [0, 7, 8, 9].map(|word| {
                    set(bench, CR9346, EECS);
                    shift_out(bench, 6 << 6 | word, 9);
                    let word = shift_in(bench);
                    clear(bench, CR9346, EECS);
                    word
                });
                clear(bench, CR9346, EEM_PROGRAM);
                assert_eq!(words[0], 0x8129);
                assert_eq!(address([words[1], words[2], words[3]]), MAC);
            }
            System::NetBsd => {
                let station: Vec<_> = (0..6).map(|n| read8(bench, IDR + n)).collect();
                assert_eq!(station, MAC);
            }
        }
        assert_eq!(read32(bench, TCR) & 0x7cc0_0000, 0x7480_0000, "unknown ASIC");
        attach_phy(bench);
        re.reset();
        re
    }

    fn reset(&mut self) {
        write8(&mut self.bench, CR, RST);
        assert!((0..1000).any(|_| read8(&mut self.bench, CR) & RST == 0), "reset never completed");
        if self.system == System::OpenBsd {
            // A write that only gigabit chips need.
            write8(&mut self.bench, IO + 0x82, 1);
        }
    }

    fn init(&mut self) {
        self.stop();
        if self.system == System::NetBsd {
            self.reset();
        }
        let tags = if self.system == System::NetBsd { 0x0040 } else { 0 };
        let bench = &mut self.bench;
        write16(bench, CPCR, MODE | tags);
        if self.system == System::OpenBsd {
            let [first, second] = address_dwords();
            write8(bench, CR9346, EEM_CONFIG);
            write32(bench, IDR + 4, second);
            write32(bench, IDR, first);
            write8(bench, CR9346, 0);
        }
        self.rings = Rings::lay_out(bench, 2);
        for (register, value) in [(RDSAR + 4, 0), (RDSAR, RX as u32), (TSAD + 4, 0), (TSAD, TX as u32)] {
            write32(bench, register, value);
        }
        write8(bench, CR, RE_TE);
        write32(bench, TCR, 0x0300_0700);
        write8(bench, ETTHR, 16);
        write32(bench, RCR, 0xff00);
        let mode = read32(bench, RCR) | 0x0a;
        write32(bench, RCR, mode);
        let mode = read32(bench, RCR) & !0x01;
        write32(bench, RCR, mode);
        write32(bench, MAR, 0);
        write32(bench, MAR + 4, 0);
        write32(bench, RCR, mode | 0x04);
        let table = hashes(&[GROUP]);
        write32(bench, MAR, table[0]);
        write32(bench, MAR + 4, table[1]);
        write16(bench, IMR, MASK);
        if self.system == System::OpenBsd {
            write16(bench, ISR, MASK);
        }
        write32(bench, MPC, 0);
        write32(bench, TIMER_INT, 0x400);
        negotiate(bench);
        let config1 = read8(bench, CONFIG1);
        write8(bench, CONFIG1, config1 | 0x20);
        self.link = media(bench).is_some();
        assert_eq!(u64::from_le_bytes(read(bench, MAR)), u64::from(table[1]) << 32 | u64::from(table[0]));
    }

    fn stop(&mut self) {
        write8(&mut self.bench, CR, 0);
        write16(&mut self.bench, IMR, 0);
        write16(&mut self.bench, ISR, 0xffff);
    }

    fn start(&mut self) {
        write8(&mut self.bench, TPPOLL, NPQ);
        write32(&mut self.bench, TCTR, 1);
    }

    /// The handler leaves interrupts unmasked.
    fn interrupt(&mut self) -> Vec<Received> {
        let mut frames = Vec::new();
        for round in 0.. {
            assert!(round < 50, "the handler never returns");
            let status = read16(&mut self.bench, ISR);
            if status != 0 {
                write16(&mut self.bench, ISR, status);
            }
            if status & MASK == 0 {
                break;
            }
            if status & ROK_RER != 0 {
                frames.extend(self.rings.collect(&self.bench, usize::MAX));
            }
            if status & (TIMEOUT | 0x0008 | TDU) != 0 {
                self.completed += self.rings.reap(&self.bench);
                if !self.rings.all_free() {
                    self.start();
                }
            }
            assert_eq!(status & SERR, 0);
            if status & PUN != 0 {
                self.link = media(&mut self.bench).is_some();
            }
        }
        assert!(!self.bench.irq(INTA));
        frames
    }
}

/// OpenBSD re(4), re.c, and NetBSD re(4), rtl8169.c: attach, init, a handler that masks nothing, frames in both
/// directions, transmit completion by TimerInt.
#[test]
fn openbsd_and_netbsd_re_exchange_frames() {
    for system in [System::OpenBsd, System::NetBsd] {
        let mut re = Re::attach(system);
        re.init();
        assert!(re.link);
        let mut expect = Vec::new();
        for frames in traffic(30) {
            re.bench.receive(NIC, frames.iter().cloned().map(Frame::from));
            for bytes in &frames {
                let (head, rest) = bytes.split_at(14);
                while !re.rings.queue(&re.bench, &[head, rest], 0, 0) {
                    assert!(interrupted(&mut re.bench), "watchdog timeout");
                    assert!(re.interrupt().is_empty(), "the receive ring was drained before");
                }
                expect.push(bytes.clone());
                re.start();
                if re.bench.irq(INTA) {
                    let got: Vec<_> = re.interrupt().into_iter().map(|frame| frame.bytes).collect();
                    assert!(got.is_empty() || got == frames);
                }
            }
        }
        while re.completed < expect.len() {
            assert!(interrupted(&mut re.bench), "watchdog timeout");
            re.interrupt();
        }
        assert!(sent(&mut re.bench) == expect);
    }
}

/// OpenBSD re.c and NetBSD rtl8169.c: the VLAN tag in the first descriptor only or in all, checksums together with
/// IPCS, and the padding descriptor that both append to datagrams too short for the chip.
#[test]
fn openbsd_and_netbsd_re_offload_checksums_and_vlan_tags() {
    for system in [System::OpenBsd, System::NetBsd] {
        let mut re = Re::attach(system);
        re.init();
        let right = packet(OTHER, 17, b"");
        let bytes = unsummed(right.clone());
        assert!(re.rings.queue(&re.bench, &[&bytes, &[0; 1]], IPCS | UDPCS, 0));
        re.start();
        assert_eq!(on_the_wire(&mut re.bench), [[&right[..], &[0; 18]].concat()]);
        let right = packet(OTHER, 6, &[3; 500]);
        let bytes = unsummed(right.clone());
        let tag = TAGC | u32::from(0x0123u16.swap_bytes());
        assert!(re.rings.queue(&re.bench, &[&bytes[..14], &bytes[14..]], IPCS | TCPCS, tag));
        if system == System::OpenBsd {
            // OpenBSD sets the tag in the first descriptor only. Descriptor 3 is the second one of this frame.
            re.bench.memory.write(TX + 16 * 3 + 4, &[0; 4]);
        }
        re.start();
        assert_eq!(on_the_wire(&mut re.bench), [[&right[..12], &[0x81, 0, 0x01, 0x23], &right[12..]].concat()]);
        re.bench.advance(50_000);
        re.interrupt();
        assert_eq!(re.completed, 2);
    }
}

/// OpenBSD re.c and NetBSD rtl8169.c: link changes by PUN; stop, and an init that restarts both rings.
#[test]
fn openbsd_and_netbsd_re_handle_link_changes_and_reinitialise() {
    for system in [System::OpenBsd, System::NetBsd] {
        let mut re = Re::attach(system);
        for round in 0..5 {
            re.init();
            for up in [false, true] {
                set_link(&mut re.bench, up);
                assert!(re.bench.irq(INTA));
                re.interrupt();
                assert_eq!(re.link, up);
            }
            let all: Vec<_> = (0..7).map(|n| frame(MAC, 100 + n + round)).collect();
            re.bench.receive(NIC, all.iter().cloned().map(Frame::from));
            let got: Vec<_> = re.interrupt().into_iter().map(|frame| frame.bytes).collect();
            assert_eq!(got, all);
            assert!(re.rings.queue(&re.bench, &[&all[0]], 0, 0));
            re.start();
            assert_eq!(sent(&mut re.bench), all[..1]);
            re.stop();
        }
    }
}
