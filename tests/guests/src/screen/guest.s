# Firmware image that interprets a drawing program (see mod.rs) on the hardware: flat protected mode, no interrupts. It
# sends what it reads on COM1, and after each scene waits for a byte there.
        .set    HERE, 0xFFFF0000        # address of the image
        .set    PROGRAM, 0xFFE0         # long: address of the program
        .set    ITERATIONS, 0xFFE4           # long: iterations of loops with count 0
        .set    STACK, 0x8000
        .set    COM1, 0x3F8

        .section .rodata.pcvm_screen, "a"
        .code16
        .globl pcvm_screen_start
pcvm_screen_start:
        cli
        cld
        lgdtl %cs:gdtr - pcvm_screen_start
        movl %cr0, %eax
        orb $1, %al
        movl %eax, %cr0
        ljmpl $8, $(HERE + flat - pcvm_screen_start)

        .code32
flat:   movw $16, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        movl $STACK, %esp
        # 115200 8N1, FIFO on.
        movw $COM1 + 3, %dx
        movb $0x83, %al
        outb %al, %dx
        movw $COM1, %dx
        movb $1, %al
        outb %al, %dx
        incl %edx
        xorb %al, %al
        outb %al, %dx
        movw $COM1 + 3, %dx
        movb $3, %al
        outb %al, %dx
        movw $COM1 + 2, %dx
        movb $1, %al
        outb %al, %dx
        movl HERE + PROGRAM, %esi

next:   xorl %eax, %eax
        lodsb
        movl HERE + table - pcvm_screen_start(,%eax,4), %eax
        jmp *%eax

        .macro entry name
        .long HERE + \name - pcvm_screen_start
        .endm
table:  entry reset
        entry out8
        entry out16
        entry out32
        entry in8
        entry fill8
        entry fill16
        entry fill32
        entry store
        entry sum
        entry pattern
        entry copy
        entry modify
        entry scene
        entry loop_start
        entry loop_end
        entry move32
        entry spin

# PIIX3 reset control register (RC, CF9h): hard reset.
reset:  movw $0xCF9, %dx
        movb $0x02, %al
        outb %al, %dx
        movb $0x06, %al
        outb %al, %dx
1:      hlt
        jmp 1b

# Loads a port number into DX.
port:   lodsw
        movw %ax, %dx
        ret

out8:   call port
        lodsb
        outb %al, %dx
        jmp next
out16:  call port
        lodsw
        outw %ax, %dx
        jmp next
out32:  call port
        lodsl
        outl %eax, %dx
        jmp next
in8:    call port
        inb %dx, %al
        call send
        jmp next

# Loads address into EDI, count into ECX, value into EAX.
three:  lodsl
        movl %eax, %edi
        lodsl
        movl %eax, %ecx
        lodsl
        ret
fill8:  call three
        rep stosb
        jmp next
fill16: call three
        rep stosw
        jmp next
fill32: call three
        rep stosl
        jmp next

# Address, length, bytes.
store:  lodsl
        movl %eax, %edi
        lodsl
        movl %eax, %ecx
        rep movsb
        jmp next

# Address, length: sends a 32-bit checksum of the bytes that depends on their order.
sum:    lodsl
        movl %eax, %edi
        lodsl
        movl %eax, %ecx
        xorl %ebx, %ebx
        xorl %eax, %eax
1:      movb (%edi), %al
        roll $1, %ebx
        addl %eax, %ebx
        incl %edi
        loop 1b
        movl %ebx, %eax
        movl $4, %ecx
1:      call send
        shrl $8, %eax
        loop 1b
        jmp next

# Address, length, seed: pseudo-random bytes.
pattern:
        call three
        movl %eax, %ebx
1:      imull $1664525, %ebx, %ebx
        addl $1013904223, %ebx
        movl %ebx, %eax
        shrl $24, %eax
        stosb
        loop 1b
        jmp next

# Destination, length, source: copies bytes upwards.
copy:   call three
        pushl %esi
        movl %eax, %esi
        rep movsb
        popl %esi
        jmp next

# Address, length, value: reads each byte (loading the latches) and writes the value.
modify: call three
1:      movb (%edi), %ah
        stosb
        loop 1b
        jmp next

scene:  movb $'#', %al
        call send
        movw $COM1 + 5, %dx
1:      inb %dx, %al
        testb $1, %al
        jz 1b
        movw $COM1, %dx
        inb %dx, %al
        jmp next

# Iterations.
loop_start:
        lodsl
        testl %eax, %eax
        jnz 1f
        movl HERE + ITERATIONS, %eax
1:      pushl %eax
        pushl %esi
        jmp next
loop_end:
        decl 4(%esp)
        jz 1f
        movl (%esp), %esi
        jmp next
1:      addl $8, %esp
        jmp next

# Destination, count, source: copies dwords upwards.
move32: call three
        pushl %esi
        movl %eax, %esi
        rep movsl
        popl %esi
        jmp next

# Count: spins for that many instructions.
spin:   lodsl
        movl %eax, %ecx
1:      loop 1b
        jmp next

# Sends AL.
send:   pushl %edx
        pushl %eax
        movw $COM1 + 5, %dx
1:      inb %dx, %al
        testb $0x20, %al
        jz 1b
        popl %eax
        movw $COM1, %dx
        outb %al, %dx
        popl %edx
        ret

        .balign 8
gdt:    .quad 0
        .quad 0x00CF9B000000FFFF         # flat; accessed bit preset, the GDT is in ROM
        .quad 0x00CF93000000FFFF
gdtr:   .word . - gdt - 1
        .long HERE + gdt - pcvm_screen_start
        .code16
        .balign 1024
