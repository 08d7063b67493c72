//! SMBIOS: places the structures that fw_cfg has, and the entry point that leads to them (DMTF DSP0134 3.0, 5.2.1 and
//! 5.2.2). Where they say nothing about the BIOS, a structure that does comes before them.

use super::{Room, fix_sum, put};
use crate::fw_cfg::FwCfg;
use crate::shadow::Shadow;
use crate::{Machine, scratch};

const ANCHOR_FILE: &[u8] = b"etc/smbios/smbios-anchor";
const TABLES_FILE: &[u8] = b"etc/smbios/smbios-tables";
const SM: u32 = u32::from_le_bytes(*b"_SM_");
const SM3: u32 = u32::from_le_bytes(*b"_SM3");
const ANCHOR_LEN: u32 = 0x1f;
const ANCHOR3_LEN: u32 = 0x18;
/// Structures that are looked at.
const MAX_STRUCTURES: u32 = 4096;
/// More than any machine has.
const MAX_BYTES: u32 = 0x10_0000;
/// A structure that describes the BIOS: type 0, 24 bytes; vendor, version, segment E000h, date, 64 KiB units of 128 KiB;
/// PCI, Plug and Play, shadowing, boot from CD, selectable boot, EDD; ACPI, as far as anyone asks; then its strings.
const BIOS: &[u8] = b"\x00\x18\xff\xfe\x01\x02\x00\xe0\x03\x01\x80\x92\x01\x00\x00\x00\x00\x00\x01\x00\xff\xff\xff\xff\
    pcvm\x001\x0001/01/2026\x00\x00";

/// Places both. Returns where the entry point is.
pub fn install<M: Machine>(machine: &mut M, fw_cfg: &FwCfg, room: &mut Room, shadow: &mut Shadow) -> Option<u32> {
    let anchor = fw_cfg.file(machine, ANCHOR_FILE).filter(|file| file.size <= scratch::BUFFER_SIZE)?;
    let tables = fw_cfg.file(machine, TABLES_FILE).filter(|file| file.size <= MAX_BYTES)?;
    if !fw_cfg.read_file(machine, anchor, scratch::BUFFER) {
        return None;
    }
    let newer = match machine.read32(scratch::BUFFER) {
        SM if anchor.size >= ANCHOR_LEN => false,
        SM3 if anchor.size >= ANCHOR3_LEN => true,
        _ => return None,
    };
    let extra = BIOS.len() as u32;
    let at = match room.low(machine, shadow, tables.size + extra, 16) {
        Some(at) => at,
        None => room.high(tables.size + extra, 16)?,
    };
    if !fw_cfg.read_file(machine, tables, at + extra) {
        return None;
    }
    let (start, bytes, more) = if has_bios(machine, at + extra, tables.size) {
        (at + extra, tables.size, 0)
    } else {
        put(machine, at, BIOS);
        (at, tables.size + extra, 1)
    };

    let length = if newer { ANCHOR3_LEN } else { ANCHOR_LEN };
    let to = room.low(machine, shadow, length, 16)?;
    machine.copy(scratch::BUFFER, to, length);
    if newer {
        machine.write32(to + 0x0c, bytes);
        machine.write32(to + 0x10, start);
        machine.write32(to + 0x14, 0);
        fix_sum(machine, to + 5, to, ANCHOR3_LEN);
    } else {
        let largest = machine.read16(to + 8).max(BIOS.len() as u16);
        machine.write16(to + 8, largest);
        machine.write16(to + 0x16, bytes.min(0xffff) as u16);
        machine.write32(to + 0x18, start);
        let count = machine.read16(to + 0x1c).wrapping_add(more);
        machine.write16(to + 0x1c, count);
        fix_sum(machine, to + 0x15, to + 0x10, 0xf);
        fix_sum(machine, to + 4, to, ANCHOR_LEN);
    }
    Some(to)
}

/// Whether a type 0 structure is among them. Most put it first.
fn has_bios<M: Machine>(machine: &mut M, at: u32, bytes: u32) -> bool {
    const BIOS_TYPE: u8 = 0;
    const END: u8 = 127;
    let end = at + bytes;
    let mut at = at;
    for _ in 0..MAX_STRUCTURES {
        if at + 4 > end {
            return false;
        }
        match machine.read8(at) {
            BIOS_TYPE => return true,
            END => return false,
            _ => {}
        }
        // The formatted part, then strings up to two zeros.
        at += u32::from(machine.read8(at + 1)).max(4);
        while at + 2 <= end && machine.read16(at) != 0 {
            at += 1;
        }
        at += 2;
    }
    false
}
