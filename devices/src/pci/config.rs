//! Configuration space of a PCI function, type 0 header (PCI 2.1, chapter 6).
//!
//! The device's constructor sets the write masks. Only the 256 bytes are saved state.

use crate::RestoreError;
use serde::{Deserialize, Serialize};

/// Offset of PCICMD, the command register.
pub const COMMAND: usize = 0x04;
/// Offset of PCISTS, the status register.
pub const STATUS: usize = 0x06;
const BAR0: usize = 0x10;
const ROM_BAR: usize = 0x30;
/// PCICMD: I/O space enable.
const COMMAND_IO: u8 = 1 << 0;
/// PCICMD: memory space enable.
const COMMAND_MEMORY: u8 = 1 << 1;
/// PCICMD: bus master enable.
const COMMAND_MASTER: u8 = 1 << 2;

/// Configuration space of one function.
#[derive(Clone, Debug)]
pub struct ConfigSpace {
    bytes: [u8; 256],
    /// Reset values.
    initial: [u8; 256],
    /// Bits that the guest can write.
    writable: [u8; 256],
    /// Bits that the guest clears by writing 1.
    write_1_to_clear: [u8; 256],
    /// BAR0 to BAR5, then the expansion ROM's.
    bars: [Bar; 7],
}

/// A base address register: its space and its size in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Bar {
    #[default]
    None,
    Io(u32),
    Memory(u32),
}

/// [`ConfigSpace`] in a saved state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigState(Vec<u8>);

/// Effects of a write to configuration space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfigWrite {
    /// PCICMD or a base address register changed, so [`crate::Device::regions`] may return other regions.
    pub mapping: bool,
}

impl ConfigSpace {
    /// A type 0 header. `class` is base class, sub-class and programming interface, as in 010180h.
    pub fn new(vendor: u16, device: u16, class: u32, revision: u8) -> Self {
        let mut space = Self {
            bytes: [0; 256],
            initial: [0; 256],
            writable: [0; 256],
            write_1_to_clear: [0; 256],
            bars: [Bar::None; 7],
        };
        space = space
            .preset(0x00, &vendor.to_le_bytes())
            .preset(0x02, &device.to_le_bytes())
            .preset(0x08, &[revision])
            .preset(0x09, &class.to_le_bytes()[..3]);
        // PCICMD: I/O, memory, bus master and SERR# enables are writable; parity and the rest are hardwired to 0.
        // PCISTS: the error bits are cleared by writing 1.
        space.writable[COMMAND] = 0x07;
        space.writable[COMMAND + 1] = 0x01;
        space.write_1_to_clear[STATUS + 1] = 0xf9;
        // CLS, MLT and INTLN: the guest's writes have no effect but read back.
        space.writable[0x0c] = 0xff;
        space.writable[0x0d] = 0xff;
        space.writable[0x3c] = 0xff;
        space
    }

    /// Sets the reset values of bytes from `register` on.
    pub fn preset(mut self, register: usize, bytes: &[u8]) -> Self {
        self.initial[register..register + bytes.len()].copy_from_slice(bytes);
        self.bytes = self.initial;
        self
    }

    /// Sets the write masks of bytes from `register` on.
    pub fn writable(mut self, register: usize, masks: &[u8]) -> Self {
        self.writable[register..register + masks.len()].copy_from_slice(masks);
        self
    }

    /// Sets the write-1-to-clear masks of bytes from `register` on.
    pub fn write_1_to_clear(mut self, register: usize, masks: &[u8]) -> Self {
        self.write_1_to_clear[register..register + masks.len()].copy_from_slice(masks);
        self
    }

    /// Sets SVID and SID, the subsystem vendor and device IDs.
    pub fn subsystem(self, vendor: u16, id: u16) -> Self {
        self.preset(0x2c, &vendor.to_le_bytes()).preset(0x2e, &id.to_le_bytes())
    }

    /// Sets INTPN, the interrupt pin: 1 for INTA#.
    pub fn interrupt_pin(self, pin: u8) -> Self {
        self.preset(0x3d, &[pin])
    }

    /// Sets the multifunction bit of HEDT.
    pub fn multifunction(self) -> Self {
        let header = self.initial[0x0e] | 0x80;
        self.preset(0x0e, &[header])
    }

