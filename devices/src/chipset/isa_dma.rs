//! Two Intel 8237A DMA controllers with page registers, as the PIIX3 contains them (8237A data sheet 231466-005;
//! 82371SB data sheet, 2.5.1).
//!
//! Ports: 00h-0Fh (channels 0 to 3, bytes), C0h-DFh (channels 4 to 7, words, registers at every other port), page
//! registers 81h-8Fh. Port 80h is [`crate::debug`]'s. No IRQ.
//!
//! A device with a DMA request calls [`IsaDma::transfer`]. Left out: memory to memory transfers (the PC cannot do
//! them), request and acknowledge polarities, priorities and timing, which nothing here can show.

use crate::{Access, Ctx, Device, Memory, Region, RestoreError};
use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};

/// First controller.
pub const PORT_BYTES: u16 = 0x00;
/// Second controller.
pub const PORT_WORDS: u16 = 0xc0;
/// Page registers, but for port 80h.
pub const PORT_PAGES: u16 = 0x81;
const TAG_BYTES: u8 = 0;
const TAG_WORDS: u8 = 1;
const TAG_PAGES: u8 = 2;

/// Offset from [`PORT_PAGES`] of the page registers of channels 0 to 7; channel 4's refreshes memory.
const PAGE_OF: [usize; 8] = [6, 2, 0, 1, 0xe, 0xa, 8, 9];

const COMMAND: u64 = 0x8;
const REQUEST: u64 = 0x9;
const SINGLE_MASK: u64 = 0xa;
const MODE: u64 = 0xb;
const CLEAR_FLIP_FLOP: u64 = 0xc;
const MASTER_CLEAR: u64 = 0xd;
const CLEAR_MASK: u64 = 0xe;
const ALL_MASK: u64 = 0xf;

/// Which way the device wants its data to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the device to memory.
    ToMemory,
    /// From memory to the device.
    FromMemory,
}

/// What came of a transfer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transferred {
    /// Bytes that the controller acknowledged: 0 if the channel is masked or programmed otherwise.
    pub bytes: usize,
    /// The count ran out with the last of them (TC).
    pub terminal_count: bool,
}

/// Mode register; the channel's number is not kept.
#[bitfield(u8)]
#[derive(Serialize, Deserialize)]
struct Mode {
    #[bits(2)]
    channel: u8,
    /// 0 verify, 1 write (to memory), 2 read.
    #[bits(2)]
    kind: u8,
    auto_initialize: bool,
    decrement: bool,
    /// 3 is cascade.
    #[bits(2)]
    protocol: u8,
}

const VERIFY: u8 = 0;
const WRITE: u8 = 1;
const READ: u8 = 2;
const CASCADE: u8 = 3;
/// Command register, bit 2: the controller is off.
const DISABLED: u8 = 1 << 2;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Channel {
    base_address: u16,
    base_count: u16,
    address: u16,
    count: u16,
    mode: u8,
}

/// One 8237.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Controller {
    channels: [Channel; 4],
    command: u8,
    /// Bit n: channel n is masked.
    mask: u8,
    /// Bit n: software requests channel n.
    requests: u8,
    /// Bit n: channel n reached its terminal count.
    reached: u8,
    /// The next byte of a 16-bit register is its upper one.
    upper: bool,
}

impl Controller {
    const RESET: Self = Self {
        channels: [Channel { base_address: 0, base_count: 0, address: 0, count: 0, mode: 0 }; 4],
        command: 0,
        mask: 0xf,
        requests: 0,
        reached: 0,
        upper: false,
    };

    fn flip(&mut self) -> bool {
        self.upper = !self.upper;
        !self.upper
    }

    fn read(&mut self, register: u64) -> u8 {
        match register {
            0..8 => {
                let channel = self.channels[(register / 2) as usize];
                let word = if register & 1 == 0 { channel.address } else { channel.count };
                word.to_le_bytes()[usize::from(self.flip())]
            }
            COMMAND => {
                let status = self.requests << 4 | self.reached;
                self.reached = 0;
                status
            }
            ALL_MASK => 0xf0 | self.mask,
            // The temporary register: only memory to memory transfers fill it.
            MASTER_CLEAR => 0,
            _ => 0xff,
        }
    }

    fn write(&mut self, register: u64, value: u8) {
        let n = usize::from(value & 3);
        match register {
            0..8 => {
                let upper = self.flip();
                let channel = &mut self.channels[(register / 2) as usize];
                let (base, current) = if register & 1 == 0 {
                    (&mut channel.base_address, &mut channel.address)
                } else {
                    (&mut channel.base_count, &mut channel.count)
                };
                let mut bytes = base.to_le_bytes();
                bytes[usize::from(upper)] = value;
                *base = u16::from_le_bytes(bytes);
                *current = *base;
            }
            COMMAND => self.command = value,
            REQUEST => put_bit(&mut self.requests, n, value & 4 != 0),
            SINGLE_MASK => put_bit(&mut self.mask, n, value & 4 != 0),
            MODE => self.channels[n].mode = value & !3,
            CLEAR_FLIP_FLOP => self.upper = false,
            MASTER_CLEAR => {
                (self.command, self.mask, self.requests, self.reached, self.upper) = (0, 0xf, 0, 0, false);
            }
            CLEAR_MASK => self.mask = 0,
            ALL_MASK => self.mask = value & 0xf,
            _ => {}
        }
    }
}

fn put_bit(bits: &mut u8, n: usize, set: bool) {
    *bits = *bits & !(1 << n) | u8::from(set) << n;
}

