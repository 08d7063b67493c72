# Boot sector of a 1.44 MB floppy: reads sectors 1 to 2879 one by one with INT 13h, sums their words, and prints the
# result on the screen (INT 10h) and on COM1 (by its registers).
        .section .rodata.pcvm_floppy, "a"
        .code16
        .globl pcvm_floppy_start
pcvm_floppy_start:
        .set base, pcvm_floppy_start - 0x7C00
        cli
        xorw %ax, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        movw $0x7C00, %sp
        sti
        cld
        movb %dl, drive - base
        # COM1: 115200 baud, 8N1.
        movw $0x3FB, %dx
        movb $0x83, %al
        outb %al, %dx
        movw $0x3F8, %dx
        movb $1, %al
        outb %al, %dx
        incw %dx
        xorb %al, %al
        outb %al, %dx
        movw $0x3FB, %dx
        movb $3, %al
        outb %al, %dx

        movw $1, %di                    # sector
        xorw %bp, %bp                   # sum
next:   movw %di, %ax
        xorw %dx, %dx
        movw $18, %bx
        divw %bx                        # AX: track, DX: sector on the track
        movb %dl, %cl
        incb %cl
        movb %al, %dh
        andb $1, %dh
        shrw $1, %ax
        movb %al, %ch
        movb drive - base, %dl
        movw $0x8000, %bx
        movw $0x0201, %ax
        int $0x13
        jc bad
        movw $0x8000, %si
        movw $256, %cx
add:    lodsw
        addw %ax, %bp
        loop add
        incw %di
        cmpw $2880, %di
        jb next
        movw $right - base, %si
        cmpw sum - base, %bp
        je report
        movw $wrong - base, %si
        jmp report
bad:    movw $failed - base, %si
report: pushw %si
        movw $hello - base, %si
        call print
        movw %di, %ax
        decw %ax
        call decimal
        popw %si
        call print
        movw $0x604, %dx            # PM1a_CNT at the firmware's address: SLP_EN, S5
        movw $0x2000, %ax
        outw %ax, %dx
stop:   hlt
        jmp stop

print:  lodsb
        orb %al, %al
        jz done
        call putc
        jmp print
done:   ret

decimal:
        xorw %dx, %dx
        movw $10, %bx
        divw %bx
        pushw %dx
        orw %ax, %ax
        jz digit
        call decimal
digit:  popw %ax
        addb $'0', %al
putc:   pushw %ax
        movw $0x3FD, %dx
wait:   inb %dx, %al
        testb $0x20, %al
        jz wait
        popw %ax
        movw $0x3F8, %dx
        outb %al, %dx
        movb $0x0E, %ah
        movw $7, %bx
        int $0x10
        ret

hello:  .asciz "pcvm boot sector: "
right:  .asciz " sectors read, sum right\r\n"
wrong:  .asciz " sectors read, sum wrong\r\n"
failed: .asciz " sectors read, then an error\r\n"
drive:  .byte 0
        .org pcvm_floppy_start - pcvm_floppy_start + 506
sum:    .word 0
        .word 0
        .word 0xAA55
        .code64
        .text
