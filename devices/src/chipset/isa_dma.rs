//! ISA DMA: two Intel 8237A controllers with page registers, part of the PIIX3 (8237A data sheet 231466-005; 82371SB
//! data sheet, 2.5.1).
//!
//! Ports: 00h-0Fh (channels 0 to 3, byte transfers), C0h-DFh (channels 4 to 7, word transfers; a register at every
//! second port), page registers 81h-8Fh. Port 80h belongs to [`crate::debug`]. No IRQ.
//!
//! A device requests a transfer by [`Ctx::isa_dma`]; the board carries it out by [`IsaDma::serve`]. Not implemented:
//! memory-to-memory transfers, which a PC cannot do; DREQ and DACK polarity, priorities and timing, which the guest cannot
//! observe.

use crate::pci::{RegisterNames, register_name};
use crate::{Access, Ctx, Device, Memory, Region, RestoreError};
use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};

/// Ports of the first controller, channels 0 to 3.
pub const PORT_BYTES: u16 = 0x00;
/// Ports of the second controller, channels 4 to 7.
pub const PORT_WORDS: u16 = 0xc0;
/// Page registers, without port 80h.
pub const PORT_PAGES: u16 = 0x81;
const TAG_BYTES: u8 = 0;
const TAG_WORDS: u8 = 1;
const TAG_PAGES: u8 = 2;

/// Offsets from [`PORT_PAGES`] of the page registers of channels 0 to 7. Channel 4's is the memory refresh page.
const PAGE_OF_CHANNEL: [usize; 8] = [6, 2, 0, 1, 0xe, 0xa, 8, 9];

// Registers of a controller (8237A data sheet, figures 5 and 6), by register number.
const COMMAND: u64 = 0x8;
const REQUEST: u64 = 0x9;
const SINGLE_MASK: u64 = 0xa;
const MODE: u64 = 0xb;
const CLEAR_BYTE_POINTER: u64 = 0xc;
const MASTER_CLEAR: u64 = 0xd;
const CLEAR_MASK: u64 = 0xe;
const ALL_MASK: u64 = 0xf;

/// The first controller's registers by register number, in the PIIX3 data sheet's names: read/write.
const NAMES_0_TO_3: &RegisterNames = &[
    (0x0..=0x0, "DBADDR0"),
    (0x1..=0x1, "DBCNT0"),
    (0x2..=0x2, "DBADDR1"),
    (0x3..=0x3, "DBCNT1"),
    (0x4..=0x4, "DBADDR2"),
    (0x5..=0x5, "DBCNT2"),
    (0x6..=0x6, "DBADDR3"),
    (0x7..=0x7, "DBCNT3"),
    (0x8..=0x8, "DS/DCOM"),
    (0x9..=0x9, "DR"),
    (0xa..=0xa, "WSMB"),
    (0xb..=0xb, "DCM"),
    (0xc..=0xc, "DCBP"),
    (0xd..=0xd, "DMC"),
    (0xe..=0xe, "DCLM"),
    (0xf..=0xf, "RWAMB"),
];

/// The second controller's channel registers. The others have the names of the first controller's.
const NAMES_4_TO_7: &RegisterNames = &[
    (0x0..=0x0, "DBADDR4"),
    (0x1..=0x1, "DBCNT4"),
    (0x2..=0x2, "DBADDR5"),
    (0x3..=0x3, "DBCNT5"),
    (0x4..=0x4, "DBADDR6"),
    (0x5..=0x5, "DBCNT6"),
    (0x6..=0x6, "DBADDR7"),
    (0x7..=0x7, "DBCNT7"),
];

/// The page registers by offset from [`PORT_PAGES`]. Those of no channel have no name.
const NAMES_PAGES: &RegisterNames = &[
    (0x0..=0x0, "DLPAGE2"),
    (0x1..=0x1, "DLPAGE3"),
    (0x2..=0x2, "DLPAGE1"),
    (0x6..=0x6, "DLPAGE0"),
    (0x8..=0x8, "DLPAGE6"),
    (0x9..=0x9, "DLPAGE7"),
    (0xa..=0xa, "DLPAGE5"),
    (0xe..=0xe, "DLPAGE4"),
];

/// Direction of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the device to memory.
    ToMemory,
    /// From memory to the device.
    FromMemory,
}

/// Result of a transfer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransferResult {
    /// Bytes transferred: 0 if the channel is masked or programmed for something else.
    pub bytes: usize,
    /// The channel reached its terminal count (TC) with the last of them.
    pub terminal_count: bool,
}

/// A device's request for a transfer (DREQ), by [`Ctx::isa_dma`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DmaRequest {
    /// Channel 0 to 7.
    pub channel: u8,
    /// Direction.
    pub direction: Direction,
    /// The device's bytes, or the room for the memory's.
    pub data: Vec<u8>,
}

/// A request that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DmaDone {
    /// Channel 0 to 7.
    pub channel: u8,
    /// The request's data. From memory, as many bytes as `result` counts were filled.
    pub data: Vec<u8>,
    /// How much was transferred.
    pub result: TransferResult,
}

