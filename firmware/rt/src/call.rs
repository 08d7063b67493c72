//! Calls of the BIOS by programs outside of it: boot programs and the kernel loader.

#![allow(unsafe_code, reason = "the call is assembly")]

use core::arch::global_asm;

// SAFETY: Rust code calls `rt_call` as `real.rs` declares it. Code, data and stack are in one segment. The function keeps
// the registers that the C calling convention preserves, and the segment registers.
global_asm!(
    r#"
.code16
# rt_call(regs, target, interrupt): calls the far pointer `target` with `regs`, as INT does (with the flags of `regs`)
# or as a far call. Stores the callee's registers and flags to `regs`.
.section .text.rt_call, "ax"
.globl rt_call
rt_call:
    pushl %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    movl 20(%esp), %ebx
    movl 24(%esp), %ecx
    movl 28(%esp), %edx
    pushl %ebx
    testl %edx, %edx
    jz 1f
    pushw 40(%ebx)
    cli
1:  pushw %cs
    pushw $2f
    pushl %ecx
    movw 0(%ebx), %gs
    movw 2(%ebx), %fs
    movw 4(%ebx), %es
    movl 8(%ebx), %edi
    movl 12(%ebx), %esi
    movl 16(%ebx), %ebp
    movl 28(%ebx), %edx
    movl 32(%ebx), %ecx
    movl 36(%ebx), %eax
    pushl 24(%ebx)
    pushw 6(%ebx)
    popw %ds
    popl %ebx
    lretw
2:  pushfw
    movzwl %sp, %esp
    cld
    sti
    pushl %ebx
    pushw %ds
    pushw %ss
    popw %ds
    movl 8(%esp), %ebx
    popw 6(%ebx)
    popl 24(%ebx)
    popw 40(%ebx)
    movw %gs, 0(%ebx)
    movw %fs, 2(%ebx)
    movw %es, 4(%ebx)
    movl %edi, 8(%ebx)
    movl %esi, 12(%ebx)
    movl %ebp, 16(%ebx)
    movl %edx, 28(%ebx)
    movl %ecx, 32(%ebx)
    movl %eax, 36(%ebx)
    addl $4, %esp
    pushw %ss
    popw %es
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
    retl
"#,
    options(att_syntax)
);
