//! PS/2 pointing device: INT 15h AH=C2h and INT 74h (IRQ 12) (IBM PS/2 and PC BIOS Interface Technical Reference, INT
//! 15h AH=C2h; the extended BIOS data area's 22h to 2Fh).

use super::controller::{self, DATA, FROM_AUX, OUTPUT_FULL, PASSED, Ps2Device, STATUS};
use crate::Bios;
use crate::services::pic;
use pcvm_firmware_rt::{FarPtr, Hw, Regs, bda, ebda};

/// Second flag byte: a handler is installed.
const HANDLER_SET: u8 = 0x80;
/// First flag byte: index of the next byte of the packet. Second flag byte: packet size less one.
const INDEX: u8 = 0x07;
/// Command byte: enable IRQ 12.
const MOUSE_INTERRUPT: u8 = 0x02;
/// This bit is always set in the first byte of a packet.
const FIRST_BYTE: u8 = 0x08;
/// Ticks after which the next byte starts a new packet: the mouse sends a packet's bytes within 10 ms.
const PACKET_TIMEOUT: u32 = 3;

/// Error codes in AH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PointerError {
    Function = 1,
    Input = 2,
    Interface = 3,
    NoHandler = 5,
}

mod mouse {
    pub const SCALING_1_1: u8 = 0xe6;
    pub const SCALING_2_1: u8 = 0xe7;
    pub const RESOLUTION: u8 = 0xe8;
    pub const STATUS: u8 = 0xe9;
    pub const IDENTIFY: u8 = 0xf2;
    pub const RATE: u8 = 0xf3;
    pub const ENABLE: u8 = 0xf4;
    pub const DISABLE: u8 = 0xf5;
    pub const RESET: u8 = 0xff;
    /// Sample rates by their INT 15h numbers.
    pub const RATES: [u8; 7] = [10, 20, 40, 60, 80, 100, 200];
}

/// INT 15h AH=C2h: pointing device functions.
pub fn int15_pointer<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) {
    let result = match regs.al() {
        0x00 => match regs.bh() {
            0 => exchange(bios, false, |hw| send(hw, mouse::DISABLE)),
            1 if bios.hw.get(ebda::POINTER_FLAGS_2) & HANDLER_SET == 0 => Err(PointerError::NoHandler),
            1 => {
                restart_packet(bios.hw);
                exchange(bios, true, |hw| send(hw, mouse::ENABLE))
            }
            _ => Err(PointerError::Input),
        },
        0x01 => reset(bios, regs),
        0x02 => match mouse::RATES.get(usize::from(regs.bh())) {
            Some(&rate) => exchange_keeping_irq(bios, |hw| send(hw, mouse::RATE).and_then(|()| send(hw, rate))),
            None => Err(PointerError::Input),
        },
        0x03 if regs.bh() > 3 => Err(PointerError::Input),
        0x03 => exchange_keeping_irq(bios, |hw| send(hw, mouse::RESOLUTION).and_then(|()| send(hw, regs.bh()))),
        0x04 => exchange_keeping_irq(bios, |hw| {
            send(hw, mouse::IDENTIFY)?;
            regs.set_bh(receive(hw)?);
            // Some mice send a second ID byte.
            controller::flush(hw);
            Ok(())
        }),
        0x05 if !(1..=8).contains(&regs.bh()) => Err(PointerError::Input),
        0x05 => {
            let flags = bios.hw.get(ebda::POINTER_FLAGS_2);
            bios.hw.set(ebda::POINTER_FLAGS_2, flags & !INDEX | (regs.bh() - 1));
            restart_packet(bios.hw);
            reset(bios, regs)
        }
        0x06 => match regs.bh() {
            0 => exchange_keeping_irq(bios, |hw| {
                send(hw, mouse::STATUS)?;
                let (status, resolution, rate) = (receive(hw)?, receive(hw)?, receive(hw)?);
                regs.set_bl(status);
                regs.set_cl(resolution);
                regs.set_dl(rate);
                Ok(())
            }),
            1 => exchange_keeping_irq(bios, |hw| send(hw, mouse::SCALING_1_1)),
            2 => exchange_keeping_irq(bios, |hw| send(hw, mouse::SCALING_2_1)),
            _ => Err(PointerError::Input),
        },
        0x07 => {
            let handler = FarPtr::new(regs.es, regs.bx());
            bios.hw.set(ebda::POINTER_HANDLER, handler.to_u32());
            let flags = bios.hw.get(ebda::POINTER_FLAGS_2);
            if handler.to_u32() != 0 {
                bios.hw.set(ebda::POINTER_FLAGS_2, flags | HANDLER_SET);
                restart_packet(bios.hw);
                Ok(())
            } else if flags & HANDLER_SET != 0 {
                bios.hw.set(ebda::POINTER_FLAGS_2, flags & !HANDLER_SET);
                // Without a handler the mouse is disabled.
                exchange(bios, false, |hw| send(hw, mouse::DISABLE))
            } else {
                Ok(())
            }
        }
        0x08 => exchange_keeping_irq(bios, |hw| send(hw, regs.bl())),
        0x09 => exchange_keeping_irq(bios, |hw| {
            let bytes = (
                receive(hw)?,
                controller::receive(hw, Ps2Device::Aux, 5_000),
                controller::receive(hw, Ps2Device::Aux, 5_000),
            );
            regs.set_bl(bytes.0);
            regs.set_cl(bytes.1.unwrap_or(0));
            regs.set_dl(bytes.2.unwrap_or(0));
            Ok(())
        }),
        _ => Err(PointerError::Function),
    };
    regs.set_ah(result.err().map_or(0, |error| error as u8));
    regs.set_cf(result.is_err());
}

