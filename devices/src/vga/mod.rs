//! A standard VGA adapter with the Bochs VBE extensions, as PCI function 1234:1111 (IBM Personal System/2 Hardware
//! Interface Technical Reference, "Video Subsystem"; the extensions as their drivers use them).
//!
//! Ports 3B4h-3B5h, 3BAh, 3C0h-3CFh, 3D4h-3D5h, 3DAh, and 1CEh-1D1h for VBE; A0000h-BFFFFh as far as the memory map
//! register says; BAR 0 the linear frame buffer, BAR 2 a page with the same registers (VGA ports 3C0h-3DFh at 400h, VBE
//! at 500h), and an expansion ROM. No IRQ. The legacy ports and memory answer whether or not the PCI command register
//! enables them, so that a machine without firmware has a VGA too.
//!
//! Video memory that is linear is a window that does not trap ([`Region::video`]); reads of it do not load the latches.
//! So is text, which has an area of its own for that (see `place_text`).
//!
//! Deliberately missing: the vertical retrace interrupt, which PC adapters do not wire; the light pen; text modes' and
//! CGA's other memory layouts (see `planes`); big-endian frame buffers (the byte order register reads as little).

mod canvas;
mod characters;
mod planes;
mod regs;
mod render;
mod text;
mod vbe;

pub use canvas::Canvas;
pub use render::{Bitmap, Blink};
pub use text::{TextCursor, TextScreen, cp437, cp437_code};

use crate::ctx::{Ctx, Effect};
use crate::device::{Access, CONFIG_TAG, Devfn, Device, Region, Wake};
use crate::pci::{ConfigSpace, ConfigState};
use crate::state::RestoreError;
use regs::{Registers, Timing};
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
const REGISTERS_SIZE: u32 = 0x1000;
const ROM_SIZE_MIN: u32 = 0x1_0000;
const ROM_SIZE_MAX: usize = 1 << 24;

// Legacy ports: tag and first port, and how many.
const PORTS: [(u8, u16, u16); 5] = [(0, 0x3b4, 2), (1, 0x3ba, 1), (2, 0x3c0, 0x10), (3, 0x3d4, 2), (4, 0x3da, 1)];
const VBE_TAG: u8 = 5;
const VBE_PORT: u16 = 0x1ce;
/// With the upper half of the word at 1D0h.
const VBE_PORTS: u16 = 4;
const FRAMEBUFFER_TAG: u8 = 6;
const REGISTERS_TAG: u8 = 7;
const ROM_TAG: u8 = 8;
const WINDOW_TAG: u8 = 9;

// Offsets in the register page.
const PAGE_VGA: Range<u64> = 0x400..0x420;
const PAGE_VBE: Range<u64> = 0x500..0x516;
const PAGE_EXTENSION_SIZE: Range<u64> = 0x600..0x604;
const PAGE_BYTE_ORDER: Range<u64> = 0x604..0x608;
const LITTLE_ENDIAN: u32 = 0x1e1e_1e1e;
const EXTENSION_SIZE: u32 = 8;

/// Bytes of one plane of the plain VGA.
const PLANE_SIZE: u32 = 0x1_0000;
/// Bytes of text behind the video memory: see `place_text`.
const TEXT_SIZE: u32 = 0x8000;
/// The window of VBE's banks.
const BANK_WINDOW: (u64, u64) = (0xa_0000, 0x1_0000);

/// The adapter.
pub struct Vga {
    // Configuration.
    vram: u32,
    rom: Vec<u8>,
    // The chip.
    pci: ConfigSpace,
    regs: Registers,
    vbe: Vbe,
    /// The bytes that the last read of a plane latched.
    latch: u32,
    /// Planes 0 and 1 are in the text area.
    text: bool,
    /// The board has asked for a report of the next write ([`Wake::ReportWrites`]).
    report_writes: bool,
}

