//! Interrupt entry stubs, CPU reset entry and calls of real-mode code (assembly of the 16-bit BIOS).
//!
//! Interrupt vectors point to segment F000h, where PC software expects fixed entry points (IBM PS/2 and PC BIOS
//! Interface Technical Reference; `bios/link.ld` lists them). A far jump there leads to a stub in segment E000h, which
//! is RAM. So the stub can save registers through its CS and switch stacks without a push on the caller's stack: that
//! may be small, and code that an IRQ interrupts may use memory below its stack pointer. The caller's stack holds only
//! the 6 bytes that the CPU pushes. `bios_interrupt` runs with DS = ES = SS = E000h.
//!
//! If SS is E000h on entry (an IRQ or a nested call while the firmware runs), the stub stays on the current stack. If
//! not, it starts at `stack_position`: the top of the firmware's stack, or lower while the firmware calls other code or
//! waits for an interrupt. Interrupt handlers of other programs may have switched stacks before they call the BIOS (those
//! of DOS do).
//!
//! Interrupts are enabled only while a service waits, and then SS:ESP are the caller's (`rt_wait`). If the handler
//! abandons the service, its part of the firmware's stack stays reserved. An entry below STACK_LOW is taken as the result
//! of that, and starts at the top again.

#![allow(unsafe_code, reason = "the entry stubs are assembly, with fixed addresses and shared symbols")]

use crate::STUBS;
use crate::handoff::Handoff;
use core::arch::global_asm;

