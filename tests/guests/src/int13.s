# Guest of benches/int13: a boot sector that reads the same sectors directly through the data port and with INT 13h, in
# requests of several sizes, and prints on COM1 how long each took:
#
#   raw|chs|lba SECTORS REQUESTS CYCLES/256
#
# Numbers are hexadecimal. At the end it powers the machine off. The direct driver waits for the drive, writes the task
# file, issues READ MULTIPLE and transfers a block whenever DRQ is set.
        .set    BLOCK, 16               # sectors per DRQ data block, as the BIOS configures the drive
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
        movw $0x0203, %ax               # load the rest of the program
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
        cmpw $64, sectors - origin      # CHS reads stay on one track of 63 sectors
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

# One request to warm up, then the measured ones.
measure: call int13_print
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
        jmp int13_print

raw:    pushw %di
        call int13_wait_ready
        movw $0x1F2, %dx
        movb sectors - origin, %al
        outb %al, %dx
        incw %dx
        movb $63, %al                   # LBA 63: the second track
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
1:      call int13_wait_ready
        testb $0x08, %al
        jz int13_failed
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

int13_wait_ready:
        movw $0x1F7, %dx
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
        jc int13_failed
        ret

lba:    movw sectors - origin, %ax
        movw %ax, packet - origin + 2
        movw $packet - origin, %si
        movb $0x42, %ah
        movb drive - origin, %dl
        int $0x13
        jc int13_failed
        ret

int13_failed:
        movw $int13_failed_text - origin, %si
        call int13_print
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
int13_print:
        lodsb
        testb %al, %al
        jz 1f
        call put
        jmp int13_print
1:      ret
put:    pushw %dx
        movw $0x3F8, %dx
        outb %al, %dx
        popw %dx
        ret

# Sectors per request, number of requests.
sizes:  .word 1, 256, 8, 64, 63, 16, 127, 16, 0
raw_name: .asciz "raw "
chs_name: .asciz "chs "
lba_name: .asciz "lba "
line:   .asciz "\r\n"
int13_failed_text: .asciz "failed\r\n"
packet: .byte 16, 0
        .word 0, 0, BUFFER
        .long 63, 0
drive:  .byte 0
        .balign 4
start:  .long 0, 0
sectors: .word 0
requests: .word 0
. = pcvm_int13_start + 2048
