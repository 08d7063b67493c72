//! The controller and its functions as a driver sees them.

mod hostile;
mod input;
mod registers;
mod requests;
mod schedule;

use super::td::{Control, Td, Token};
use super::*;
use crate::testing::Bench;

/// Where its ports are.
const IO: u16 = 0xc100;
/// Where the schedule is.
const LIST: u64 = 0x10_0000;
const QUEUE: u64 = 0x10_1000;
const TDS: u64 = 0x10_2000;
const BUFFERS: u64 = 0x10_8000;
const FRAME: u64 = 1_000_000;

const IN: u8 = 0x69;
const OUT: u8 = 0xe1;
const SETUP: u8 = 0x2d;

/// Ports of the tablet and the keyboard.
const TABLET: u16 = 0x10;
const KEYBOARD: u16 = 0x12;

struct Host {
    bench: Bench<Piix3Usb>,
}

/// A TD as a test wants it.
#[derive(Clone, Copy)]
struct Want {
    pid: u8,
    address: u8,
    endpoint: u8,
    toggle: bool,
    bytes: usize,
    low_speed: bool,
    errors: u8,
    interrupt: bool,
    short: bool,
}

impl Want {
    fn new(pid: u8, address: u8, bytes: usize) -> Self {
        let toggle = pid != SETUP;
        Self { pid, address, endpoint: 0, toggle, bytes, low_speed: false, errors: 3, interrupt: false, short: false }
    }

    fn control(&self) -> Control {
        Control::new()
            .with_actual(0x7ff)
            .with_active(true)
            .with_complete_interrupt(self.interrupt)
            .with_low_speed(self.low_speed)
            .with_errors(self.errors)
            .with_short_packet(self.short)
    }

    fn token(&self) -> Token {
        Token::new()
            .with_pid(self.pid)
            .with_address(self.address)
            .with_endpoint(self.endpoint)
            .with_toggle(self.toggle)
            .with_bytes(self.bytes)
    }
}

impl Host {
    /// The function where firmware put it, with an empty schedule, stopped.
    fn new() -> Self {
        let mut bench = Bench::new(Piix3Usb::new());
        bench.config_write(0x20, 4, IO.into());
        bench.config_write(0x04, 2, 5);
        let mut host = Self { bench };
        for n in 0..1024 {
            host.poke(LIST + 4 * n, 1);
        }
        host.bench.outl(IO + 8, LIST as u32);
        host.bench.outw(IO + 4, 0xf);
        host
    }

    /// The same, running, with both ports enabled.
    fn running() -> Self {
        let mut host = Self::new();
        host.bench.outw(IO, 0x81);
        for port in [TABLET, KEYBOARD] {
            host.enable(port);
        }
        host
    }

