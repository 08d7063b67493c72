# Boot program that prints on port 402h what a caller of the BIOS sees. Each line is a name and hexadecimal numbers:
#
#   registers AX BX CX DX SI DI BP SP DS ES SS FS GS        at the start
#   memory SEGMENT ...             blocks of 256 bytes of conventional memory with another value than 0, without this program
#   cmos BYTE ...                  12h, 19h, 1Ah, 1Bh to 23h, 39h
#   stack INTERRUPT AX BYTES       bytes of the caller's stack that a service takes, with the interrupt's frame, for each
#   flags INTERRUPT AX 0200|0000   IF after a call with IF clear, for each
#   nested COUNT                   INT 10h calls of a timer handler, at least 4, while mode 12h is scrolled by INT 10h
#   wait SS                        in a timer handler that leaves a wait of INT 16h
#   again CHARACTER                what INT 10h reads after that
#   done
        .section .rodata.pcvm_caller, "a"
        .code16
        .globl pcvm_caller_start
pcvm_caller_start:
        .set at, pcvm_caller_start - 0x7C00
        .set registers, 0x8500
        .set top, 0x7000                # top of the small stack
        .set bottom, 0x5000
        movw %ax, %cs:registers
        movw %bx, %cs:registers + 2
        movw %cx, %cs:registers + 4
        movw %dx, %cs:registers + 6
        movw %si, %cs:registers + 8
        movw %di, %cs:registers + 10
        movw %bp, %cs:registers + 12
        movw %sp, %cs:registers + 14
        movw %ds, %cs:registers + 16
        movw %es, %cs:registers + 18
        movw %ss, %cs:registers + 20
        movw %fs, %cs:registers + 22
        movw %gs, %cs:registers + 24
        xorw %ax, %ax
        movw %ax, %ds
        movw %ax, %ss
        movw $0x7C00, %sp
        movw %ax, %es
        movw $0x0203, %ax               # sectors 2 to 4, to 7E00h
        movw $0x0002, %cx
        movw $0x0080, %dx
        movw $0x7E00, %bx
        int $0x13
        jc caller_failed
        jmp caller_main
caller_failed:
        movw $caller_no_read - at, %si
        call caller_text
        hlt
caller_no_read: .asciz "no read\n"

# Prints text, a word, a byte.
caller_text:
        lodsb
        testb %al, %al
        jz 1f
        call caller_put
        jmp caller_text
caller_put:
        pushw %dx
        movw $0x402, %dx
        outb %al, %dx
        popw %dx
1:      ret
caller_word:                            # AX, and a space before it
        pushw %ax
        movb $0x20, %al
        call caller_put
        popw %ax
        pushw %ax
        movb %ah, %al
        call caller_byte
        popw %ax
caller_byte:
        pushw %ax
        shrb $4, %al
        call caller_digit
        popw %ax
caller_digit:
        andb $15, %al
        addb $0x30, %al
        cmpb $0x3a, %al
        jb caller_put
        addb $0x27, %al
        jmp caller_put
caller_line:
        movb $10, %al
        jmp caller_put

# Timer handler: calls INT 10h, AH=0Fh, and counts.
caller_tick:
        pushw %ax
        pushw %bx
        movb $0x0f, %ah
        int $0x10
        cmpb $0x12, %al
        jne 1f
        incw %cs:caller_ticks - at
1:      popw %bx
        popw %ax
        ljmpw *%cs:caller_old - at
caller_ticks: .word 0
caller_old: .long 0

# Timer handler: leaves for good with the program's SP, after some ticks.
caller_leave_tick:
        decb %cs:caller_left - at
        jz 1f
        ljmpw *%cs:caller_old - at
1:      xorw %ax, %ax
        movw %ax, %ds
        movb $0x20, %al
        outb %al, $0x20
        movl caller_old - at, %eax
        movl %eax, 8 * 4
        movw $0x7C00, %sp
        movw %ss, %bx
        movw $caller_waited - at, %si
        call caller_text
        movw %bx, %ax
        call caller_word
        call caller_line
        sti
        jmp caller_left_for_good
