# Kernels that report what their boot loader gave them, as records on COM1: a tag (one byte), a length (two bytes,
# little-endian) and the bytes. Then they reset the machine.

# 1. A 32-bit kernel for Multiboot and PVH, loaded at 100000h. kernels.rs adds the ELF header or the Multiboot header.
        .section .rodata.pcvm_flat_kernel, "a"
        .code32
        .globl pcvm_flat_kernel_start
pcvm_flat_kernel_start:
        .set base, pcvm_flat_kernel_start - 0x100000
        .space 64                       # Multiboot header
        jmp     multiboot_entry         # at 100040h
        .org pcvm_flat_kernel_start + 0x50
        jmp     pvh_entry               # at 100050h

# Stores the state at the entry, and sets the stack.
.macro entered
        movl    %eax, registers - base
        movl    %ebx, registers - base + 4
        movl    %cr0, %eax
        movl    %eax, registers - base + 8
        movl    $stack_end - base, %esp
        pushfl
        popl    registers - base + 12
        movw    %cs, registers - base + 16
        movw    %ds, registers - base + 18
        movl    %cr4, %eax
        movl    %eax, registers - base + 20
        # Is the A20 gate enabled?
        movl    $1, 0x200000
        movl    $2, 0x300000
        movl    0x200000, %eax
        movl    %eax, registers - base + 24
        movb    $'r', %al
        movl    $registers - base, %esi
        movl    $28, %ecx
        call    record
.endm

multiboot_entry:
        entered
        movl    %ebx, %ebp
        movb    $'i', %al               # information structure
        movl    %ebp, %esi
        movl    $120, %ecx
        call    record
        testl   $4, (%ebp)
        jz      1f
        movb    $'c', %al               # command line
        movl    16(%ebp), %esi
        call    text
1:      testl   $8, (%ebp)
        jz      1f
        movl    20(%ebp), %edi
        movl    24(%ebp), %ebx
2:      testl   %edi, %edi
        jz      1f
        movb    $'m', %al               # module: command line, then content
        movl    8(%ebx), %esi
        call    text
        movb    $'d', %al
        movl    (%ebx), %esi
        movl    4(%ebx), %ecx
        subl    %esi, %ecx
        call    record
        addl    $16, %ebx
        decl    %edi
        jmp     2b
1:      testl   $0x40, (%ebp)
        jz      1f
        movb    $'e', %al               # memory map
        movl    48(%ebp), %esi
        movl    44(%ebp), %ecx
        call    record
1:      testl   $0x100, (%ebp)
        jz      1f
        movb    $'C', %al               # configuration table
        movl    60(%ebp), %esi
        movl    $10, %ecx
        call    record
1:      testl   $0x200, (%ebp)
        jz      1f
        movb    $'l', %al               # name of the boot loader
        movl    64(%ebp), %esi
        call    text
1:      testl   $0x400, (%ebp)
        jz      1f
        movb    $'a', %al               # APM table
        movl    68(%ebp), %esi
        movl    $20, %ecx
        call    record
1:      testl   $0x800, (%ebp)
        jz      1f
        movb    $'v', %al               # VBE information and mode
        movl    72(%ebp), %esi
        movl    $512, %ecx
        call    record
        movb    $'V', %al
        movl    76(%ebp), %esi
        movl    $256, %ecx
        call    record
1:      # Fills the frame buffer with red.
        testl   $0x1000, (%ebp)
        jz      reset
        cmpb    $1, 109(%ebp)
        jne     reset
        movl    88(%ebp), %edi
        movl    96(%ebp), %ecx
        imull   104(%ebp), %ecx
        shrl    $2, %ecx
        movl    $0x00ff0000, %eax
        cld
        rep stosl
        movb    $'f', %al               # the filled pixels
        movl    88(%ebp), %esi
        movl    $4, %ecx
        call    record
reset:  movb    $'.', %al
        xorl    %ecx, %ecx
        call    record
        movb    $0xfe, %al
        outb    %al, $0x64
1:      hlt
        jmp     1b

pvh_entry:
        entered
        movl    %ebx, %ebp
        movb    $'i', %al
        movl    %ebp, %esi
        movl    $56, %ecx
        call    record
        movb    $'c', %al
        movl    24(%ebp), %esi
        call    text
        movl    12(%ebp), %edi
        movl    16(%ebp), %ebx
2:      testl   %edi, %edi
        jz      1f
        movl    16(%ebx), %esi
        testl   %esi, %esi
        jz      3f
        movb    $'m', %al
        call    text
3:      movb    $'d', %al
        movl    (%ebx), %esi
        movl    8(%ebx), %ecx
        call    record
        addl    $32, %ebx
        decl    %edi
        jmp     2b
1:      movb    $'e', %al
        movl    40(%ebp), %esi
        imull   $24, 48(%ebp), %ecx
        call    record
        movb    $'R', %al               # RSDP
        movl    32(%ebp), %esi
        movl    $20, %ecx
        call    record
        jmp     reset

