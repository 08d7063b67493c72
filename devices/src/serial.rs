//! NS16550A UART, serial port (National Semiconductor PC16550D data sheet).
//!
//! COM1 to COM4 at 3F8h, 2F8h, 3E8h, 2E8h on IRQ 4, 3, 4, 3. The `vm-superio` crate provides the register file, the
//! receive buffer and the data loopback. This file adds what the crate does not implement: level interrupts with the
//! data sheet's priorities, the FIFO control register, the character time-out, overrun, the modem status deltas, and
//! OUT2, which gates the interrupt on PC boards.
//!
//! Not implemented: the time that characters take. A character is sent when it is written, so the transmitter holding
//! and shift registers are always empty; received characters arrive as fast as the guest empties the FIFO. Only the
//! receive time-out follows the baud rate. Breaks, parity errors and framing errors do not occur. The host's end
//! asserts DCD, DSR and CTS, and never RI.

use crate::ctx::{CharId, Ctx, IrqLine, TimerId};
use crate::device::{Access, Device, Owned, Region, Wake};
use crate::state::RestoreError;
use crate::time::VmTime;
use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use vm_superio::Trigger;
use vm_superio::serial::{NoEvents, Serial, SerialState};

// Register offsets (data sheet, table II).
const RBR_THR: u8 = 0;
const IER: u8 = 1;
const IIR_FCR: u8 = 2;
const LCR: u8 = 3;
const MCR: u8 = 4;
const LSR: u8 = 5;
const MSR: u8 = 6;
const SCR: u8 = 7;

/// LCR: divisor latch access bit.
const LCR_DLAB: u8 = 0x80;

/// LSR, OE: overrun error.
const LSR_OVERRUN: u8 = 1 << 1;
/// LSR, THRE and TEMT: transmitter holding register and transmitter empty.
const LSR_TRANSMITTER_EMPTY: u8 = 3 << 5;

// Interrupt identification (data sheet, table IV), highest priority first.
const IIR_LINE_STATUS: u8 = 0x06;
const IIR_RECEIVED_DATA: u8 = 0x04;
const IIR_TIMEOUT: u8 = 0x0c;
const IIR_THR_EMPTY: u8 = 0x02;
const IIR_MODEM_STATUS: u8 = 0x00;
const IIR_NONE: u8 = 0x01;
/// IIR: the FIFOs are enabled.
const IIR_FIFO: u8 = 0xc0;

/// MSR, TERI: trailing edge of RI.
const MSR_TRAILING_RI: u8 = 1 << 2;
const MSR_RI: u8 = 1 << 6;
/// MSR: CTS, DSR, RI, DCD.
const MSR_LINES: u8 = 0xf0;

const FIFO_DEPTH: usize = 16;
/// Baud rate at divisor 1: 1.8432 MHz / 16.
const BAUD_BASE: u64 = 115_200;
/// The receive time-out in character times (data sheet, 8.6.2 "FIFO interrupt mode operation").
const TIMEOUT_CHARS: u64 = 4;
const TIMEOUT: TimerId = TimerId(0);

/// FIFO control register.
#[bitfield(u8)]
#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct Fcr {
    enable: bool,
    reset_receiver: bool,
    reset_transmitter: bool,
    dma_mode: bool,
    #[bits(2)]
    __: u8,
    #[bits(2)]
    trigger: u8,
}

/// Interrupt enable register.
#[bitfield(u8)]
#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct Ier {
    data: bool,
    transmitter: bool,
    line_status: bool,
    modem: bool,
    #[bits(4)]
    __: u8,
}

/// Modem control register.
#[bitfield(u8)]
struct Mcr {
    dtr: bool,
    rts: bool,
    out1: bool,
    out2: bool,
    loopback: bool,
    #[bits(3)]
    __: u8,
}

/// Ignores `vm-superio`'s interrupt events; the interrupt level is computed from the registers.
#[derive(Debug)]
struct NoTrigger;

