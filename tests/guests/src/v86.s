# V86 monitor on a CD: runs the next boot device in virtual-8086 mode with paging, as DOS runs under EMM386, together
# with the BIOS and VGA BIOS that it calls (Intel 64 and IA-32 SDM volume 3, chapter 21, "8086 Emulation").
# It is an El Torito no-emulation boot image. On the first boot it moves itself to extended memory, enters V86 mode and
# calls INT 18h, so that the BIOS boots the next device. IOPL is 0: CLI, STI, PUSHF, POPF, INT, IRET and HLT trap into
# the monitor, which emulates them; every I/O port is open. Interrupts are reflected to the program's vectors. Linear
# and physical addresses differ: segments 5000h and D000h are pages of extended memory. The monitor implements INT 15h
# AH=87h, which only a monitor can do in V86 mode, and refuses AH=89h.
#
# Any other privileged instruction is a fault of the BIOS, as is every exception without a vector of the program: the
# monitor reports both on port 402h, as a line with "V86: ", CS:IP and the first bytes of the instruction, and halts.
# It emulates WBINVD and INVD, which a monitor may skip, and reads of CR0.
# The byte before the 55AAh signature arms the monitor: with 0 it calls INT 18h at once.
        .set    MONITOR, 0x3000000      # 48 MiB: address of the moved monitor; tables follow
        .set    TABLES, MONITOR + 0x10000 # page directory, then 17 page tables
        .set    TASK, MONITOR + 0x30000
        .set    VECTORS, MONITOR + 0x33000
        .set    STACK, MONITOR + 0x38000
        .set    PAGES_5000, MONITOR + 0x40000 # mapped at 50000h-5FFFFh
        .set    PAGES_D000, MONITOR + 0x50000 # mapped at D0000h-DFFFFh
        .set    MARK, 0x4F0             # BIOS data area: intra-application communication area
        .set    RUNNING, 0x36385672     # "rV86"
        .set    SIZE, 4096
        .set    MASTER, 0x50            # vectors of IRQ 0-7, apart from the exceptions

        # Stack frame, offsets from ESP: PUSHAL, then
        .set    EAX_, 28
        .set    ECX_, 24
        .set    VECTOR, 32
        .set    EIP_, 40
        .set    CS_, 44
        .set    EFLAGS_, 48
        .set    ESP_, 52
        .set    SS_, 56
        .set    ES_, 60

        .section .rodata.pcvm_v86, "a"
        .code16
        .globl pcvm_v86_start
pcvm_v86_start:
        .set    low, pcvm_v86_start - 0x7C00
        .set    high, pcvm_v86_start - MONITOR
        cli
        cld
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7C00, %sp
        cmpb    $0, v86_armed - low
        je      v86_next
        cmpl    $RUNNING, MARK
        je      v86_next
        movl    $RUNNING, MARK
        lgdtl   v86_gdtr - low
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpl   $0x08, $(v86_protected - low)
# Already in V86 mode, or not armed: boot the next device.
v86_next:
        sti
        int     $0x18

        .code32
v86_protected:
        movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    $STACK, %esp
        movl    $0x7C00, %esi
        movl    $MONITOR, %edi
        movl    $(SIZE / 4), %ecx
        rep movsl
        ljmpl   $0x08, $(v86_moved - high)
v86_moved:
        # Map 68 MiB one to one for the monitor, of which 1 MiB + 64 KiB are user accessible; remap 5000h and D000h.
        movl    $TABLES, %edi
        leal    0x1007(%edi), %eax
        movl    $17, %ecx
1:      stosl
        addl    $0x1000, %eax
        loop    1b
        xorl    %eax, %eax
        movl    $(1024 - 17), %ecx
        rep stosl
        movl    $3, %eax
        movl    $(17 * 1024), %ecx
2:      stosl
        addl    $0x1000, %eax
        loop    2b
        movl    $(TABLES + 0x1000), %edi
        movl    $0x110, %ecx
3:      orb     $4, (%edi)
        addl    $4, %edi
        loop    3b
        movl    $(TABLES + 0x1000 + 0x50 * 4), %edi
        movl    $(PAGES_5000 + 7), %eax
        call    v86_pages
        movl    $(TABLES + 0x1000 + 0xD0 * 4), %edi
        movl    $(PAGES_D000 + 7), %eax
        call    v86_pages
        movl    $PAGES_5000, %edi
        xorl    %eax, %eax
        movl    $0x8000, %ecx
        rep stosl

        # TSS: ring 0 stack, and an I/O permission bitmap with all ports open.
        movl    $TASK, %edi
        movl    $(0x2100 / 4), %ecx
        rep stosl
        movl    $STACK, TASK + 4
        movw    $0x10, TASK + 8
        movw    $0x68, TASK + 0x66
        movb    $0xFF, TASK + 0x68 + 0x2000

        # IDT: exceptions, and IRQs at the vectors that the PICs use.
        movl    $VECTORS, %edi
        movl    $(256 * 2), %ecx
        rep stosl
        xorl    %ebx, %ebx
        movl    $(v86_stubs - high), %edx
