//! Test machine for the BIOS services: the device models of the PS/2 controller and of the RTC, an 8254 channel 0, the
//! mask registers of two 8259As, and interrupt delivery.

use crate::{Bios, State};
use pcvm_devices::Wake;
use pcvm_devices::cmos::{Cmos, CmosContents};
use pcvm_devices::ctx::IrqLine;
use pcvm_devices::input::InputEvent;
use pcvm_devices::ps2::Ps2Controller;
use pcvm_devices::testing::Bench;
use pcvm_firmware_rt::fake::{Bus, Fake};
use pcvm_firmware_rt::{Handoff, Regs};
use std::collections::BTreeMap;
use std::rc::Rc;

/// 2026-11-22 21:09:58.
pub const EPOCH: i64 = 1_795_381_798;

/// The devices behind the I/O ports.
pub struct Devices {
    pub ps2: Option<Bench<Ps2Controller>>,
    pub cmos: Bench<Cmos>,
    /// Nanoseconds since power-on.
    pub now: u64,
    latched: [u8; 2],
    /// Interrupt mask registers: master, slave.
    pub masks: [u8; 2],
    /// EOI commands that each interrupt controller has got: master, slave.
    pub eois: [u32; 2],
    /// Values of the ports without a model; an absent port reads as all ones.
    pub ports: BTreeMap<u16, u8>,
    /// Every write to a port without a model: port, size, value.
    pub written: Vec<(u16, u8, u32)>,
    /// PCI configuration space by address.
    pub config: BTreeMap<u32, u8>,
    config_address: u32,
    ticked: u64,
    /// IRQ 8 (RTC) is never delivered.
    pub drop_irq8: bool,
    served_edges: BTreeMap<u8, u32>,
}

const TICK: u64 = 54_925_400;

impl Devices {
    pub fn new() -> Self {
        Self {
            ps2: Some(Bench::new(Ps2Controller::new())),
            cmos: Bench::new(Cmos::new(EPOCH, CmosContents { low_ram: 64 << 20, ..CmosContents::default() })),
            now: 0,
            latched: [0; 2],
            masks: [0xff; 2],
            eois: [0; 2],
            ports: BTreeMap::from([(0x61, 0), (0x92, 2)]),
            written: Vec::new(),
            config: BTreeMap::new(),
            config_address: 0,
            ticked: 0,
            drop_irq8: false,
            served_edges: BTreeMap::new(),
        }
    }

    pub fn advance(&mut self, nanos: u64) {
        self.now += nanos;
        if let Some(ps2) = &mut self.ps2 {
            ps2.advance(nanos);
        }
        self.cmos.advance(nanos);
    }

    /// The user moves the mouse or presses or releases a key.
    pub fn user_input(&mut self, event: InputEvent) {
        if let Some(ps2) = &mut self.ps2 {
            ps2.call(|device, cx| pcvm_devices::Device::wake(device, cx, Wake::Input(event)));
        }
    }

    /// The next pending, unmasked IRQ.
    fn next_irq(&mut self) -> Option<u8> {
        if self.masks[0] & 1 == 0 && self.now / TICK > self.ticked {
            self.ticked += 1;
            return Some(0);
        }
        for irq in [1u8, 8, 12] {
            let line = IrqLine::Isa(irq);
            let edges = match (irq, &self.ps2) {
                (8, _) => self.cmos.edges.get(&line),
                (_, Some(ps2)) => ps2.edges.get(&line),
                _ => None,
            };
            let edges = edges.copied().unwrap_or(0);
            let masked = self.masks[usize::from(irq >> 3)] >> (irq & 7) & 1 != 0;
            let served = self.served_edges.entry(irq).or_default();
            if !masked && edges > *served && !(irq == 8 && self.drop_irq8) {
                *served = edges;
                return Some(irq);
            }
        }
        None
    }
}

impl Bus for Devices {
    fn read(&mut self, port: u16, size: u8) -> u32 {
        match port {
            0x60 | 0x64 => self.ps2.as_mut().map_or(0xff, |ps2| ps2.inb(port).into()),
            0x70 | 0x71 => self.cmos.inb(port).into(),
            0x40 => {
                self.latched.swap(0, 1);
                self.latched[1].into()
            }
            0x21 => self.masks[0].into(),
            0xa1 => self.masks[1].into(),
            0xcfc..=0xcff => (0..u32::from(size)).fold(0, |value, n| {
                let at = (self.config_address & 0xff_fffc) + u32::from(port & 3) + n;
                value | u32::from(self.config.get(&at).copied().unwrap_or(0xff)) << (8 * n)
            }),
            _ => self.ports.get(&port).map_or(u32::MAX, |&value| value.into()),
        }
    }

