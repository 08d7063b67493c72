//! Disk tests: the driver on the PIIX3 IDE device model, on broken drives, and on a floppy controller model.

mod ata;
mod cdrom;
mod edd;
mod failing;
mod floppy;

use super::*;
use crate::State as BiosState;
use pcvm_devices::ide::{DriveSpec, Piix3Ide};
use pcvm_devices::testing::Bench;
use pcvm_devices::{BlockOp, DiskId};
use pcvm_firmware_rt::Handoff;
use pcvm_firmware_rt::fake::{Bus as Ports, Fake};
use std::sync::OnceLock;

/// Ports of the PIIX3 IDE device model, CMOS RAM and 8254 channel 0.
struct PcPorts {
    ide: Bench<Piix3Ide>,
    cmos: [u8; 128],
    cmos_index: u8,
    config: u32,
    pit: u16,
    pit_high: bool,
    /// Port accesses so far.
    accesses: u32,
}

impl Ports for PcPorts {
    fn read(&mut self, port: u16, size: u8) -> u32 {
        self.accesses += 1;
        match port {
            0x71 => self.cmos[usize::from(self.cmos_index)].into(),
            0x40 => {
                self.pit_high = !self.pit_high;
                if self.pit_high {
                    self.pit = self.pit.wrapping_sub(2000);
                    self.pit as u8
                } else {
                    (self.pit >> 8) as u8
                }
                .into()
            }
            0xcfc if self.config >> 8 & 0xffff == 9 => self.ide.config_read(self.config as u8, size),
            _ => self.ide.input(port, size),
        }
    }

    fn write(&mut self, port: u16, size: u8, value: u32) {
        self.accesses += 1;
        match port {
            0x70 => self.cmos_index = value as u8 & 0x7f,
            0xcf8 => self.config = value,
            0xcfc if self.config >> 8 & 0xffff == 9 => self.ide.config_write(self.config as u8, size, value),
            _ => match size {
                1 => self.ide.outb(port, value as u8),
                2 => self.ide.outw(port, value as u16),
                _ => self.ide.outl(port, value),
            },
        }
    }
}

/// The test machine with the BIOS state.
struct Computer<B> {
    hw: Fake<B>,
    state: BiosState,
}

impl<B: Ports> Computer<B> {
    fn new(bus: B) -> Self {
        Self { hw: Fake::new(bus), state: BiosState::new() }
    }

    fn bios<R>(&mut self, f: impl FnOnce(&mut Bios<Fake<B>>) -> R) -> R {
        f(&mut Bios { hw: &mut self.hw, state: &self.state, handoff: &Handoff::EMPTY })
    }

    fn start(mut self) -> Self {
        self.bios(init);
        self
    }

    /// INT 13h with AX, CX, DX, and ES:BX = DS:SI = 1000:0000.
    fn int13(&mut self, ax: u16, cx: u16, dx: u16) -> Regs {
        let mut regs = Regs::default();
        regs.set_ax(ax);
        regs.set_cx(cx);
        regs.set_dx(dx);
        regs.es = 0x1000;
        regs.ds = 0x1000;
        self.call(regs)
    }

    fn call(&mut self, mut regs: Regs) -> Regs {
        self.bios(|bios| int13(bios, &mut regs));
        regs
    }

    /// INT 13h with a packet at DS:SI = 3000:0010.
    fn packet(&mut self, ax: u16, dl: u8, packet: &[u8]) -> Regs {
        self.hw.memory[0x3_0010..][..packet.len()].copy_from_slice(packet);
        let mut regs = Regs::default();
        regs.set_ax(ax);
        regs.set_dl(dl);
        regs.ds = 0x3000;
        regs.set_si(0x10);
        self.call(regs)
    }
}

/// A disk address packet of 16 bytes.
fn dap(count: u16, buffer: u32, lba: u64) -> Vec<u8> {
    let mut packet = vec![0x10, 0];
    packet.extend(count.to_le_bytes());
    packet.extend(buffer.to_le_bytes());
    packet.extend(lba.to_le_bytes());
    packet
}

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|n| (n as u32 ^ (n as u32 >> 9)).wrapping_mul(2_654_435_761).to_be_bytes()[0] ^ seed).collect()
}

/// A machine with these drives and all-zero CMOS. `images` are the image sizes in bytes; they may be smaller than the
/// drives.
fn pc(drives: [Option<DriveSpec>; 4], images: [usize; 4]) -> Computer<PcPorts> {
    let mut ide = Bench::new(Piix3Ide::new(drives));
    ide.config_write(0x04, 2, 5);
    for (n, len) in (0..).zip(images) {
        ide.disks.insert(DiskId(n), pattern(len, n));
    }
    Computer::new(PcPorts { ide, cmos: [0; 128], cmos_index: 0, config: 0, pit: 0, pit_high: false, accesses: 0 })
}

/// The default machine: a hard disk of 40 MiB and a CD of 2 MiB.
fn default_pc() -> Computer<PcPorts> {
    const SECTORS: u64 = 40 << 11;
    let disk = DriveSpec::disk(SECTORS, false, "ONE");
    let cd = DriveSpec::cdrom(Some(pcvm_devices::Disc::single(2 << 20)), "TWO");
    let mut computer = pc([Some(disk), None, Some(cd), None], [0, 0, 2 << 20, 0]);
    computer.hw.bus.ide.disks.insert(DiskId(0), image().to_vec());
    computer.start()
}

/// The image of the default machine's hard disk.
fn image() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| pattern(40 << 20, 0))
}