    /// Adds an I/O base address register. `size` is a power of two, at least 4 bytes.
    pub fn io_bar(mut self, n: usize, size: u32) -> Self {
        self.bars[n] = Bar::Io(size);
        self.writable(BAR0 + 4 * n, &(!(size - 1)).to_le_bytes()).preset(BAR0 + 4 * n, &[1])
    }

    /// Adds a 32-bit memory base address register. `size` is a power of two, at least 16 bytes.
    pub fn memory_bar(mut self, n: usize, size: u32, prefetchable: bool) -> Self {
        self.bars[n] = Bar::Memory(size);
        self.writable(BAR0 + 4 * n, &(!(size - 1)).to_le_bytes())
            .preset(BAR0 + 4 * n, &[if prefetchable { 8 } else { 0 }])
    }

    /// Adds the expansion ROM base address register. `size` is a power of two, at least 2 KiB.
    pub fn rom_bar(mut self, size: u32) -> Self {
        self.bars[6] = Bar::Memory(size);
        self.writable(ROM_BAR, &(!(size - 1) | 1).to_le_bytes())
    }

    /// The guest reads, any size and alignment.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        for (n, byte) in data.iter_mut().enumerate() {
            *byte = usize::try_from(offset).ok().and_then(|at| self.bytes.get(at + n)).copied().unwrap_or(0xff);
        }
    }

    /// The guest writes, any size and alignment. The masks apply byte by byte.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> ConfigWrite {
        let before = self.mapping();
        for (n, value) in data.iter().enumerate() {
            let Some(at) = usize::try_from(offset).ok().map(|at| at + n).filter(|&at| at < 256) else { break };
            let old = self.bytes[at];
            self.bytes[at] =
                (old & !self.writable[at] | value & self.writable[at]) & !(value & self.write_1_to_clear[at]);
        }
        ConfigWrite { mapping: self.mapping() != before }
    }

    /// Reads a byte, for the device itself.
    pub fn byte(&self, register: u8) -> u8 {
        self.bytes[usize::from(register)]
    }

    /// Reads a little-endian word, for the device itself. Bytes past the end read as FFh.
    pub fn word(&self, register: u8) -> u16 {
        let mut data = [0; 2];
        self.read(register.into(), &mut data);
        u16::from_le_bytes(data)
    }

    /// Reads a little-endian dword, for the device itself. Bytes past the end read as FFh.
    pub fn dword(&self, register: u8) -> u32 {
        let mut data = [0; 4];
        self.read(register.into(), &mut data);
        u32::from_le_bytes(data)
    }

    /// Sets a byte regardless of the write masks, for the device itself.
    pub fn set_byte(&mut self, register: u8, value: u8) {
        self.bytes[usize::from(register)] = value;
    }

    /// Whether PCICMD enables the function's I/O space.
    pub fn io_enabled(&self) -> bool {
        self.bytes[COMMAND] & COMMAND_IO != 0
    }

    /// Whether PCICMD enables the function's memory space.
    pub fn memory_enabled(&self) -> bool {
        self.bytes[COMMAND] & COMMAND_MEMORY != 0
    }

    /// Whether PCICMD enables bus mastering.
    pub fn bus_master(&self) -> bool {
        self.bytes[COMMAND] & COMMAND_MASTER != 0
    }

    /// The address that base address register `n` (0 to 5) decodes. `None` if the space is disabled in PCICMD, or if
    /// the register holds 0 or the all-ones of a size probe.
    pub fn bar(&self, n: usize) -> Option<u64> {
        let raw = self.dword(u8::try_from(BAR0 + 4 * n).ok()?);
        match self.bars.get(n)? {
            Bar::Io(size) if self.io_enabled() => {
                let base = raw & !3;
                (base != 0 && base <= 0x1_0000 - size).then_some(base.into())
            }
            Bar::Memory(size) if self.memory_enabled() => decoded_base(raw & !0xf, *size),
            _ => None,
        }
    }

    /// The address that the expansion ROM decodes, as for [`ConfigSpace::bar`].
    pub fn rom(&self) -> Option<u64> {
        let raw = self.dword(ROM_BAR as u8);
        match self.bars[6] {
            Bar::Memory(size) if self.memory_enabled() && raw & 1 == 1 => decoded_base(raw & !0x7ff, size),
            _ => None,
        }
    }

    /// The registers that decide which addresses the function decodes: PCICMD, BAR0 to BAR5, ROM BAR.
    fn mapping(&self) -> ([u8; 2], [u8; 24], [u8; 4]) {
        let mut all = ([0; 2], [0; 24], [0; 4]);
        all.0.copy_from_slice(&self.bytes[COMMAND..COMMAND + 2]);
        all.1.copy_from_slice(&self.bytes[BAR0..BAR0 + 24]);
        all.2.copy_from_slice(&self.bytes[ROM_BAR..ROM_BAR + 4]);
        all
    }

    /// Restores the reset values.
    pub fn reset(&mut self) {
        self.bytes = self.initial;
    }

    /// The bytes, for a device's saved state.
    pub fn save(&self) -> ConfigState {
        ConfigState(self.bytes.to_vec())
    }

    /// Whether `state` is valid for this function: only bits that the guest can change, or the device itself
    /// (`device_owned`, as (register, mask)), differ from their reset values.
    pub fn accepts(&self, state: &ConfigState, device_owned: &[(u8, u8)]) -> bool {
        state.0.len() == 256
            && (0..256).all(|at| {
                let own = device_owned.iter().filter(|(r, _)| usize::from(*r) == at).fold(0, |m, (_, mask)| m | mask);
                (state.0[at] ^ self.initial[at]) & !(self.writable[at] | self.write_1_to_clear[at] | own) == 0
            })
    }

    /// Restores a saved state.
    ///
    /// # Errors
    /// If [`ConfigSpace::accepts`] rejects it.
    pub fn load(
        &mut self,
        kind: &'static str,
        state: &ConfigState,
        device_owned: &[(u8, u8)],
    ) -> Result<(), RestoreError> {
        if !self.accepts(state, device_owned) {
            return Err(RestoreError::Impossible { kind, what: "PCI configuration space" });
        }
        self.bytes.copy_from_slice(&state.0);
        Ok(())
    }
}

