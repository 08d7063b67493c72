//! ACPI table loader: runs the script `etc/table-loader`, by which the host places and links the ACPI tables in memory.
//!
//! The script has 128-byte commands, little-endian, with file names of 56 bytes (QEMU, `hw/acpi/bios-linker-loader.c`).
//!
//! | command | operands, from byte 4 |
//! |---|---|
//! | 1 ALLOCATE | file, u32 alignment, u8 zone (1: anywhere below 4 GiB, 2: E0000h to FFFFFh) |
//! | 2 ADD_POINTER | file with the pointer, file pointed to, u32 offset of the pointer, u8 its size |
//! | 3 ADD_CHECKSUM | file, u32 offset of the checksum, u32 first byte covered, u32 bytes covered |
//! | 4 WRITE_POINTER | fw_cfg file to write, file pointed to, u32 offset in the one, u32 offset in the other, u8 size |
//!
//! If a command is invalid or its file does not fit, the loader stops and erases all files that it has placed.

use super::{TableSpace, sum};
use crate::fw_cfg::{FwCfg, has_zero};
use crate::shadow::Shadow;
use crate::{Machine, scratch};

const FILE: &[u8] = b"etc/table-loader";
const ENTRY: u32 = 128;
const MAX_FILES: usize = 32;
const MAX_ALIGN: u32 = 0x1_0000;
const ALLOCATE: u32 = 1;
const ADD_POINTER: u32 = 2;
const ADD_CHECKSUM: u32 = 3;
const WRITE_POINTER: u32 = 4;
const ZONE_HIGH: u8 = 1;
const ZONE_LOW: u8 = 2;
/// Largest file that is taken for an entry point (RSDP), which must be in segment F000h.
const ENTRY_POINT_MAX: u32 = 64;
/// Offset in a command of the first file name.
const NAME: u32 = 4;
/// Offset of the second file name.
const SECOND_NAME: u32 = 60;
/// Offset of the operands after one file name.
const AFTER_ONE: u32 = 60;
/// Offset of the operands after two file names.
const AFTER_TWO: u32 = 116;
const NAME_WORDS: u32 = 14;
const RSDP: [u32; 2] = [u32::from_le_bytes(*b"RSD "), u32::from_le_bytes(*b"PTR ")];

/// A file in memory.
#[derive(Clone, Copy, Default)]
struct Placed {
    /// Address of its name, in a command of the script.
    name: u32,
    at: u32,
    bytes: u32,
}

#[derive(Default)]
struct Files {
    files: [Placed; MAX_FILES],
    count: usize,
}

impl Files {
    fn all(&self) -> &[Placed] {
        self.files.get(..self.count).unwrap_or(&[])
    }

    fn find<M: Machine>(&self, machine: &mut M, name: u32) -> Option<Placed> {
        self.all().iter().find(|file| same_name(machine, file.name, name)).copied()
    }
}

fn same_name<M: Machine>(machine: &mut M, one: u32, other: u32) -> bool {
    for n in 0..NAME_WORDS {
        let word = machine.read32(one + 4 * n);
        if word != machine.read32(other + 4 * n) {
            return false;
        }
        if has_zero(word) {
            return true;
        }
    }
    true
}

/// Runs the script. Returns the address of the RSDP.
pub fn run<M: Machine>(machine: &mut M, fw_cfg: &FwCfg, space: &mut TableSpace, shadow: &mut Shadow) -> Option<u32> {
    let script = fw_cfg.file(machine, FILE).filter(|file| file.size <= scratch::SCRIPT_SIZE)?;
    if !fw_cfg.read_file(machine, script, scratch::SCRIPT) {
        return None;
    }
    let mut files = Files::default();
    let valid = (0..script.size / ENTRY).all(|n| {
        let at = scratch::SCRIPT + n * ENTRY;
        command(machine, fw_cfg, space, shadow, &mut files, at).is_some()
    });
    machine.fill(scratch::SCRIPT, 0, script.size);
    if valid {
        let rsdp = |file: &&Placed| {
            file.bytes >= 20 && machine.read32(file.at) == RSDP[0] && machine.read32(file.at + 4) == RSDP[1]
        };
        return files.all().iter().find(rsdp).map(|file| file.at);
    }
    for file in files.all() {
        machine.fill(file.at, 0, file.bytes);
    }
    None
}

