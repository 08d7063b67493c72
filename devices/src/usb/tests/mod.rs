//! The UHCI controller and its functions, driven as a guest driver drives them.

mod hostile;
mod input;
mod registers;
mod requests;
mod schedule;

use super::td::{Td, TdStatus, Token};
use super::*;
use crate::testing::Bench;

/// Base of the I/O ports.
const IO: u16 = 0xc100;
/// Guest addresses of the schedule.
const FRAME_LIST: u64 = 0x10_0000;
const QH: u64 = 0x10_1000;
const TDS: u64 = 0x10_2000;
const BUFFERS: u64 = 0x10_8000;
const FRAME_NANOS: u64 = 1_000_000;

const IN: u8 = 0x69;
const OUT: u8 = 0xe1;
const SETUP: u8 = 0x2d;

// Registers (UHCI Design Guide 1.1, section 2.1). The tablet is at port 1, the keyboard at port 2.
const USBCMD: u16 = IO;
const USBSTS: u16 = IO + 0x02;
const USBINTR: u16 = IO + 0x04;
const FRNUM: u16 = IO + 0x06;
const FRBASEADD: u16 = IO + 0x08;
const SOFMOD: u16 = IO + 0x0c;
const PORTSC1: u16 = IO + 0x10;
const PORTSC2: u16 = IO + 0x12;

struct Driver {
    bench: Bench<Piix3Usb>,
}

/// The fields of a TD that a test sets.
#[derive(Clone, Copy)]
struct TdSpec {
    pid: u8,
    address: u8,
    endpoint: u8,
    toggle: bool,
    bytes: usize,
    low_speed: bool,
    c_err: u8,
    ioc: bool,
    spd: bool,
}

impl TdSpec {
    fn new(pid: u8, address: u8, bytes: usize) -> Self {
        let toggle = pid != SETUP;
        Self { pid, address, endpoint: 0, toggle, bytes, low_speed: false, c_err: 3, ioc: false, spd: false }
    }

    fn status(&self) -> TdStatus {
        TdStatus::new()
            .with_act_len(0x7ff)
            .with_active(true)
            .with_ioc(self.ioc)
            .with_ls(self.low_speed)
            .with_c_err(self.c_err)
            .with_spd(self.spd)
    }

    fn token(&self) -> Token {
        Token::new()
            .with_pid_code(self.pid)
            .with_device_address(self.address)
            .with_endpt(self.endpoint)
            .with_data_toggle(self.toggle)
            .with_max_len(self.bytes)
    }
}

impl Driver {
    /// The controller as firmware leaves it: BAR 4 mapped, bus master, stopped, with an empty frame list.
    fn new() -> Self {
        let mut bench = Bench::new(Piix3Usb::new());
        bench.config_write(0x20, 4, IO.into());
        bench.config_write(0x04, 2, 5);
        let mut driver = Self { bench };
        for n in 0..1024 {
            driver.poke(FRAME_LIST + 4 * n, 1);
        }
        driver.bench.outl(FRBASEADD, FRAME_LIST as u32);
        driver.bench.outw(USBINTR, 0xf);
        driver
    }

    /// The same, running, with both ports enabled.
    fn running() -> Self {
        let mut driver = Self::new();
        driver.bench.outw(USBCMD, 0x81);
        for port in [PORTSC1, PORTSC2] {
            driver.enable(port);
        }
        driver
    }

    fn enable(&mut self, port: u16) {
        self.bench.outw(port, 0x200);
        self.bench.outw(port, 0);
        self.bench.outw(port, 0xe);
        assert_eq!(self.bench.inw(port) & 0xf, 0x5, "the port is connected and enabled");
    }

    fn poke(&mut self, at: u64, value: u32) {
        self.bench.memory.write(at, &value.to_le_bytes());
    }

    fn peek(&self, at: u64) -> u32 {
        self.bench.memory.read_u32(at)
    }

    fn td(&self, n: u64) -> Td {
        let mut bytes = [0; 16];
        self.bench.memory.read(TDS + 16 * n, &mut bytes);
        Td::parse(&bytes)
    }