/// [`Vga`] in a saved state; video memory is saved with the machine's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VgaState {
    pci: ConfigState,
    regs: Registers,
    vbe: Vbe,
    latch: u32,
}

/// What the processor sees at A0000h-BFFFFh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Window {
    None,
    /// Base, bytes, first byte of video memory.
    Linear(u64, u64, u32),
    /// Base, bytes.
    Planes(u64, u64),
}

fn config(vram: u32, rom_size: u32) -> ConfigSpace {
    ConfigSpace::new(VENDOR, DEVICE, CLASS_VGA, REVISION)
        .subsystem(0x1af4, 0x1100)
        .memory_bar(BAR_FRAMEBUFFER, vram, true)
        .memory_bar(BAR_REGISTERS, REGISTERS_SIZE, false)
        .rom_bar(rom_size)
}

impl Vga {
    /// Bytes of video memory unless somebody wants another size.
    pub const DEFAULT_VRAM: u32 = 16 << 20;
    /// Bytes of video memory that an adapter can have; a power of two.
    pub const VRAM: RangeInclusive<u32> = 1 << 20..=1 << 28;

    /// An adapter with `vram` bytes of video memory (rounded to a power of two from 1 MiB to 256 MiB; the machine's
    /// [`crate::Memory`] must have [`Vga::memory_size`]) and the expansion ROM `rom`.
    pub fn new(vram: u32, rom: Vec<u8>) -> Self {
        let vram = vram.clamp(*Self::VRAM.start(), *Self::VRAM.end()).next_power_of_two();
        let rom_size = (rom.len().min(ROM_SIZE_MAX) as u32).next_power_of_two().max(ROM_SIZE_MIN);
        Self {
            vram,
            rom,
            pci: config(vram, rom_size),
            regs: Registers::new(),
            vbe: Vbe::new(),
            latch: 0,
            text: false,
            report_writes: false,
        }
    }

    /// Bytes that the machine's [`crate::Memory`] must have for an adapter with `vram` bytes of video memory: text has
    /// room of its own behind it.
    pub const fn memory_size(vram: u32) -> u64 {
        vram as u64 + TEXT_SIZE as u64
    }

    /// Bytes of video memory.
    pub fn vram(&self) -> u32 {
        self.vram
    }

    /// A copy of what the picture depends on, besides video memory: it is rendered while this adapter goes on.
    pub fn shown(&self) -> Self {
        let Self { vram, rom: _, pci: _, regs, vbe, latch: _, text, report_writes: _ } = self;
        Self { regs: regs.clone(), vbe: vbe.clone(), text: *text, ..Self::new(*vram, Vec::new()) }
    }

    /// Whether both show the same as long as video memory is the same.
    pub fn shows_like(&self, other: &Self) -> bool {
        self.writes_like(other) && self.regs.places() == other.regs.places()
    }

    /// The same but for the places of screen and cursor.
    fn writes_like(&self, other: &Self) -> bool {
        self.text == other.text && self.regs.draws_like(&other.regs) && self.vbe.draws_like(&other.vbe)
    }

    fn window(&self) -> Window {
        if self.vbe.packed() {
            return Window::Linear(BANK_WINDOW.0, BANK_WINDOW.1, self.vbe.bank_offset());
        }
        if !self.regs.misc.ram_enable() {
            return Window::None;
        }
        // Graphics controller, miscellaneous register, bits 2 and 3.
        let (base, len) = match self.regs.graphics[6] >> 2 & 3 {
            0 => (0xa_0000, 0x2_0000),
            1 => (0xa_0000, 0x1_0000),
            2 => (0xb_0000, 0x8000),
            _ => (0xb_8000, 0x8000),
        };
        if self.is_linear_text() {
            // Without the registers' consent the text is not there yet, or still.
            return if self.text { Window::Linear(base, len, self.vram) } else { Window::Planes(base, len) };
        }
        if self.regs.is_linear() && !self.vbe.enabled() {
            Window::Linear(base, len, 0)
        } else {
            Window::Planes(base, len)
        }
    }

