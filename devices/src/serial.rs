//! Asynchronous serial port: NS16550A (National Semiconductor PC16550D data sheet).
//!
//! COM1 to COM4 at 3F8h, 2F8h, 3E8h, 2E8h on IRQ 4, 3, 4, 3. The register file, the receive buffer and the loop back of
//! data are `vm-superio`'s. What that crate leaves out is added here: interrupts as levels with the data sheet's
//! priorities, the FIFO control register, character time-out, overrun, the modem status deltas and OUT2, which gates
//! the interrupt on every PC's board.
//!
//! Deliberately missing: time. A character is sent the moment it is written, so both holding and shift register are
//! always empty; received characters arrive as fast as the FIFO is emptied. Only the receive time-out follows the
//! baud rate. Breaks, parity and framing errors do not happen on a wire without noise. The host's end keeps DCD, DSR
//! and CTS on and RI off.

use crate::ctx::{CharId, Ctx, IrqLine, TimerId};
use crate::device::{Access, Device, Owned, Region, Wake};
use crate::state::RestoreError;
use crate::time::VmTime;
use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use vm_superio::Trigger;
use vm_superio::serial::{NoEvents, Serial, SerialState};

// Registers, as offsets (data sheet, table II).
const DATA: u8 = 0;
const IER: u8 = 1;
const IIR_FCR: u8 = 2;
const LCR: u8 = 3;
const MCR: u8 = 4;
const LSR: u8 = 5;
const MSR: u8 = 6;
const SCR: u8 = 7;

const LCR_DLAB: u8 = 0x80;

const LSR_OVERRUN: u8 = 1 << 1;
const LSR_TRANSMITTER_EMPTY: u8 = 3 << 5;

// Interrupt identification (data sheet, table IV), highest priority first.
const IIR_LINE_STATUS: u8 = 0x06;
const IIR_DATA: u8 = 0x04;
const IIR_TIMEOUT: u8 = 0x0c;
const IIR_TRANSMITTER: u8 = 0x02;
const IIR_MODEM: u8 = 0x00;
const IIR_NONE: u8 = 0x01;
const IIR_FIFO: u8 = 0xc0;

const MSR_TRAILING_RI: u8 = 1 << 2;
const MSR_RI: u8 = 1 << 6;
const MSR_LINES: u8 = 0xf0;

const FIFO_DEPTH: usize = 16;
/// The divisor counts down this clock (1.8432 MHz / 16).
const BAUD_BASE: u64 = 115_200;
/// The receive time-out (data sheet, 8.6.2 "FIFO interrupt mode operation").
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

/// The crate's way to say "interrupt": not used, levels are computed from the registers instead.
#[derive(Debug)]
struct Levels;

impl Trigger for Levels {
    type E = Infallible;
    fn trigger(&self) -> Result<(), Infallible> {
        Ok(())
    }
}

type Core = Serial<Levels, NoEvents, Vec<u8>>;

/// A 16550A.
pub struct Uart16550 {
    // Glue.
    port: u16,
    irq: u8,
    host: CharId,
    // The chip.
    core: Core,
    extra: Extra,
}

/// What the core does not keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Extra {
    /// The core's register, which it shows only while DLAB is 0.
    ier: Ier,
    fcr: Fcr,
    /// The transmitter-empty interrupt waits to be seen.
    transmitter_pending: bool,
    /// Characters have lain unread below the trigger level for too long.
    timed_out: bool,
    /// When that will be so.
    timeout_at: Option<VmTime>,
    overrun: bool,
    /// The low half of the modem status register.
    deltas: u8,
}

impl Extra {
    const RESET: Self = Self {
        ier: Ier::new(),
        fcr: Fcr::new(),
        transmitter_pending: false,
        timed_out: false,
        timeout_at: None,
        overrun: false,
        deltas: 0,
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
    // Refused only for a buffer of more than 64 bytes, which `load` and the FIFO's depth exclude.
    Serial::from_state(&state, Levels, NoEvents, Vec::new()).unwrap_or_else(|_| Serial::new(Levels, Vec::new()))
}

/// As after a master reset (data sheet, table III); the divisor, which a reset leaves alone, as for 9600 baud.
fn reset_core() -> Core {
    core(0, 0, 0, 12, 0, Vec::new())
}

impl Uart16550 {
    /// A port at I/O address `port` on ISA interrupt `irq`, whose wire is `host`'s.
    pub fn new(port: u16, irq: u8, host: CharId) -> Self {
        Self { port, irq, host, core: reset_core(), extra: Extra::RESET }
    }

    fn mcr(&mut self) -> Mcr {
        Mcr::from_bits(self.core.read(MCR))
    }

    fn lines(&mut self) -> u8 {
        self.core.read(MSR) & MSR_LINES
    }

    fn received(&self) -> usize {
        // 64 is the core's own buffer, of which only the real chip's depth is used.
        64 - self.core.fifo_capacity()
    }

    fn depth(&self) -> usize {
        if self.extra.fcr.enable() { FIFO_DEPTH } else { 1 }
    }

    /// Characters that make a data interrupt.
    fn trigger_level(&self) -> usize {
        if self.extra.fcr.enable() { [1, 4, 8, 14][usize::from(self.extra.fcr.trigger())] } else { 1 }
    }

    /// The interrupt that the identification register shows, if any.
    fn pending(&self) -> u8 {
        let Extra { ier, fcr: _, transmitter_pending, timed_out, timeout_at: _, overrun, deltas } = &self.extra;
        if ier.line_status() && *overrun {
            IIR_LINE_STATUS
        } else if ier.data() && self.received() >= self.trigger_level() {
            IIR_DATA
        } else if ier.data() && *timed_out {
            IIR_TIMEOUT
        } else if ier.transmitter() && *transmitter_pending {
            IIR_TRANSMITTER
        } else if ier.modem() && *deltas != 0 {
            IIR_MODEM
        } else {
            IIR_NONE
        }
    }

