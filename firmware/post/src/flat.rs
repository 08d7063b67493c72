//! Implementation of [`Machine`] by machine instructions, POST entry and exit, application processor start-up code.

#![allow(unsafe_code, reason = "port I/O, physical memory accesses and the entry code are assembly or raw pointers")]

use core::arch::{asm, global_asm};
use pcvm_firmware_rt::{Handoff, Ports};
use pcvm_post::Machine;

// SAFETY: the BIOS's reset code enters `post_start` in 32-bit flat mode, without a stack. Statics and stack are in low
// memory, which is free until a boot sector runs.
global_asm!(
    r#"
.section .text.start, "ax"
.code32
.globl post_start
post_start:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
    movl ${STACK_TOP}, %esp
    movl $bss_start, %edi
    movl $bss_end, %ecx
    subl %edi, %ecx
    shrl $2, %ecx
    xorl %eax, %eax
    cld
    rep stosl
    call post_main
    # Boot sectors find conventional memory cleared.
    xorl %eax, %eax
    movl ${STACK_BOTTOM}, %edi
    movl $(0x10000 - {STACK_BOTTOM}) / 4, %ecx
    rep stosl
    movl $bss_start, %edi
    movl $bss_end, %ecx
    subl %edi, %ecx
    shrl $2, %ecx
    rep stosl
    # The BIOS's header, now in RAM, has its entry point in segment F000h (selector 18h: 16-bit code).
    movzwl 0xfe008, %eax
    movw %ax, {JUMP}
    movw $0x18, {JUMP} + 2
    ljmpw *{JUMP}
"#,
    STACK_TOP = const 0xfff0,
    STACK_BOTTOM = const 0x8000,
    JUMP = const 0xe_0000 + Handoff::OFFSET as u32 - 4,
    options(att_syntax)
);

// SAFETY: the application processors run a copy of this code, which writes only to the page that it is in.
//
// Start-up code of the application processors: real-mode code at offset 0 of the page that the SIPI names. At offset
// TABLE of the page are a far pointer to the code that halts, the number of MSRs (word), the number of processors that
// have started (word), then the number and value of each MSR. At IDS is a byte for the APIC ID of each processor. The
// word before TABLE counts the processors that are done. The code uses no stack.
global_asm!(
    r#"
.section .rodata.trampoline, "a"
.code16
.globl trampoline_start
trampoline_start:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    movw %ax, %es
    movl %cr0, %eax
    andl $0x9fffffff, %eax     # enable caches: INIT does not
    movl %eax, %cr0
    movw {TABLE} + 4, %bp
    movw ${TABLE} + 8, %si
1:  testw %bp, %bp
    jz 2f
    movl 0(%si), %ecx
    movl 4(%si), %eax
    movl 8(%si), %edx
    wrmsr
    addw $12, %si
    decw %bp
    jmp 1b
2:  movl $1, %eax
    cpuid
    shrl $24, %ebx             # initial APIC ID
    movw $1, %ax
    lock xaddw %ax, {TABLE} + 6
    cmpw $256, %ax
    jae 3f
    movw %ax, %di
    movb %bl, {IDS}(%di)
3:  lock incw {TABLE} - 2      # only after the ID is stored
    ljmpw *{TABLE}
.globl trampoline_end
trampoline_end:
.code32
"#,
    TABLE = const pcvm_post::TABLE_OFFSET,
    IDS = const pcvm_post::IDS_OFFSET,
    options(att_syntax)
);

// SAFETY: the assembly above defines both labels. Only their addresses are used.
unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_end: u8;
}

/// The machine that this code runs on, in 32-bit flat mode.
pub struct FlatModeHw;

macro_rules! port {
    ($input:ident, $output:ident, $t:ty, $register:tt) => {
        fn $input(&mut self, port: u16) -> $t {
            let value: $t;
            // SAFETY: a port read accesses no memory of Rust's.
            unsafe { asm!(concat!("in ", $register, ", dx"), in("dx") port, out($register) value, options(nomem, nostack, preserves_flags)) };
            value
        }
        fn $output(&mut self, port: u16, value: $t) {
            // SAFETY: the only DMA is fw_cfg's, to addresses that `Machine` may write.
            unsafe { asm!(concat!("out dx, ", $register), in("dx") port, in($register) value, options(nostack, preserves_flags)) };
        }
    };
}

impl Ports for FlatModeHw {
    port!(inb, outb, u8, "al");
    port!(inw, outw, u16, "ax");
    port!(inl, outl, u32, "eax");
}