    fn write(&mut self, port: u16, size: u8, value: u32) {
        let byte = value as u8;
        match port {
            0x60 | 0x64 => {
                if let Some(ps2) = &mut self.ps2 {
                    ps2.outb(port, byte);
                }
            }
            0x70 | 0x71 => self.cmos.outb(port, byte),
            0x43 if byte == 0 => {
                // Each read of the counter takes 2 us.
                self.advance(2_000);
                let counts = self.now * 2_386_364 / 1_000_000_000;
                self.latched = (0u16.wrapping_sub(counts as u16) & !1).to_le_bytes();
            }
            0x21 => self.masks[0] = byte,
            0xa1 => self.masks[1] = byte,
            0x20 | 0xa0 if byte == 0x20 => self.eois[usize::from(port == 0xa0)] += 1,
            0xcf8 if size == 4 => self.config_address = value,
            0xcfc..=0xcff => {
                for n in 0..u32::from(size) {
                    let at = (self.config_address & 0xff_fffc) + u32::from(port & 3) + n;
                    self.config.insert(at, (value >> (8 * n)) as u8);
                }
            }
            _ => {
                if let Some(value_kept) = self.ports.get_mut(&port) {
                    *value_kept = byte;
                }
                self.written.push((port, size, value));
            }
        }
    }

    fn wait(&mut self) -> Vec<u8> {
        self.advance(250_000);
        Vec::new()
    }
}

/// The test machine with the BIOS state.
pub struct Machine {
    pub hw: Fake<Devices>,
    pub state: Rc<State>,
    pub handoff: &'static Handoff,
}

impl Machine {
    /// The machine after the BIOS has initialised data areas, RTC and keyboard. Interrupts that the BIOS calls do
    /// nothing; INT 15h AH=4Fh returns with CF set, which accepts the key.
    pub fn new() -> Self {
        Self::with(Devices::new(), Handoff::EMPTY)
    }

    pub fn with(devices: Devices, handoff: Handoff) -> Self {
        let state = Rc::new(State::new());
        let handoff: &'static Handoff = Box::leak(Box::new(handoff));
        let mut hw = Fake::new(devices);
        let waits = Rc::clone(&state);
        hw.on_wait = Some(Rc::new(move |hw| serve(hw, &waits, handoff)));
        let mut machine = Self { hw, state, handoff };
        let mut bios = machine.bios();
        crate::services::init(&mut bios);
        crate::input::init(&mut bios);
        machine.hw.bus.written.clear();
        machine
    }

    pub fn bios(&mut self) -> Bios<'_, Fake<Devices>> {
        Bios { hw: &mut self.hw, state: &self.state, handoff: self.handoff }
    }

    /// Runs the BIOS's handler of an interrupt.
    pub fn int(&mut self, vector: u8, mut regs: Regs) -> Regs {
        regs.vector = vector.into();
        regs.ss = 0x7000;
        regs.esp = 0x100;
        crate::interrupt(&mut self.bios(), &mut regs);
        regs
    }

    /// Runs the handler with only AX set.
    pub fn ax(&mut self, vector: u8, ax: u16) -> Regs {
        self.int(vector, Regs::with_ax(ax))
    }

    /// Advances time by `millis` ms, and serves the interrupts that come in it.
    pub fn run(&mut self, millis: u64) {
        for _ in 0..millis * 4 {
            self.hw.bus.advance(250_000);
            serve(&mut self.hw, &Rc::clone(&self.state), self.handoff);
        }
    }

    /// Presses or releases a key, and runs 4 ms in which its scan codes are served.
    pub fn key(&mut self, code: u16, down: bool) {
        self.hw.bus.user_input(InputEvent::Key { code, down });
        self.run(4);
    }

    /// Presses and releases a key.
    pub fn tap(&mut self, code: u16) {
        self.key(code, true);
        self.key(code, false);
    }

    /// Returns the words in the keyboard buffer and empties it.
    pub fn typed(&mut self) -> Vec<u16> {
        let mut words = Vec::new();
        let word = |hw: &Fake<Devices>, at: u16| {
            let at = 0x400 + usize::from(at);
            u16::from_le_bytes([hw.memory[at], hw.memory[at + 1]])
        };
        let (mut head, tail) = (word(&self.hw, 0x1a), word(&self.hw, 0x1c));
        while head != tail {
            words.push(word(&self.hw, head));
            head = if head + 2 == 0x3e { 0x1e } else { head + 2 };
        }
        self.hw.memory[0x41a] = tail as u8;
        words
    }

    /// A byte of the BIOS data area, by its offset.
    pub fn bda(&self, at: usize) -> u8 {
        self.hw.memory[0x400 + at]
    }
}

fn serve(hw: &mut Fake<Devices>, state: &State, handoff: &Handoff) {
    while let Some(irq) = hw.bus.next_irq() {
        let vector = if irq < 8 { 0x08 + irq } else { 0x68 + irq };
        let mut regs = Regs::with_ax(0);
        (regs.vector, regs.ss, regs.esp) = (vector.into(), 0x7000, 0x200);
        crate::interrupt(&mut Bios { hw, state, handoff }, &mut regs);
    }
}
