//! Standard VGA adapter with Bochs VBE extensions, PCI function 1234:1111 (IBM Personal System/2 Hardware Interface
//! Technical Reference, "Video Subsystem"; the extensions as their drivers use them).
//!
//! Ports 3B4h-3B5h, 3BAh, 3C0h-3CFh, 3D4h-3D5h and 3DAh, and 1CEh-1D1h for VBE; the part of A0000h-BFFFFh that GR6
//! selects; BAR 0, the linear frame buffer; BAR 2, a page with the same registers (VGA ports 3C0h-3DFh at 400h, VBE at
//! 500h); an expansion ROM. No IRQ. The legacy ports and memory answer whether or not the PCI command register enables
//! them, so that a machine without firmware has a working VGA.
//!
//! Where video memory is linear, the CPU window is a memory slot that does not trap ([`Region::video`]); reads through
//! it do not load the latches. Plain text is such a window too, onto an area of its own (see `relocate_text`).
//!
//! [`Vga::cirrus`] makes a Cirrus Logic CL-GD5446 of it instead (see `cirrus`).
//!
//! Deliberately missing: the vertical retrace interrupt, which PC adapters do not wire; the light pen; the other memory
//! layout of chain-4 (see `planes`); big-endian frame buffers (the byte order register reads as
//! little-endian).

mod canvas;
mod characters;
mod cirrus;
mod planes;
mod regs;
mod render;
mod text;
mod vbe;

pub use canvas::Canvas;
pub use render::{Bitmap, BlinkPhase};
pub use text::{TextCursor, TextScreen, cp437, cp437_code};

use crate::ctx::{Ctx, Effect};
use crate::device::{Access, CONFIG_TAG, Devfn, Device, Region, Wake};
use crate::pci::{ConfigSpace, ConfigState, config_register_name};
use crate::state::RestoreError;
use cirrus::{Cirrus, Written};
use regs::{GR6_MISC, Registers, Timing};
use serde::{Deserialize, Serialize};
use std::ops::{Range, RangeInclusive};
use vbe::Vbe;

const VENDOR: u16 = 0x1234;
const DEVICE: u16 = 0x1111;
const CLASS_VGA: u32 = 0x03_0000;
const REVISION: u8 = 2;
const SLOT: u8 = 2;
const BAR_FRAMEBUFFER: usize = 0;
const BAR_REGISTERS: usize = 2;
/// The same for the CL-GD5446.
const BAR_CIRRUS_REGISTERS: usize = 1;
const REGISTERS_SIZE: u32 = 0x1000;
const ROM_SIZE_MIN: u32 = 0x1_0000;
const ROM_SIZE_MAX: usize = 1 << 24;

// Legacy ports: tag, first port, number of ports.
const LEGACY_PORTS: [(u8, u16, u16); 5] =
    [(0, 0x3b4, 2), (1, 0x3ba, 1), (2, 0x3c0, 0x10), (3, 0x3d4, 2), (4, 0x3da, 1)];
const DISPI_TAG: u8 = 5;
const DISPI_IOPORT_INDEX: u16 = 0x1ce;
#[cfg(test)]
const DISPI_IOPORT_DATA: u16 = 0x1cf;
/// The index at 1CEh-1CFh; 16-bit data at 1CFh or 1D0h.
const DISPI_IOPORTS: u16 = 4;
const FRAMEBUFFER_TAG: u8 = 6;
const REGISTERS_TAG: u8 = 7;
const ROM_TAG: u8 = 8;
const WINDOW_TAG: u8 = 9;
const APERTURE_TAG: u8 = 10;
const BLIT_TAG: u8 = 11;

// Offsets in the register page of BAR 2.
const PAGE_VGA: Range<u64> = 0x400..0x420;
const PAGE_DISPI: Range<u64> = 0x500..0x516;
const PAGE_QEXT_SIZE: Range<u64> = 0x600..0x604;
const PAGE_QEXT_BYTEORDER: Range<u64> = 0x604..0x608;
const LITTLE_ENDIAN: u32 = 0x1e1e_1e1e;
const QEXT_SIZE: u32 = 8;

/// Bytes in a plane of the plain VGA.
const PLANE_SIZE: u32 = 0x1_0000;
/// Bytes of the text area behind video memory: see `relocate_text`.
const TEXT_AREA_SIZE: u32 = 0x8000;
/// The CPU window in VBE modes: base and length.
const BANK_WINDOW: (u64, u64) = (0xa_0000, 0x1_0000);

