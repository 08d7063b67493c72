//! Bochs VBE extensions (VBE_DISPI interface, id B0C5h): high-resolution modes set through an index register and a data
//! register.

use serde::{Deserialize, Serialize};

/// VBE_DISPI_INDEX_*: register indexes.
pub(super) const DISPI_INDEX_ID: u16 = 0;
pub(super) const DISPI_INDEX_XRES: u16 = 1;
pub(super) const DISPI_INDEX_YRES: u16 = 2;
pub(super) const DISPI_INDEX_BPP: u16 = 3;
pub(super) const DISPI_INDEX_ENABLE: u16 = 4;
pub(super) const DISPI_INDEX_BANK: u16 = 5;
pub(super) const DISPI_INDEX_VIRT_WIDTH: u16 = 6;
pub(super) const DISPI_INDEX_VIRT_HEIGHT: u16 = 7;
pub(super) const DISPI_INDEX_X_OFFSET: u16 = 8;
pub(super) const DISPI_INDEX_Y_OFFSET: u16 = 9;
pub(super) const DISPI_INDEX_VIDEO_MEMORY_64K: u16 = 0xa;

const DISPI_ID0: u16 = 0xb0c0;
const DISPI_ID5: u16 = 0xb0c5;

pub(super) const DISPI_ENABLED: u16 = 0x01;
const DISPI_GETCAPS: u16 = 0x02;
const DISPI_8BIT_DAC: u16 = 0x20;
const DISPI_LFB_ENABLED: u16 = 0x40;
const DISPI_NOCLEARMEM: u16 = 0x80;

const DISPI_MAX_XRES: u16 = 16_000;
const DISPI_MAX_YRES: u16 = 12_000;
const DISPI_MAX_BPP: u16 = 32;
const DISPI_BANK_SIZE: u32 = 0x1_0000;

/// The Bochs name of the register at an index.
pub(super) fn name(index: u16) -> Option<&'static str> {
    const NAMES: [&str; 11] = [
        "VBE_DISPI_INDEX_ID",
        "VBE_DISPI_INDEX_XRES",
        "VBE_DISPI_INDEX_YRES",
        "VBE_DISPI_INDEX_BPP",
        "VBE_DISPI_INDEX_ENABLE",
        "VBE_DISPI_INDEX_BANK",
        "VBE_DISPI_INDEX_VIRT_WIDTH",
        "VBE_DISPI_INDEX_VIRT_HEIGHT",
        "VBE_DISPI_INDEX_X_OFFSET",
        "VBE_DISPI_INDEX_Y_OFFSET",
        "VBE_DISPI_INDEX_VIDEO_MEMORY_64K",
    ];
    NAMES.get(usize::from(index)).copied()
}

/// The DISPI registers. While VBE is enabled they hold a mode that fits in video memory.
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

/// What the adapter must do after a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct VbeWrite {
    /// Bytes of video memory to clear, from its start.
    pub clear: u32,
    /// The new width of the DAC.
    pub eight_bit_dac: Option<bool>,
}

