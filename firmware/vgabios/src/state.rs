//! INT 10h AH=1Ch and VBE function 4F04h: saves and restores the adapter's state in blocks of 64 bytes.

use crate::bda;
use crate::dispi;
use crate::hw::{Far, Hw, far};
use crate::regs::Regs;
use crate::vbe::{DONE, FAILED};
use crate::vga;

/// Requested states, bits of CX: VGA registers, BIOS data area variables, DAC, Bochs display registers (VBE only).
const REGISTERS: u16 = 1;
const VARIABLES: u16 = 2;
const DAC: u16 = 4;
const DISPI: u16 = 8;

const BLOCK: u16 = 64;
const CRTC_COUNT: u8 = 25;
const SEQUENCER_COUNT: u8 = 5;
const GRAPHICS_COUNT: u8 = 9;
const ATTRIBUTE_COUNT: u8 = 21;

/// 64-byte blocks of each state.
const fn blocks(state: u16) -> u16 {
    match state {
        REGISTERS => 2,
        DAC => 13,
        _ => 1,
    }
}

fn size(states: u16) -> u16 {
    let mut all = 0;
    for state in [REGISTERS, VARIABLES, DAC, DISPI] {
        if states & state != 0 {
            all += blocks(state);
        }
    }
    all
}

/// Cursor into the caller's buffer.
struct Buffer {
    at: Far,
}

impl Buffer {
    fn put<H: Hw>(&mut self, hw: &mut H, value: u8) {
        hw.write8(self.at, value);
        self.at = self.at.at(1);
    }

    fn take<H: Hw>(&mut self, hw: &mut H) -> u8 {
        let value = hw.read8(self.at);
        self.at = self.at.at(1);
        value
    }

    fn save_indexed<H: Hw>(&mut self, hw: &mut H, port: u16, count: u8) {
        let index = hw.inb(port);
        for register in 0..count {
            let value = vga::read(hw, port, register);
            self.put(hw, value);
        }
        hw.outb(port, index);
        self.put(hw, index);
    }

    fn restore_indexed<H: Hw>(&mut self, hw: &mut H, port: u16, count: u8) {
        for register in 0..count {
            let value = self.take(hw);
            vga::write(hw, port, register, value);
        }
        let index = self.take(hw);
        hw.outb(port, index);
    }

    fn save_registers<H: Hw>(&mut self, hw: &mut H) {
        let crtc = vga::crtc(hw);
        let misc = hw.inb(vga::MISC_READ);
        self.put(hw, misc);
        self.put(hw, crtc as u8);
        self.save_indexed(hw, vga::SEQUENCER, SEQUENCER_COUNT);
        self.save_indexed(hw, crtc, CRTC_COUNT);
        self.save_indexed(hw, vga::GRAPHICS, GRAPHICS_COUNT);
        vga::attribute_reset(hw);
        let index = hw.inb(vga::ATTRIBUTE);
        for register in 0..ATTRIBUTE_COUNT {
            let value = vga::read_attribute(hw, register);
            self.put(hw, value);
        }
        self.put(hw, index);
    }

    fn restore_registers<H: Hw>(&mut self, hw: &mut H) {
        let misc = self.take(hw);
        hw.outb(vga::MISC, misc);
        let crtc = 0x300 | u16::from(self.take(hw));
        self.restore_indexed(hw, vga::SEQUENCER, SEQUENCER_COUNT);
        vga::write(hw, crtc, 0x11, 0);
        // CRTC 11h was written as 0 above: the saved value may set the write protection of 00h-07h, and comes after
        // them.
        self.restore_indexed(hw, crtc, CRTC_COUNT);
        self.restore_indexed(hw, vga::GRAPHICS, GRAPHICS_COUNT);
        hw.inb(crtc.wrapping_add(6));
        for register in 0..ATTRIBUTE_COUNT {
            let value = self.take(hw);
            hw.outb(vga::ATTRIBUTE, register);
            hw.outb(vga::ATTRIBUTE, value);
        }
        let index = self.take(hw);
        hw.outb(vga::ATTRIBUTE, index);
        hw.inb(crtc.wrapping_add(6));
    }

    fn save_dac<H: Hw>(&mut self, hw: &mut H) {
        let mask = hw.inb(vga::DAC_MASK);
        self.put(hw, mask);
        let index = hw.inb(vga::DAC_WRITE);
        self.put(hw, index);
        hw.outb(vga::DAC_READ, 0);
        for _ in 0..768 {
            let level = hw.inb(vga::DAC_DATA);
            self.put(hw, level);
        }
    }

