//! The Bochs VBE extensions ("DISPI" interface, id B0C5h): modes with more pixels and colours than the VGA's, set through
//! an index and a data register.

use serde::{Deserialize, Serialize};

/// Indexes of the registers.
pub(super) const ID: u16 = 0;
pub(super) const XRES: u16 = 1;
pub(super) const YRES: u16 = 2;
pub(super) const BPP: u16 = 3;
pub(super) const ENABLE: u16 = 4;
pub(super) const BANK: u16 = 5;
pub(super) const VIRT_WIDTH: u16 = 6;
pub(super) const VIRT_HEIGHT: u16 = 7;
pub(super) const X_OFFSET: u16 = 8;
pub(super) const Y_OFFSET: u16 = 9;
pub(super) const VIDEO_MEMORY: u16 = 0xa;

const ID_FIRST: u16 = 0xb0c0;
const ID_LAST: u16 = 0xb0c5;

pub(super) const ENABLED: u16 = 0x01;
const GET_CAPABILITIES: u16 = 0x02;
const DAC_8_BIT: u16 = 0x20;
const LINEAR: u16 = 0x40;
const NO_CLEAR: u16 = 0x80;

const MAX_XRES: u16 = 16_000;
const MAX_YRES: u16 = 12_000;
const MAX_BPP: u16 = 32;
const BANK_SIZE: u32 = 0x1_0000;

/// The registers. While the extension is enabled they hold a mode that fits in video memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Vbe {
    pub index: u16,
    id: u16,
    pub xres: u16,
    pub yres: u16,
    pub bpp: u16,
    enable: u16,
    bank: u16,
    pub virt_width: u16,
    virt_height: u16,
    pub x_offset: u16,
    pub y_offset: u16,
}

/// What a write asks the adapter to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct VbeWritten {
    /// Bytes of video memory to clear, from its start.
    pub clear: u32,
    /// The DAC's width changes.
    pub wide_dac: Option<bool>,
}

impl Vbe {
    pub fn new() -> Self {
        Self {
            index: 0,
            id: ID_LAST,
            xres: 0,
            yres: 0,
            bpp: 0,
            enable: 0,
            bank: 0,
            virt_width: 0,
            virt_height: 0,
            x_offset: 0,
            y_offset: 0,
        }
    }

    /// Whether a picture of the same memory is the same.
    pub fn draws_like(&self, other: &Self) -> bool {
        let alike = |vbe: &Self| Self { index: 0, id: 0, bank: 0, ..vbe.clone() };
        alike(self) == alike(other)
    }

    pub fn enabled(&self) -> bool {
        self.enable & ENABLED != 0
    }

    /// The mode is one of packed pixels, in a linear frame buffer.
    pub fn packed(&self) -> bool {
        self.enabled() && self.bpp >= 8
    }

    /// First byte of video memory in the window at A0000h.
    pub fn bank_offset(&self) -> u32 {
        if self.enabled() { u32::from(self.bank) * BANK_SIZE } else { 0 }
    }

    /// Bytes from a line to the next; four planes count as half a byte each pixel.
    pub fn line_bytes(&self) -> u32 {
        line_bytes(self.virt_width, self.bpp)
    }

    pub fn read(&self, register: u16, vram: u32) -> u16 {
        let caps = self.enable & GET_CAPABILITIES != 0;
        match register {
            ID => self.id,
            XRES if caps => MAX_XRES,
            YRES if caps => MAX_YRES,
            BPP if caps => MAX_BPP,
            XRES => self.xres,
            YRES => self.yres,
            BPP => self.bpp,
            ENABLE => self.enable,
            BANK => self.bank,
            VIRT_WIDTH => self.virt_width,
            VIRT_HEIGHT => self.virt_height,
            X_OFFSET => self.x_offset,
            Y_OFFSET => self.y_offset,
            VIDEO_MEMORY => u16::try_from(vram / BANK_SIZE).unwrap_or(u16::MAX),
            _ => 0,
        }
    }

    pub fn write(&mut self, register: u16, value: u16, vram: u32) -> VbeWritten {
        let mut written = VbeWritten::default();
        match register {
            ID if (ID_FIRST..=ID_LAST).contains(&value) => self.id = value,
            XRES => self.xres = value,
            YRES => self.yres = value,
            BPP => self.bpp = value,
            BANK => self.bank = value,
            VIRT_WIDTH => self.virt_width = value,
            X_OFFSET => self.x_offset = value,
            Y_OFFSET => self.y_offset = value,
            ENABLE => {
                let was = self.enabled();
                self.enable = value & (ENABLED | GET_CAPABILITIES | DAC_8_BIT | LINEAR | NO_CLEAR);
                written.wide_dac = Some(self.enabled() && value & DAC_8_BIT != 0);
                if self.enabled() && !was {
                    (self.virt_width, self.x_offset, self.y_offset, self.bank) = (0, 0, 0, 0);
                    self.fit(vram);
                    if value & NO_CLEAR == 0 {
                        written.clear = u32::from(self.yres).saturating_mul(self.line_bytes()).min(vram);
                    }
                } else if !self.enabled() {
                    self.bank = 0;
                }
            }
            _ => {}
        }
        self.bank %= u16::try_from(vram / BANK_SIZE).unwrap_or(u16::MAX).max(1);
        if self.enabled() {
            self.fit(vram);
        }
        written
    }

    /// Makes the mode one that exists and lies within video memory.
    fn fit(&mut self, vram: u32) {
        if !matches!(self.bpp, 4 | 8 | 15 | 16 | 24 | 32) {
            self.bpp = 8;
        }
        self.xres = (self.xres & !7).clamp(8, MAX_XRES);
        // Never the case with a megabyte or more.
        while line_bytes(self.xres, self.bpp) > vram && self.xres > 8 {
            self.xres = ((self.xres / 2) & !7).max(8);
        }
        self.virt_width = (self.virt_width & !7).max(self.xres);
        if line_bytes(self.virt_width, self.bpp) > vram {
            self.virt_width = self.xres;
        }
        let lines = vram / self.line_bytes().max(1);
        self.virt_height = u16::try_from(lines).unwrap_or(u16::MAX).max(1);
        self.yres = self.yres.clamp(1, MAX_YRES.min(self.virt_height));
        self.x_offset = self.x_offset.min(self.virt_width - self.xres);
        self.y_offset = self.y_offset.min(self.virt_height - self.yres);
    }

    /// Whether a saved state is one that these registers can have.
    pub fn is_possible(&self, vram: u32) -> bool {
        let mut fitted = self.clone();
        if self.enabled() {
            fitted.fit(vram);
        }
        fitted == *self
            && (ID_FIRST..=ID_LAST).contains(&self.id)
            && u32::from(self.bank) < (vram / BANK_SIZE).max(1)
            && self.enable & !(ENABLED | GET_CAPABILITIES | DAC_8_BIT | LINEAR | NO_CLEAR) == 0
    }
}

fn line_bytes(width: u16, bpp: u16) -> u32 {
    let width = u32::from(width);
    match bpp {
        4 => width / 2,
        15 => width * 2,
        bpp => width * u32::from(bpp / 8),
    }
}