impl Vbe {
    pub fn new() -> Self {
        Self {
            index: 0,
            id: DISPI_ID5,
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

    /// Whether both render the same picture from the same memory.
    pub fn renders_same_as(&self, other: &Self) -> bool {
        let visible = |vbe: &Self| Self { index: 0, id: 0, bank: 0, ..vbe.clone() };
        visible(self) == visible(other)
    }

    pub fn enabled(&self) -> bool {
        self.enable & DISPI_ENABLED != 0
    }

    /// Whether a mode of packed pixels is enabled.
    pub fn packed(&self) -> bool {
        self.enabled() && self.bpp >= 8
    }

    /// Offset in video memory of the CPU window at A0000h.
    pub fn bank_offset(&self) -> u32 {
        if self.enabled() { u32::from(self.bank) * DISPI_BANK_SIZE } else { 0 }
    }

    /// Bytes per line; a pixel of a 4-bit mode counts as half a byte.
    pub fn line_bytes(&self) -> u32 {
        line_bytes(self.virt_width, self.bpp)
    }

    pub fn read(&self, register: u16, vram: u32) -> u16 {
        let getcaps = self.enable & DISPI_GETCAPS != 0;
        match register {
            DISPI_INDEX_ID => self.id,
            DISPI_INDEX_XRES if getcaps => DISPI_MAX_XRES,
            DISPI_INDEX_YRES if getcaps => DISPI_MAX_YRES,
            DISPI_INDEX_BPP if getcaps => DISPI_MAX_BPP,
            DISPI_INDEX_XRES => self.xres,
            DISPI_INDEX_YRES => self.yres,
            DISPI_INDEX_BPP => self.bpp,
            DISPI_INDEX_ENABLE => self.enable,
            DISPI_INDEX_BANK => self.bank,
            DISPI_INDEX_VIRT_WIDTH => self.virt_width,
            DISPI_INDEX_VIRT_HEIGHT => self.virt_height,
            DISPI_INDEX_X_OFFSET => self.x_offset,
            DISPI_INDEX_Y_OFFSET => self.y_offset,
            DISPI_INDEX_VIDEO_MEMORY_64K => u16::try_from(vram / DISPI_BANK_SIZE).unwrap_or(u16::MAX),
            _ => 0,
        }
    }

    pub fn write(&mut self, register: u16, value: u16, vram: u32) -> VbeWrite {
        let mut written = VbeWrite::default();
        match register {
            DISPI_INDEX_ID if (DISPI_ID0..=DISPI_ID5).contains(&value) => self.id = value,
            DISPI_INDEX_XRES => self.xres = value,
            DISPI_INDEX_YRES => self.yres = value,
            DISPI_INDEX_BPP => self.bpp = value,
            DISPI_INDEX_BANK => self.bank = value,
            DISPI_INDEX_VIRT_WIDTH => self.virt_width = value,
            DISPI_INDEX_X_OFFSET => self.x_offset = value,
            DISPI_INDEX_Y_OFFSET => self.y_offset = value,
            DISPI_INDEX_ENABLE => {
                let was_enabled = self.enabled();
                self.enable =
                    value & (DISPI_ENABLED | DISPI_GETCAPS | DISPI_8BIT_DAC | DISPI_LFB_ENABLED | DISPI_NOCLEARMEM);
                written.eight_bit_dac = Some(self.enabled() && value & DISPI_8BIT_DAC != 0);
                if self.enabled() && !was_enabled {
                    (self.virt_width, self.x_offset, self.y_offset, self.bank) = (0, 0, 0, 0);
                    self.clamp_mode(vram);
                    if value & DISPI_NOCLEARMEM == 0 {
                        written.clear = u32::from(self.yres).saturating_mul(self.line_bytes()).min(vram);
                    }
                } else if !self.enabled() {
                    self.bank = 0;
                }
            }
            _ => {}
        }
        self.bank %= u16::try_from(vram / DISPI_BANK_SIZE).unwrap_or(u16::MAX).max(1);
        if self.enabled() {
            self.clamp_mode(vram);
        }
        written
    }

    /// Changes the mode to a supported one that fits in video memory.
    fn clamp_mode(&mut self, vram: u32) {
        if !matches!(self.bpp, 4 | 8 | 15 | 16 | 24 | 32) {
            self.bpp = 8;
        }
        self.xres = (self.xres & !7).clamp(8, DISPI_MAX_XRES);
        // Cannot happen with 1 MiB of video memory or more.
        while line_bytes(self.xres, self.bpp) > vram && self.xres > 8 {
            self.xres = ((self.xres / 2) & !7).max(8);
        }
        self.virt_width = (self.virt_width & !7).max(self.xres);
        if line_bytes(self.virt_width, self.bpp) > vram {
            self.virt_width = self.xres;
        }
        let lines = vram / self.line_bytes().max(1);
        self.virt_height = u16::try_from(lines).unwrap_or(u16::MAX).max(1);
        self.yres = self.yres.clamp(1, DISPI_MAX_YRES.min(self.virt_height));
        // A displayed line may pass the end of a logical line, as long as the picture stays in video memory.
        if self.end() > u64::from(vram) {
            self.y_offset = self.y_offset.min(self.virt_height - self.yres);
        }
        if self.end() > u64::from(vram) {
            self.x_offset = self.x_offset.min(self.virt_width - self.xres);
        }
    }

    /// Offset in video memory behind the displayed picture.
    fn end(&self) -> u64 {
        let lines = u64::from(self.y_offset) + u64::from(self.yres) - 1;
        // Only the sum of the pixels can exceed a word.
        let pixels = |n: u16| u64::from(line_bytes(n, self.bpp));
        lines * u64::from(self.line_bytes()) + pixels(self.x_offset) + pixels(self.xres)
    }

    /// Whether the values, from a saved state, are possible.
    pub fn is_valid(&self, vram: u32) -> bool {
        let mut clamped = self.clone();
        if self.enabled() {
            clamped.clamp_mode(vram);
        }
        clamped == *self
            && (DISPI_ID0..=DISPI_ID5).contains(&self.id)
            && u32::from(self.bank) < (vram / DISPI_BANK_SIZE).max(1)
            && self.enable & !(DISPI_ENABLED | DISPI_GETCAPS | DISPI_8BIT_DAC | DISPI_LFB_ENABLED | DISPI_NOCLEARMEM)
                == 0
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