/// Runs the command at `at`. `None` if it is invalid or its file does not fit.
fn command<M: Machine>(
    machine: &mut M,
    fw_cfg: &FwCfg,
    space: &mut TableSpace,
    shadow: &mut Shadow,
    files: &mut Files,
    at: u32,
) -> Option<()> {
    match machine.read32(at) {
        ALLOCATE => {
            let file = fw_cfg.file_named_at(machine, at + NAME)?;
            let align = machine.read32(at + AFTER_ONE).max(1);
            if !align.is_power_of_two() || align > MAX_ALIGN || files.find(machine, at + NAME).is_some() {
                return None;
            }
            let to = match machine.read8(at + AFTER_ONE + 4) {
                ZONE_HIGH => space.high(file.size, align)?,
                ZONE_LOW if file.size <= ENTRY_POINT_MAX => space.code(file.size, align)?,
                ZONE_LOW => space.low(machine, shadow, file.size, align)?,
                _ => return None,
            };
            *files.files.get_mut(files.count)? = Placed { name: at + NAME, at: to, bytes: file.size };
            files.count += 1;
            fw_cfg.read_file(machine, file, to).then_some(())
        }
        ADD_POINTER => {
            let file = files.find(machine, at + NAME)?;
            let target = files.find(machine, at + SECOND_NAME)?;
            let offset = machine.read32(at + AFTER_TWO);
            let size = pointer_size(machine.read8(at + AFTER_TWO + 4))?;
            let field = part(&file, offset, size)?;
            add(machine, field, size, target.at);
            Some(())
        }
        ADD_CHECKSUM => {
            let file = files.find(machine, at + NAME)?;
            let checksum = machine.read32(at + AFTER_ONE);
            let start = machine.read32(at + AFTER_ONE + 4);
            let bytes = machine.read32(at + AFTER_ONE + 8);
            let checksum = part(&file, checksum, 1)?;
            let start = part(&file, start, bytes)?;
            let value = machine.read8(checksum).wrapping_sub(sum(machine, start, bytes));
            machine.write8(checksum, value);
            Some(())
        }
        WRITE_POINTER => {
            let file = fw_cfg.file_named_at(machine, at + NAME)?;
            let target = files.find(machine, at + SECOND_NAME)?;
            let offset = machine.read32(at + AFTER_TWO);
            let target_offset = machine.read32(at + AFTER_TWO + 4);
            let size = pointer_size(machine.read8(at + AFTER_TWO + 8))?;
            let own = Placed { name: 0, at: 0, bytes: file.size };
            part(&own, offset, size)?;
            let value = part(&target, target_offset, 1)?;
            machine.write32(scratch::BUFFER, value);
            machine.write32(scratch::BUFFER + 4, 0);
            fw_cfg.write_key(machine, file.key, offset, scratch::BUFFER, size).then_some(())
        }
        // Commands of later versions, and empty entries, are ignored.
        _ => Some(()),
    }
}

fn pointer_size(size: u8) -> Option<u32> {
    matches!(size, 1 | 2 | 4 | 8).then_some(size.into())
}

/// Address of `bytes` bytes at `offset` in a file, if they are within it.
fn part(file: &Placed, offset: u32, bytes: u32) -> Option<u32> {
    let end = offset.checked_add(bytes)?;
    (end <= file.bytes).then(|| file.at.wrapping_add(offset))
}

fn add<M: Machine>(machine: &mut M, field: u32, size: u32, value: u32) {
    match size {
        1 => {
            let sum = machine.read8(field).wrapping_add(value as u8);
            machine.write8(field, sum);
        }
        2 => {
            let sum = machine.read16(field).wrapping_add(value as u16);
            machine.write16(field, sum);
        }
        _ => {
            let (sum, carry) = machine.read32(field).overflowing_add(value);
            machine.write32(field, sum);
            if size == 8 && carry {
                let high = machine.read32(field + 4).wrapping_add(1);
                machine.write32(field + 4, high);
            }
        }
    }
}