    /// The processor's bytes go to characters and attributes by turns, in a window of 32 KiB, and nothing is done to
    /// them on the way.
    fn is_linear_text(&self) -> bool {
        !self.vbe.enabled() && self.regs.misc.ram_enable() && self.regs.is_plain_text()
    }

    /// Text that is reached without the planes' logic lies in the area behind video memory, two bytes a cell, so that it
    /// is a window that does not trap; else it is in planes 0 and 1. Moves it from the one to the other.
    fn place_text(&mut self, cx: &Ctx<'_>, apart: bool) {
        if self.text == apart {
            return;
        }
        self.text = apart;
        let mut planes = vec![0; TEXT_SIZE as usize * 2];
        let mut text = vec![0; TEXT_SIZE as usize];
        cx.memory().read_video(0, &mut planes);
        if apart {
            for (cell, bytes) in text.chunks_exact_mut(2).zip(planes.chunks_exact(4)) {
                cell.copy_from_slice(&bytes[..2]);
            }
            cx.memory().write_video(self.vram.into(), &text);
        } else {
            cx.memory().read_video(self.vram.into(), &mut text);
            for (cell, bytes) in text.chunks_exact(2).zip(planes.chunks_exact_mut(4)) {
                bytes[..2].copy_from_slice(cell);
            }
            cx.memory().write_video(0, &planes);
        }
    }

    /// First byte of a plane at the window's start, and bytes of a plane.
    fn plane_window(&self) -> (u32, u32) {
        if self.vbe.enabled() { (self.vbe.bank_offset(), self.vram / 4) } else { (0, PLANE_SIZE) }
    }

    fn timing(regs: &Registers, vbe: &Vbe) -> Timing {
        if !vbe.enabled() {
            return regs.timing();
        }
        // 60 Hz with an eighth of it blank: a VBE mode's driver does not set the CRTC's timings.
        let lines = u64::from(vbe.yres) + u64::from(vbe.yres) / 8 + 2;
        let shown_lines = u64::from(vbe.yres);
        Timing {
            dot_clock: 60 * lines * 1000,
            dots: 1000,
            shown_dots: 800,
            lines,
            shown_lines,
            retrace: (shown_lines + 1, lines),
        }
    }

    fn read_port(&mut self, cx: &Ctx<'_>, port: u16) -> Option<u8> {
        let vbe = &self.vbe;
        self.regs.read(port, cx.now().nanos(), |regs| Self::timing(regs, vbe))
    }

    fn write_vbe(&mut self, cx: &Ctx<'_>, register: u16, value: u16) {
        if register == vbe::ENABLE && value & vbe::ENABLED != 0 {
            // Before it may be cleared.
            self.place_text(cx, false);
        }
        let written = self.vbe.write(register, value, self.vram);
        if let Some(wide) = written.wide_dac {
            self.regs.dac.wide = wide;
        }
        const ZEROES: [u8; 4096] = [0; 4096];
        let mut at = 0;
        while at < written.clear {
            let len = (written.clear - at).min(ZEROES.len() as u32);
            cx.memory().write_video(at.into(), &ZEROES[..len as usize]);
            at += len;
        }
    }

    fn read_page(&mut self, cx: &Ctx<'_>, at: u64) -> u8 {
        let byte_of = |value: u32, from: u64| value.to_le_bytes()[(at - from) as usize];
        if PAGE_VGA.contains(&at) {
            self.read_port(cx, 0x3c0 + (at - PAGE_VGA.start) as u16).unwrap_or(0xff)
        } else if PAGE_VBE.contains(&at) {
            let offset = at - PAGE_VBE.start;
            self.vbe.read((offset / 2) as u16, self.vram).to_le_bytes()[(offset % 2) as usize]
        } else if PAGE_EXTENSION_SIZE.contains(&at) {
            byte_of(EXTENSION_SIZE, PAGE_EXTENSION_SIZE.start)
        } else if PAGE_BYTE_ORDER.contains(&at) {
            byte_of(LITTLE_ENDIAN, PAGE_BYTE_ORDER.start)
        } else {
            // The start of the page is for an EDID block, which this monitor has not.
            0
        }
    }