caller_left: .byte 3

        .org pcvm_caller_start + 510, 0
        .word 0xAA55

caller_main:
        movw $caller_registers - at, %si
        call caller_text
        movw $registers, %si
        movw $13, %cx
1:      lodsw
        call caller_word
        loop 1b
        call caller_line

        # Memory from 500h to the end of base memory.
        movw $caller_memory - at, %si
        call caller_text
        int $0x12
        shlw $6, %ax
        movw %ax, %dx
        movw $0x50, %bx
1:      movw %bx, %es
        cmpw $0x7B0, %bx                # this program, its stack and its variables
        jb 2f
        cmpw $0x890, %bx
        jb 3f
2:      xorw %di, %di
        xorw %ax, %ax
        movw $128, %cx
        repe scasw
        je 3f
        movw %bx, %ax
        call caller_word
3:      addw $0x10, %bx
        cmpw %dx, %bx
        jb 1b
        call caller_line
        xorw %ax, %ax
        movw %ax, %es

        movw $caller_cmos - at, %si
        call caller_text
        movw $caller_registers_of_cmos - at, %si
1:      lodsb
        testb %al, %al
        jz 2f
        outb %al, $0x70
        movb $0x20, %al
        call caller_put
        inb $0x71, %al
        call caller_byte
        jmp 1b
2:      call caller_line

        movw $caller_calls - at, %si
caller_next:
        movb (%si), %al
        testb %al, %al
        jz caller_flags
        movb %al, caller_number - at
        pushw %si
        movw $bottom, %di
        movw $(top - bottom) / 2, %cx
        movw $0xA5A5, %ax
        rep stosw
        movw 1(%si), %ax
        movw 3(%si), %bx
        movw 5(%si), %cx
        movw 7(%si), %dx
        movw %sp, caller_sp - at
        movw $0x600, %bp
        movw $0x600, %di
        movw $0x600, %si
        movw $top, %sp
        cli                             # no interrupt in between
        .byte 0xCD
caller_number: .byte 0
        cli
        movw caller_sp - at, %sp
        sti
        cld
        xorw %ax, %ax
        movw %ax, %es
        movw $bottom, %di
        movw $top - bottom, %cx
        movb $0xA5, %al
        repe scasb
        movw %cx, %bx
        incw %bx
        popw %si
        pushw %si
        movb (%si), %dl
        movw 1(%si), %cx
        movw $caller_stack - at, %si
        call caller_text
        movb %dl, %al
        call caller_byte
        movw %cx, %ax
        call caller_word
        movw %bx, %ax
        call caller_word
        call caller_line
        popw %si
        addw $9, %si
        jmp caller_next

caller_flags:
        movw $caller_flag_calls - at, %si
1:      movb (%si), %al
        testb %al, %al
        jz caller_nested
        movb %al, 2f - at
        pushw %si
        movw 1(%si), %ax
        movw 3(%si), %dx
        movw $0x600, %bx
        movw $1, %cx
        cli
        .byte 0xCD
2:      .byte 0
        pushfw
        popw %bx
        sti
        cld
        popw %si
        pushw %si
        movb (%si), %dl
        movw 1(%si), %cx
        movw $caller_flags_text - at, %si
        call caller_text
        movb %dl, %al
        call caller_byte
        movw %cx, %ax
        call caller_word
        movw %bx, %ax
        andw $0x200, %ax
        call caller_word
        call caller_line
        popw %si
        addw $5, %si
        jmp 1b

caller_nested:
        movw $0x12, %ax
        int $0x10
        cli
        movl 8 * 4, %eax
        movl %eax, caller_old - at
        movw $caller_tick - at, 8 * 4
        movw $0, 8 * 4 + 2
        sti