    fn put_td(&mut self, n: u64, link: u32, spec: &TdSpec) {
        let buffer = (BUFFERS + 0x100 * n) as u32;
        let dwords = [link, spec.status().into_bits(), spec.token().into_bits(), buffer];
        self.bench.memory.write(TDS + 16 * n, &dwords.map(u32::to_le_bytes).concat());
    }

    fn data(&self, n: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.bench.memory.read(BUFFERS + 0x100 * n, &mut bytes);
        bytes
    }

    /// Puts a depth-first queue of TDs into every entry of the frame list.
    fn queue(&mut self, specs: &[TdSpec]) {
        let last = specs.len() as u64 - 1;
        for (n, spec) in (0..).zip(specs) {
            let link = if n == last { 1 } else { (TDS + 16 * (n + 1)) as u32 | 4 };
            self.put_td(n, link, spec);
        }
        self.poke(QH, 1);
        self.poke(QH + 4, TDS as u32);
        for n in 0..1024 {
            self.poke(FRAME_LIST + 4 * n, QH as u32 | 2);
        }
    }

    fn frames(&mut self, count: u64) {
        self.bench.advance(count * FRAME_NANOS);
    }

    fn usbsts(&mut self) -> u16 {
        self.bench.inw(USBSTS)
    }

    fn irq(&self) -> bool {
        self.bench.irq(IrqLine::Pci(PIN))
    }

    /// Runs a control transfer with the function at `address`. Returns the data, or an error if the function stalled.
    fn control(&mut self, address: u8, setup: [u8; 8], out: &[u8]) -> Result<Vec<u8>, ()> {
        let low_speed = address == KEYBOARD_ADDRESS;
        let length = usize::from(u16::from_le_bytes([setup[6], setup[7]]));
        let reads = setup[0] & 0x80 != 0;
        let mut specs = vec![TdSpec { low_speed, ..TdSpec::new(SETUP, address, 8) }];
        let mut toggle = true;
        let mut left = length;
        while left > 0 {
            let bytes = left.min(8);
            let pid = if reads { IN } else { OUT };
            specs.push(TdSpec { low_speed, toggle, spd: true, ..TdSpec::new(pid, address, bytes) });
            toggle = !toggle;
            left -= bytes;
        }
        let status = TdSpec { low_speed, ..TdSpec::new(if reads && length > 0 { OUT } else { IN }, address, 0) };
        specs.push(TdSpec { ioc: true, ..status });
        self.queue(&specs);
        self.bench.memory.write(BUFFERS, &setup);
        for (n, part) in (1..).zip(out.chunks(8)) {
            self.bench.memory.write(BUFFERS + 0x100 * n, part);
        }
        self.bench.outw(USBSTS, 0x1f);
        let last = specs.len() as u64 - 1;
        let mut data = Vec::new();
        // Bus time may spread the transfer over several frames.
        for _ in 0..200 {
            self.frames(1);
            if !self.td(last).status.active() || self.usbsts() & 2 != 0 {
                break;
            }
            // A short packet ends the data stage: advance to the status stage.
            if (1..last).any(|n| {
                let td = self.td(n);
                let status = td.status;
                !status.active() && usize::from(status.act_len().wrapping_add(1) & 0x7ff) < td.token.max_len().unwrap()
            }) {
                self.poke(QH + 4, (TDS + 16 * last) as u32);
            }
        }
        for n in 1..last {
            let td = self.td(n);
            if reads && !td.status.active() && !td.status.stalled() {
                data.extend(self.data(n, usize::from(td.status.act_len().wrapping_add(1) & 0x7ff)));
            }
        }
        let stalled = (0..=last).any(|n| self.td(n).status.stalled());
        if stalled {
            assert_ne!(self.usbsts() & 2, 0, "a stall sets the USB Error Interrupt bit");
            return Err(());
        }
        assert!(!self.td(last).status.active(), "the transfer did not complete");
        Ok(data)
    }