impl Trigger for NoTrigger {
    type E = Infallible;
    fn trigger(&self) -> Result<(), Infallible> {
        Ok(())
    }
}

type Core = Serial<NoTrigger, NoEvents, Vec<u8>>;

/// A 16550A.
pub struct Uart16550 {
    // Wiring.
    port: u16,
    irq: u8,
    host: CharId,
    // Chip state.
    core: Core,
    extra: Extra,
}

/// Chip state that `vm-superio`'s `Serial` does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Extra {
    /// A copy of the core's IER, which the core returns only while DLAB is 0.
    ier: Ier,
    fcr: Fcr,
    /// The THR-empty interrupt is pending.
    thre_pending: bool,
    /// The receive time-out has expired: the FIFO holds characters below the trigger level.
    timed_out: bool,
    /// When the receive time-out expires.
    timeout_at: Option<VmTime>,
    overrun: bool,
    /// MSR bits 0 to 3: changes of the modem lines.
    modem_deltas: u8,
}

impl Extra {
    const RESET: Self = Self {
        ier: Ier::new(),
        fcr: Fcr::new(),
        thre_pending: false,
        timed_out: false,
        timeout_at: None,
        overrun: false,
        modem_deltas: 0,
    };
}

/// [`Uart16550`] in a saved state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UartState {
    divisor: u16,
    lcr: u8,
    mcr: u8,
    scratch: u8,
    received: Vec<u8>,
    extra: Extra,
}

fn core(ier: u8, lcr: u8, mcr: u8, divisor: u16, scratch: u8, received: Vec<u8>) -> Core {
    let [low, high] = divisor.to_le_bytes();
    let state = SerialState {
        baud_divisor_low: low,
        baud_divisor_high: high,
        interrupt_enable: ier,
        interrupt_identification: IIR_NONE,
        line_control: lcr,
        line_status: LSR_TRANSMITTER_EMPTY | u8::from(!received.is_empty()),
        modem_control: mcr,
        scratch,
        in_buffer: received,
        ..SerialState::default()
    };
    // Fails only for a buffer of more than 64 bytes, which `load` and the FIFO's depth exclude.
    Serial::from_state(&state, NoTrigger, NoEvents, Vec::new()).unwrap_or_else(|_| Serial::new(NoTrigger, Vec::new()))
}

/// The state after a master reset (data sheet, table III). The divisor, which a reset does not change, is 12: 9600
/// baud.
fn reset_core() -> Core {
    core(0, 0, 0, 12, 0, Vec::new())
}

impl Uart16550 {
    /// A UART at I/O address `port` on ISA IRQ `irq`, connected to the host's character stream `host`.
    pub fn new(port: u16, irq: u8, host: CharId) -> Self {
        Self { port, irq, host, core: reset_core(), extra: Extra::RESET }
    }

    fn mcr(&mut self) -> Mcr {
        Mcr::from_bits(self.core.read(MCR))
    }

    /// CTS, DSR, RI and DCD.
    fn modem_lines(&mut self) -> u8 {
        self.core.read(MSR) & MSR_LINES
    }

    /// Characters in the receive FIFO.
    fn received(&self) -> usize {
        // The core's buffer has 64 bytes, of which at most the real chip's depth is used.
        64 - self.core.fifo_capacity()
    }

    /// Depth of the receive FIFO: 1 while FIFOs are disabled.
    fn depth(&self) -> usize {
        if self.extra.fcr.enable() { FIFO_DEPTH } else { 1 }
    }

    /// Characters in the FIFO that raise the received data interrupt.
    fn trigger_level(&self) -> usize {
        if self.extra.fcr.enable() { [1, 4, 8, 14][usize::from(self.extra.fcr.trigger())] } else { 1 }
    }

