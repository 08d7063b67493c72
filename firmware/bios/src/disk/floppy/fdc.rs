//! Floppy disk controller access: NEC 765 compatible Intel 82077AA (data sheet 290166), DMA channel 2 of the 8237A
//! (data sheet 231466), IRQ 6.

use super::super::clock::Timeout;
use super::super::status::{Result, Status};
use crate::Bios;
use pcvm_firmware_rt::{FarPtr, Field, Hw, Regs, bda};

const DIGITAL_OUTPUT: u16 = 0x3f2;
const MAIN_STATUS: u16 = 0x3f4;
const DATA: u16 = 0x3f5;
/// Read: digital input register (disk change line). Write: configuration control register (data rate).
const DIGITAL_INPUT: u16 = 0x3f7;

/// Digital output register: not reset; DMA and interrupt enabled. Motor bits start at bit 4.
const NOT_RESET: u8 = 0x04;
const DMA_ON: u8 = 0x08;
/// Main status register: RQM, ready for a transfer; DIO, direction controller to CPU.
const RQM: u8 = 0x80;
const DIO: u8 = 0x40;

pub mod command {
    #![allow(missing_docs)]
    pub const SPECIFY: u8 = 0x03;
    pub const RECALIBRATE: u8 = 0x07;
    pub const SENSE_INTERRUPT: u8 = 0x08;
    pub const SEEK: u8 = 0x0f;
    pub const PERPENDICULAR: u8 = 0x12;
    pub const READ_ID: u8 = 0x4a;
    pub const FORMAT: u8 = 0x4d;
    /// Multitrack; READ also skips deleted data.
    pub const WRITE: u8 = 0xc5;
    pub const READ: u8 = 0xe6;
    pub const VERIFY: u8 = 0xf6;
}

/// Time-outs. The controller replies within microseconds; a drive steps 80 times in less than 1 s, and finds a sector
/// within two revolutions.
const BYTE_MS: u32 = 100;
const RESULT_MS: u32 = 2_000;
const SEEK_MS: u32 = 2_000;
/// Time without an interrupt after which a seek's end is looked for.
const SENSE_MS: u32 = 20;
/// 40:3E: IRQ 6 has arrived.
const INTERRUPTED: u8 = 0x80;

/// AX for INT 15h: device busy and device ready, type floppy.
const WAIT: u16 = 0x9001;
const POST: u16 = 0x9101;

/// Bytes of a command's result phase.
pub type ResultBytes = [u8; 7];

/// Whether there is a controller.
pub fn present<H: Hw>(bios: &mut Bios<H>) -> bool {
    bios.hw.inb(MAIN_STATUS) != 0xff
}

/// IRQ 6: sets the interrupt flag and posts INT 15h AX=9101h.
pub fn interrupt<H: Hw>(bios: &mut Bios<H>) {
    const EOI: u8 = 0x20;
    let flags = bios.hw.get(bda::FLOPPY_RECALIBRATE);
    bios.hw.set(bda::FLOPPY_RECALIBRATE, flags | INTERRUPTED);
    bios.hw.outb(0x20, EOI);
    let mut regs = Regs::default();
    regs.set_ax(POST);
    bios.hw.call_interrupt(0x15, &mut regs);
}

/// Selects a drive; the motor bits come from 40:3F.
pub fn select<H: Hw>(bios: &mut Bios<H>, drive: u8) {
    let motors = bios.hw.get(bda::FLOPPY_MOTORS) & 0xf;
    bios.hw.outb(DIGITAL_OUTPUT, motors << 4 | DMA_ON | NOT_RESET | drive & 3);
}

/// Switches all motors off.
pub fn motors_off<H: Hw>(bios: &mut Bios<H>) {
    let motors = bios.hw.get(bda::FLOPPY_MOTORS);
    bios.hw.set(bda::FLOPPY_MOTORS, motors & 0xf0);
    bios.hw.outb(DIGITAL_OUTPUT, DMA_ON | NOT_RESET);
}

