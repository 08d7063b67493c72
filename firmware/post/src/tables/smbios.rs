//! SMBIOS entry point and structures (DMTF DSP0134 3.0, 5.2.1 and 5.2.2).
//!
//! Both come from fw_cfg. POST inserts a BIOS information structure (type 0) if there is none.

use super::{TableSpace, fix_sum, put};
use crate::fw_cfg::FwCfg;
use crate::shadow::Shadow;
use crate::{Machine, scratch};

const ANCHOR_FILE: &[u8] = b"etc/smbios/smbios-anchor";
const TABLES_FILE: &[u8] = b"etc/smbios/smbios-tables";
const SM: u32 = u32::from_le_bytes(*b"_SM_");
const SM3: u32 = u32::from_le_bytes(*b"_SM3");
const ANCHOR_LEN: u32 = 0x1f;
const ANCHOR3_LEN: u32 = 0x18;
/// Limit of structures.
const MAX_STRUCTURES: u32 = 4096;
/// Limit of the structures' size in bytes.
const MAX_BYTES: u32 = 0x10_0000;
/// BIOS information structure: type 0, 24 bytes, handle FEFFh; vendor, version, segment E000h, release date, ROM size
/// 128 KiB; PCI, Plug and Play, BIOS shadowing, boot from CD, selectable boot, EDD; ACPI; then the strings.
const BIOS: &[u8] = b"\x00\x18\xff\xfe\x01\x02\x00\xe0\x03\x01\x80\x92\x01\x00\x00\x00\x00\x00\x01\x00\xff\xff\xff\xff\
    pcvm\x001\x0001/01/2026\x00\x00";

/// Installs structures and entry point. Returns the address of the entry point.
pub fn install<M: Machine>(
    machine: &mut M,
    fw_cfg: &FwCfg,
    space: &mut TableSpace,
    shadow: &mut Shadow,
) -> Option<u32> {
    let anchor = fw_cfg.file(machine, ANCHOR_FILE).filter(|file| file.size <= scratch::BUFFER_SIZE)?;
    let tables = fw_cfg.file(machine, TABLES_FILE).filter(|file| file.size <= MAX_BYTES)?;
    if !fw_cfg.read_file(machine, anchor, scratch::BUFFER) {
        return None;
    }
    let smbios3 = match machine.read32(scratch::BUFFER) {
        SM if anchor.size >= ANCHOR_LEN => false,
        SM3 if anchor.size >= ANCHOR3_LEN => true,
        _ => return None,
    };
    let extra = BIOS.len() as u32;
    let at = match space.low(machine, shadow, tables.size + extra, 16) {
        Some(at) => at,
        None => space.high(tables.size + extra, 16)?,
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

    let length = if smbios3 { ANCHOR3_LEN } else { ANCHOR_LEN };
    let to = space.code(length, 16)?;
    machine.copy(scratch::BUFFER, to, length);
    machine.fill(scratch::BUFFER, 0, anchor.size);
    if smbios3 {
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

/// Whether the structures include a type 0 structure, which is usually the first.
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
        // The formatted area, then strings, terminated by two zero bytes.
        at += u32::from(machine.read8(at + 1)).max(4);
        while at + 2 <= end && machine.read16(at) != 0 {
            at += 1;
        }
        at += 2;
    }
    false
}
