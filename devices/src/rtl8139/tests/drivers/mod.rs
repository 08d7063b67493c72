//! The NIC driven as the drivers of other operating systems drive it: the same registers, widths and order, from probe
//! to stop. A test fails where the driver would report an error. Each file names its driver; the behaviour is known
//! from the driver's published source, of which nothing is copied.

mod descriptors;
mod freebsd_re;
mod freebsd_rl;
mod guide;
mod netbsd_rtk;
mod openbsd_re;
mod openbsd_rl;
mod reactos;

use super::*;
use crate::Wake;

pub(super) const RST: u8 = 0x10;
pub(super) const RE_TE: u8 = 0x0c;
pub(super) const BUFE: u8 = 0x01;

/// The interrupts that all BSDs unmask in C mode: ROK, RER, TOK, TER, RXOVW, PUN, FOVW, TimeOut, SERR.
pub(super) const INTERRUPTS: u16 = 0xc07f;
pub(super) const ROK_RER: u16 = 0x0003;
pub(super) const TOK_TER: u16 = 0x000c;
pub(super) const PUN: u16 = 0x0020;
pub(super) const TIMEOUT: u16 = 0x4000;
pub(super) const SERR: u16 = 0x8000;

/// Transmit buffers, above the first MiB.
pub(super) const SEND: u64 = 0x10_0000;

/// The all-hosts group (RFC 1112).
pub(super) const GROUP: [u8; 6] = [0x01, 0x00, 0x5e, 0x00, 0x00, 0x01];

/// A card before the driver's probe, configured as the PCI code of these systems leaves it.
pub(super) fn attached_card(chip: Chip) -> Bench<Rtl8139> {
    mapped(make_chip(chip))
}

/// Resets the chip and reads CR at most `patience` times, as the driver does.
pub(super) fn reset(bench: &mut Bench<Rtl8139>, patience: u32) {
    bench.outb(CR, RST);
    let done = (0..patience).any(|_| {
        bench.advance(10_000);
        bench.inb(CR) & RST == 0
    });
    assert!(done, "reset never completed");
}

// The EEPROM's pins, changed by read-modify-write of 9346CR.

pub(super) const EEM_PROGRAM: u8 = 0x80;
pub(super) const EEM_CONFIG: u8 = 0xc0;
pub(super) const EECS: u8 = 0x08;
pub(super) const EESK: u8 = 0x04;
pub(super) const EEDI: u8 = 0x02;
pub(super) const EEDO: u8 = 0x01;

pub(super) fn set(bench: &mut Bench<Rtl8139>, register: u16, bits: u8) {
    let value = bench.inb(register);
    bench.outb(register, value | bits);
}

pub(super) fn clear(bench: &mut Bench<Rtl8139>, register: u16, bits: u8) {
    let value = bench.inb(register);
    bench.outb(register, value & !bits);
}

/// Shifts the last `count` bits of `bits` into the EEPROM.
pub(super) fn shift_out(bench: &mut Bench<Rtl8139>, bits: u32, count: u32) {
    for n in (0..count).rev() {
        if bits >> n & 1 != 0 {
            set(bench, CR9346, EEDI);
        } else {
            clear(bench, CR9346, EEDI);
        }
        set(bench, CR9346, EESK);
        clear(bench, CR9346, EESK);
    }
}

pub(super) fn shift_in(bench: &mut Bench<Rtl8139>) -> u16 {
    (0..16).fold(0, |word, _| {
        set(bench, CR9346, EESK);
        let bit = bench.inb(CR9346) & EEDO;
        clear(bench, CR9346, EESK);
        word << 1 | u16::from(bit)
    })
}

/// The MAC address in three words of the EEPROM.
pub(super) fn address(words: [u16; 3]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The MAC address as drivers write it: two dwords, the second one half empty.
pub(super) fn address_dwords() -> [u32; 2] {
    let [a, b, c, d, e, f] = MAC;
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, 0, 0])]
}

// The PHY as FreeBSD's mii_physubr.c and rlphy.c, and their NetBSD and OpenBSD versions, use it.

pub(super) fn attach_phy(bench: &mut Bench<Rtl8139>) {
    let abilities = bench.inw(BMSR);
    assert!(abilities != 0 && abilities != 0xffff && abilities & 0xff00 != 0, "no PHY: {abilities:04x}");
    bench.outw(BMCR, 0x8000);
    assert!((0..100).any(|_| bench.inw(BMCR) & 0x8000 == 0), "the PHY's reset never completed");
}

/// Advertises all abilities in BMSR and restarts auto-negotiation.
pub(super) fn negotiate(bench: &mut Bench<Rtl8139>) {
    let abilities = bench.inw(BMSR);
    bench.outw(ANAR, abilities >> 6 & 0x03e0 | 1);
    bench.outw(BMCR, 0x1200);
}

