# The guest of benches/int13: a boot sector that reads the same sectors of its disk by the data port itself and by INT 13h,
# in requests of several sizes, and prints on COM1 how long each took,
#
#   raw|chs|lba SECTORS REQUESTS CYCLES/256
#
# in hexadecimal, then switches the machine off. The driver for the data port is a plain one: it waits for the drive, writes
# the task file, gives READ MULTIPLE and moves a block whenever the status says that there is one.
        .set    BLOCK, 16               # sectors in a DRQ block, as the BIOS sets the drive up
        .set    BUFFER, 0x1000          # segment

        .section .rodata.pcvm_int13, "a"
        .code16
        .globl pcvm_int13_start
pcvm_int13_start:
        .set origin, pcvm_int13_start - 0x7C00
        cli
        xorw %ax, %ax
        movw %ax, %ds
        movw %ax, %ss
        movw $0x7C00, %sp
        sti
        cld
        movw $0x0203, %ax               # the rest of the program
        movw $0x0002, %cx
        movb $0, %dh
        movw %ds, %bx
        movw %bx, %es
        movw $0x7E00, %bx
        int $0x13
        jnc begin
        hlt
. = pcvm_int13_start + 510
        .word 0xAA55

begin:  movb %dl, drive - origin
        movw $BUFFER, %ax
        movw %ax, %es
        movw $sizes - origin, %si
1:      lodsw
        testw %ax, %ax
        jz off
        movw %ax, sectors - origin
        lodsw
        movw %ax, requests - origin
        pushw %si
        movw $raw - origin, %di
        movw $raw_name - origin, %si
        call measure
        movw $chs - origin, %di
        movw $chs_name - origin, %si
        cmpw $64, sectors - origin      # a track has 63
        jae 2f
        call measure
2:      movw $lba - origin, %di
        movw $lba_name - origin, %si
        call measure
        popw %si
        jmp 1b
off:    movw $0x0604, %dx
        movw $0x2000, %ax
        outw %ax, %dx
        hlt

# Once to warm up, then the measured ones.
measure: call text
        movw sectors - origin, %ax
        call hex
        movw requests - origin, %ax
        call hex
        call *%di
        rdtsc
        movl %eax, start - origin
        movl %edx, start - origin + 4
        movw requests - origin, %cx
1:      pushw %cx
        call *%di
        popw %cx
        loop 1b
        rdtsc
        subl start - origin, %eax
        sbbl start - origin + 4, %edx
        shrdl $8, %edx, %eax
        pushl %eax
        shrl $16, %eax
        call hex4
        popl %eax
        call hex
        movw $line - origin, %si
        jmp text

raw:    pushw %di
        call idle
        movw $0x1F2, %dx
        movb sectors - origin, %al
        outb %al, %dx
        incw %dx
        movb $63, %al                   # the second track
        outb %al, %dx
        incw %dx
        xorb %al, %al
        outb %al, %dx
        incw %dx
        outb %al, %dx
        incw %dx
        movb $0xE0, %al
        outb %al, %dx
        incw %dx
        movb $0xC4, %al
        outb %al, %dx
        movw sectors - origin, %bx
        xorw %di, %di
1:      call idle
        testb $0x08, %al
        jz gave_up
        movw %bx, %cx
        cmpw $BLOCK, %cx
        jbe 2f
        movw $BLOCK, %cx
2:      subw %cx, %bx
        shlw $7, %cx
        movw $0x1F0, %dx
        rep insl
        testw %bx, %bx
        jnz 1b
        popw %di
        ret

idle:  movw $0x1F7, %dx
1:      inb %dx, %al
        testb $0x80, %al
        jnz 1b
        ret

chs:    movb $2, %ah
        movb sectors - origin, %al
        movw $0x0001, %cx
        movb $1, %dh
        movb drive - origin, %dl
        xorw %bx, %bx
        int $0x13
        jc gave_up
        ret

lba:    movw sectors - origin, %ax
        movw %ax, packet - origin + 2
        movw $packet - origin, %si
        movb $0x42, %ah
        movb drive - origin, %dl
        int $0x13
        jc gave_up
        ret

gave_up: movw $bad - origin, %si
        call text
        jmp off

hex:    call hex4
        movb $' ', %al
        jmp put
hex4:   movw $4, %cx
1:      rolw $4, %ax
        pushw %ax
        andb $15, %al
        addb $'0', %al
        cmpb $'9', %al
        jbe 2f
        addb $39, %al
2:      call put
        popw %ax
        loop 1b
        ret
text:   lodsb
        testb %al, %al
        jz 1f
        call put
        jmp text
1:      ret
put:    pushw %dx
        movw $0x3F8, %dx
        outb %al, %dx
        popw %dx
        ret

# Sectors in a request, requests.
sizes:  .word 1, 256, 8, 64, 63, 16, 127, 16, 0
raw_name: .asciz "raw "
chs_name: .asciz "chs "
lba_name: .asciz "lba "
line:   .asciz "\r\n"
bad:    .asciz "failed\r\n"
packet: .byte 16, 0
        .word 0, 0, BUFFER
        .long 63, 0
drive:  .byte 0
        .balign 4
start:  .long 0, 0
sectors: .word 0
requests: .word 0
. = pcvm_int13_start + 2048
