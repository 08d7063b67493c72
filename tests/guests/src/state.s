# Boot program that prints on port 402h what an operating system reads from firmware and devices before it has drivers, in
# the form of firmware/inttest's log, so that two machines can be compared: `call NAME in out mem=BYTES`, one line for
#
#   cmos-RR        each CMOS register from 0Eh
#   ivt-VV         each interrupt vector
#   bda-OO         each byte of the BIOS data area; not the tick count
#   ebda-OOOO      16 bytes of the extended BIOS data area
#   e820-NN        each range of INT 15h AX=E820h: 20 bytes
#   pir-NN mp-NN   16 bytes of the $PIR table; each entry of the MP table, and its header as mp-ff
#   smbios-TT      the formatted part of each SMBIOS structure of type TT
#   pci-BDF-RR     each dword of the configuration space of bus 0's functions
#
# and `inttest: end `.
        .section .rodata.pcvm_state, "a"
        .code16
        .globl pcvm_state_start
pcvm_state_start:
        .set state_at, pcvm_state_start - 0x7C00
        cli
        xorw %ax, %ax
        movw %ax, %ds
        movw %ax, %ss
        movw $0x7C00, %sp
        movw %ax, %es
        sti
        cld
        movw $0x0203, %ax               # sectors 2 to 4, to 7E00h
        movw $0x0002, %cx
        movw $0x0080, %dx
        movw $0x7E00, %bx
        int $0x13
        jmp state_main

# Prints AL; text at CS:SI; AL, AX, EAX as hexadecimal digits.
state_put:
        pushw %dx
        movw $0x402, %dx
        outb %al, %dx
        popw %dx
        ret
state_text:
        cs lodsb
        testb %al, %al
        jz 1f
        call state_put
        jmp state_text
1:      ret
state_byte:
        pushw %ax
        shrb $4, %al
        call state_digit
        popw %ax
        pushw %ax
        call state_digit
        popw %ax
        ret
state_digit:
        andb $15, %al
        addb $0x30, %al
        cmpb $0x3a, %al
        jb state_put
        addb $0x27, %al
        jmp state_put

# Prints `call NAME-`, NAME at CS:SI, and the number AX with BL bytes.
state_name:
        pushw %ax
        pushw %si
        movw $state_call - state_at, %si
        call state_text
        popw %si
        call state_text
        movb $0x2d, %al
        call state_put
        popw %ax
        cmpb $1, %bl
        je 1f
        xchgb %ah, %al
        call state_byte
        xchgb %ah, %al
1:      jmp state_byte
# Prints ` in out mem=` and CX bytes at ES:DI, which it moves on, and a line feed.
state_bytes:
        pushw %ax
        pushw %si
        movw $state_out - state_at, %si
        call state_text
        popw %si
        jcxz 2f
1:      movb %es:(%di), %al
        incw %di
        call state_byte
        loop 1b
2:      movb $10, %al
        call state_put
        popw %ax
        ret
# Prints AX numbers of CX bytes each from ES:DI on: name at CS:SI, number of digits BL.
state_range:
        xorw %dx, %dx
1:      pushw %ax
        pushw %si
        pushw %cx
        movw %dx, %ax
        call state_name
        call state_bytes
        popw %cx
        popw %si
        popw %ax
        incw %dx
        decw %ax
        jnz 1b
        ret
# Finds the signature EAX on a paragraph of segments E800h to FFFFh: ES:0, or CF.
state_find:
        movw $0xE800, %dx
1:      movw %dx, %es
        cmpl %eax, %es:0
        je 2f
        incw %dx
        cmpw $0xFFFF, %dx
        jne 1b
        stc
2:      ret
# Makes ES:DI of the linear address EAX below 1 MiB.
state_far:
        movw %ax, %di
        andw $15, %di
        shrl $4, %eax
        movw %ax, %es
        ret

        .org pcvm_state_start + 510, 0
        .word 0xAA55

state_main:
        movb $1, %bl
        movb $0x0e, %dl
