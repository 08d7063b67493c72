//! Test machine for the VGA BIOS: memory below 1 MiB and the VGA of the `devices` crate. It counts the exits that
//! pcvm's board would see.
#![allow(dead_code)]

pub mod calls;

use pcvm_devices::device::{Device, Space};
use pcvm_devices::testing::Bench;
use pcvm_devices::vga::Vga;
use vgabios::tables::{ROM_SEGMENT, TABLES, TABLES_OFFSET};
use vgabios::{Far, Hw, Regs, bda, far, stack};

/// PCI address of the adapter.
pub const DEVFN: u16 = 0x10;
pub const FRAME_BUFFER: u32 = 0xe000_0000;
/// Segment of the extended BIOS data area.
pub const EBDA: u16 = 0x9fc0;
const ROM: u32 = 0xc_0000;
const VIDEO: std::ops::Range<u32> = 0xa_0000..0xc_0000;

/// Entries of KVM's ring of coalesced writes.
const RING: u32 = 169;

/// `CIRRUS` is the adapter: a CL-GD5446, or the standard VGA.
pub struct Machine<const CIRRUS: bool = false> {
    pub bench: Bench<Vga>,
    pub ram: Vec<u8>,
    pub rom_len: u32,
    config_address: u32,
    /// Exits to userspace.
    pub exits: u32,
    coalesced: u32,
    /// Lowest address written in `stack`.
    pub lowest: u32,
    pub stack: std::ops::Range<u32>,
    pub unexpected: Vec<String>,
    /// Record writes to the ROM in `unexpected`.
    pub watch_rom: bool,
    /// Count exits.
    pub counting: bool,
}

/// An adapter with `vram` bytes of video memory, its BAR 0 at [`FRAME_BUFFER`].
fn adapter(vram: u32) -> Bench<Vga> {
    mapped(Vga::new(vram, Vec::new()))
}

fn mapped(vga: Vga) -> Bench<Vga> {
    let mut bench = Bench::new(vga);
    bench.config_write(0x10, 4, FRAME_BUFFER);
    bench.config_write(0x04, 2, 3);
    bench
}

impl<const CIRRUS: bool> Machine<CIRRUS> {
    /// Replaces the adapter.
    pub fn replace_adapter(&mut self, vram: u32) {
        self.bench = adapter(vram);
    }

    pub fn new(rom: &[u8]) -> Self {
        let mut ram = vec![0; 1 << 20];
        ram[ROM as usize..ROM as usize + rom.len()].copy_from_slice(rom);
        // What the system BIOS prepares: an EBDA with stacks for the VGA BIOS.
        ram[usize::from(bda::LINEAR_EBDA)..][..2].copy_from_slice(&EBDA.to_le_bytes());
        ram[linear(far(EBDA, stack::MARK_AT)) as usize..][..4].copy_from_slice(&stack::MARK.to_le_bytes());
        Self {
            bench: mapped(if CIRRUS { Vga::cirrus(Vec::new()) } else { Vga::new(Vga::DEFAULT_VRAM, Vec::new()) }),
            ram,
            rom_len: rom.len() as u32,
            config_address: 0,
            exits: 0,
            coalesced: 0,
            lowest: u32::MAX,
            stack: 0..0,
            unexpected: Vec::new(),
            watch_rom: false,
            counting: false,
        }
    }

    /// Counts the exits of an access: none for video memory slots, one per full ring for coalesced writes, otherwise
    /// one.
    fn count(&mut self, space: Space, addr: u64, width: usize, write: bool) {
        if !self.counting {
            return;
        }
        let region = Device::regions(&self.bench.device)
            .into_iter()
            .find(|r| r.space == space && (r.base..r.base + r.len).contains(&addr));
        if let Some(region) = &region {
            if region.video.is_some() {
                return;
            }
            if write
                && region
                    .coalesce
                    .iter()
                    .any(|range| range.start <= addr - region.base && addr - region.base + width as u64 <= range.end)
            {
                self.coalesced += 1;
                if self.coalesced > RING {
                    self.coalesced = 1;
                    self.exits += 1;
                }
                return;
            }
        }
        self.exits += 1;
        self.coalesced = 0;
    }

    /// Exits since the last call.
    pub fn take_exits(&mut self) -> u32 {
        self.coalesced = 0;
        std::mem::take(&mut self.exits)
    }

    pub fn input(&mut self, port: u16, width: u8) -> u32 {
        match port {
            0xcf8 => return self.config_address,
            0xcfc if width == 4 => {
                let function = (self.config_address >> 8 & 0xffff) as u16;
                return if function == DEVFN { self.bench.config_read(self.config_address as u8, 4) } else { u32::MAX };
            }
            0x61 => return 0x10,
            _ => {}
        }
        self.count(Space::Io, port.into(), width.into(), false);
        self.bench.input(port, width)
    }

    pub fn output(&mut self, port: u16, width: u8, value: u32) {
        match port {
            0xcf8 => self.config_address = value,
            0x42 | 0x43 | 0x61 => {}
            _ => {
                self.count(Space::Io, port.into(), width.into(), true);
                match width {
                    1 => self.bench.outb(port, value as u8),
                    2 => self.bench.outw(port, value as u16),
                    _ => self.bench.outl(port, value),
                }
            }
        }
    }

