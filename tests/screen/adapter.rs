//! Runs drawing programs on the VGA model of the `devices` crate, without a VM.

use crate::picture::Picture;
use pcvm_devices::testing::Bench;
use pcvm_devices::vga::{Bitmap, BlinkPhase, Canvas, Vga};
use pcvm_devices::{Device, DirtyPages, Region, Space};
use pcvm_test_guests::screen::{self, Op};

const RAM: u32 = 1 << 20;

/// Output of a program.
pub struct Drawn {
    pub pictures: Vec<Picture>,
    /// The picture in the dark phase of cursor and character blinking, if it differs.
    pub hidden: Vec<Option<Picture>>,
    pub report: Vec<u8>,
}

/// Runs a program on an adapter, as `--vga` names it.
pub fn draw(adapter: &str, program: &[Op]) -> Drawn {
    let vga = Bench::new(match adapter {
        "cirrus" => Vga::cirrus(Vec::new()),
        _ => Vga::new(Vga::DEFAULT_VRAM, Vec::new()),
    });
    let regions = vga.device.regions();
    let mut model =
        VgaModel { vga, regions, ram: vec![0; RAM as usize], config: 0, pictures: Vec::new(), hidden: Vec::new() };
    let report = screen::interpret(program, &mut model);
    Drawn { pictures: model.pictures, hidden: model.hidden, report }
}

struct VgaModel {
    vga: Bench<Vga>,
    regions: Vec<Region>,
    ram: Vec<u8>,
    /// PCI CONFIG_ADDRESS.
    config: u32,
    pictures: Vec<Picture>,
    hidden: Vec<Option<Picture>>,
}

enum Target {
    Ram(usize),
    /// Linear video memory, by offset.
    Video(u64),
    /// MMIO handled by the adapter.
    Mmio,
    Nothing,
}

impl VgaModel {
    fn target(&self, addr: u32) -> Target {
        let at = u64::from(addr);
        let region = self
            .regions
            .iter()
            .find(|region| region.space == Space::Mem && (region.base..region.base + region.len).contains(&at));
        match region {
            Some(region) => match region.video {
                Some(offset) => Target::Video(offset + at - region.base),
                None => Target::Mmio,
            },
            None if addr < 0xA_0000 => Target::Ram(addr as usize),
            None => Target::Nothing,
        }
    }
}

impl screen::Adapter for VgaModel {
    fn output(&mut self, port: u16, bytes: &[u8]) {
        let mut value = [0; 4];
        value[..bytes.len()].copy_from_slice(bytes);
        let value = u32::from_le_bytes(value);
        match (port, bytes.len()) {
            (0xCF8, 4) => self.config = value,
            (0xCFC, 4) => self.vga.config_write(self.config as u8, 4, value),
            (_, 1) => self.vga.outb(port, value as u8),
            (_, 2) => self.vga.outw(port, value as u16),
            _ => self.vga.outl(port, value),
        }
        self.regions = self.vga.device.regions();
    }

    fn input(&mut self, port: u16) -> u8 {
        self.vga.inb(port)
    }

    fn write(&mut self, addr: u32, byte: u8) {
        match self.target(addr) {
            Target::Ram(at) => self.ram[at] = byte,
            Target::Video(offset) => self.vga.memory.write_video(offset, &[byte]),
            Target::Mmio => self.vga.mem_write(addr.into(), &[byte]),
            Target::Nothing => {}
        }
    }

    fn read(&mut self, addr: u32) -> u8 {
        let mut byte = [0xFF];
        match self.target(addr) {
            Target::Ram(at) => byte[0] = self.ram[at],
            Target::Video(offset) => self.vga.memory.read_video(offset, &mut byte),
            Target::Mmio => self.vga.mem_read(addr.into(), &mut byte),
            Target::Nothing => {}
        }
        byte[0]
    }

    fn scene(&mut self) {
        let picture =
            |frame: Bitmap| Picture { width: frame.width as usize, height: frame.height as usize, rgb: frame.rgb() };
        let (vga, memory) = (&self.vga.device, &self.vga.memory);
        let mut canvas = Canvas::default();
        canvas.draw(vga, memory, &DirtyPages::all(), BlinkPhase::VISIBLE);
        let shown = picture(canvas.frame().clone());
        let nothing = BlinkPhase { cursor: false, characters: false };
        let hidden = canvas.blinks().then(|| picture(vga.render_at(memory, nothing)));
        self.hidden.push(hidden.filter(|hidden| *hidden != shown));
        self.pictures.push(shown);
    }
}

/// An adapter that reads as 0: to count the bytes that a program reports.
pub struct NullAdapter;

impl screen::Adapter for NullAdapter {
    fn output(&mut self, _: u16, _: &[u8]) {}
    fn input(&mut self, _: u16) -> u8 {
        0
    }
    fn write(&mut self, _: u32, _: u8) {}
    fn read(&mut self, _: u32) -> u8 {
        0
    }
    fn scene(&mut self) {}
}
