; Boot sector for counting exits of INT 10h calls: it writes a mark to the debug console (port E9h) before and after
; each measured group of calls. Between two marks `strace -f -e ioctl,write` of the VMM shows the KVM_RUN ioctls, that
; is the exits. Assemble with `nasm -f bin`.
    org 0x7c00
    bits 16
start:
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov sp, 0x7c00
    mov si, modes
next:
    lodsb
    cmp al, 0xff
    je vbe
    xor ah, ah
    call mark
    int 0x10
    jmp next
vbe:
    mov bx, 0x4118
    call mark
    mov ax, 0x4f02
    int 0x10
    mov bx, 0x0101
    call mark
    mov ax, 0x4f02
    int 0x10
    call mark
    mov ax, 3
    int 0x10
    call mark
    mov cx, 80
.type:
    mov ax, 0x0e41
    mov bx, 7
    int 0x10
    loop .type
    call mark
    mov cx, 24
.feed:
    mov ax, 0x0e0a
    int 0x10
    loop .feed
    ; Every further line feed scrolls.
    call mark
    mov cx, 10
.scroll:
    mov ax, 0x0e0a
    int 0x10
    loop .scroll
    call mark
    mov al, 'Q'
    out 0xe9, al
    mov al, 10
    out 0xe9, al
    ; End with a triple fault.
    lidt [none]
    int3
    jmp $
mark:
    push ax
    mov al, '.'
    out 0xe9, al
    mov al, 10
    out 0xe9, al
    pop ax
    ret
none: dw 0, 0, 0
modes: db 0, 1, 2, 3, 4, 5, 6, 7, 0xd, 0xe, 0xf, 0x10, 0x11, 0x12, 0x13, 3, 0xff
    times 510 - ($ - $$) db 0
    dw 0xaa55
