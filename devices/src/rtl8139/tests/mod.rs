//! The card on a bench, with ports at C000h and memory at FEB00000h.

mod cplus;
mod drivers;
mod hostile;
mod interrupts;
mod keeping;
mod properties;
mod receive;
mod registers;
mod transmit;

use super::{Chip, NicSpec, Rtl8139};
use crate::ctx::IrqLine;
use crate::device::{Devfn, Device};
use crate::net::{Frame, NicId};
use crate::testing::Bench;

pub(super) const NIC: NicId = NicId(2);
pub(super) const IO: u16 = 0xc000;
pub(super) const MMIO: u64 = 0xfeb0_0000;
pub(super) const MAC: [u8; 6] = [0x00, 0x16, 0x3e, 0x12, 0x34, 0x56];
pub(super) const OTHER: [u8; 6] = [0x00, 0x16, 0x3e, 0xaa, 0xbb, 0xcc];
pub(super) const RING: u64 = 0x1_0000;
pub(super) const INTA: IrqLine = IrqLine::Pci(0);

pub(super) fn make_chip(chip: Chip) -> Rtl8139 {
    let rom = (0..0x5000u32).map(|n| n as u8 ^ 0x5a).collect();
    Rtl8139::with_chip(NicSpec { nic: NIC, devfn: Devfn::new(3, 0), mac: MAC, rom, link: true }, chip)
}

pub(super) fn make() -> Rtl8139 {
    make_chip(Chip::CPlus)
}

/// The card as firmware leaves it: mapped, and a bus master.
pub(super) fn card() -> Bench<Rtl8139> {
    mapped(make())
}

pub(super) fn mapped(device: Rtl8139) -> Bench<Rtl8139> {
    let mut bench = Bench::new(device);
    bench.config_write(0x10, 4, IO.into());
    bench.config_write(0x14, 4, MMIO as u32);
    bench.config_write(0x04, 2, 7);
    bench
}

/// In C mode with a ring of 8 KiB, everything accepted that is the card's or everybody's, and all interrupts.
pub(super) fn running() -> Bench<Rtl8139> {
    let mut bench = card();
    bench.outl(IO + 0x30, RING as u32);
    bench.outb(IO + 0x37, 0x0c);
    bench.outl(IO + 0x44, 0x0000_000a);
    bench.outw(IO + 0x3c, 0xffff);
    bench
}

/// A frame of `len` bytes to `to`, whose payload is a pattern.
pub(super) fn frame(to: [u8; 6], len: usize) -> Vec<u8> {
    let mut bytes = [&to[..], &OTHER[..], &[0x88, 0xb5]].concat();
    bytes.extend((0..len.saturating_sub(14)).map(|n| (n * 7 + len) as u8));
    bytes
}

pub(super) fn give(bench: &mut Bench<Rtl8139>, bytes: &[u8]) -> usize {
    bench.receive(NIC, [Frame::from(bytes.to_vec())])
}

/// What was sent since the last call.
pub(super) fn sent(bench: &mut Bench<Rtl8139>) -> Vec<Vec<u8>> {
    bench
        .sent
        .drain(..)
        .map(|(nic, frame)| {
            assert_eq!(nic, NIC);
            frame.bytes
        })
        .collect()
}

/// CRC-32 bit by bit, not by the way the device makes it.
pub(super) fn crc(bytes: &[u8]) -> [u8; 4] {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 != 0 { 0xedb8_8320 } else { 0 };
        }
    }
    (!crc).to_le_bytes()
}

pub(super) fn memory(bench: &Bench<Rtl8139>, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    bench.memory.read(at, &mut bytes);
    bytes
}

pub(super) fn edges(bench: &Bench<Rtl8139>) -> u32 {
    bench.edges.get(&INTA).copied().unwrap_or(0)
}

#[test]
fn what_every_device_owes() {
    crate::testing::generic_tests(make);
    crate::testing::generic_tests(|| make_chip(Chip::C));
}

#[test]
fn a_saved_card_goes_on_where_it_was() {
    let mut bench = running();
    bench.outl(IO + 0x54, 1000);
    bench.outw(IO + 0x3c, 0x0004);
    // The first frames are announced at once.
    for n in 0..9 {
        bench.outl(IO + 0x10 + 4 * (n & 3), 60);
        bench.outw(IO + 0x3e, 0xffff);
    }
    bench.outl(IO + 0x14, 60);
    // The ring is full, and a frame waits.
    while give(&mut bench, &frame(MAC, 1500)) == 0 && bench.device.rx == Default::default() {}
    assert!(bench.device.rx.waits());
    let saved = Device::save(&bench.device);
    let mut other = mapped(make());
    Device::load(&mut other.device, saved.clone()).unwrap();
    other.call(Device::resync);
    assert_eq!(format!("{:?}", Device::save(&other.device)), format!("{saved:?}"));
    assert!(!other.irq(INTA));
    let timers = |bench: &Bench<Rtl8139>| bench.timers.keys().map(|timer| timer.0).collect::<Vec<_>>();
    assert_eq!((timers(&bench), timers(&other)), (vec![0, 1, 3], vec![0, 1, 3]));
    other.advance(100_000);
    assert_eq!(other.inw(IO + 0x3e) & 0x4000, 0x4000, "TimerInt");
    other.advance(1_000_000);
    assert!(other.irq(INTA), "what was sent is announced");
    other.outw(IO + 0x38, other.device.regs.cbr.wrapping_sub(16));
    assert!(!other.device.rx.waits(), "the frame that waited found room");
}
