//! Compares the emulator with KVM: random instructions from random states must give the same registers, flags and memory.

use super::*;
use crate::emulator::{Bus, NotEmulated, step};
use crate::kvm::exit::Exit;
use crate::kvm::slots::{SlotSpec, Slots};
use crate::kvm::vm::Vm;
use kvm_bindings::CpuId;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const RAM: usize = 0x9_0000;
/// The code segment, filled with `out dx, al`, which makes KVM exit.
const CODE: usize = 0x1_0000;
const OUT: u8 = 0xee;
/// Ports of KVM's in-kernel chips, to which `out` does not exit.
const CHIPS: [u16; 11] = [0x20, 0x21, 0x40, 0x41, 0x42, 0x43, 0x61, 0xa0, 0xa1, 0x4d0, 0x4d1];

const CF: u32 = 1 << 0;
const AF: u32 = 1 << 4;
const OF: u32 = 1 << 11;
/// SF, ZF, AF and PF, which MUL and IMUL leave undefined.
const UNDEFINED_BY_MUL: u32 = 0xd4;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    fn below(&mut self, limit: u32) -> u32 {
        self.next() % limit
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u32) as usize]
    }

    /// A number that is often small or at the boundary of an operand size.
    fn number(&mut self) -> u32 {
        match self.below(8) {
            0 => self.next(),
            1 => self.of(&[0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, u32::MAX]),
            2 | 3 => self.below(0x100),
            _ => self.below(0xfff0),
        }
    }
}

/// The emulator's RAM, with a log of overwritten bytes.
struct Ram {
    bytes: Vec<u8>,
    /// Address and old bytes of each write, oldest first.
    before: Vec<(usize, Vec<u8>)>,
}

impl Ram {
    fn range(&self, at: u32, len: usize) -> Result<std::ops::Range<usize>, NotEmulated> {
        let range = at as usize..at as usize + len;
        if range.end <= RAM { Ok(range) } else { Err(NotEmulated) }
    }

    fn undo(&mut self) {
        for (at, old) in self.before.drain(..).rev() {
            self.bytes[at..at + old.len()].copy_from_slice(&old);
        }
    }
}

impl Bus for Ram {
    fn read(&mut self, at: u32, data: &mut [u8]) -> Result<(), NotEmulated> {
        let range = self.range(at, data.len())?;
        data.copy_from_slice(&self.bytes[range]);
        Ok(())
    }

    fn write(&mut self, at: u32, data: &[u8]) -> Result<(), NotEmulated> {
        let range = self.range(at, data.len())?;
        if range.end > CODE && range.start < CODE + 0x1_0000 {
            return Err(NotEmulated);
        }
        self.before.push((range.start, self.bytes[range.clone()].to_vec()));
        self.bytes[range].copy_from_slice(data);
        Ok(())
    }

    fn is_device(&mut self, _: u32, _: usize) -> bool {
        false
    }

    fn read_code(&mut self, at: u32, data: &mut [u8]) -> Result<(), NotEmulated> {
        self.read(at, data)
    }

    fn read_table(&mut self, _: u32, _: &mut [u8]) -> Result<(), NotEmulated> {
        Err(NotEmulated)
    }

    fn port_in(&mut self, _: u16, _: &mut [u8]) -> Result<(), NotEmulated> {
        Err(NotEmulated)
    }

    fn port_out(&mut self, _: u16, _: &[u8]) -> Result<(), NotEmulated> {
        Err(NotEmulated)
    }
}

