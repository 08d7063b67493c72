//! A machine for tests: 1 MiB and 64 KiB of memory, ports that are somebody else's, and a record of what was called.

use crate::far::FarPtr;
use crate::hw::{Hw, Ports};
use crate::regs::Regs;
use std::collections::VecDeque;

/// What runs in place of an interrupt's handler: it gets memory by linear address, the number, and the registers.
pub type OnInterrupt = Box<dyn FnMut(&mut Vec<u8>, u8, &mut Regs)>;
/// What runs in place of a far procedure.
pub type OnCall = Box<dyn FnMut(&mut Vec<u8>, FarPtr, &mut Regs)>;

/// Ports of a [`Fake`].
pub trait Bus {
    /// Reads `size` (1, 2 or 4) bytes from `port`.
    fn read(&mut self, port: u16, size: u8) -> u32;
    /// Writes them.
    fn write(&mut self, port: u16, size: u8, value: u32);
    /// The processor waits for an interrupt: let time pass. Returns the vectors of interrupts that came.
    fn wait(&mut self) -> Vec<u8> {
        Vec::new()
    }
}

/// No device at all: every read gives ones.
#[derive(Debug, Default)]
pub struct Nothing;

impl Bus for Nothing {
    fn read(&mut self, _port: u16, _size: u8) -> u32 {
        u32::MAX
    }
    fn write(&mut self, _port: u16, _size: u8, _value: u32) {}
}

/// The machine.
pub struct Fake<B> {
    /// Memory by linear address.
    pub memory: Vec<u8>,
    /// The devices.
    pub bus: B,
    /// What runs for interrupts; nothing does without.
    pub on_interrupt: Option<OnInterrupt>,
    /// As above, for far calls.
    pub on_call: Option<OnCall>,
    /// Interrupts called, in order.
    pub called: Vec<u8>,
    /// Where [`Hw::enter`] went.
    pub entered: Option<(FarPtr, Regs)>,
    /// What [`Hw::boot_again`] was last called for.
    pub booted_again: Option<u8>,
    /// Times [`Hw::reset`] was called.
    pub resets: u32,
    /// Interrupts that waits have brought and that the test has not served.
    pub pending: VecDeque<u8>,
    /// Times that the processor halted.
    pub halts: u32,
    /// Far calls with words on their stack.
    pub called_with: Vec<(FarPtr, [u16; 4])>,
    /// Times that the processor was stopped for good.
    pub stops: u32,
    /// IF.
    pub interrupts: bool,
    /// PE.
    pub protected: bool,
    /// A20.
    pub a20: bool,
}

impl<B: Bus> Fake<B> {
    /// A machine with these devices, memory all zero.
    pub fn new(bus: B) -> Self {
        Self {
            memory: vec![0; 0x11_0000],
            bus,
            on_interrupt: None,
            on_call: None,
            called: Vec::new(),
            entered: None,
            booted_again: None,
            resets: 0,
            pending: VecDeque::new(),
            halts: 0,
            called_with: Vec::new(),
            stops: 0,
            interrupts: false,
            protected: false,
            a20: true,
        }
    }

    fn served(&mut self) {
        let came = self.bus.wait();
        self.pending.extend(came);
    }
}

impl<B: Bus> Ports for Fake<B> {
    fn inb(&mut self, port: u16) -> u8 {
        self.bus.read(port, 1) as u8
    }
    fn inw(&mut self, port: u16) -> u16 {
        self.bus.read(port, 2) as u16
    }
    fn inl(&mut self, port: u16) -> u32 {
        self.bus.read(port, 4)
    }
    fn outb(&mut self, port: u16, value: u8) {
        self.bus.write(port, 1, value.into());
    }
    fn outw(&mut self, port: u16, value: u16) {
        self.bus.write(port, 2, value.into());
    }
    fn outl(&mut self, port: u16, value: u32) {
        self.bus.write(port, 4, value);
    }
}

