//! The configuration space of one function (PCI 2.1, chapter 6).
//!
//! Masks say what software can change; they are made once, by the device's constructor. Only the bytes are state.

use crate::RestoreError;
use serde::{Deserialize, Serialize};

/// Command register, offset 04h.
pub const COMMAND: usize = 0x04;
/// Status register, offset 06h.
pub const STATUS: usize = 0x06;
const BAR0: usize = 0x10;
const ROM: usize = 0x30;
const COMMAND_IO: u8 = 1 << 0;
const COMMAND_MEMORY: u8 = 1 << 1;
const COMMAND_MASTER: u8 = 1 << 2;

/// One function's configuration space.
#[derive(Clone, Debug)]
pub struct ConfigSpace {
    bytes: [u8; 256],
    initial: [u8; 256],
    /// Bits that software can write.
    writable: [u8; 256],
    /// Bits that software clears by writing 1.
    clear: [u8; 256],
    bars: [Bar; 7],
}

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

/// What a write may have changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The command register or a base address register changed: the device's regions are others now.
    pub mapping: bool,
}

impl ConfigSpace {
    /// A type 0 header. `class` is base class, sub-class and programming interface, as in 010180h.
    pub fn new(vendor: u16, device: u16, class: u32, revision: u8) -> Self {
        let mut space =
            Self { bytes: [0; 256], initial: [0; 256], writable: [0; 256], clear: [0; 256], bars: [Bar::None; 7] };
        space = space
            .preset(0x00, &vendor.to_le_bytes())
            .preset(0x02, &device.to_le_bytes())
            .preset(0x08, &[revision])
            .preset(0x09, &class.to_le_bytes()[..3]);
        // Command: I/O, memory, master, SERR#; parity and the rest are fixed. Status: the error bits, write 1 to clear.
        space.writable[COMMAND] = 0x07;
        space.writable[COMMAND + 1] = 0x01;
        space.clear[STATUS + 1] = 0xf9;
        // Cache line size, latency timer and interrupt line are scratch for software.
        space.writable[0x0c] = 0xff;
        space.writable[0x0d] = 0xff;
        space.writable[0x3c] = 0xff;
        space
    }

    /// Presets bytes, at power-on and after every reset.
    pub fn preset(mut self, register: usize, bytes: &[u8]) -> Self {
        self.initial[register..register + bytes.len()].copy_from_slice(bytes);
        self.bytes = self.initial;
        self
    }

    /// Makes bits writable, byte by byte from `register` on.
    pub fn writable(mut self, register: usize, masks: &[u8]) -> Self {
        self.writable[register..register + masks.len()].copy_from_slice(masks);
        self
    }

    /// Makes bits cleared by writing 1, byte by byte from `register` on.
    pub fn write_1_to_clear(mut self, register: usize, masks: &[u8]) -> Self {
        self.clear[register..register + masks.len()].copy_from_slice(masks);
        self
    }

    /// Subsystem vendor and id.
    pub fn subsystem(self, vendor: u16, id: u16) -> Self {
        self.preset(0x2c, &vendor.to_le_bytes()).preset(0x2e, &id.to_le_bytes())
    }

    /// The interrupt pin: 1 for INTA#.
    pub fn interrupt_pin(self, pin: u8) -> Self {
        self.preset(0x3d, &[pin])
    }

    /// Says that the slot has more functions.
    pub fn multifunction(self) -> Self {
        let header = self.initial[0x0e] | 0x80;
        self.preset(0x0e, &[header])
    }

    /// An I/O base address register; `size` is a power of two from 4 on.
    pub fn io_bar(mut self, n: usize, size: u32) -> Self {
        self.bars[n] = Bar::Io(size);
        self.writable(BAR0 + 4 * n, &(!(size - 1)).to_le_bytes()).preset(BAR0 + 4 * n, &[1])
    }

    /// A 32-bit memory base address register; `size` is a power of two from 16 on.
    pub fn memory_bar(mut self, n: usize, size: u32, prefetchable: bool) -> Self {
        self.bars[n] = Bar::Memory(size);
        self.writable(BAR0 + 4 * n, &(!(size - 1)).to_le_bytes())
            .preset(BAR0 + 4 * n, &[if prefetchable { 8 } else { 0 }])
    }

    /// The expansion ROM base address register; `size` is a power of two from 2 KiB on.
    pub fn rom_bar(mut self, size: u32) -> Self {
        self.bars[6] = Bar::Memory(size);
        self.writable(ROM, &(!(size - 1) | 1).to_le_bytes())
    }