/// The adapter.
pub struct Vga {
    // Configuration.
    vram: u32,
    rom: Vec<u8>,
    // Chip state.
    pci: ConfigSpace,
    regs: Registers,
    vbe: Vbe,
    /// The latches, loaded by a read through the CPU window.
    latch: u32,
    /// The extensions of a CL-GD5446.
    cirrus: Option<Box<Cirrus>>,
    /// The contents of planes 0 and 1 are in the text area.
    text_relocated: bool,
    /// The board has asked for a report of the next write ([`Wake::ReportWrites`]).
    report_writes: bool,
}

/// Saved state of [`Vga`]. Video memory is saved with the machine's memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VgaState {
    pci: ConfigState,
    regs: Registers,
    vbe: Vbe,
    latch: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cirrus: Option<Box<Cirrus>>,
}

/// The CPU window: what a vCPU accesses at A0000h-BFFFFh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CpuWindow {
    None,
    /// Base, length, offset in video memory.
    Linear(u64, u64, u32),
    /// 64 KiB in two halves: base, offsets in video memory.
    Banks(u64, [u32; 2]),
    /// Base, length: accesses trap.
    Planes(u64, u64),
}

impl CpuWindow {
    fn traps(&self) -> bool {
        !matches!(self, Self::Linear(..) | Self::Banks(..))
    }
}

/// What [`Vga::regions`] follows from.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mapping {
    window: CpuWindow,
    framebuffer: Option<u64>,
    registers: Option<u64>,
    rom: Option<u64>,
    /// BAR 0 is a memory slot; the blitter's registers at B8000h, in BAR 0; autostart.
    cirrus: [bool; 4],
}

fn config(vram: u32, rom_size: u32) -> ConfigSpace {
    ConfigSpace::new(VENDOR, DEVICE, CLASS_VGA, REVISION)
        .subsystem(0x1af4, 0x1100)
        .memory_bar(BAR_FRAMEBUFFER, vram, true)
        .memory_bar(BAR_REGISTERS, REGISTERS_SIZE, false)
        .rom_bar(rom_size)
}

/// Bytes of the expansion ROM's BAR.
fn rom_size(rom: &[u8]) -> u32 {
    (rom.len().min(ROM_SIZE_MAX) as u32).next_power_of_two().max(ROM_SIZE_MIN)
}

impl Vga {
    /// Default size of video memory in bytes.
    pub const DEFAULT_VRAM: u32 = 16 << 20;
    /// Possible sizes of video memory in bytes, a power of two.
    pub const VRAM: RangeInclusive<u32> = 1 << 20..=1 << 28;

    /// An adapter with `vram` bytes of video memory (rounded to a power of two from 1 MiB to 256 MiB) and the expansion
    /// ROM `rom`. The machine's [`crate::Memory`] must have [`Vga::memory_size`] bytes of video memory.
    pub fn new(vram: u32, rom: Vec<u8>) -> Self {
        let vram = vram.clamp(*Self::VRAM.start(), *Self::VRAM.end()).next_power_of_two();
        let pci = config(vram, rom_size(&rom));
        Self {
            vram,
            rom,
            pci,
            regs: Registers::new(),
            vbe: Vbe::new(),
            latch: 0,
            cirrus: None,
            text_relocated: false,
            report_writes: false,
        }
    }

    /// A Cirrus Logic CL-GD5446 with [`Vga::CIRRUS_VRAM`] bytes of video memory and the expansion ROM `rom`.
    pub fn cirrus(rom: Vec<u8>) -> Self {
        let plain = Self::new(Self::CIRRUS_VRAM, rom);
        let pci = ConfigSpace::new(cirrus::VENDOR, cirrus::DEVICE, CLASS_VGA, 0)
            .subsystem(0x1af4, 0x1100)
            .memory_bar(BAR_FRAMEBUFFER, cirrus::APERTURE_SIZE, true)
            .memory_bar(BAR_CIRRUS_REGISTERS, cirrus::MMIO_SIZE, false)
            .rom_bar(rom_size(&plain.rom));
        Self { pci, cirrus: Some(Box::new(Cirrus::new())), ..plain }
    }

    /// Bytes of video memory of a CL-GD5446.
    pub const CIRRUS_VRAM: u32 = cirrus::VRAM;