/// A random instruction, and the flags that it leaves undefined.
fn instruction(random: &mut Random) -> (Vec<u8>, u32) {
    let mut bytes = Vec::new();
    for prefix in [0x66, 0x67] {
        if random.below(4) == 0 {
            bytes.push(prefix);
        }
    }
    if random.below(6) == 0 {
        bytes.push(random.of(&[0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65]));
    }
    let codes = [
        &(0..0x40).filter(|code| code & 7 < 6).collect::<Vec<u8>>()[..],
        &(0x40..0x60).collect::<Vec<_>>(),
        &(0x70..0x82).collect::<Vec<_>>(),
        &(0x83..0x8c).collect::<Vec<_>>(),
        &(0x8d..0x9a).filter(|code| *code != 0x8e && *code != 0x8f).collect::<Vec<_>>(),
        &(0xa0..0xc4).collect::<Vec<_>>(),
        &[
            0x60, 0x61, 0x68, 0x6a, 0xc9, 0xd7, 0x69, 0x6b, 0xc6, 0xc7, 0xd0, 0xd1, 0xd2, 0xd3, 0xe0, 0xe1, 0xe2, 0xe3,
            0xe8, 0xe9, 0xeb,
        ],
        &[0xf5, 0xf6, 0xf6, 0xf7, 0xf7, 0xf8, 0xf9, 0xfc, 0xfd, 0xfe, 0xff, 0xff, 0x0f, 0x0f, 0x0f, 0x0f],
    ]
    .concat();
    let code = random.of(&codes);
    let string = matches!(code, 0xa4..=0xa7 | 0xaa..=0xaf);
    if string && random.below(2) == 0 {
        bytes.push(random.of(&[0xf2, 0xf3]));
    }
    bytes.push(code);
    let start = bytes.len();
    if code == 0x0f {
        let second = [&(0x80..0xa0).collect::<Vec<_>>()[..], &[0xaf, 0xaf, 0xb6, 0xb7, 0xbe, 0xbf]].concat();
        bytes.push(random.of(&second));
    }
    bytes.extend((0..10).map(|_| random.next() as u8));
    let reg = bytes[start] >> 3 & 7;
    let undefined = match code {
        0x69 | 0x6b => UNDEFINED_BY_MUL,
        0x0f if bytes[start] == 0xaf => UNDEFINED_BY_MUL,
        0xf6 | 0xf7 if matches!(reg, 4 | 5) => UNDEFINED_BY_MUL,
        0xf6 | 0xf7 if reg == 6 => UNDEFINED_BY_MUL | CF | OF,
        // Shifts leave AF undefined, OF unless the count is 1, and CF where the count exceeds the operand size.
        0xc0 | 0xc1 | 0xd2 | 0xd3 => AF | OF | if matches!(reg, 4..=6) { CF } else { 0 },
        0xd0 | 0xd1 => AF,
        _ => 0,
    };
    (bytes, undefined)
}

struct KvmVcpu {
    vcpu: Vcpu,
    power_on: kvm_sregs,
    memory: GuestMemoryMmap,
    _slots: Slots,
    _vm: Vm,
}

impl KvmVcpu {
    fn new() -> Self {
        let vm = Vm::new().unwrap();
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), RAM)]).unwrap();
        let mut slots = Slots::new(vm.fd().clone());
        let spec = SlotSpec { gpa: 0, len: RAM as u64, memory: memory.clone(), at: 0, read_only: false, video: false };
        slots.set(&[spec]).unwrap();
        let cpuid = CpuId::from_entries(&vm.supported_cpuid().unwrap()).unwrap();
        let vcpu = Vcpu::new(&vm, 0, 0, &cpuid).unwrap();
        let power_on = vcpu.vcpu_fd().get_sregs().unwrap();
        Self { vcpu, power_on, memory, _slots: slots, _vm: vm }
    }

    /// Sets random registers and 64 KiB segments, in real mode or in 16-bit or 32-bit protected mode.
    fn set_up(&self, random: &mut Random, protected: bool, big: bool) {
        let fd = self.vcpu.vcpu_fd();
        let mut sregs = self.power_on;
        let db = u8::from(big && protected);
        let segment = |base: u64, type_| kvm_segment {
            base,
            limit: 0xffff,
            selector: if protected { 8 } else { (base >> 4) as u16 },
            type_,
            present: 1,
            s: 1,
            db,
            ..Default::default()
        };
        sregs.cs = segment(CODE as u64, 0xb);
        for data in [&mut sregs.ds, &mut sregs.es, &mut sregs.ss, &mut sregs.fs, &mut sregs.gs] {
            *data = segment((0x2_0000 + u64::from(random.below(0x5_0000))) & !0xf, 3);
        }
        if protected {
            sregs.cr0 |= CR0_PE;
        }
        fd.set_sregs(&sregs).unwrap();
        let mut number = || u64::from(random.number());
        let mut regs = kvm_regs {
            rax: number(),
            rbx: number(),
            rcx: number() & 0x1ff,
            rdx: number(),
            rsi: number(),
            rdi: number(),
            rbp: number(),
            rsp: number(),
            rip: 0x8000,
            ..Default::default()
        };
        // Random status flags and DF.
        regs.rflags = u64::from(random.next() & 0xcd5 | 2);
        fd.set_regs(&regs).unwrap();
    }
}

