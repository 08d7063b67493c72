//! Unit tests of the floppy controller through its ports, as guest drivers access it.

mod commands;
mod data;
mod hostile;
mod media;
mod registers;
mod timing;

use super::geometry::DriveType;
use super::{Fdc, FloppyMedium, FloppySpec, Timing};
use crate::testing::Bench;
use crate::{DiskId, IrqLine};
use std::collections::BTreeMap;
use std::sync::Mutex;

const DOR: u16 = 0x3f2;
const MSR: u16 = 0x3f4;
const FIFO: u16 = 0x3f5;
const DIR: u16 = 0x3f7;
const A: DiskId = DiskId(4);
const B: DiskId = DiskId(5);
/// Where the tests' DMA buffer lies.
const BUFFER: u32 = 0x1_0000;
/// DMA mode bytes of channel 2, single transfers.
const DMA_TO_MEMORY: u8 = 0x46;
const DMA_FROM_MEMORY: u8 = 0x4a;
const DMA_VERIFY: u8 = 0x42;

fn spec(kind: DriveType, kib: u64) -> Option<FloppySpec> {
    Some(FloppySpec { kind, medium: (kib > 0).then_some(FloppyMedium { size: kib * 1024, read_only: false }) })
}

/// An image whose every sector holds its number in its first four bytes, and a pattern.
fn image(kib: u64) -> Vec<u8> {
    static IMAGES: Mutex<BTreeMap<u64, Vec<u8>>> = Mutex::new(BTreeMap::new());
    IMAGES.lock().unwrap().entry(kib).or_insert_with(|| make_image(kib)).clone()
}

fn make_image(kib: u64) -> Vec<u8> {
    let mut image: Vec<u8> = (0..kib * 1024).map(|n| (n as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    for (n, sector) in (0u32..).zip(image.chunks_mut(512)) {
        sector[..4].copy_from_slice(&n.to_le_bytes());
    }
    image
}

/// A controller with drives of these types and image sizes (0 for an empty drive), reset, with the motors on and the
/// data rate of drive A's disk.
fn with(a: (DriveType, u64), b: Option<(DriveType, u64)>, timing: Timing) -> Bench<Fdc> {
    let specs = [spec(a.0, a.1), b.and_then(|(kind, kib)| spec(kind, kib))];
    let mut bench = Bench::new(Fdc::new(specs, timing));
    for (disk, kib) in [(A, a.1), (B, b.map_or(0, |b| b.1))] {
        if kib > 0 {
            bench.disks.insert(disk, image(kib));
        }
    }
    start(&mut bench);
    bench
}

/// Ends the power-on reset: DOR, the four interrupts of the polling, SPECIFY.
fn start(bench: &mut Bench<Fdc>) {
    bench.outb(DOR, 0x3c);
    bench.advance(1_000_000_000);
    for drive in 0..4 {
        assert_eq!(command(bench, &[0x08]), [0xc0 | drive, 0], "SENSE INTERRUPT {drive} after a reset");
    }
    command(bench, &[0x03, 0xdf, 0x02]);
    bench.outb(DIR, 0);
}

/// A 1.44 MB disk in A, and B empty.
fn machine() -> Bench<Fdc> {
    with((DriveType::D1440, 1440), Some((DriveType::D1440, 0)), Timing::Fast)
}

/// Programs DMA channel 2.
fn dma(bench: &mut Bench<Fdc>, mode: u8, address: u32, bytes: usize) {
    let [low, high, page, _] = address.to_le_bytes();
    let [count_low, count_high] = ((bytes - 1) as u16).to_le_bytes();
    for (port, value) in [
        (0x0a, 0x06),
        (0x0c, 0),
        (0x0b, mode),
        (0x04, low),
        (0x04, high),
        (0x81, page),
        (0x05, count_low),
        (0x05, count_high),
        (0x0a, 0x02),
    ] {
        bench.isa_dma_out(port, value);
    }
}

/// Sends a command as a driver does: checks MSR before each byte.
fn send(bench: &mut Bench<Fdc>, bytes: &[u8]) {
    for (n, &byte) in bytes.iter().enumerate() {
        let status = bench.inb(MSR) & 0xd0;
        assert_eq!(status, if n == 0 { 0x80 } else { 0x90 }, "MSR before byte {n} of {bytes:02x?}");
        bench.outb(FIFO, byte);
    }
}

/// Reads result bytes while MSR offers them.
fn result(bench: &mut Bench<Fdc>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bench.inb(MSR) & 0xf0 == 0xd0 {
        bytes.push(bench.inb(FIFO));
        assert!(bytes.len() <= 10, "the result phase does not end: {bytes:02x?}");
    }
    bytes
}

/// Sends a command, lets time pass, and reads its result.
fn command(bench: &mut Bench<Fdc>, bytes: &[u8]) -> Vec<u8> {
    send(bench, bytes);
    bench.advance(10_000_000_000);
    result(bench)
}

fn irq(bench: &Bench<Fdc>) -> bool {
    bench.irq(IrqLine::Isa(6))
}

/// Interrupts so far.
fn edges(bench: &Bench<Fdc>) -> u32 {
    bench.edges.get(&IrqLine::Isa(6)).copied().unwrap_or(0)
}

/// Seeks drive `drive` to a cylinder and senses the interrupt.
fn seek(bench: &mut Bench<Fdc>, drive: u8, cylinder: u8) {
    command(bench, &[0x0f, drive, cylinder]);
    assert_eq!(command(bench, &[0x08]), [0x20 | drive, cylinder]);
}

/// READ DATA of one side: MFM, and MT if `mt`.
fn read_command(drive: u8, c: u8, h: u8, r: u8, eot: u8) -> [u8; 9] {
    [0x46, h << 2 | drive, c, h, r, 2, eot, 0x1b, 0xff]
}

fn buffer(bench: &Bench<Fdc>, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    bench.memory.read(BUFFER.into(), &mut data);
    data
}

/// The bytes of a 1.44 MB image from a sector on.
fn sectors(c: usize, h: usize, r: usize, count: usize) -> Vec<u8> {
    let first = ((c * 2 + h) * 18 + r - 1) * 512;
    image(1440)[first..first + count * 512].to_vec()
}
