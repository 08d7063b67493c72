//! Protected-mode BIOS services: 16-bit and 32-bit APM, BIOS32 service directory, 32-bit PCI BIOS.
//!
//! Specifications: "Advanced Power Management (APM) BIOS Interface Specification", revision 1.2, section 4; "Standard
//! BIOS 32-bit Service Directory Proposal", revision 0.4; "PCI BIOS Specification", revision 2.1, section 3.
//!
//! All in assembly, because the rest of the BIOS is 16-bit code. APM callers enter through code segments with base
//! F0000h. The data segment, base E0000h, has the selector after theirs: CS + 8 for the 16-bit interface, CS + 16 for
//! the 32-bit one, whose first two selectors are code segments. A PCI BIOS caller may use any base from which F0000h to
//! FFFFFh are in reach, so that code is position-independent and reads its constants through CS.

#![allow(unsafe_code, reason = "the protected-mode services are assembly")]

use crate::apm;
use crate::handoff::Handoff;
use core::arch::global_asm;
use core::mem::offset_of;

// SAFETY: only callers in protected mode enter this code. It writes the APM variables in segment E000h, device
// registers and the caller's registers.
//
// APM, once for each code size. Functions 00h to 03h, which are for real mode only, return an error.
global_asm!(
    r#"
.macro apm_failed code, ret
    movb $\code, %ah
    stc
    popw %ds
    \ret
.endm
.macro apm_body ret, selectors
    pushw %ds
    pushl %esi
    movw %cs, %si
    addw $\selectors, %si
    movw %si, %ds
    popl %esi
    cmpb $0x53, %ah
    jne 80f
    cmpb $0x04, %al
    je 4f
    cmpb $0x05, %al
    je 5f
    cmpb $0x06, %al
    je 90f
    cmpb $0x07, %al
    je 7f
    cmpb $0x08, %al
    je 8f
    cmpb $0x09, %al
    je 9f
    cmpb $0x0a, %al
    je 10f
    cmpb $0x0b, %al
    je 11f
    cmpb $0x0c, %al
    je 12f
    cmpb $0x0d, %al
    je 13f
    cmpb $0x0e, %al
    je 14f
    cmpb $0x0f, %al
    je 15f
    cmpb $0x10, %al
    je 16f
80: apm_failed 0x0c, \ret              # function not supported
81: apm_failed 0x09, \ret              # unrecognised device
82: apm_failed 0x0a, \ret              # parameter out of range
83: apm_failed 0x60, \ret              # cannot enter that state

4:  testw %bx, %bx                      # disconnect
    jnz 81b
    movb $0, {CONNECTION}
    jmp 90f

5:  pushf                               # CPU idle
    sti
    hlt
    popf
    jmp 90f

7:  cmpw $0x0003, %cx                   # set power state
    ja 82b
    cmpw $0x0001, %bx
    jne 71f
    testw %cx, %cx
    jz 82b
    cmpw $0x0003, %cx
    je 72f
    pushf                               # standby, suspend: halt until an interrupt
    sti
    hlt
    popf
    jmp 90f
71: cmpb $0x01, %bh
    jb 81b
    cmpb $0x06, %bh
    ja 81b
    testw %cx, %cx
    jnz 83b
    jmp 90f
72: pushl %edx                          # off
    pushl %eax
    movw {PM1A_CONTROL}, %dx
    testw %dx, %dx
    jz 73f
    movzbl {SLP_TYP}, %eax
    andb $7, %al
    shll $10, %eax
    orw $0x2000, %ax
    outw %ax, %dx
73: movw $0x2000, %ax
    movw $0xb004, %dx
    outw %ax, %dx
    movw $0x8900, %dx
    .irp letter, 'S', 'h', 'u', 't', 'd', 'o', 'w', 'n'
    movb $\letter, %al
    outb %al, %dx
    .endr
    popl %eax
    popl %edx
    jmp 83b

8:  cmpw $0x0001, %bx                   # enable or disable power management
    je 84f
    cmpw $0xffff, %bx
    jne 81b
84: cmpw $0x0001, %cx
    ja 82b
    andb $0xfe, {FLAGS}
    orb %cl, {FLAGS}
    jmp 90f

9:  cmpw $0x0001, %bx                   # restore power-on defaults
    je 91f
    cmpw $0xffff, %bx
    jne 81b
91: movb $3, {FLAGS}
    jmp 90f

10: cmpw $0x0001, %bx                   # get power status: on line, no battery
    jne 81b
    movw $0x01ff, %bx
    movw $0x80ff, %cx
    movw $0xffff, %dx
    jmp 90f

11: apm_failed 0x80, \ret              # get PM event: no events

12: cmpw $0x0001, %bx                   # get power state: enabled
    je 92f
    cmpb $0x01, %bh
    jb 81b
    cmpb $0x06, %bh
    ja 81b
92: xorw %cx, %cx
    jmp 90f

13: cmpw $0x0001, %bx                   # enable or disable device power management
    je 93f
    cmpb $0x01, %bh
    jb 81b
    cmpb $0x06, %bh
    ja 81b
93: cmpw $0x0001, %cx
    ja 82b
    jmp 90f

14: testw %bx, %bx                      # driver version
    jnz 81b
    cmpb $0x01, %ch
    jne 94f
    cmpb $0x02, %cl
    jbe 95f
94: movb $0x02, %cl
    cmpb $0x01, %ch
    jae 95f
    movb $0x00, %cl
95: movb %cl, {VERSION}
    movb $0x01, %ah
    movb %cl, %al
    clc
    popw %ds
    \ret

15: cmpw $0x0001, %bx                   # engage or disengage power management
    jne 81b
    cmpw $0x0001, %cx
    ja 82b
    andb $0xfd, {FLAGS}
    addb %cl, %cl
    orb %cl, {FLAGS}
    shrb $1, %cl
    jmp 90f

16: testw %bx, %bx                      # get capabilities: no batteries, none
    jnz 81b
    movb $0, %bl
    xorw %cx, %cx

90: movb $0, %ah
    clc
    popw %ds
    \ret
.endm

.section .text.apm, "ax"
.code16
apm_16:
    apm_body lretw, 8
.code32
apm_32:
    apm_body lretl, 16
.code16

.section .fixed.e070, "ax"
.code16
    jmp apm_16
    .balign 4, 0x90
.code32
    .byte 0x66                          # JMP rel16, one byte shorter; clears EIP's high half
    .code16
    jmp apm_32
    .balign 4, 0x90
.globl pci_last_bus
pci_last_bus: .byte 0
"#,
    CONNECTION = const apm::OFFSET,
    VERSION = const apm::OFFSET + 1,
    FLAGS = const apm::OFFSET + 2,
    PM1A_CONTROL = const Handoff::OFFSET as usize + offset_of!(Handoff, pm1a_control),
    SLP_TYP = const Handoff::OFFSET as usize + offset_of!(Handoff, slp_typ_s5),
    options(att_syntax)
);

