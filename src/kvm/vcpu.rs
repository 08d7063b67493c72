//! KVM vCPU: creation, reset, kernel entry state, KVM_RUN, register dump.

use super::exit::{Exit, decode, enter};
use super::kick::{self, Kick};
use super::{KvmError, request};
use kvm_bindings::*;
use kvm_ioctls::{Cap, VcpuFd};
use std::fmt::Write as _;
use std::os::fd::BorrowedFd;

use super::vm::Vm;

/// IA32_TIME_STAMP_COUNTER and IA32_TSC_ADJUST. A reset keeps them: writing them would put the vCPUs' TSCs out of step.
const MSR_TSC: u32 = 0x10;
const MSR_TSC_ADJUST: u32 = 0x3b;
/// IA32_APIC_BASE, which KVM_SET_SREGS sets.
const MSR_APIC_BASE: u32 = 0x1b;

/// A vCPU.
pub struct Vcpu {
    fd: VcpuFd,
    run_size: usize,
    power_on: PowerOnState,
    index: u32,
}

/// The state right after creation. A reset restores it.
struct PowerOnState {
    regs: kvm_regs,
    sregs: kvm_sregs,
    fpu: kvm_fpu,
    lapic: kvm_lapic_state,
    msrs: Vec<kvm_msr_entry>,
    debug: kvm_debugregs,
    events: kvm_vcpu_events,
    mp_state: kvm_mp_state,
    xcrs: Option<kvm_xcrs>,
}

impl Vcpu {
    /// Creates vCPU `index` with APIC id `apic_id`.
    ///
    /// # Errors
    /// If KVM refuses the vCPU or its CPUID leaves.
    pub fn new(vm: &Vm, index: u32, apic_id: u32, cpuid: &CpuId) -> Result<Self, KvmError> {
        let fd = request("create a vCPU", vm.fd().create_vcpu(apic_id.into()))?;
        request("set the CPUID leaves", fd.set_cpuid2(cpuid))?;
        let run_size = request("report the size of kvm_run", vm.kvm().get_vcpu_mmap_size())?;
        let power_on = PowerOnState::read(vm, &fd)?;
        Ok(Self { fd, run_size, power_on, index })
    }