/// Sets the data rate.
pub fn set_rate<H: Hw>(bios: &mut Bios<H>, rate: u8) {
    bios.hw.outb(DIGITAL_INPUT, rate);
    bios.hw.set(bda::FLOPPY_RATE, rate << 6);
}

/// Whether the selected drive, with its motor on, reports a disk change since the last step pulse.
pub fn change_line<H: Hw>(bios: &mut Bios<H>) -> bool {
    bios.hw.inb(DIGITAL_INPUT) & 0x80 != 0
}

fn wait_ready<H: Hw>(bios: &mut Bios<H>, to_cpu: bool, ms: u32) -> Result<()> {
    let wanted = if to_cpu { RQM | DIO } else { RQM };
    let mut timeout = Timeout::ms(ms);
    loop {
        if bios.hw.inb(MAIN_STATUS) & (RQM | DIO) == wanted {
            return Ok(());
        }
        if timeout.expired(bios) {
            return Err(Status::TIMEOUT);
        }
    }
}

/// Sends a command.
pub fn send<H: Hw>(bios: &mut Bios<H>, bytes: &[u8]) -> Result<()> {
    let flags = bios.hw.get(bda::FLOPPY_RECALIBRATE);
    bios.hw.set(bda::FLOPPY_RECALIBRATE, flags & !INTERRUPTED);
    for &byte in bytes {
        wait_ready(bios, false, BYTE_MS).map_err(|_| Status::CONTROLLER)?;
        bios.hw.outb(DATA, byte);
    }
    Ok(())
}

/// Reads a command's result bytes and stores them at 40:42.
pub fn result<H: Hw>(bios: &mut Bios<H>, bytes: usize, ms: u32) -> Result<ResultBytes> {
    let mut results = ResultBytes::default();
    let mut at: FarPtr = bda::FLOPPY_RESULT.at;
    let mut ms = ms;
    for byte in results.iter_mut().take(bytes) {
        wait_ready(bios, true, ms)?;
        ms = BYTE_MS;
        *byte = bios.hw.inb(DATA);
        bios.hw.write8(at, *byte);
        at = at.add(1);
    }
    Ok(results)
}

/// Runs a command with a result phase of seven bytes.
pub fn execute<H: Hw>(bios: &mut Bios<H>, bytes: &[u8]) -> Result<ResultBytes> {
    send(bios, bytes)?;
    announce_wait(bios);
    let results = result(bios, 7, RESULT_MS)?;
    // ST0 and ST1 (6.1 and 6.2 of the data sheet).
    let [st0, st1, ..] = results;
    match (st0 >> 6, st1) {
        (0, _) => Ok(results),
        _ if st0 & 0x08 != 0 => Err(Status::NOT_READY),
        (_, st1) if st1 & 0x02 != 0 => Err(Status::WRITE_PROTECTED),
        (_, st1) if st1 & 0x20 != 0 => Err(Status::READ_ERROR),
        (_, st1) if st1 & 0x10 != 0 => Err(Status::OVERRUN),
        (_, st1) if st1 & 0x84 != 0 => Err(Status::NOT_FOUND),
        (_, st1) if st1 & 0x01 != 0 => Err(Status::BAD_ADDRESS_MARK),
        _ => Err(Status::CONTROLLER),
    }
}

/// INT 15h AH=90h: the operating system may switch to another task during the wait.
fn announce_wait<H: Hw>(bios: &mut Bios<H>) {
    let mut regs = Regs::default();
    regs.set_ax(WAIT);
    bios.hw.call_interrupt(0x15, &mut regs);
}

