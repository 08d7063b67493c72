# I/O port fuzzer: a firmware image that, from the reset vector on, reads and writes pseudo-random values of
# pseudo-random widths, with single and string instructions, on all I/O ports and all PCI configuration registers. At
# the end it writes 'through' to port 402h. The builder patches in the number of accesses and the seed.
        .set    HOSTILE_WORDS, 0x1000   # 1 KiB in RAM: data for OUTS
        .set    HOSTILE_READ, 0x2000    # 1 KiB in RAM: data from INS
        .set    HOSTILE_STRING, 4       # accesses per string instruction

        .macro hostile_random           # linear congruential generator: use the high bits
        imull $1664525, %esi, %esi
        addl $1013904223, %esi
        .endm

        .section .rodata.pcvm_hostile, "a"
        .code16
        .globl pcvm_hostile_start
pcvm_hostile_start:
        cli
        cld
        # The code runs in the ROM below 4 GiB, where the CPU starts: shadow registers may unmap the copy at F0000h, and
        # DMA may overwrite any RAM. All state is in registers: EBP counts the accesses left, ESI is the generator. The
        # code is short because a software KVM interprets it.
        movl %cs:count - pcvm_hostile_start, %ebp
        movl %cs:seed - pcvm_hostile_start, %esi
        xorw %ax, %ax
        movw %ax, %ds
        movw %ax, %es
        movw $HOSTILE_WORDS, %di
        movw $256, %cx
1:      hostile_random
        movl %esi, %eax
        stosl
        loop 1b

again:  hostile_random
        movl %esi, %edi
        shrl $16, %edi                  # kind of access
        hostile_random
        movl %esi, %edx
        shrl $16, %edx                  # port
        movl %esi, %eax
        rorl $8, %eax                   # value

        testw $0x0007, %di
        jz hostile_config
        # Half of the accesses go to ports below 400h, where the chips are.
        testw $0x0008, %di
        jz 1f
        andw $0x03FF, %dx
        # Skip the ports that end the machine by design: resets at 64h, 92h and CF9h, which would restart this program
        # with the same seed, and the power-off registers of power management. A wide access that starts below such a
        # port also reaches it.
1:      movw %dx, %bx
        shrw $8, %bx
        cmpb $0, %cs:hostile_pages - pcvm_hostile_start(%bx)
        jne hostile_page
access: movw %di, %bx
        shrw $3, %bx
        andw $0x003E, %bx
        jmp *%cs:hostile_kinds - pcvm_hostile_start(%bx)

# One access in eight goes to configuration space: bus 0, devices 0-3, any function and register.
hostile_config:
        movl %edx, %ebx
        movl %eax, %ecx
        movl %edx, %eax
        andl $0x00001FFC, %eax
        orl $0x80000000, %eax
        # Skip the PIIX4 registers that set the bases of its power management and SMBus ports: a moved port is not
        # skipped above, and a write to it could power the machine off.
        movw %ax, %dx
        andb $0xB8, %dl
        cmpw $0x0B38, %dx
        je next
        cmpw $0x0B40, %ax
        je next
        cmpw $0x0B80, %ax
        je next
        movw $0xCF8, %dx
        outl %eax, %dx
        movl %ecx, %eax
        movw $0xCFC, %dx
        andw $3, %bx
        orw %bx, %dx
        jmp access

hostile_page:
        cmpw $0xB040, %dx
        jae access
        cmpw $0xB000, %dx
        jae next
        cmpw $0x0640, %dx
        jb 1f
        cmpw $0x0CF5, %dx
        jb access
        cmpw $0x0CFF, %dx
        jbe next
        jmp access
1:      cmpw $0x0600, %dx
        jae next
        movw %dx, %bx
        subw $0x61, %bx
        cmpw $3, %bx
        jbe next
        subw $0x8F - 0x61, %bx
        cmpw $3, %bx
        ja access
        # falls through

next:   decl %ebp
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

# Kinds of access; a quarter are string instructions.
hostile_inb:
        inb %dx, %al
        jmp next
hostile_inw:
        inw %dx, %ax
        jmp next
hostile_inl:
        inl %dx, %eax
        jmp next
hostile_outb:
        outb %al, %dx
        jmp next
hostile_outw:
        outw %ax, %dx
        jmp next
hostile_outl:
        outl %eax, %dx
        jmp next
        .macro hostile_string instruction
        xchgl %esi, %eax                # EAX saves the generator's state
        andl $0x000003FF, %esi
        movl %esi, %edi
        addw $HOSTILE_WORDS, %si
        addw $HOSTILE_READ, %di
        movl $HOSTILE_STRING, %ecx
        rep \instruction
        movl %eax, %esi
        jmp hostile_several
        .endm
hostile_insb: hostile_string insb
hostile_insw: hostile_string insw
hostile_insl: hostile_string insl
hostile_outsb: hostile_string outsb
hostile_outsw: hostile_string outsw
hostile_outsl: hostile_string outsl
hostile_several:
        subl $HOSTILE_STRING - 1, %ebp
        ja next
        movl $1, %ebp
        jmp next

hostile_kinds:
        .rept 4
        .irp kind, inb, inw, inl, outb, outw, outl
        .word hostile_\kind - pcvm_hostile_start
        .endr
        .endr
        .irp kind, insb, insw, insl, insl, outsb, outsw, outsl, outsl
        .word hostile_\kind - pcvm_hostile_start
        .endr
# Nonzero for pages of 256 ports that contain ports to skip.
hostile_pages:
        .irp page, 0x00, 0x06, 0x0C, 0xB0
        .org hostile_pages - pcvm_hostile_start + \page
        .byte 1
        .endr
        .org hostile_pages - pcvm_hostile_start + 256
through: .asciz "through\n"
        .globl pcvm_hostile_count
count:  .long 0
seed:   .long 0
pcvm_hostile_end:
        .org 2048
        .code64
        .text
