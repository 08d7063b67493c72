# A firmware image that never means well: from the reset vector on it reads and writes pseudo-random values, at
# pseudo-random widths, on all I/O ports and all PCI configuration registers. It prints its progress on port 402h and
# writes 'P' there when it is through. Patched in by the builder: the number of accesses and the seed.
        .section .rodata.pcvm_hostile, "a"
        .code16
        .globl pcvm_hostile_start
pcvm_hostile_start:
        cli
        # This runs where the processor starts, in the ROM below 4 GiB: shadow registers may unmap the copy at F0000, and
        # DMA may go anywhere in RAM. All state is in registers: EBP the accesses left, ESI the generator.
        movl %cs:count - pcvm_hostile_start, %ebp
        movl %cs:seed - pcvm_hostile_start, %esi
again:  # xorshift32
        movl %esi, %eax
        shll $13, %eax
        xorl %eax, %esi
        movl %esi, %eax
        shrl $17, %eax
        xorl %eax, %esi
        movl %esi, %eax
        shll $5, %eax
        xorl %eax, %esi
        movl %esi, %edi
        roll $11, %edi                  # what kind of access
        movl %esi, %eax                 # the port

        testw $0x0007, %di
        jnz port
        # One access in eight is to configuration space: bus 0, devices 0 to 3, any function and register.
        andl $0x00001FFF, %eax
        orl $0x80000000, %eax
        movl %eax, %ebx
        andb $0xFC, %al
        # Not PIIX4's registers that place its ports: one of those would switch the machine off.
        movw %ax, %cx
        andw $0xFFB8, %cx
        cmpw $0x0B38, %cx
        je next
        cmpw $0x0B40, %ax
        je next
        cmpw $0x0B80, %ax
        je next
        movw $0xCF8, %dx
        outl %eax, %dx
        movw $0xCFC, %dx
        andw $3, %bx
        orw %bx, %dx
        jmp access

port:   movw %ax, %dx
        # Half of them below 400h, where the chips are.
        testw $0x0008, %di
        jz skip
        andw $0x03FF, %dx
        # What ends the machine on purpose is left out: resets at 64h, 92h and CF9h, which would only start this
        # program again with the same seed, and the power-off registers of power management.
skip:   movw %dx, %bx                   # a wide access below such a port reaches it too
        subw $0x61, %bx
        cmpw $3, %bx
        jbe next
        subw $0x8F - 0x61, %bx
        cmpw $3, %bx
        jbe next
        subw $0xCF5 - 0x8F, %bx
        cmpw $0xCFF - 0xCF5, %bx
        jbe next
        cmpw $0x0600, %dx
        jb access
        cmpw $0x0640, %dx
        jb next
        cmpw $0xB000, %dx
        jb access
        cmpw $0xB040, %dx
        jb next

access: movl %esi, %eax
        roll $7, %eax                   # the value
        testw $0x0010, %di
        jnz write
        testw $0x0020, %di
        jnz 1f
        inb %dx, %al
        jmp next
1:      testw $0x0040, %di
        jnz 2f
        inw %dx, %ax
        jmp next
2:      inl %dx, %eax
        jmp next
write:  testw $0x0020, %di
        jnz 1f
        outb %al, %dx
        jmp next
1:      testw $0x0040, %di
        jnz 2f
        outw %ax, %dx
        jmp next
2:      outl %eax, %dx

next:   decl %ebp
        testl $0x000FFFFF, %ebp
        jnz 1f
        movw $0x402, %dx
        movb $'.', %al
        outb %al, %dx
1:      testl %ebp, %ebp
        jnz again
        movw $0x402, %dx
        movw $through - pcvm_hostile_start, %bx
2:      movb %cs:(%bx), %al
        testb %al, %al
        jz 3f
        outb %al, %dx
        incw %bx
        jmp 2b
3:      cli
        hlt
        jmp 3b

through: .asciz "through\n"
        .globl pcvm_hostile_count
count:  .long 0
seed:   .long 0
pcvm_hostile_end:
        .org 1024
        .code64
        .text