    fn write_page(&mut self, cx: &Ctx<'_>, at: u64, data: &[u8]) {
        if PAGE_VBE.contains(&at) {
            for (pair, n) in data.chunks_exact(2).zip(0..) {
                let offset = at - PAGE_VBE.start + 2 * n;
                if offset.is_multiple_of(2) && PAGE_VBE.contains(&(PAGE_VBE.start + offset)) {
                    self.write_vbe(cx, (offset / 2) as u16, u16::from_le_bytes([pair[0], pair[1]]));
                }
            }
        } else {
            for (&byte, at) in data.iter().zip(at..) {
                if PAGE_VGA.contains(&at) {
                    self.regs.write(0x3c0 + (at - PAGE_VGA.start) as u16, byte);
                }
            }
        }
    }

    /// 1CEh is the index, 1CFh and 1D0h the data, all 16 bits wide.
    fn write_vbe_port(&mut self, cx: &Ctx<'_>, offset: u64, data: &[u8]) {
        let word = |at: usize| {
            u16::from_le_bytes([data.get(at).copied().unwrap_or(0), data.get(at + 1).copied().unwrap_or(0)])
        };
        if offset == 0 {
            self.vbe.index = word(0);
            if data.len() > 2 {
                self.write_vbe(cx, self.vbe.index, word(2));
            }
        } else if offset < 3 {
            self.write_vbe(cx, self.vbe.index, word(0));
        }
    }

    fn read_vbe_port(&self, offset: u64, data: &mut [u8]) {
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
        let (_, base, _) = PORTS.iter().find(|(tag, ..)| *tag == at.tag)?;
        u16::try_from(at.offset).ok().map(|offset| base + offset)
    }

    /// Whether the screen shows text.
    pub fn is_text(&self) -> bool {
        !self.vbe.enabled() && !self.regs.graphics_mode()
    }

    /// The offsets of a range of ports whose writes nothing looks at until the next read, or until somebody looks at the
    /// screen: either ends the delay. What can change the memory window is kept back only while accesses to the window
    /// trap (or meet nothing): then a write to it is kept back behind them, or ends the delay as well.
    fn kept_back(base: u16, window: &Window) -> impl Iterator<Item = Range<u64>> + use<> {
        let traps = !matches!(window, Window::Linear(..));
        let ranges: &[Range<u64>] = match (base, traps) {
            // CRT controller.
            (0x3b4 | 0x3d4, _) => &[Range { start: 0, end: 2 }],
            // Attribute controller, miscellaneous output; sequencer, DAC; graphics controller.
            (0x3c0, true) => &[0..1, 2..3, 4..10, 14..16],
            // The same without the output register and the sequencer's and the graphics controller's data.
            (0x3c0, false) => &[0..1, 4..5, 6..10, 14..15],
            _ => &[],
        };
        ranges.iter().cloned()
    }

    fn mapping(&self) -> (Window, Option<u64>, Option<u64>, Option<u64>) {
        (self.window(), self.pci.bar(BAR_FRAMEBUFFER), self.pci.bar(BAR_REGISTERS), self.pci.rom())
    }