// SAFETY: the code runs only when the CPU enters it (interrupt, reset) or when Rust code calls it as declared below and
// in `real.rs`. It keeps the registers that the C calling convention preserves, and writes only its own variables, its
// stack and what its arguments name.
//
// Each vector has two pieces of code: a far jump in F000h (`entry_NN`, at its fixed address if it has one), and the
// stub in E000h.
global_asm!(
    r#"
.macro stub n
  .section .estubs, "awx"
  stub_\n:
    cli                        # a program that hooked the vector may chain here with IF set
    movw $0x\n, %cs:entry_vector
    jmp entry_common
.endm
.macro entry n
  stub \n
  .section .text.entries, "ax"
  .globl entry_\n
  entry_\n: ljmpw $0xe000, $stub_\n
.endm
.macro fixed n, at
  stub \n
  .section .fixed.\at, "ax"
  .globl entry_\n
  entry_\n: jmp far_\n        # 3 bytes: the next fixed address may follow
  .section .text.entries, "ax"
  far_\n: ljmpw $0xe000, $stub_\n
.endm

.section .estubs, "awx"
.code16
entry_common:
    movl %eax, %cs:entry_eax
    movl %esp, %cs:entry_esp
    movw %ss, %cs:entry_ss
    movw %cs, %ax
    cmpw %ax, %cs:entry_ss
    je 1f
    movw %ax, %ss
    cmpw ${STACK_LOW}, %cs:stack_position
    jae 2f
    movw ${STACK_TOP}, %cs:stack_position
2:  movzwl %cs:stack_position, %esp
    subw ${ACTIVATION}, %cs:stack_position
1:  pushw $0
    pushw %cs:entry_ss
    pushl %cs:entry_esp
    pushw %cs:entry_vector
    pushw $0
    movl %cs:entry_eax, %eax
    pushal
    pushw %ds
    pushw %es
    pushw %fs
    pushw %gs
    movw %cs, %ax
    movw %ax, %ds
    movw %ax, %es
    cld
    movl %esp, %eax
    ljmpw $0xf000, $entry_dispatch

entry 00
fixed 02, e2c3
fixed 05, ff54
entry 06
fixed 08, fea5
fixed 09, e987
entry 0a
entry 0b
entry 0c
entry 0d
fixed 0e, ef57
entry 0f
fixed 10, f065
fixed 11, f84d
fixed 12, f841
fixed 13, e3fe
fixed 14, e739
fixed 15, f859
fixed 16, e82e
fixed 17, efd2
entry 18
fixed 19, e6f2
fixed 1a, fe6e
fixed 40, ec59
entry 70
entry 71
entry 72
entry 73
entry 74
entry 75
entry 76
entry 77

# The floppy parameter table that INT 1Eh's vector points to: 1.44 MB (the fields are named in the disk driver).
.section .fixed.efc7, "ax"
    .byte 0xaf, 0x02, 0x25, 0x02, 18, 0x1b, 0xff, 0x6c, 0xf6, 0x0f, 0x08

.section .fixed.ff53, "ax"
.globl entry_iret
entry_iret: iretw

# Offsets of entry_NN in the order of STUBS, for the vector table.
.section .rodata.entries, "a"
.globl entry_offsets
entry_offsets:
.irp n, 00,02,05,06,08,09,0a,0b,0c,0d,0e,0f,10,11,12,13,14,15,16,17,18,19,1a,40,70,71,72,73,74,75,76,77
  .word entry_\n
.endr

# The stubs' variables, in another page than the stubs: stores to a page with code are slow in emulators.
.section .bss.entry, "aw", @nobits
.balign 4
entry_eax: .space 4
entry_esp: .space 4
entry_ss: .space 2
entry_vector: .space 2

.section .data.entry, "aw"
.balign 4
.globl stack_position
stack_position: .word {STACK_TOP}, 0
# Registers of the caller that the firmware serves, 0 during POST.
current_frame: .long 0

.section .text.dispatch, "ax"
# A handler may enable interrupts, and a program that hooks an interrupt may call the BIOS from its own stack. That call
# starts HANDLER_RESERVE bytes lower, below the part of the stack that the handler uses.
entry_dispatch:
    pushl stack_position
    pushl current_frame
    movl %eax, current_frame
    movl %esp, %ecx
    subw ${HANDLER_RESERVE}, %cx
    movw %cx, stack_position
    pushl %eax
    calll bios_interrupt
    cli
    popl %eax
    popl current_frame
    popl stack_position
    popw %gs
    popw %fs
    popw %es
    popw %ds
    popal
    addl $4, %esp
    cmpw $0xe000, 4(%esp)
    je 1f
    addw ${ACTIVATION}, %ss:stack_position
1:  lssl (%esp), %esp
    iretw

# rt_wait(halt): enables interrupts for two instructions, or until one arrives, on the caller's stack: a handler may never
# return and expect its program's SS. If the handler calls the BIOS, that starts below the part of this stack that is in
# use.
.globl rt_wait
rt_wait:
    movl 4(%esp), %ecx
    pushl %ebx
    pushl stack_position
    movl %esp, %ebx            # interrupt handlers preserve EBX and DS
    movl %ebx, %eax
    subw ${CALL_RESERVE}, %ax
    movw %ax, stack_position
    movl current_frame, %eax
    testl %eax, %eax
    jz 1f
    cmpw $0xe000, {FRAME_SS}(%eax)
    je 1f
    lssl {FRAME_ESP}(%eax), %esp
1:  jecxz 2f
    sti
    hlt                        # STI lets interrupts in only after HLT
    jmp 3f
2:  sti
    nop
    nop
3:  cli
    movw %ds, %ax
    movw %ax, %ss
    movl %ebx, %esp
    popl stack_position
    popl %ebx
    retl

# rt_call(regs, target, interrupt, words): calls the far pointer `target` with `regs`. If `interrupt` is set, pushes
# flags for the callee's IRET. Pushes four words first unless `words` is null.
.globl rt_call
rt_call:
    pushl %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    movl 20(%esp), %ebx
    movl 24(%esp), %ecx
    movl 28(%esp), %edx
    movl 32(%esp), %esi
    pushl stack_position
    movl %esp, %eax
    subw ${CALL_RESERVE}, %ax
    movw %ax, stack_position
    pushl %ebx
    calll 4f                   # EIP: CS is F000h or the boot code's
4:  popl %edi
    addw $(2f - 4b), %di
    testl %esi, %esi
    jz 1f
    pushw (%esi)
    pushw 2(%esi)
    pushw 4(%esi)
    pushw 6(%esi)
    addw $(3f - 2f), %di
1:  testl %edx, %edx
    jz 1f
    cli
    pushfw
    popw %ax
    andw $0xf72a, %ax          # all but CF, PF, AF, ZF, SF and OF
    movw 40(%ebx), %dx
    andw $0x08d5, %dx
    orw %dx, %ax
    pushw %ax
    popfw
    pushw %ax
1:  pushw %cs
    pushw %di
    pushl %ecx
    movw 0(%ebx), %gs
    movw 2(%ebx), %fs
    movw 4(%ebx), %es
    movl 8(%ebx), %edi
    movl 12(%ebx), %esi
    movl 16(%ebx), %ebp
    movl 28(%ebx), %edx
    movl 32(%ebx), %ecx
    movl 36(%ebx), %eax
    pushl 24(%ebx)
    pushw 6(%ebx)
    popw %ds
    popl %ebx
    lretw
3:  leaw 8(%esp), %sp
2:  movzwl %sp, %esp
    pushfw
    cli                        # some services return with interrupts enabled
    cld
    pushl %ebx
    pushw %ds
    pushw %ss
    popw %ds
    movl 8(%esp), %ebx
    popw 6(%ebx)
    popl 24(%ebx)
    popw 40(%ebx)
    movw %gs, 0(%ebx)
    movw %fs, 2(%ebx)
    movw %es, 4(%ebx)
    movl %edi, 8(%ebx)
    movl %esi, 12(%ebx)
    movl %ebp, 16(%ebx)
    movl %edx, 28(%ebx)
    movl %ecx, 32(%ebx)
    movl %eax, 36(%ebx)
    addl $4, %esp
    popl stack_position
    pushw %ss
    popw %es
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
    retl

# rt_protected_mode(table, regs): INT 15h AH=89h. Descriptors 08h and 10h of the table are operands for LGDT and LIDT in
# the 80286's format: limit, then 24-bit base. Descriptor 38h gets this code's segment. Pops the caller's interrupt
# frame.
.section .text.protected_mode, "ax"
.globl rt_protected_mode
rt_protected_mode:
    cli
    movl 4(%esp), %eax
    movl 8(%esp), %ebx
    movzwl %ax, %edi
    shrl $16, %eax
    movw %ax, %ds
    movl $0x0000ffff, 0x38(%edi)
    movl $0x00009b0f, 0x3c(%edi)
    lgdtw 0x08(%edi)
    lidtw 0x10(%edi)
    movzwl %ss:44(%ebx), %ebp
    movw %ss:48(%ebx), %fs
    movw %fs:(%ebp), %cx
    addw $6, %bp
    movl %ss:28(%ebx), %edx
    movl %ss:8(%ebx), %edi
    movl %ss:12(%ebx), %esi
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    movw $0x28, %ax
    movw %ax, %ss
    movl %ebp, %esp
    pushw $0x30
    pushw %cx
    movw $0x18, %ax
    movw %ax, %ds
    movw $0x20, %ax
    movw %ax, %es
    xorl %eax, %eax            # AH=0, CF=0
    movw %ax, %fs
    movw %ax, %gs
    lretw

# rt_enter(regs, target): jumps to the far pointer `target` with `regs`, SS:ESP = 0000:7C00, FS = GS = 0 and IF set.
.section .text.enter, "ax"
.globl rt_enter
rt_enter:
    cli
    movw ${STACK_TOP}, stack_position
    movl $0, current_frame
    movl 4(%esp), %ebx
    movl 8(%esp), %ecx
    xorl %eax, %eax
    movw %ax, %ss
    movl $0x7c00, %esp
    movw %ax, %fs
    movw %ax, %gs
    pushl %ecx
    movw 4(%ebx), %es
    movl 8(%ebx), %edi
    movl 12(%ebx), %esi
    movl 16(%ebx), %ebp
    movl 28(%ebx), %edx
    movl 32(%ebx), %ecx
    movl 36(%ebx), %eax
    pushl 24(%ebx)
    pushw 6(%ebx)
    popw %ds
    popl %ebx
    sti
    lretw

# rt_block_move(from, to, words): copies in protected mode with flat data segments, interrupts disabled. The
# descriptors' accessed bits are set because the CPU cannot write them: the GDT is in read-only memory.
.section .text.block_move, "ax"
.globl rt_block_move
rt_block_move:
    pushl %esi
    pushl %edi
    pushfw
    cli
    movl 14(%esp), %esi
    movl 18(%esp), %edi
    movl 22(%esp), %ecx
    pushw %ds
    pushw %es
    lgdtl %cs:move_gdtr
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmpw $0x08, $1f
1:  movw $0x10, %dx
    movw %dx, %ds
    movw %dx, %es
    .byte 0x67, 0xf3, 0xa5     # rep movsw with ESI, EDI, ECX
    movw $0x18, %dx
    movw %dx, %ds
    movw %dx, %es
    andb $0xfe, %al
    movl %eax, %cr0
    ljmpw $0xf000, $2f
2:  popw %es
    popw %ds
    popfw
    popl %edi
    popl %esi
    retl

.section .text.move_gdt, "ax"
.balign 8
move_gdt:
    .quad 0
    .quad 0x00009b0f0000ffff   # code, 16 bit, base F0000h
    .quad 0x00cf93000000ffff   # data, flat
    .quad 0x000093000000ffff   # data, base 0, 64 KiB
move_gdtr:
    .word 31
    .long 0xf0000 + move_gdt

# INT 15h AH=C0h: system configuration (IBM PS/2 and PC BIOS Interface Technical Reference). Model FCh, submodel 0, BIOS
# revision 1; 74h: second interrupt controller, RTC, keyboard intercept (INT 15h AH=4Fh), EBDA; 40h: INT 16h AH=09h.
.section .fixed.e6f5, "a"
    .word 8
    .byte 0xfc, 0x00, 0x01, 0x74, 0x40, 0x00, 0x00, 0x00

# Baud rate divisors of INT 14h.
.section .fixed.e729, "a"
    .word 1047, 768, 384, 192, 96, 48, 24, 12

# Power-on and reset. The shutdown byte, CMOS 0Fh, selects how a program that reset the CPU resumes (IBM AT Technical
# Reference). Memory is intact then and belongs to that program.
.section .fixed.fff0, "ax"
    ljmpw $0xf000, $0xe05b
    .ascii "11/22/26"
    .byte 0
    .byte 0xfc
    .byte 0

.section .fixed.e05b, "ax"
    jmp power_on

.section .text.power_on, "ax"
power_on:
    cli
    cld
    movb $0x8f, %al
    outb %al, $0x70
    inb $0x71, %al
    movb %al, %bl
    movb $0x8f, %al
    outb %al, $0x70
    movb $0, %al
    outb %al, $0x71
    cmpb $0x05, %bl
    je 5f
    cmpb $0x09, %bl
    je 9f
    cmpb $0x0a, %bl
    je 6f
    cmpb $0x0b, %bl
    je 7f
    cmpb $0x0c, %bl
    je 8f
cold:
    # The 32-bit code runs from the ROM below 4 GiB, which needs A20.
    inb $0x92, %al
    orb $2, %al
    andb $0xfe, %al
    outb %al, $0x92
    lgdtl %cs:post_gdtr
    movl %cr0, %eax
    andl $0x1fffffff, %eax     # caches on, paging off
    orb $1, %al
    movl %eax, %cr0
    ljmpl $0x08, $0xfffe8000
5:  # EOI, then jump through 40:67h.
    movb $0x20, %al
    outb %al, $0xa0
    outb %al, $0x20
6:  xorw %ax, %ax
    movw %ax, %ds
    ljmpw *0x467
7:  # IRET from the stack that 40:67h points to.
    xorw %ax, %ax
    movw %ax, %ds
    lssw 0x467, %sp
    iretw
8:  # RETF from the stack that 40:67h points to.
    xorw %ax, %ax
    movw %ax, %ds
    lssw 0x467, %sp
    lretw
9:  # End of a block move the 80286 way: registers and return address on the stack that 40:67h points to.
    xorw %ax, %ax
    movw %ax, %ds
    lssw 0x467, %sp
    popw %ds
    popw %es
    popaw
    iretw

.section .text.post_gdt, "ax"
.balign 8
post_gdt:
    .quad 0
    .quad 0x00cf9b000000ffff   # code, 32 bit, flat
    .quad 0x00cf93000000ffff   # data, flat
    .quad 0x00009b0f0000ffff   # code, 16 bit, base F0000h
    .quad 0x000093000000ffff   # data, base 0, 64 KiB
post_gdtr:
    .word 39
    .long 0xffff0000 + post_gdt

# The 32-bit power-on code returns here, in shadow RAM, in protected mode with a 16-bit code segment: enters real mode.
.section .text.to_real, "ax"
to_real:
    movw $0x20, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
    movl %cr0, %eax
    andb $0xfe, %al
    movl %eax, %cr0
    ljmpw $0xf000, $bios_start

.section .text.bios_start, "ax"
.globl bios_start
bios_start:
    cli
    cld
    movw $0xe000, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl ${STACK_TOP}, %esp
    ljmpw ${BOOT_SEGMENT}, $boot_start + {BOOT_WINDOW}

.section .boot.entry, "ax"
boot_start:
    calll bios_main
1:  hlt
    jmp 1b
# Restarts the boot sequence on an empty stack. ECX: the interrupt vector, 18h or 19h.
boot_again:
    movw ${STACK_TOP}, stack_position
    movl $0, current_frame
    movl ${STACK_TOP}, %esp
    pushl %ecx
    calll bios_boot_again
1:  hlt
    jmp 1b

# rt_boot_again(vector): restarts the boot sequence in the boot code's segment.
.section .text.boot_again, "ax"
.globl rt_boot_again
rt_boot_again:
    cli
    movl 4(%esp), %ecx
    ljmpw ${BOOT_SEGMENT}, $boot_again + {BOOT_WINDOW}

# Plug and Play BIOS functions, C calling convention: arguments above the far return address, status in AX. The first
# entry point is for real and virtual-8086 mode. In protected mode the stack segment may be a 32-bit one.
.section .fixed.e044, "ax"
    jmp pnp_real
    nop
    jmp pnp_protected

.section .text.pnp, "ax"
pnp_protected:
    pushl %ebp
    pushl %eax
    movl %esp, %ebp
    movw %ss, %ax
    larl %eax, %eax
    btl $22, %eax
    jc 1f
    movzwl %bp, %ebp
1:  addl $4, %ebp
    popl %eax
    jmp 1f
pnp_real:
    pushl %ebp
    movzwl %sp, %ebp
1:  pushfw
    pushw %ds
    pushw %es
    pushw %cx
    pushw %dx
    pushw %si
    pushw %di
    cld
    movw 8(%ebp), %ax
    cmpw $1, %ax
    jb 5f
    je 6f
    movw $0x82, %ax            # FUNCTION_NOT_SUPPORTED
2:  popw %di
    popw %si
    popw %dx
    popw %cx
    popw %es
    popw %ds
    popfw
    popl %ebp
    lretw
# Function 00h: number of nodes, size of the largest node.
5:  lesw 10(%ebp), %di
    movb %cs:{NODES}+2, %al
    movb %al, %es:(%di)
    lesw 14(%ebp), %di
    movw %cs:{NODES}, %ax
    movw %ax, %es:(%di)
    xorw %ax, %ax
    jmp 2b
# Function 01h: one node. The current (1) and the next boot's (2) configuration are the same.
6:  movw 18(%ebp), %cx
    decw %cx
    movw $0x84, %ax            # BAD_PARAMETER
    cmpw $1, %cx
    ja 2b
    lesw 10(%ebp), %di
    movzbw %es:(%di), %cx
    movw $0x83, %ax            # INVALID_HANDLE
    cmpb %cs:{NODES}+2, %cl
    jae 2b
    movb %cl, %dl
    movw ${NODES}+3, %si
    jcxz 8f
7:  addw %cs:(%si), %si
    loop 7b
8:  incb %dl
    cmpb %cs:{NODES}+2, %dl
    jb 9f
    movb $0xff, %dl
9:  movb %dl, %es:(%di)
    lesw 14(%ebp), %di
    movw %cs:(%si), %cx
    rep movsb %cs:(%si), %es:(%di)
    xorw %ax, %ax
    jmp 2b

# Header of this image for the 32-bit power-on code.
.section .header, "ax"
    .ascii "pcvmBIOS"
    .word to_real
    .word high_end
    .word data_end
    .word 0
"#,
    STACK_TOP = const (crate::ebda::PRIVATE - 0xe000) * 16,
    STACK_LOW = const 0x5a00,
    FRAME_ESP = const core::mem::offset_of!(crate::Regs, esp),
    FRAME_SS = const core::mem::offset_of!(crate::Regs, ss),
    CALL_RESERVE = const 256,
    HANDLER_RESERVE = const 2048,
    ACTIVATION = const 0xc00,
    BOOT_SEGMENT = const 0xf000 - BOOT_WINDOW / 16,
    BOOT_WINDOW = const BOOT_WINDOW,
    NODES = const crate::pnp::NODES.offset,
    options(att_syntax)
);