/// Mode register (DCM). The channel number is not stored.
#[bitfield(u8)]
#[derive(Serialize, Deserialize)]
struct ChannelMode {
    #[bits(2)]
    channel: u8,
    /// Transfer type: 0 verify, 1 write (to memory), 2 read (from memory), 3 illegal.
    #[bits(2)]
    transfer: u8,
    auto_initialize: bool,
    decrement: bool,
    /// Transfer mode: 0 demand, 1 single, 2 block, 3 cascade.
    #[bits(2)]
    mode: u8,
}

const TRANSFER_VERIFY: u8 = 0;
const TRANSFER_WRITE: u8 = 1;
const TRANSFER_READ: u8 = 2;
const TRANSFER_ILLEGAL: u8 = 3;
const MODE_CASCADE: u8 = 3;
/// Command register: controller disable.
const COMMAND_DISABLE: u8 = 1 << 2;

/// A channel's registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct DmaChannel {
    base_address: u16,
    base_count: u16,
    address: u16,
    count: u16,
    mode: u8,
}

/// One 8237.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Controller8237 {
    channels: [DmaChannel; 4],
    command: u8,
    /// Bit n: channel n is masked.
    mask: u8,
    /// Bit n: software DMA request of channel n.
    requests: u8,
    /// Bit n: channel n reached its terminal count.
    terminal_counts: u8,
    /// Byte pointer flip-flop: the next access to a 16-bit register is to its upper byte.
    upper_byte: bool,
}

impl Controller8237 {
    const RESET: Self = Self {
        channels: [DmaChannel { base_address: 0, base_count: 0, address: 0, count: 0, mode: 0 }; 4],
        command: 0,
        mask: 0xf,
        requests: 0,
        terminal_counts: 0,
        upper_byte: false,
    };

    /// Toggles the byte pointer flip-flop and returns its previous value.
    fn toggle_byte_pointer(&mut self) -> bool {
        self.upper_byte = !self.upper_byte;
        !self.upper_byte
    }

    fn read(&mut self, register: u64) -> u8 {
        match register {
            0..8 => {
                let channel = self.channels[(register / 2) as usize];
                let word = if register & 1 == 0 { channel.address } else { channel.count };
                word.to_le_bytes()[usize::from(self.toggle_byte_pointer())]
            }
            COMMAND => {
                let status = self.requests << 4 | self.terminal_counts;
                self.terminal_counts = 0;
                status
            }
            ALL_MASK => 0xf0 | self.mask,
            // The temporary register, which only memory-to-memory transfers fill.
            MASTER_CLEAR => 0,
            _ => 0xff,
        }
    }

