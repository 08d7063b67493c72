//! Drawing programs: sequences of register and memory accesses, executed by a guest that does nothing else.
//!
//! A program runs on any machine with a VGA, as a firmware image ([`image`]), or on a model of the adapter that
//! implements [`Adapter`] ([`interpret`]).

pub mod bench;
mod cirrus;
mod modes;
pub mod scenes;

pub use modes::{Font, Mode};

use std::fs;
use std::path::PathBuf;

use crate::{Error, cache::cached, file_error, flat};

const CODE: usize = 0x400;
const SEGMENT: usize = 0x1_0000;
/// Offset in the guest's segment of the program's address.
const PROGRAM: usize = 0xFFE0;

#[allow(unsafe_code)]
mod code {
    std::arch::global_asm!(include_str!("guest.s"), options(att_syntax));

    // SAFETY: guest.s defines the symbol in .rodata with exactly this many bytes, which are never written.
    unsafe extern "C" {
        safe static pcvm_screen_start: [u8; super::CODE];
    }

    pub fn guest() -> [u8; super::CODE] {
        pcvm_screen_start
    }
}

/// Offset from the end of an image of a dword: the iterations of loops with count 0.
pub const ITERATIONS: usize = SEGMENT - 0xFFE4;

/// Address that programs assign to the linear frame buffer.
pub const LFB: u32 = 0xE000_0000;

/// A step of a program. Addresses are physical, lengths and counts at least 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes a byte to a port.
    Out8(u16, u8),
    /// Writes a word to a port.
    Out16(u16, u16),
    /// Writes a dword to a port.
    Out32(u16, u32),
    /// Reads a byte from a port and reports it.
    In8(u16),
    /// Address, count, value: fills with the value's lowest byte.
    Fill8(u32, u32, u32),
    /// Address, count, value: fills with the value's lower word.
    Fill16(u32, u32, u32),
    /// Address, count, value: fills with dwords.
    Fill32(u32, u32, u32),
    /// Address, bytes: writes the bytes.
    Store(u32, Vec<u8>),
    /// Address, length: reads the bytes and reports their [`sum`].
    Sum(u32, u32),
    /// Address, length, seed: writes the [`pattern`] of the seed.
    Pattern(u32, u32, u32),
    /// Destination, length, source: copies byte by byte, upwards.
    Copy(u32, u32, u32),
    /// Address, length, value: reads each byte, then writes the value.
    Modify(u32, u32, u32),
    /// The picture is complete: reports it and waits until the host has taken it.
    Scene,
    /// Repeats the steps up to the matching `End` this many times; 0 is the number patched into the image
    /// ([`ITERATIONS`]).
    Loop(u32),
    /// Ends an [`Op::Loop`].
    End,
    /// Destination, count, source: copies dwords, upwards.
    Move32(u32, u32, u32),
    /// Spins for a number of instructions.
    Spin(u32),
}

/// A checksum that depends on the order of the bytes.
pub fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum: u32, &byte| sum.rotate_left(1).wrapping_add(byte.into()))
}

/// Pseudo-random bytes of a linear congruential generator.
pub fn pattern(seed: u32, len: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

impl Op {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut long = |code: u8, words: &[u32]| {
            out.push(code);
            words.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
        };
        match *self {
            Self::Fill8(addr, count, value) => long(5, &[addr, count, value]),
            Self::Fill16(addr, count, value) => long(6, &[addr, count, value]),
            Self::Fill32(addr, count, value) => long(7, &[addr, count, value]),
            Self::Sum(addr, len) => long(9, &[addr, len]),
            Self::Pattern(addr, len, seed) => long(10, &[addr, len, seed]),
            Self::Copy(to, len, from) => long(11, &[to, len, from]),
            Self::Modify(addr, len, value) => long(12, &[addr, len, value]),
            Self::Move32(to, count, from) => long(16, &[to, count, from]),
            Self::Spin(count) => long(17, &[count]),
            Self::Scene => long(13, &[]),
            Self::Loop(count) => long(14, &[count]),
            Self::End => long(15, &[]),
            Self::Store(addr, ref bytes) => {
                long(8, &[addr, bytes.len() as u32]);
                out.extend_from_slice(bytes);
            }
            Self::Out8(port, value) => {
                out.push(1);
                out.extend_from_slice(&port.to_le_bytes());
                out.push(value);
            }
            Self::Out16(port, value) => {
                out.push(2);
                out.extend_from_slice(&port.to_le_bytes());
                out.extend_from_slice(&value.to_le_bytes());
            }
            Self::Out32(port, value) => {
                out.push(3);
                out.extend_from_slice(&port.to_le_bytes());
                out.extend_from_slice(&value.to_le_bytes());
            }
            Self::In8(port) => {
                out.push(4);
                out.extend_from_slice(&port.to_le_bytes());
            }
        }
    }
}