// SAFETY: only callers in protected mode enter this code. It writes device registers, the caller's registers and, for
// function 0Eh, the caller's buffer.
//
// BIOS32 service directory and PCI BIOS.
global_asm!(
    r#"
.section .text.bios32, "ax"
.code32
.globl bios32_directory
bios32_directory:
    testb %bl, %bl
    jnz 1f
    cmpl $0x49435024, %eax              # "$PCI"
    jne 2f
    movl $0xf0000, %ebx
    movl $0x10000, %ecx
    movl $pci_32, %edx
    xorb %al, %al
    lretl
1:  movb $0x81, %al
    lretl
2:  movb $0x80, %al
    lretl

pci_32:
    cmpb $0xb1, %ah
    jne pci_unsupported
    cmpb $0x01, %al
    je pci_present
    cmpb $0x02, %al
    je pci_find_device
    cmpb $0x03, %al
    je pci_find_class
    cmpb $0x06, %al
    je pci_special
    cmpb $0x0e, %al
    je pci_routing
    cmpb $0x08, %al
    jb pci_unsupported
    cmpb $0x0d, %al
    jbe pci_config
pci_unsupported:
    movb $0x81, %ah
    stc
    lretl

pci_present:
    pushl %ebp
    call 1f
1:  popl %ebp
    movb %cs:pci_last_bus - 1b(%ebp), %cl
    popl %ebp
    movb $0x11, %al
    movw $0x0210, %bx
    movl $0x20494350, %edx
    xorb %ah, %ah
    lretl

# Writes the address of register AL of function BX to port CF8h.
pci_select:
    pushl %eax
    pushl %edx
    movzbl %al, %eax
    movzwl %bx, %edx
    shll $8, %edx
    andb $0xfc, %al
    leal 0x80000000(%edx, %eax), %eax
    movw $0xcf8, %dx
    outl %eax, %dx
    popl %edx
    popl %eax
    ret

# Reads register AL of function BX to EAX.
pci_read:
    call pci_select
    pushl %edx
    movw $0xcfc, %dx
    inl %dx, %eax
    popl %edx
    ret

pci_config:
    cmpl $0xff, %edi
    ja 8f
    pushl %edx
    pushl %eax
    subb $0x08, %al
    cmpb $0x03, %al
    jb 1f
    subb $0x03, %al
1:  movb %al, %ah                       # 0, 1, 2 for byte, word, dword to 0, 1, 3: address bits that must be 0
    shrb $1, %ah
    addb %ah, %al
    movl %edi, %edx
    testb %al, %dl
    jnz 7f
    movl %edi, %eax
    call pci_select
    andl $3, %edx
    addl $0xcfc, %edx
    movb (%esp), %al
    cmpb $0x09, %al
    jb 2f
    je 3f
    cmpb $0x0b, %al
    jb 4f
    je 5f
    cmpb $0x0c, %al
    je 6f
    movl %ecx, %eax
    outl %eax, %dx
    jmp 9f
2:  inb %dx, %al
    movb %al, %cl
    jmp 9f
3:  inw %dx, %ax
    movw %ax, %cx
    jmp 9f
4:  inl %dx, %eax
    movl %eax, %ecx
    jmp 9f
5:  movb %cl, %al
    outb %al, %dx
    jmp 9f
6:  movw %cx, %ax
    outw %ax, %dx
9:  popl %eax
    popl %edx
    xorb %ah, %ah
    lretl
7:  popl %eax
    popl %edx
8:  movb $0x87, %ah
    stc
    lretl

pci_special:
    pushl %eax
    pushl %ebx
    movb $0xff, %bl                     # device 31, function 7, register 0
    movb $0, %al
    call pci_select
    movl %edx, %eax
    pushl %edx
    movw $0xcfc, %dx
    outl %eax, %dx
    popl %edx
    popl %ebx
    popl %eax
    xorb %ah, %ah
    lretl

# EDI: value to find; ESI: register (high half), number of matches to skip (low half).
pci_find_device:
    cmpw $0xffff, %dx
    jne 1f
    movb $0x83, %ah
    stc
    lretl
1:  pushl %esi
    pushl %edi
    movl %ecx, %edi
    shll $16, %edi
    movw %dx, %di
    movzwl %si, %esi
    jmp pci_find
pci_find_class:
    pushl %esi
    pushl %edi
    movl %ecx, %edi
    shll $8, %edi
    movzwl %si, %esi
    orl $0x00080000, %esi
pci_find:
    pushl %eax
    pushl %ebx
    pushl %ecx
    pushl %ebp
    call 1f
1:  popl %ebp
    movb %cs:pci_last_bus - 1b(%ebp), %ch
    movb $0xff, %cl                     # CX: last function
    xorl %ebx, %ebx
2:  movb $0x00, %al
    call pci_read
    cmpw $0xffff, %ax
    jne 3f
    testb $7, %bl
    jnz 6f
    orb $7, %bl                         # no device: skip the other functions
    jmp 6f
3:  testl $0x00080000, %esi
    jz 4f
    movb $0x08, %al
    call pci_read
    xorb %al, %al
4:  cmpl %edi, %eax
    jne 5f
    testw %si, %si
    jz 7f
    decw %si
5:  testb $7, %bl
    jnz 6f
    movb $0x0c, %al
    call pci_read
    testl $0x00800000, %eax
    jnz 6f
    orb $7, %bl                         # single-function device: skip the others
6:  cmpw %cx, %bx
    je 8f
    incl %ebx
    jmp 2b
7:  popl %ebp
    popl %ecx
    addl $4, %esp
    popl %eax
    popl %edi
    popl %esi
    xorb %ah, %ah
    lretl
8:  popl %ebp
    popl %ecx
    popl %ebx
    popl %eax
    popl %edi
    popl %esi
    movb $0x86, %ah
    stc
    lretl

# ES:EDI: buffer size (word), then its offset (dword) and selector, for the slot entries of the $PIR table.
pci_routing:
    pushl %ebp
    pushl %esi
    pushl %ecx
    pushl %eax
    call 1f
1:  popl %ebp
    subl $1b, %ebp                      # offset of F0000h in the caller's segment
    xorl %esi, %esi
2:  cmpl $0x52495024, %cs:(%ebp, %esi)  # "$PIR"
    je 3f
    addl $16, %esi
    cmpl $0x10000, %esi
    jb 2b
    popl %eax
    popl %ecx
    popl %esi
    popl %ebp
    jmp pci_unsupported
3:  addl %ebp, %esi
    movzwl %cs:6(%esi), %ecx
    subl $32, %ecx
    cmpw %cx, %es:(%edi)
    movw %cx, %es:(%edi)
    jb 5f
    movw %cs:10(%esi), %bx
    addl $32, %esi
    pushl %edi
    pushl %es
    lesl %es:2(%edi), %edi
    jecxz 6f
4:  movb %cs:(%esi), %al
    movb %al, %es:(%edi)
    incl %esi
    incl %edi
    loop 4b
6:  popl %es
    popl %edi
    popl %eax
    popl %ecx
    popl %esi
    popl %ebp
    xorb %ah, %ah
    lretl
5:  popl %eax
    popl %ecx
    popl %esi
    popl %ebp
    movb $0x89, %ah
    stc
    lretl
.code16
"#,
    options(att_syntax)
);