    /// The vCPU's descriptor.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        super::ring::borrow(&self.fd)
    }

    pub(super) fn vcpu_fd(&self) -> &VcpuFd {
        &self.fd
    }

    /// Number of the vCPU, from 0.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// A [`Kick`] for this vCPU. Must be called on the thread that runs it.
    pub fn kick(&mut self) -> Kick {
        Kick::current(self.fd.get_kvm_run())
    }

    /// Clears a kick, so that the vCPU may enter the guest again.
    pub fn clear_kick(&mut self) {
        kick::clear(self.fd.get_kvm_run());
    }

    /// Runs the guest until the next exit. A signal or a kick gives [`Exit::Again`].
    ///
    /// # Errors
    /// If KVM_RUN itself fails.
    #[inline(always)]
    pub fn run(&mut self) -> Result<Exit<'_>, KvmError> {
        if let Err(errno) = enter(&self.fd) {
            return match errno.errno() {
                libc::EINTR | libc::EAGAIN => Ok(Exit::Again),
                _ => Err(KvmError::Request { operation: "run a vCPU", errno }),
            };
        }
        Ok(decode(self.fd.get_kvm_run(), self.run_size))
    }

    /// Completes the instruction of the last exit without running the guest (KVM API, `immediate_exit`). Returns
    /// [`Exit::Again`] when the instruction is complete, otherwise its next access: an access across a page boundary exits
    /// twice, and `ins` may store to MMIO. `immediate_exit` stays set until [`Vcpu::clear_kick`].
    pub fn finish_io(&mut self) -> Exit<'_> {
        self.fd.set_kvm_immediate_exit(1);
        // An error that lasts occurs again at the next run, which reports it.
        self.run().unwrap_or(Exit::Again)
    }

    /// Resets to the state at power-on: vCPU 0 starts at FFFFFFF0h, the others wait for INIT and SIPI.
    ///
    /// # Errors
    /// If KVM refuses.
    pub fn reset(&self) -> Result<(), KvmError> {
        let PowerOnState { regs, sregs, fpu, lapic, msrs, debug, events, mp_state, xcrs } = &self.power_on;
        request("reset segment and control registers", self.fd.set_sregs(sregs))?;
        request("reset registers", self.fd.set_regs(regs))?;
        if let Some(xcrs) = xcrs {
            request("reset extended control registers", self.fd.set_xcrs(xcrs))?;
        }
        request("reset the floating point unit", self.fd.set_fpu(fpu))?;
        set_msrs(&self.fd, msrs)?;
        request("reset debug registers", self.fd.set_debug_regs(debug))?;
        request("reset the local APIC", self.fd.set_lapic(lapic))?;
        request("reset pending events", self.fd.set_vcpu_events(events))?;
        request("reset the MP state", self.fd.set_mp_state(*mp_state))
    }

    /// Registers and the 16 bytes at the instruction pointer as text. `memory` reads guest-physical memory.
    pub fn dump_registers(&self, memory: impl Fn(u64, &mut [u8])) -> String {
        let mut text = String::new();
        let (Ok(regs), Ok(sregs)) = (self.fd.get_regs(), self.fd.get_sregs()) else {
            return "KVM cannot read the registers".to_owned();
        };
        let _ = writeln!(
            text,
            "RAX {:016x} RBX {:016x} RCX {:016x} RDX {:016x}\nRSI {:016x} RDI {:016x} RBP {:016x} RSP {:016x}",
            regs.rax, regs.rbx, regs.rcx, regs.rdx, regs.rsi, regs.rdi, regs.rbp, regs.rsp
        );
        let _ = writeln!(
            text,
            "R8  {:016x} R9  {:016x} R10 {:016x} R11 {:016x}\nR12 {:016x} R13 {:016x} R14 {:016x} R15 {:016x}",
            regs.r8, regs.r9, regs.r10, regs.r11, regs.r12, regs.r13, regs.r14, regs.r15
        );
        let _ = writeln!(text, "RIP {:016x} RFLAGS {:08x}", regs.rip, regs.rflags);
        let named = [
            ("CS", sregs.cs),
            ("DS", sregs.ds),
            ("ES", sregs.es),
            ("FS", sregs.fs),
            ("GS", sregs.gs),
            ("SS", sregs.ss),
            ("TR", sregs.tr),
            ("LDT", sregs.ldt),
        ];
        for (name, s) in named {
            let _ = writeln!(
                text,
                "{name:3} {:04x} base {:016x} limit {:08x} type {:x} s {} dpl {} p {} db {} l {} g {}",
                s.selector, s.base, s.limit, s.type_, s.s, s.dpl, s.present, s.db, s.l, s.g
            );
        }
        let _ = writeln!(
            text,
            "GDT {:016x} {:04x} IDT {:016x} {:04x}\nCR0 {:08x} CR2 {:016x} CR3 {:016x} CR4 {:08x} EFER {:x}",
            sregs.gdt.base,
            sregs.gdt.limit,
            sregs.idt.base,
            sregs.idt.limit,
            sregs.cr0,
            sregs.cr2,
            sregs.cr3,
            sregs.cr4,
            sregs.efer
        );
        let linear = if sregs.cs.l == 1 { regs.rip } else { (sregs.cs.base + regs.rip) & 0xffff_ffff };
        let physical = match self.fd.translate_gva(linear) {
            Ok(translation) if translation.valid != 0 => translation.physical_address,
            _ => linear,
        };
        let mut code = [0xff; 16];
        memory(physical, &mut code);
        let bytes: Vec<String> = code.iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = write!(text, "code at {linear:x} ({physical:x}): {}", bytes.join(" "));
        text
    }
}

impl PowerOnState {
    fn read(vm: &Vm, fd: &VcpuFd) -> Result<Self, KvmError> {
        let list = request("list MSRs", vm.kvm().get_msr_index_list())?;
        // One at a time: KVM_GET_MSRS stops at the first MSR that this vCPU lacks.
        let mut msrs = Vec::new();
        for &index in list.as_slice() {
            if [MSR_TSC, MSR_TSC_ADJUST, MSR_APIC_BASE].contains(&index) {
                continue;
            }
            let Ok(mut one) = Msrs::from_entries(&[kvm_msr_entry { index, ..Default::default() }]) else { continue };
            if fd.get_msrs(&mut one).is_ok_and(|n| n == 1) {
                msrs.extend_from_slice(one.as_slice());
            }
        }
        Ok(Self {
            regs: request("read registers", fd.get_regs())?,
            sregs: request("read segment registers", fd.get_sregs())?,
            fpu: request("read the floating point unit", fd.get_fpu())?,
            lapic: request("read the local APIC", fd.get_lapic())?,
            msrs,
            debug: request("read debug registers", fd.get_debug_regs())?,
            events: request("read pending events", fd.get_vcpu_events())?,
            mp_state: request("read the MP state", fd.get_mp_state())?,
            xcrs: if vm.kvm().check_extension(Cap::Xcrs) { fd.get_xcrs().ok() } else { None },
        })
    }
}

/// Writes the MSRs that KVM accepts. KVM_SET_MSRS stops at an MSR that is read-only; the rest follow in another call.
fn set_msrs(fd: &VcpuFd, entries: &[kvm_msr_entry]) -> Result<(), KvmError> {
    let mut rest = entries;
    while !rest.is_empty() {
        let msrs = Msrs::from_entries(rest).map_err(|_| KvmError::Lacks("room for the list of MSRs"))?;
        let done = request("reset MSRs", fd.set_msrs(&msrs))?;
        rest = rest.get(done + 1..).unwrap_or(&[]);
    }
    Ok(())
}