    /// IIR bits 0 to 3: the pending interrupt of the highest priority.
    fn pending(&self) -> u8 {
        let Extra { ier, fcr: _, thre_pending, timed_out, timeout_at: _, overrun, modem_deltas } = &self.extra;
        if ier.line_status() && *overrun {
            IIR_LINE_STATUS
        } else if ier.data() && self.received() >= self.trigger_level() {
            IIR_RECEIVED_DATA
        } else if ier.data() && *timed_out {
            IIR_TIMEOUT
        } else if ier.transmitter() && *thre_pending {
            IIR_THR_EMPTY
        } else if ier.modem() && *modem_deltas != 0 {
            IIR_MODEM_STATUS
        } else {
            IIR_NONE
        }
    }

    fn drive_irq(&mut self, cx: &mut Ctx<'_>) {
        let mcr = self.mcr();
        // Loopback forces the modem outputs off, including OUT2 (data sheet, 8.7, bit 4).
        let gate = mcr.out2() && !mcr.loopback();
        cx.set_irq(IrqLine::Isa(self.irq), gate && self.pending() != IIR_NONE);
    }

    /// Restarts the receive time-out, after a character was received or read (data sheet, 8.6.2).
    fn restart_timeout(&mut self, cx: &mut Ctx<'_>) {
        let count = self.received();
        self.extra.timed_out = false;
        self.extra.timeout_at = (self.extra.fcr.enable() && count > 0 && count < self.trigger_level())
            .then(|| cx.now().plus_nanos(self.char_nanos() * TIMEOUT_CHARS));
        match self.extra.timeout_at {
            Some(at) => cx.arm(TIMEOUT, at),
            None => cx.disarm(TIMEOUT),
        }
    }

    /// Nanoseconds per character. A divisor of 0, which stops the real chip's clock, counts as 1.
    fn char_nanos(&mut self) -> u64 {
        let state = self.core.state();
        let divisor = u64::from(u16::from_le_bytes([state.baud_divisor_low, state.baud_divisor_high])).max(1);
        // Start bit, 5 to 8 data bits, parity, stop bits.
        let lcr = state.line_control;
        let bits = 1 + 5 + (lcr & 3) + (lcr >> 3 & 1) + 1 + (lcr >> 2 & 1);
        1_000_000_000 * u64::from(bits) * divisor / BAUD_BASE
    }

    /// Fills the receive FIFO with bytes from the host.
    fn fill_receive_fifo(&mut self, cx: &mut Ctx<'_>) {
        if self.mcr().loopback() {
            return;
        }
        let mut added = false;
        while self.received() < self.depth() {
            let Some(byte) = cx.take_char(self.host) else { break };
            let _ = self.core.enqueue_raw_bytes(&[byte]);
            added = true;
        }
        if added {
            self.restart_timeout(cx);
        }
    }

    fn clear_receive_fifo(&mut self, cx: &mut Ctx<'_>) {
        let SerialState {
            baud_divisor_low,
            baud_divisor_high,
            interrupt_enable,
            line_control,
            modem_control,
            scratch,
            ..
        } = self.core.state();
        let divisor = u16::from_le_bytes([baud_divisor_low, baud_divisor_high]);
        self.core = core(interrupt_enable, line_control, modem_control, divisor, scratch, Vec::new());
        self.extra.overrun = false;
        self.restart_timeout(cx);
    }

    fn write_fcr(&mut self, cx: &mut Ctx<'_>, value: u8) {
        let new = Fcr::from_bits(value);
        let toggled = new.enable() != self.extra.fcr.enable();
        // The other bits are written only if the enable bit is set; the reset bits are self-clearing.
        self.extra.fcr = if new.enable() {
            Fcr::new().with_enable(true).with_dma_mode(new.dma_mode()).with_trigger(new.trigger())
        } else {
            Fcr::new()
        };
        if toggled || (new.enable() && new.reset_receiver()) {
            self.clear_receive_fifo(cx);
        } else {
            self.restart_timeout(cx);
        }
        if toggled || (new.enable() && new.reset_transmitter()) {
            self.extra.thre_pending = true;
        }
        self.fill_receive_fifo(cx);
    }

