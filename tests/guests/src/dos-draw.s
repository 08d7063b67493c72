# DRAW.COM, a DOS program: draws in modes 12h, 13h and X (320x240, unchained) as DOS programs did, reads video memory
# back, prints on the console whether it is right, and waits for a key after each mode.
        .section .rodata.pcvm_dos_draw, "a"
        .code16
        .globl pcvm_dos_draw_start
pcvm_dos_draw_start:
        .set draw_base, pcvm_dos_draw_start - 0x100
        cld

        # Mode 12h, 640x480, planar. Upper half: bars of 32 columns drawn with set/reset, and a white diagonal drawn
        # pixel by pixel with the bit mask. Lower half: a copy of the upper half by the latches (write mode 1).
        movw $0x12, %ax
        int $0x10
        movw $0xA000, %ax
        movw %ax, %es
        movw $0x3CE, %dx
        movw $0x0F01, %ax               # enable set/reset: all planes
        outw %ax, %dx
        xorw %bp, %bp                   # byte column
draw_bar:
        movw %bp, %ax
        shrw $2, %ax
        andb $15, %al
        movb %al, %ah
        movb $0, %al
        outw %ax, %dx
        movw %bp, %di
        movw $240, %cx
draw_down:
        movb %al, %es:(%di)
        addw $80, %di
        loop draw_down
        incw %bp
        cmpw $80, %bp
        jb draw_bar
        movw $0x0F00, %ax               # white
        outw %ax, %dx
        xorw %bp, %bp                   # row and column
draw_dot:
        movw %bp, %cx
        andb $7, %cl
        movw $0x8008, %ax
        shrb %cl, %ah
        outw %ax, %dx
        imulw $80, %bp, %di
        movw %bp, %bx
        shrw $3, %bx
        orb %al, %es:(%bx,%di)          # the read loads the latches
        incw %bp
        cmpw $240, %bp
        jb draw_dot
        movw $0xFF08, %ax
        outw %ax, %dx
        movw $0x0001, %ax
        outw %ax, %dx
        movw $0x0105, %ax               # write mode 1
        outw %ax, %dx
        pushw %ds
        movw $0xA000, %ax
        movw %ax, %ds
        xorw %si, %si
        movw $19200, %di
        movw $19200, %cx
        rep movsb
        movw $0x0005, %ax
        outw %ax, %dx
        # In every plane both halves are equal; the fourth bar's first byte is set in planes 0 and 1 only.
        movw $3, %bp
draw_plane:
        movw %bp, %ax
        movb %al, %ah
        movb $4, %al
        outw %ax, %dx
        movb 12, %bl
        cmpw $2, %bp
        sbbb %al, %al
        cmpb %al, %bl
        jne draw_ended
        xorw %si, %si
        movw $19200, %di
        movw $19200, %cx
        repe cmpsb
        jne draw_ended
        decw %bp
        jns draw_plane
        # Read mode 1, colour compare 3: all pixels match in the fourth bar, none in the fifth.
        movw $0x0302, %ax
        outw %ax, %dx
        movw $0x0805, %ax
        outw %ax, %dx
        movb 80 * 200 + 12, %al
        notb %al
        orb 80 * 200 + 16, %al
        movw $0x0005, %cx
        xchgw %ax, %cx
        outw %ax, %dx
        testb %cl, %cl
draw_ended:
        popw %ds
        movw $draw_12h - draw_base, %si
        call draw_say

        # Mode 13h: pixel (x, y) has colour x ^ y; the DAC is loaded with the program's palette.
        movw $0x13, %ax
        int $0x10
        call draw_colours
        xorw %di, %di
        xorw %bx, %bx                   # row
draw_row:
        xorw %cx, %cx
draw_across:
        movb %cl, %al
        xorb %bl, %al
        stosb
        incw %cx
        cmpw $320, %cx
        jb draw_across
        incw %bx
        cmpw $200, %bx
        jb draw_row
        xorw %di, %di
        xorw %bx, %bx
draw_row_again:
        xorw %cx, %cx
draw_across_again:
        movb %cl, %al
        xorb %bl, %al
        scasb
        jne draw_seen
        incw %cx
        cmpw $320, %cx
        jb draw_across_again
        incw %bx
        cmpw $200, %bx
        jb draw_row_again
        cmpb %al, %al