/// A model of the adapter that programs without loops run on.
pub trait Adapter {
    /// Writes a port.
    fn output(&mut self, port: u16, bytes: &[u8]);
    /// Reads a port.
    fn input(&mut self, port: u16) -> u8;
    /// Writes a byte of memory.
    fn write(&mut self, addr: u32, byte: u8);
    /// Reads a byte of memory.
    fn read(&mut self, addr: u32) -> u8;
    /// Captures the picture.
    fn scene(&mut self);
}

/// Runs a program on a model and returns what it reports.
///
/// # Panics
/// If the program has steps for benchmarks only: loops, dword copies, delays.
pub fn interpret(program: &[Op], adapter: &mut impl Adapter) -> Vec<u8> {
    let mut report = Vec::new();
    let fill = |write: &mut dyn FnMut(u32, u8), addr: u32, count: u32, unit: &[u8]| {
        let bytes = unit.iter().copied().cycle().take(count as usize * unit.len());
        (addr..).zip(bytes).for_each(|(addr, byte)| write(addr, byte));
    };
    for op in program {
        match *op {
            Op::Out8(port, value) => adapter.output(port, &[value]),
            Op::Out16(port, value) => adapter.output(port, &value.to_le_bytes()),
            Op::Out32(port, value) => adapter.output(port, &value.to_le_bytes()),
            Op::In8(port) => report.push(adapter.input(port)),
            Op::Fill8(addr, count, value) => {
                fill(&mut |a, b| adapter.write(a, b), addr, count, &value.to_le_bytes()[..1])
            }
            Op::Fill16(addr, count, value) => {
                fill(&mut |a, b| adapter.write(a, b), addr, count, &value.to_le_bytes()[..2]);
            }
            Op::Fill32(addr, count, value) => fill(&mut |a, b| adapter.write(a, b), addr, count, &value.to_le_bytes()),
            Op::Store(addr, ref bytes) => (addr..).zip(bytes).for_each(|(addr, &byte)| adapter.write(addr, byte)),
            Op::Pattern(addr, len, seed) => {
                (addr..).zip(pattern(seed, len)).for_each(|(addr, byte)| adapter.write(addr, byte));
            }
            Op::Sum(addr, len) => {
                let bytes: Vec<u8> = (addr..addr + len).map(|addr| adapter.read(addr)).collect();
                report.extend_from_slice(&sum(&bytes).to_le_bytes());
            }
            Op::Copy(to, len, from) => {
                for n in 0..len {
                    let byte = adapter.read(from + n);
                    adapter.write(to + n, byte);
                }
            }
            Op::Modify(addr, len, value) => {
                for addr in addr..addr + len {
                    adapter.read(addr);
                    adapter.write(addr, value as u8);
                }
            }
            Op::Scene => adapter.scene(),
            Op::Loop(_) | Op::End | Op::Move32(..) | Op::Spin(_) => {
                panic!("{op:?} runs only in a guest")
            }
        }
    }
    report
}

/// Assembles a firmware image that runs a program and then resets the machine.
fn assemble(program: &[Op]) -> Vec<u8> {
    let mut bytes = Vec::new();
    program.iter().for_each(|op| op.encode(&mut bytes));
    bytes.push(0);
    // The program comes first; the guest's code is the last segment, where the CPU starts.
    bytes.resize(bytes.len().next_multiple_of(SEGMENT), 0);
    let start = (bytes.len() + SEGMENT) as u32;
    let mut segment = code::guest().to_vec();
    segment.resize(SEGMENT, 0);
    segment[PROGRAM..PROGRAM + 4].copy_from_slice(&start.wrapping_neg().to_le_bytes());
    segment[flat::RESET..flat::RESET + flat::JUMP.len()].copy_from_slice(&flat::JUMP);
    bytes.extend(segment);
    bytes
}

/// Builds a firmware image that runs a program and then resets the machine. Returns its path.
pub fn image(name: &str, program: &[Op]) -> Result<PathBuf, Error> {
    let bytes = assemble(program);
    let dir = cached(&format!("screen-{name}"), &[&bytes], |dir| {
        let path = dir.join("screen.bin");
        fs::write(&path, &bytes).map_err(file_error(&path))
    })?;
    Ok(dir.join("screen.bin"))
}
