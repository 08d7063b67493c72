//! VGA planar memory as the CPU accesses it at A0000h-BFFFFh: latches, write modes, read modes and the three addressing
//! modes (technical reference, "Video Subsystem", sequencer and graphics controller).
//!
//! Byte n of plane p is byte 4n+p of video memory. Which planes a byte reaches and where in them are separate questions:
//! SR4 (writes) and GR5 (reads) select odd or even planes by address bit 0, and GR6 replaces that bit by a higher one.
//! With both, as in text and CGA modes, the CPU's bytes 2n and 2n+1 are byte 2n of planes 0 and 1, and the CRTC reads
//! them in word mode. In chain-4 the bytes 4n to 4n+3 are byte n of planes 0 to 3, so that the window is linear; an IBM
//! VGA puts them at byte 4n. Software that leaves chain-4 without setting a mode finds its bytes at other addresses.

use super::regs::{
    GR0_SET_RESET, GR1_ENABLE_SET_RESET, GR2_COLOUR_COMPARE, GR3_DATA_ROTATE, GR4_READ_MAP, GR5_MODE, GR6_MISC,
    GR7_COLOUR_DONT_CARE, GR8_BIT_MASK, Registers, SR2_MAP_MASK, SR4_MEMORY_MODE,
};
use crate::memory::Memory;

/// The latches: one byte of each plane, plane 0 in the low byte.
pub(super) type Latch = u32;

const SR4_SEQUENTIAL: u8 = 1 << 2;
const SR4_CHAIN_4: u8 = 1 << 3;

/// GR6 bit 1: address bit 0, which selects odd or even planes, is replaced by a higher-order bit.
const GR6_CHAIN_ODD_EVEN: u8 = 1 << 1;
/// GR6 bits 2 and 3: the CPU window; 0 is 128 KiB.
const GR6_MAP: u8 = 3 << 2;

const GR5_READ_MODE_1: u8 = 1 << 3;
const GR5_ODD_EVEN: u8 = 1 << 4;

/// Expands bit n of `planes` to FFh in the byte of plane n.
fn expand_planes(planes: u8) -> u32 {
    let p = u32::from(planes);
    ((p & 1) | (p & 2) << 7 | (p & 4) << 14 | (p & 8) << 21) * 0xff
}

fn replicate(byte: u8) -> u32 {
    u32::from(byte) * 0x0101_0101
}

impl Registers {
    fn chain_4(&self) -> bool {
        self.sr[SR4_MEMORY_MODE] & SR4_CHAIN_4 != 0
    }

    /// Whether CPU accesses reach video memory byte by byte and unmodified: chain-4 without masks or logic.
    pub fn is_linear(&self) -> bool {
        self.chain_4()
            && self.sr[SR2_MAP_MASK] == 0xf
            && self.gr[GR1_ENABLE_SET_RESET] == 0
            && self.gr[GR3_DATA_ROTATE] == 0
            && self.gr[GR5_MODE] & (3 | GR5_READ_MODE_1) == 0
            && self.gr[GR8_BIT_MASK] == 0xff
    }

    /// Whether the mode is text and the CPU's bytes alternate between planes 0 and 1, unmodified, in a window of 32
    /// KiB.
    pub fn is_plain_text(&self) -> bool {
        const GR6_MAP_32K: u8 = 1 << 3;
        !self.graphics_mode()
            && self.sr[SR4_MEMORY_MODE] & (SR4_SEQUENTIAL | SR4_CHAIN_4) == 0
            && self.sr[SR2_MAP_MASK] & 3 == 3
            && self.gr[GR1_ENABLE_SET_RESET] & 3 == 0
            && self.gr[GR3_DATA_ROTATE] == 0
            && self.gr[GR4_READ_MAP] & 2 == 0
            && self.gr[GR5_MODE] & (3 | GR5_READ_MODE_1 | GR5_ODD_EVEN) == GR5_ODD_EVEN
            && self.gr[GR6_MISC] & (GR6_MAP_32K | GR6_CHAIN_ODD_EVEN) == GR6_MAP_32K | GR6_CHAIN_ODD_EVEN
            && self.gr[GR8_BIT_MASK] == 0xff
            // Odd/even writes must not reach planes 2 and 3.
            && self.sr[SR2_MAP_MASK] & 0xc == 0
    }

    /// The offset in the planes of the byte `addr` of the window, outside chain-4.
    fn plane_address(&self, addr: u32) -> u32 {
        let gr6 = self.gr[GR6_MISC];
        if gr6 & GR6_CHAIN_ODD_EVEN == 0 {
            return addr;
        }
        // Only the window of 128 KiB has an address bit above the plane's: A16. In the others the bit is 0.
        addr & 0xfffe | if gr6 & GR6_MAP == 0 { addr >> 16 & 1 } else { 0 }
    }

