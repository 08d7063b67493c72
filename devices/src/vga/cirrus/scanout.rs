//! Display modes of the CL-GD5446: pixel format, start address, pitch and timing.

use super::{
    CR1A_CONTROL, CR1B_EXTENDED_DISPLAY, CR1D_OVERLAY, Cirrus, SR1B_VCLK0_DENOMINATOR, SR7_EXTENDED_MODE,
    SRB_VCLK0_NUMERATOR,
};
use crate::vga::regs::{CR17_MODE_CONTROL, Registers, Timing};

/// Frequency of the crystal in Hz.
const CRYSTAL: u64 = 14_318_180;
/// CR1A: interlaced.
const CR1A_INTERLACE: u8 = 1 << 0;
/// CR17: the vertical counter counts every second scan line.
const CR17_DOUBLE_LINES: u8 = 1 << 2;
/// HDR: format of 16-bit pixels.
const HIDDEN_DAC_FORMAT: u8 = 0xf;
const FORMAT_565: u8 = 1;

impl Cirrus {
    /// Bits per pixel of a packed-pixel mode.
    pub fn bits(&self) -> u16 {
        match self.sr[SR7_EXTENDED_MODE] >> 1 & 7 {
            // The second format with one clock per pixel, the first with two.
            1 | 3 if self.hidden_dac & HIDDEN_DAC_FORMAT == FORMAT_565 => 16,
            1 | 3 => 15,
            2 => 24,
            4 => 32,
            _ => 8,
        }
    }

    /// Bits 16 to 19 of the start address.
    pub fn start_address(&self) -> u32 {
        let (display, overlay) = (u32::from(self.cr[CR1B_EXTENDED_DISPLAY]), u32::from(self.cr[CR1D_OVERLAY]));
        (display & 1) << 16 | (display >> 2 & 3) << 17 | (overlay >> 7) << 19
    }

    /// Bit 8 of the offset register (CR13).
    pub fn offset_high(&self) -> u32 {
        u32::from(self.cr[CR1B_EXTENDED_DISPLAY] >> 4 & 1) << 8
    }

    /// How often each scan line that CR12 counts is displayed: interlaced modes count the lines of a field.
    pub fn line_factor(&self, regs: &Registers) -> u64 {
        let doubled = regs.cr[CR17_MODE_CONTROL] & CR17_DOUBLE_LINES != 0;
        (if doubled { 2 } else { 1 }) * if self.cr[CR1A_CONTROL] & CR1A_INTERLACE != 0 { 2 } else { 1 }
    }

    /// The timing that the registers program: the dot clock is the crystal's frequency by N / D, and by half of that.
    pub fn timing(&self, regs: &Registers) -> Timing {
        let clock = usize::from(regs.misc.clock());
        let numerator = u64::from(self.sr[SRB_VCLK0_NUMERATOR + clock] & 0x7f);
        let denominator = self.sr[SR1B_VCLK0_DENOMINATOR + clock];
        let (divisor, post) = (u64::from(denominator >> 1 & 0x1f), u64::from(denominator & 1) + 1);
        let timing = regs.timing();
        let dot_clock = match (CRYSTAL * numerator).checked_div(divisor * post) {
            // Not programmed yet: the VGA's clocks.
            None | Some(0) => timing.dot_clock,
            Some(clock) if regs.dot_clock_halved() => clock / 2,
            Some(clock) => clock,
        };
        let factor = self.line_factor(regs);
        Timing {
            dot_clock,
            total_lines: timing.total_lines * factor,
            displayed_lines: timing.displayed_lines * factor,
            vertical_retrace: (timing.vertical_retrace.0 * factor, timing.vertical_retrace.1 * factor),
            ..timing
        }
    }

    /// Whether both show the same picture from the same memory and the VGA's registers, apart from the cursor.
    pub fn renders_same_as(&self, other: &Self) -> bool {
        let shown = |chip: &Self| {
            (
                chip.packed().then(|| chip.bits()),
                chip.is_monitor_off(),
                chip.start_address(),
                chip.offset_high(),
                chip.cr[CR1A_CONTROL] & CR1A_INTERLACE,
            )
        };
        shown(self) == shown(other)
    }
}
