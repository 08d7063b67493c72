//! The built ROM in libx86emu, the interpreter in which X.Org's and SUSE's tools run video BIOSes: all calls of the
//! unit tests, with the stack depth checked, on the VGA BIOS's own stacks and on the caller's. `cargo test --features x86emu` tests `firmware/prebuilt/vgabios.bin`, or
//! the ROM in the environment variable `VGABIOS`.
#![cfg(feature = "x86emu")]
#![allow(unsafe_code)]

mod common;

use common::{Caller, EBDA, Machine};
use std::ffi::{c_int, c_uint, c_void};
use std::sync::Mutex;
use vgabios::{Regs, stack};

#[repr(C)]
struct Segment {
    base: u32,
    limit: u32,
    sel: u16,
    acc: u16,
}

/// The first fields of `x86emu_t`.
#[repr(C)]
struct Emu {
    eax: u32,
    ebx: u32,
    ecx: u32,
    edx: u32,
    esp: u32,
    ebp: u32,
    esi: u32,
    edi: u32,
    eip: u32,
    flags: u32,
    sse: [u8; 128],
    /// ES, CS, SS, DS, FS, GS.
    seg: [Segment; 8],
}

type Memio = extern "C" fn(*mut Emu, u32, *mut u32, c_uint) -> c_uint;
type Code = extern "C" fn(*mut Emu) -> c_int;
type Intr = extern "C" fn(*mut Emu, u8, c_uint) -> c_int;

// SAFETY: declared as in `x86emu.h` of libx86emu 3.
#[link(name = "x86emu")]
unsafe extern "C" {
    fn x86emu_new(memory: c_uint, io: c_uint) -> *mut Emu;
    fn x86emu_done(emu: *mut Emu) -> *mut c_void;
    fn x86emu_run(emu: *mut Emu, flags: c_uint) -> c_uint;
    fn x86emu_set_memio_handler(emu: *mut Emu, handler: Memio) -> *mut c_void;
    fn x86emu_set_code_handler(emu: *mut Emu, handler: Code) -> *mut c_void;
    fn x86emu_set_intr_handler(emu: *mut Emu, handler: Intr) -> *mut c_void;
    fn x86emu_set_seg_register(emu: *mut Emu, seg: *mut Segment, value: u16);
}

const ALL: c_uint = 7;
const STACK_SEGMENT: u16 = 0x3000;
const STACK_TOP: u16 = 0x0400;
/// CS:IP to which calls return.
const RETURN: (u16, u16) = (0x0050, 0x0000);
const BUDGET: u64 = 50_000_000;

// The library passes no user pointer to its handlers, hence statics.
static MACHINE: Mutex<Option<Machine>> = Mutex::new(None);
static STEPS: Mutex<u64> = Mutex::new(0);
/// EIP to which 32-bit code returns.
static PROTECTED_RETURN: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(u32::MAX);
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

extern "C" fn memio(_: *mut Emu, addr: u32, value: *mut u32, kind: c_uint) -> c_uint {
    let mut machine = MACHINE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let machine = machine.as_mut().unwrap();
    let width = [1, 2, 4, 1][(kind & 3) as usize];
    // SAFETY: the library passes a pointer to a variable of its own.
    let value = unsafe { &mut *value };
    let mut bytes = value.to_le_bytes();
    match kind >> 8 {
        0 | 2 => {
            bytes = [0; 4];
            machine.read(addr, &mut bytes[..width]);
            *value = u32::from_le_bytes(bytes);
        }
        1 => {
            if (0xc_0000..0x10_0000).contains(&addr) && machine.watch_rom {
                machine.unexpected.push(format!("write to ROM at {addr:x}"));
            }
            machine.write(addr, &bytes[..width]);
        }
        3 => *value = machine.input(addr as u16, width as u8),
        _ => machine.output(addr as u16, width as u8, *value),
    }
    0
}

extern "C" fn code(emu: *mut Emu) -> c_int {
    // SAFETY: the library passes its own object.
    let emu = unsafe { &mut *emu };
    let mut steps = STEPS.lock().unwrap();
    *steps += 1;
    let back = emu.seg[1].sel == RETURN.0 && emu.eip as u16 == RETURN.1
        || emu.eip == PROTECTED_RETURN.load(std::sync::atomic::Ordering::Relaxed);
    c_int::from(back || *steps > BUDGET)
}

extern "C" fn interrupt(emu: *mut Emu, number: u8, kind: c_uint) -> c_int {
    // SAFETY: the library passes its own object.
    let (cs, ip) = unsafe { ((*emu).seg[1].sel, (*emu).eip) };
    MACHINE
        .lock()
        .unwrap()
        .as_mut()
        .unwrap()
        .unexpected
        .push(format!("interrupt {number:x} ({kind:x}) at {cs:x}:{ip:x}"));
    1
}

