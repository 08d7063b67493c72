# Firmware image with a stalled NIC driver: it enables the receiver of the RTL8139 at 00:03.0, never touches CAPR or the
# ring, and reads the first sector of the primary master repeatedly by PIO. The builder patches in the number of reads.
# It writes 'B' on COM1 when it starts reading, and at the end the NIC's ISR and MPC in hexadecimal: these show what
# happened to the received frames.
        .set    STALLED_NIC, 0xC100     # its I/O base
        .set    STALLED_RX, 0x10000     # receive ring, 8 KiB
        .set    STALLED_BUFFER, 0x20000 # sector buffer

        .section .rodata.pcvm_stalled_receiver, "a"
        .code16
        .globl pcvm_stalled_receiver_start
pcvm_stalled_receiver_start:
        cli
        cld
        ljmp $0xF000, $(1f - pcvm_stalled_receiver_start)
1:      xorw %ax, %ax
        movw %ax, %ss
        movw $0x0800, %sp
        movw $STALLED_BUFFER >> 4, %ax
        movw %ax, %es
        movl %cs:stalled_count - pcvm_stalled_receiver_start, %ebp

        # Set the NIC's I/O base, enable bus mastering, reset it and enable the receiver.
        movl $0x80001810, %eax
        movl $STALLED_NIC | 1, %ecx
        call stalled_config
        movl $0x80001804, %eax
        movl $0x00000005, %ecx
        call stalled_config
        movw $STALLED_NIC + 0x37, %dx
        movb $0x10, %al
        outb %al, %dx
1:      inb %dx, %al
        testb $0x10, %al
        jnz 1b
        movb $0x08, %al                 # RE
        outb %al, %dx
        movw $STALLED_NIC + 0x30, %dx   # RBSTART
        movl $STALLED_RX, %eax
        outl %eax, %dx
        movw $STALLED_NIC + 0x44, %dx   # RCR: 8 KiB, accept all
        movl $0x0000070F, %eax
        outl %eax, %dx

        # Enable the IDE channel's ports; nIEN: no interrupts.
        movl $0x80000904, %eax
        movl $0x00000005, %ecx
        call stalled_config
        movl $0x80000940, %eax
        movl $0x80008000, %ecx
        call stalled_config
        movw $0x3F6, %dx
        movb $0x02, %al
        outb %al, %dx

        movb $'B', %al
        call stalled_put
1:      movw $0x1F2, %dx
        movb $1, %al
        outb %al, %dx                   # one sector
        incw %dx
        outb %al, %dx                   # CHS 0, 0, 1
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
        jnz stalled_failed
        testb $0x08, %al
        jz 2b
        movw $0x1F0, %dx
        xorw %di, %di
        movw $256, %cx
        rep insw
        decl %ebp
        jnz 1b

        movw $STALLED_NIC + 0x3E, %dx   # ISR
        inw %dx, %ax
        movzwl %ax, %eax
        call stalled_number
        movw $STALLED_NIC + 0x4C, %dx   # MPC
        inl %dx, %eax
        call stalled_number
stalled_reset:
        movw $0xCF9, %dx                # PIIX3 reset control register (RC): hard reset
        movb $0x02, %al
        outb %al, %dx
        movb $0x06, %al
        outb %al, %dx
1:      hlt
        jmp 1b
stalled_failed:
        movb $'!', %al
        call stalled_put
        jmp stalled_reset

stalled_config:
        movw $0xCF8, %dx
        outl %eax, %dx
        movw $0xCFC, %dx
        movl %ecx, %eax
        outl %eax, %dx
        ret

# Prints a space and EAX in hexadecimal.
stalled_number:
        pushl %eax
        movb $' ', %al
        call stalled_put
        popl %eax
        movw $8, %cx
1:      roll $4, %eax
        pushl %eax
        andb $0x0F, %al
        addb $'0', %al
        cmpb $'9', %al
        jbe 2f
        addb $'a' - '9' - 1, %al
2:      call stalled_put
        popl %eax
        loop 1b
        ret

stalled_put:
        movw $0x3F8, %dx
        outb %al, %dx
        ret

stalled_text:
        .ascii "sectors:"
stalled_count:
        .long 0
        .org 2048
        .code64
        .text
