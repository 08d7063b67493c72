//! A call, and the line about it.

use pcvm_firmware_rt::{FarPtr, Flags, Regs};
use pcvm_guest::{Machine, Text};

/// Memory that calls write to: 64 KiB.
pub const BUFFER: u16 = 0x2000;
/// What the part of it that a call may write holds before.
const FILL: u8 = 0xcc;
const DEBUG: u16 = 0x402;
/// Longer memory is written as a sum.
const SHOWN: u16 = 100;

/// Registers, for [`Look::hide`].
pub mod hide {
    /// EAX.
    pub const EAX: u16 = 1 << 0;
    /// EBX.
    pub const EBX: u16 = 1 << 1;
    /// ECX.
    pub const ECX: u16 = 1 << 2;
    /// EDX.
    pub const EDX: u16 = 1 << 3;
    /// EDI.
    pub const EDI: u16 = 1 << 5;
    /// EBP.
    pub const EBP: u16 = 1 << 6;
    /// ES.
    pub const ES: u16 = 1 << 8;
}

/// What of a call's result is looked at beyond the registers.
#[derive(Clone, Copy, Default)]
pub struct Look {
    /// Bytes from the start of [`BUFFER`] that the call may write; they are filled before.
    pub buffer: u16,
    /// Leaves what is in the buffer as it is: the call reads it.
    pub given: bool,
    /// Registers (see [`hide`]) that are written as `~`.
    pub hide: u16,
    /// Bytes at ES:BX, ES:DI, ES:BP after the call.
    pub es_bx: u16,
    /// See `es_bx`.
    pub es_di: u16,
    /// See `es_bx`.
    pub es_bp: u16,
    /// Video variables of the BIOS data area.
    pub video: bool,
    /// Shift flags and the number of keys in the buffer.
    pub keys: bool,
}

/// Nothing else.
pub const REGISTERS: Look =
    Look { buffer: 0, given: false, hide: 0, es_bx: 0, es_di: 0, es_bp: 0, video: false, keys: false };

/// Bytes of the buffer.
pub const fn buffer(bytes: u16) -> Look {
    Look { buffer: bytes, ..REGISTERS }
}

/// Registers that differ from run to run, or are addresses.
pub const fn hidden(registers: u16) -> Look {
    Look { hide: registers, ..REGISTERS }
}

/// Makes calls.
pub struct Calls<'a, M> {
    /// The machine.
    pub m: &'a mut M,
    count: u32,
}

impl<'a, M: Machine> Calls<'a, M> {
    /// None was made yet.
    pub fn new(m: &'a mut M) -> Self {
        Self { m, count: 0 }
    }

    /// A line that is not about a call.
    pub fn say(&mut self, what: &str) {
        let mut line = Text::<64>::new();
        line.put("inttest: ").put(what).byte(b'\n');
        self.out(line.bytes());
    }

    /// The last line.
    pub fn end(&mut self) {
        let mut line = Text::<64>::new();
        line.put("inttest: end ").decimal(self.count).byte(b'\n');
        self.out(line.bytes());
    }

    fn out(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.m.outb(DEBUG, *byte);
        }
    }

    /// Calls interrupt `number` and writes the line. A name must not have spaces.
    pub fn call(&mut self, name: &str, number: u8, regs: &Regs, look: &Look) -> Regs {
        let buffer = FarPtr::new(BUFFER, 0);
        if look.buffer > 0 && !look.given {
            self.m.fill(buffer, FILL, look.buffer);
        }
        let before = regs;
        let mut regs = *before;
        regs.flags |= Flags::IF | 2;
        self.m.call_interrupt(number, &mut regs);
        self.count += 1;

        let mut line = Text::<1200>::new();
        line.put("call ").hex(number.into(), 2).byte(b'.').hex(before.ax().into(), 4).byte(b'.').put(name).put(" in");
        let mut shown = |name: &str, value: u32, digits: u32| {
            if value != 0 {
                line.byte(b' ').put(name).byte(b'=').hex(value, digits);
            }
        };
        shown("eax", before.eax, 8);
        shown("ebx", before.ebx, 8);
        shown("ecx", before.ecx, 8);
        shown("edx", before.edx, 8);
        shown("esi", before.esi, 8);
        shown("edi", before.edi, 8);
        shown("ebp", before.ebp, 8);
        shown("ds", before.ds.into(), 4);
        shown("es", before.es.into(), 4);
        line.put(" out");
        let registers = [
            ("eax", regs.eax, 8),
            ("ebx", regs.ebx, 8),
            ("ecx", regs.ecx, 8),
            ("edx", regs.edx, 8),
            ("esi", regs.esi, 8),
            ("edi", regs.edi, 8),
            ("ebp", regs.ebp, 8),
            ("ds", regs.ds.into(), 4),
            ("es", regs.es.into(), 4),
        ];
        for (n, (name, value, digits)) in registers.into_iter().enumerate() {
            line.byte(b' ').put(name).byte(b'=');
            if look.hide & 1 << n == 0 {
                line.hex(value, digits);
            } else {
                line.byte(b'~');
            }
        }
        line.put(" fl=");
        for &(flag, letter) in &[(Flags::CF, b'C'), (Flags::ZF, b'Z'), (Flags::IF, b'I'), (Flags::DF, b'D')] {
            if regs.flag(flag) && (flag != Flags::ZF || number == 0x16) {
                line.byte(letter);
            }
        }
        self.memory(&mut line, "mem", buffer, look.buffer);
        self.memory(&mut line, "es:bx", FarPtr::new(regs.es, regs.bx()), look.es_bx);
        self.memory(&mut line, "es:di", FarPtr::new(regs.es, regs.di()), look.es_di);
        self.memory(&mut line, "es:bp", FarPtr::new(regs.es, regs.bp()), look.es_bp);
        if look.video {
            self.memory(&mut line, "bda49", FarPtr::new(0x40, 0x49), 0x1e);
            self.memory(&mut line, "bda84", FarPtr::new(0x40, 0x84), 0x07);
        }
        if look.keys {
            self.memory(&mut line, "bda17", FarPtr::new(0x40, 0x17), 3);
            self.memory(&mut line, "bda96", FarPtr::new(0x40, 0x96), 2);
        }
        line.byte(b'\n');
        self.out(line.bytes());
        regs
    }

    /// Something else to compare, as if it were a call: bytes of memory.
    pub fn note(&mut self, name: &str, at: FarPtr, bytes: u16) {
        let mut line = Text::<1200>::new();
        line.put("call ").put(name).put(" in out");
        self.memory(&mut line, "mem", at, bytes);
        line.byte(b'\n');
        self.out(line.bytes());
        self.count += 1;
    }

    /// The bytes, or their sum if they are many.
    fn memory<const N: usize>(&mut self, line: &mut Text<N>, name: &str, at: FarPtr, bytes: u16) {
        if bytes == 0 {
            return;
        }
        line.byte(b' ').put(name).byte(b'=');
        if bytes <= SHOWN {
            for n in 0..bytes {
                let byte = self.m.read8(at.add(n));
                line.hex(byte.into(), 2);
            }
            return;
        }
        // Fowler, Noll and Vo's, by dwords.
        let mut sum = 0x811c_9dc5_u32;
        for n in 0..bytes / 4 {
            sum = (sum ^ self.m.read32(at.add(n * 4))).wrapping_mul(0x0100_0193);
        }
        line.put("sum").hex(sum, 8);
    }
}
