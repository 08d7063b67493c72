//! `etc/table-loader`: a script by which the machine has its ACPI tables placed (QEMU's `docs/specs/acpi_*` and
//! `hw/acpi`'s file format as fw_cfg shows it): 128-byte commands, little-endian, with file names of 56 bytes.
//!
//! | command | operands, from byte 4 |
//! |---|---|
//! | 1 allocate | file, u32 alignment, u8 zone (1: anywhere below 4 GiB, 2: E0000h to FFFFFh) |
//! | 2 add pointer | file with the pointer, file pointed to, u32 offset of the pointer, u8 its size |
//! | 3 add checksum | file, u32 offset of the checksum, u32 first byte covered, u32 bytes covered |
//! | 4 write pointer | fw_cfg file to be written, file pointed to, u32 offset in the first, u32 offset in the second, u8 size |
//!
//! A script with a command that does not fit is given up, and what it placed is made unrecognisable.

use super::{Room, sum};
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
/// Offsets in a command: the first file's name, the second's, and operands after one name and after two.
const NAME: u32 = 4;
const SECOND_NAME: u32 = 60;
const AFTER_ONE: u32 = 60;
const AFTER_TWO: u32 = 116;
const NAME_WORDS: u32 = 14;
const RSDP: [u32; 2] = [u32::from_le_bytes(*b"RSD "), u32::from_le_bytes(*b"PTR ")];

#[derive(Clone, Copy, Default)]
struct Placed {
    /// Where a command names it.
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

/// Runs the script. Returns where the RSDP is.
pub fn run<M: Machine>(machine: &mut M, fw_cfg: &FwCfg, room: &mut Room, shadow: &mut Shadow) -> Option<u32> {
    let script = fw_cfg.file(machine, FILE).filter(|file| file.size <= scratch::SCRIPT_SIZE)?;
    if !fw_cfg.read_file(machine, script, scratch::SCRIPT) {
        return None;
    }
    let mut files = Files::default();
    let good = (0..script.size / ENTRY).all(|n| {
        let at = scratch::SCRIPT + n * ENTRY;
        command(machine, fw_cfg, room, shadow, &mut files, at).is_some()
    });
    if good {
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

/// Carries out the command at `at`. None if it does not fit.
fn command<M: Machine>(
    machine: &mut M,
    fw_cfg: &FwCfg,
    room: &mut Room,
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
                ZONE_HIGH => room.high(file.size, align)?,
                ZONE_LOW => room.low(machine, shadow, file.size, align)?,
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
        // Later versions' commands, and entries left empty.
        _ => Some(()),
    }
}

fn pointer_size(size: u8) -> Option<u32> {
    matches!(size, 1 | 2 | 4 | 8).then_some(size.into())
}

/// The address of `bytes` bytes at `offset` in a file, if they are in it.
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