    pub fn read(&mut self, addr: u32, data: &mut [u8]) {
        let addr = addr & 0xf_ffff;
        if VIDEO.contains(&addr) {
            self.count(Space::Mem, addr.into(), data.len(), false);
            self.bench.mem_read(addr.into(), data);
        } else {
            for (byte, at) in data.iter_mut().zip(addr..) {
                *byte = self.ram.get(at as usize).copied().unwrap_or(0xff);
            }
        }
    }

    pub fn write(&mut self, addr: u32, data: &[u8]) {
        let addr = addr & 0xf_ffff;
        if VIDEO.contains(&addr) {
            self.count(Space::Mem, addr.into(), data.len(), true);
            self.bench.mem_write(addr.into(), data);
            return;
        }
        if self.stack.contains(&addr) {
            self.lowest = self.lowest.min(addr);
        }
        for (byte, at) in data.iter().zip(addr..) {
            if let Some(to) = self.ram.get_mut(at as usize) {
                *to = *byte;
            }
        }
    }

    pub fn byte(&mut self, at: Far) -> u8 {
        let mut data = [0];
        self.read(linear(at), &mut data);
        data[0]
    }

    pub fn word(&mut self, at: Far) -> u16 {
        u16::from(self.byte(at)) | u16::from(self.byte(at.at(1))) << 8
    }
}

pub fn linear(at: Far) -> u32 {
    u32::from(at.seg) * 16 + u32::from(at.off)
}

/// Hardware access of the BIOS code that runs on the host.
impl<const CIRRUS: bool> Hw for Machine<CIRRUS> {
    const CIRRUS: bool = CIRRUS;

    fn inb(&mut self, port: u16) -> u8 {
        self.input(port, 1) as u8
    }
    fn outb(&mut self, port: u16, value: u8) {
        self.output(port, 1, value.into());
    }
    fn inw(&mut self, port: u16) -> u16 {
        self.input(port, 2) as u16
    }
    fn outw(&mut self, port: u16, value: u16) {
        self.output(port, 2, value.into());
    }
    fn inl(&mut self, port: u16) -> u32 {
        self.input(port, 4)
    }
    fn outl(&mut self, port: u16, value: u32) {
        self.output(port, 4, value);
    }
    fn read8(&mut self, at: Far) -> u8 {
        self.byte(at)
    }
    fn write8(&mut self, at: Far, value: u8) {
        self.write(linear(at), &[value]);
    }
    fn read16(&mut self, at: Far) -> u16 {
        let mut data = [0; 2];
        self.read(linear(at), &mut data);
        u16::from_le_bytes(data)
    }
    fn write16(&mut self, at: Far, value: u16) {
        self.write(linear(at), &value.to_le_bytes());
    }
    fn copy(&mut self, to: Far, from: Far, len: u16) {
        let mut done = 0;
        while done < len {
            let n = if len - done >= 4 { 4 } else { 1 };
            let mut data = [0; 4];
            self.read(linear(from.at(done)), &mut data[..usize::from(n)]);
            self.write(linear(to.at(done)), &data[..usize::from(n)]);
            done += n;
        }
    }
    fn copy_bytes(&mut self, to: Far, from: Far, len: u16) {
        for n in 0..len {
            let byte = self.byte(from.at(n));
            self.write(linear(to.at(n)), &[byte]);
        }
    }
    fn load(&mut self, to: &mut [u8], from: Far) {
        for (byte, n) in to.iter_mut().zip(0..) {
            *byte = self.byte(from.at(n));
        }
    }
    fn store(&mut self, to: Far, from: &[u8]) {
        for (byte, n) in from.iter().zip(0..) {
            self.write(linear(to.at(n)), &[*byte]);
        }
    }
    fn fill(&mut self, to: Far, value: u32, len: u16) {
        let mut done = 0;
        for n in [4, 2, 1] {
            while len - done >= n {
                self.write(linear(to.at(done)), &value.to_le_bytes()[..usize::from(n)]);
                done += n;
            }
        }
    }
    fn tables(&self) -> Far {
        far(ROM_SEGMENT, TABLES_OFFSET)
    }
    fn table8(&self, at: u16) -> u8 {
        TABLES[usize::from(at)]
    }
    fn pci_address(&self) -> u16 {
        DEVFN
    }
    fn window_function(&self) -> Far {
        far(ROM_SEGMENT, 0xff00)
    }
    fn protected_mode_interface(&self) -> (Far, u16) {
        (far(ROM_SEGMENT, 0xff10), 16)
    }
}

/// Runs the BIOS: as Rust functions, or as a ROM in an emulator.
pub trait Caller {
    fn machine(&mut self) -> &mut Machine;
    fn init(&mut self);
    fn int10(&mut self, regs: Regs) -> Regs;
}

/// Calls the BIOS as Rust functions.
pub struct HostBios(pub Machine);

impl HostBios {
    pub fn new() -> Self {
        let mut rom = vec![0; usize::from(TABLES_OFFSET)];
        rom.extend_from_slice(&TABLES);
        let mut host = Self(Machine::new(&rom));
        host.init();
        host
    }
}

impl Caller for HostBios {
    fn machine(&mut self) -> &mut Machine {
        &mut self.0
    }
    fn init(&mut self) {
        vgabios::init::init(&mut self.0, far(ROM_SEGMENT, 0xff20));
    }
    fn int10(&mut self, mut regs: Regs) -> Regs {
        vgabios::int10::int10(&mut self.0, &mut regs);
        regs
    }
}