    /// Runs a control transfer without OUT data.
    fn request(
        &mut self,
        address: u8,
        kind: u8,
        request: u8,
        value: u16,
        index: u16,
        length: u16,
    ) -> Result<Vec<u8>, ()> {
        let ([v, w], [i, j], [l, m]) = (value.to_le_bytes(), index.to_le_bytes(), length.to_le_bytes());
        self.control(address, [kind, request, v, w, i, j, l, m], &[])
    }

    /// The controller with both functions addressed and configured.
    fn configured() -> Self {
        let mut driver = Self::new();
        driver.bench.outw(USBCMD, 0x81);
        for (port, address) in [(PORTSC1, TABLET_ADDRESS), (PORTSC2, KEYBOARD_ADDRESS)] {
            driver.enable(port);
            // At address 0 only the port's speed separates the functions.
            let low_speed = port == PORTSC2;
            let setup = TdSpec { low_speed, ..TdSpec::new(SETUP, 0, 8) };
            let status = TdSpec { low_speed, ..TdSpec::new(IN, 0, 0) };
            driver.queue(&[setup, status]);
            driver.bench.memory.write(BUFFERS, &[0, 5, address, 0, 0, 0, 0, 0]);
            driver.frames(3);
            assert!(!driver.td(1).status.active() && !driver.td(1).status.stalled());
            driver.request(address, 0, 9, 1, 0, 0).unwrap();
        }
        driver
    }

    /// Polls the interrupt endpoint in every frame, for a report of `bytes` at most.
    fn poll(&mut self, address: u8, toggle: bool, bytes: usize) {
        let low_speed = address == KEYBOARD_ADDRESS;
        let spec = TdSpec { endpoint: 1, toggle, low_speed, ioc: true, ..TdSpec::new(IN, address, bytes) };
        self.queue(&[spec]);
    }

    /// The report that the last poll returned, if any.
    fn report(&self) -> Option<Vec<u8>> {
        let status = self.td(0).status;
        (!status.active()).then(|| self.data(0, usize::from(status.act_len().wrapping_add(1) & 0x7ff)))
    }

    fn input(&mut self, event: InputEvent) {
        self.bench.call(|device, cx| Device::wake(device, cx, Wake::Input(event)));
    }

    fn key(&mut self, code: u16, down: bool) {
        self.input(InputEvent::Key { code, down });
    }
}

const TABLET_ADDRESS: u8 = 5;
const KEYBOARD_ADDRESS: u8 = 6;

#[test]
fn the_controller_passes_the_generic_device_tests() {
    crate::testing::generic_tests(Piix3Usb::new);
}

/// Lets `millis` milliseconds pass and counts the timer wake-ups.
fn timer_wakeups(driver: &mut Driver, millis: u64) -> u32 {
    let mut wakes = 0;
    let until = driver.bench.now().plus_nanos(millis * FRAME_NANOS);
    while let Some(&at) = driver.bench.timers.get(&TIMER).filter(|&&at| at <= until) {
        let step = at.since(driver.bench.now()).as_nanos() as u64;
        driver.bench.advance(step);
        wakes += 1;
    }
    let rest = until.since(driver.bench.now()).as_nanos() as u64;
    driver.bench.advance(rest);
    wakes
}

#[test]
fn an_idle_schedule_needs_few_timer_wakeups() {
    let mut driver = Driver::new();
    assert_eq!(timer_wakeups(&mut driver, 1000), 0, "a stopped controller arms no timer");
    let mut driver = Driver::configured();
    driver.poll(TABLET_ADDRESS, false, 8);
    timer_wakeups(&mut driver, 1000);
    let idle = timer_wakeups(&mut driver, 1000);
    assert!((15..=16).contains(&idle), "{idle} wake-ups a second");
    // An input event is reported in the next frame.
    driver.input(InputEvent::Pointer { x: Some(1), y: Some(2), dz: 0, buttons: 0 });
    driver.frames(1);
    assert_eq!(driver.report(), Some(vec![0, 1, 0, 2, 0, 0]));
    // FRNUM is exact although frames run in batches.
    let before = driver.bench.inw(FRNUM);
    timer_wakeups(&mut driver, 777);
    assert_eq!(driver.bench.inw(FRNUM), (before + 777) & 0x7ff);
}
