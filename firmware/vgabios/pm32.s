    .section .pmcode, "a"
    .globl protected_mode, protected_mode_size
protected_mode:
    .word 0
    .set protected_mode_size, . - protected_mode
    .section .note.GNU-stack, "", @progbits