1:      movw $0x0601, %ax
        movw $0x0700, %bx
        xorw %cx, %cx
        movw $0x0A4F, %dx
        int $0x10
        cmpw $4, caller_ticks - at
        jb 1b
        cli
        movl caller_old - at, %eax
        movl %eax, 8 * 4
        sti
        movw $caller_nested_text - at, %si
        call caller_text
        movw caller_ticks - at, %ax
        call caller_word
        call caller_line

        cli
        movw $caller_leave_tick - at, 8 * 4
        movw $0, 8 * 4 + 2
        sti
        movb $0, %ah
        int $0x16
        hlt

caller_left_for_good:
        movw $0x0003, %ax
        int $0x10
        movw $0x0E4F, %ax
        int $0x10
        movw $0x0200, %ax
        xorw %bx, %bx
        xorw %dx, %dx
        int $0x10
        movb $0x08, %ah
        int $0x10
        movb %al, %bl
        movw $caller_again - at, %si
        call caller_text
        movb %bl, %al
        call caller_byte
        call caller_line
        movw $caller_done - at, %si
        call caller_text
        cli
        hlt

caller_sp: .word 0
caller_registers: .asciz "registers"
caller_memory: .asciz "memory"
caller_cmos: .asciz "cmos"
caller_stack: .asciz "stack "
caller_flags_text: .asciz "flags "
caller_nested_text: .asciz "nested"
caller_waited: .asciz "wait"
caller_again: .asciz "again "
caller_done: .asciz "done\n"
caller_registers_of_cmos: .byte 0x12, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x39, 0
        # Interrupt, AX, BX, CX, DX.
        .macro call number, ax, bx=0, cx=0, dx=0
        .byte \number
        .word \ax, \bx, \cx, \dx
        .endm
caller_calls:
        call 0x10, 0x0013
        call 0x10, 0x0012
        call 0x10, 0x0003
        call 0x10, 0x0100, 0, 0x0607
        call 0x10, 0x0200, 0, 0, 0x0505
        call 0x10, 0x0300
        call 0x10, 0x0500
        call 0x10, 0x0601, 0x0700, 0, 0x184f
        call 0x10, 0x0700, 0x0700, 0, 0x184f
        call 0x10, 0x0800
        call 0x10, 0x0941, 7, 1
        call 0x10, 0x0a41, 7, 1
        call 0x10, 0x0e41, 7
        call 0x10, 0x0e0a, 7
        call 0x10, 0x0f00
        call 0x10, 0x1010, 1, 0x1020, 0x3000
        call 0x10, 0x1114, 0
        call 0x10, 0x1130, 0x0600
        call 0x10, 0x1201, 0x30
        call 0x10, 0x1301, 7, 1
        call 0x10, 0x1a00
        call 0x10, 0x1b00
        call 0x10, 0x1c00, 0, 7
        call 0x10, 0x4f00
        call 0x10, 0x4f01, 0, 0x0101
        call 0x10, 0x4f02, 0x0101
        call 0x10, 0x4f03
        call 0x10, 0x4f06, 1
        call 0x10, 0x4f07, 1
        call 0x10, 0x4f09, 1, 16
        call 0x10, 0x4f15, 1
        call 0x10, 0x0003
        call 0x13, 0x0201, 0x0600, 0x0002, 0x0080
        call 0x13, 0x0800, 0, 0, 0x0080
        call 0x16, 0x0100
        call 0x1a, 0x0200
        call 0x15, 0x8800
        call 0x12, 0
        .byte 0
        # Interrupt, AX, DX.
        .macro flags number, ax, dx=0
        .byte \number
        .word \ax, \dx
        .endm
caller_flag_calls:
        flags 0x13, 0x0201, 0x0080
        flags 0x13, 0x4100, 0x0080
        flags 0x13, 0x0000, 0x0000
        flags 0x16, 0x0100
        flags 0x16, 0x1100
        flags 0x16, 0x0200
        flags 0x1a, 0x0000
        flags 0x1a, 0x0200
        flags 0x15, 0xc000
        flags 0x15, 0x8800
        flags 0x10, 0x0300
        flags 0x11, 0x0000
        flags 0x12, 0x0000
        flags 0x14, 0x0300
        flags 0x17, 0x0200
        .byte 0

        .org pcvm_caller_start + 2048, 0
        .code32