impl<B: Bus> Hw for Fake<B> {
    fn read8(&mut self, at: FarPtr) -> u8 {
        self.memory[at.linear() as usize]
    }
    fn read16(&mut self, at: FarPtr) -> u16 {
        u16::from_le_bytes([self.read8(at), self.read8(at.add(1))])
    }
    fn read32(&mut self, at: FarPtr) -> u32 {
        u32::from(self.read16(at)) | u32::from(self.read16(at.add(2))) << 16
    }
    fn write8(&mut self, at: FarPtr, value: u8) {
        self.memory[at.linear() as usize] = value;
    }
    fn write16(&mut self, at: FarPtr, value: u16) {
        self.write8(at, value as u8);
        self.write8(at.add(1), (value >> 8) as u8);
    }
    fn write32(&mut self, at: FarPtr, value: u32) {
        self.write16(at, value as u16);
        self.write16(at.add(2), (value >> 16) as u16);
    }
    fn insw(&mut self, port: u16, to: FarPtr, words: u16) {
        for n in 0..words {
            let value = self.inw(port);
            self.write16(to.add(n.wrapping_mul(2)), value);
        }
    }
    fn insl(&mut self, port: u16, to: FarPtr, dwords: u16) {
        for n in 0..dwords {
            let value = self.inl(port);
            self.write32(to.add(n.wrapping_mul(4)), value);
        }
    }
    fn outsw(&mut self, port: u16, from: FarPtr, words: u16) {
        for n in 0..words {
            let value = self.read16(from.add(n.wrapping_mul(2)));
            self.outw(port, value);
        }
    }
    fn outsl(&mut self, port: u16, from: FarPtr, dwords: u16) {
        for n in 0..dwords {
            let value = self.read32(from.add(n.wrapping_mul(4)));
            self.outl(port, value);
        }
    }
    fn copy(&mut self, from: FarPtr, to: FarPtr, bytes: u16) {
        for n in 0..bytes {
            let value = self.read8(from.add(n));
            self.write8(to.add(n), value);
        }
    }
    fn fill(&mut self, to: FarPtr, value: u8, bytes: u16) {
        for n in 0..bytes {
            self.write8(to.add(n), value);
        }
    }
    fn wait_for_interrupt(&mut self) {
        self.halts += 1;
        self.served();
    }
    fn poll_interrupts(&mut self) {
        self.served();
    }
    fn set_interrupts(&mut self, enabled: bool) -> bool {
        std::mem::replace(&mut self.interrupts, enabled)
    }
    fn call_interrupt(&mut self, number: u8, regs: &mut Regs) {
        self.called.push(number);
        if let Some(mut hook) = self.on_interrupt.take() {
            hook(&mut self.memory, number, regs);
            self.on_interrupt = Some(hook);
        }
    }
    fn call_far(&mut self, at: FarPtr, regs: &mut Regs) {
        if let Some(mut hook) = self.on_call.take() {
            hook(&mut self.memory, at, regs);
            self.on_call = Some(hook);
        }
    }
    fn call_far_with(&mut self, at: FarPtr, words: [u16; 4], regs: &mut Regs) {
        self.called_with.push((at, words));
        self.call_far(at, regs);
    }
    fn protected_mode(&mut self, table: FarPtr, regs: &Regs) {
        self.protected = true;
        self.entered = Some((table, *regs));
    }
    fn stop(&mut self) {
        self.stops += 1;
    }
    fn enter(&mut self, at: FarPtr, regs: &Regs) {
        self.entered = Some((at, *regs));
    }
    fn boot_again(&mut self, vector: u8) {
        self.booted_again = Some(vector);
    }
    fn reset(&mut self) {
        self.resets += 1;
    }
    fn block_move(&mut self, from: u32, to: u32, words: u16) {
        for n in 0..u32::from(words) * 2 {
            let value = self.memory.get((from + n) as usize).copied().unwrap_or(0xff);
            if let Some(byte) = self.memory.get_mut((to + n) as usize) {
                *byte = value;
            }
        }
    }
    fn protected(&mut self) -> bool {
        self.protected
    }
    fn set_a20(&mut self, enabled: bool) {
        self.a20 = enabled;
    }
    fn a20(&mut self) -> bool {
        self.a20
    }
}