# text: record AL of the zero-terminated string at ESI.
text:   movl    %esi, %ecx
1:      cmpb    $0, (%ecx)
        je      2f
        incl    %ecx
        jmp     1b
2:      subl    %esi, %ecx
# record: record AL of ECX bytes at ESI. Changes EAX, ECX, EDX, ESI.
record: call    put
        movb    %cl, %al
        call    put
        movb    %ch, %al
        call    put
1:      jecxz   2f
        movb    (%esi), %al
        incl    %esi
        call    put
        decl    %ecx
        jmp     1b
2:      ret
put:    movb    %al, %ah
        movw    $0x3fd, %dx
1:      inb     %dx, %al
        testb   $0x20, %al
        jz      1b
        movb    %ah, %al
        movw    $0x3f8, %dx
        outb    %al, %dx
        ret
        .balign 16
registers: .space 32
        .space 256
stack_end:
        .org pcvm_flat_kernel_start + 2048

# 2. Setup code of a Linux kernel, entered at segment + 20h. kernels.rs adds boot sector and header, which the code jumps
# over. The kernel's "protected-mode code" is data of which it records the first bytes.
        .section .rodata.pcvm_setup, "a"
        .code16
        .globl pcvm_setup_start
pcvm_setup_start:
        .set sbase, pcvm_setup_start
        jmp     1f
        .org pcvm_setup_start + 0x80
1:      pushfw
        pushw   %sp
        pushw   %ss
        pushw   %es
        pushw   %ds
        pushw   %cs
        movw    %sp, %si
        movw    $12, %cx
        movb    $'r', %al               # CS, DS, ES, SS, SP, flags
        call    srecord
        addw    $12, %sp
        # The boot sector and the header; then the command line, by the old magic or by the pointer.
        movb    $'h', %al
        xorw    %si, %si
        movw    $0x270, %cx
        call    srecord
        cmpw    $0xa33f, 0x20
        movw    0x22, %si
        je      1f
        movl    0x228, %eax
        movw    %ax, %si
        andw    $15, %si
        shrl    $4, %eax
        movw    %ax, %ds
1:      movw    %si, %cx
2:      movw    %cx, %bx
        cmpb    $0, (%bx)
        je      3f
        incw    %cx
        jmp     2b
3:      subw    %si, %cx
        movb    $'c', %al
        call    srecord
        pushw   %ss
        popw    %ds
        # A zImage's code.
        movw    $0x1000, %ax
        movw    %ax, %ds
        xorw    %si, %si
        movw    $64, %cx
        movb    $'k', %al
        call    srecord
        pushw   %ss
        popw    %ds
        # The BIOS: video mode, conventional memory.
        movb    $0x0f, %ah
        int     $0x10
        pushw   %ax
        int     $0x12
        pushw   %ax
        movw    %sp, %si
        movw    $4, %cx
        movb    $'b', %al
        call    srecord
        addw    $4, %sp
        # Initial RAM disk: 64 bytes by INT 15h AH=87h, with a descriptor table on the stack.
        cmpl    $0, 0x21c
        je      9f
        subw    $128, %sp
        movw    %sp, %di
        pushw   %ss
        popw    %es
        movw    %di, %si
        xorw    %ax, %ax
        movw    $64, %cx
        cld
        rep stosw
        movl    0x218, %eax
        movw    $0xffff, 16(%si)
        movl    %eax, 18(%si)
        movb    $0x93, 21(%si)
        shrl    $24, %eax
        movb    %al, 23(%si)
        movw    $0xffff, 24(%si)
        xorl    %eax, %eax
        movw    %ss, %ax
        shll    $4, %eax
        addw    $64, %si
        movzwl  %si, %ebx
        subw    $64, %si
        addl    %ebx, %eax
        movl    %eax, 26(%si)
        movb    $0x93, 29(%si)
        movw    $32, %cx
        movb    $0x87, %ah
        int     $0x15
        addw    $64, %si
        movw    $64, %cx
        movb    $'d', %al
        call    srecord
9:      movb    $'.', %al
        xorw    %cx, %cx
        call    srecord
        movb    $0xfe, %al
        outb    %al, $0x64
1:      hlt
        jmp     1b
srecord:
        call    sput
        movb    %cl, %al
        call    sput
        movb    %ch, %al
        call    sput
1:      jcxz    2f
        movb    (%si), %al
        incw    %si
        call    sput
        decw    %cx
        jmp     1b
2:      ret
sput:   movb    %al, %ah
        movw    $0x3fd, %dx
1:      inb     %dx, %al
        testb   $0x20, %al
        jz      1b
        movb    %ah, %al
        movw    $0x3f8, %dx
        outb    %al, %dx
        ret
        .org pcvm_setup_start + 1024
        .code64
