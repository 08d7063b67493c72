//! Speed probe for /dev/kvm: tells native execution from interpretation by measurement.
//!
//! A KVM device may run guest code on the CPU, or interpret it in software at 1/100 of the speed. Both answer the same
//! ioctls. So tiny guests are timed: one that counts, and one that makes exits to userspace.

use std::time::{Duration, Instant};

use kvm_bindings::{kvm_regs, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

use crate::Error;

/// Guest instructions per second above which KVM must run them on the CPU.
pub const NATIVE_MIN: u64 = 100_000_000;

/// Exits per measurement: enough to time, few enough for a software KVM.
const EXITS: u32 = 20_000;

/// Speed of /dev/kvm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed {
    /// Guest instructions per second.
    pub instructions: u64,
    /// Round trips to userspace per second, by KVM_RUN alone.
    pub exits: u64,
    /// Paging in 32-bit protected mode works; every 32-bit operating system needs it.
    pub paging: bool,
}

impl Speed {
    /// Whether operating systems boot on it in reasonable time.
    pub fn is_native(&self) -> bool {
        self.instructions >= NATIVE_MIN && self.paging
    }
}

/// `mov ecx, n; dec ecx; jnz; hlt`, in real mode: two instructions per iteration.
fn counting_loop(iterations: u32) -> Vec<u8> {
    let mut code = vec![0x66, 0xB9];
    code.extend(iterations.to_le_bytes());
    code.extend([0x66, 0x49, 0x75, 0xFC, 0xF4]);
    code
}

/// `out 80h, al; jmp $-2`, in real mode.
const EXIT_LOOP: [u8; 4] = [0xE6, 0x80, 0xEB, 0xFC];

/// In 32-bit protected mode: `mov eax, 2000h; mov cr3, eax; mov eax, cr0; or eax, 80000000h; mov cr0, eax;
/// mov eax, [400000h]; hlt`. The second page directory entry maps 4 MiB back to the code.
const PAGING: [u8; 23] = [
    0xB8, 0x00, 0x20, 0x00, 0x00, 0x0F, 0x22, 0xD8, 0x0F, 0x20, 0xC0, 0x0D, 0x00, 0x00, 0x00, 0x80, 0x0F, 0x22, 0xC0,
    0xA1, 0x00, 0x00, 0x40,
];

/// Guest memory; the code is at [`CODE`].
const MEMORY: usize = 0x1_0000;
const CODE: u64 = 0x1000;
const PAGE_DIRECTORY: u64 = 0x2000;
const PAGE_TABLE: u64 = 0x3000;

struct Guest {
    vcpu: VcpuFd,
    memory: GuestMemoryMmap,
    _vm: VmFd,
}

impl Guest {
    fn new(kvm: &Kvm, code: &[u8]) -> Result<Self, Error> {
        let vm = kvm.create_vm().map_err(Error::Kvm)?;
        let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), MEMORY)])
            .map_err(|error| Error::Probe(error.to_string()))?;
        let userspace_addr =
            memory.get_host_address(GuestAddress(0)).map_err(|error| Error::Probe(error.to_string()))? as u64;
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: MEMORY as u64,
            userspace_addr,
        };
        // SAFETY: the region is the mapping that `memory` owns, and `memory` lives in the same struct as the machine.
        #[allow(unsafe_code)]
        unsafe { vm.set_user_memory_region(region) }.map_err(Error::Kvm)?;
        memory.write_slice(code, GuestAddress(CODE)).map_err(|error| Error::Probe(error.to_string()))?;
        let vcpu = vm.create_vcpu(0).map_err(Error::Kvm)?;
        let mut sregs = vcpu.get_sregs().map_err(Error::Kvm)?;
        sregs.cs.base = 0;
        sregs.cs.selector = 0;
        vcpu.set_sregs(&sregs).map_err(Error::Kvm)?;
        vcpu.set_regs(&kvm_regs { rip: CODE, rflags: 2, ..Default::default() }).map_err(Error::Kvm)?;
        Ok(Self { vcpu, memory, _vm: vm })
    }

    /// Runs to the next exit; returns whether it was HLT.
    fn halts(&mut self) -> Result<bool, Error> {
        loop {
            match self.vcpu.run() {
                Ok(VcpuExit::Hlt) => return Ok(true),
                Ok(VcpuExit::Intr) => {}
                Ok(_) => return Ok(false),
                Err(error) if error.errno() == libc::EINTR => {}
                Err(error) => return Err(Error::Kvm(error)),
            }
        }
    }
}

