//! Multiboot kernels (Multiboot Specification 0.6.96, sections 3.2 and 3.3). pcvm has written command line, modules and the
//! loader's name; this adds what only the BIOS knows: memory, configuration table, APM, VBE and frame buffer.
//!
//! Deliberately missing: the boot device and the drives, since the kernel was not loaded from a disk of the BIOS.

use crate::fw_cfg::{self, key};
use crate::info::{Info, enable_a20};
use crate::{Entry, apm, e820, video};
use pcvm_firmware_rt::{Hw, Regs};

/// EAX at the entry.
const MAGIC: u32 = 0x2bad_b002;
const MIB: u64 = 1 << 20;
/// Bytes of an entry of the memory map, its size field included.
const ENTRY: u16 = 24;
/// Bytes that stay free of the memory map: APM, VBE, palette.
const OTHERS: u16 = 0xa00;

/// Offsets in the information structure.
mod field {
    pub const FLAGS: u16 = 0;
    pub const MEMORY_LOWER: u16 = 4;
    pub const MEMORY_UPPER: u16 = 8;
    pub const MAP_LENGTH: u16 = 44;
    pub const MAP: u16 = 48;
    pub const CONFIGURATION: u16 = 60;
    pub const APM: u16 = 68;
    pub const VBE_CONTROL: u16 = 72;
    pub const VBE_MODE: u16 = 76;
    pub const VBE_NUMBER: u16 = 80;
    pub const VBE_INTERFACE: u16 = 82;
    pub const BUFFER_ADDRESS: u16 = 88;
    pub const BUFFER_PITCH: u16 = 96;
    pub const BUFFER_WIDTH: u16 = 100;
    pub const BUFFER_HEIGHT: u16 = 104;
    pub const BUFFER_DEPTH: u16 = 108;
}

/// Bits of the flags: which fields are valid.
mod flag {
    pub const MEMORY: u32 = 1 << 0;
    pub const MAP: u32 = 1 << 6;
    pub const CONFIGURATION: u32 = 1 << 8;
    pub const APM: u32 = 1 << 10;
    pub const VBE: u32 = 1 << 11;
    pub const FRAME_BUFFER: u32 = 1 << 12;
}

/// Loads the kernel and completes its boot information.
pub fn load<H: Hw>(hw: &mut H, request: video::Request) -> Result<Entry, &'static str> {
    let mut info = Info::load(hw)?;
    let at = info.start;
    let mut flags = hw.read32(at.add(field::FLAGS)) | flag::MEMORY | flag::MAP;

    let mut regs = Regs::ZERO;
    hw.call_interrupt(0x12, &mut regs);
    hw.write32(at.add(field::MEMORY_LOWER), regs.ax().into());

    let most = (info.room().saturating_sub(OTHERS) / ENTRY).min(e820::MAX_ENTRIES);
    let map = info.block(hw, most * ENTRY)?;
    let (mut count, mut upper) = (0, 0);
    e820::for_each(hw, |hw, range| {
        if range.kind == e820::RAM && range.base <= MIB && range.end() > MIB {
            upper = (range.end() - MIB) / 1024;
        }
        if count < most {
            let entry = map.add(count * ENTRY);
            hw.write32(entry, u32::from(ENTRY) - 4);
            for (offset, quad) in [(4, range.base), (12, range.length)] {
                hw.write32(entry.add(offset), quad as u32);
                hw.write32(entry.add(offset + 4), (quad >> 32) as u32);
            }
            hw.write32(entry.add(20), range.kind);
            count += 1;
        }
    });
    hw.write32(at.add(field::MEMORY_UPPER), upper as u32);
    hw.write32(at.add(field::MAP_LENGTH), (count * ENTRY).into());
    hw.write32(at.add(field::MAP), map.linear());

    let mut regs = Regs::with_ax(0xc000);
    hw.call_interrupt(0x15, &mut regs);
    if !regs.cf() {
        flags |= flag::CONFIGURATION;
        hw.write32(at.add(field::CONFIGURATION), pcvm_firmware_rt::FarPtr::new(regs.es, regs.bx()).linear());
    }
    if let Some(table) = apm::table(hw, &mut info)? {
        flags |= flag::APM;
        hw.write32(at.add(field::APM), table.linear());
    }
    let (vbe, buffer) = video::set_up(hw, &mut info, request)?;
    if let Some(vbe) = vbe {
        flags |= flag::VBE;
        hw.write32(at.add(field::VBE_CONTROL), vbe.control.linear());
        hw.write32(at.add(field::VBE_MODE), vbe.mode.linear());
        hw.write16(at.add(field::VBE_NUMBER), vbe.number);
        for (n, word) in vbe.interface.into_iter().enumerate() {
            hw.write16(at.add(field::VBE_INTERFACE + 2 * n as u16), word);
        }
    }
    if let Some(buffer) = buffer {
        flags |= flag::FRAME_BUFFER;
        hw.write32(at.add(field::BUFFER_ADDRESS), buffer.address);
        hw.write32(at.add(field::BUFFER_PITCH), buffer.pitch);
        hw.write32(at.add(field::BUFFER_WIDTH), buffer.width);
        hw.write32(at.add(field::BUFFER_HEIGHT), buffer.height);
        hw.copy_out(&[buffer.depth, buffer.kind], at.add(field::BUFFER_DEPTH));
        hw.copy_out(&buffer.color, at.add(field::BUFFER_DEPTH + 2));
    }
    hw.write32(at.add(field::FLAGS), flags);
    enable_a20(hw);
    Ok(Entry::Flat { address: fw_cfg::word(hw, key::KERNEL_ENTRY)?, eax: MAGIC, ebx: at.linear() })
}
