//! The board as instructions see it that are carried out without the processor.

use super::Board;
use crate::ahead::{Bus, Stop};
use pcvm_devices::Memory;

/// The adapter's ports.
const VGA_PORTS: std::ops::RangeInclusive<u16> = 0x3b0..=0x3df;
const VGA_WINDOW: std::ops::Range<u64> = 0xa_0000..0xc_0000;

fn is_ram(memory: &Memory, at: u64, len: usize, write: bool) -> bool {
    let mut all = true;
    memory.pieces(at, len as u64, write, |slice, _| all &= slice.is_some());
    all
}

impl Board {
    /// Whether there is something to do without the lock.
    pub fn has_work(&self) -> bool {
        self.has_work
    }

    /// Whether these bytes are the adapter's, and pass through its logic.
    fn are_planes(&self, at: u64, len: usize) -> bool {
        VGA_WINDOW.contains(&at)
            && self.mem.iter().any(|mapped| {
                self.roles.vga == Some(mapped.device.into())
                    && mapped.region.video.is_none()
                    && mapped.region.base <= at
                    && at + len as u64 <= mapped.region.base + mapped.region.len
            })
    }
}

impl Bus for Board {
    fn read(&mut self, at: u32, data: &mut [u8]) -> Result<(), Stop> {
        if self.are_planes(at.into(), data.len()) {
            self.mem_read(at.into(), data);
            return Ok(());
        }
        self.read_code(at, data)
    }

    fn write(&mut self, at: u32, data: &[u8]) -> Result<(), Stop> {
        if self.are_planes(at.into(), data.len()) {
            self.mem_write(at.into(), data);
        } else if is_ram(&self.memory, at.into(), data.len(), true)
            && is_ram(&self.memory, at.into(), data.len(), false)
        {
            self.memory.write(at.into(), data);
        } else {
            return Err(Stop);
        }
        Ok(())
    }

    fn read_code(&mut self, at: u32, data: &mut [u8]) -> Result<(), Stop> {
        if is_ram(&self.memory, at.into(), data.len(), false) {
            self.memory.read(at.into(), data);
            return Ok(());
        }
        if self.rom.read(&self.shadow, at.into(), data) { Ok(()) } else { Err(Stop) }
    }

    fn read_table(&mut self, at: u32, data: &mut [u8]) -> Result<(), Stop> {
        if !is_ram(&self.memory, at.into(), data.len(), false) {
            return Err(Stop);
        }
        self.memory.read(at.into(), data);
        Ok(())
    }

    fn port_in(&mut self, port: u16, data: &mut [u8]) -> Result<(), Stop> {
        if !VGA_PORTS.contains(&port) {
            return Err(Stop);
        }
        Board::port_in(self, port, data.len() as u8, data);
        Ok(())
    }

    fn port_out(&mut self, port: u16, data: &[u8]) -> Result<(), Stop> {
        if !VGA_PORTS.contains(&port) {
            return Err(Stop);
        }
        Board::port_out(self, port, data.len() as u8, data);
        Ok(())
    }
}