    fn enable(&mut self, port: u16) {
        self.bench.outw(IO + port, 0x200);
        self.bench.outw(IO + port, 0);
        self.bench.outw(IO + port, 0xe);
        assert_eq!(self.bench.inw(IO + port) & 0xf, 0x5, "connected and enabled");
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

    fn put_td(&mut self, n: u64, link: u32, want: &Want) {
        let buffer = (BUFFERS + 0x100 * n) as u32;
        let dwords = [link, want.control().into_bits(), want.token().into_bits(), buffer];
        self.bench.memory.write(TDS + 16 * n, &dwords.map(u32::to_le_bytes).concat());
    }

    fn data(&self, n: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.bench.memory.read(BUFFERS + 0x100 * n, &mut bytes);
        bytes
    }

    /// A queue of TDs, followed depth first, in every entry of the frame list.
    fn queue(&mut self, wants: &[Want]) {
        let last = wants.len() as u64 - 1;
        for (n, want) in (0..).zip(wants) {
            let link = if n == last { 1 } else { (TDS + 16 * (n + 1)) as u32 | 4 };
            self.put_td(n, link, want);
        }
        self.poke(QUEUE, 1);
        self.poke(QUEUE + 4, TDS as u32);
        for n in 0..1024 {
            self.poke(LIST + 4 * n, QUEUE as u32 | 2);
        }
    }

    fn frames(&mut self, count: u64) {
        self.bench.advance(count * FRAME);
    }

    fn status(&mut self) -> u16 {
        self.bench.inw(IO + 2)
    }

    fn irq(&self) -> bool {
        self.bench.irq(IrqLine::Pci(PIN))
    }

    /// A control transfer to `address`: what came, or that it stalled.
    fn control(&mut self, address: u8, setup: [u8; 8], out: &[u8]) -> Result<Vec<u8>, ()> {
        let low_speed = address == KEYBOARD_ADDRESS;
        let length = usize::from(u16::from_le_bytes([setup[6], setup[7]]));
        let reads = setup[0] & 0x80 != 0;
        let mut wants = vec![Want { low_speed, ..Want::new(SETUP, address, 8) }];
        let mut toggle = true;
        let mut left = length;
        while left > 0 {
            let bytes = left.min(8);
            let pid = if reads { IN } else { OUT };
            wants.push(Want { low_speed, toggle, short: true, ..Want::new(pid, address, bytes) });
            toggle = !toggle;
            left -= bytes;
        }
        let status = Want { low_speed, ..Want::new(if reads && length > 0 { OUT } else { IN }, address, 0) };
        wants.push(Want { interrupt: true, ..status });
        self.queue(&wants);
        self.bench.memory.write(BUFFERS, &setup);
        for (n, part) in (1..).zip(out.chunks(8)) {
            self.bench.memory.write(BUFFERS + 0x100 * n, part);
        }
        self.bench.outw(IO + 2, 0x1f);
        let last = wants.len() as u64 - 1;
        let mut data = Vec::new();
        // As many frames as bandwidth asks for.
        for _ in 0..200 {
            self.frames(1);
            if !self.td(last).control.active() || self.status() & 2 != 0 {
                break;
            }
            // A short packet ends the data: on to the status stage.
            if (1..last).any(|n| {
                let td = self.td(n);
                let control = td.control;
                !control.active() && usize::from(control.actual().wrapping_add(1) & 0x7ff) < td.token.bytes().unwrap()
            }) {
                self.poke(QUEUE + 4, (TDS + 16 * last) as u32);
            }
        }
        for n in 1..last {
            let td = self.td(n);
            if reads && !td.control.active() && !td.control.stalled() {
                data.extend(self.data(n, usize::from(td.control.actual().wrapping_add(1) & 0x7ff)));
            }
        }
        let stalled = (0..=last).any(|n| self.td(n).control.stalled());
        if stalled {
            assert_ne!(self.status() & 2, 0, "a stall is told");
            return Err(());
        }
        assert!(!self.td(last).control.active(), "the transfer never ends");
        Ok(data)
    }

    /// Requests without data, or data that come.
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

    /// Both functions addressed and configured.
    fn configured() -> Self {
        let mut host = Self::new();
        host.bench.outw(IO, 0x81);
        for (port, address) in [(TABLET, TABLET_ADDRESS), (KEYBOARD, KEYBOARD_ADDRESS)] {
            host.enable(port);
            // While the address is 0, only this function may have it and only its speed hears.
            let low_speed = port == KEYBOARD;
            let setup = Want { low_speed, ..Want::new(SETUP, 0, 8) };
            let status = Want { low_speed, ..Want::new(IN, 0, 0) };
            host.queue(&[setup, status]);
            host.bench.memory.write(BUFFERS, &[0, 5, address, 0, 0, 0, 0, 0]);
            host.frames(3);
            assert!(!host.td(1).control.active() && !host.td(1).control.stalled());
            host.request(address, 0, 9, 1, 0, 0).unwrap();
        }
        host
    }

    /// Asks for a report of `bytes` at most, in every frame.
    fn poll(&mut self, address: u8, toggle: bool, bytes: usize) {
        let low_speed = address == KEYBOARD_ADDRESS;
        let want = Want { endpoint: 1, toggle, low_speed, interrupt: true, ..Want::new(IN, address, bytes) };
        self.queue(&[want]);
    }

    /// The report that came, if one did.
    fn report(&self) -> Option<Vec<u8>> {
        let control = self.td(0).control;
        (!control.active()).then(|| self.data(0, usize::from(control.actual().wrapping_add(1) & 0x7ff)))
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
fn generic() {
    crate::testing::generic_tests(Piix3Usb::new);
}

/// Timer wake-ups in this much time.
fn wakes(host: &mut Host, millis: u64) -> u32 {
    let mut wakes = 0;
    let until = host.bench.now().plus_nanos(millis * FRAME);
    while let Some(&at) = host.bench.timers.get(&TIMER).filter(|&&at| at <= until) {
        let step = at.since(host.bench.now()).as_nanos() as u64;
        host.bench.advance(step);
        wakes += 1;
    }
    let rest = until.since(host.bench.now()).as_nanos() as u64;
    host.bench.advance(rest);
    wakes
}

#[test]
fn an_idle_controller_lets_the_host_sleep() {
    let mut host = Host::new();
    assert_eq!(wakes(&mut host, 1000), 0, "stopped");
    let mut host = Host::configured();
    host.poll(TABLET_ADDRESS, false, 8);
    wakes(&mut host, 1000);
    let idle = wakes(&mut host, 1000);
    assert!((15..=16).contains(&idle), "{idle} wake-ups a second");
    // What a person does is told in the next frame.
    host.input(InputEvent::Pointer { x: Some(1), y: Some(2), dz: 0, buttons: 0 });
    host.frames(1);
    assert_eq!(host.report(), Some(vec![0, 1, 0, 2, 0, 0]));
    // FRNUM does not depend on any of that.
    let before = host.bench.inw(IO + 6);
    wakes(&mut host, 777);
    assert_eq!(host.bench.inw(IO + 6), (before + 777) & 0x7ff);
}