macro_rules! memory {
    ($read:ident, $write:ident, $t:ty) => {
        fn $read(&mut self, at: u32) -> $t {
            // SAFETY: reads an integer. All addresses are readable: the segments are flat and paging is off.
            unsafe { (at as usize as *const $t).read_volatile() }
        }
        fn $write(&mut self, at: u32, value: $t) {
            // SAFETY: callers pass addresses outside of 10000h to 6FFFFh, where statics are, and of the stack below
            // 10000h.
            unsafe { (at as usize as *mut $t).write_volatile(value) }
        }
    };
}

impl Machine for FlatModeHw {
    memory!(read8, write8, u8);
    memory!(read16, write16, u16);
    memory!(read32, write32, u32);

    fn copy(&mut self, from: u32, to: u32, bytes: u32) {
        // SAFETY: as for single reads and writes. ESI is restored.
        unsafe {
            asm!("xchg esi, {from}", "shr ecx, 2", "rep movsd", "mov ecx, {bytes}", "and ecx, 3", "rep movsb", "xchg esi, {from}",
                from = inout(reg) from => _, bytes = in(reg) bytes, inout("edi") to => _, inout("ecx") bytes => _)
        };
    }

    fn fill(&mut self, to: u32, value: u8, bytes: u32) {
        // SAFETY: as for single writes.
        unsafe {
            asm!("rep stosd", "mov ecx, {rest}", "rep stosb", rest = in(reg) bytes & 3,
                in("eax") u32::from(value) * 0x0101_0101, inout("edi") to => _, inout("ecx") bytes >> 2 => _,
                options(preserves_flags))
        };
    }

    fn insb(&mut self, port: u16, to: u32, bytes: u32) {
        // SAFETY: as for single writes.
        unsafe {
            asm!("rep insb", in("dx") port, inout("edi") to => _, inout("ecx") bytes => _, options(preserves_flags))
        };
    }

    fn cpuid(&mut self, leaf: u32) -> Option<[u32; 4]> {
        let changed: u32;
        // SAFETY: flips EFLAGS.ID, which only a CPU with CPUID allows (Intel SDM, volume 1, 20.1.2), and restores
        // EFLAGS.
        unsafe {
            asm!("pushfd", "mov eax, [esp]", "xor dword ptr [esp], 0x200000", "popfd", "pushfd", "xor eax, [esp]", "popfd",
                out("eax") changed)
        };
        if changed & 0x20_0000 == 0 {
            return None;
        }
        let (a, b, c, d): (u32, u32, u32, u32);
        // SAFETY: CPUID changes only these four registers. EBX, which LLVM reserves, is restored.
        unsafe {
            asm!("xchg {b}, ebx", "cpuid", "xchg {b}, ebx", b = out(reg) b, inout("eax") leaf => a,
                inout("ecx") 0 => c, out("edx") d, options(nomem, nostack, preserves_flags))
        };
        Some([a, b, c, d])
    }

    fn rdmsr(&mut self, register: u32) -> u64 {
        let (low, high): (u32, u32);
        // SAFETY: callers read only MSRs that CPUID reports.
        unsafe {
            asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags))
        };
        u64::from(high) << 32 | u64::from(low)
    }

    fn wrmsr(&mut self, register: u32, value: u64) {
        // SAFETY: callers write only MTRRs, which do not change the contents of memory.
        unsafe {
            asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32,
                options(nostack, preserves_flags))
        };
    }

    fn trampoline(&self) -> &'static [u8] {
        // SAFETY: the labels delimit a section of the ROM, which is never written.
        unsafe {
            let start = &raw const trampoline_start;
            core::slice::from_raw_parts(start, (&raw const trampoline_end).byte_offset_from(start) as usize)
        }
    }
}

/// Stores the handoff structure at its fixed address.
pub fn store_handoff(handoff: &Handoff) {
    const ADDRESS: usize = 0xe_0000 + Handoff::OFFSET as usize;
    // SAFETY: shadow RAM that is reserved for this structure.
    unsafe { (ADDRESS as *mut Handoff).copy_from_nonoverlapping(handoff, 1) };
}

/// Writes `message` to the debug port (402h) and halts the CPU: after a panic.
pub fn die(message: &str) -> ! {
    message.bytes().for_each(|byte| FlatModeHw.outb(0x402, byte));
    loop {
        // SAFETY: CLI and HLT access no memory.
        unsafe { asm!("cli", "hlt") };
    }
}
