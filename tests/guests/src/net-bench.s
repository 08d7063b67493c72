# Guest of benches/net: a firmware image that drives an RTL8139 in C mode for a number of frames and then resets the
# machine.
#
# The builder patches the operation, the number of iterations and the frame length in below the reset vector. The driver
# makes the accesses that the datasheet requires and no others. '!' on COM1 reports a failure.
#
# The NIC is 00:03.0.
        .set    NET_MEASURE, 0xFFE0     # byte: index into `net_table`
        .set    NET_PORTS, 0xFFE1       # byte: access registers by port I/O (nonzero) or MMIO
        .set    NET_SIZE, 0xFFE2        # word: bytes per transmitted frame, without FCS
        .set    NET_ITERATIONS, 0xFFE4  # long: iterations, at least 1
        .set    NET_NIC, 0xC100         # its I/O base
        .set    NET_MEMORY, 0x100000    # its MMIO base, within reach of real mode; RAM ends below
        .set    NET_RX, 0x10000         # receive ring: 32 KiB, and room for a frame after it
        .set    NET_TX, 0x20000         # frame to transmit
        .set    NET_DESCRIPTOR, 0x0FF0  # next transmit descriptor (0-3) times 4
        .set    NET_RX_OFFSET, 0x0FF2   # offset of the next frame in the ring
        .set    NET_WARM, 0x0FDC        # iterations left after the warm-up
        .set    NET_ECHO, 0x0FF4        # nonzero: send received frames back

        .section .rodata.pcvm_net_bench, "a"
        .code16
        .globl pcvm_net_bench_start
pcvm_net_bench_start:
        cli
        cld
        ljmp $0xF000, $(1f - pcvm_net_bench_start)
1:      xorw %ax, %ax
        movw %ax, %ds
        movw %ax, %ss
        movw $0x0800, %sp
        movw $(NET_MEMORY - 16) >> 4, %ax
        movw %ax, %fs
        movw $NET_RX >> 4, %ax
        movw %ax, %es
        movl %cs:NET_ITERATIONS, %ebp
        leal -16(%ebp), %eax
        movl %eax, NET_WARM
        movw $0, NET_DESCRIPTOR
        movw $0, NET_RX_OFFSET
        movb $0, NET_ECHO
        movzbw %cs:NET_MEASURE, %bx
        addw %bx, %bx
        call *%cs:net_table - pcvm_net_bench_start(%bx)
        call net_mark
        jmp net_reset
net_failed:
        movw $0x3F8, %dx
        movb $'!', %al
        outb %al, %dx
net_reset:
        movw $0xCF9, %dx                # PIIX3 reset control register (RC): hard reset
        movb $0x02, %al
        outb %al, %dx
        movb $0x06, %al
        outb %al, %dx
1:      hlt
        jmp 1b

net_table:
        .word net_nothing - pcvm_net_bench_start
        .word net_send - pcvm_net_bench_start
        .word net_receive_polled - pcvm_net_bench_start
        .word net_receive - pcvm_net_bench_start
        .word net_echo - pcvm_net_bench_start
        .word net_send_four - pcvm_net_bench_start

net_nothing: ret

# End of an iteration: decrements EBP and sets ZF accordingly. After the 16th iteration, the warm-up, and at the end it
# reads the IA32_APIC_BASE MSR: an event that the measuring host sees in any KVM.
net_iteration:
        cmpl NET_WARM, %ebp
        je net_warmed_up
        decl %ebp
        ret
net_warmed_up:
        pushal
        call net_mark
        popal
        decl %ebp
        ret
net_mark:
        movl $0x1B, %ecx
        rdmsr
        ret

# ---- Sending ----

# One frame per iteration: fills the next descriptor and polls its TSD until TOK.
net_send:
        call net_setup
1:      call net_transmit
2:      call net_inl
        testw $0x8000, %ax
        jz 2b
        call net_iteration
        jnz 1b
        ret

# Four frames per iteration, one in each descriptor, and polls the last TSD, as a driver that fills all descriptors.
net_send_four:
        call net_setup
