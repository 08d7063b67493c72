//! ROM header, entry of the loader, and entries of kernels, in assembly.

#![allow(unsafe_code, reason = "the ROM header and the mode switch are assembly")]

use core::arch::global_asm;
use pcvm_loader::{Entry, PARAMETERS};

// SAFETY: the assembly below defines the symbols with these types.
unsafe extern "C" {
    static rom_parameters: [u8; PARAMETERS];
    fn enter_setup(segment: u32, stack: u32) -> !;
    fn enter_flat(address: u32, eax: u32, ebx: u32) -> !;
}

/// The parameter block, which pcvm has patched into the ROM.
pub fn parameters() -> &'static [u8; PARAMETERS] {
    // SAFETY: the assembly below defines this many bytes, and nothing writes them at run time.
    unsafe { &rom_parameters }
}

/// Enters the kernel.
pub fn enter(entry: Entry) -> ! {
    // SAFETY: neither returns to Rust code: the kernel owns the machine from here on.
    unsafe {
        match entry {
            Entry::Setup { segment, stack } => enter_setup(segment.into(), stack.into()),
            Entry::Flat { address, eax, ebx } => enter_flat(address, eax, ebx),
        }
    }
}

// Expansion ROM header: Plug and Play BIOS Specification 1.0A, section 3.2. `asm16 finish` sets size and checksum. The
// offsets in the Plug and Play header are fixed, so that its checksum is a constant.
//
// SAFETY: the BIOS calls `bootstrap`, which copies the ROM to 0100:0000 and calls `loader_main` there, on a stack of its
// own; after a failure the BIOS's stack and registers are as they were.
global_asm!(
    r#"
.section .header, "ax"
.code16
.globl rom_start
rom_start:
    .byte 0x55, 0xaa
    .byte rom_units
    jmp initialize
    .org 0x07
    .byte 0                     # checksum
    .org 0x18
    .word 0                     # no PCI data structure
    .word 0x20                  # Plug and Play header
    .org 0x20
    .ascii "$PnP"
    .byte 1, 2                  # revision; length in units of 16 bytes
    .word 0                     # last header
    .byte 0
    .byte 0x07                  # checksum
    .long 0                     # device identifier
    .word 0, 0x40               # manufacturer, product name
    .byte 0, 0, 0               # device type
    .byte 4                     # initial program load device
    .word 0, 0, 0x80, 0, 0      # boot connection, disconnect, bootstrap entry, reserved, static resources
    .org 0x40
    .asciz "kernel"
    .org 0x60
.globl rom_parameters
rom_parameters:
    .space 32
    .org 0x80
bootstrap:
    pushw %ds
    pushw %es
    pushal
    cld
    movw %cs, %ax
    movw %ax, %ds
    movw $0x100, %ax
    movw %ax, %es
    xorw %si, %si
    xorw %di, %di
    movw $image_end, %cx
    shrw $1, %cx
    rep movsw
    ljmpw $0x100, $1f
1:  movw $bss_start, %di
    movw $bss_end, %cx
    subw %di, %cx
    xorb %al, %al
    rep stosb
    movw %cs, %ax
    movw %ax, %ds
    movw %ss, bios_ss
    movw %sp, bios_sp
    cli
    movw %ax, %ss
    movl $0x6c00, %esp
    sti
    calll loader_main
    cli
    movw bios_ss, %ss
    movzwl bios_sp, %esp
    sti
    popal
    popw %es
    popw %ds
    lretw

# Called at power-on. AX: an initial program load device is attached.
initialize:
    movw $0x20, %ax
    lretw

# enter_setup(segment, stack): the 16-bit entry of Linux (boot.rst, "Running the kernel").
.section .text.enter_setup, "ax"
.globl enter_setup
enter_setup:
    movl 4(%esp), %eax
    movl 8(%esp), %ebx
    cli
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
    movzwl %bx, %esp
    addw $0x20, %ax
    pushw %ax
    pushw $0
    xorl %eax, %eax
    xorl %ebx, %ebx
    xorl %ecx, %ecx
    xorl %edx, %edx
    xorl %esi, %esi
    xorl %edi, %edi
    xorl %ebp, %ebp
    cld
    sti
    lretw

# enter_flat(address, eax, ebx): flat 32-bit protected mode without paging, interrupts disabled (Multiboot Specification
# 0.6.96, section 3.2; Xen, docs/misc/pvh.pandoc, which also requires a task register and CR0 = PE).
.section .text.enter_flat, "ax"
.globl enter_flat
enter_flat:
    movl 4(%esp), %ecx
    movl 8(%esp), %eax
    movl 12(%esp), %ebx
    cli
    cld
    lgdtl flat_gdtr
    movl $0x11, %edx
    movl %edx, %cr0
    ljmpl $0x10, $(0x1000 + 1f)
.code32
1:  movl $0x18, %edx
    movl %edx, %ds
    movl %edx, %es
    movl %edx, %fs
    movl %edx, %gs
    movl %edx, %ss
    movl $0x7c00, %esp
    movl $0x20, %edx
    ltrw %dx
    pushl $2
    popfl
    xorl %edx, %edx
    xorl %esi, %esi
    xorl %edi, %edi
    xorl %ebp, %ebp
    jmpl *%ecx
.code16

# Functions of `Hw` that the loader does not use.
.section .text.unused, "ax"
.globl rt_enter
.globl rt_boot_again
.globl rt_protected_mode
.globl rt_block_move
.globl rt_wait
rt_enter:
rt_boot_again:
rt_protected_mode:
rt_block_move:
rt_wait:
    cli
    hlt
    jmp rt_enter

.section .data.flat, "aw"
.balign 8
flat_gdt:
    .quad 0
    .quad 0
    .quad 0x00cf9b000000ffff   # code
    .quad 0x00cf93000000ffff   # data
    .quad 0x0000890000000067   # task state segment at 0
flat_gdtr:
    .word 39
    .long 0x1000 + flat_gdt
bios_ss: .word 0
bios_sp: .word 0
"#,
    options(att_syntax)
);
