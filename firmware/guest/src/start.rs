//! Boot sector, program entry, BIOS calls, IRQ counters and block moves above 1 MiB, in assembly.

#![allow(unsafe_code, reason = "the boot sector and the entry code are assembly")]

use core::arch::global_asm;

// SAFETY: the BIOS enters the boot sector, which loads the image to segment 1000h; Rust code calls the `rt_` functions
// as `real.rs` of `pcvm_firmware_rt` declares them. They keep the registers that the C calling convention preserves.
//
// The boot sector loads `image_sectors` sectors from sector 1 to 1000:0000, from a hard disk or a floppy: in one call
// by LBA if the BIOS has the extensions (EDD 3.0, functions 41h and 42h), otherwise track by track with the geometry
// that the BIOS reports. Cylinder numbers stay below 256, because the image is smaller than 64 KiB.
global_asm!(
    r#"
.section .boot, "ax"
.code16
.globl boot_start
boot_start:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %ss
    movw $0x7c00, %sp
    sti
    cld
    ljmpw $0, $1f
1:  movb %dl, drive
    movb $0x41, %ah
    movw $0x55aa, %bx
    int $0x13
    jc by_track
    cmpw $0xaa55, %bx
    jne by_track
    testb $1, %cl
    jz by_track
    movw $packet, %si
    movb drive, %dl
    movb $0x42, %ah
    int $0x13
    jnc loaded
by_track:
    movb drive, %dl
    movb $8, %ah
    xorw %di, %di
    movw %di, %es
    int $0x13
    jc failed
    andw $0x3f, %cx
    jz failed
    movw %cx, track
    movzbw %dh, %ax
    incw %ax
    movw %ax, heads
    movw $0x1000, %ax
    movw %ax, %es
    xorw %bx, %bx
    movw $1, %si               # next sector to load
    movw $image_sectors, %di   # sectors left
next:
    movw %si, %ax
    xorw %dx, %dx
    divw track                 # AX: track, DX: sector on the track
    movw track, %bp
    subw %dx, %bp              # sectors left on the track
    cmpw %di, %bp
    jbe 1f
    movw %di, %bp
1:  movw %dx, %cx
    incw %cx
    xorw %dx, %dx
    divw heads
    movb %al, %ch
    movb %dl, %dh
    movb drive, %dl
    movw $3, tries
2:  movw %bp, %ax
    movb $2, %ah
    pusha
    int $0x13
    popa
    jnc 3f
    decw tries
    jz failed
    pusha
    movb $0, %ah
    int $0x13
    popa
    jmp 2b
3:  addw %bp, %si
    subw %bp, %di
    shlw $9, %bp
    addw %bp, %bx
    testw %di, %di
    jnz next
loaded:
    movb drive, %dl
    ljmpw $0x1000, $image_start
failed:
    movw $message, %si
1:  lodsb
    testb %al, %al
    jz 2f
    movb $0x0e, %ah
    movw $7, %bx
    int $0x10
    jmp 1b
2:  int $0x18
3:  hlt
    jmp 3b
message: .asciz "The boot sector cannot read its disk\r\n"
.balign 2
track: .word 0
heads: .word 0
tries: .word 0
drive: .byte 0
.balign 4
packet: .byte 16, 0
    .word image_sectors, 0, 0x1000
    .quad 1
    .org boot_start + 510
    .word 0xaa55

.section .start, "ax"
.globl image_start
image_start:
    jmp 1f
    .balign 8
.globl image_parameters
image_parameters: .space 32
1:  cli
    movw %cs, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $0xfff0, %esp
    movl $bss_end, %ecx
    movl $bss_start, %edi
    subw %di, %cx
    xorb %al, %al
    rep stosb
    sti
    movzbl %dl, %edx
    pushl %edx
    calll guest_main
1:  hlt
    jmp 1b

# rt_block_move(from, to, words): copies in protected mode with flat data segments, interrupts disabled.
.section .text.rt_block_move, "ax"
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
    lgdtl move_gdtr
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
    ljmpw $0x1000, $2f
2:  popw %es
    popw %ds
    popfw
    popl %edi
    popl %esi
    retl

# rt_wait(halt): enables interrupts for two instructions, or until one arrives.
.section .text.rt_wait, "ax"
.globl rt_wait
rt_wait:
    cmpl $0, 4(%esp)
    je 1f
    sti
    hlt
    cli
    retl
1:  sti
    nop
    nop
    cli
    retl

# Functions of `Hw` that a boot program does not use.
.section .text.rt_enter, "ax"
.globl rt_enter
.globl rt_boot_again
.globl rt_protected_mode
rt_enter:
rt_boot_again:
rt_protected_mode:
    cli
    hlt
    jmp rt_enter

.section .data.move_gdt, "aw"
.balign 8
move_gdt:
    .quad 0
    .quad 0x00009b010000ffff   # code, 16 bit, base 10000h
    .quad 0x00cf93000000ffff   # data, flat
    .quad 0x000093000000ffff   # data, base 0, 64 KiB
move_gdtr:
    .word 31
    .long 0x10000 + move_gdt

# IRQ handlers: count, and send the EOI.
.macro counter n
counter_\n:
    incw %cs:irq_counts + 2 * \n
    jmp counter_end
.endm
.section .text.counters, "ax"
.irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
  counter \n
.endr
counter_end:
    pushw %ax
    # An IRQ in service on the second 8259 needs an EOI on both.
    movb $0x0b, %al
    outb %al, $0xa0
    inb $0xa0, %al
    testb %al, %al
    movb $0x20, %al
    jz 1f
    outb %al, $0xa0
1:  outb %al, $0x20
    popw %ax
    iretw
.section .rodata.counters, "a"
.globl irq_counters
irq_counters:
.irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
  .word counter_\n
.endr
.section .bss.counters, "aw", @nobits
.balign 4
.globl irq_counts
irq_counts: .space 32
"#,
    options(att_syntax)
);