4:      movzbl  v86_numbers - high(%ebx), %eax
        leal    VECTORS(, %eax, 8), %edi
        movw    %dx, (%edi)
        movw    $0x08, 2(%edi)
        movw    $0x8E00, 4(%edi)
        movl    %edx, %eax
        shrl    $16, %eax
        movw    %ax, 6(%edi)
        addl    $(v86_stubs_end - v86_stubs) / 48, %edx
        incl    %ebx
        cmpl    $48, %ebx
        jb      4b
        inb     $0x21, %al
        movb    %al, %ah
        movb    $0x11, %al
        outb    %al, $0x20
        movb    $MASTER, %al
        outb    %al, $0x21
        movb    $4, %al
        outb    %al, $0x21
        movb    $1, %al
        outb    %al, $0x21
        movb    %ah, %al
        outb    %al, $0x21

        movl    $TABLES, %eax
        movl    %eax, %cr3
        movl    %cr0, %eax
        orl     $0x80000000, %eax
        movl    %eax, %cr0
        jmp     5f
5:      lgdtl   v86_gdtr_high - high
        lidtl   v86_idtr - high
        movw    $0x18, %ax
        ltr     %ax
        movl    $(v86_installed - high), %esi
        call    v86_say
        xorl    %eax, %eax
        pushl   %eax                    # GS, FS, DS, ES, SS
        pushl   %eax
        pushl   %eax
        pushl   %eax
        pushl   %eax
        pushl   $0x7C00
        pushl   $0x20002                # VM
        pushl   %eax
        pushl   $(v86_next - low)
        iretl

v86_pages:
        movl    $16, %ecx
1:      stosl
        addl    $0x1000, %eax
        loop    1b
        ret

# Exception stub: pushes 0 if the CPU pushes no error code, then the vector.
.macro v86_stub number, error
        .if     \error == 0
        pushl   $0
        .else
        nop
        nop
        .endif
        pushl   $\number
        .byte   0xE9
        .long   v86_common - . - 4
.endm
        .macro  v86_irqs first
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7
        .byte   0x6A, 0, 0x6A, \first + \n, 0xE9
        .long   v86_common - . - 4
        .endr
        .endm
v86_stubs:
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7
        v86_stub \n, 0
        .endr
        v86_stub 8, 1
        v86_stub 9, 0
        .irp    n, 10, 11, 12, 13, 14
        v86_stub \n, 1
        .endr
        v86_stub 15, 0
        v86_stub 16, 0
        v86_stub 17, 1
        .irp    n, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
        v86_stub \n, 0
        .endr
        v86_irqs MASTER
        v86_irqs 0x70
v86_stubs_end:

v86_common:
        pushal
        movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        cld
        testl   $0x20000, EFLAGS_(%esp)
        jnz     1f
        # The monitor itself was interrupted: by an IRQ in HLT, otherwise by its own fault.
        movl    VECTOR(%esp), %eax
        cmpl    $MASTER, %eax
        jb      v86_fault
        movl    %eax, v86_pending - high
        andl    $~0x200, EFLAGS_(%esp)
        jmp     v86_return
1:      movl    VECTOR(%esp), %eax
        cmpl    $13, %eax
        je      v86_general
        call    v86_deliver
v86_return:
        popal
        addl    $8, %esp
        iretl

# Reflects interrupt or exception EAX to the program's vector, or reports a fault. The frame is above the return
# address.
v86_deliver:
        cmpl    $0x70, %eax
        jae     v86_reflect
        cmpl    $MASTER, %eax
        jb      1f
        subl    $(MASTER - 8), %eax
        jmp     v86_reflect
1:      cmpl    $7, %eax
        ja      2f
        cmpl    $6, %eax
        je      2f
        cmpl    $2, %eax
        jne     v86_reflect
2:      addl    $4, %esp
        jmp     v86_fault

