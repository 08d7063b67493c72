//! Any state and any code, for the fuzzer and for a test.

use super::{Bus, Cpu, MOST, Paging, Segment, Stop, step};
use std::ops::Range;

const RAM: usize = 1 << 18;

/// RAM, and a device with the even ports, for the fuzzer and for tests.
pub(super) struct Ram {
    pub bytes: Vec<u8>,
    /// What is not to be reached.
    pub forbidden: Range<u32>,
    /// What is a device's.
    pub device: Range<u32>,
    /// What was written to ports.
    pub out: Vec<u8>,
}

impl Ram {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, forbidden: 0..0, device: 0..0, out: Vec::new() }
    }

    fn part(&mut self, at: u32, len: usize) -> Result<&mut [u8], Stop> {
        if self.forbidden.contains(&at) {
            return Err(Stop);
        }
        self.bytes.get_mut(at as usize..).and_then(|rest| rest.get_mut(..len)).ok_or(Stop)
    }
}

impl Bus for Ram {
    fn read(&mut self, at: u32, data: &mut [u8]) -> Result<(), Stop> {
        data.copy_from_slice(self.part(at, data.len())?);
        Ok(())
    }

    fn write(&mut self, at: u32, data: &[u8]) -> Result<(), Stop> {
        self.part(at, data.len())?.copy_from_slice(data);
        Ok(())
    }

    fn is_device(&mut self, at: u32, _: usize) -> bool {
        self.device.contains(&at)
    }

    fn read_code(&mut self, at: u32, data: &mut [u8]) -> Result<(), Stop> {
        self.read(at, data)
    }

    fn read_table(&mut self, at: u32, data: &mut [u8]) -> Result<(), Stop> {
        self.read(at, data)
    }

    fn port_in(&mut self, port: u16, data: &mut [u8]) -> Result<(), Stop> {
        data.fill(port as u8);
        Ok(())
    }

    fn port_out(&mut self, port: u16, data: &[u8]) -> Result<(), Stop> {
        if !port.is_multiple_of(2) {
            return Err(Stop);
        }
        self.out.extend(data);
        Ok(())
    }
}

/// Takes a processor's state from `bytes`, and the rest for what is in memory; gives how many instructions there were.
pub fn fuzz(bytes: &[u8]) -> u32 {
    let Some((state, code)) = bytes.split_at_checked(80).filter(|(_, code)| !code.is_empty()) else { return 0 };
    let long = |n: usize| {
        state.get(n * 4..n * 4 + 4).map_or(0, |bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    let bit = |n: u32| long(19) >> n & 1 != 0;
    let paging = Paging {
        on: bit(0) && bit(1),
        write_protect: bit(2),
        large: bit(3),
        pae: bit(4),
        no_execute: bit(5),
        user: bit(6),
        directory: long(18) % RAM as u32,
    };
    let segments = std::array::from_fn(|n| Segment {
        // Mostly within RAM.
        base: if bit(7) { long(10 + n) } else { long(10 + n) & 0x1_ffff },
        limit: if bit(8 + n as u32) { u32::MAX } else { long(10 + n) >> 16 },
        readable: bit(14) || n != 5,
        writable: bit(15) || n != 4,
        big: bit(16 + n as u32),
    });
    let regs = std::array::from_fn(|n| if bit(22 + n as u32) { long(n) } else { long(n) & 0xffff });
    let mut cpu = Cpu::new(regs, long(8) & 0xffff, long(9), segments, paging, bit(30));
    let mut ram = Ram { device: 0x1_0000..0x2_0000, ..Ram::new(code.repeat(RAM.div_ceil(code.len()))) };
    let mut budget = MOST;
    while budget > 0 && step(&mut cpu, &mut ram, &mut budget).is_ok() {
        budget = budget.saturating_sub(1);
    }
    MOST - budget
}