struct EmulatedRom {
    emu: *mut Emu,
    /// Deepest use of the caller's stack beside the interrupt's frame, and the call that caused it, of each function.
    worst: std::collections::BTreeMap<u16, (u32, Regs)>,
    /// Deepest use of the first own stack.
    own_depth: usize,
    /// Index of the first own stack that must be free after a call.
    free: u16,
    _only: std::sync::MutexGuard<'static, ()>,
}

/// Fills unused stack.
const UNUSED: u8 = 0xa5;

/// An own stack of the VGA BIOS.
fn own_stack(machine: &mut Machine, n: u16) -> &mut [u8] {
    let at = common::linear(vgabios::far(EBDA, stack::FIRST + n * stack::SIZE)) as usize;
    &mut machine.ram[at..at + usize::from(stack::SIZE)]
}

fn own_stacks_free(machine: &mut Machine, first: u16) -> bool {
    (first..stack::COUNT).all(|n| machine.byte(vgabios::far(EBDA, stack::BUSY + n)) == 0)
}

impl EmulatedRom {
    /// The ROM under a BIOS that reserves no stack for it, or in an interpreter without the EBDA.
    fn on_the_callers_stack() -> Self {
        let mut new = Self::new();
        let at = common::linear(vgabios::far(EBDA, stack::MARK_AT));
        new.machine().write(at, &[0; 4]);
        new
    }

    fn new() -> Self {
        let only = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let path =
            std::env::var("VGABIOS").unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/../prebuilt/vgabios.bin").into());
        let rom = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        *MACHINE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(Machine::new(&rom));
        // SAFETY: calls as in the library's documentation.
        let emu = unsafe {
            let emu = x86emu_new(ALL, ALL);
            x86emu_set_memio_handler(emu, memio);
            x86emu_set_code_handler(emu, code);
            x86emu_set_intr_handler(emu, interrupt);
            emu
        };
        let mut new = Self { emu, worst: std::collections::BTreeMap::new(), own_depth: 0, free: 0, _only: only };
        new.init();
        new
    }

    fn call(&mut self, regs: Regs, cs: u16, ip: u16, interrupt: bool) -> Regs {
        // SAFETY: this thread has exclusive access to the emulator.
        let emu = unsafe { &mut *self.emu };
        let before = {
            let mut machine = MACHINE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let machine = machine.as_mut().unwrap();
            let base = u32::from(STACK_SEGMENT) * 16;
            let mut frame = vec![RETURN.1, RETURN.0];
            if interrupt {
                frame.push(0x0202);
            }
            machine.watch_rom = interrupt;
            machine.stack = 0..0;
            let sp = STACK_TOP - 2 * frame.len() as u16;
            for (word, at) in frame.iter().zip((u32::from(sp)..).step_by(2)) {
                machine.write(base + at, &word.to_le_bytes());
            }
            // Fill the stack below the frame with a pattern; everything above the frame belongs to the caller.
            machine.ram[base as usize..base as usize + usize::from(sp)].fill(0xa5);
            own_stack(machine, 0).fill(UNUSED);
            machine.lowest = u32::MAX;
            machine.stack = base..base + u32::from(sp);
            // Garbage in the upper half of ESP, as an interpreter's caller may leave it.
            emu.esp = 0xdead_0000 | u32::from(sp);
            machine.ram[base as usize + usize::from(STACK_TOP)..base as usize + 0x1_0000].to_vec()
        };
        (emu.eax, emu.ebx, emu.ecx, emu.edx) = (regs.eax, regs.ebx, regs.ecx, regs.edx);
        (emu.esi, emu.edi, emu.ebp, emu.flags) = (regs.esi, regs.edi, regs.ebp, 0x0202);
        // SAFETY: as above.
        unsafe {
            for (index, value) in [(0, regs.es), (1, cs), (2, STACK_SEGMENT), (3, regs.ds)] {
                x86emu_set_seg_register(self.emu, &mut (*self.emu).seg[index], value);
            }
        }
        emu.eip = ip.into();
        *STEPS.lock().unwrap() = 0;
        // SAFETY: as above.
        unsafe { x86emu_run(self.emu, 0x10) };
        let mut machine = MACHINE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let machine = machine.as_mut().unwrap();
        assert_eq!((emu.seg[1].sel, emu.eip as u16), RETURN, "{regs:x?} did not return; {:?}", machine.unexpected);
        assert_eq!(machine.unexpected, Vec::<String>::new(), "{regs:x?}");
        assert_eq!(emu.esp, 0xdead_0000 | u32::from(STACK_TOP), "{regs:x?}: the stack is unbalanced");
        assert_eq!(emu.seg[2].sel, STACK_SEGMENT);
        assert_eq!(emu.flags & 0x400, 0, "{regs:x?}: the direction flag is set");
        let base = u32::from(STACK_SEGMENT) * 16;
        assert_eq!(
            machine.ram[base as usize + usize::from(STACK_TOP)..base as usize + 0x1_0000],
            before,
            "{regs:x?}: the caller's stack was overwritten"
        );
        let depth = machine.stack.end - machine.lowest.min(machine.stack.end);
        let own = own_stack(machine, 0);
        self.own_depth = self.own_depth.max(own.iter().position(|&byte| byte != UNUSED).map_or(0, |at| own.len() - at));
        assert!(own_stacks_free(machine, self.free), "{regs:x?}: an own stack stays busy");
        let function = if regs.ah() == 0x4f { regs.ax() } else { regs.ax() & 0xff00 };
        // POST, which calls the initialisation, has a stack.
        if interrupt {
            let worst = self.worst.entry(function).or_insert((0, regs));
            if depth > worst.0 {
                *worst = (depth, regs);
            }
        }
        machine.stack = 0..0;
        Regs {
            es: emu.seg[0].sel,
            ds: emu.seg[3].sel,
            edi: emu.edi,
            esi: emu.esi,
            ebp: emu.ebp,
            ebx: emu.ebx,
            edx: emu.edx,
            ecx: emu.ecx,
            eax: emu.eax,
        }
    }
}