# Does INT EAX as in real mode.
v86_reflect:
        pushl   %eax
        movl    4 + 4 + EFLAGS_(%esp), %eax
        call    v86_push
        movl    4 + 4 + CS_(%esp), %eax
        call    v86_push
        movl    4 + 4 + EIP_(%esp), %eax
        call    v86_push
        popl    %eax
        andl    $~0x300, 4 + EFLAGS_(%esp)
        movzwl  (, %eax, 4), %edx
        movl    %edx, 4 + EIP_(%esp)
        movzwl  2(, %eax, 4), %edx
        movl    %edx, 4 + CS_(%esp)
        ret

# Pushes AX on the program's stack. The frame is above two return addresses and a register.
v86_push:
        movl    12 + ESP_(%esp), %edx
        subw    $2, %dx
        movl    %edx, 12 + ESP_(%esp)
        movzwl  %dx, %edx
        movzwl  12 + SS_(%esp), %ecx
        shll    $4, %ecx
        movw    %ax, (%ecx, %edx)
        ret

# Pops AX from the program's stack. The frame is above one return address.
v86_pop:
        movl    4 + ESP_(%esp), %edx
        movzwl  %dx, %edi
        movzwl  4 + SS_(%esp), %ecx
        shll    $4, %ecx
        movw    (%ecx, %edi), %ax
        addw    $2, %dx
        movl    %edx, 4 + ESP_(%esp)
        ret

# General protection fault: emulates a privileged instruction. EBX counts the instruction's bytes; bit 31 is set if it
# has an operand size prefix.
v86_general:
        movzwl  CS_(%esp), %esi
        shll    $4, %esi
        movzwl  EIP_(%esp), %eax
        addl    %eax, %esi
        xorl    %ebx, %ebx
1:      lodsb
        incl    %ebx
        cmpb    $0x66, %al
        jne     2f
        orl     $0x80000000, %ebx
        jmp     1b
2:      cmpb    $0xFA, %al
        je      v86_cli
        cmpb    $0xFB, %al
        je      v86_sti
        cmpb    $0x9C, %al
        je      v86_pushf
        cmpb    $0x9D, %al
        je      v86_popf
        cmpb    $0xCD, %al
        je      v86_int
        cmpb    $0xCF, %al
        je      v86_iret
        cmpb    $0xF4, %al
        je      v86_hlt
        cmpb    $0xCC, %al
        je      v86_int3
        cmpb    $0x0F, %al
        jne     v86_fault
        lodsb
        incl    %ebx
        cmpb    $0x08, %al              # INVD, WBINVD
        je      v86_done
        cmpb    $0x09, %al
        je      v86_done
        cmpw    $0xC020, -1(%esi)       # MOV EAX, CR0
        jne     v86_fault
        incl    %ebx
        movl    %cr0, %eax
        movl    %eax, EAX_(%esp)
v86_done:
        movzbl  %bl, %ebx
        addw    %bx, EIP_(%esp)
        jmp     v86_return

v86_cli:
        andl    $~0x200, EFLAGS_(%esp)
        jmp     v86_done
v86_sti:
        orl     $0x200, EFLAGS_(%esp)
        jmp     v86_done
v86_pushf:
        movl    EFLAGS_(%esp), %eax
        testl   %ebx, %ebx
        jns     1f
        movl    %eax, %ebp
        shrl    $16, %eax
        andb    $~3, %al                # clear VM and RF
        pushl   %eax
        pushl   %eax
        call    v86_push_word
        addl    $8, %esp
        movl    %ebp, %eax
1:      pushl   %eax
        pushl   %eax
        call    v86_push_word
        addl    $8, %esp
        jmp     v86_done
# v86_push expects this distance to the frame.
v86_push_word:
        movl    4(%esp), %eax
        jmp     v86_push

v86_popf:
        call    v86_pop
        call    v86_set_flags
        testl   %ebx, %ebx
        jns     v86_done
        call    v86_pop
        jmp     v86_done
# Sets the flags in AX, except those that a program cannot set.
v86_set_flags:
        movl    4 + EFLAGS_(%esp), %edx
        andl    $~0x4FD5, %edx
        andl    $0x4FD5, %eax
        orl     %edx, %eax
        movl    %eax, 4 + EFLAGS_(%esp)
        ret

v86_iret:
        xorl    %eax, %eax
        call    v86_pop
        movl    %eax, EIP_(%esp)
        testl   %ebx, %ebx
        jns     1f
        call    v86_pop
1:      xorl    %eax, %eax
        call    v86_pop
        movl    %eax, CS_(%esp)
        testl   %ebx, %ebx
        jns     2f
        call    v86_pop
2:      call    v86_pop
        call    v86_set_flags
        testl   %ebx, %ebx
        jns     v86_return
        call    v86_pop
        jmp     v86_return

v86_int3:
        movl    $3, %eax
        incw    EIP_(%esp)
        call    v86_reflect
        jmp     v86_return
