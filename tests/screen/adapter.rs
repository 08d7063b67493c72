//! The adapter's model, without a machine around it.

use crate::picture::Picture;
use pcvm_devices::testing::Bench;
use pcvm_devices::vga::{Bitmap, BlinkPhase, Canvas, Vga};
use pcvm_devices::{Device, DirtyPages, Region, Space};
use pcvm_test_guests::screen::{self, Op};

const RAM: u32 = 1 << 20;

/// What a program made.
pub struct Drawn {
    pub pictures: Vec<Picture>,
    /// The same when nothing of what blinks is seen, where that is something else.
    pub hidden: Vec<Option<Picture>>,
    pub report: Vec<u8>,
}

/// Plays a program.
pub fn draw(program: &[Op]) -> Drawn {
    let vga = Bench::new(Vga::new(Vga::DEFAULT_VRAM, Vec::new()));
    let regions = vga.device.regions();
    let mut machine =
        Adapter { vga, regions, ram: vec![0; RAM as usize], config: 0, pictures: Vec::new(), hidden: Vec::new() };
    let report = screen::play(program, &mut machine);
    Drawn { pictures: machine.pictures, hidden: machine.hidden, report }
}

struct Adapter {
    vga: Bench<Vga>,
    regions: Vec<Region>,
    ram: Vec<u8>,
    /// The configuration address.
    config: u32,
    pictures: Vec<Picture>,
    hidden: Vec<Option<Picture>>,
}

enum Place {
    Ram(usize),
    /// An offset in video memory.
    Video(u64),
    /// The adapter decides.
    Adapter,
    Nothing,
}

impl Adapter {
    fn place(&self, addr: u32) -> Place {
        let at = u64::from(addr);
        let region = self
            .regions
            .iter()
            .find(|region| region.space == Space::Mem && (region.base..region.base + region.len).contains(&at));
        match region {
            Some(region) => match region.video {
                Some(offset) => Place::Video(offset + at - region.base),
                None => Place::Adapter,
            },
            None if addr < 0xA_0000 => Place::Ram(addr as usize),
            None => Place::Nothing,
        }
    }
}

impl screen::Machine for Adapter {
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
        match self.place(addr) {
            Place::Ram(at) => self.ram[at] = byte,
            Place::Video(offset) => self.vga.memory.write_video(offset, &[byte]),
            Place::Adapter => self.vga.mem_write(addr.into(), &[byte]),
            Place::Nothing => {}
        }
    }

    fn read(&mut self, addr: u32) -> u8 {
        let mut byte = [0xFF];
        match self.place(addr) {
            Place::Ram(at) => byte[0] = self.ram[at],
            Place::Video(offset) => self.vga.memory.read_video(offset, &mut byte),
            Place::Adapter => self.vga.mem_read(addr.into(), &mut byte),
            Place::Nothing => {}
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

/// Has nothing: for the length of what a program reports.
pub struct Silent;

impl screen::Machine for Silent {
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