#[test]
fn emulated_instructions_give_the_same_state_as_kvm() {
    let mut kvm = KvmVcpu::new();
    let mut ram = Ram { bytes: vec![0; RAM], before: Vec::new() };
    let mut random = Random(1);
    for byte in &mut ram.bytes {
        *byte = random.next() as u8;
    }
    ram.bytes[CODE..CODE + 0x1_0000].fill(OUT);
    kvm.memory.write_slice(&ram.bytes, GuestAddress(0)).unwrap();
    let mut compared = 0;
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..20_000 {
        let (protected, big) = random.of(&[(false, false), (true, false), (true, true)]);
        kvm.set_up(&mut random, protected, big);
        let (bytes, undefined) = instruction(&mut random);
        let at = CODE + 0x8000;
        ram.bytes[at..at + bytes.len()].copy_from_slice(&bytes);
        let (_, mut cpu) = kvm.vcpu.begin_emulation().unwrap();
        let length = step(&mut cpu, &mut ram, &mut u32::MAX.clone());
        let len = length.unwrap_or(0) as usize;
        // KVM exits at the OUT that follows the instruction. Skip a jump into the instruction itself.
        ram.bytes[at + len..at + bytes.len()].fill(OUT);
        let again = (0x8000..0x8000 + len as u32).contains(&cpu.eip);
        if len == 0 || again || CHIPS.contains(&(cpu.regs[2] as u16)) {
            ram.undo();
            ram.bytes[at..at + bytes.len()].fill(OUT);
            continue;
        }
        compared += 1;
        seen.insert(
            *bytes.iter().find(|b| !matches!(b, 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf2 | 0xf3)).unwrap(),
        );
        let what = format!("{n}: {:02x?}, protected {protected}, 32-bit {big}", &bytes[..len]);
        kvm.memory.write_slice(&ram.bytes[at..at + 16], GuestAddress(at as u64)).unwrap();
        match kvm.vcpu.run().unwrap() {
            Exit::Out { port, .. } => assert_eq!(port, cpu.regs[2] as u16, "{what}"),
            exit => panic!("{what}: {exit:x?}"),
        }
        assert!(matches!(kvm.vcpu.finish_io(), Exit::Again));
        kvm.vcpu.clear_kick();
        let (_, after) = kvm.vcpu.begin_emulation().unwrap();
        assert_eq!(format!("{:x?}", cpu.regs), format!("{:x?}", after.regs), "{what}");
        assert_eq!(cpu.eip + 1, after.eip, "{what}");
        assert_eq!(cpu.flags & !undefined, after.flags & !undefined, "{what}");
        for (at, old) in ram.before.drain(..) {
            let mut now = vec![0; old.len()];
            kvm.memory.read_slice(&mut now, GuestAddress(at as u64)).unwrap();
            assert_eq!(now, ram.bytes[at..at + old.len()], "{what}: at {at:x}");
        }
        ram.bytes[at..at + bytes.len()].fill(OUT);
        kvm.memory.write_slice(&ram.bytes[at..at + 16], GuestAddress(at as u64)).unwrap();
    }
    let mut all = vec![0; RAM];
    kvm.memory.read_slice(&mut all, GuestAddress(0)).unwrap();
    assert!(all == ram.bytes, "memory differs outside the emulator's writes");
    eprintln!("{compared} instructions, {} opcodes", seen.len());
    assert!(compared > 10_000 && seen.len() > 150, "{compared} instructions, {} opcodes", seen.len());
}