    /// Bytes of video memory that the machine's [`crate::Memory`] needs for an adapter with `vram` bytes: the text area
    /// follows them.
    pub const fn memory_size(vram: u32) -> u64 {
        vram as u64 + TEXT_AREA_SIZE as u64
    }

    /// Bytes of video memory.
    pub fn vram(&self) -> u32 {
        self.vram
    }

    /// A copy of the state that the picture depends on besides video memory, to render while the adapter runs.
    pub fn render_state(&self) -> Self {
        let Self { vram, rom: _, pci: _, regs, vbe, latch: _, cirrus, text_relocated, report_writes: _ } = self;
        Self {
            regs: regs.clone(),
            vbe: vbe.clone(),
            cirrus: cirrus.clone(),
            text_relocated: *text_relocated,
            ..Self::new(*vram, Vec::new())
        }
    }

    /// Whether both render the same picture from the same video memory.
    pub fn renders_same_as(&self, other: &Self) -> bool {
        self.renders_same_except_cursor(other) && self.hardware_cursor() == other.hardware_cursor()
    }

    /// The same, apart from the hardware cursor.
    fn renders_same_except_cursor(&self, other: &Self) -> bool {
        self.renders_same_except_start(other) && self.regs.start_and_cursor() == other.regs.start_and_cursor()
    }

    /// The same, apart from the start address and the cursor location.
    fn renders_same_except_start(&self, other: &Self) -> bool {
        self.text_relocated == other.text_relocated
            && self.regs.renders_same_as(&other.regs)
            && self.vbe.renders_same_as(&other.vbe)
            && match (&self.cirrus, &other.cirrus) {
                (Some(chip), Some(other)) => chip.renders_same_as(other),
                (None, None) => true,
                _ => false,
            }
    }

    fn cpu_window(&self) -> CpuWindow {
        if self.vbe.packed() {
            return CpuWindow::Linear(BANK_WINDOW.0, BANK_WINDOW.1, self.vbe.bank_offset());
        }
        if !self.regs.misc.ram_enable() {
            return CpuWindow::None;
        }
        if let Some(chip) = self.packed_cirrus() {
            return self.packed_window(chip);
        }
        // GR6 bits 2 and 3: memory map select.
        let (base, len) = match self.regs.gr[GR6_MISC] >> 2 & 3 {
            0 => (0xa_0000, 0x2_0000),
            1 => (0xa_0000, 0x1_0000),
            2 => (0xb_0000, 0x8000),
            _ => (0xb_8000, 0x8000),
        };
        if self.is_linear_text() {
            // The mode registers select plain text before, or after, the text is in the text area.
            return if self.text_relocated {
                CpuWindow::Linear(base, len, self.vram)
            } else {
                CpuWindow::Planes(base, len)
            };
        }
        if self.regs.is_linear() && !self.vbe.enabled() {
            CpuWindow::Linear(base, len, 0)
        } else {
            CpuWindow::Planes(base, len)
        }
    }

    /// Whether the CPU window is plain text: character and attribute bytes alternate in a window of 32 KiB and reach
    /// the planes unmodified.
    fn is_linear_text(&self) -> bool {
        !self.vbe.enabled()
            && self.packed_cirrus().is_none()
            && self.regs.misc.ram_enable()
            && self.regs.is_plain_text()
    }

    /// Moves text between planes 0 and 1 and the text area behind video memory. Text that is accessed without the
    /// planes' logic is kept in the text area, two bytes per cell, so that the CPU window does not trap. The bytes of a
    /// cell are at an even offset of planes 0 and 1, twice its number; those at odd offsets stay where they are.
    fn relocate_text(&mut self, cx: &Ctx<'_>, relocate: bool) {
        if self.text_relocated == relocate {
            return;
        }
        self.text_relocated = relocate;
        let mut planes = vec![0; TEXT_AREA_SIZE as usize * 4];
        let mut text = vec![0; TEXT_AREA_SIZE as usize];
        cx.memory().read_video(0, &mut planes);
        if relocate {
            for (cell, bytes) in text.chunks_exact_mut(2).zip(planes.chunks_exact(8)) {
                cell.copy_from_slice(&bytes[..2]);
            }
            cx.memory().write_video(self.vram.into(), &text);
        } else {
            cx.memory().read_video(self.vram.into(), &mut text);
            for (cell, bytes) in text.chunks_exact(2).zip(planes.chunks_exact_mut(8)) {
                bytes[..2].copy_from_slice(cell);
            }
            cx.memory().write_video(0, &planes);
        }
    }

