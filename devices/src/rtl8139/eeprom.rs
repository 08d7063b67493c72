//! The 93C46: 64 words of 16 bits behind four pins (Microwire; Microchip 93C46 data sheet, section 2), and what the
//! RTL8139 keeps there (RTL8139C(L) data sheet, section 6).
//!
//! Programming takes no time. What the guest writes there stays until the machine ends.

use serde::{Deserialize, Serialize};

const WORDS: usize = 64;
/// Bits of an instruction behind the start bit: opcode and address.
const INSTRUCTION: u8 = 8;
/// Where the checksum is: the words before and after it and itself add up to 0. The data sheet gives its place, not how it
/// is made, and the chip does not look at it.
pub(super) const CHECKSUM: usize = 0x19;
const ID: u16 = 0x8129;

/// Pins, as in the EEPROM command register.
pub(super) const CS: u8 = 1 << 3;
const SK: u8 = 1 << 2;
const DI: u8 = 1 << 1;
const DO: u8 = 1 << 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    /// Waits for a start bit.
    Idle,
    /// Bits of the instruction so far, and how many.
    Instruction(u8, u8),
    /// Address, and how many bits of its word are left to be shifted out.
    Read(u8, u8),
    /// Opcode and address, data so far, and how many bits.
    Write(u8, u16, u8),
    /// Done; what is programmed is programmed when CS falls.
    Done,
}

/// The EEPROM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Eeprom {
    words: Vec<u16>,
    phase: Phase,
    /// CS, SK and DI.
    pins: u8,
    out: bool,
    /// EWEN was the last of EWEN and EWDS.
    writable: bool,
}

impl Eeprom {
    /// As it leaves the factory.
    pub(super) fn new(mac: [u8; 6], subsystem: (u16, u16)) -> Self {
        let mut words = vec![0; WORDS];
        let fixed = [
            ID,
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
        // CONFIG0 and CONFIG1; PMC; CONFIG4 in the upper half.
        words[0x0a..0x0d].copy_from_slice(&[0x4d10, super::PMC, 0x8000]);
        words[CHECKSUM] = words.iter().fold(0u16, |sum, &word| sum.wrapping_sub(word));
        Self { words, phase: Phase::Idle, pins: 0, out: false, writable: false }
    }

    /// Whether a saved state is one that there can be.
    pub(super) fn is_possible(&self) -> bool {
        self.words.len() == WORDS
            && match self.phase {
                Phase::Idle | Phase::Done => true,
                Phase::Instruction(_, count) => count < INSTRUCTION,
                Phase::Read(_, left) => left <= 16,
                Phase::Write(_, _, count) => count < 16,
            }
    }

    /// A word, 0 to 63.
    pub(super) fn word(&self, at: usize) -> u16 {
        self.words.get(at).copied().unwrap_or(0xffff)
    }

    /// The station address in it.
    pub(super) fn mac(&self) -> [u8; 6] {
        let mut mac = [0; 6];
        for (pair, at) in mac.chunks_exact_mut(2).zip(7..) {
            pair.copy_from_slice(&self.word(at).to_le_bytes());
        }
        mac
    }

    /// Pins as software reads them back.
    pub(super) fn read(&self) -> u8 {
        self.pins | if self.out { DO } else { 0 }
    }

    /// Drives the pins.
    pub(super) fn drive(&mut self, pins: u8) {
        let before = std::mem::replace(&mut self.pins, pins & (CS | SK | DI));
        if pins & CS == 0 {
            self.phase = Phase::Idle;
            // DO floats and is pulled up.
            self.out = true;
        } else if before & CS != 0 && pins & SK != 0 && before & SK == 0 {
            self.clock(pins & DI != 0);
        }
    }

    /// A rising edge of SK.
    fn clock(&mut self, bit: bool) {
        self.phase = match self.phase {
            Phase::Idle if bit => Phase::Instruction(0, 0),
            Phase::Instruction(bits, count) => {
                let (bits, count) = (bits << 1 | u8::from(bit), count + 1);
                if count < INSTRUCTION { Phase::Instruction(bits, count) } else { self.instruction(bits) }
            }
            Phase::Read(at, 0) => {
                // The address goes on by itself.
                let next = (at + 1) & 0x3f;
                self.out = self.word(next.into()) >> 15 != 0;
                Phase::Read(next, 15)
            }
            Phase::Read(at, left) => {
                self.out = self.word(at.into()) >> (left - 1) & 1 != 0;
                Phase::Read(at, left - 1)
            }
            Phase::Write(instruction, data, count) => {
                let (data, count) = (data << 1 | u16::from(bit), count + 1);
                if count < 16 {
                    Phase::Write(instruction, data, count)
                } else {
                    let all = instruction >> 6 == 0;
                    self.program(if all { None } else { Some(instruction & 0x3f) }, data);
                    Phase::Done
                }
            }
            phase => phase,
        };
    }

    fn instruction(&mut self, bits: u8) -> Phase {
        let at = bits & 0x3f;
        match (bits >> 6, at >> 4) {
            (2, _) => {
                // A dummy bit comes before the word.
                self.out = false;
                return Phase::Read(at, 16);
            }
            (1, _) | (0, 1) => return Phase::Write(bits, 0, 0),
            (3, _) => self.program(Some(at), 0xffff),
            (0, 0) => self.writable = false,
            (0, 2) => self.program(None, 0xffff),
            _ => self.writable = true,
        }
        Phase::Done
    }

    /// Ready follows at once.
    fn program(&mut self, at: Option<u8>, data: u16) {
        self.out = true;
        if !self.writable {
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