    fn transmit(&mut self, cx: &mut Ctx<'_>, value: u8) {
        if self.mcr().loopback() {
            if self.received() >= self.depth() {
                // With FIFOs, the new character is lost; without, it overwrites the old one (8.4, bit 1).
                self.extra.overrun = true;
                if !self.extra.fcr.enable() {
                    self.core.read(RBR_THR);
                    let _ = self.core.write(RBR_THR, value);
                }
            } else {
                let _ = self.core.write(RBR_THR, value);
                self.restart_timeout(cx);
            }
        } else {
            let _ = self.core.write(RBR_THR, value);
            for byte in self.core.writer_mut().drain(..) {
                cx.put_char(self.host, byte);
            }
        }
        // The write clears the THR-empty interrupt, and the transmitter, which is empty again at once, raises it: the
        // edge-triggered interrupt controller must see a new edge.
        if self.extra.thre_pending && self.extra.ier.transmitter() {
            cx.set_irq(IrqLine::Isa(self.irq), false);
        }
        self.extra.thre_pending = true;
    }

    fn read_register(&mut self, cx: &mut Ctx<'_>, register: u8) -> u8 {
        let dlab = self.core.read(LCR) & LCR_DLAB != 0;
        match register {
            RBR_THR if !dlab => {
                let byte = self.core.read(RBR_THR);
                self.restart_timeout(cx);
                self.fill_receive_fifo(cx);
                byte
            }
            IIR_FCR => {
                let pending = self.pending();
                if pending == IIR_THR_EMPTY {
                    self.extra.thre_pending = false;
                }
                pending | if self.extra.fcr.enable() { IIR_FIFO } else { 0 }
            }
            LSR => {
                let overrun = std::mem::take(&mut self.extra.overrun);
                self.core.read(LSR) | if overrun { LSR_OVERRUN } else { 0 }
            }
            MSR => self.modem_lines() | std::mem::take(&mut self.extra.modem_deltas),
            register => self.core.read(register),
        }
    }

    fn write_register(&mut self, cx: &mut Ctx<'_>, register: u8, value: u8) {
        let dlab = self.core.read(LCR) & LCR_DLAB != 0;
        match register {
            RBR_THR if !dlab => self.transmit(cx, value),
            IER if !dlab => {
                let _ = self.core.write(IER, value);
                let new = Ier::from_bits(value & 0xf);
                // Enabling the THR-empty interrupt while the transmitter is empty raises it.
                if new.transmitter() && !self.extra.ier.transmitter() {
                    self.extra.thre_pending = true;
                }
                self.extra.ier = new;
            }
            IIR_FCR => self.write_fcr(cx, value),
            MCR => {
                let before = self.modem_lines();
                let _ = self.core.write(MCR, value & 0x1f);
                let after = self.modem_lines();
                // Every change of CTS, DSR and DCD sets a delta; RI only its trailing edge (8.8, bits 0 to 3).
                let changed = (before ^ after) >> 4;
                let ri_ended = before & MSR_RI != 0 && after & MSR_RI == 0;
                self.extra.modem_deltas |= changed & !MSR_TRAILING_RI | if ri_ended { MSR_TRAILING_RI } else { 0 };
                self.fill_receive_fifo(cx);
            }
            // Writes to these are for factory tests only (8.4, 8.8).
            LSR | MSR => {}
            register => {
                let _ = self.core.write(register, value);
            }
        }
    }
}

impl Device for Uart16550 {
    type State = UartState;
    const KIND: &'static str = "serial";
    const VERSION: u32 = 1;

    fn owns(&self) -> Owned {
        Owned { chars: vec![self.host], ..Owned::default() }
    }

    fn regions(&self) -> Vec<Region> {
        vec![Region::io(self.port, 8, 0).with_fifo()]
    }