    fn restore_dac<H: Hw>(&mut self, hw: &mut H) {
        let mask = self.take(hw);
        hw.outb(vga::DAC_MASK, mask);
        let index = self.take(hw);
        hw.outb(vga::DAC_WRITE, 0);
        for _ in 0..768 {
            let level = self.take(hw);
            hw.outb(vga::DAC_DATA, level);
        }
        hw.outb(vga::DAC_WRITE, index);
    }

    fn save_dispi<H: Hw>(&mut self, hw: &mut H) {
        for register in dispi::XRES..=dispi::Y_OFFSET {
            let value = dispi::read(hw, register);
            self.put(hw, value as u8);
            self.put(hw, (value >> 8) as u8);
        }
    }

    fn restore_dispi<H: Hw>(&mut self, hw: &mut H) {
        let from = self.at;
        let value = |hw: &mut H, register: u16| hw.read16(from.at((register - dispi::XRES) * 2));
        let enable = value(hw, dispi::ENABLE);
        // Enabling a mode latches XRES, YRES and BPP and resets the other registers.
        for register in [dispi::XRES, dispi::YRES, dispi::BPP] {
            let value = value(hw, register);
            dispi::write(hw, register, value);
        }
        if enable & dispi::ENABLED == 0 {
            return;
        }
        dispi::write(hw, dispi::ENABLE, enable | dispi::NOCLEARMEM);
        for register in [dispi::BANK, dispi::VIRT_WIDTH, dispi::X_OFFSET, dispi::Y_OFFSET] {
            let value = value(hw, register);
            dispi::write(hw, register, value);
        }
    }

    fn variables<H: Hw>(&mut self, hw: &mut H, save: bool) {
        self.range(hw, save, far(bda::SEGMENT, bda::MODE), 30);
        self.range(hw, save, far(bda::SEGMENT, bda::ROWS), 7);
        self.range(hw, save, far(bda::SEGMENT, bda::SAVE_POINTERS), 4);
        // Vectors of print screen, video parameters and fonts.
        for vector in [0x05, 0x1d, 0x1f, 0x43] {
            self.range(hw, save, far(0, vector * 4), 4);
        }
    }

    fn range<H: Hw>(&mut self, hw: &mut H, save: bool, variables: Far, len: u16) {
        let (to, from) = if save { (self.at, variables) } else { (variables, self.at) };
        hw.copy(to, from, len);
        self.at = self.at.at(len);
    }
}

#[inline(never)]
fn transfer<H: Hw>(hw: &mut H, states: u16, at: Far, save: bool) {
    let mut at = at;
    if !save && dispi::present(hw) && states & (REGISTERS | DISPI) != 0 {
        dispi::write(hw, dispi::ENABLE, 0);
    }
    for state in [REGISTERS, VARIABLES, DAC, DISPI] {
        if states & state == 0 {
            continue;
        }
        let mut buffer = Buffer { at };
        match (state, save) {
            (REGISTERS, true) => buffer.save_registers(hw),
            (REGISTERS, false) => buffer.restore_registers(hw),
            (VARIABLES, _) => buffer.variables(hw, save),
            (DAC, true) => buffer.save_dac(hw),
            (DAC, false) => buffer.restore_dac(hw),
            (_, true) => buffer.save_dispi(hw),
            (_, false) => buffer.restore_dispi(hw),
        }
        at = at.at(blocks(state) * BLOCK);
    }
}

/// AH=1Ch: save/restore video state.
#[inline(never)]
pub fn call<H: Hw>(hw: &mut H, regs: &mut Regs) {
    let states = regs.cx() & (REGISTERS | VARIABLES | DAC);
    if states == 0 {
        return;
    }
    match regs.al() {
        0 => regs.set_bx(size(states)),
        1 => transfer(hw, states, far(regs.es, regs.bx()), true),
        2 => transfer(hw, states, far(regs.es, regs.bx()), false),
        _ => return,
    }
    regs.set_al(0x1c);
}

/// 4F04h: save/restore state.
#[inline(never)]
pub fn vbe<H: Hw>(hw: &mut H, regs: &mut Regs) -> u16 {
    let states = regs.cx() & (REGISTERS | VARIABLES | DAC | DISPI);
    if states == 0 || !dispi::present(hw) {
        return FAILED;
    }
    match regs.dl() {
        0 => regs.set_bx(size(states)),
        1 => transfer(hw, states, far(regs.es, regs.bx()), true),
        2 => transfer(hw, states, far(regs.es, regs.bx()), false),
        _ => return FAILED,
    }
    DONE
}
