//! Programs that draw: register and memory accesses, one after the other, for a guest that makes them and nothing else.
//!
//! The same program runs on any machine with a VGA, as a firmware image ([`image`]), or on a model of the adapter, by
//! whoever implements [`Machine`].

pub mod bench;
mod modes;
pub mod scenes;

pub use modes::{Font, Mode};

use std::fs;
use std::path::PathBuf;

use crate::{Error, cache::cached, file_error, flat};

const CODE: usize = 0x400;
const SEGMENT: usize = 0x1_0000;
/// Where the guest looks in its segment for the program's address.
const PROGRAM: usize = 0xFFE0;

#[allow(unsafe_code)]
mod code {
    std::arch::global_asm!(include_str!("guest.s"), options(att_syntax));

    // SAFETY: guest.s defines the symbol in .rodata with exactly this many bytes behind it, which nobody writes.
    unsafe extern "C" {
        safe static pcvm_screen_start: [u8; super::CODE];
    }

    pub fn guest() -> [u8; super::CODE] {
        pcvm_screen_start
    }
}

/// From the end of an image: a double word, the turns of its loops of 0 turns.
pub const TURNS: usize = SEGMENT - 0xFFE4;

/// Where programs that want it put the linear frame buffer.
pub const LFB: u32 = 0xE000_0000;

/// A step. Addresses are physical, lengths at least 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A byte to a port.
    Out8(u16, u8),
    /// A word to a port.
    Out16(u16, u16),
    /// A double word to a port.
    Out32(u16, u32),
    /// A byte from a port, reported.
    In8(u16),
    /// So many times the lowest byte of a value.
    Fill8(u32, u32, u32),
    /// So many times the lower word of a value.
    Fill16(u32, u32, u32),
    /// So many times a double word.
    Fill32(u32, u32, u32),
    /// These bytes.
    Store(u32, Vec<u8>),
    /// Reads so many bytes, and reports [`sum`] of them.
    Sum(u32, u32),
    /// So many bytes of [`pattern`] with a seed.
    Pattern(u32, u32, u32),
    /// To an address, so many bytes, from another, byte by byte and upwards.
    Copy(u32, u32, u32),
    /// Reads and then writes so many bytes, each in turn.
    Modify(u32, u32, u32),
    /// The picture is complete: waits until it has been looked at.
    Scene,
    /// Does what follows, up to the matching end, so many times; 0 for as often as the image is told ([`TURNS`]).
    Loop(u32),
    /// See [`Op::Loop`].
    End,
    /// To an address, so many double words, from another, upwards.
    Move32(u32, u32, u32),
    /// Does nothing for so many instructions.
    Spin(u32),
}

/// A sum of bytes that depends on their order.
pub fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum: u32, &byte| sum.rotate_left(1).wrapping_add(byte.into()))
}

/// Pseudo-random bytes.
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
            Self::Loop(turns) => long(14, &[turns]),
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

/// What a program runs on that is no whole machine. Programs for it have no loops.
pub trait Machine {
    /// Writes a port.
    fn output(&mut self, port: u16, bytes: &[u8]);
    /// Reads a port.
    fn input(&mut self, port: u16) -> u8;
    /// Writes a byte of memory.
    fn write(&mut self, addr: u32, byte: u8);
    /// Reads a byte of memory.
    fn read(&mut self, addr: u32) -> u8;
    /// Looks at the picture.
    fn scene(&mut self);
}

/// Plays a program, and gives what it reports.
///
/// # Panics
/// When it has what only `bench` has: loops, double words moved, time passed.
pub fn play(program: &[Op], machine: &mut impl Machine) -> Vec<u8> {
    let mut report = Vec::new();
    let fill = |machine: &mut dyn FnMut(u32, u8), addr: u32, count: u32, unit: &[u8]| {
        let bytes = unit.iter().copied().cycle().take(count as usize * unit.len());
        (addr..).zip(bytes).for_each(|(addr, byte)| machine(addr, byte));
    };
    for op in program {
        match *op {
            Op::Out8(port, value) => machine.output(port, &[value]),
            Op::Out16(port, value) => machine.output(port, &value.to_le_bytes()),
            Op::Out32(port, value) => machine.output(port, &value.to_le_bytes()),
            Op::In8(port) => report.push(machine.input(port)),
            Op::Fill8(addr, count, value) => {
                fill(&mut |a, b| machine.write(a, b), addr, count, &value.to_le_bytes()[..1])
            }
            Op::Fill16(addr, count, value) => {
                fill(&mut |a, b| machine.write(a, b), addr, count, &value.to_le_bytes()[..2]);
            }
            Op::Fill32(addr, count, value) => fill(&mut |a, b| machine.write(a, b), addr, count, &value.to_le_bytes()),
            Op::Store(addr, ref bytes) => (addr..).zip(bytes).for_each(|(addr, &byte)| machine.write(addr, byte)),
            Op::Pattern(addr, len, seed) => {
                (addr..).zip(pattern(seed, len)).for_each(|(addr, byte)| machine.write(addr, byte));
            }
            Op::Sum(addr, len) => {
                let bytes: Vec<u8> = (addr..addr + len).map(|addr| machine.read(addr)).collect();
                report.extend_from_slice(&sum(&bytes).to_le_bytes());
            }
            Op::Copy(to, len, from) => {
                for n in 0..len {
                    let byte = machine.read(from + n);
                    machine.write(to + n, byte);
                }
            }
            Op::Modify(addr, len, value) => {
                for addr in addr..addr + len {
                    machine.read(addr);
                    machine.write(addr, value as u8);
                }
            }
            Op::Scene => machine.scene(),
            Op::Loop(_) | Op::End | Op::Move32(..) | Op::Spin(_) => {
                panic!("{op:?} needs a processor")
            }
        }
    }
    report
}

/// A firmware image that plays a program and then resets the machine.
fn assemble(program: &[Op]) -> Vec<u8> {
    let mut bytes = Vec::new();
    program.iter().for_each(|op| op.encode(&mut bytes));
    bytes.push(0);
    // The program, and the guest in the last segment, which the processor starts in.
    bytes.resize(bytes.len().next_multiple_of(SEGMENT), 0);
    let start = (bytes.len() + SEGMENT) as u32;
    let mut segment = code::guest().to_vec();
    segment.resize(SEGMENT, 0);
    segment[PROGRAM..PROGRAM + 4].copy_from_slice(&start.wrapping_neg().to_le_bytes());
    segment[flat::RESET..flat::RESET + flat::JUMP.len()].copy_from_slice(&flat::JUMP);
    bytes.extend(segment);
    bytes
}

/// A firmware image that plays a program and then resets the machine, and its path.
pub fn image(name: &str, program: &[Op]) -> Result<PathBuf, Error> {
    let bytes = assemble(program);
    let dir = cached(&format!("screen-{name}"), &[&bytes], |dir| {
        let path = dir.join("screen.bin");
        fs::write(&path, &bytes).map_err(file_error(&path))
    })?;
    Ok(dir.join("screen.bin"))
}