/// Runs RECALIBRATE or SEEK until it has ended.
pub fn run_seek<H: Hw>(bios: &mut Bios<H>, bytes: &[u8]) -> Result<()> {
    send(bios, bytes)?;
    announce_wait(bios);
    let drive = bytes.get(1).copied().unwrap_or(0) & 3;
    let mut timeout = Timeout::ms(SEEK_MS);
    let mut quiet = Timeout::ms(SENSE_MS);
    loop {
        // The interrupt may never arrive (masked, or INT 0Eh is hooked), or be one of an earlier command. The result of
        // SENSE INTERRUPT STATUS is "invalid command" (80h) while the heads move.
        let came = bios.hw.get(bda::FLOPPY_RECALIBRATE) & INTERRUPTED != 0;
        let expired = timeout.expired(bios);
        if came || expired || quiet.expired(bios) {
            let [st0, ..] = sense_interrupt(bios)?;
            if st0 == 0x80 && !expired {
                quiet = Timeout::ms(SENSE_MS);
                continue;
            }
            return match st0 {
                _ if st0 & 0xe3 == 0x20 | drive => Ok(()),
                _ if expired => Err(Status::TIMEOUT),
                _ => Err(Status::SEEK),
            };
        }
    }
}

fn sense_interrupt<H: Hw>(bios: &mut Bios<H>) -> Result<ResultBytes> {
    send(bios, &[command::SENSE_INTERRUPT])?;
    wait_ready(bios, true, BYTE_MS)?;
    let first = bios.hw.inb(DATA);
    if first == 0x80 {
        return Ok([first, 0, 0, 0, 0, 0, 0]);
    }
    let second = result(bios, 1, BYTE_MS)?;
    Ok([first, second[0], 0, 0, 0, 0, 0])
}

/// Resets the controller. Every drive has to be recalibrated afterwards.
pub fn reset<H: Hw>(bios: &mut Bios<H>, specify: [u8; 2]) -> Result<()> {
    let motors = bios.hw.get(bda::FLOPPY_MOTORS) & 0xf;
    bios.hw.set(bda::FLOPPY_RECALIBRATE, 0);
    bios.hw.outb(DIGITAL_OUTPUT, motors << 4 | DMA_ON);
    bios.hw.outb(DIGITAL_OUTPUT, motors << 4 | DMA_ON | NOT_RESET);
    wait_ready(bios, false, BYTE_MS).map_err(|_| Status::CONTROLLER)?;
    // Drive polling causes one interrupt for each of the four drives; without polling there are fewer.
    for _ in 0..4 {
        let [st0, ..] = sense_interrupt(bios)?;
        if st0 == 0x80 {
            break;
        }
    }
    send(bios, &[command::SPECIFY, specify[0], specify[1]])
}

/// Direction of a DMA transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dma {
    /// Disk to memory.
    Read = 0x46,
    /// Memory to disk.
    Write = 0x4a,
}

/// Programs DMA channel 2. The 8237A counts 16 bits, so the buffer must not cross a 64 KiB boundary.
pub fn dma<H: Hw>(bios: &mut Bios<H>, direction: Dma, linear: u32, bytes: u32) -> Result<()> {
    const ADDRESS: u16 = 0x04;
    const COUNT: u16 = 0x05;
    const MASK: u16 = 0x0a;
    const MODE: u16 = 0x0b;
    const FLIP_FLOP: u16 = 0x0c;
    const PAGE: u16 = 0x81;
    const CHANNEL: u8 = 2;
    const MASKED: u8 = 4;
    let Some(last) = bytes.checked_sub(1).filter(|last| (linear & 0xffff) + last <= 0xffff) else {
        return Err(Status::BOUNDARY);
    };
    // Both bytes of a register go through the same port; a flip-flop selects the byte.
    bios.hw.outb(MASK, MASKED | CHANNEL);
    bios.hw.outb(FLIP_FLOP, 0);
    bios.hw.outb(MODE, direction as u8);
    let [a, b, page, _] = linear.to_le_bytes();
    bios.hw.outb(ADDRESS, a);
    bios.hw.outb(ADDRESS, b);
    bios.hw.outb(PAGE, page);
    let [a, b, ..] = last.to_le_bytes();
    bios.hw.outb(COUNT, a);
    bios.hw.outb(COUNT, b);
    bios.hw.outb(MASK, CHANNEL);
    Ok(())
}

/// The variable for one drive of a pair in the BIOS data area.
pub fn of_drive(field: Field<u8>, drive: u8) -> Field<u8> {
    Field::new(field.at.segment, field.at.offset + u16::from(drive & 1))
}
