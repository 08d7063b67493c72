# fdformat, a static Linux program: formats the 1.44 MB disk in /dev/fd1u1440 track by track (FDFMTBEG, FDFMTTRK and
# FDFMTEND of linux/fd.h). The exit status is 0, or 1 after an error.
        .globl _start
        .text
_start:
        movl $2, %eax                   # open
        leaq path(%rip), %rdi
        movl $2, %esi                   # O_RDWR
        syscall
        testq %rax, %rax
        js fail
        movq %rax, %rbx
        movl $0x247, %esi               # FDFMTBEG
        xorl %edx, %edx
        call control
next:
        movl $0x400c0248, %esi          # FDFMTTRK
        leaq track(%rip), %rdx
        call control
        xorl $1, head(%rip)
        jnz next
        incl cylinder(%rip)
        cmpl $80, cylinder(%rip)
        jb next
        movl $0x249, %esi               # FDFMTEND
        xorl %edx, %edx
        call control
        xorl %edi, %edi
        jmp leave
control:
        movl $16, %eax                  # ioctl
        movq %rbx, %rdi
        syscall
        testq %rax, %rax
        js fail
        ret
fail:
        movl $1, %edi
leave:
        movl $60, %eax                  # exit
        syscall
        .data
path:   .asciz "/dev/fd1u1440"
        .balign 4
track:  .long 0                         # struct format_descr: device, head, track
head:   .long 0
cylinder: .long 0