/// The installation structure at its fixed address, see [`crate::pnp`].
#[used]
// SAFETY: `bios/link.ld` reserves the size of this structure at this address.
#[unsafe(link_section = ".fixed.e020")]
static PNP_STRUCTURE: [u8; crate::pnp::STRUCTURE.len()] = crate::pnp::STRUCTURE;
/// Space for the device nodes, which the BIOS fills in, see [`crate::pnp`].
#[used]
// SAFETY: `bios/link.ld` reserves this many bytes at this address.
#[unsafe(link_section = ".fixed.e990")]
static PNP_NODES: [u8; crate::pnp::NODES_SIZE] = [0; crate::pnp::NODES_SIZE];

/// Distance in bytes of the boot code's segment from segment F000h. Boot code runs only before a boot sector starts,
/// with CS at its own start. Near calls are relative, so it can call the part of segment F000h that is within 64 KiB of
/// there. `bios/link.ld` places the boot code, and `bios/reach.awk` checks that it makes no call beyond.
const BOOT_WINDOW: u32 = 0x5800;

// SAFETY: the assembly above defines the symbols with these types.
unsafe extern "C" {
    static entry_offsets: [u16; STUBS.len()];
    static entry_iret: u8;
}

/// Offsets in segment F000h of the entry points, in the order of [`STUBS`].
pub fn offsets() -> &'static [u16; STUBS.len()] {
    // SAFETY: the assembly above defines this many words, and nothing writes them.
    unsafe { &entry_offsets }
}

