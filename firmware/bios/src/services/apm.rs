//! Advanced Power Management BIOS, INT 15h AH=53h (Intel and Microsoft, "Advanced Power Management (APM) BIOS Interface
//! Specification", revision 1.2). The protected-mode interface is in the entry code of `pcvm_firmware_rt` and has the
//! same functions.
//!
//! Deliberately missing: events (there is neither a battery nor a button), the resume timer and ring indicator
//! (functions 11h to 16h, needed only for version 1.2's suspend), and power states of single devices.

use crate::Bios;
use pcvm_firmware_rt::apm::{CONNECTION, ENTRY_16, ENTRY_32, FLAGS, VERSION};
use pcvm_firmware_rt::{Hw, Regs};

const NOT_CONNECTED: u8 = 0;
const REAL_MODE: u8 = 1;
const PROTECTED_16: u8 = 2;
const PROTECTED_32: u8 = 3;

const ENABLED: u8 = 0x01;
const ENGAGED: u8 = 0x02;

/// Segments of the BIOS's code and data.
const CODE: u16 = 0xf000;
const DATA: u16 = 0xe000;

/// Power device IDs: the APM BIOS, and all devices that it manages.
const APM_BIOS: u16 = 0x0000;
const ALL: u16 = 0x0001;
/// "All devices" in APM 1.0.
const ALL_1_0: u16 = 0xffff;

const OFF: u16 = 3;

/// Error codes in AH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ApmError {
    RealConnected = 0x02,
    NotConnected = 0x03,
    Protected16Connected = 0x05,
    Protected32Connected = 0x07,
    BadDevice = 0x09,
    OutOfRange = 0x0a,
    NotSupported = 0x0c,
    CannotEnter = 0x60,
    NoEvent = 0x80,
}

/// Sets the APM state at power-on.
pub fn init<H: Hw>(hw: &mut H) {
    hw.set(CONNECTION, NOT_CONNECTED);
    hw.set(VERSION, 0);
    hw.set(FLAGS, ENABLED | ENGAGED);
}

/// INT 15h AH=53h.
pub fn int15<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) {
    let result = call(bios, regs);
    match result {
        // AX returns the version.
        Ok(()) if matches!(regs.al(), 0x00 | 0x0e) => {
            let minor = if regs.al() == 0x00 { 2 } else { bios.hw.get(VERSION) };
            regs.set_ax(0x0100 | u16::from(minor));
        }
        // AX returns the code segment.
        Ok(()) if matches!(regs.al(), 0x02 | 0x03) => regs.set_ax(CODE),
        Ok(()) => regs.set_ah(0),
        Err(error) => regs.set_ah(error as u8),
    }
    regs.set_cf(result.is_err());
}

fn check(good: bool, otherwise: ApmError) -> Result<(), ApmError> {
    if good { Ok(()) } else { Err(otherwise) }
}

/// Whether this is the ID of a device class (01h display to 06h PC Card sockets). The BIOS manages no class separately.
fn is_class(device: u16) -> bool {
    (0x0100..0x0700).contains(&device)
}