v86_int:
        movzbl  (%esi), %eax
        addw    $2, EIP_(%esp)
        cmpb    $0x15, %al
        jne     1f
        cmpb    $0x87, EAX_ + 1(%esp)
        je      v86_move
        cmpb    $0x89, EAX_ + 1(%esp)
        je      v86_refuse
1:      call    v86_reflect
        jmp     v86_return

# HLT with interrupts off ends the run; otherwise the IRQ that ends HLT is reflected to the program.
v86_hlt:
        movzbl  %bl, %ebx
        addw    %bx, EIP_(%esp)
        testl   $0x200, EFLAGS_(%esp)
        jz      v86_stop
        movl    $0, v86_pending - high
1:      sti
        hlt
        cli
        movl    v86_pending - high, %eax
        testl   %eax, %eax
        jz      1b
        call    v86_deliver
        jmp     v86_return

# INT 15h AH=87h: copies CX words between the addresses in the table at ES:SI. The addresses are linear addresses of the
# program.
v86_move:
        movzwl  ES_(%esp), %edx
        shll    $4, %edx
        movzwl  4(%esp), %esi           # SI
        addl    %esi, %edx
        movl    0x12(%edx), %esi
        andl    $0xFFFFFF, %esi
        movzbl  0x17(%edx), %eax
        shll    $24, %eax
        orl     %eax, %esi
        movl    0x1A(%edx), %edi
        andl    $0xFFFFFF, %edi
        movzbl  0x1F(%edx), %eax
        shll    $24, %eax
        orl     %eax, %edi
        movzwl  ECX_(%esp), %ecx
        cmpl    $0x8000, %ecx
        ja      v86_refuse
        cmpl    $0x3FF0000, %esi        # beyond the mapped memory
        ja      v86_refuse
        cmpl    $0x3FF0000, %edi
        ja      v86_refuse
        rep movsw
        movb    $0, EAX_ + 1(%esp)
        andl    $~1, EFLAGS_(%esp)
        orl     $0x40, EFLAGS_(%esp)
        jmp     v86_return
v86_refuse:
        movb    $0x86, EAX_ + 1(%esp)
        orl     $1, EFLAGS_(%esp)
        jmp     v86_return

# Reports a fault and halts.
v86_fault:
        movl    $(v86_at - high), %esi
        call    v86_say
        movl    VECTOR(%esp), %eax
        call    v86_word
        movl    CS_(%esp), %eax
        call    v86_word
        movl    EIP_(%esp), %eax
        call    v86_word
        movl    %cr2, %eax
        shrl    $16, %eax
        call    v86_word
        movl    %cr2, %eax
        call    v86_word
        movzwl  CS_(%esp), %esi
        shll    $4, %esi
        movzwl  EIP_(%esp), %eax
        addl    %eax, %esi
        movl    $8, %ecx
1:      lodsb
        call    v86_byte
        loop    1b
v86_stop:
        movl    $(v86_end - high), %esi
        call    v86_say
2:      cli
        hlt
        jmp     2b
v86_say:
        lodsb
        testb   %al, %al
        jz      1f
        movw    $0x402, %dx
        outb    %al, %dx
        jmp     v86_say
1:      ret
v86_word:
        pushl   %eax
        movb    %ah, %al
        call    v86_byte
        popl    %eax
        call    v86_byte
        movb    $' ', %al
        outb    %al, %dx
        ret
v86_byte:
        pushl   %eax
        movw    $0x402, %dx
        shrb    $4, %al
        call    v86_digit
        popl    %eax
v86_digit:
        andb    $15, %al
        addb    $'0', %al
        cmpb    $'9', %al
        jbe     1f
        addb    $39, %al
1:      outb    %al, %dx
        ret

v86_installed: .asciz "V86: installed\n"
v86_at: .asciz "\nV86: exception, CS, IP, CR2, code: "
v86_end: .asciz "\nV86: stopped\n"
v86_numbers:
        .byte   0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        .byte   16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
        .byte   0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57
        .byte   0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77
        .balign 8
v86_gdt:
        .quad   0
        .quad   0x00CF9B000000FFFF      # code, 32 bit, flat
        .quad   0x00CF93000000FFFF      # data, flat
        .quad   0x0300890300002068      # TSS, at TASK
v86_gdtr: .word 31
        .long   v86_gdt - low
v86_gdtr_high: .word 31
        .long   v86_gdt - high
v86_idtr: .word 2047
        .long   VECTORS
        .balign 4
v86_pending: .long 0
. = pcvm_v86_start + SIZE - 3
v86_armed: .byte 1
        .word   0xAA55