/// Offset in segment F000h of an IRET instruction.
pub fn iret() -> u16 {
    (&raw const entry_iret) as usize as u16
}

/// Results of the power-on code.
pub fn handoff() -> &'static Handoff {
    // SAFETY: the power-on code fills this memory before `bios_main` runs, and nothing writes it afterwards. The
    // structure has only integers, for which all bit patterns are valid.
    unsafe { &*(Handoff::OFFSET as usize as *const Handoff) }
}

/// A static of the BIOS, which may have interior mutability ([`core::cell::Cell`]): only the boot processor runs the
/// BIOS. An interrupt may arrive between any two instructions, so what handlers share must be valid after each store.
pub struct Local<T>(T);

// SAFETY: only the boot processor runs 16-bit code of the firmware, and `get` gives out shared references only.
unsafe impl<T> Sync for Local<T> {}

impl<T> Local<T> {
    /// Wraps the initial value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// A shared reference to the value.
    pub fn get(&self) -> &T {
        &self.0
    }
}

/// Writes `message` to the debug port (402h) and halts the CPU: after a panic, or an invalid instruction in firmware
/// code.
pub fn die(message: &str) -> ! {
    use crate::hw::{Hw, Ports};
    let mut hw = crate::real::Real;
    hw.set_interrupts(false);
    for byte in message.bytes() {
        hw.outb(0x402, byte);
    }
    loop {
        // SAFETY: CLI and HLT access no memory.
        unsafe { core::arch::asm!("cli", "hlt") };
    }
}