draw_seen:
        movw $draw_13h - draw_base, %si
        call draw_say

        # Mode X: 320x240, one byte per pixel in four planes, drawn on the second page, which is then displayed. Pixel
        # (x, y) has colour x + y.
        movw $0x13, %ax
        int $0x10
        call draw_colours
        movw $0x3C4, %dx
        movw $0x0604, %ax               # chain-4 off
        outw %ax, %dx
        movw $0x0100, %ax               # synchronous reset while the clock changes
        outw %ax, %dx
        movw $0x3C2, %dx
        movb $0xE3, %al                 # 480 scan lines
        outb %al, %dx
        movw $0x3C4, %dx
        movw $0x0300, %ax
        outw %ax, %dx
        movw $0x3D4, %dx
        movb $0x11, %al                 # clear the write protection of CRTC 00h-07h
        outb %al, %dx
        incw %dx
        inb %dx, %al
        andb $0x7F, %al
        outb %al, %dx
        decw %dx
        movw $draw_timing - draw_base, %si
        movw $(draw_timing_end - draw_timing) / 2, %cx
draw_time:
        lodsw
        outw %ax, %dx
        loop draw_time
        movw $3, %bp                    # plane
draw_unchained:
        movw %bp, %cx
        movw $0x0102, %ax
        shlb %cl, %ah
        movw $0x3C4, %dx
        outw %ax, %dx
        movw $19200, %di
        xorw %bx, %bx
draw_line:
        movw %bp, %ax
        addb %bl, %al
        movw $80, %cx
draw_fours:
        stosb
        addb $4, %al
        loop draw_fours
        incw %bx
        cmpw $240, %bx
        jb draw_line
        decw %bp
        jns draw_unchained
        movw $3, %bp
draw_unchained_again:
        movw %bp, %ax
        movb %al, %ah
        movb $4, %al
        movw $0x3CE, %dx
        outw %ax, %dx
        movw $19200, %di
        xorw %bx, %bx
draw_line_again:
        movw %bp, %ax
        addb %bl, %al
        movw $80, %cx
draw_fours_again:
        scasb
        jne draw_flip
        addb $4, %al
        loop draw_fours_again
        incw %bx
        cmpw $240, %bx
        jb draw_line_again
        decw %bp
        jns draw_unchained_again
        cmpb %al, %al
draw_flip:
        pushfw
        movw $0x3DA, %dx                # wait for vertical retrace, as page flipping does
draw_retrace:
        inb %dx, %al
        testb $8, %al
        jz draw_retrace
        movw $0x3D4, %dx
        movw $(19200 & 0xFF00) | 0x0C, %ax
        outw %ax, %dx
        movw $(19200 & 0xFF) << 8 | 0x0D, %ax
        outw %ax, %dx
        popfw
        movw $draw_x - draw_base, %si
        call draw_say
        movw $3, %ax
        int $0x10
        movw $0x4C00, %ax
        int $0x21

# Loads the DAC: colour n has red n / 4, green n & 63, blue 63 - n / 4.
draw_colours:
        movw $0x3C8, %dx
        xorw %cx, %cx
        movb %cl, %al
        outb %al, %dx
        incw %dx
draw_colour:
        movb %cl, %al
        shrb $2, %al
        outb %al, %dx
        movb %al, %bl
        movb %cl, %al
        andb $63, %al
        outb %al, %dx
        movb $63, %al
        subb %bl, %al
        outb %al, %dx
        incb %cl
        jnz draw_colour
        ret

# Prints the mode name at SI and, depending on ZF, right or wrong; then waits for a key.
draw_say:
        movw $draw_right - draw_base, %dx
        je draw_chosen
        movw $draw_wrong - draw_base, %dx
draw_chosen:
        pushw %dx
        movw %si, %dx
        movb $9, %ah
        int $0x21
        popw %dx
        movb $9, %ah
        int $0x21
        movb $8, %ah
        int $0x21
        ret

draw_timing:
        .word 0x0D06, 0x3E07, 0x4109, 0xEA10, 0xAC11, 0xDF12, 0x0014, 0xE715, 0x0616, 0xE317
draw_timing_end:
draw_12h:   .ascii "mode 12h: $"
draw_13h:   .ascii "mode 13h: $"
draw_x:     .ascii "mode X: $"
draw_right: .ascii "right\r\n$"
draw_wrong: .ascii "wrong\r\n$"
        .org pcvm_dos_draw_start - pcvm_dos_draw_start + 1024
        .code64
        .text
