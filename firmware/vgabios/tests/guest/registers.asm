; Boot sector that sets every standard mode and writes all VGA registers, the DAC and the video variables to the debug
; console (port E9h), one line of hexadecimal numbers per mode. Assemble with `nasm -f bin`.
    org 0x7c00
    bits 16
start:
    cli
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov sp, 0x7c00
    sti
    mov si, modes
next:
    lodsb
    cmp al, 0xff
    je done
    mov [mode], al
    push si
    mov bl, al
    call hex_bl
    xor ah, ah
    mov al, [mode]
    int 0x10
    mov bl, al                  ; AL on return
    call hex_bl
    mov al, ':'
    call put
    mov dx, 0x3cc
    in al, dx
    call hex
    mov dx, 0x3c4
    mov cx, 5
    call indexed
    mov dx, [0x463]
    mov cx, 25
    call indexed
    mov dx, 0x3ce
    mov cx, 9
    call indexed
    mov al, 'a'
    call put
    xor cx, cx
.attribute:
    mov dx, [0x463]
    add dx, 6
    in al, dx
    mov dx, 0x3c0
    mov al, cl
    out dx, al
    inc dx
    in al, dx
    call hex
    inc cx
    cmp cx, 21
    jb .attribute
    mov dx, [0x463]
    add dx, 6
    in al, dx
    mov dx, 0x3c0
    mov al, 0x20
    out dx, al
    mov al, 'd'
    call put
    mov dx, 0x3c7
    xor al, al
    out dx, al
    mov cx, 768
.colour:
    mov dx, 0x3c9
    in al, dx
    call hex
    loop .colour
    mov al, 'b'
    call put
    mov si, 0x449
    mov cx, 0x62
.variable:
    lodsb
    call hex
    loop .variable
    mov al, 'v'
    call put
    mov si, 0x43 * 4
    mov cx, 4
.vector:
    lodsb
    call hex
    loop .vector
    mov al, 10
    call put
    pop si
    jmp next
done:
    mov dx, 0xf4
    mov al, 0
    out dx, al
    cli
    hlt

indexed:
    mov al, 'r'
    call put
    xor bl, bl
.one:
    mov al, bl
    out dx, al
    inc dx
    in al, dx
    dec dx
    call hex
    inc bl
    loop .one
    ret

hex_bl:
    mov al, bl
hex:
    push ax
    shr al, 4
    call digit
    pop ax
    and al, 15
digit:
    add al, '0'
    cmp al, '9'
    jbe put
    add al, 'a' - '9' - 1
put:
    out 0xe9, al
    ret

mode: db 0
modes: db 0, 1, 2, 3, 4, 5, 6, 7, 0xd, 0xe, 0xf, 0x10, 0x11, 0x12, 0x13, 3, 0xff
    times 510 - ($ - $$) db 0
    dw 0xaa55