    /// The offset in a plane at which the CPU window starts, and the size of a plane.
    fn plane_window(&self) -> (u32, u32) {
        if self.vbe.enabled() { (self.vbe.bank_offset(), self.vram / 4) } else { (0, PLANE_SIZE) }
    }

    fn timing(regs: &Registers, vbe: &Vbe, cirrus: Option<&Cirrus>) -> Timing {
        if let Some(chip) = cirrus.filter(|chip| chip.packed()) {
            return chip.timing(regs);
        }
        if !vbe.enabled() {
            return regs.timing();
        }
        // 60 Hz with an eighth of each frame blank: drivers do not program the CRTC for VBE modes.
        let total_lines = u64::from(vbe.yres) + u64::from(vbe.yres) / 8 + 2;
        let displayed_lines = u64::from(vbe.yres);
        Timing {
            dot_clock: 60 * total_lines * 1000,
            total_dots: 1000,
            displayed_dots: 800,
            total_lines,
            displayed_lines,
            vertical_retrace: (displayed_lines + 1, total_lines),
        }
    }

    fn read_port(&mut self, cx: &Ctx<'_>, port: u16) -> Option<u8> {
        let Self { regs, vbe, cirrus, latch, .. } = self;
        if let (Some(chip), Some(port)) = (cirrus, regs.decode_port(port))
            && let Some(value) = chip.read(regs, *latch, port)
        {
            return Some(value);
        }
        self.regs.read(port, cx.now().nanos(), |regs| Self::timing(regs, vbe, self.cirrus.as_deref()))
    }

    fn write_port(&mut self, cx: &Ctx<'_>, port: u16, value: u8) {
        let written = match (&mut self.cirrus, self.regs.decode_port(port)) {
            (Some(chip), Some(port)) => chip.write(&mut self.regs, port, value),
            _ => Written::NotMine,
        };
        match written {
            Written::NotMine => self.regs.write(port, value),
            Written::StartBlit => self.start_blit(cx),
            Written::Register => {}
        }
    }

    fn write_dispi(&mut self, cx: &Ctx<'_>, register: u16, value: u16) {
        if register == vbe::DISPI_INDEX_ENABLE && value & vbe::DISPI_ENABLED != 0 {
            // Enabling VBE may clear video memory, so the text must be there.
            self.relocate_text(cx, false);
        }
        let written = self.vbe.write(register, value, self.vram);
        if let Some(eight_bit) = written.eight_bit_dac {
            self.regs.dac.eight_bit = eight_bit;
        }
        const ZEROES: [u8; 4096] = [0; 4096];
        let mut at = 0;
        while at < written.clear {
            let len = (written.clear - at).min(ZEROES.len() as u32);
            cx.memory().write_video(at.into(), &ZEROES[..len as usize]);
            at += len;
        }
    }

    fn read_register_page(&mut self, cx: &Ctx<'_>, at: u64) -> u8 {
        let byte_of = |value: u32, from: u64| value.to_le_bytes()[(at - from) as usize];
        if PAGE_VGA.contains(&at) {
            self.read_port(cx, 0x3c0 + (at - PAGE_VGA.start) as u16).unwrap_or(0xff)
        } else if PAGE_DISPI.contains(&at) {
            let offset = at - PAGE_DISPI.start;
            self.vbe.read((offset / 2) as u16, self.vram).to_le_bytes()[(offset % 2) as usize]
        } else if PAGE_QEXT_SIZE.contains(&at) {
            byte_of(QEXT_SIZE, PAGE_QEXT_SIZE.start)
        } else if PAGE_QEXT_BYTEORDER.contains(&at) {
            byte_of(LITTLE_ENDIAN, PAGE_QEXT_BYTEORDER.start)
        } else {
            // The start of the page would hold an EDID block; there is none.
            0
        }
    }

    fn write_register_page(&mut self, cx: &Ctx<'_>, at: u64, data: &[u8]) {
        if PAGE_DISPI.contains(&at) {
            for (pair, n) in data.chunks_exact(2).zip(0..) {
                let offset = at - PAGE_DISPI.start + 2 * n;
                if offset.is_multiple_of(2) && PAGE_DISPI.contains(&(PAGE_DISPI.start + offset)) {
                    self.write_dispi(cx, (offset / 2) as u16, u16::from_le_bytes([pair[0], pair[1]]));
                }
            }
        } else {
            for (&byte, at) in data.iter().zip(at..) {
                if PAGE_VGA.contains(&at) {
                    self.write_port(cx, 0x3c0 + (at - PAGE_VGA.start) as u16, byte);
                }
            }
        }
    }

