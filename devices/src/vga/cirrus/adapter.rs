//! The CL-GD5446 as an adapter: its regions, and accesses to its memory, to the blitter's registers and to BAR 1.

use super::{APERTURE_SIZE, Cirrus, Cursor, MMIO_BLIT, MMIO_BLIT_LEN, MMIO_LEGACY, MMIO_SIZE, MMIO_VGA, Written};
use crate::ctx::Ctx;
use crate::device::{Access, Region};
use crate::vga::regs::GR6_MISC;
use crate::vga::{
    APERTURE_TAG, BAR_CIRRUS_REGISTERS, BAR_FRAMEBUFFER, BLIT_TAG, CpuWindow, FRAMEBUFFER_TAG, REGISTERS_TAG, Vga,
    WINDOW_TAG,
};

impl Vga {
    /// The CL-GD5446's extensions, if it is in a packed-pixel mode.
    pub(in crate::vga) fn packed_cirrus(&self) -> Option<&Cirrus> {
        self.cirrus.as_deref().filter(|chip| chip.packed())
    }

    /// The hardware cursor, if it is shown. Only packed-pixel modes show it.
    pub(in crate::vga) fn hardware_cursor(&self) -> Option<Cursor> {
        self.packed_cirrus()?.cursor()
    }

    /// The CPU window in a packed-pixel mode of the CL-GD5446.
    pub(in crate::vga) fn packed_window(&self, chip: &Cirrus) -> CpuWindow {
        let (base, len) = match self.regs.gr[GR6_MISC] >> 2 & 3 {
            0 | 1 => (0xa_0000, 0x1_0000),
            2 => (0xb_0000, 0x8000),
            _ => (0xb_8000, 0x8000),
        };
        const HALF: u32 = 0x8000;
        let banks = chip.banks();
        let whole = banks.iter().all(|bank| bank + HALF <= self.vram);
        if !chip.is_linear() || !whole || chip.mmio_at_b8000() && base == MMIO_LEGACY {
            CpuWindow::Planes(base, len)
        } else if len == u64::from(HALF) || banks[0] + HALF == banks[1] {
            CpuWindow::Linear(base, len, banks[0])
        } else {
            CpuWindow::Banks(base, banks)
        }
    }

    pub(in crate::vga) fn start_blit(&mut self, cx: &Ctx<'_>) {
        // The blitter sees the planes.
        self.relocate_text(cx, false);
        if let Some(chip) = &mut self.cirrus {
            chip.start_blit(cx.memory());
        }
    }

    /// A write to the blitter's registers in memory.
    pub(in crate::vga) fn write_blit(&mut self, cx: &Ctx<'_>, offset: u64, data: &[u8]) {
        for (&byte, offset) in data.iter().zip(offset..) {
            let Some(chip) = &mut self.cirrus else { return };
            if chip.write_mmio(&mut self.regs, offset, byte) == Written::StartBlit {
                self.start_blit(cx);
            }
        }
    }

    pub(in crate::vga) fn read_blit(&self, offset: u64, data: &mut [u8]) {
        let Some(chip) = &self.cirrus else { return };
        data.iter_mut().zip(offset..).for_each(|(byte, offset)| *byte = chip.read_mmio(offset));
    }

    /// A read of BAR 1 of the CL-GD5446.
    pub(in crate::vga) fn read_cirrus_page(&mut self, cx: &Ctx<'_>, at: u64, data: &mut [u8]) {
        for (byte, at) in data.iter_mut().zip(at..) {
            if MMIO_VGA.contains(&at) {
                *byte = self.read_port(cx, 0x3c0 + (at - MMIO_VGA.start) as u16).unwrap_or(0xff);
            } else if MMIO_BLIT.contains(&at) {
                self.read_blit(at - MMIO_BLIT.start, std::slice::from_mut(byte));
            }
        }
    }

    pub(in crate::vga) fn write_cirrus_page(&mut self, cx: &Ctx<'_>, at: u64, data: &[u8]) {
        for (&byte, at) in data.iter().zip(at..) {
            if MMIO_VGA.contains(&at) {
                self.write_port(cx, 0x3c0 + (at - MMIO_VGA.start) as u16, byte);
            } else if MMIO_BLIT.contains(&at) {
                self.write_blit(cx, at - MMIO_BLIT.start, &[byte]);
            }
        }
    }

    /// The regions of the CL-GD5446's own memory.
    pub(in crate::vga) fn cirrus_regions(&self, chip: &Cirrus, regions: &mut Vec<Region>) {
        // Only a start has an effect of its own. It exits, because the frame buffer may trap from then on.
        let blit = |region: Region, at: u64| match chip.starts_on_destination() {
            false => region.with_coalesce(at..at + 0x40),
            true => region.with_coalesce(at..at + 0x10).with_coalesce(at + 0x14..at + 0x40),
        };
        if chip.mmio_at_b8000() {
            regions.push(blit(Region::mem(MMIO_LEGACY, MMIO_BLIT_LEN, BLIT_TAG), 0));
        }
        if let Some(base) = self.pci.bar(BAR_FRAMEBUFFER) {
            let mut slot = u64::from(self.vram);
            if chip.mmio_in_linear() {
                let at = base + slot - MMIO_BLIT_LEN;
                regions.push(blit(Region::mem(at, MMIO_BLIT_LEN, BLIT_TAG), 0));
                slot -= crate::memory::PAGE;
            }
            let aperture = Region::mem(base, APERTURE_SIZE.into(), APERTURE_TAG);
            if chip.is_linear() {
                regions.push(Region::video(base, slot, FRAMEBUFFER_TAG, 0));
                regions.push(aperture);
            } else {
                // Nothing in BAR 0 is a slot now, so the order of all accesses is kept.
                regions.push(aperture.with_coalesce(0..APERTURE_SIZE.into()));
            }
        }
        if let Some(base) = self.pci.bar(BAR_CIRRUS_REGISTERS) {
            let page = Region::mem(base, MMIO_SIZE.into(), REGISTERS_TAG);
            regions.push(blit(page, MMIO_BLIT.start));
        }
    }

    /// An access to the CPU window or to BAR 0 that the CL-GD5446's extensions handle.
    pub(in crate::vga) fn is_cirrus_memory(&self, tag: u8) -> bool {
        let takes_window = || self.cirrus.as_deref().is_some_and(|chip| chip.packed() || chip.transfers());
        tag == APERTURE_TAG || tag == WINDOW_TAG && takes_window()
    }

    pub(in crate::vga) fn read_cirrus_memory(&mut self, cx: &Ctx<'_>, at: Access, data: &mut [u8]) {
        let text = self.text_relocated;
        self.relocate_text(cx, false);
        if let Some(chip) = &mut self.cirrus {
            match at.tag {
                APERTURE_TAG => chip.read_aperture(cx.memory(), &mut self.latch, at.offset, data),
                _ => chip.read_window(cx.memory(), &mut self.latch, at.offset as u32, data),
            }
        }
        self.relocate_text(cx, text);
    }

    pub(in crate::vga) fn write_cirrus_memory(&mut self, cx: &Ctx<'_>, at: Access, data: &[u8]) {
        self.relocate_text(cx, false);
        if let Some(chip) = &mut self.cirrus {
            match at.tag {
                APERTURE_TAG => chip.write_aperture(cx.memory(), self.latch, at.offset, data),
                _ => chip.write_window(cx.memory(), self.latch, at.offset as u32, data),
            }
        }
    }
}
