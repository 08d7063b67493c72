//! Transfer of a vCPU's registers from KVM to [`crate::emulator`] and back.

use super::vcpu::Vcpu;
use super::{KvmError, request};
use crate::emulator::{CS, Cpu, DS, ES, FS, GS, Paging, SS, Segment};
use kvm_bindings::{kvm_regs, kvm_segment, kvm_sregs, kvm_vcpu_events};

const CR0_PE: u64 = 1 << 0;
const CR0_WP: u64 = 1 << 16;
const CR0_AM: u64 = 1 << 18;
const CR0_PG: u64 = 1 << 31;
const CR4_PSE: u64 = 1 << 4;
const CR4_PAE: u64 = 1 << 5;
const CR4_VMXE: u64 = 1 << 13;
const CR4_SMEP: u64 = 1 << 20;
const CR4_SMAP: u64 = 1 << 21;
const EFER_LMA: u64 = 1 << 10;
const EFER_NXE: u64 = 1 << 11;
const EFER_SVME: u64 = 1 << 12;
const TF: u64 = 1 << 8;
const RF: u64 = 1 << 16;
const VM: u64 = 1 << 17;
const AC: u64 = 1 << 18;
/// DR7.L0 to DR7.G3: the breakpoint enables.
const DR7_ENABLED: u64 = 0xff;

/// Registers at the start of an emulation, for [`Vcpu::end_emulation`].
pub struct SavedRegs(kvm_regs);

impl Vcpu {
    /// Reads the registers for the emulator, between two instructions. None in a state that the emulator does not cover: a
    /// pending event, single-stepping, breakpoints, alignment checks, SMEP or SMAP, long mode, or VMX or SVM enabled by the
    /// guest.
    pub fn begin_emulation(&self) -> Option<(SavedRegs, Cpu)> {
        let fd = self.vcpu_fd();
        let (regs, sregs) = (fd.get_regs().ok()?, fd.get_sregs().ok()?);
        let unsupported = sregs.efer & (EFER_LMA | EFER_SVME) != 0
            || sregs.cr4 & (CR4_VMXE | CR4_SMEP | CR4_SMAP) != 0
            || regs.rflags & TF != 0
            || sregs.cr0 & CR0_AM != 0 && regs.rflags & AC != 0;
        if unsupported
            || !no_event_pending(&fd.get_vcpu_events().ok()?)
            || fd.get_debug_regs().ok()?.dr7 & DR7_ENABLED != 0
        {
            return None;
        }
        // RF is set between two repetitions of a string instruction. Without breakpoints it has no effect.
        let regs = kvm_regs { rflags: regs.rflags & !RF, ..regs };
        Some((SavedRegs(regs), cpu(&regs, &sregs)))
    }

    /// Sets ECX, or CX if `word`, and returns its value before. KVM takes it over also between two repetitions of a string
    /// instruction that it is emulating: it reads the registers again after KVM_SET_REGS.
    ///
    /// # Errors
    /// If KVM refuses the registers.
    pub fn set_counter(&self, word: bool, value: u32) -> Result<u32, KvmError> {
        let mut regs = request("read registers", self.vcpu_fd().get_regs())?;
        let mask = if word { 0xffff } else { 0xffff_ffff };
        let before = regs.rcx & mask;
        regs.rcx = regs.rcx & !mask | u64::from(value) & mask;
        request("set registers", self.vcpu_fd().set_regs(&regs))?;
        Ok(before as u32)
    }

    /// Writes the emulator's registers to KVM.
    ///
    /// # Errors
    /// If KVM refuses the registers.
    pub fn end_emulation(&self, saved: SavedRegs, cpu: &Cpu) -> Result<(), KvmError> {
        let SavedRegs(mut regs) = saved;
        let [ax, cx, dx, bx, sp, bp, si, di] = cpu.regs.map(u64::from);
        (regs.rax, regs.rcx, regs.rdx, regs.rbx) = (ax, cx, dx, bx);
        (regs.rsp, regs.rbp, regs.rsi, regs.rdi) = (sp, bp, si, di);
        (regs.rip, regs.rflags) = (cpu.eip.into(), cpu.flags.into());
        request("set registers", self.vcpu_fd().set_regs(&regs))
    }
}

/// Whether KVM has no event to inject before the next instruction, and the last one (MOV SS, STI) delays none.
fn no_event_pending(events: &kvm_vcpu_events) -> bool {
    let exception = events.exception.injected | events.exception.pending;
    let interrupt = events.interrupt.injected | events.interrupt.shadow;
    let others = events.nmi.injected | events.nmi.pending | events.smi.smm | events.smi.pending;
    (exception | interrupt | others | events.triple_fault.pending) == 0
}

fn cpu(regs: &kvm_regs, sregs: &kvm_sregs) -> Cpu {
    let virtual_8086 = regs.rflags & VM != 0;
    let protected = sregs.cr0 & CR0_PE != 0 && !virtual_8086;
    let cpl = if virtual_8086 { 3 } else { sregs.ss.dpl };
    let paging = Paging {
        pg: sregs.cr0 & CR0_PG != 0,
        wp: sregs.cr0 & CR0_WP != 0,
        pse: sregs.cr4 & CR4_PSE != 0,
        pae: sregs.cr4 & CR4_PAE != 0,
        nxe: sregs.efer & EFER_NXE != 0,
        user: cpl == 3,
        cr3: sregs.cr3 as u32,
    };
    let mut segments = [Segment::default(); 6];
    let all = [(ES, sregs.es), (CS, sregs.cs), (SS, sregs.ss), (DS, sregs.ds), (FS, sregs.fs), (GS, sregs.gs)];
    for (number, from) in all {
        segments[number] = segment(&from, protected);
    }
    let general =
        [regs.rax, regs.rcx, regs.rdx, regs.rbx, regs.rsp, regs.rbp, regs.rsi, regs.rdi].map(|value| value as u32);
    // IOPL is RFLAGS bits 12 and 13.
    let io_allowed = !virtual_8086 && (!protected || u64::from(cpl) <= regs.rflags >> 12 & 3);
    Cpu::new(general, regs.rip as u32, regs.rflags as u32, segments, paging, io_allowed)
}

fn segment(from: &kvm_segment, protected: bool) -> Segment {
    let (code, expand_down) = (from.type_ & 8 != 0, from.type_ & 12 == 4);
    let usable = from.unusable == 0 && from.present != 0 && from.s != 0 && !expand_down;
    Segment {
        base: from.base as u32,
        limit: from.limit,
        readable: !protected || usable && (!code || from.type_ & 2 != 0),
        writable: !protected || usable && !code && from.type_ & 2 != 0,
        big: from.db != 0,
    }
}

#[cfg(test)]
mod tests;