    fn write(&mut self, cx: &mut Ctx<'_>, register: u64, value: u8) {
        let n = usize::from(value & 3);
        match register {
            0..8 => {
                let upper_byte = self.toggle_byte_pointer();
                let channel = &mut self.channels[(register / 2) as usize];
                let (base, current) = if register & 1 == 0 {
                    (&mut channel.base_address, &mut channel.address)
                } else {
                    (&mut channel.base_count, &mut channel.count)
                };
                let mut bytes = base.to_le_bytes();
                bytes[usize::from(upper_byte)] = value;
                *base = u16::from_le_bytes(bytes);
                *current = *base;
            }
            COMMAND => self.command = value,
            REQUEST => put_bit(&mut self.requests, n, value & 4 != 0),
            SINGLE_MASK => put_bit(&mut self.mask, n, value & 4 != 0),
            MODE => {
                let mode = ChannelMode::from_bits(value);
                if mode.transfer() == TRANSFER_ILLEGAL && mode.mode() != MODE_CASCADE {
                    cx.guest_error("illegal transfer type in DCM");
                }
                self.channels[n].mode = value & !3;
            }
            CLEAR_BYTE_POINTER => self.upper_byte = false,
            MASTER_CLEAR => {
                (self.command, self.mask, self.requests, self.terminal_counts, self.upper_byte) = (0, 0xf, 0, 0, false);
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
    controllers: [Controller8237; 2],
    /// Ports 81h to 8Fh.
    pages: [u8; 15],
}

/// [`IsaDma`] in a saved state.
#[derive(Debug, Serialize, Deserialize)]
pub struct IsaDmaState {
    controllers: [Controller8237; 2],
    pages: [u8; 15],
}

impl Default for IsaDma {
    fn default() -> Self {
        Self::new()
    }
}

impl IsaDma {
    /// The controllers at power-on: all channels are masked.
    pub fn new() -> Self {
        Self { controllers: [Controller8237::RESET; 2], pages: [0; 15] }
    }

    /// Carries out a device's request.
    pub fn serve(&mut self, memory: &Memory, request: DmaRequest) -> DmaDone {
        let DmaRequest { channel, direction, mut data } = request;
        let result = self.transfer(memory, channel.into(), &mut data, direction);
        DmaDone { channel, data, result }
    }

    /// Transfers up to `data.len()` bytes between a device on `channel` and guest memory, and stops at the terminal
    /// count. Channels 0 to 3 transfer bytes, 5 to 7 words; an odd last byte is not transferred. A channel that is
    /// masked, in cascade mode, or programmed for the other direction transfers nothing. A verify transfer counts but
    /// moves no data.
    pub fn transfer(
        &mut self,
        memory: &Memory,
        channel: usize,
        data: &mut [u8],
        direction: Direction,
    ) -> TransferResult {
        let Some(&page) = PAGE_OF_CHANNEL.get(channel) else { return TransferResult::default() };
        let page = u64::from(self.pages[page]);
        // The second controller counts words. Its channel 4 cascades the first controller.
        let (shift, n) = if channel < 4 { (0, channel) } else { (1, channel - 4) };
        // On a real PC a masked channel 4 also blocks channels 0 to 3. Software leaves it as the BIOS programs it, so
        // its mask and mode are not checked.
        let controller = &mut self.controllers[shift];
        let mode = ChannelMode::from_bits(controller.channels[n].mode);
        let direction_matches = match mode.transfer() {
            TRANSFER_VERIFY => true,
            TRANSFER_WRITE => direction == Direction::ToMemory,
            TRANSFER_READ => direction == Direction::FromMemory,
            _ => false,
        };
        if channel == 4
            || mode.mode() == MODE_CASCADE
            || !direction_matches
            || controller.command & COMMAND_DISABLE != 0
            || controller.mask >> n & 1 == 1
        {
            return TransferResult::default();
        }
        let state = &mut controller.channels[n];
        let unit = 1 << shift;
        let mut done = TransferResult::default();
        let mut rest = data;
        while rest.len() >= unit && !done.terminal_count {
            // Address lines from 16 up (17 for words) come from the page register, without carry.
            let at = (page & !(unit as u64 - 1)) << 16 | u64::from(state.address) << shift;
            // Units that follow each other in memory, up to the end of the page or the terminal count.
            let run = (0x1_0000 - usize::from(state.address)).min(usize::from(state.count) + 1);
            let run = if mode.decrement() { 1 } else { run.min(rest.len() / unit) };
            let (part, after) = rest.split_at_mut(run * unit);
            match mode.transfer() {
                TRANSFER_WRITE => memory.write(at, part),
                TRANSFER_READ => memory.read(at, part),
                _ => {}
            }
            state.address = state.address.wrapping_add(if mode.decrement() { u16::MAX } else { run as u16 });
            done.bytes += part.len();
            done.terminal_count = run > usize::from(state.count);
            state.count = state.count.wrapping_sub(run as u16);
            rest = after;
        }
        if done.terminal_count {
            controller.terminal_counts |= 1 << n;
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
            // Writes only latch a value until a device requests a transfer, which follows an access to that device.
            Region::io(PORT_BYTES, 16, TAG_BYTES).with_coalesce(0..16),
            Region::io(PORT_WORDS, 32, TAG_WORDS).with_coalesce(0..32),
            Region::io(PORT_PAGES, 15, TAG_PAGES).with_coalesce(0..15),
        ]
    }

    fn register_name(&self, at: Access) -> Option<&'static str> {
        match at.tag {
            TAG_BYTES => register_name(NAMES_0_TO_3, at.offset),
            TAG_WORDS => {
                let register = at.offset / 2;
                register_name(NAMES_4_TO_7, register).or_else(|| register_name(NAMES_0_TO_3, register))
            }
            TAG_PAGES => register_name(NAMES_PAGES, at.offset),
            _ => None,
        }
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

    fn write(&mut self, cx: &mut Ctx<'_>, at: Access, data: &[u8]) {
        for (offset, &value) in (at.offset..).zip(data) {
            match at.tag {
                TAG_BYTES => self.controllers[0].write(cx, offset, value),
                TAG_WORDS => self.controllers[1].write(cx, offset / 2, value),
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
        *controllers = [Controller8237::RESET; 2];
        *pages = [0; 15];
    }

    fn save(&self) -> IsaDmaState {
        let Self { controllers, pages } = self;
        IsaDmaState { controllers: *controllers, pages: *pages }
    }

    fn load(&mut self, state: IsaDmaState) -> Result<(), RestoreError> {
        let IsaDmaState { controllers, pages } = state;
        let is_valid = |c: &Controller8237| {
            (c.mask | c.requests | c.terminal_counts) & 0xf0 == 0
                && c.channels.iter().all(|channel| channel.mode & 3 == 0)
        };
        if !controllers.iter().all(is_valid) {
            return Err(RestoreError::Impossible { kind: Self::KIND, what: "DMA controller" });
        }
        (self.controllers, self.pages) = (controllers, pages);
        Ok(())
    }

    fn resync(&mut self, _cx: &mut Ctx<'_>) {}
}

#[cfg(test)]
mod tests;