    /// A CPU read of the byte `addr` of the window. `bank` and `limit` are in bytes of a plane.
    pub fn read_plane_byte(&self, latch: &mut Latch, memory: &Memory, addr: u32, bank: u32, limit: u32) -> u8 {
        let (offset, plane) = if self.chain_4() {
            (addr >> 2, addr & 3)
        } else if self.gr[GR5_MODE] & GR5_ODD_EVEN != 0 {
            (self.plane_address(addr), u32::from(self.gr[GR4_READ_MAP] & 2) | addr & 1)
        } else {
            (self.plane_address(addr), u32::from(self.gr[GR4_READ_MAP]))
        };
        let offset = offset.wrapping_add(bank) % limit;
        let mut bytes = [0; 4];
        memory.read_video(u64::from(offset) * 4, &mut bytes);
        *latch = u32::from_le_bytes(bytes);
        if self.gr[GR5_MODE] & GR5_READ_MODE_1 == 0 {
            bytes[(plane & 3) as usize]
        } else {
            let care_mask = expand_planes(self.gr[GR7_COLOUR_DONT_CARE]);
            let [a, b, c, d] = ((*latch ^ expand_planes(self.gr[GR2_COLOUR_COMPARE])) & care_mask).to_le_bytes();
            !(a | b | c | d)
        }
    }

    /// A CPU write of bytes to the window from `addr` on.
    pub fn write_planes(&self, latch: Latch, memory: &Memory, addr: u32, bytes: &[u8], bank: u32, limit: u32) {
        // In sequential addressing neighbouring bytes are adjacent in video memory, so one access is one write. (A
        // simultaneous write by another vCPU through the linear frame buffer, to planes masked here, may be lost. No
        // program draws both ways.)
        let sequential = !self.chain_4()
            && self.sr[SR4_MEMORY_MODE] & SR4_SEQUENTIAL != 0
            && self.gr[GR6_MISC] & GR6_CHAIN_ODD_EVEN == 0;
        let first = addr.wrapping_add(bank) % limit;
        let mut room = [0; 4 * 8];
        match room.get_mut(..bytes.len() * 4) {
            Some(quads) if sequential && (limit - first) as usize >= bytes.len() => {
                let at = u64::from(first) * 4;
                let mask = expand_planes(self.sr[SR2_MAP_MASK]);
                if mask != u32::MAX {
                    memory.read_video(at, quads);
                }
                for (quad, &byte) in quads.as_chunks_mut().0.iter_mut().zip(bytes) {
                    let new = self.apply_write_mode(latch, byte) & mask | u32::from_le_bytes(*quad) & !mask;
                    *quad = new.to_le_bytes();
                }
                memory.write_video(at, quads);
            }
            _ => {
                for (&byte, addr) in bytes.iter().zip(addr..) {
                    self.write_plane_byte(latch, memory, addr, byte, bank, limit);
                }
            }
        }
    }

    /// A CPU write of the byte `addr` of the window, in any addressing mode.
    fn write_plane_byte(&self, latch: Latch, memory: &Memory, addr: u32, value: u8, bank: u32, limit: u32) {
        let (offset, planes) = if self.chain_4() {
            (addr >> 2, 1 << (addr & 3))
        } else if self.sr[SR4_MEMORY_MODE] & SR4_SEQUENTIAL == 0 {
            (self.plane_address(addr), if addr & 1 == 0 { 0b0101 } else { 0b1010 })
        } else {
            (self.plane_address(addr), 0b1111)
        };
        let planes = planes & self.sr[SR2_MAP_MASK];
        if planes == 0 {
            return;
        }
        let offset = u64::from(offset.wrapping_add(bank) % limit) * 4;
        let new = self.apply_write_mode(latch, value);
        if planes == 0xf {
            memory.write_video(offset, &new.to_le_bytes());
            return;
        }
        for (plane, byte) in (0..4u64).zip(new.to_le_bytes()) {
            if planes >> plane & 1 != 0 {
                memory.write_video(offset + plane, &[byte]);
            }
        }
    }

    /// The four bytes that the graphics controller writes for a CPU byte, by write mode (GR5).
    fn apply_write_mode(&self, latch: Latch, value: u8) -> u32 {
        let rotated = value.rotate_right(u32::from(self.gr[GR3_DATA_ROTATE] & 7));
        let set_reset = expand_planes(self.gr[GR0_SET_RESET]);
        let mut mask = self.gr[GR8_BIT_MASK];
        let data = match self.gr[GR5_MODE] & 3 {
            0 => {
                let enable = expand_planes(self.gr[GR1_ENABLE_SET_RESET]);
                replicate(rotated) & !enable | set_reset & enable
            }
            1 => return latch,
            2 => expand_planes(value & 0xf),
            _ => {
                mask &= rotated;
                set_reset
            }
        };
        let data = match self.gr[GR3_DATA_ROTATE] >> 3 & 3 {
            0 => data,
            1 => data & latch,
            2 => data | latch,
            _ => data ^ latch,
        };
        let mask = replicate(mask);
        data & mask | latch & !mask
    }
}
