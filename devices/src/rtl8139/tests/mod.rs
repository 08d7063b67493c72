//! The NIC on a test bench, with I/O ports at C000h and MMIO at FEB00000h.

mod cplus;
mod drivers;
mod hostile;
mod interrupts;
mod properties;
mod receive;
mod registers;
mod transmit;
mod tx_coalescing;

use super::{Chip, NicSpec, Rtl8139};
use crate::ctx::IrqLine;
use crate::device::{Devfn, Device};
use crate::net::{Frame, NicId};
use crate::testing::Bench;

pub(super) const NIC: NicId = NicId(2);
pub(super) const IO: u16 = 0xc000;
// Register ports, by the data sheet's names. `TSAD_ALL` is TSAD at 60h.
pub(super) const IDR: u16 = IO;
pub(super) const MAR: u16 = IO + 0x08;
pub(super) const TSD: u16 = IO + 0x10;
pub(super) const TSAD: u16 = IO + 0x20;
pub(super) const RBSTART: u16 = IO + 0x30;
pub(super) const ERBCR: u16 = IO + 0x34;
pub(super) const CR: u16 = IO + 0x37;
pub(super) const CAPR: u16 = IO + 0x38;
pub(super) const CBR: u16 = IO + 0x3a;
pub(super) const IMR: u16 = IO + 0x3c;
pub(super) const ISR: u16 = IO + 0x3e;
pub(super) const TCR: u16 = IO + 0x40;
pub(super) const RCR: u16 = IO + 0x44;
pub(super) const TCTR: u16 = IO + 0x48;
pub(super) const MPC: u16 = IO + 0x4c;
pub(super) const CR9346: u16 = IO + 0x50;
pub(super) const CONFIG0: u16 = IO + 0x51;
pub(super) const CONFIG1: u16 = IO + 0x52;
pub(super) const TIMER_INT: u16 = IO + 0x54;
pub(super) const MSR: u16 = IO + 0x58;
pub(super) const CONFIG3: u16 = IO + 0x59;
pub(super) const CONFIG4: u16 = IO + 0x5a;
pub(super) const TSAD_ALL: u16 = IO + 0x60;
pub(super) const BMCR: u16 = IO + 0x62;
pub(super) const BMSR: u16 = IO + 0x64;
pub(super) const ANAR: u16 = IO + 0x66;
pub(super) const ANLPAR: u16 = IO + 0x68;
pub(super) const NWAYTR: u16 = IO + 0x70;
pub(super) const CSCR: u16 = IO + 0x74;
pub(super) const TW_PARM: u16 = IO + 0x7c;
pub(super) const FLASH: u16 = IO + 0xd4;
pub(super) const CONFIG5: u16 = IO + 0xd8;
pub(super) const TPPOLL: u16 = IO + 0xd9;
pub(super) const CPCR: u16 = IO + 0xe0;
pub(super) const RDSAR: u16 = IO + 0xe4;
pub(super) const ETTHR: u16 = IO + 0xec;

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

/// The card as firmware leaves it: BARs mapped, bus master.
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

/// C mode with a ring of 8 KiB; accepts the card's address and broadcasts; all interrupts unmasked.
pub(super) fn running() -> Bench<Rtl8139> {
    let mut bench = card();
    bench.outl(RBSTART, RING as u32);
    bench.outb(CR, 0x0c);
    bench.outl(RCR, 0x0000_000a);
    bench.outw(IMR, 0xffff);
    bench
}

/// A frame of `len` bytes to `to` with a pattern as its payload.
pub(super) fn frame(to: [u8; 6], len: usize) -> Vec<u8> {
    let mut bytes = [&to[..], &OTHER[..], &[0x88, 0xb5]].concat();
    bytes.extend((0..len.saturating_sub(14)).map(|n| (n * 7 + len) as u8));
    bytes
}

pub(super) fn deliver(bench: &mut Bench<Rtl8139>, bytes: &[u8]) -> usize {
    bench.receive(NIC, [Frame::from(bytes.to_vec())])
}

/// The frames sent since the last call.
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

/// CRC-32 computed bit by bit, independently of the device.
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

pub(super) fn irq_edges(bench: &Bench<Rtl8139>) -> u32 {
    bench.edges.get(&INTA).copied().unwrap_or(0)
}

#[test]
fn both_chips_pass_the_generic_device_tests() {
    crate::testing::generic_tests(make);
    crate::testing::generic_tests(|| make_chip(Chip::C));
}

#[test]
fn a_restored_card_continues_where_it_was_saved() {
    let mut bench = running();
    bench.outl(TIMER_INT, 1000);
    bench.outw(IMR, 0x0004);
    // The first frames are not moderated.
    for n in 0..9 {
        bench.outl(TSD + 4 * (n & 3), 60);
        bench.outw(ISR, 0xffff);
    }
    bench.outl(TSD + 4, 60);
    // Fill the ring until a frame is pending.
    while deliver(&mut bench, &frame(MAC, 1500)) == 0 && bench.device.rx == Default::default() {}
    assert!(bench.device.rx.has_pending_frame());
    let saved = Device::save(&bench.device);
    let mut other = mapped(make());
    Device::load(&mut other.device, saved.clone()).unwrap();
    other.call(Device::resync);
    assert_eq!(format!("{:?}", Device::save(&other.device)), format!("{saved:?}"));
    assert!(!other.irq(INTA));
    let timers = |bench: &Bench<Rtl8139>| bench.timers.keys().map(|timer| timer.0).collect::<Vec<_>>();
    assert_eq!((timers(&bench), timers(&other)), (vec![0, 1, 3], vec![0, 1, 3]));
    other.advance(100_000);
    assert_eq!(other.inw(ISR) & 0x4000, 0x4000, "TimerInt is reached");
    other.advance(1_000_000);
    assert!(other.irq(INTA), "the deferred transmit interrupt comes");
    other.outw(CAPR, other.device.regs.cbr.wrapping_sub(16));
    assert!(!other.device.rx.has_pending_frame(), "the pending frame found room");
}