    fn drive_irq(&mut self, cx: &mut Ctx<'_>) {
        let mcr = self.mcr();
        // In loop back the modem outputs are forced off, OUT2 with them (data sheet, 8.7, bit 4).
        let gate = mcr.out2() && !mcr.loopback();
        cx.set_irq(IrqLine::Isa(self.irq), gate && self.pending() != IIR_NONE);
    }

    /// The four characters' time after the last one came or went (data sheet, 8.6.2).
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

    /// How long a character takes. A divisor of 0, which stops the real chip's clock, counts as 1.
    fn char_nanos(&mut self) -> u64 {
        let state = self.core.state();
        let divisor = u64::from(u16::from_le_bytes([state.baud_divisor_low, state.baud_divisor_high])).max(1);
        // Start bit, 5 to 8 data bits, parity, stop bits.
        let lcr = state.line_control;
        let bits = 1 + 5 + (lcr & 3) + (lcr >> 3 & 1) + 1 + (lcr >> 2 & 1);
        1_000_000_000 * u64::from(bits) * divisor / BAUD_BASE
    }

    /// Fills the receive buffer with what the host has.
    fn pull(&mut self, cx: &mut Ctx<'_>) {
        if self.mcr().loopback() {
            return;
        }
        let mut came = false;
        while self.received() < self.depth() {
            let Some(byte) = cx.take_char(self.host) else { break };
            let _ = self.core.enqueue_raw_bytes(&[byte]);
            came = true;
        }
        if came {
            self.restart_timeout(cx);
        }
    }

    fn clear_received(&mut self, cx: &mut Ctx<'_>) {
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
        // The other bits are programmed only together with the enable bit; the reset bits clear themselves.
        self.extra.fcr = if new.enable() {
            Fcr::new().with_enable(true).with_dma_mode(new.dma_mode()).with_trigger(new.trigger())
        } else {
            Fcr::new()
        };
        if toggled || (new.enable() && new.reset_receiver()) {
            self.clear_received(cx);
        } else {
            self.restart_timeout(cx);
        }
        if toggled || (new.enable() && new.reset_transmitter()) {
            self.extra.transmitter_pending = true;
        }
        self.pull(cx);
    }

    fn transmit(&mut self, cx: &mut Ctx<'_>, value: u8) {
        if self.mcr().loopback() {
            if self.received() >= self.depth() {
                // The newest character is lost from a FIFO, the older one from the lone buffer (8.4, bit 1).
                self.extra.overrun = true;
                if !self.extra.fcr.enable() {
                    self.core.read(DATA);
                    let _ = self.core.write(DATA, value);
                }
            } else {
                let _ = self.core.write(DATA, value);
                self.restart_timeout(cx);
            }
        } else {
            let _ = self.core.write(DATA, value);
            for byte in self.core.writer_mut().drain(..) {
                cx.put_char(self.host, byte);
            }
        }
        // Sent already. Writing took the interrupt away; the empty transmitter raises it anew: to an edge-triggered
        // interrupt controller that must be an edge.
        if self.extra.transmitter_pending && self.extra.ier.transmitter() {
            cx.set_irq(IrqLine::Isa(self.irq), false);
        }
        self.extra.transmitter_pending = true;
    }

    fn read_register(&mut self, cx: &mut Ctx<'_>, register: u8) -> u8 {
        let dlab = self.core.read(LCR) & LCR_DLAB != 0;
        match register {
            DATA if !dlab => {
                let byte = self.core.read(DATA);
                self.restart_timeout(cx);
                self.pull(cx);
                byte
            }
            IIR_FCR => {
                let pending = self.pending();
                if pending == IIR_TRANSMITTER {
                    self.extra.transmitter_pending = false;
                }
                pending | if self.extra.fcr.enable() { IIR_FIFO } else { 0 }
            }
            LSR => {
                let overrun = std::mem::take(&mut self.extra.overrun);
                self.core.read(LSR) | if overrun { LSR_OVERRUN } else { 0 }
            }
            MSR => self.lines() | std::mem::take(&mut self.extra.deltas),
            register => self.core.read(register),
        }
    }

    fn write_register(&mut self, cx: &mut Ctx<'_>, register: u8, value: u8) {
        let dlab = self.core.read(LCR) & LCR_DLAB != 0;
        match register {
            DATA if !dlab => self.transmit(cx, value),
            IER if !dlab => {
                let _ = self.core.write(IER, value);
                let new = Ier::from_bits(value & 0xf);
                // Enabling the interrupt while the transmitter is empty raises it.
                if new.transmitter() && !self.extra.ier.transmitter() {
                    self.extra.transmitter_pending = true;
                }
                self.extra.ier = new;
            }
            IIR_FCR => self.write_fcr(cx, value),
            MCR => {
                let before = self.lines();
                let _ = self.core.write(MCR, value & 0x1f);
                let after = self.lines();
                // Each line's change, but of RI only the end (8.8, bits 0 to 3).
                let changed = (before ^ after) >> 4;
                let ri_ended = before & MSR_RI != 0 && after & MSR_RI == 0;
                self.extra.deltas |= changed & !MSR_TRAILING_RI | if ri_ended { MSR_TRAILING_RI } else { 0 };
                self.pull(cx);
            }
            // Both are for the factory's tests.
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
            Wake::CharReady(from) if from == self.host => self.pull(cx),
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
        if mcr & !0x1f != 0 || extra.ier.into_bits() & 0xf0 != 0 || extra.deltas & 0xf0 != 0 {
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
