# The guest of benches/net: a firmware image that drives an RTL8139 in C mode, so many frames, and then resets the machine.
#
# What, how often and with frames of which length is patched in below the reset vector. The driver makes the accesses that
# the data sheet asks for and no others. A '!' on COM1 tells that something went wrong.
#
# The card is 00:03.0.
        .set    NET_MEASURE, 0xFFE0     # byte: a number of the table
        .set    NET_PORTS, 0xFFE1       # byte: registers are accessed by ports, else in memory
        .set    NET_SIZE, 0xFFE2        # word: bytes of a frame that is sent, without FCS
        .set    NET_TURNS, 0xFFE4       # long: at least 1
        .set    NET_CARD, 0xC100        # its ports
        .set    NET_MEMORY, 0x100000    # and its memory, which real mode reaches; RAM ends before it
        .set    NET_RX, 0x10000         # receive ring, 32 KiB, and room for a frame behind it
        .set    NET_TX, 0x20000         # the frame that is sent
        .set    NET_SLOT, 0x0FF0        # the transmit slot to be used next, times 4
        .set    NET_AT, 0x0FF2          # where in the ring the next frame is
        .set    NET_BEGIN, 0x0FDC       # turns that are left when it is under way
        .set    NET_ECHO, 0x0FF4        # frames are sent back

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
        movl %cs:NET_TURNS, %ebp
        leal -16(%ebp), %eax
        movl %eax, NET_BEGIN
        movw $0, NET_SLOT
        movw $0, NET_AT
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
        movw $0xCF9, %dx                # PIIX3's reset control: a hard reset
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

# A turn is over: EBP is one less, and the flags say whether it is 0. After the sixteenth one everything is under way, which
# is seen from outside as an event of its own, as is the end: a look at the local APIC's base, which every KVM is asked for.
net_turn:
        cmpl NET_BEGIN, %ebp
        je net_begins
        decl %ebp
        ret
net_begins:
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

# A frame a turn: the next slot, and its status until the frame is sent.
net_send:
        call net_setup
1:      call net_put
2:      call net_inl
        testw $0x8000, %ax
        jz 2b
        call net_turn
        jnz 1b
        ret

# Four frames a turn, one in each slot, and a look at the last one's status, as a driver does that fills all slots.
net_send_four:
        call net_setup
1:      call net_put
        call net_put
        call net_put
        call net_put
2:      call net_inl
        testw $0x8000, %ax
        jz 2b
        call net_turn
        jnz 1b
        ret

# Puts the frame into the next slot; DX is its status register.
net_put:
        movl $NET_TX, %eax
        movzwl %cs:NET_SIZE, %ecx
# The same with ECX bytes at EAX.
net_put_this:
        movw NET_SLOT, %dx
        pushw %dx
        addw $4, NET_SLOT
        andw $12, NET_SLOT
        addw $NET_CARD + 0x20, %dx      # TSAD
        call net_outl
        popw %dx
        addw $NET_CARD + 0x10, %dx      # TSD
        movl %ecx, %eax
        call net_outl
        ret

# ---- Receiving ----

# A frame a turn, by looking at BUFE.
net_receive_polled:
        call net_setup
1:      movw $NET_CARD + 0x37, %dx
        call net_inb
        testb $1, %al
        jnz 1b
        call net_take
        jnz 1b
        ret

# Frames by interrupts, in HLT; a turn each.
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

# The same, and each goes back to where it came from.
net_echo:
        movb $1, NET_ECHO
        jmp net_receive

net_irq:
        pushl %eax
        pushw %cx
        pushw %dx
        pushw %di
        movw $NET_CARD + 0x3E, %dx      # ISR: acknowledged before the ring is looked at
        call net_inw
        call net_outw
1:      movw $NET_CARD + 0x37, %dx
        call net_inb
        testb $1, %al
        jnz 2f
        call net_take
        jg 1b
        movw $NET_CARD + 0x3C, %dx      # enough, however many still come
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

# Takes the frame at NET_AT out of the ring. EBP is one less then, and the flags say whether it is 0.
net_take:
        movw NET_AT, %di
        movl %es:(%di), %eax            # status, and length with FCS
        testb $1, %al
        jz net_failed
        shrl $16, %eax
        cmpw $64, %ax
        jb net_failed
        cmpb $0, NET_ECHO
        je 1f
        pushl %eax
        movl %eax, %ecx
        movl %es:10(%di), %eax          # to its sender, from us
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
        call net_put_this
        popl %eax
1:      addw $4 + 3, %ax
        andw $0xFFFC, %ax
        addw %di, %ax
        andw $0x7FFF, %ax
        movw %ax, NET_AT
        subw $16, %ax
        movw $NET_CARD + 0x38, %dx      # CAPR
        call net_outw
        jmp net_turn

# ---- Setting up ----
        .set    NET_MAC, 0x0FE0

# What firmware does, and what a driver does first: the card has its ports and memory, masters the bus and is reset.
net_setup:
        movl $0x80001810, %eax
        movl $NET_CARD | 1, %ecx
        call net_config
        movl $0x80001814, %eax
        movl $NET_MEMORY, %ecx
        call net_config
        movl $0x80001804, %eax
        movl $0x00000007, %ecx
        call net_config
        movl $0x80000860, %eax          # PIIX3: every PIRQ is IRQ 11
        movl $0x0B0B0B0B, %ecx
        call net_config
        movw $0x4D1, %dx                # by level
        movb $0x08, %al
        outb %al, %dx
        movw $NET_CARD + 0x37, %dx
        movb $0x10, %al
        call net_outb
1:      call net_inb
        testb $0x10, %al
        jnz 1b
        movb $0x0C, %al                 # RE and TE
        call net_outb
        movw $NET_CARD + 0x30, %dx      # RBSTART
        movl $NET_RX, %eax
        call net_outl
        movw $NET_CARD + 0x44, %dx      # RCR: 32 KiB, WRAP, to us and to all
        movl $0x0000178A, %eax
        call net_outl
        movw $NET_CARD + 0x40, %dx      # TCR
        movl $0x03000700, %eax
        call net_outl
        movw $NET_CARD, %dx             # the station address
        call net_inl
        movl %eax, NET_MAC
        addw $4, %dx
        call net_inw
        movw %ax, NET_MAC + 4
        pushw %es                       # the frame, to the host
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
        movw $0xB588, %ax               # EtherType 88B5h, for experiments
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
        movl $0x1B, %ecx                # no local APIC: the PIC's INTR goes to the processor
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
        movw $NET_CARD + 0x3C, %dx      # IMR: ROK
        movw $0x0001, %ax
        call net_outw
        ret

# The card's register that DX is the port of: by that, or in memory, where DL is its offset. All registers stay but AL, AX
# or EAX, where what is read goes.
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

# Port and value: vectors 8 and 70h, all masked but IRQ 2 and 11.
net_pic: .byte 0x20, 0x11, 0x21, 0x08, 0x21, 0x04, 0x21, 0x01
        .byte 0xA0, 0x11, 0xA1, 0x70, 0xA1, 0x02, 0xA1, 0x01
        .byte 0x21, 0xFB, 0xA1, 0xF7
net_pic_end:
pcvm_net_bench_end:
        .org 1024
        .code64
        .text