    /// While DLAB is set, offsets 0 and 1 are the divisor latch.
    fn register_name(&self, at: Access) -> Option<&'static str> {
        let dlab = self.core.state().line_control & LCR_DLAB != 0;
        Some(match u8::try_from(at.offset).ok()? {
            RBR_THR => {
                if dlab {
                    "DLL"
                } else {
                    "RBR/THR"
                }
            }
            IER => {
                if dlab {
                    "DLM"
                } else {
                    "IER"
                }
            }
            IIR_FCR => "IIR/FCR",
            LCR => "LCR",
            MCR => "MCR",
            LSR => "LSR",
            MSR => "MSR",
            SCR => "SCR",
            _ => return None,
        })
    }

    fn read(&mut self, cx: &mut Ctx<'_>, at: Access, data: &mut [u8]) {
        for access in data.chunks_mut(at.width.max(1).into()) {
            for (register, byte) in (at.offset..=SCR.into()).zip(access) {
                *byte = self.read_register(cx, register as u8);
            }
        }
        self.drive_irq(cx);
    }

    fn write(&mut self, cx: &mut Ctx<'_>, at: Access, data: &[u8]) {
        for access in data.chunks(at.width.max(1).into()) {
            for (register, &byte) in (at.offset..=SCR.into()).zip(access) {
                self.write_register(cx, register as u8, byte);
            }
        }
        self.drive_irq(cx);
    }

    fn wake(&mut self, cx: &mut Ctx<'_>, why: Wake) {
        match why {
            Wake::CharReady(from) if from == self.host => self.fill_receive_fifo(cx),
            Wake::Timer(TIMEOUT) => {
                if self.extra.timeout_at.is_some_and(|at| at <= cx.now()) {
                    self.extra.timeout_at = None;
                    self.extra.timed_out = self.received() > 0;
                }
            }
            _ => return,
        }
        self.drive_irq(cx);
    }

    fn reset(&mut self, cx: &mut Ctx<'_>) {
        let Self { port: _, irq: _, host: _, core, extra } = self;
        *core = reset_core();
        *extra = Extra::RESET;
        cx.disarm(TIMEOUT);
        self.drive_irq(cx);
    }

    fn save(&self) -> UartState {
        let Self { port: _, irq: _, host: _, core, extra } = self;
        let SerialState {
            baud_divisor_low, baud_divisor_high, line_control, modem_control, scratch, in_buffer, ..
        } = core.state();
        UartState {
            divisor: u16::from_le_bytes([baud_divisor_low, baud_divisor_high]),
            lcr: line_control,
            mcr: modem_control,
            scratch,
            received: in_buffer,
            extra: extra.clone(),
        }
    }

    fn load(&mut self, state: UartState) -> Result<(), RestoreError> {
        let UartState { divisor, lcr, mcr, scratch, received, extra } = state;
        let impossible = |what| Err(RestoreError::Impossible { kind: Self::KIND, what });
        let depth = if extra.fcr.enable() { FIFO_DEPTH } else { 1 };
        if received.len() > depth {
            return impossible("receive buffer");
        }
        if mcr & !0x1f != 0 || extra.ier.into_bits() & 0xf0 != 0 || extra.modem_deltas & 0xf0 != 0 {
            return impossible("register");
        }
        if extra.fcr.reset_receiver() || extra.fcr.reset_transmitter() || extra.timed_out && received.is_empty() {
            return impossible("FIFO");
        }
        self.core = core(extra.ier.into_bits(), lcr, mcr, divisor, scratch, received);
        self.extra = extra;
        Ok(())
    }

    fn resync(&mut self, cx: &mut Ctx<'_>) {
        match self.extra.timeout_at {
            Some(at) => cx.arm(TIMEOUT, at),
            None => cx.disarm(TIMEOUT),
        }
        self.drive_irq(cx);
    }
}

#[cfg(test)]
mod tests;
