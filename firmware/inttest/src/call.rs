//! Makes a BIOS call and logs its arguments and results.

use pcvm_firmware_rt::{FarPtr, Flags, Regs};
use pcvm_guest::{Machine, Text};

/// Segment of the 64 KiB buffer that calls read and write.
pub const BUFFER: u16 = 0x2000;
/// Value with which the captured part of the buffer is filled before a call.
const FILL: u8 = 0xcc;
/// Debug port, which the host logs.
const DEBUG: u16 = 0x402;
/// Bytes of memory that a line shows. Longer memory is logged as a hash.
const MAX_SHOWN: u16 = 100;

/// Bits of registers for [`Capture::hide`].
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

/// What a line shows of a call's results.
#[derive(Clone, Copy, Default)]
pub struct Capture {
    /// Bytes to show from the start of [`BUFFER`], which are filled before the call.
    pub buffer: u16,
    /// Do not fill the buffer: the call reads it.
    pub prefilled: bool,
    /// Registers (see [`hide`]) to show as `~`.
    pub hide: u16,
    /// Bytes to show at ES:BX after the call.
    pub es_bx: u16,
    /// Bytes to show at ES:DI after the call.
    pub es_di: u16,
    /// Bytes to show at ES:BP after the call.
    pub es_bp: u16,
    /// Show the video variables of the BIOS data area.
    pub video: bool,
    /// Show the keyboard flags of the BIOS data area.
    pub keys: bool,
}

/// Shows registers and flags only.
pub const REGISTERS_ONLY: Capture =
    Capture { buffer: 0, prefilled: false, hide: 0, es_bx: 0, es_di: 0, es_bp: 0, video: false, keys: false };

/// Shows bytes of the buffer too.
pub const fn buffer(bytes: u16) -> Capture {
    Capture { buffer: bytes, ..REGISTERS_ONLY }
}

/// Hides registers that vary from run to run or are addresses.
pub const fn hidden(registers: u16) -> Capture {
    Capture { hide: registers, ..REGISTERS_ONLY }
}

/// Makes BIOS calls and logs them.
pub struct Calls<'a, M> {
    /// The machine.
    pub m: &'a mut M,
    count: u32,
}

impl<'a, M: Machine> Calls<'a, M> {
    /// A log without calls.
    pub fn new(m: &'a mut M) -> Self {
        Self { m, count: 0 }
    }

    /// Logs a line that is not a call.
    pub fn line(&mut self, what: &str) {
        let mut line = Text::<64>::new();
        line.put("inttest: ").put(what).byte(b'\n');
        self.out(line.bytes());
    }

    /// Logs the last line, with the number of calls.
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

    /// Calls interrupt `number` and logs it. `name` must not contain spaces.
    pub fn call(&mut self, name: &str, number: u8, regs: &Regs, capture: &Capture) -> Regs {
        let buffer = FarPtr::new(BUFFER, 0);
        if capture.buffer > 0 && !capture.prefilled {
            self.m.fill(buffer, FILL, capture.buffer);
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
            if capture.hide & 1 << n == 0 {
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
        self.append_memory(&mut line, "mem", buffer, capture.buffer);
        self.append_memory(&mut line, "es:bx", FarPtr::new(regs.es, regs.bx()), capture.es_bx);
        self.append_memory(&mut line, "es:di", FarPtr::new(regs.es, regs.di()), capture.es_di);
        self.append_memory(&mut line, "es:bp", FarPtr::new(regs.es, regs.bp()), capture.es_bp);
        if capture.video {
            self.append_memory(&mut line, "bda49", FarPtr::new(0x40, 0x49), 0x1e);
            self.append_memory(&mut line, "bda84", FarPtr::new(0x40, 0x84), 0x07);
        }
        if capture.keys {
            self.append_memory(&mut line, "bda17", FarPtr::new(0x40, 0x17), 3);
            self.append_memory(&mut line, "bda96", FarPtr::new(0x40, 0x96), 2);
        }
        line.byte(b'\n');
        self.out(line.bytes());
        regs
    }

    /// Logs bytes of memory in the format of a call.
    pub fn memory(&mut self, name: &str, at: FarPtr, bytes: u16) {
        let mut line = Text::<1200>::new();
        line.put("call ").put(name).put(" in out");
        self.append_memory(&mut line, "mem", at, bytes);
        line.byte(b'\n');
        self.out(line.bytes());
        self.count += 1;
    }

    /// Appends the bytes, or a hash of them if there are more than [`MAX_SHOWN`].
    fn append_memory<const N: usize>(&mut self, line: &mut Text<N>, name: &str, at: FarPtr, bytes: u16) {
        if bytes == 0 {
            return;
        }
        line.byte(b' ').put(name).byte(b'=');
        if bytes <= MAX_SHOWN {
            for n in 0..bytes {
                let byte = self.m.read8(at.add(n));
                line.hex(byte.into(), 2);
            }
            return;
        }
        // FNV-1a by dwords.
        let mut hash = 0x811c_9dc5_u32;
        for n in 0..bytes / 4 {
            hash = (hash ^ self.m.read32(at.add(n * 4))).wrapping_mul(0x0100_0193);
        }
        line.put("sum").hex(hash, 8);
    }
}
