//! 93C46 serial EEPROM: 64 words of 16 bits behind a Microwire interface (Microchip 93C46 data sheet, section 2), with
//! the contents that the RTL8139 reads (RTL8139C(L) data sheet, section 6).
//!
//! Programming completes at once. The guest's changes last until the machine ends.

use serde::{Deserialize, Serialize};

const WORDS: usize = 64;
/// Bits of an instruction after the start bit: opcode and address.
const INSTRUCTION_BITS: u8 = 8;
/// The word with the checksum: all words add up to 0. The data sheet defines the word's place but not the algorithm,
/// and the chip does not check it.
pub(super) const CHECKSUM_WORD: usize = 0x19;
const SIGNATURE: u16 = 0x8129;

/// Pins, by their bits in 9346CR.
pub(super) const CS: u8 = 1 << 3;
const SK: u8 = 1 << 2;
const DI: u8 = 1 << 1;
const DO: u8 = 1 << 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum ShiftState {
    /// Waiting for a start bit.
    Idle,
    /// Bits of the instruction received, and their number.
    Instruction(u8, u8),
    /// Address, and the number of bits of its word still to shift out.
    Read(u8, u8),
    /// Instruction, data received, and the number of data bits.
    Write(u8, u16, u8),
    /// The instruction is complete; only the fall of CS ends this state.
    Done,
}

/// The EEPROM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Eeprom {
    words: Vec<u16>,
    state: ShiftState,
    /// Levels of CS, SK and DI.
    inputs: u8,
    data_out: bool,
    /// EWEN was executed after the last EWDS.
    write_enabled: bool,
}

impl Eeprom {
    /// The factory contents.
    pub(super) fn new(mac: [u8; 6], subsystem: (u16, u16)) -> Self {
        let mut words = vec![0; WORDS];
        let fixed = [
            SIGNATURE,
            0x10ec,
            0x8139,
            subsystem.0,
            subsystem.1,
            // MNGNT 20h, MXLAT 40h.
            0x4020,
            // MSRBMCR, CONFIG3.
            0xc112,
        ];
        words[..7].copy_from_slice(&fixed);
        for (word, pair) in words[7..10].iter_mut().zip(mac.chunks_exact(2)) {
            *word = u16::from_le_bytes([pair[0], pair[1]]);
        }
        // CONFIG0 and CONFIG1; PMC; CONFIG4 in the upper byte.
        words[0x0a..0x0d].copy_from_slice(&[0x4d10, super::PMC, 0x8000]);
        words[CHECKSUM_WORD] = words.iter().fold(0u16, |sum, &word| sum.wrapping_sub(word));
        Self { words, state: ShiftState::Idle, inputs: 0, data_out: false, write_enabled: false }
    }

    /// Whether the state, from a saved state, is possible.
    pub(super) fn is_valid(&self) -> bool {
        self.words.len() == WORDS
            && match self.state {
                ShiftState::Idle | ShiftState::Done => true,
                ShiftState::Instruction(_, count) => count < INSTRUCTION_BITS,
                ShiftState::Read(_, left) => left <= 16,
                ShiftState::Write(_, _, count) => count < 16,
            }
    }

    /// A word, 0 to 63.
    pub(super) fn word(&self, at: usize) -> u16 {
        self.words.get(at).copied().unwrap_or(0xffff)
    }

    /// The MAC address.
    pub(super) fn mac(&self) -> [u8; 6] {
        let mut mac = [0; 6];
        for (pair, at) in mac.chunks_exact_mut(2).zip(7..) {
            pair.copy_from_slice(&self.word(at).to_le_bytes());
        }
        mac
    }

    /// The pins as 9346CR reads them.
    pub(super) fn pins(&self) -> u8 {
        self.inputs | if self.data_out { DO } else { 0 }
    }

    /// Software drives CS, SK and DI.
    pub(super) fn set_pins(&mut self, pins: u8) {
        let before = std::mem::replace(&mut self.inputs, pins & (CS | SK | DI));
        if pins & CS == 0 {
            self.state = ShiftState::Idle;
            // DO floats and is pulled up.
            self.data_out = true;
        } else if before & CS != 0 && pins & SK != 0 && before & SK == 0 {
            self.clock(pins & DI != 0);
        }
    }

    /// A rising edge of SK.
    fn clock(&mut self, bit: bool) {
        self.state = match self.state {
            ShiftState::Idle if bit => ShiftState::Instruction(0, 0),
            ShiftState::Instruction(bits, count) => {
                let (bits, count) = (bits << 1 | u8::from(bit), count + 1);
                if count < INSTRUCTION_BITS { ShiftState::Instruction(bits, count) } else { self.execute(bits) }
            }
            ShiftState::Read(at, 0) => {
                // Sequential read: the address advances.
                let next = (at + 1) & 0x3f;
                self.data_out = self.word(next.into()) >> 15 != 0;
                ShiftState::Read(next, 15)
            }
            ShiftState::Read(at, left) => {
                self.data_out = self.word(at.into()) >> (left - 1) & 1 != 0;
                ShiftState::Read(at, left - 1)
            }
            ShiftState::Write(instruction, data, count) => {
                let (data, count) = (data << 1 | u16::from(bit), count + 1);
                if count < 16 {
                    ShiftState::Write(instruction, data, count)
                } else {
                    let all = instruction >> 6 == 0;
                    self.program(if all { None } else { Some(instruction & 0x3f) }, data);
                    ShiftState::Done
                }
            }
            state => state,
        };
    }

    fn execute(&mut self, bits: u8) -> ShiftState {
        let at = bits & 0x3f;
        match (bits >> 6, at >> 4) {
            (2, _) => {
                // READ outputs a dummy 0 bit before the word.
                self.data_out = false;
                return ShiftState::Read(at, 16);
            }
            (1, _) | (0, 1) => return ShiftState::Write(bits, 0, 0),
            (3, _) => self.program(Some(at), 0xffff),
            (0, 0) => self.write_enabled = false,
            (0, 2) => self.program(None, 0xffff),
            _ => self.write_enabled = true,
        }
        ShiftState::Done
    }

    /// Programs one word, or all. DO signals ready at once.
    fn program(&mut self, at: Option<u8>, data: u16) {
        self.data_out = true;
        if !self.write_enabled {
            return;
        }
        match at {
            Some(at) => {
                if let Some(word) = self.words.get_mut(usize::from(at)) {
                    *word = data;
                }
            }
            None => self.words.fill(data),
        }
    }
}