1:      call net_transmit
        call net_transmit
        call net_transmit
        call net_transmit
2:      call net_inl
        testw $0x8000, %ax
        jz 2b
        call net_iteration
        jnz 1b
        ret

# Sends the frame with the next descriptor; returns the port of its TSD in DX.
net_transmit:
        movl $NET_TX, %eax
        movzwl %cs:NET_SIZE, %ecx
# The same for ECX bytes at address EAX.
net_transmit_at:
        movw NET_DESCRIPTOR, %dx
        pushw %dx
        addw $4, NET_DESCRIPTOR
        andw $12, NET_DESCRIPTOR
        addw $NET_NIC + 0x20, %dx       # TSAD
        call net_outl
        popw %dx
        addw $NET_NIC + 0x10, %dx       # TSD
        movl %ecx, %eax
        call net_outl
        ret

# ---- Receiving ----

# One frame per iteration, polling CR.BUFE.
net_receive_polled:
        call net_setup
1:      movw $NET_NIC + 0x37, %dx
        call net_inb
        testb $1, %al
        jnz 1b
        call net_consume
        jnz 1b
        ret

# One frame per iteration, by interrupt, waiting in HLT.
net_receive:
        call net_setup
        call net_interrupts
1:      cli
        testl %ebp, %ebp
        jle 2f
        sti
        hlt
        jmp 1b
2:      ret

# The same, and sends each frame back to its sender.
net_echo:
        movb $1, NET_ECHO
        jmp net_receive

net_irq:
        pushl %eax
        pushw %cx
        pushw %dx
        pushw %di
        movw $NET_NIC + 0x3E, %dx       # ISR: acknowledge before reading the ring
        call net_inw
        call net_outw
1:      movw $NET_NIC + 0x37, %dx
        call net_inb
        testb $1, %al
        jnz 2f
        call net_consume
        jg 1b
        movw $NET_NIC + 0x3C, %dx       # IMR: mask; all iterations are done
        xorw %ax, %ax
        call net_outw
2:      movb $0x20, %al
        outb %al, $0xA0
        outb %al, $0x20
        popw %di
        popw %dx
        popw %cx
        popl %eax
        iretw

# Consumes the frame at NET_RX_OFFSET; decrements EBP and sets ZF accordingly.
net_consume:
        movw NET_RX_OFFSET, %di
        movl %es:(%di), %eax            # receive status; length with FCS
        testb $1, %al
        jz net_failed
        shrl $16, %eax
        cmpw $64, %ax
        jb net_failed
        cmpb $0, NET_ECHO
        je 1f
        pushl %eax
        movl %eax, %ecx
        movl %es:10(%di), %eax          # swap: to its sender, from the station address
        movl %eax, %es:4(%di)
        movw %es:14(%di), %ax
        movw %ax, %es:8(%di)
        movl NET_MAC, %eax
        movl %eax, %es:10(%di)
        movw NET_MAC + 4, %ax
        movw %ax, %es:14(%di)
        movzwl %di, %eax
        addl $NET_RX + 4, %eax
        subl $4, %ecx
        call net_transmit_at
        popl %eax
1:      addw $4 + 3, %ax
        andw $0xFFFC, %ax
        addw %di, %ax
        andw $0x7FFF, %ax
        movw %ax, NET_RX_OFFSET
        subw $16, %ax
        movw $NET_NIC + 0x38, %dx       # CAPR
        call net_outw
        jmp net_iteration

# ---- Setting up ----
        .set    NET_MAC, 0x0FE0

# Firmware's and driver's initialisation: sets I/O and MMIO base, enables bus mastering, resets the NIC.
net_setup:
        movl $0x80001810, %eax
        movl $NET_NIC | 1, %ecx
        call net_config
        movl $0x80001814, %eax
        movl $NET_MEMORY, %ecx
        call net_config
        movl $0x80001804, %eax
        movl $0x00000007, %ecx
        call net_config
        movl $0x80000860, %eax          # PIIX3: route every PIRQ to IRQ 11
        movl $0x0B0B0B0B, %ecx
        call net_config
        movw $0x4D1, %dx                # ELCR2: IRQ 11 is level triggered
        movb $0x08, %al
        outb %al, %dx
        movw $NET_NIC + 0x37, %dx
        movb $0x10, %al
        call net_outb