/// The next byte is the first of a packet.
fn restart_packet<H: Hw>(hw: &mut H) {
    let flags = hw.get(ebda::POINTER_FLAGS_1);
    hw.set(ebda::POINTER_FLAGS_1, flags & !INDEX);
}

fn send<H: Hw>(hw: &mut H, byte: u8) -> Result<(), PointerError> {
    controller::send(hw, Ps2Device::Aux, byte).then_some(()).ok_or(PointerError::Interface)
}

fn receive<H: Hw>(hw: &mut H) -> Result<u8, PointerError> {
    controller::receive(hw, Ps2Device::Aux, 25_000).ok_or(PointerError::Interface)
}

fn reset<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) -> Result<(), PointerError> {
    exchange_keeping_irq(bios, |hw| {
        send(hw, mouse::RESET)?;
        // A real mouse's self test takes up to half a second.
        let passed = controller::receive(hw, Ps2Device::Aux, 1_000_000).ok_or(PointerError::Interface)?;
        let id = receive(hw)?;
        if passed != PASSED {
            return Err(PointerError::Interface);
        }
        regs.set_bl(passed);
        regs.set_bh(id);
        Ok(())
    })
}

/// Runs an exchange with the mouse and leaves IRQ 12 enabled or disabled as before.
fn exchange_keeping_irq<H: Hw>(
    bios: &mut Bios<H>,
    run: impl FnOnce(&mut H) -> Result<(), PointerError>,
) -> Result<(), PointerError> {
    let irq_enabled = bios.state.input.command_byte.get() & MOUSE_INTERRUPT != 0;
    exchange(bios, irq_enabled, run)
}

/// Runs an exchange with the mouse, with IRQ 1 and 12 disabled and the keyboard's clock held. Then either enables IRQ
/// 12 or holds the mouse's clock, as `enable_irq` says; after an error, restores the previous command byte.
fn exchange<H: Hw>(
    bios: &mut Bios<H>,
    enable_irq: bool,
    run: impl FnOnce(&mut H) -> Result<(), PointerError>,
) -> Result<(), PointerError> {
    use controller::{AUX_OFF, INTERRUPTS, KEYBOARD_OFF, WRITE_COMMAND_BYTE};
    // Serve pending interrupts first.
    bios.hw.poll_interrupts();
    let before = bios.state.input.command_byte.get();
    let quiet = before & !(INTERRUPTS | AUX_OFF) | KEYBOARD_OFF;
    if !controller::command_with(bios.hw, WRITE_COMMAND_BYTE, quiet) {
        return Err(PointerError::Interface);
    }
    let result = run(bios.hw);
    let after = match result {
        Err(_) => before,
        Ok(()) if enable_irq => before & !AUX_OFF | MOUSE_INTERRUPT,
        Ok(()) => before & !MOUSE_INTERRUPT | AUX_OFF,
    };
    controller::command_with(bios.hw, WRITE_COMMAND_BYTE, after);
    bios.state.input.command_byte.set(after);
    result
}

/// IRQ 12: a byte from the mouse.
pub fn int74<H: Hw>(bios: &mut Bios<H>, _regs: &mut Regs) {
    let status = bios.hw.inb(STATUS);
    if status & (OUTPUT_FULL | FROM_AUX) == OUTPUT_FULL | FROM_AUX {
        let byte = bios.hw.inb(DATA);
        packet_byte(bios, byte);
    }
    pic::eoi(bios.hw, 12);
}

fn packet_byte<H: Hw>(bios: &mut Bios<H>, byte: u8) {
    let hw = &mut *bios.hw;
    let (flags, flags_2) = (hw.get(ebda::POINTER_FLAGS_1), hw.get(ebda::POINTER_FLAGS_2));
    if flags_2 & HANDLER_SET == 0 {
        return;
    }
    let now = hw.get(bda::TICKS);
    let late = now.wrapping_sub(bios.state.input.pointer_since.replace(now)) >= PACKET_TIMEOUT;
    let index = if late { 0 } else { flags & INDEX };
    let last = flags_2 & INDEX;
    if index == 0 && (2..=3).contains(&last) && byte & FIRST_BYTE == 0 {
        // Out of sync: drop the byte.
        return hw.set(ebda::POINTER_FLAGS_1, flags & !INDEX);
    }
    let data = ebda::current(hw, ebda::POINTER_DATA.at);
    hw.write8(data.add(index.into()), byte);
    if index < last {
        return hw.set(ebda::POINTER_FLAGS_1, flags & !INDEX | (index + 1));
    }
    hw.set(ebda::POINTER_FLAGS_1, flags & !INDEX);
    let mut words = [0; 4];
    for (n, word) in words.iter_mut().enumerate().take(usize::from(last) + 1) {
        *word = hw.read8(data.add(n as u16)).into();
    }
    let handler = FarPtr::from_u32(hw.get(ebda::POINTER_HANDLER));
    // Status, X, Y and Z are pushed in this order; the BIOS removes them after the call.
    hw.call_far_with(handler, words, &mut Regs::default());
}