/// A memory BAR is decoded only from 1 MiB up to FEC00000h: not over legacy memory, the I/O APIC or the address that a
/// size probe leaves.
fn decoded_base(base: u32, size: u32) -> Option<u64> {
    (base >= 0x10_0000 && u64::from(base) + u64::from(size) <= 0xfec0_0000).then_some(base.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> ConfigSpace {
        ConfigSpace::new(0x8086, 0x7010, 0x01_0180, 0).io_bar(4, 16).memory_bar(0, 0x1000, true).interrupt_pin(1)
    }

    #[test]
    fn writing_ones_to_a_bar_reads_back_its_size() {
        let mut space = space();
        space.write(0x20, &[0xff; 4]);
        assert_eq!(space.dword(0x20), 0xffff_fff1);
        space.write(0x10, &[0xff; 4]);
        assert_eq!(space.dword(0x10), 0xffff_f008);
        space.write(0x14, &[0xff; 4]);
        assert_eq!(space.dword(0x14), 0, "an absent BAR reads zero");
    }

    #[test]
    fn a_bar_is_decoded_only_when_enabled_and_set() {
        let mut space = space();
        assert!(space.write(0x20, &0xc001_u32.to_le_bytes()).mapping);
        assert_eq!(space.bar(4), None);
        assert!(space.write(4, &[1]).mapping);
        assert_eq!(space.bar(4), Some(0xc000));
        space.write(0x20, &[0xff; 4]);
        assert_eq!(space.bar(4), None, "a size probe maps nothing");
        assert!(!space.write(0x3c, &[11]).mapping, "INTLN does not change the mapping");
    }

    #[test]
    fn writing_1_clears_a_status_bit_and_ids_are_read_only() {
        let mut space = space();
        space.set_byte(7, 0x28);
        space.write(4, &[0, 0, 0, 0x08]);
        assert_eq!(space.byte(7), 0x20, "a dword write clears only the bits written as 1");
        space.write(0, &[0; 4]);
        assert_eq!(space.dword(0), 0x7010_8086);
    }

    #[test]
    fn an_access_past_the_end_of_the_space_is_truncated() {
        let mut space = space();
        assert_eq!(space.write(0xfe, &[0xff; 4]), ConfigWrite::default());
        let mut data = [0; 4];
        space.read(0xfe, &mut data);
        assert_eq!(data, [0, 0, 0xff, 0xff]);
    }
}