    /// The index is at 1CEh, the data are at 1CFh and 1D0h; both are 16 bits wide.
    fn write_dispi_ports(&mut self, cx: &Ctx<'_>, offset: u64, data: &[u8]) {
        let word = |at: usize| {
            u16::from_le_bytes([data.get(at).copied().unwrap_or(0), data.get(at + 1).copied().unwrap_or(0)])
        };
        if offset == 0 {
            self.vbe.index = word(0);
            if data.len() > 2 {
                self.write_dispi(cx, self.vbe.index, word(2));
            }
        } else if offset < 3 {
            self.write_dispi(cx, self.vbe.index, word(0));
        }
    }

    fn read_dispi_ports(&self, offset: u64, data: &mut [u8]) {
        let index = self.vbe.index.to_le_bytes();
        let value = self.vbe.read(self.vbe.index, self.vram).to_le_bytes();
        let bytes = match offset {
            0 => [index, value].concat(),
            1 | 2 => value.to_vec(),
            _ => vec![value[1]],
        };
        for (to, from) in data.iter_mut().zip(bytes) {
            *to = from;
        }
    }

    fn port(at: Access) -> Option<u16> {
        let (_, base, _) = LEGACY_PORTS.iter().find(|(tag, ..)| *tag == at.tag)?;
        u16::try_from(at.offset).ok().map(|offset| base + offset)
    }

    /// Whether the adapter is in a text mode.
    pub fn is_text(&self) -> bool {
        !self.vbe.enabled() && !self.regs.graphics_mode()
    }

    /// Whether pixels are packed: a VBE mode, or one of the CL-GD5446.
    fn is_packed(&self) -> bool {
        self.vbe.packed() || self.packed_cirrus().is_some() && self.regs.graphics_mode()
    }

    /// The offsets of a port range whose writes are coalesced: those that have no effect until the next read, or until
    /// the display is rendered, and both drain the coalescing ring first. Writes that can change the CPU window are
    /// coalesced only while accesses to it trap or hit nothing, so that the order of register and memory accesses is
    /// kept.
    fn coalesced_ports(base: u16, traps: bool) -> impl Iterator<Item = Range<u64>> + use<> {
        let ranges: &[Range<u64>] = match (base, traps) {
            // CRX and CRTC data.
            (0x3b4 | 0x3d4, _) => &[Range { start: 0, end: 2 }],
            // AR; MISC; SR, DAC; GR.
            (0x3c0, true) => &[0..1, 2..3, 4..10, 14..16],
            // The same without MISC and the data ports of SR and GR.
            (0x3c0, false) => &[0..1, 4..5, 6..10, 14..15],
            _ => &[],
        };
        ranges.iter().cloned()
    }

    fn mapping(&self) -> Mapping {
        let registers = if self.cirrus.is_some() { BAR_CIRRUS_REGISTERS } else { BAR_REGISTERS };
        let chip = |f: fn(&Cirrus) -> bool| self.cirrus.as_deref().is_some_and(f);
        Mapping {
            window: self.cpu_window(),
            framebuffer: self.pci.bar(BAR_FRAMEBUFFER),
            registers: self.pci.bar(registers),
            rom: self.pci.rom(),
            cirrus: [
                chip(Cirrus::is_linear),
                chip(Cirrus::mmio_at_b8000),
                chip(Cirrus::mmio_in_linear),
                chip(Cirrus::starts_on_destination),
            ],
        }
    }

    fn request_remap_if_changed(&self, cx: &mut Ctx<'_>, before: Mapping) {
        if self.mapping() != before {
            cx.effect(Effect::Remap);
        }
    }
}

impl Vga {
    /// Reports a write, if the board has asked for it.
    #[inline]
    fn report_write(&mut self, cx: &mut Ctx<'_>) {
        if self.report_writes {
            self.report_writes = false;
            cx.effect(Effect::ScreenWritten);
        }
    }
}

impl Device for Vga {
    type State = VgaState;
    const KIND: &'static str = "vga";
    const VERSION: u32 = 1;

