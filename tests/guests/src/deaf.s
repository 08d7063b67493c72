# A firmware image that does not read what comes in: it switches on the receiver of the RTL8139 at 00:03.0, never touches CAPR
# or the ring, and reads the first sector of the primary master again and again by PIO. Patched in by the builder: how often.
# On COM1 it writes 'B' when it begins, and when it is through the card's interrupt status and count of missed frames, in
# hexadecimal: that is what became of the frames.
        .set    DEAF_CARD, 0xC100       # its ports
        .set    DEAF_RX, 0x10000        # receive ring, 8 KiB
        .set    DEAF_BUFFER, 0x20000    # a sector

        .section .rodata.pcvm_deaf, "a"
        .code16
        .globl pcvm_deaf_start
pcvm_deaf_start:
        cli
        cld
        ljmp $0xF000, $(1f - pcvm_deaf_start)
1:      xorw %ax, %ax
        movw %ax, %ss
        movw $0x0800, %sp
        movw $DEAF_BUFFER >> 4, %ax
        movw %ax, %es
        movl %cs:deaf_count - pcvm_deaf_start, %ebp

        # The card has its ports, masters the bus, is reset and receives.
        movl $0x80001810, %eax
        movl $DEAF_CARD | 1, %ecx
        call deaf_config
        movl $0x80001804, %eax
        movl $0x00000005, %ecx
        call deaf_config
        movw $DEAF_CARD + 0x37, %dx
        movb $0x10, %al
        outb %al, %dx
1:      inb %dx, %al
        testb $0x10, %al
        jnz 1b
        movb $0x08, %al                 # RE
        outb %al, %dx
        movw $DEAF_CARD + 0x30, %dx     # RBSTART
        movl $DEAF_RX, %eax
        outl %eax, %dx
        movw $DEAF_CARD + 0x44, %dx     # RCR: 8 KiB, everything
        movl $0x0000070F, %eax
        outl %eax, %dx

        # The channel has its ports; no interrupts.
        movl $0x80000904, %eax
        movl $0x00000005, %ecx
        call deaf_config
        movl $0x80000940, %eax
        movl $0x80008000, %ecx
        call deaf_config
        movw $0x3F6, %dx
        movb $0x02, %al
        outb %al, %dx

        movb $'B', %al
        call deaf_put
1:      movw $0x1F2, %dx
        movb $1, %al
        outb %al, %dx                   # one sector
        incw %dx
        outb %al, %dx                   # the first by CHS: 0, 0, 1
        incw %dx
        xorb %al, %al
        outb %al, %dx
        incw %dx
        outb %al, %dx
        incw %dx
        movb $0xA0, %al
        outb %al, %dx
        incw %dx
        movb $0x20, %al
        outb %al, %dx
2:      inb %dx, %al
        testb $0x80, %al
        jnz 2b
        testb $0x21, %al
        jnz deaf_failed
        testb $0x08, %al
        jz 2b
        movw $0x1F0, %dx
        xorw %di, %di
        movw $256, %cx
        rep insw
        decl %ebp
        jnz 1b

        movw $DEAF_CARD + 0x3E, %dx     # ISR
        inw %dx, %ax
        movzwl %ax, %eax
        call deaf_number
        movw $DEAF_CARD + 0x4C, %dx     # MPC
        inl %dx, %eax
        call deaf_number
deaf_reset:
        movw $0xCF9, %dx                # PIIX3's reset control: a hard reset
        movb $0x02, %al
        outb %al, %dx
        movb $0x06, %al
        outb %al, %dx
1:      hlt
        jmp 1b
deaf_failed:
        movb $'!', %al
        call deaf_put
        jmp deaf_reset

deaf_config:
        movw $0xCF8, %dx
        outl %eax, %dx
        movw $0xCFC, %dx
        movl %ecx, %eax
        outl %eax, %dx
        ret

# EAX in hexadecimal, with a space before it.
deaf_number:
        pushl %eax
        movb $' ', %al
        call deaf_put
        popl %eax
        movw $8, %cx
1:      roll $4, %eax
        pushl %eax
        andb $0x0F, %al
        addb $'0', %al
        cmpb $'9', %al
        jbe 2f
        addb $'a' - '9' - 1, %al
2:      call deaf_put
        popl %eax
        loop 1b
        ret

deaf_put:
        movw $0x3F8, %dx
        outb %al, %dx
        ret

deaf_text:
        .ascii "sectors:"
deaf_count:
        .long 0
        .org 1024
        .code64
        .text
