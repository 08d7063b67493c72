# VBE protected mode interface, function 4F0Ah (VBE Core Functions Standard 3.0, "Return VBE Protected Mode Interface"):
# a table of four offsets, then position-independent 32-bit code that a program may copy anywhere and call near. The
# code uses I/O ports only, no memory of its own, and preserves every register that the function does not return.

    .section .note.GNU-stack, "", @progbits
    .section .pmcode, "a"
    .code32
    .globl protected_mode, protected_mode_size

    .set INDEX, 0x1ce           # Bochs display interface: index port; the data port is the next
    .set XRES, 1
    .set BPP, 3
    .set BANK, 5
    .set VIRT_WIDTH, 6
    .set X_OFFSET, 8
    .set Y_OFFSET, 9
    .set MEMORY, 10
    .set DAC_WRITE, 0x3c8

protected_mode:
    .word set_window - protected_mode
    .word set_start - protected_mode
    .word set_palette - protected_mode
    .word ports - protected_mode

# Ports and memory ranges for the caller's I/O permission map: the ports, then no memory.
ports:
    .word 0x1ce, 0x1cf, 0x1d0, 0x3c8, 0x3c9, 0x3da, 0xffff, 0xffff

# Reads Bochs display register AL into AX; clobbers DX.
read:
    movw $INDEX, %dx
    outw %ax, %dx
    incw %dx
    inw %dx, %ax
    ret

# Writes CX to Bochs display register AL; clobbers AX and DX.
write:
    movw $INDEX, %dx
    outw %ax, %dx
    incw %dx
    movw %cx, %ax
    outw %ax, %dx
    ret

# Function 4F05h, window control: BH=0 sets the bank to DX, BH=1 returns it in DX.
set_window:
    pushl %ecx
    cmpb $0, %bl
    jne 8f
    cmpb $1, %bh
    je 1f
    ja 8f
    movw %dx, %cx
    pushl %edx
    movw $MEMORY, %ax
    call read
    popl %edx
    cmpw %ax, %cx
    jae 8f
    pushl %edx
    movw $BANK, %ax
    call write
    popl %edx
    jmp 9f
1:  movw $BANK, %ax
    call read
    movzwl %ax, %edx
9:  popl %ecx
    movw $0x004f, %ax
    ret
8:  popl %ecx
    movw $0x014f, %ax
    ret

# Function 4F07h with BL=00h or 80h, display start: DX:CX is the address of the first pixel in units of four bytes, in
# planar modes in units of one byte.
set_start:
    pushl %ebx
    pushl %ecx
    pushl %edx
    pushl %esi
    pushl %edi
    testb $0x7f, %bl
    jne 7f
    movzwl %cx, %esi
    shll $16, %edx
    orl %edx, %esi              # start address
    movw $BPP, %ax
    call read
    movzwl %ax, %ebx            # bits per pixel
    movw $VIRT_WIDTH, %ax
    call read
    movzwl %ax, %eax
    cmpl $4, %ebx
    je 1f
    shll $2, %esi
    addl $7, %ebx
    shrl $3, %ebx               # bytes per pixel
    imull %ebx, %eax
    jmp 2f
1:  shrl $3, %eax
2:  movl %eax, %edi             # bytes per scan line
    testl %edi, %edi
    je 7f
    movl %esi, %eax
    xorl %edx, %edx
    divl %edi
    cmpl $0xffff, %eax
    ja 7f
    pushl %eax                  # first scan line
    movl %edx, %eax
    cmpl $4, %ebx
    jne 3f
    # EBX is 4 in planar modes (4 bits per pixel) and at 32 bits per pixel (4 bytes): the BPP register tells them apart.
    pushl %eax
    movw $BPP, %ax
    call read
    cmpw $4, %ax
    popl %eax
    jne 3f
    shll $3, %eax
    jmp 4f
3:  xorl %edx, %edx
    divl %ebx
4:  movl %eax, %ecx
    movw $X_OFFSET, %ax
    call write
    popl %ecx
    movw $Y_OFFSET, %ax
    call write
    movw $0x004f, %ax
    jmp 6f
7:  movw $0x014f, %ax
6:  popl %edi
    popl %esi
    popl %edx
    popl %ecx
    popl %ebx
    ret

# Function 4F09h with BL=00h or 80h, set palette data: CX entries at ES:EDI, the first one for DAC register DX.
set_palette:
    pushl %ecx
    pushl %edx
    pushl %edi
    testb $0x7f, %bl
    jne 8f
    movzwl %cx, %ecx
    movzwl %dx, %eax
    addl %ecx, %eax
    cmpl $256, %eax
    ja 8f
    movb %dl, %al
    movw $DAC_WRITE, %dx
    outb %al, %dx
    incw %dx
    jecxz 2f
1:  movb %es:2(%edi), %al
    outb %al, %dx
    movb %es:1(%edi), %al
    outb %al, %dx
    movb %es:(%edi), %al
    outb %al, %dx
    addl $4, %edi
    loop 1b
2:  movw $0x004f, %ax
    jmp 9f
8:  movw $0x014f, %ax
9:  popl %edi
    popl %edx
    popl %ecx
    ret

    .set protected_mode_size, . - protected_mode