    fn regions(&self) -> Vec<Region> {
        let window = self.cpu_window();
        let traps = window.traps() && !self.cirrus.as_deref().is_some_and(Cirrus::is_linear);
        let mut regions: Vec<_> = LEGACY_PORTS
            .iter()
            .map(|&(tag, base, len)| {
                Self::coalesced_ports(base, traps).fold(Region::io(base, len, tag), Region::with_coalesce)
            })
            .collect();
        if let Some(chip) = &self.cirrus {
            self.cirrus_regions(chip, &mut regions);
        } else {
            // The index latches until the next access to the data port.
            regions.push(Region::io(DISPI_IOPORT_INDEX, DISPI_IOPORTS, DISPI_TAG).with_coalesce(0..2));
        }
        match window {
            CpuWindow::None => {}
            CpuWindow::Linear(base, len, offset) => regions.push(Region::video(base, len, WINDOW_TAG, offset.into())),
            CpuWindow::Banks(base, [first, second]) => regions.extend([
                Region::video(base, 0x8000, WINDOW_TAG, first.into()),
                Region::video(base + 0x8000, 0x8000, WINDOW_TAG, second.into()),
            ]),
            // A read or the rendering of the display drains the ring first.
            CpuWindow::Planes(base, len) => regions.push(Region::mem(base, len, WINDOW_TAG).with_coalesce(0..len)),
        }
        if self.cirrus.is_none() {
            if let Some(base) = self.pci.bar(BAR_FRAMEBUFFER) {
                regions.push(Region::video(base, self.vram.into(), FRAMEBUFFER_TAG, 0));
            }
            if let Some(base) = self.pci.bar(BAR_REGISTERS) {
                regions.push(Region::mem(base, REGISTERS_SIZE.into(), REGISTERS_TAG));
            }
        }
        if let Some(base) = self.pci.rom()
            && !self.rom.is_empty()
        {
            regions.push(Region::mem(base, self.rom.len().min(ROM_SIZE_MAX) as u64, ROM_TAG));
        }
        regions
    }

    fn pci(&self) -> Option<Devfn> {
        Some(Devfn::new(SLOT, 0))
    }