/// Times the counting loop; extends it until it takes at least 40 ms.
fn instructions(kvm: &Kvm) -> Result<u64, Error> {
    let mut iterations = 50_000_u32;
    loop {
        let mut guest = Guest::new(kvm, &counting_loop(iterations))?;
        let start = Instant::now();
        if !guest.halts()? {
            return Err(Error::Probe("the counting guest did not halt".into()));
        }
        let time = start.elapsed();
        if time >= Duration::from_millis(40) || iterations >= 400_000_000 {
            return Ok((f64::from(iterations) * 2.0 / time.as_secs_f64()) as u64);
        }
        iterations = iterations.saturating_mul(8);
    }
}

/// Measures exits per second of a guest that does nothing but exit.
pub fn exits(count: u32) -> Result<u64, Error> {
    let kvm = Kvm::new().map_err(Error::Open)?;
    exit_rate(&kvm, count)
}

fn exit_rate(kvm: &Kvm, count: u32) -> Result<u64, Error> {
    let mut guest = Guest::new(kvm, &EXIT_LOOP)?;
    let mut run = || match guest.vcpu.run() {
        Ok(VcpuExit::IoOut(0x80, _)) => Ok(()),
        Ok(other) => Err(Error::Probe(format!("the exit loop ended with {other:?}"))),
        Err(error) => Err(Error::Kvm(error)),
    };
    for _ in 0..count / 10 {
        run()?;
    }
    let start = Instant::now();
    for _ in 0..count {
        run()?;
    }
    Ok((f64::from(count) / start.elapsed().as_secs_f64()) as u64)
}

/// Whether a guest can enable paging in 32-bit protected mode and read through it.
fn paging(kvm: &Kvm) -> Result<bool, Error> {
    let mut code = PAGING.to_vec();
    code.push(0x00);
    code[20..24].copy_from_slice(&0x0040_0000_u32.to_le_bytes());
    code.push(0xF4);
    let mut guest = Guest::new(kvm, &code)?;
    let write = |value: u32, at: u64| {
        guest.memory.write_obj(value, GuestAddress(at)).map_err(|error| Error::Probe(error.to_string()))
    };
    // Present and writable entries: pages 0-15 one to one, and 4 MiB mapped to the page of the code.
    for page in 0..16 {
        write((page << 12) | 3, PAGE_TABLE + u64::from(page) * 4)?;
    }
    write(PAGE_TABLE as u32 | 3, PAGE_DIRECTORY)?;
    write((PAGE_TABLE as u32 + 0x1000) | 3, PAGE_DIRECTORY + 4)?;
    write(CODE as u32 | 3, PAGE_TABLE + 0x1000)?;

    let mut sregs = guest.vcpu.get_sregs().map_err(Error::Kvm)?;
    for segment in [&mut sregs.cs, &mut sregs.ds, &mut sregs.es, &mut sregs.ss] {
        segment.base = 0;
        segment.limit = 0xFFFF_FFFF;
        segment.g = 1;
        segment.db = 1;
        segment.present = 1;
        segment.s = 1;
        segment.type_ = 3;
        segment.selector = 0x10;
    }
    sregs.cs.type_ = 11;
    sregs.cs.selector = 8;
    sregs.cr0 |= 1;
    guest.vcpu.set_sregs(&sregs).map_err(Error::Kvm)?;
    // A KVM without support may fail KVM_RUN: this counts as "no paging", not as an error.
    if !guest.halts().unwrap_or(false) {
        return Ok(false);
    }
    let expected = u32::from_le_bytes([code[0], code[1], code[2], code[3]]);
    Ok(guest.vcpu.get_regs().is_ok_and(|regs| regs.rax as u32 == expected))
}

/// Measures /dev/kvm; takes a few tenths of a second.
pub fn measure() -> Result<Speed, Error> {
    let kvm = Kvm::new().map_err(Error::Open)?;
    Ok(Speed { instructions: instructions(&kvm)?, exits: exit_rate(&kvm, EXITS)?, paging: paging(&kvm)? })
}
