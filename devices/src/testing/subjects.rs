//! The list of devices under test, and what scripts do to each of them.
//!
//! A script is any sequence of bytes. The meaning of a byte may change: a saved corpus is a start for a fuzzer, not a
//! regression test.

use super::script::{Script, play, save_and_load};
use super::{Bench, Rng, generic_tests};
use crate::chipset::acpi_pm::AcpiPm;
use crate::chipset::i440fx::I440fx;
use crate::chipset::isa_dma::{Direction, IsaDma};
use crate::chipset::piix3::Piix3;
use crate::chipset::port92::Port92;
use crate::cmos::{Cmos, CmosContents};
use crate::debug::DebugPorts;
use crate::device::{Devfn, Device, DynDevice, Wake};
use crate::disc::{Disc, Session, Track, TrackForm};
use crate::fdc::{self, DriveType, Fdc, FloppyMedium, FloppySpec};
use crate::fw_cfg::{FwCfg, FwCfgItems};
use crate::ide::{DriveSpec, Piix3Ide};
use crate::net::{ChecksumAt, Frame, MAX_SEND, NicId, Offload};
use crate::pci::bus::ConfigAddress;
use crate::ps2::Ps2Controller;
use crate::rtl8139::{Chip, NicSpec, Rtl8139};
use crate::serial::Uart16550;
use crate::usb::Piix3Usb;
use crate::vga::Vga;
use crate::{CharId, DiskId, InputEvent, Medium, TrayRequest};
use ciborium::Value;

/// A device in the one list of devices under test: what it is called and how the shared tests reach it.
pub struct Subject {
    /// Its name, which is also the name of its fuzz target.
    pub name: &'static str,
    /// Applies [`generic_tests`].
    pub generic: fn(),
    /// Plays a script on it. Any bytes are a script.
    pub play: fn(&[u8]),
    /// Loads a damaged state that the bytes describe and, if the device accepts it, plays the rest as a script.
    pub damage: fn(&[u8]),
    /// Plays a script and compares what the device's registers read just after its next timer with what they read when
    /// the timer has not fired yet.
    pub late: fn(&[u8]),
    /// How many random scripts the test suite plays, and the longest in bytes.
    pub random: (u64, u64),
}

macro_rules! subject {
    ($name:literal, $make:expr, $step:expr, $random:expr) => {
        Subject {
            name: $name,
            generic: || generic_tests($make),
            play: |bytes| play(&mut bench($make), &$make, &mut Script::new(bytes), $step),
            damage: |bytes| damage($make, bytes, $step),
            late: |bytes| late($make, bytes, $step),
            random: $random,
        }
    };
}

/// Every device. A new device gets generic tests, random scripts, damaged states and fuzz targets by its line here.
pub static SUBJECTS: &[Subject] = &[
    subject!("ide", make_ide, ide_command, (500, 400)),
    subject!("cdrom", make_cdrom, ide_command, (500, 400)),
    subject!("fdc", make_fdc, fdc_command, (400, 400)),
    subject!("vga", make_vga, vga_extra, (150, 300)),
    subject!("cirrus", make_cirrus, cirrus_extra, (150, 400)),
    subject!("fw_cfg", make_fw_cfg, fw_cfg_dma, (1500, 300)),
    subject!("ps2", Ps2Controller::new, ps2_extra, (500, 400)),
    subject!("serial", make_serial, serial_extra, (3000, 400)),
    subject!("rtl8139", || make_rtl8139(Chip::CPlus), rtl8139_extra, (600, 600)),
    subject!("rtl8139c", || make_rtl8139(Chip::C), rtl8139_extra, (100, 600)),
    subject!("usb", Piix3Usb::new, usb_extra, (700, 600)),
    subject!("i440fx", I440fx::new, no_step, (200, 300)),
    subject!("piix3", Piix3::new, no_step, (200, 300)),
    subject!("acpi_pm", AcpiPm::new, no_step, (200, 300)),
    subject!("port92", Port92::new, no_step, (200, 300)),
    subject!("isa_dma", IsaDma::new, isa_dma_extra, (200, 300)),
    subject!("cmos", make_cmos, no_step, (200, 300)),
    subject!("debug", make_debug, no_step, (200, 300)),
];

/// The subject of that name.
pub fn subject(name: &str) -> Option<&'static Subject> {
    SUBJECTS.iter().find(|subject| subject.name == name)
}