1:      call net_inb
        testb $0x10, %al
        jnz 1b
        movb $0x0C, %al                 # RE and TE
        call net_outb
        movw $NET_NIC + 0x30, %dx       # RBSTART
        movl $NET_RX, %eax
        call net_outl
        movw $NET_NIC + 0x44, %dx       # RCR: 32 KiB, WRAP, accept physical match and broadcast
        movl $0x0000178A, %eax
        call net_outl
        movw $NET_NIC + 0x40, %dx       # TCR
        movl $0x03000700, %eax
        call net_outl
        movw $NET_NIC, %dx              # IDR0-5: station address
        call net_inl
        movl %eax, NET_MAC
        addw $4, %dx
        call net_inw
        movw %ax, NET_MAC + 4
        pushw %es                       # build the frame: destination is the host
        movw $NET_TX >> 4, %ax
        movw %ax, %es
        xorw %di, %di
        movw $0x0002, %ax
        stosw
        xorw %ax, %ax
        stosw
        movw $0x0100, %ax
        stosw
        movl NET_MAC, %eax
        stosl
        movw NET_MAC + 4, %ax
        stosw
        movw $0xB588, %ax               # EtherType 88B5h: local experimental
        stosw
        popw %es
        ret

net_config:
        movw $0xCF8, %dx
        outl %eax, %dx
        movw $0xCFC, %dx
        movl %ecx, %eax
        outl %eax, %dx
        ret

net_interrupts:
        movl $0x1B, %ecx                # disable the local APIC: the PIC's INTR reaches the CPU
        rdmsr
        andl $0xFFFFF7FF, %eax
        wrmsr
        movw $net_pic - pcvm_net_bench_start, %si
        movw $(net_pic_end - net_pic) / 2, %cx
        xorb %dh, %dh
1:      movb %cs:(%si), %dl
        movb %cs:1(%si), %al
        outb %al, %dx
        addw $2, %si
        loop 1b
        movw $net_irq - pcvm_net_bench_start, 0x73 * 4
        movw $0xF000, 0x73 * 4 + 2
        movw $NET_NIC + 0x3C, %dx       # IMR: ROK
        movw $0x0001, %ax
        call net_outw
        ret

# Register access: the register at port DX, by port I/O or by MMIO at offset DL. Clobbers nothing; reads return in AL,
# AX or EAX.
        .macro net_access name, by_port, in_memory
net_\name:
        cmpb $0, %cs:NET_PORTS
        je 1f
        \by_port
        ret
1:      pushl %edx
        movzbl %dl, %edx
        \in_memory
        popl %edx
        ret
        .endm
        net_access inb, "inb %dx, %al", "movb %fs:16(%edx), %al"
        net_access inw, "inw %dx, %ax", "movw %fs:16(%edx), %ax"
        net_access inl, "inl %dx, %eax", "movl %fs:16(%edx), %eax"
        net_access outb, "outb %al, %dx", "movb %al, %fs:16(%edx)"
        net_access outw, "outw %ax, %dx", "movw %ax, %fs:16(%edx)"
        net_access outl, "outl %eax, %dx", "movl %eax, %fs:16(%edx)"

# PIC setup, port and value: vectors 08h and 70h, all masked but IRQ 2 and 11.
net_pic: .byte 0x20, 0x11, 0x21, 0x08, 0x21, 0x04, 0x21, 0x01
        .byte 0xA0, 0x11, 0xA1, 0x70, 0xA1, 0x02, 0xA1, 0x01
        .byte 0x21, 0xFB, 0xA1, 0xF7
net_pic_end:
pcvm_net_bench_end:
        .org 2048
        .code64
        .text