/// Both controllers.
#[derive(Debug)]
pub struct IsaDma {
    /// Channels 0 to 3, then 4 to 7.
    controllers: [Controller; 2],
    /// Ports 81h to 8Fh.
    pages: [u8; 15],
}

/// [`IsaDma`] in a saved state.
#[derive(Debug, Serialize, Deserialize)]
pub struct IsaDmaState {
    controllers: [Controller; 2],
    pages: [u8; 15],
}

impl Default for IsaDma {
    fn default() -> Self {
        Self::new()
    }
}

impl IsaDma {
    /// The controllers at power-on: everything masked.
    pub fn new() -> Self {
        Self { controllers: [Controller::RESET; 2], pages: [0; 15] }
    }

    /// A device on `channel` (0 to 3: bytes; 5 to 7: words, of which a half one is left alone) offers or asks for up to
    /// `data.len()` bytes. Ends early at the terminal count. A channel that is masked, in cascade, or programmed for
    /// the other direction acknowledges nothing; one that verifies counts and moves nothing.
    pub fn transfer(&mut self, memory: &Memory, channel: usize, data: &mut [u8], way: Direction) -> Transferred {
        let Some(&page) = PAGE_OF.get(channel) else { return Transferred::default() };
        let page = u64::from(self.pages[page]);
        // The second controller counts words; channel 4 is where the first one is cascaded.
        let (shift, n) = if channel < 4 { (0, channel) } else { (1, channel - 4) };
        // The first controller reaches the bus only through the second one's channel 4, but no PC software cascades it
        // any other way than the BIOS does: that channel's own mask and mode are not looked at.
        let controller = &mut self.controllers[shift];
        let mode = Mode::from_bits(controller.channels[n].mode);
        let agrees = match mode.kind() {
            VERIFY => true,
            WRITE => way == Direction::ToMemory,
            READ => way == Direction::FromMemory,
            _ => false,
        };
        if channel == 4
            || mode.protocol() == CASCADE
            || !agrees
            || controller.command & DISABLED != 0
            || controller.mask >> n & 1 == 1
        {
            return Transferred::default();
        }
        let state = &mut controller.channels[n];
        let unit = 1 << shift;
        let mut done = Transferred::default();
        for part in data.chunks_exact_mut(unit) {
            // Address lines 16 on (17 on for words) come from the page register and do not count.
            let at = (page & !(unit as u64 - 1)) << 16 | u64::from(state.address) << shift;
            match mode.kind() {
                WRITE => memory.write(at, part),
                READ => memory.read(at, part),
                _ => {}
            }
            state.address = state.address.wrapping_add(if mode.decrement() { u16::MAX } else { 1 });
            done.bytes += unit;
            let (count, borrow) = state.count.overflowing_sub(1);
            state.count = count;
            if borrow {
                done.terminal_count = true;
                break;
            }
        }
        if done.terminal_count {
            controller.reached |= 1 << n;
            controller.requests &= !(1 << n);
            let state = &mut controller.channels[n];
            if mode.auto_initialize() {
                (state.address, state.count) = (state.base_address, state.base_count);
            } else {
                controller.mask |= 1 << n;
            }
        }
        done
    }
}

impl Device for IsaDma {
    type State = IsaDmaState;
    const KIND: &'static str = "isa-dma";
    const VERSION: u32 = 1;

    fn regions(&self) -> Vec<Region> {
        vec![
            Region::io(PORT_BYTES, 16, TAG_BYTES),
            Region::io(PORT_WORDS, 32, TAG_WORDS),
            Region::io(PORT_PAGES, 15, TAG_PAGES),
        ]
    }

    fn read(&mut self, _cx: &mut Ctx<'_>, at: Access, data: &mut [u8]) {
        for (offset, byte) in (at.offset..).zip(data) {
            *byte = match at.tag {
                TAG_BYTES => self.controllers[0].read(offset),
                // Address line 0 is not decoded.
                TAG_WORDS => self.controllers[1].read(offset / 2),
                _ => self.pages.get(offset as usize).copied().unwrap_or(0xff),
            };
        }
    }

    fn write(&mut self, _cx: &mut Ctx<'_>, at: Access, data: &[u8]) {
        for (offset, &value) in (at.offset..).zip(data) {
            match at.tag {
                TAG_BYTES => self.controllers[0].write(offset, value),
                TAG_WORDS => self.controllers[1].write(offset / 2, value),
                _ => {
                    if let Some(page) = self.pages.get_mut(offset as usize) {
                        *page = value;
                    }
                }
            }
        }
    }

    fn reset(&mut self, _cx: &mut Ctx<'_>) {
        let Self { controllers, pages } = self;
        *controllers = [Controller::RESET; 2];
        *pages = [0; 15];
    }

    fn save(&self) -> IsaDmaState {
        let Self { controllers, pages } = self;
        IsaDmaState { controllers: *controllers, pages: *pages }
    }

    fn load(&mut self, state: IsaDmaState) -> Result<(), RestoreError> {
        let IsaDmaState { controllers, pages } = state;
        let possible = |c: &Controller| {
            (c.mask | c.requests | c.reached) & 0xf0 == 0 && c.channels.iter().all(|channel| channel.mode & 3 == 0)
        };
        if !controllers.iter().all(possible) {
            return Err(RestoreError::Impossible { kind: Self::KIND, what: "DMA controller" });
        }
        (self.controllers, self.pages) = (controllers, pages);
        Ok(())
    }

    fn resync(&mut self, _cx: &mut Ctx<'_>) {}
}

#[cfg(test)]
mod tests;
