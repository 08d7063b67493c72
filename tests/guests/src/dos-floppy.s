# Two DOS programs for floppies.
#
# FORM.COM formats the 1.44 MB disk in drive B with the BIOS: media type (INT 13h AH=18h), each track (AH=05h), verification
# (AH=04h), then the boot sector, FATs and root directory of an empty FAT12 file system.
#
# SAME.COM FILE1 FILE2 compares two files by DOS and prints whether they are the same.
        .section .rodata.pcvm_dos_floppy, "a"
        .code16

        .globl pcvm_dos_form_start
pcvm_dos_form_start:
        .set form_base, pcvm_dos_form_start - 0x100
        cld
        movw $0x1801, %ax               # media type: 80 cylinders, 18 sectors
        movw $0x4F12, %cx
        movw $0x0001, %dx
        int $0x13
        jc form_failed
        pushw %ds
        pushw %es
        popw %ds
        movw %di, %dx
        movw $0x251E, %ax               # its parameter table becomes that of INT 1Eh
        int $0x21
        popw %ds
        pushw %ds
        popw %es

        # A buffer of 512 bytes that does not cross a 64 KiB boundary of physical memory.
        movw $0x1000, %bp
        movw %ds, %ax
        shlw $4, %ax
        addw %bp, %ax
        cmpw $0xFC00, %ax
        jb form_buffer
        addw $0x400, %bp
form_buffer:
        xorw %si, %si                   # track: cylinder * 2 + head
form_track:
        movw %si, %ax
        shrw $1, %ax
        movb %al, %ch                   # cylinder
        movw %si, %ax
        andb $1, %al
        movb %al, %dh                   # head
        movb $1, %dl
        movw %bp, %di
        movb $1, %cl
form_id:
        movb %ch, %al
        movb %dh, %ah
        stosw
        movb %cl, %al
        movb $2, %ah
        stosw
        incb %cl
        cmpb $18, %cl
        jbe form_id
        movw $0x0512, %ax
        movb $1, %cl
        movw %bp, %bx
        call form_disk
        movw $0x0412, %ax               # verify the 18 sectors
        call form_disk
        incw %si
        cmpw $160, %si
        jb form_track

        xorw %si, %si                   # sector of the system area
form_system:
        movw %bp, %di
        movw $256, %cx
        xorw %ax, %ax
        rep stosw
        movw %bp, %di
        testw %si, %si
        jnz form_fat
        pushw %si
        movw $form_boot - form_base, %si
        movw $form_boot_end - form_boot, %cx
        rep movsb
        popw %si
        movw $0xAA55, 510(%bp)
        jmp form_write
form_fat:
        cmpw $1, %si
        je form_first
        cmpw $10, %si
        jne form_write
form_first:
        movw $0xFFF0, (%bp)
        movb $0xFF, 2(%bp)
form_write:
        movw %si, %ax
        movw $0x0001, %dx
        cmpw $18, %ax
        jb form_side
        subw $18, %ax
        movb $1, %dh
form_side:
        incw %ax
        movb %al, %cl
        xorb %ch, %ch
        movw %bp, %bx
        movw $0x0301, %ax
        call form_disk
        incw %si
        cmpw $33, %si
        jb form_system
        movw $form_done - form_base, %dx
form_print:
        movb $9, %ah
        int $0x21
        movw $0x4C00, %ax
        int $0x21

# INT 13h with AX, up to three times.
form_disk:
        movw $3, %di
form_try:
        pushw %ax
        pushw %di
        pushw %cx
        pushw %dx
        int $0x13
        popw %dx
        popw %cx
        popw %di
        jnc form_good
        popw %ax
        decw %di
        jnz form_try
        popw %ax
form_failed:
        movw $form_error - form_base, %dx
        jmp form_print
form_good:
        popw %ax
        ret

form_done:      .ascii "drive B: 160 tracks formatted and verified\r\n$"
form_error:     .ascii "drive B: the BIOS reports an error\r\n$"
form_boot:
        .byte 0xEB, 0x3C, 0x90
        .ascii "PCVMTEST"
        .word 512
        .byte 1
        .word 1
        .byte 2
        .word 224, 2880
        .byte 0xF0
        .word 9, 18, 2
        .long 0, 0
        .byte 0, 0, 0x29
        .long 0x12345678
        .ascii "NO NAME    FAT12   "
        .byte 0xCD, 0x18
form_boot_end:
        .org pcvm_dos_form_start - pcvm_dos_form_start + 1024

        .globl pcvm_dos_same_start
pcvm_dos_same_start:
        .set same_base, pcvm_dos_same_start - 0x100
        cld
        movw $0x81, %si                 # command tail
        call same_open
        movw %ax, %bp                   # first file
        call same_open
        movw %ax, %di                   # second file
same_block:
        movw %bp, %bx
        movw $0x1000, %dx
        call same_read
        pushw %ax
        movw %di, %bx
        movw $0x3000, %dx
        call same_read
        popw %cx
        cmpw %ax, %cx
        jne same_differ
        jcxz same_end
        pushw %di
        movw $0x1000, %si
        movw $0x3000, %di
        repe cmpsb
        popw %di
        je same_block
same_differ:
        movw $same_no - same_base, %dx
        jmp same_print
same_end:
        movw $same_yes - same_base, %dx
        jmp same_print
same_failed:
        movw $same_error - same_base, %dx
same_print:
        movb $9, %ah
        int $0x21
        movw $0x4C00, %ax
        int $0x21

# Opens the file whose name is at SI, which moves past it.
same_open:
        lodsb
        cmpb $' ', %al
        je same_open
        decw %si
        movw %si, %dx
same_name:
        lodsb
        cmpb $' ', %al
        ja same_name
        movb $0, -1(%si)
        movw $0x3D00, %ax
        int $0x21
        jc same_failed
        ret

# Reads up to 8 KiB of file BX to DX.
same_read:
        movw $0x2000, %cx
        movb $0x3F, %ah
        int $0x21
        jc same_failed
        ret

same_yes:       .ascii "the files are the same\r\n$"
same_no:        .ascii "the files DIFFER\r\n$"
same_error:     .ascii "a file CANNOT BE READ\r\n$"
        .org pcvm_dos_same_start - pcvm_dos_form_start + 1024