impl Drop for EmulatedRom {
    fn drop(&mut self) {
        // SAFETY: the object is not used after this.
        unsafe { x86emu_done(self.emu) };
    }
}

impl Caller for EmulatedRom {
    fn machine(&mut self) -> &mut Machine {
        let machine = MACHINE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).as_mut().unwrap() as *mut Machine;
        // SAFETY: the machine exists and is not replaced while this object holds the emulator's lock.
        unsafe { &mut *machine }
    }
    fn init(&mut self) {
        let regs = Regs { eax: common::DEVFN.into(), ebx: 0x1111_2222, ecx: 0x3333_4444, ..Regs::default() };
        // During POST the ROM is writable shadow RAM: writes to it are allowed.
        let after = self.call_init(regs);
        assert_eq!(after, regs);
    }
    fn int10(&mut self, regs: Regs) -> Regs {
        let vector = self.machine().word(vgabios::far(0, 0x40));
        let segment = self.machine().word(vgabios::far(0, 0x42));
        self.call(regs, segment, vector, true)
    }
}

impl EmulatedRom {
    fn call_init(&mut self, regs: Regs) -> Regs {
        let sum = |machine: &Machine| {
            machine.ram[0xc_0000..0xc_0000 + machine.rom_len as usize].iter().fold(0u8, |sum, b| sum.wrapping_add(*b))
        };
        assert_eq!(sum(self.machine()), 0, "the sum of the ROM's bytes is not 0");
        self.machine().unexpected.clear();
        let after = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.call(regs, 0xc000, 3, false)));
        match after {
            Ok(after) => after,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl EmulatedRom {
    /// Calls 32-bit code at an offset of the ROM, with flat segments, as an operating system does.
    fn call_protected(&mut self, offset: u16, regs: Regs) -> Regs {
        const CODE: u16 = 0xc9b;
        const DATA: u16 = 0xc93;
        const BACK: u32 = 0x500;
        // The code must also work in a copy at another address.
        const COPY: u32 = 0x5_0000;
        let machine = self.machine();
        machine.watch_rom = true;
        machine.ram.copy_within(0xc_0000..0xd_0000, COPY as usize);
        machine.write(0x3_0ffc, &BACK.to_le_bytes());
        // SAFETY: this thread has exclusive access to the emulator.
        let emu = unsafe { &mut *self.emu };
        for (index, acc) in [(0, DATA), (1, CODE), (2, DATA), (3, DATA)] {
            emu.seg[index] = Segment { base: 0, limit: u32::MAX, sel: 8 + 8 * index as u16, acc };
        }
        // The selector that the code handler recognises as the return.
        emu.seg[1].sel = RETURN.0;
        (emu.eax, emu.ebx, emu.ecx, emu.edx) = (regs.eax, regs.ebx, regs.ecx, regs.edx);
        (emu.esi, emu.edi, emu.ebp, emu.esp) = (regs.esi, regs.edi, regs.ebp, 0x3_0ffc);
        emu.eip = COPY + u32::from(offset);
        *STEPS.lock().unwrap() = BUDGET - 20_000;
        PROTECTED_RETURN.store(BACK, std::sync::atomic::Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { x86emu_run(self.emu, 0x10) };
        PROTECTED_RETURN.store(u32::MAX, std::sync::atomic::Ordering::Relaxed);
        assert_eq!((emu.eip, emu.esp), (BACK, 0x3_1000), "{regs:x?}");
        for index in 0..4 {
            emu.seg[index] = Segment { base: 0, limit: 0xffff, sel: 0, acc: if index == 1 { 0x9b } else { 0x93 } };
        }
        Regs { eax: emu.eax, ebx: emu.ebx, ecx: emu.ecx, edx: emu.edx, esi: emu.esi, edi: emu.edi, ..regs }
    }
}

#[test]
fn the_protected_mode_interface_has_the_effects_of_int_10h() {
    let mut caller = EmulatedRom::new();
    let int10 = |caller: &mut EmulatedRom, eax, ebx, ecx, edx| {
        caller.int10(Regs { eax, ebx, ecx, edx, es: 0x2000, ..Regs::default() })
    };
    assert_eq!(int10(&mut caller, 0x4f0a, 1, 0, 0).ax(), 0x4f0a);
    let regs = int10(&mut caller, 0x4f0a, 0, 0, 0);
    assert_eq!((regs.ax(), regs.es), (0x004f, 0xc000));
    let table = vgabios::far(regs.es, regs.di());
    let entry = |caller: &mut EmulatedRom, n: u16| regs.di() + caller.machine().word(table.at(2 * n));
    let functions: Vec<u16> = (0..4).map(|n| entry(&mut caller, n)).collect();
    assert!(functions.iter().all(|at| (regs.di()..regs.di() + regs.cx()).contains(at)));
    assert_eq!(caller.machine().word(vgabios::far(0xc000, functions[3])), 0x1ce);
    for (mode, x, y, units) in [(0x118u32, 16, 7, 4), (0x144, 8, 3, 4), (0x101, 64, 90, 4), (0x102, 32, 11, 1)] {
        assert_eq!(int10(&mut caller, 0x4f02, mode, 0, 0).ax(), 0x004f);
        let pitch = u32::from(int10(&mut caller, 0x4f06, 0, 1600, 0).bx());
        // Window control.
        let set = caller.call_protected(functions[0], Regs { edx: 5, ebx: 0, ..Regs::default() });
        assert_eq!(set.ax(), 0x004f);
        assert_eq!(int10(&mut caller, 0x4f05, 0x100, 0, 0).dx(), 5);
        assert_eq!(caller.call_protected(functions[0], Regs { ebx: 0x100, ..Regs::default() }).dx(), 5);
        assert_eq!(caller.call_protected(functions[0], Regs { edx: 256, ..Regs::default() }).ax(), 0x014f);
        // Display start.
        let pixel = [3, 4, 1][[0x118, 0x144, 0x101].iter().position(|&m| m == mode).unwrap_or(2)];
        let bytes = y * pitch + if mode == 0x102 { x / 8 } else { x * pixel };
        let at = bytes / units;
        let regs = Regs { ebx: 0x80, ecx: at & 0xffff, edx: at >> 16, esi: 7, edi: 9, ..Regs::default() };
        let after = caller.call_protected(functions[1], regs);
        assert_eq!((after.ax(), after.ebx, after.esi, after.edi), (0x004f, 0x80, 7, 9), "mode {mode:x}");
        let reported = int10(&mut caller, 0x4f07, 1, 0, 0);
        assert_eq!((u32::from(reported.cx()), u32::from(reported.dx())), (x, y), "mode {mode:x}");
    }
    // Palette data.
    int10(&mut caller, 0x4f02, 0x101, 0, 0);
    caller.machine().write(0x6_0000, &[3, 2, 1, 0, 6, 5, 4, 0]);
    let regs = Regs { ebx: 0, ecx: 2, edx: 0x20, edi: 0x6_0000, ..Regs::default() };
    assert_eq!(caller.call_protected(functions[2], regs).ax(), 0x004f);
    let colour = int10(&mut caller, 0x1015, 0x21, 0, 0);
    assert_eq!((colour.dh(), colour.ch(), colour.cl()), (4, 5, 6));
    let regs = Regs { ecx: 2, edx: 0xff, ..Regs::default() };
    assert_eq!(caller.call_protected(functions[2], regs).ax(), 0x014f);
}

#[test]
fn the_window_function_has_the_effects_of_4f05h() {
    let mut caller = EmulatedRom::new();
    caller.int10(Regs { eax: 0x4f02, ebx: 0x118, ..Regs::default() });
    caller.int10(Regs { eax: 0x4f01, ecx: 0x118, es: 0x2000, ..Regs::default() });
    let function =
        (caller.machine().word(vgabios::far(0x2000, 0x0e)), caller.machine().word(vgabios::far(0x2000, 0x0c)));
    let call = |caller: &mut EmulatedRom, ebx, edx| {
        caller.call(Regs { ebx, edx, ..Regs::default() }, function.0, function.1, false)
    };
    assert_eq!(call(&mut caller, 0, 9).ax(), 0x004f);
    assert_eq!(call(&mut caller, 0x100, 0).edx, 9);
    assert_eq!(call(&mut caller, 1, 0).ax(), 0x014f);
    assert_eq!(caller.int10(Regs { eax: 0x4f05, ebx: 0x100, ..Regs::default() }).dx(), 9);
}

common::calls::suite!(EmulatedRom::new());

/// Asserts the depth of every function, given in bytes below the interrupt's frame.
#[track_caller]
fn assert_depths(caller: &EmulatedRom, most: impl Fn(u16) -> u32) {
    for (&function, (depth, regs)) in &caller.worst {
        println!("{function:04x}: {depth} bytes, bx {:04x} cx {:04x} dx {:04x}", regs.bx(), regs.cx(), regs.dx());
        let most = most(function);
        assert!(*depth <= most, "{depth} bytes of stack instead of at most {most}: {regs:x?}");
    }
}

#[test]
fn every_call_takes_16_bytes_of_the_callers_stack() {
    let mut caller = EmulatedRom::new();
    common::calls::everything(&mut caller);
    assert_depths(&caller, |_| 10);
    println!("own stack: {} bytes", caller.own_depth);
    // An NMI takes 6 bytes: the BIOS's handler has a stack of its own.
    assert!(caller.own_depth + 6 <= usize::from(stack::SIZE), "{} bytes of an own stack", caller.own_depth);
}

#[test]
fn every_call_works_on_the_callers_stack_where_no_other_is_reserved() {
    let mut caller = EmulatedRom::on_the_callers_stack();
    common::calls::everything(&mut caller);
    assert_eq!(caller.own_depth, 0);
    // Callers of mode set and character functions may have small stacks; allow them less.
    assert_depths(&caller, |function| match function {
        0x0000 | 0x0100..=0x0500 | 0x1000..=0x1300 => 216,
        _ => 308,
    });
}

#[test]
fn a_call_takes_the_next_stack_while_the_first_is_busy_and_the_callers_if_all_are() {
    let mut caller = EmulatedRom::new();
    let busy = |n| common::linear(vgabios::far(EBDA, stack::BUSY + n));
    for n in 0..=stack::COUNT {
        let machine = caller.machine();
        (0..stack::COUNT).for_each(|n| own_stack(machine, n).fill(UNUSED));
        (0..n).for_each(|n| machine.write(busy(n), &[1]));
        caller.free = n;
        caller.worst.clear();
        caller.int10(Regs { eax: 0x0003, ..Regs::default() });
        let (depth, _) = caller.worst[&0];
        let machine = caller.machine();
        let used: Vec<bool> =
            (0..stack::COUNT).map(|n| own_stack(machine, n).iter().any(|&byte| byte != UNUSED)).collect();
        assert_eq!(used, (0..stack::COUNT).map(|at| at == n).collect::<Vec<_>>(), "{n} stacks are busy");
        assert_eq!(depth <= 10, n < stack::COUNT, "{n} stacks are busy: {depth} bytes");
        assert!((0..stack::COUNT).all(|at| machine.byte(vgabios::far(EBDA, stack::BUSY + at)) == u8::from(at < n)));
    }
}

#[test]
fn the_stack_moves_with_the_ebda() {
    let mut caller = EmulatedRom::new();
    let machine = caller.machine();
    let (from, to) = (common::linear(vgabios::far(EBDA, 0)), 0x7_0000);
    machine.ram.copy_within(from as usize..from as usize + 1024, to);
    machine.ram[from as usize..from as usize + 1024].fill(UNUSED);
    machine.write(u32::from(vgabios::bda::LINEAR_EBDA), &0x7000u16.to_le_bytes());
    caller.worst.clear();
    caller.free = stack::COUNT;
    caller.int10(Regs { eax: 0x0013, ..Regs::default() });
    assert!(caller.worst[&0].0 <= 10);
    let machine = caller.machine();
    assert!(machine.ram[from as usize..from as usize + 1024].iter().all(|&byte| byte == UNUSED));
}