1:      movb %dl, %al
        outb %al, $0x70
        inb $0x71, %al
        movb %al, state_buffer - state_at
        movw $state_cmos - state_at, %si
        movb %dl, %al
        call state_name
        movw $state_buffer - state_at, %di
        movw $1, %cx
        call state_bytes
        incb %dl
        jns 1b

        movw $state_ivt - state_at, %si
        xorw %di, %di
        movw $256, %ax
        movw $4, %cx
        call state_range
        cli                             # the tick count is not compared
        movl $0, 0x46c
        movw $state_bda - state_at, %si
        movw $0x400, %di
        movw $256, %ax
        movw $1, %cx
        call state_range
        sti
        movw 0x40e, %es
        xorw %di, %di
        movw $state_ebda - state_at, %si
        movw $64, %ax
        movw $16, %cx
        call state_range
        xorw %ax, %ax
        movw %ax, %es

        xorl %ebx, %ebx
        movw $0, state_number - state_at
1:      movl $0xE820, %eax
        movl $0x534D4150, %edx
        movl $20, %ecx
        movw $state_buffer - state_at, %di
        int $0x15
        jc 2f
        pushl %ebx
        movw $state_e820 - state_at, %si
        movw state_number - state_at, %ax
        incw state_number - state_at
        movb $1, %bl
        call state_name
        movw $state_buffer - state_at, %di
        movw $20, %cx
        call state_bytes
        popl %ebx
        testl %ebx, %ebx
        jnz 1b

2:      movl $0x52495024, %eax          # "$PIR"
        call state_find
        jc state_no_pir
        movb $1, %bl
        xorw %di, %di
        movw %es:6, %ax
        shrw $4, %ax
        movw $16, %cx
        movw $state_pir - state_at, %si
        call state_range
state_no_pir:
        movl $0x5F504D5F, %eax          # "_MP_"
        call state_find
        jc state_no_mp
        movl %es:4, %eax
        call state_far
        movw %es:0x22(%di), %ax
        movw %ax, state_number - state_at
        movb $1, %bl
        movw $state_mp - state_at, %si
        movw $0xff, %ax
        movw $0x2c, %cx
        call state_name
        call state_bytes
        xorw %dx, %dx
1:      movw $8, %cx
        cmpb $0, %es:(%di)
        jne 2f
        movw $20, %cx
2:      movw $state_mp - state_at, %si
        movw %dx, %ax
        call state_name
        call state_bytes
        incw %dx
        cmpw state_number - state_at, %dx
        jb 1b
state_no_mp:
        movl $0x5F4D535F, %eax          # "_SM_"
        call state_find
        jc state_no_smbios
        movw %es:0x1c, %dx
        movl %es:0x18, %eax
        cmpl $0x100000, %eax
        jae state_no_smbios
        call state_far
1:      movw $state_smbios - state_at, %si
        movb %es:(%di), %al
        movb $1, %bl
        call state_name
        movzbw %es:1(%di), %cx
        call state_bytes
2:      incw %di                        # the strings end with two zeros
        cmpw $0, %es:-1(%di)
        jne 2b
        incw %di
        # Keep DI small.
        movw %di, %ax
        shrw $4, %ax
        movw %es, %cx
        addw %cx, %ax
        movw %ax, %es
        andw $15, %di
        decw %dx
        jnz 1b
state_no_smbios:
        xorw %ax, %ax
        movw %ax, %es
        movl $0x80000000, %ebp
1:      movl %ebp, %eax
        movb $0, %al
        movw $0xcf8, %dx
        outl %eax, %dx
        movw $0xcfc, %dx
        inl %dx, %eax
        incl %eax
        jz 3f
2:      movl %ebp, %eax
        movw $0xcf8, %dx
        outl %eax, %dx
        movw $0xcfc, %dx
        inl %dx, %eax
        movl %eax, state_buffer - state_at
        movw $state_pci - state_at, %si
        movw %bp, %ax
        movb $2, %bl
        call state_name
        movw $state_buffer - state_at, %di
        movw $4, %cx
        call state_bytes
        addw $4, %bp
        testw $0xff, %bp
        jnz 2b
        subw $0x100, %bp
3:      addl $0x100, %ebp
        cmpw $0, %bp
        jne 1b
        movw $state_end - state_at, %si
        call state_text
        cli
        hlt

state_call: .asciz "call "
state_out: .asciz " in out mem="
state_cmos: .asciz "cmos"
state_ivt: .asciz "ivt"
state_bda: .asciz "bda"
state_ebda: .asciz "ebda"
state_e820: .asciz "e820"
state_pir: .asciz "pir"
state_mp: .asciz "mp"
state_smbios: .asciz "smbios"
state_pci: .asciz "pci"
state_end: .asciz "inttest: end \n"
state_number: .word 0
state_buffer: .fill 24

        .org pcvm_state_start + 2048, 0
        .code32