/// Speed and full duplex, if the link is up.
pub(super) fn media(bench: &mut Bench<Rtl8139>) -> Option<(u16, bool)> {
    // BMSR's link bit latches low: read it twice.
    let status = bench.inw(BMSR) | bench.inw(BMSR);
    let control = bench.inw(BMCR);
    assert_eq!(control & 0x4400, 0, "isolated or looped back");
    assert_eq!(control & 0x1000, 0x1000, "auto-negotiation is enabled");
    if status & 0x0020 == 0 {
        assert_eq!(status & 0x0004, 0, "negotiation never ends");
        return None;
    }
    match bench.inw(ANAR) & bench.inw(ANLPAR) & 0x03e0 {
        common if common & 0x0100 != 0 => Some((100, true)),
        common if common & 0x0080 != 0 => Some((100, false)),
        common if common & 0x0040 != 0 => Some((10, true)),
        common if common & 0x0020 != 0 => Some((10, false)),
        _ => Some((if bench.inb(MSR) & 0x08 != 0 { 10 } else { 100 }, false)),
    }
}

pub(super) fn set_link(bench: &mut Bench<Rtl8139>, up: bool) {
    bench.call(|device, cx| Device::wake(device, cx, Wake::Link(NIC, up)));
}

/// MAR for these groups, by the CRC of the BSDs' `ether_crc32_be`.
pub(super) fn hashes(groups: &[[u8; 6]]) -> [u32; 2] {
    let all = groups.iter().fold(0u64, |all, group| all | 1 << receive::hash_bit_by_bit(group));
    [all as u32, (all >> 32) as u32]
}

/// Lets time pass until INTA# is asserted, for at most one millisecond.
pub(super) fn interrupted(bench: &mut Bench<Rtl8139>) -> bool {
    (0..100).any(|_| {
        let level = bench.irq(INTA);
        bench.advance(10_000);
        level
    })
}

/// Reads a ring of 64 KiB at `base` as the BSDs' C mode drivers do: from CAPR, no further than the value of CBR on
/// entry. They reset the chip at an invalid frame header, which is a failure here.
pub(super) fn walk_ring(bench: &mut Bench<Rtl8139>, base: u64, longest: usize) -> Vec<Vec<u8>> {
    const SIZE: u32 = 0x1_0000;
    let mut at = (u32::from(bench.inw(CAPR)) + 16) % SIZE;
    let limit = u32::from(bench.inw(CBR)) % SIZE;
    let most = if limit < at { SIZE - at + limit } else { limit - at };
    let (mut read, mut frames) = (0, Vec::new());
    while bench.inb(CR) & BUFE == 0 {
        let header = bench.memory.read_u32(base + u64::from(at));
        let len = (header >> 16) as usize;
        assert_ne!(len, 0xfff0, "a frame header is never seen half written");
        assert!(header & 1 != 0 && (64..=longest).contains(&len), "reset for header {header:08x} at {at:x}");
        read += len as u32 + 4;
        if read > most {
            break;
        }
        let begin = (at + 4) % SIZE;
        let first = (len - 4).min((SIZE - begin) as usize);
        let mut frame = memory(bench, base + u64::from(begin), first);
        frame.extend(memory(bench, base, len - 4 - first));
        frames.push(frame);
        at = (at + 4 + len as u32).next_multiple_of(4) % SIZE;
        bench.outw(CAPR, (at as u16).wrapping_sub(16));
    }
    frames
}

/// A short frame to the group, then 1,200 frames of all lengths to the card and to broadcast, in batches of `batch`: at
/// least four times round a ring of 64 KiB.
pub(super) fn traffic(batch: usize) -> impl Iterator<Item = Vec<Vec<u8>>> {
    let mut all: Vec<_> =
        (0..1200).map(|n| frame(if n % 5 == 0 { [0xff; 6] } else { MAC }, 60 + n * 37 % 1455)).collect();
    all[0] = frame(GROUP, 60);
    let batches: Vec<Vec<Vec<u8>>> = all.chunks(batch).map(<[Vec<u8>]>::to_vec).collect();
    batches.into_iter()
}

/// Writes the MAC address by dwords in configuration write mode.
pub(super) fn write_station(bench: &mut Bench<Rtl8139>) {
    bench.outb(CR9346, EEM_CONFIG);
    for (n, dword) in (0..).zip(address_dwords()) {
        bench.outl(IDR + 4 * n, dword);
    }
    bench.outb(CR9346, 0);
}

/// Sets RCR in the BSDs' steps: no burst limit and no threshold; physical match (and, for `promiscuous`, all addresses);
/// broadcast. Returns RCR as it reads back.
pub(super) fn set_rcr(bench: &mut Bench<Rtl8139>, promiscuous: bool) -> u32 {
    bench.outl(RCR, 0xff00);
    let mode = bench.inl(RCR) | 0x02 | u32::from(promiscuous);
    bench.outl(RCR, mode);
    bench.outl(RCR, mode | 0x08);
    bench.inl(RCR)
}