    fn remap_if_changed(&self, cx: &mut Ctx<'_>, before: (Window, Option<u64>, Option<u64>, Option<u64>)) {
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
        let window = self.window();
        let mut regions: Vec<_> = PORTS
            .iter()
            .map(|&(tag, base, len)| {
                Self::kept_back(base, &window).fold(Region::io(base, len, tag), Region::with_coalesce)
            })
            .collect();
        // The index, which only the data port's next access looks at.
        regions.push(Region::io(VBE_PORT, VBE_PORTS, VBE_TAG).with_coalesce(0..2));
        match window {
            Window::None => {}
            Window::Linear(base, len, offset) => regions.push(Region::video(base, len, WINDOW_TAG, offset.into())),
            // Nothing sees what is written there before it looks, which ends the delay.
            Window::Planes(base, len) => regions.push(Region::mem(base, len, WINDOW_TAG).with_coalesce(0..len)),
        }
        if let Some(base) = self.pci.bar(BAR_FRAMEBUFFER) {
            regions.push(Region::video(base, self.vram.into(), FRAMEBUFFER_TAG, 0));
        }
        if let Some(base) = self.pci.bar(BAR_REGISTERS) {
            regions.push(Region::mem(base, REGISTERS_SIZE.into(), REGISTERS_TAG));
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

    fn read(&mut self, cx: &mut Ctx<'_>, at: Access, data: &mut [u8]) {
        match at.tag {
            WINDOW_TAG => {
                let (bank, limit) = self.plane_window();
                for (byte, addr) in data.iter_mut().zip(at.offset as u32..) {
                    *byte = self.regs.read_plane_byte(&mut self.latch, cx.memory(), addr, bank, limit);
                }
            }
            VBE_TAG => self.read_vbe_port(at.offset, data),
            REGISTERS_TAG => {
                for (byte, at) in data.iter_mut().zip(at.offset..) {
                    *byte = self.read_page(cx, at);
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
        if at.tag == WINDOW_TAG {
            let (bank, limit) = self.plane_window();
            self.regs.write_planes(self.latch, cx.memory(), at.offset as u32, data, bank, limit);
            return;
        }
        let before = self.mapping();
        match at.tag {
            VBE_TAG => self.write_vbe_port(cx, at.offset, data),
            REGISTERS_TAG => self.write_page(cx, at.offset, data),
            CONFIG_TAG => {
                self.pci.write(at.offset, data);
            }
            ROM_TAG | FRAMEBUFFER_TAG => {}
            _ => {
                let Some(port) = Self::port(at) else { return };
                for (&byte, port) in data.iter().zip(port..) {
                    self.regs.write(port, byte);
                }
            }
        }
        self.place_text(cx, self.is_linear_text());
        self.remap_if_changed(cx, before);
    }

    fn wake(&mut self, _cx: &mut Ctx<'_>, why: Wake) {
        if matches!(why, Wake::ReportWrites) {
            self.report_writes = true;
        }
    }

    fn reset(&mut self, cx: &mut Ctx<'_>) {
        self.report_write(cx);
        let before = self.mapping();
        self.place_text(cx, false);
        let Self { vram: _, rom: _, pci, regs, vbe, latch, text: _, report_writes: _ } = self;
        pci.reset();
        *regs = Registers::new();
        *vbe = Vbe::new();
        *latch = 0;
        self.remap_if_changed(cx, before);
    }

    fn save(&self) -> VgaState {
        // Where the text is follows from the registers.
        let Self { vram: _, rom: _, pci, regs, vbe, latch, text: _, report_writes: _ } = self;
        VgaState { pci: pci.save(), regs: regs.clone(), vbe: vbe.clone(), latch: *latch }
    }

    fn load(&mut self, state: VgaState) -> Result<(), RestoreError> {
        let VgaState { pci, regs, vbe, latch } = state;
        if !regs.is_possible() {
            return Err(RestoreError::Impossible { kind: Self::KIND, what: "registers" });
        }
        if !vbe.is_possible(self.vram) {
            return Err(RestoreError::Impossible { kind: Self::KIND, what: "VBE mode" });
        }
        self.pci.load(Self::KIND, &pci, &[])?;
        (self.regs, self.vbe, self.latch) = (regs, vbe, latch);
        self.text = self.is_linear_text();
        Ok(())
    }

    fn resync(&mut self, cx: &mut Ctx<'_>) {
        cx.effect(Effect::Remap);
    }
}

#[cfg(test)]
mod tests;
