//! Fake machine for unit tests: 1 MiB + 64 KiB of memory, ports from a [`Bus`], and a log of calls.

use crate::far::FarPtr;
use crate::hw::{Hw, Ports};
use crate::regs::Regs;
use std::collections::VecDeque;
use std::rc::Rc;

/// Stands in for interrupt handlers. Arguments: memory by linear address, interrupt number, registers.
pub type OnInterrupt = Box<dyn FnMut(&mut Vec<u8>, u8, &mut Regs)>;
/// Stands in for far procedures. Arguments: memory by linear address, address of the procedure, registers.
pub type OnCall = Box<dyn FnMut(&mut Vec<u8>, FarPtr, &mut Regs)>;

/// Stands in for hardware interrupt handlers: runs when the BIOS waits for interrupts or polls them.
pub type OnWait<B> = Rc<dyn Fn(&mut Fake<B>)>;

/// Devices of a [`Fake`].
pub trait Bus {
    /// Reads `size` (1, 2 or 4) bytes from `port`.
    fn read(&mut self, port: u16, size: u8) -> u32;
    /// Writes `size` (1, 2 or 4) bytes to `port`.
    fn write(&mut self, port: u16, size: u8, value: u32);
    /// The CPU waits for an interrupt: lets time pass and returns the vectors of interrupts raised.
    fn wait(&mut self) -> Vec<u8> {
        Vec::new()
    }
}

/// No devices: reads return all ones.
#[derive(Debug, Default)]
pub struct Nothing;

impl Bus for Nothing {
    fn read(&mut self, _port: u16, _size: u8) -> u32 {
        u32::MAX
    }
    fn write(&mut self, _port: u16, _size: u8, _value: u32) {}
}

/// The fake machine.
pub struct Fake<B> {
    /// Memory by linear address.
    pub memory: Vec<u8>,
    /// The devices.
    pub bus: B,
    /// Runs for interrupt calls.
    pub on_interrupt: Option<OnInterrupt>,
    /// Runs for far calls.
    pub on_call: Option<OnCall>,
    /// Handles interrupts while the CPU waits. Without it, they stay in `pending`.
    pub on_wait: Option<OnWait<B>>,
    /// Log of interrupt calls.
    pub called: Vec<u8>,
    /// Arguments of the last [`Hw::enter`] or [`Hw::protected_mode`].
    pub entered: Option<(FarPtr, Regs)>,
    /// Vector of the last [`Hw::boot_again`].
    pub booted_again: Option<u8>,
    /// Number of calls of [`Hw::reset`].
    pub resets: u32,
    /// Interrupts raised that the test has not handled.
    pub pending: VecDeque<u8>,
    /// Number of calls of [`Hw::wait_for_interrupt`].
    pub halts: u32,
    /// Log of far calls with words on the stack.
    pub called_with: Vec<(FarPtr, [u16; 4])>,
    /// Number of calls of [`Hw::stop`].
    pub stops: u32,
    /// The interrupt flag.
    pub interrupts: bool,
    /// Whether the CPU is in virtual-8086 or protected mode.
    pub protected: bool,
    /// Whether the A20 gate is enabled.
    pub a20: bool,
}

impl<B: Bus> Fake<B> {
    /// A machine with these devices and zeroed memory.
    pub fn new(bus: B) -> Self {
        Self {
            memory: vec![0; 0x11_0000],
            bus,
            on_interrupt: None,
            on_call: None,
            on_wait: None,
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

    fn let_interrupts_in(&mut self) {
        let raised = self.bus.wait();
        self.pending.extend(raised);
        // The hook may wait for interrupts itself, so the borrow must not last.
        if let Some(hook) = self.on_wait.clone() {
            hook(self);
        }
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
        self.let_interrupts_in();
    }
    fn poll_interrupts(&mut self) {
        self.let_interrupts_in();
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