/// Plays `count` random scripts of up to `len` bytes each, the same ones in every run.
pub fn random(count: u64, len: u64, play: fn(&[u8])) {
    for seed in 0..count {
        let mut rng = Rng(seed);
        let mut script = vec![0; 1 + rng.below(len) as usize];
        script.fill_with(|| rng.next_u64() as u8);
        /// Prints the seed when the script panics, so that the script can be generated again.
        struct Seed(u64);
        impl Drop for Seed {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    eprintln!("random script number {}", self.0);
                }
            }
        }
        let _seed = Seed(seed);
        play(&script);
    }
}

/// A device on a bench, with a disk of [`DISK`] bytes for each drive that it owns.
fn bench<D: Device>(make: impl Fn() -> D) -> Bench<D> {
    let mut bench = Bench::new(make());
    for disk in Device::owns(&bench.device).disks {
        bench.disks.insert(disk, vec![0x5a; DISK]);
    }
    bench
}

fn no_step<D: Device>(_: &mut Bench<D>, _: &mut Script<'_>) {}

/// Bytes of every disk and disc.
const DISK: usize = 1 << 20;

fn make_ide() -> Piix3Ide {
    Piix3Ide::new([
        Some(DriveSpec::disk((DISK / 512) as u64, false, "A")),
        Some(DriveSpec::disk((DISK / 512) as u64, true, "B")),
        Some(DriveSpec::cdrom(Some(Disc::single(DISK as u64)), "C")),
        None,
    ])
}

/// A CD-ROM drive with data, audio with an unstored pre-gap, and XA in a second session.
fn make_cdrom() -> Piix3Ide {
    let data = Track::new(TrackForm::Mode1, 2048, 100);
    let audio = Track {
        number: 2,
        start: 250,
        pregap: 150,
        stored_pregap: 50,
        indexes: vec![20],
        isrc: Some(*b"USRC17607839"),
        offset: 100 * 2048 + 50 * 2352,
        ..Track::new(TrackForm::Audio, 2352, 60)
    };
    let xa = Track {
        number: 3,
        session: 2,
        start: 11_710,
        offset: 100 * 2048 + 110 * 2352,
        ..Track::new(TrackForm::Mode2Xa, 2336, 50)
    };
    let disc = Disc {
        sessions: vec![Session { lead_out: audio.end() }, Session { lead_out: xa.end() }],
        tracks: vec![data, audio, xa],
        catalogue: Some(*b"0724354526329"),
    };
    Piix3Ide::new([None, None, Some(DriveSpec::cdrom(Some(disc), "C")), None])
}

/// A disc that may have any layout, most of which no drive accepts.
fn any_disc(script: &mut Script<'_>) -> Disc {
    let mut disc = Disc { tracks: Vec::new(), sessions: Vec::new(), catalogue: None };
    let mut free = 0u32;
    for number in 1..=(script.below(5) as u8) {
        let how = script.byte();
        let (form, stride) = [
            (TrackForm::Audio, 2352),
            (TrackForm::Mode1, 2048),
            (TrackForm::Mode2Xa, 2336),
            (TrackForm::Mode2Xa, 2352),
            (TrackForm::Mode2, 2336),
            (TrackForm::Mode2Xa, 2324),
            (TrackForm::Audio, 2448),
            (TrackForm::Mode1, 2352),
        ][usize::from(how & 7)];
        let pregap = script.byte();
        let mut track = Track {
            number,
            start: free.saturating_add(pregap.into()),
            pregap: pregap.into(),
            stored_pregap: (script.byte() & pregap).into(),
            indexes: vec![script.byte().into()],
            offset: script.number(3),
            big_endian: how & 8 != 0,
            ..Track::new(form, stride, script.number(2) as u32)
        };
        if how & 0xf0 == 0 {
            track.start = script.number(4) as u32;
            track.len = script.number(4) as u32;
            track.offset = script.number(8);
        }
        if track.indexes[0] == 0 {
            track.indexes.clear();
        }
        free = track.end();
        if how & 0x30 == 0x30 || disc.sessions.is_empty() {
            disc.sessions.push(Session { lead_out: free });
        } else if let Some(session) = disc.sessions.last_mut() {
            session.lead_out = free;
        }
        track.session = disc.sessions.len() as u8;
        disc.tracks.push(track);
    }
    disc
}

/// A whole command, with a descriptor table that may be anything, and the engine started or not.
fn ide_command(bench: &mut Bench<Piix3Ide>, script: &mut Script<'_>) {
    if script.byte() & 0x1f == 0 {
        let size = script.number(3);
        let why = match size & 7 {
            0 | 2 => Wake::Medium(DiskId(2), Some(Medium::iso(size))),
            4 => Wake::Medium(DiskId(2), Some(Medium { size, read_only: true, disc: Some(any_disc(script)) })),
            1 => Wake::Tray(DiskId(2), TrayRequest::Open),
            3 => Wake::Tray(DiskId(2), TrayRequest::Close),
            5 => Wake::Tray(DiskId(2), TrayRequest::Button),
            _ => Wake::Medium(DiskId(2), None),
        };
        // The image behind the drive stays: a read that was under way may go past its end, and fail there.
        bench.trusted = false;
        return bench.call(|device, cx| Device::wake(device, cx, why));
    }
    let how = script.byte();
    let base: u16 = if how & 1 == 0 { 0x1f0 } else { 0x170 };
    bench.config_write(0x20, 4, 0xc001);
    bench.config_write(0x04, 1, 5);
    let master = if how & 1 == 0 { 0xc000 } else { 0xc008 };
    let at = u32::from(script.byte()) << 8;
    for n in 0..u64::from(how >> 5) {
        let mut entry = [script.number(3) as u32, script.number(2) as u32];
        entry[1] |= u32::from(script.byte() & 1) << 31;
        bench.memory.write(u64::from(at) + 8 * n, &entry.map(u32::to_le_bytes).concat());
    }
    bench.outb(base + 6, 0xa0 | script.byte() & 0x5f);
    let wide = how & 2 != 0;
    for register in 1..6 {
        if wide {
            bench.outb(base + register, script.byte() & 0x03);
        }
        bench.outb(base + register, script.byte());
    }
    bench.outb(base + 7, script.byte());
    if how & 4 != 0 {
        let mut packet = [0; 12];
        for (to, from) in packet.iter_mut().zip(script.take(12)) {
            *to = *from;
        }
        bench.outs(base, 2, &packet);
    }
    if how & 8 != 0 {
        bench.outl(master + 4, at);
        bench.outb(master, 1 | script.byte() & 8);
    }
    if how & 16 != 0 {
        let mut data = vec![script.byte(); 0x1000];
        if how & 8 != 0 {
            bench.ins(base, 2, &mut data);
        } else {
            bench.outs(base, 2, &data);
        }
    }
}

/// A 720 KB disk in a 1.44 MB drive, and a 360 KB disk, whose boot sector has to be read, in a 1.2 MB drive.
fn make_fdc() -> Fdc {
    let medium = |size| Some(FloppyMedium { size, read_only: false });
    Fdc::new(
        [
            Some(FloppySpec { kind: DriveType::D1440, medium: medium(720 << 10) }),
            Some(FloppySpec { kind: DriveType::D1200, medium: medium(360 << 10) }),
        ],
        fdc::Timing::Fast,
    )
}

/// A whole command with plausible parameters, the DMA channel set up for it or not, time and data by PIO, and perhaps a
/// reset in between.
fn fdc_command(bench: &mut Bench<Fdc>, script: &mut Script<'_>) {
    const OPCODES: [u8; 24] = [
        0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14,
        0x16, 0x19, 0x1d, 0x8f, 0xcf, 0x46,
    ];
    let how = script.byte();
    if how & 7 == 7 {
        let size = [0, 160 << 10, 360 << 10, 720 << 10, 1000][script.below(5)];
        let medium = Medium { size, read_only: size & 1024 != 0, disc: None };
        let why = Wake::Medium(DiskId(4 + script.below(2) as u8), (size > 0).then_some(medium));
        return bench.call(|device, cx| Device::wake(device, cx, why));
    }
    if how & 8 != 0 {
        bench.outb(0x3f2, 0x3c | script.byte() & 1);
        bench.outb(0x3f7, [2, 1, 2, 0][script.below(4)]);
        bench.advance(100_000);
    }
    if how & 16 != 0 {
        let count = script.number(2) as u16;
        let mode = 0x42 | (script.byte() & 0x1c);
        for (port, value) in [(0x0a, 6), (0x0c, 0), (0x0b, mode), (0x04, 0), (0x04, script.byte()), (0x81, 1)] {
            bench.isa_dma_out(port, value);
        }
        for value in count.to_le_bytes() {
            bench.isa_dma_out(0x05, value);
        }
        bench.isa_dma_out(0x0a, 2);
    }
    let opcode = OPCODES[script.below(OPCODES.len())] | script.byte() & 0xe0 & if how & 32 != 0 { 0xff } else { 0x40 };
    let (drive_head, c, h, r) = (script.byte() & 7, script.byte() % 82, script.byte() & 1, script.byte() % 20);
    for byte in [opcode, drive_head, c, h, r, 2, 9, 0x1b, script.byte()] {
        if bench.inb(0x3f4) & 0xc0 != 0x80 {
            break;
        }
        bench.outb(0x3f5, byte);
    }
    bench.advance(u64::from(script.byte()) << 12);
    for _ in 0..script.number(2) & 0x7ff {
        match bench.inb(0x3f4) & 0xc0 {
            0x80 => bench.outb(0x3f5, script.byte()),
            0xc0 => {
                bench.inb(0x3f5);
            }
            _ => break,
        }
    }
    if how & 64 != 0 {
        bench.outb(0x3f4, 0x80 | script.byte() & 3);
    }
}

fn make_vga() -> Vga {
    Vga::new(1 << 20, vec![0x55; 0x200])
}

fn vga_extra(bench: &mut Bench<Vga>, script: &mut Script<'_>) {
    // Indexed registers by pairs, as every driver writes them: sequencer, graphics, CRTC, attributes, VBE.
    let (which, index) = (script.byte(), script.byte());
    match which % 8 {
        0 => bench.outw(0x3c4, u16::from(index & 7) | u16::from(script.byte()) << 8),
        1 => bench.outw(0x3ce, u16::from(index & 15) | u16::from(script.byte()) << 8),
        2 => bench.outw(0x3d4, u16::from(index & 31) | u16::from(script.byte()) << 8),
        3 => {
            bench.inb(0x3da);
            bench.outb(0x3c0, index);
            bench.outb(0x3c0, script.byte());
        }
        4 | 5 => {
            bench.outw(0x1ce, u16::from(index & 15));
            bench.outw(0x1cf, script.number(2) as u16);
        }
        _ => {
            let frame = bench.device.render(&bench.memory);
            assert_eq!(frame.rgb().len(), frame.width as usize * frame.height as usize * 3);
            let text = bench.device.text_screen(&bench.memory);
            assert!(text.is_empty() || bench.device.is_text());
        }
    }
}

fn make_cirrus() -> Vga {
    Vga::cirrus(vec![0x55; 0x200])
}

fn cirrus_extra(bench: &mut Bench<Vga>, script: &mut Script<'_>) {
    // The extended groups, the hidden DAC register, BAR 1, and operations of the blitter with the CPU's part in them.
    let (which, index) = (script.byte(), script.byte());
    match which % 8 {
        0 => bench.outw(0x3c4, u16::from(index & 31) | u16::from(script.byte()) << 8),
        1 => bench.outw(0x3ce, u16::from(index & 63) | u16::from(script.byte()) << 8),
        2 => bench.outw(0x3d4, u16::from(index & 31) | u16::from(script.byte()) << 8),
        3 => {
            for _ in 0..4 {
                bench.inb(0x3c6);
            }
            bench.outb(0x3c6, index);
        }
        4 => {
            bench.config_write(0x10, 4, 0xe000_0000);
            bench.config_write(0x14, 4, 0xf000_0000);
            bench.config_write(0x04, 2, 3);
            let at = [0xe000_0000, 0xe03f_ff00, 0xe100_0000, 0xf000_0100, 0xa_0000, 0xb_8000][usize::from(index % 6)];
            bench.mem_write(at + u64::from(script.byte()), &script.number(4).to_le_bytes()[..4]);
            bench.mem_read(at + u64::from(script.byte()), &mut [0; 4]);
        }
        5 => {
            // Heights of up to eight rows, so that a script takes milliseconds.
            bench.outw(0x3ce, 0x0023);
            bench.outw(0x3ce, 0x0022 | u16::from(index & 7) << 8);
            bench.outw(0x3ce, 0x0031);
            bench.outw(0x3ce, 0x0231);
        }
        _ => vga_extra(bench, script),
    }
}

fn make_fw_cfg() -> FwCfg {
    let mut items = FwCfgItems::default();
    items.keys.insert(5, vec![1, 0]);
    items.files.insert("etc/a".into(), vec![7; 5000]);
    items.files.insert("etc/empty".into(), Vec::new());
    FwCfg::new(items)
}

fn fw_cfg_dma(bench: &mut Bench<FwCfg>, script: &mut Script<'_>) {
    let at = script.number(3) as u32 & 0x3f_ffff;
    let mut access = [0; 16];
    let keys = [0u16, 1, 5, 0x19, 0x20, 0x21, 0x22, 0x8000, 0x4020, 0xffff];
    let control = u32::from(keys[script.below(keys.len())]) << 16 | u32::from(script.byte() & 0x1f);
    access[..4].copy_from_slice(&control.to_be_bytes());
    access[4..8].copy_from_slice(&(script.number(4) as u32 >> script.below(32)).to_be_bytes());
    access[8..].copy_from_slice(&(script.number(8) >> script.below(64)).to_be_bytes());
    bench.memory.write(at.into(), &access);
    bench.outl(0x514, (script.byte() & 1).into());
    bench.outl(0x518, at.swap_bytes());
}

fn ps2_extra(bench: &mut Bench<Ps2Controller>, script: &mut Script<'_>) {
    // A command to the mouse, or a byte read once it can be there.
    if script.byte() & 1 == 0 {
        bench.outb(0x64, 0xd4);
        bench.outb(0x60, script.byte());
    } else {
        bench.advance(crate::ps2::controller::BYTE_GAP);
        bench.inb(0x60);
    }
}

fn make_cmos() -> Cmos {
    Cmos::new(1_700_000_000, CmosContents::default())
}

fn make_debug() -> DebugPorts {
    DebugPorts::new(true)
}

fn isa_dma_extra(bench: &mut Bench<IsaDma>, script: &mut Script<'_>) {
    let channel = script.below(10);
    let mut data = vec![script.byte(); script.number(2) as usize & 0xfff];
    let way = if script.byte() & 1 == 0 { Direction::ToMemory } else { Direction::FromMemory };
    let done = bench.device.transfer(&bench.memory, channel, &mut data, way);
    assert!(done.bytes <= data.len());
}

/// PCI configuration mechanism #1: CF8h and CFCh.
pub fn config_address(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let script = &mut script;
    let mut address = ConfigAddress::default();
    while !script.is_over() {
        let port = 0xcf0 | script.number(1) as u16 & 0x1f;
        let width = usize::from(script.width());
        let mut data = [0; 4];
        data.copy_from_slice(&(script.number(4) as u32).to_le_bytes());
        address.write(port, &data[..width]);
        address.read(port, &mut data[..width]);
        if let Some((_, register)) = address.decode(port) {
            assert!((0xcfc..0xd00).contains(&port) && u16::from(register) & 3 == port & 3);
        }
    }
}

fn make_serial() -> Uart16550 {
    Uart16550::new(0x3f8, 4, CharId(0))
}

fn serial_extra(bench: &mut Bench<Uart16550>, script: &mut Script<'_>) {
    let len = script.below(40);
    bench.type_chars(CharId(0), script.take(len));
}

const NIC: NicId = NicId(1);
const NIC_MAC: [u8; 6] = [0x00, 0x16, 0x3e, 1, 2, 3];
/// Where scripts put the card's ports, and what it reads and writes by itself: all below 64 KiB of each other.
const NIC_PORTS: u16 = 0xc000;
const NIC_MEMORY: u32 = 0x4_0000;

fn make_rtl8139(chip: Chip) -> Rtl8139 {
    let rom = vec![0x55; 0x400];
    Rtl8139::with_chip(NicSpec { nic: NIC, devfn: Devfn::new(3, 0), mac: NIC_MAC, rom, link: true }, chip)
}

/// Whole actions: set-up, frames in, descriptors, slots, what a driver does to go on; and then what was sent is looked at.
fn rtl8139_extra(bench: &mut Bench<Rtl8139>, script: &mut Script<'_>) {
    let base = NIC_PORTS;
    match script.below(8) {
        0 => {
            bench.config_write(0x10, 4, base.into());
            bench.config_write(0x04, 1, 7);
            bench.outw(base + 0xe0, script.number(2) as u16);
            for register in [0x20, 0x28, 0x30, 0xe4] {
                // Some of them the same; some, seldom, where no memory is.
                let at = u32::from(script.byte() & 3) << 10 | u32::from(script.byte() == 0) << 21;
                bench.outl(base + register, NIC_MEMORY | at);
            }
            bench.outb(base + 0x37, 0x0c);
            bench.outl(base + 0x44, script.number(2) as u32 | 0x0f);
            bench.outl(base + 0x40, u32::from(script.byte() & 7) << 16);
            bench.outw(base + 0x3c, script.number(2) as u16);
        }
        1 | 2 => nic_frames(bench, script),
        3 => {
            // Descriptors, the end of the ring among them.
            let ring = NIC_MEMORY | u32::from(script.byte() & 3) << 10;
            let first = u32::from(script.byte() & 0x3f);
            for n in 0..script.below(12) as u32 {
                let command = u32::from(script.byte()) << 24 | script.number(3) as u32;
                let buffer = NIC_MEMORY | script.number(2) as u32;
                let bytes = [command, script.number(3) as u32, buffer, u32::from(script.byte() == 1)];
                let at = ring + 16 * ((first + n) & 0x3f);
                bench.memory.write(at.into(), &bytes.map(u32::to_le_bytes).concat());
            }
            bench.outb(base + 0xd9, script.byte());
        }
        4 => {
            // A header for offloads to look at, then slots.
            let mut header = [0x45; 64];
            header[12..14].copy_from_slice(&[8, 0]);
            for (to, from) in header[14..].iter_mut().zip(script.take(40)) {
                *to = *from;
            }
            bench.memory.write(u64::from(NIC_MEMORY) + 0x1000, &header);
            for slot in 0..4 {
                bench.outl(base + 0x20 + 4 * slot, NIC_MEMORY + 0x1000);
                bench.outl(base + 0x10 + 4 * slot, script.number(2) as u32);
            }
        }
        5 => bench.outw(base + 0x38, bench.device.ring_position().wrapping_sub(16)),
        6 => bench.outw(base + 0x3e, script.number(2) as u16),
        _ => {
            let up = script.byte() & 1 == 0;
            bench.call(|device, cx| Device::wake(device, cx, Wake::Link(NIC, up)));
        }
    }
    for (nic, frame) in bench.sent.drain(..) {
        assert_eq!(nic, NIC);
        let len = frame.bytes.len();
        assert!((60..=MAX_SEND).contains(&len), "a frame of {len} bytes");
        if let Some(at) = frame.offload.checksum {
            assert!(usize::from(at.start) + usize::from(at.offset) + 2 <= len);
        }
        match frame.offload.segmentation {
            Some(cut) => {
                assert!(frame.offload.checksum.is_some() && cut.mss > 0);
                assert!(usize::from(cut.header) + usize::from(cut.mss) < len);
            }
            None => assert!(len <= 4096 + 18, "{len} bytes, and not to be cut"),
        }
    }
    assert!(bench.timers.len() <= 4);
}

fn nic_frames(bench: &mut Bench<Rtl8139>, script: &mut Script<'_>) {
    let to = [NIC_MAC, [0xff; 6], [1, 0, 0x5e, 0, 0, 1], [2; 6]][script.below(4)];
    let count = script.below(40);
    let len = script.number(2) as usize & 0x1fff;
    let mut bytes = [&to[..], script.take(40)].concat();
    bytes.resize(len, script.byte());
    let how = script.byte();
    let checksum = (how & 1 != 0).then(|| ChecksumAt { start: script.byte().into(), offset: script.byte().into() });
    let offload = Offload { checksum, verified: how & 2 != 0, ..Offload::default() };
    let frame = Frame { bytes, offload };
    // As many as the host's side lets wait.
    let room = 300usize.saturating_sub(bench.receive(NIC, []));
    bench.receive(NIC, std::iter::repeat_n(frame, count.min(room)));
}

/// Where scripts put the USB controller's ports, and its schedule: sixteen places for QHs, as many for TDs.
const USB_PORTS: u16 = 0xc020;
const USB_LIST: u32 = 0x4_0000;
const USB_QUEUES: u32 = 0x4_2000;
const USB_TDS: u32 = 0x4_3000;
const USB_DATA: u32 = 0x4_4000;

/// A link to somewhere among the places, seldom to anywhere.
fn usb_link(script: &mut Script<'_>) -> u32 {
    let how = script.byte();
    let place = u32::from(script.byte() & 15) << 4;
    match how & 7 {
        0 => 1,
        1 if how > 0xf0 => script.number(4) as u32,
        1..=3 => USB_QUEUES | place | 2,
        _ => USB_TDS | place | u32::from(how & 8) >> 1,
    }
}

/// Whole actions: set-up, links, transactions of every kind, what a person does.
fn usb_extra(bench: &mut Bench<Piix3Usb>, script: &mut Script<'_>) {
    let base = USB_PORTS;
    match script.below(8) {
        0 => {
            bench.config_write(0x20, 4, base.into());
            bench.config_write(0x04, 1, 5);
            bench.outl(base + 8, USB_LIST);
            bench.outw(base + 4, 0xf);
            for port in [0x10, 0x12] {
                bench.outw(base + port, 0x200);
                bench.outw(base + port, 0);
                bench.outw(base + port, 0xe);
            }
            let first = usb_link(script);
            for n in 0..1024 {
                bench.memory.write((USB_LIST + 4 * n).into(), &first.to_le_bytes());
            }
            bench.outw(base, 0x81 | u16::from(script.byte() & 0x20));
        }
        1 => {
            let at = USB_QUEUES | u32::from(script.byte() & 15) << 4;
            let links = [usb_link(script), usb_link(script)];
            bench.memory.write(at.into(), &links.map(u32::to_le_bytes).concat());
        }
        2 | 3 => {
            let at = USB_TDS | u32::from(script.byte() & 15) << 4;
            let link = usb_link(script);
            let [how, address, more] = [script.byte(), script.byte() & 3, script.byte()];
            let pid = [0x69, 0xe1, 0x2d, if how & 4 == 0 { 0x69 } else { more }][usize::from(how & 3)];
            let bytes = [7, 0, 0x7ff, u32::from(more), script.number(2) as u32 & 0x7ff][usize::from(how >> 4) % 5];
            let control = 0x0080_07ff | u32::from(more & 0x7f) << 24;
            let token =
                u32::from(pid) | u32::from(address) << 8 | u32::from(more >> 7) << 15 | u32::from(how & 8) << 16;
            let data = USB_DATA | u32::from(script.byte() & 15) << 6;
            let dwords = [link, control, token | bytes << 21, data];
            bench.memory.write(at.into(), &dwords.map(u32::to_le_bytes).concat());
        }
        4 => {
            // Requests as they are in the standards, mostly.
            let at = USB_DATA | u32::from(script.byte() & 15) << 6;
            let kinds = [0x80, 0x81, 0x82, 0xa1, 0x00, 0x01, 0x02, 0x21];
            let mut setup =
                [kinds[script.below(8)], script.byte() & 15, script.byte(), script.byte() & 0x23, 0, 0, 0, 0];
            setup[4] = [0, 0, 0x81, script.byte()][script.below(4)];
            setup[6] = script.byte() & 0x4f;
            bench.memory.write(at.into(), &setup);
        }
        5 => {
            let (x, y) = (script.number(2) as u16, script.number(2) as u16);
            let (how, buttons) = (script.byte(), script.byte());
            let event = InputEvent::Pointer {
                x: (how & 1 == 0).then_some(x),
                y: (how & 2 == 0).then_some(y),
                dz: i32::from(how as i8) / 4,
                buttons,
            };
            bench.call(|device, cx| Device::wake(device, cx, Wake::Input(event)));
        }
        6 => {
            let event = InputEvent::Key { code: script.byte().into(), down: script.byte() & 1 == 0 };
            bench.call(|device, cx| Device::wake(device, cx, Wake::Input(event)));
        }
        _ => bench.advance(u64::from(script.byte()) * 250_000),
    }
    assert!(bench.device.keys_waiting() <= 512 && bench.timers.len() <= 1);
}

/// A register that depends on the time reads the same whether or not the timer thread was in time.
fn late<D: Device>(make: impl Fn() -> D, bytes: &[u8], extra: impl FnMut(&mut Bench<D>, &mut Script<'_>)) {
    let mut first = bench(&make);
    play(&mut first, &make, &mut Script::new(bytes), extra);
    first.hold_requests = true;
    let Some(&at) = first.timers.values().min() else { return };
    let until = at.since(first.now()).as_nanos() as u64 + 1;
    let saved = first.device.save_cbor();
    // Both continue from the saved state: requests in flight are lost in both.
    let [mut in_time, mut late] = [(), ()].map(|()| first.twin(make(), &saved));
    in_time.advance(until);
    late.advance_unnoticed(until);
    for region in Device::regions(&first.device) {
        if region.video.is_some() {
            continue;
        }
        for offset in 0..region.len.min(256) {
            let [mut a, mut b] = [[0], [0]];
            in_time.access(region.space, region.base + offset, 1, &mut a, false);
            late.access(region.space, region.base + offset, 1, &mut b, false);
            assert_eq!(a, b, "{}: {:x} after a timer that has not fired", D::KIND, region.base + offset);
        }
    }
    assert_eq!(in_time.irqs, late.irqs, "{}: interrupts", D::KIND);
}

/// Damages a saved state as the bytes say and loads it. The device refuses the state and stays as it was, or loads it and
/// can be used.
fn damage<D: Device>(make: impl Fn() -> D, bytes: &[u8], mut extra: impl FnMut(&mut Bench<D>, &mut Script<'_>)) {
    let (mut first, mut second) = (bench(&make), bench(&make));
    (first.trusted, second.trusted) = (false, false);
    let mut script = Script::new(bytes);
    let (before, how) = (script.byte().into(), script.byte());
    let mut beginning = Script::new(script.take(before));
    play(&mut first, &make, &mut beginning, &mut extra);
    let mut state = first.device.save_cbor();
    if how & 1 == 0 {
        let Ok(mut value) = ciborium::from_reader::<Value, _>(state.as_slice()) else { return };
        for _ in 0..=how >> 1 & 3 {
            if let Some(leaf) = nth_leaf(&mut value, &mut (script.number(2) as usize % 1024)) {
                change(leaf, &mut script);
            }
        }
        state.clear();
        if ciborium::into_writer(&value, &mut state).is_err() {
            return;
        }
    } else if how & 2 == 0 {
        for _ in 0..=how >> 2 & 3 {
            let at = script.number(2) as usize % state.len();
            state[at] = script.byte();
        }
    } else {
        let len = usize::from(how >> 2) * 4;
        state = script.take(len).to_vec();
    }
    let untouched = second.device.save_cbor();
    if second.device.load_cbor(&state).is_err() {
        assert_eq!(second.device.save_cbor(), untouched, "{}: a refused state has changed the device", D::KIND);
        return;
    }
    second.call(|device, cx| Device::resync(device, cx));
    save_and_load(&mut second, &make);
    play(&mut second, &make, &mut script, extra);
}

/// The leaf number `n`, counted down; lists are leaves, too.
fn nth_leaf<'a>(value: &'a mut Value, n: &mut usize) -> Option<&'a mut Value> {
    if let Value::Map(fields) = value {
        return fields.iter_mut().find_map(|(_, field)| nth_leaf(field, n));
    }
    if *n == 0 {
        return Some(value);
    }
    *n -= 1;
    match value {
        // Long lists are bytes, of which the first few stand for all.
        Value::Array(items) => items.iter_mut().take(16).find_map(|item| nth_leaf(item, n)),
        _ => None,
    }
}

fn change(leaf: &mut Value, script: &mut Script<'_>) {
    let how = script.byte();
    match leaf {
        Value::Integer(number) => {
            let wide = script.number(8) >> script.below(64);
            *number = match how % 4 {
                0 => how.into(),
                1 => wide.into(),
                2 => u64::MAX.wrapping_sub(wide).into(),
                _ => (i128::from(*number) as u64).wrapping_add(u64::from(how) % 5).wrapping_sub(2).into(),
            };
        }
        Value::Bool(flag) => *flag = !*flag,
        Value::Array(items) => match how % 3 {
            0 => items.clear(),
            1 => items.truncate(items.len() / 2),
            _ => {
                let more = usize::from(how) * 8;
                if let Some(last) = items.last().cloned() {
                    items.resize(items.len() + more, last);
                } else {
                    items.resize(more, Value::Integer(how.into()));
                }
            }
        },
        Value::Null => *leaf = Value::Integer(script.number(8).into()),
        other => *other = Value::Null,
    }
}