    /// Software reads, any size and alignment.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        for (n, byte) in data.iter_mut().enumerate() {
            *byte = usize::try_from(offset).ok().and_then(|at| self.bytes.get(at + n)).copied().unwrap_or(0xff);
        }
    }

    /// Software writes, any size and alignment, byte by byte.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Written {
        let before = self.mapping();
        for (n, value) in data.iter().enumerate() {
            let Some(at) = usize::try_from(offset).ok().map(|at| at + n).filter(|&at| at < 256) else { break };
            let old = self.bytes[at];
            self.bytes[at] = (old & !self.writable[at] | value & self.writable[at]) & !(value & self.clear[at]);
        }
        Written { mapping: self.mapping() != before }
    }

    /// A byte of the space, for the device itself.
    pub fn byte(&self, register: u8) -> u8 {
        self.bytes[usize::from(register)]
    }

    /// A little-endian word of the space, for the device itself; FFh past the end.
    pub fn word(&self, register: u8) -> u16 {
        let mut data = [0; 2];
        self.read(register.into(), &mut data);
        u16::from_le_bytes(data)
    }

    /// A little-endian dword of the space, for the device itself; FFh past the end.
    pub fn dword(&self, register: u8) -> u32 {
        let mut data = [0; 4];
        self.read(register.into(), &mut data);
        u32::from_le_bytes(data)
    }

    /// Sets a byte, whatever the masks say, for the device itself.
    pub fn set_byte(&mut self, register: u8, value: u8) {
        self.bytes[usize::from(register)] = value;
    }

    /// Whether the function answers I/O.
    pub fn io_enabled(&self) -> bool {
        self.bytes[COMMAND] & COMMAND_IO != 0
    }

    /// Whether the function answers memory.
    pub fn memory_enabled(&self) -> bool {
        self.bytes[COMMAND] & COMMAND_MEMORY != 0
    }

    /// Whether the function may be a bus master.
    pub fn bus_master(&self) -> bool {
        self.bytes[COMMAND] & COMMAND_MASTER != 0
    }

    /// Where base address register `n` (0 to 5) is decoded now: none while it or the function is disabled, or while it
    /// still holds 0 or the all-ones of a size probe.
    pub fn bar(&self, n: usize) -> Option<u64> {
        let raw = self.dword(u8::try_from(BAR0 + 4 * n).ok()?);
        match self.bars.get(n)? {
            Bar::Io(size) if self.io_enabled() => {
                let base = raw & !3;
                (base != 0 && base <= 0x1_0000 - size).then_some(base.into())
            }
            Bar::Memory(size) if self.memory_enabled() => decoded(raw & !0xf, *size),
            _ => None,
        }
    }

    /// Where the expansion ROM is decoded now.
    pub fn rom(&self) -> Option<u64> {
        let raw = self.dword(ROM as u8);
        match self.bars[6] {
            Bar::Memory(size) if self.memory_enabled() && raw & 1 == 1 => decoded(raw & !0x7ff, size),
            _ => None,
        }
    }

    fn mapping(&self) -> ([u8; 2], [u8; 24], [u8; 4]) {
        let mut all = ([0; 2], [0; 24], [0; 4]);
        all.0.copy_from_slice(&self.bytes[COMMAND..COMMAND + 2]);
        all.1.copy_from_slice(&self.bytes[BAR0..BAR0 + 24]);
        all.2.copy_from_slice(&self.bytes[ROM..ROM + 4]);
        all
    }

    /// Back to the preset bytes.
    pub fn reset(&mut self) {
        self.bytes = self.initial;
    }

    /// For a device's saved state.
    pub fn save(&self) -> ConfigState {
        ConfigState(self.bytes.to_vec())
    }

    /// Whether `state` is one that this function can have: nothing differs from its preset but what software or
    /// (`device_owned`, as (register, mask)) the device itself can change.
    pub fn accepts(&self, state: &ConfigState, device_owned: &[(u8, u8)]) -> bool {
        state.0.len() == 256
            && (0..256).all(|at| {
                let own = device_owned.iter().filter(|(r, _)| usize::from(*r) == at).fold(0, |m, (_, mask)| m | mask);
                (state.0[at] ^ self.initial[at]) & !(self.writable[at] | self.clear[at] | own) == 0
            })
    }

    /// Takes a saved state.
    ///
    /// # Errors
    /// If `accepts` says no.
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

/// Memory below 1 MiB and at the very top (where a size probe points) is not decoded for a BAR.
fn decoded(base: u32, size: u32) -> Option<u64> {
    (base >= 0x10_0000 && u64::from(base) + u64::from(size) <= 0xfec0_0000).then_some(base.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> ConfigSpace {
        ConfigSpace::new(0x8086, 0x7010, 0x01_0180, 0).io_bar(4, 16).memory_bar(0, 0x1000, true).interrupt_pin(1)
    }

    #[test]
    fn a_bar_is_sized_by_writing_ones() {
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
        assert!(!space.write(0x3c, &[11]).mapping);
    }

    #[test]
    fn status_bits_clear_on_one_and_ids_stay() {
        let mut space = space();
        space.set_byte(7, 0x28);
        space.write(4, &[0, 0, 0, 0x08]);
        assert_eq!(space.byte(7), 0x20, "byte-wise: writing the dword cleared one bit only");
        space.write(0, &[0; 4]);
        assert_eq!(space.dword(0), 0x7010_8086);
    }

    #[test]
    fn odd_accesses_at_the_end_are_cut() {
        let mut space = space();
        assert_eq!(space.write(0xfe, &[0xff; 4]), Written::default());
        let mut data = [0; 4];
        space.read(0xfe, &mut data);
        assert_eq!(data, [0, 0, 0xff, 0xff]);
    }
}