    fn register_name(&self, at: Access) -> Option<&'static str> {
        let port_name = |port: u16| {
            let chip = self.cirrus.as_deref().zip(self.regs.decode_port(port));
            chip.and_then(|(chip, port)| chip.name(&self.regs, port)).or_else(|| self.regs.name(port))
        };
        match at.tag {
            BLIT_TAG => Cirrus::blit_name(at.offset),
            REGISTERS_TAG if self.cirrus.is_some() => match at.offset {
                offset if cirrus::MMIO_VGA.contains(&offset) => port_name(0x3c0 + offset as u16),
                offset => Cirrus::blit_name(offset.wrapping_sub(cirrus::MMIO_BLIT.start)),
            },
            DISPI_TAG if at.offset == 0 => Some("VBE_DISPI_IOPORT_INDEX"),
            DISPI_TAG => vbe::name(self.vbe.index).or(Some("VBE_DISPI_IOPORT_DATA")),
            REGISTERS_TAG if PAGE_VGA.contains(&at.offset) => {
                self.regs.name(0x3c0 + (at.offset - PAGE_VGA.start) as u16)
            }
            REGISTERS_TAG if PAGE_DISPI.contains(&at.offset) => vbe::name(((at.offset - PAGE_DISPI.start) / 2) as u16),
            REGISTERS_TAG if PAGE_QEXT_SIZE.contains(&at.offset) => Some("QEXT_SIZE"),
            REGISTERS_TAG if PAGE_QEXT_BYTEORDER.contains(&at.offset) => Some("QEXT_BYTEORDER"),
            CONFIG_TAG => config_register_name(&[], at.offset),
            _ => port_name(Self::port(at)?),
        }
    }

    fn read(&mut self, cx: &mut Ctx<'_>, at: Access, data: &mut [u8]) {
        if self.is_cirrus_memory(at.tag) {
            let before = self.mapping();
            self.read_cirrus_memory(cx, at, data);
            return self.request_remap_if_changed(cx, before);
        }
        match at.tag {
            BLIT_TAG => self.read_blit(at.offset, data),
            REGISTERS_TAG if self.cirrus.is_some() => self.read_cirrus_page(cx, at.offset, data),
            WINDOW_TAG => {
                let (bank, limit) = self.plane_window();
                for (byte, addr) in data.iter_mut().zip(at.offset as u32..) {
                    *byte = self.regs.read_plane_byte(&mut self.latch, cx.memory(), addr, bank, limit);
                }
            }
            DISPI_TAG => self.read_dispi_ports(at.offset, data),
            REGISTERS_TAG => {
                for (byte, at) in data.iter_mut().zip(at.offset..) {
                    *byte = self.read_register_page(cx, at);
                }
            }
            ROM_TAG => {
                for (byte, at) in data.iter_mut().zip(at.offset..) {
                    *byte = usize::try_from(at).ok().and_then(|at| self.rom.get(at)).copied().unwrap_or(0xff);
                }
            }
            CONFIG_TAG => self.pci.read(at.offset, data),
            _ => {
                let Some(port) = Self::port(at) else { return };
                for (byte, port) in data.iter_mut().zip(port..) {
                    *byte = self.read_port(cx, port).unwrap_or(0xff);
                }
            }
        }
    }

    fn write(&mut self, cx: &mut Ctx<'_>, at: Access, data: &[u8]) {
        self.report_write(cx);
        let of_cirrus = self.is_cirrus_memory(at.tag);
        if at.tag == WINDOW_TAG && !of_cirrus {
            let (bank, limit) = self.plane_window();
            self.regs.write_planes(self.latch, cx.memory(), at.offset as u32, data, bank, limit);
            return;
        }
        let before = self.mapping();
        match at.tag {
            _ if of_cirrus => self.write_cirrus_memory(cx, at, data),
            BLIT_TAG => self.write_blit(cx, at.offset, data),
            REGISTERS_TAG if self.cirrus.is_some() => self.write_cirrus_page(cx, at.offset, data),
            DISPI_TAG => self.write_dispi_ports(cx, at.offset, data),
            REGISTERS_TAG => self.write_register_page(cx, at.offset, data),
            CONFIG_TAG => {
                self.pci.write(at.offset, data);
            }
            ROM_TAG | FRAMEBUFFER_TAG => {}
            _ => {
                let Some(port) = Self::port(at) else { return };
                for (&byte, port) in data.iter().zip(port..) {
                    self.write_port(cx, port, byte);
                }
            }
        }
        self.relocate_text(cx, self.is_linear_text());
        self.request_remap_if_changed(cx, before);
    }

    fn wake(&mut self, _cx: &mut Ctx<'_>, why: Wake) {
        if matches!(why, Wake::ReportWrites) {
            self.report_writes = true;
        }
    }

    fn reset(&mut self, cx: &mut Ctx<'_>) {
        self.report_write(cx);
        let before = self.mapping();
        self.relocate_text(cx, false);
        let Self { vram: _, rom: _, pci, regs, vbe, latch, cirrus, text_relocated: _, report_writes: _ } = self;
        pci.reset();
        *regs = Registers::new();
        *vbe = Vbe::new();
        *latch = 0;
        if let Some(chip) = cirrus {
            **chip = Cirrus::new();
        }
        self.request_remap_if_changed(cx, before);
    }

    fn save(&self) -> VgaState {
        // Whether the text is relocated follows from the registers.
        let Self { vram: _, rom: _, pci, regs, vbe, latch, cirrus, text_relocated: _, report_writes: _ } = self;
        VgaState { pci: pci.save(), regs: regs.clone(), vbe: vbe.clone(), latch: *latch, cirrus: cirrus.clone() }
    }

    fn load(&mut self, state: VgaState) -> Result<(), RestoreError> {
        let VgaState { pci, regs, vbe, latch, cirrus } = state;
        if !regs.is_valid() {
            return Err(RestoreError::Impossible { kind: Self::KIND, what: "registers" });
        }
        if !vbe.is_valid(self.vram) {
            return Err(RestoreError::Impossible { kind: Self::KIND, what: "VBE mode" });
        }
        let same_chip = cirrus.is_some() == self.cirrus.is_some();
        if !same_chip || !cirrus.as_deref().is_none_or(|chip| chip.is_valid() && !vbe.enabled()) {
            return Err(RestoreError::Impossible { kind: Self::KIND, what: "CL-GD5446 registers" });
        }
        self.pci.load(Self::KIND, &pci, &[])?;
        (self.regs, self.vbe, self.latch, self.cirrus) = (regs, vbe, latch, cirrus);
        self.text_relocated = self.is_linear_text();
        Ok(())
    }

    fn resync(&mut self, cx: &mut Ctx<'_>) {
        cx.effect(Effect::Remap);
    }
}

#[cfg(test)]
mod tests;
