//! Fuzz target of the x86 emulator: arbitrary registers, segments, page tables and code.

use super::{BURST_MAX, Bus, Cpu, NotEmulated, Paging, Segment, step};
use std::ops::Range;

const RAM: usize = 1 << 18;

/// A bus for the fuzzer and for tests: RAM, and a device that accepts writes to even ports.
pub(super) struct Ram {
    pub bytes: Vec<u8>,
    /// Physical addresses that the bus refuses.
    pub forbidden: Range<u32>,
    /// Physical addresses that belong to a device.
    pub device: Range<u32>,
    /// Bytes written to ports.
    pub out: Vec<u8>,
}

impl Ram {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, forbidden: 0..0, device: 0..0, out: Vec::new() }
    }

    fn part(&mut self, at: u32, len: usize) -> Result<&mut [u8], NotEmulated> {
        if self.forbidden.contains(&at) {
            return Err(NotEmulated);
        }
        self.bytes.get_mut(at as usize..).and_then(|rest| rest.get_mut(..len)).ok_or(NotEmulated)
    }
}

impl Bus for Ram {
    fn read(&mut self, at: u32, data: &mut [u8]) -> Result<(), NotEmulated> {
        data.copy_from_slice(self.part(at, data.len())?);
        Ok(())
    }

    fn write(&mut self, at: u32, data: &[u8]) -> Result<(), NotEmulated> {
        self.part(at, data.len())?.copy_from_slice(data);
        Ok(())
    }

    fn is_device(&mut self, at: u32, _: usize) -> bool {
        self.device.contains(&at)
    }

    fn read_code(&mut self, at: u32, data: &mut [u8]) -> Result<(), NotEmulated> {
        self.read(at, data)
    }

    fn read_table(&mut self, at: u32, data: &mut [u8]) -> Result<(), NotEmulated> {
        self.read(at, data)
    }

    fn port_in(&mut self, port: u16, data: &mut [u8]) -> Result<(), NotEmulated> {
        data.fill(port as u8);
        Ok(())
    }

    fn port_out(&mut self, port: u16, data: &[u8]) -> Result<(), NotEmulated> {
        if !port.is_multiple_of(2) {
            return Err(NotEmulated);
        }
        self.out.extend(data);
        Ok(())
    }
}

/// Makes the CPU state from the first 80 bytes, fills memory with the others, and runs one burst. Returns the number of
/// instructions and repetitions.
pub fn fuzz(bytes: &[u8]) -> u32 {
    let Some((state, code)) = bytes.split_at_checked(80).filter(|(_, code)| !code.is_empty()) else { return 0 };
    let dword = |n: usize| {
        state.get(n * 4..n * 4 + 4).map_or(0, |bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    let bit = |n: u32| dword(19) >> n & 1 != 0;
    let paging = Paging {
        pg: bit(0) && bit(1),
        wp: bit(2),
        pse: bit(3),
        pae: bit(4),
        nxe: bit(5),
        user: bit(6),
        cr3: dword(18) % RAM as u32,
    };
    let segments = std::array::from_fn(|n| Segment {
        // Mostly an address in RAM.
        base: if bit(7) { dword(10 + n) } else { dword(10 + n) & 0x1_ffff },
        limit: if bit(8 + n as u32) { u32::MAX } else { dword(10 + n) >> 16 },
        readable: bit(14) || n != 5,
        writable: bit(15) || n != 4,
        big: bit(16 + n as u32),
    });
    let regs = std::array::from_fn(|n| if bit(22 + n as u32) { dword(n) } else { dword(n) & 0xffff });
    let mut cpu = Cpu::new(regs, dword(8) & 0xffff, dword(9), segments, paging, bit(30));
    let mut ram = Ram { device: 0x1_0000..0x2_0000, ..Ram::new(code.repeat(RAM.div_ceil(code.len()))) };
    let mut budget = BURST_MAX;
    while budget > 0 && step(&mut cpu, &mut ram, &mut budget).is_ok() {
        budget = budget.saturating_sub(1);
    }
    BURST_MAX - budget
}
