# Boot sector that sets modes 3, 12h and 13h with INT 10h, as many times as the dword at 1F8h specifies, and then resets
# the machine.
        .section .rodata.pcvm_modeset, "a"
        .code16
        .globl pcvm_modeset_start
pcvm_modeset_start:
        .set modeset_base, pcvm_modeset_start - 0x7C00
        cli
        xorw %ax, %ax
        movw %ax, %ds
        movw %ax, %ss
        movw $0x7C00, %sp
        sti
1:      movw $0x0003, %ax
        int $0x10
        movw $0x0012, %ax
        int $0x10
        movw $0x0013, %ax
        int $0x10
        decl modeset_iterations - modeset_base
        jnz 1b
        # PIIX3 reset control register (RC, CF9h): hard reset.
        movw $0xCF9, %dx
        movb $0x02, %al
        outb %al, %dx
        movb $0x06, %al
        outb %al, %dx
2:      hlt
        jmp 2b
        .org pcvm_modeset_start + 0x1F8
modeset_iterations:
        .long 1
        .word 0
        .word 0xAA55
