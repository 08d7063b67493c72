# Boot sector that prints on COM1 what INT 13h reports for each hard disk, one line per disk:
#
#   DL: CYLINDERS HEADS SECTORS (AH=08h) TOTAL SECTORS (AH=48h) FOUR BYTES (of the last sector) STATUS (of the next)
#
# All numbers are hexadecimal; a failed read prints '!' and its status instead of the four bytes. Ends with INT 18h.
        .section .rodata.pcvm_disks, "a"
        .code16
        .globl pcvm_disks_start
pcvm_disks_start:
        .set disks_at, pcvm_disks_start - 0x7C00
        cli
        xorw %ax, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        movw $0x7C00, %sp
        sti
        cld
        movb $0x80, %bl
        movb 0x475, %bh                 # BIOS data area: number of hard disks
1:      testb %bh, %bh
        jz 2f
        pushw %bx
        call disks_one
        popw %bx
        incb %bl
        decb %bh
        jmp 1b
2:      movw $disks_end - disks_at, %si
        call disks_text
        int $0x18

disks_one:
        movb %bl, disks_drive - disks_at
        movb %bl, %al
        call disks_byte
        movb %bl, %dl
        movb $0x08, %ah
        int $0x13
        movb %cl, %al
        rolb $2, %al
        andb $3, %al
        movb %al, %ah
        movb %ch, %al
        incw %ax
        xchgb %ah, %al
        call disks_digits
        xchgb %ah, %al
        call disks_byte
        movb %dh, %al
        incb %al
        call disks_byte
        movb %cl, %al
        andb $0x3F, %al
        call disks_byte
        # EDD parameters (AH=48h); read the last sector; read the sector after it.
        movw $0x8000, %si
        movw $0x1E, (%si)
        movb disks_drive - disks_at, %dl
        movb $0x48, %ah
        int $0x13
        movw $8, %cx
        movw $0x8017, %si
3:      movb (%si), %al
        call disks_digits
        decw %si
        loop 3b
        movb $' ', %al
        call disks_put
        movl 0x8010, %eax
        movl 0x8014, %edx
        subl $1, %eax
        sbbl $0, %edx
        call disks_read
        jc 4f
        movw $4, %cx
        movw $0x9000, %si
5:      lodsb
        call disks_put
        loop 5b
        jmp 6f
4:      movb $'!', %al
        call disks_put
        movb %ah, %al
        call disks_digits
6:      movb $' ', %al
        call disks_put
        movl 0x8010, %eax
        movl 0x8014, %edx
        call disks_read
        movb %ah, %al
        call disks_digits
        movw $disks_line - disks_at, %si
        jmp disks_text

disks_read:
        movl %eax, disks_packet - disks_at + 8
        movl %edx, disks_packet - disks_at + 12
        movw $1, disks_packet - disks_at + 2
        movw $disks_packet - disks_at, %si
        movb disks_drive - disks_at, %dl
        movb $0x42, %ah
        int $0x13
        ret

disks_byte:
        call disks_digits
        pushw %ax
        movb $' ', %al
        call disks_put
        popw %ax
        ret
disks_digits:
        pushw %ax
        rolb $4, %al
        call disks_digit
        popw %ax
        pushw %ax
        call disks_digit
        popw %ax
        ret
disks_digit:
        andb $15, %al
        addb $'0', %al
        cmpb $'9', %al
        jbe disks_put
        addb $39, %al
disks_put:
        pushw %dx
        movw $0x3F8, %dx
        outb %al, %dx
        popw %dx
        ret
disks_text:
        lodsb
        testb %al, %al
        jz 7f
        call disks_put
        jmp disks_text
7:      ret
disks_line: .asciz "\r\n"
disks_end: .asciz "disks: end\r\n"
disks_drive: .byte 0
        .balign 4
disks_packet: .byte 16, 0
        .word 1, 0x9000, 0
        .long 0, 0
. = pcvm_disks_start + 446
        .fill 64
        .word 0xAA55
