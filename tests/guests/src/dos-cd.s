# TRAY.COM, a DOS program that sends packet commands to the CD-ROM drive hdd by PIO, as a DOS driver does. Each key is a
# command: t TEST UNIT READY, l READ (10) of the volume descriptor, k and u PREVENT ALLOW MEDIUM REMOVAL, e eject and c close
# by START STOP UNIT, v GET EVENT STATUS NOTIFICATION; q ends the program. It prints the key, then `ok` with the label or
# the first 8 bytes of the reply, or `sense` with key, code and qualifier.
        .section .rodata.pcvm_dos_cd, "a"
        .code16
        .globl pcvm_dos_cd_start
pcvm_dos_cd_start:
        .set cd_com, pcvm_dos_cd_start - 0x100
        cld
        # Without interrupts: the status register tells when the drive is ready.
        movw $0x376, %dx
        movb $0x0A, %al
        outb %al, %dx
cd_prompt:
        movb $'>', %al
        call cd_char
        movb $0x08, %ah
        int $0x21
        cmpb $'q', %al
        je cd_quit
        movw $cd_table - cd_com, %si
cd_find:
        cmpb $0, (%si)
        je cd_prompt
        cmpb (%si), %al
        je cd_found
        addw $13, %si
        jmp cd_find
cd_found:
        lodsb
        movb %al, cd_key - cd_com
        call cd_char
        movw $cd_colon - cd_com, %di
        call cd_text
        call cd_packet
        jc cd_sense
        movw $cd_ok - cd_com, %di
        call cd_text
        cmpb $'l', cd_key - cd_com
        je cd_label
        # The first 8 bytes of the reply.
        movw $cd_buffer - cd_com, %bx
        movw %bp, %cx
        subw %bx, %cx
        jz cd_end
        cmpw $8, %cx
        jbe cd_bytes
        movw $8, %cx
cd_bytes:
        movb $' ', %al
        call cd_char
        movb (%bx), %al
        call cd_hex
        incw %bx
        loop cd_bytes
        jmp cd_end
cd_label:
        movb $' ', %al
        call cd_char
        movw $cd_buffer + 40 - cd_com, %bx
        movw $32, %cx
cd_letter:
        movb (%bx), %al
        call cd_char
        incw %bx
        loop cd_letter
        jmp cd_end
cd_sense:
        movw $cd_request - cd_com, %si
        call cd_packet
        movw $cd_failed - cd_com, %di
        call cd_text
        movb cd_buffer + 2 - cd_com, %al
        call cd_hex
        movb $' ', %al
        call cd_char
        movb cd_buffer + 12 - cd_com, %al
        call cd_hex
        movb $' ', %al
        call cd_char
        movb cd_buffer + 13 - cd_com, %al
        call cd_hex
cd_end: movw $cd_line - cd_com, %di
        call cd_text
        jmp cd_prompt
cd_quit:
        int $0x20

# Sends the 12 bytes at SI. The reply is at buffer and ends at BP. Carry: it failed.
cd_packet:
        movw $0x176, %dx
        movb $0xB0, %al
        outb %al, %dx
        movb $0, %ah
        call cd_ready
        movw $0x171, %dx
        xorb %al, %al
        outb %al, %dx
        movw $0x174, %dx
        movb $0xFE, %al
        outb %al, %dx
        incw %dx
        movb $0xFF, %al
        outb %al, %dx
        movw $0x177, %dx
        movb $0xA0, %al
        outb %al, %dx
        call cd_ready
        movw $0x170, %dx
        movw $6, %cx
        rep outsw
        movw $cd_buffer - cd_com, %bp
cd_block:
        call cd_ready
        testb $0x08, %al
        jz cd_done
        movw $0x174, %dx
        inb %dx, %al
        movb %al, %cl
        incw %dx
        inb %dx, %al
        movb %al, %ch
        shrw $1, %cx
        movw $0x170, %dx
        movw %bp, %di
        rep insw
        movw %di, %bp
        jmp cd_block
cd_done:
        testb $0x01, %al
        jz cd_good
        stc
cd_good:
        ret

# Waits while the drive is busy. AL: its status.
cd_ready:
        movw $0x177, %dx
        inb %dx, %al
        testb $0x80, %al
        jnz cd_ready
        ret

# Prints AL in hexadecimal, the text at DI up to a zero, and the character AL. CX and BX stay.
cd_hex: pushw %ax
        shrb $4, %al
        call cd_digit
        popw %ax
        andb $0x0F, %al
cd_digit:
        addb $'0', %al
        cmpb $'9', %al
        jbe cd_char
        addb $7, %al
cd_char:
        movb %al, %dl
        movb $0x02, %ah
        int $0x21
        ret
cd_text:
        movb (%di), %al
        testb %al, %al
        jz cd_good
        call cd_char
        incw %di
        jmp cd_text

cd_key: .byte 0
cd_colon:
        .asciz ": "
cd_ok:  .asciz "ok"
cd_failed:
        .asciz "sense "
cd_line:
        .asciz "\r\n"
cd_request:
        .byte 0x03, 0, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0
cd_table:
        .byte 't', 0x00, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
        .byte 'l', 0x28, 0, 0, 0, 0, 16, 0, 0, 1, 0, 0, 0
        .byte 'k', 0x1E, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0
        .byte 'u', 0x1E, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
        .byte 'e', 0x1B, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0
        .byte 'c', 0x1B, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0
        .byte 'v', 0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8, 0, 0, 0
        .byte 0
        # The buffer lies in the memory after the program.
        .set cd_buffer, pcvm_dos_cd_start + 1024
        .org pcvm_dos_cd_start - pcvm_dos_cd_start + 1024
        .code64
        .text
