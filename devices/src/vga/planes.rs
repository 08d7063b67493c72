//! The four planes as the processor sees them through A0000h-BFFFFh: latches, write modes, read modes and the three ways
//! of addressing (technical reference, "Video Subsystem", sections on the sequencer and the graphics controller).
//!
//! Byte n of plane p is byte 4n+p of video memory. In odd/even addressing processor bytes 2n and 2n+1 are byte n of
//! planes 0 and 1, in chain-4 bytes 4n to 4n+3 are byte n of planes 0 to 3: so all three and the linear frame buffer
//! agree about where on the screen a byte is, at the price that software which changes the addressing without setting
//! a mode finds its bytes elsewhere than on an IBM VGA.

use super::regs::Registers;
use crate::memory::Memory;

/// Four bytes, one of each plane, plane 0 lowest.
pub(super) type Latch = u32;

const SET_RESET: usize = 0;
const ENABLE_SET_RESET: usize = 1;
const COLOUR_COMPARE: usize = 2;
const ROTATE: usize = 3;
const READ_MAP: usize = 4;
const MODE: usize = 5;
const COLOUR_DONT_CARE: usize = 7;
const BIT_MASK: usize = 8;

const MAP_MASK: usize = 2;
const MEMORY_MODE: usize = 4;
const SEQUENTIAL: u8 = 1 << 2;
const CHAIN_4: u8 = 1 << 3;

const MODE_READ_1: u8 = 1 << 3;
const MODE_ODD_EVEN: u8 = 1 << 4;

/// Bit n of `planes` as FFh in plane n.
fn spread(planes: u8) -> u32 {
    let p = u32::from(planes);
    ((p & 1) | (p & 2) << 7 | (p & 4) << 14 | (p & 8) << 21) * 0xff
}

fn everywhere(byte: u8) -> u32 {
    u32::from(byte) * 0x0101_0101
}

impl Registers {
    fn chain_4(&self) -> bool {
        self.sequencer[MEMORY_MODE] & CHAIN_4 != 0
    }

    /// Whether the processor's bytes go straight to and from video memory, one by one.
    pub fn is_linear(&self) -> bool {
        self.chain_4()
            && self.sequencer[MAP_MASK] == 0xf
            && self.graphics[ENABLE_SET_RESET] == 0
            && self.graphics[ROTATE] == 0
            && self.graphics[MODE] & (3 | MODE_READ_1) == 0
            && self.graphics[BIT_MASK] == 0xff
    }

    /// Whether the screen shows text and the processor's bytes are those of planes 0 and 1 by turns, unchanged, in a
    /// window of 32 KiB.
    pub fn is_plain_text(&self) -> bool {
        const WINDOW_32K: u8 = 1 << 3;
        !self.graphics_mode()
            && self.sequencer[MEMORY_MODE] & (SEQUENTIAL | CHAIN_4) == 0
            && self.sequencer[MAP_MASK] & 3 == 3
            && self.graphics[ENABLE_SET_RESET] & 3 == 0
            && self.graphics[ROTATE] == 0
            && self.graphics[READ_MAP] & 2 == 0
            && self.graphics[MODE] & (3 | MODE_READ_1 | MODE_ODD_EVEN) == MODE_ODD_EVEN
            && self.graphics[6] & WINDOW_32K != 0
            && self.graphics[BIT_MASK] == 0xff
            // Writes would reach planes 2 and 3 as well.
            && self.sequencer[MAP_MASK] & 0xc == 0
    }

    /// The processor reads the byte `addr` of its window. `bank` and `limit` are in bytes of a plane.
    pub fn read_plane_byte(&self, latch: &mut Latch, memory: &Memory, addr: u32, bank: u32, limit: u32) -> u8 {
        let (offset, plane) = if self.chain_4() {
            (addr >> 2, addr & 3)
        } else if self.graphics[MODE] & MODE_ODD_EVEN != 0 {
            (addr >> 1, u32::from(self.graphics[READ_MAP] & 2) | addr & 1)
        } else {
            (addr, u32::from(self.graphics[READ_MAP]))
        };
        let offset = offset.wrapping_add(bank) % limit;
        let mut bytes = [0; 4];
        memory.read_video(u64::from(offset) * 4, &mut bytes);
        *latch = u32::from_le_bytes(bytes);
        if self.graphics[MODE] & MODE_READ_1 == 0 {
            bytes[(plane & 3) as usize]
        } else {
            let care = spread(self.graphics[COLOUR_DONT_CARE]);
            let [a, b, c, d] = ((*latch ^ spread(self.graphics[COLOUR_COMPARE])) & care).to_le_bytes();
            !(a | b | c | d)
        }
    }

    /// The processor writes bytes of its window, from `addr` on.
    pub fn write_planes(&self, latch: Latch, memory: &Memory, addr: u32, bytes: &[u8], bank: u32, limit: u32) {
        // In sequential addressing neighbours lie beside each other: an access is one write to video memory. (What another
        // processor writes at the same moment through the linear frame buffer, to planes that are masked here, may be
        // lost: no program draws both ways.)
        let sequential = !self.chain_4() && self.sequencer[MEMORY_MODE] & SEQUENTIAL != 0;
        let first = addr.wrapping_add(bank) % limit;
        let mut room = [0; 4 * 8];
        match room.get_mut(..bytes.len() * 4) {
            Some(quads) if sequential && (limit - first) as usize >= bytes.len() => {
                let at = u64::from(first) * 4;
                let mask = spread(self.sequencer[MAP_MASK]);
                if mask != u32::MAX {
                    memory.read_video(at, quads);
                }
                for (quad, &byte) in quads.as_chunks_mut().0.iter_mut().zip(bytes) {
                    let new = self.combine(latch, byte) & mask | u32::from_le_bytes(*quad) & !mask;
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

    /// The processor writes the byte `addr` of its window, in any addressing.
    fn write_plane_byte(&self, latch: Latch, memory: &Memory, addr: u32, value: u8, bank: u32, limit: u32) {
        let (offset, planes) = if self.chain_4() {
            (addr >> 2, 1 << (addr & 3))
        } else if self.sequencer[MEMORY_MODE] & SEQUENTIAL == 0 {
            (addr >> 1, if addr & 1 == 0 { 0b0101 } else { 0b1010 })
        } else {
            (addr, 0b1111)
        };
        let planes = planes & self.sequencer[MAP_MASK];
        if planes == 0 {
            return;
        }
        let offset = u64::from(offset.wrapping_add(bank) % limit) * 4;
        let new = self.combine(latch, value);
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

    /// What the graphics controller makes of a byte, by write mode.
    fn combine(&self, latch: Latch, value: u8) -> u32 {
        let rotated = value.rotate_right(u32::from(self.graphics[ROTATE] & 7));
        let set_reset = spread(self.graphics[SET_RESET]);
        let mut mask = self.graphics[BIT_MASK];
        let data = match self.graphics[MODE] & 3 {
            0 => {
                let enable = spread(self.graphics[ENABLE_SET_RESET]);
                everywhere(rotated) & !enable | set_reset & enable
            }
            1 => return latch,
            2 => spread(value & 0xf),
            _ => {
                mask &= rotated;
                set_reset
            }
        };
        let data = match self.graphics[ROTATE] >> 3 & 3 {
            0 => data,
            1 => data & latch,
            2 => data | latch,
            _ => data ^ latch,
        };
        let mask = everywhere(mask);
        data & mask | latch & !mask
    }
}