fn call<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) -> Result<(), ApmError> {
    let device = regs.bx();
    let function = regs.al();
    let hw = &mut *bios.hw;
    match function {
        0x00 => {
            check(device == APM_BIOS, ApmError::BadDevice)?;
            let flags = hw.get(FLAGS);
            regs.set_bx(u16::from_be_bytes(*b"PM"));
            // Bits 0-1: 16-bit and 32-bit interfaces; bit 3: disabled; bit 4: disengaged.
            let not = |bit| flags & bit == 0;
            regs.set_cx(0x0003 | u16::from(not(ENABLED)) << 3 | u16::from(not(ENGAGED)) << 4);
            return Ok(());
        }
        0x01..=0x03 => {
            check(device == APM_BIOS, ApmError::BadDevice)?;
            match hw.get(CONNECTION) {
                NOT_CONNECTED => {}
                REAL_MODE => return Err(ApmError::RealConnected),
                PROTECTED_16 => return Err(ApmError::Protected16Connected),
                _ => return Err(ApmError::Protected32Connected),
            }
            // An APM 1.0 driver, until function 0Eh negotiates another version.
            hw.set(VERSION, 0);
            match function {
                0x01 => hw.set(CONNECTION, REAL_MODE),
                0x02 => {
                    hw.set(CONNECTION, PROTECTED_16);
                    regs.set_bx(ENTRY_16);
                    regs.set_cx(DATA);
                    regs.set_si(0xffff);
                    regs.set_di(0xffff);
                }
                _ => {
                    hw.set(CONNECTION, PROTECTED_32);
                    regs.ebx = ENTRY_32.into();
                    regs.set_cx(CODE);
                    regs.set_dx(DATA);
                    // Limits of the code segments.
                    regs.esi = 0xffff_ffff;
                    regs.set_di(0xffff);
                }
            }
            return Ok(());
        }
        _ => {}
    }
    check(hw.get(CONNECTION) == REAL_MODE, ApmError::NotConnected)?;
    match function {
        0x04 => {
            check(device == APM_BIOS, ApmError::BadDevice)?;
            hw.set(CONNECTION, NOT_CONNECTED);
        }
        0x05 => hw.wait_for_interrupt(),
        0x06 => {}
        0x07 => {
            let state = regs.cx();
            check(state <= OFF, ApmError::OutOfRange)?;
            match (device, state) {
                (ALL, 0) => return Err(ApmError::OutOfRange),
                (ALL, OFF) => {
                    power_off(bios);
                    return Err(ApmError::CannotEnter);
                }
                // Standby and suspend end with the next interrupt.
                (ALL, _) => hw.wait_for_interrupt(),
                (_, 0) if is_class(device) => {}
                _ if is_class(device) => return Err(ApmError::CannotEnter),
                _ => return Err(ApmError::BadDevice),
            }
        }
        0x08 => {
            check(matches!(device, ALL | ALL_1_0), ApmError::BadDevice)?;
            check(regs.cx() <= 1, ApmError::OutOfRange)?;
            let flags = hw.get(FLAGS) & !ENABLED;
            hw.set(FLAGS, if regs.cx() == 1 { flags | ENABLED } else { flags });
        }
        0x09 => {
            check(matches!(device, ALL | ALL_1_0), ApmError::BadDevice)?;
            hw.set(FLAGS, ENABLED | ENGAGED);
        }
        0x0a => {
            check(device == ALL, ApmError::BadDevice)?;
            // On AC power; battery status unknown. No battery; charge and time unknown.
            regs.set_bx(0x01ff);
            regs.set_cx(0x80ff);
            regs.set_dx(0xffff);
        }
        0x0b => return Err(ApmError::NoEvent),
        0x0c => {
            check(device == ALL || is_class(device), ApmError::BadDevice)?;
            regs.set_cx(0);
        }
        0x0d => {
            check(device == ALL || is_class(device), ApmError::BadDevice)?;
            check(regs.cx() <= 1, ApmError::OutOfRange)?;
        }
        0x0e => {
            check(device == APM_BIOS, ApmError::BadDevice)?;
            // The lower of the driver's version and 1.2.
            let minor = match regs.cx() {
                0x0102.. => 2,
                0x0101 => 1,
                _ => 0,
            };
            hw.set(VERSION, minor);
        }
        0x0f => {
            check(device == ALL, ApmError::BadDevice)?;
            check(regs.cx() <= 1, ApmError::OutOfRange)?;
            let flags = hw.get(FLAGS) & !ENGAGED;
            hw.set(FLAGS, if regs.cx() == 1 { flags | ENGAGED } else { flags });
        }
        0x10 => {
            check(device == APM_BIOS, ApmError::BadDevice)?;
            // No batteries, no capabilities.
            regs.set_bl(0);
            regs.set_cx(0);
        }
        _ => return Err(ApmError::NotSupported),
    }
    Ok(())
}

/// Powers off by ACPI S5 (ACPI specification, section 4.8.3.2.1), then by the power-off ports of emulators without
/// ACPI.
fn power_off<H: Hw>(bios: &mut Bios<H>) {
    const SLEEP_ENABLE: u16 = 1 << 13;
    const EMULATORS: [u16; 2] = [0xb004, 0x8900];
    if bios.handoff.pm1a_control != 0 {
        let sleep_type = u16::from(bios.handoff.slp_typ_s5 & 7) << 10;
        bios.hw.outw(bios.handoff.pm1a_control, sleep_type | SLEEP_ENABLE);
    }
    bios.hw.outw(EMULATORS[0], SLEEP_ENABLE);
    b"Shutdown".iter().for_each(|&letter| bios.hw.outb(EMULATORS[1], letter));
}
