# Guest of benches/compare: a firmware image that repeats one operation and then resets the machine.
#
# The builder patches the operation and the number of iterations in below the reset vector. The drivers are minimal:
# they make the accesses that the hardware's documentation requires and no others, so that the measured time is the
# VMM's. '!' on COM1 reports a failure.
        .set    MEASURE, 0xFFE0         # byte: index into `table`
        .set    TRANSFER, 0xFFE2        # word: sectors per DMA command (1 to 128), RANDOM and WRITE
        .set    RANDOM, 0x4000          # at random places of the disk's first 64 MiB instead of one after another
        .set    WRITE, 0x8000           # WRITE DMA instead of READ DMA
        .set    ITERATIONS, 0xFFE4      # long: at least 1
        .set    BUFFER, 0x10000         # 64 KiB
        .set    PRD, 0x1000
        .set    SEED, 0x0FF0            # long: of the random places
        .set    SECTORS, 0x0FF4         # byte: sectors per DMA command
        .set    OPCODE, 0x0FF5          # byte: READ DMA, WRITE DMA or READ DMA EXT
        .set    TO_MEMORY, 0x0FF6       # byte: BMICX bit 3
        .set    AT_RANDOM, 0x0FF7       # byte: next places at random
        .set    BLOCK, 0x0FF8           # words per DRQ data block
        .set    DONE, 0x0FFC            # set by the IRQ 14 handler
        .set    EXT, 0x0FFE             # use 48-bit LBA
        .set    POLLED, 0x0FFA          # poll the bus master's status instead of IRQ 14
        .set    COMMAND, 0x1F7
        .set    CONTROL, 0x3F6
        .set    MASTER, 0xC000          # I/O base of the bus master registers (BMIBA)

        .section .rodata.pcvm_bench, "a"
        .code16
        .globl pcvm_bench_start
pcvm_bench_start:
        outb %al, $0xED                 # first instruction: a mark for the measuring host
        cli
        cld
        ljmp $0xF000, $(1f - pcvm_bench_start)
1:      xorw %ax, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        movw $0x0800, %sp
        movl %cs:ITERATIONS, %ebp
        movzbw %cs:MEASURE, %bx
        addw %bx, %bx
        call *%cs:table - pcvm_bench_start(%bx)
        jmp reset
failed: movw $0x3F8, %dx
        movb $'!', %al
        outb %al, %dx
reset:  movw $0xCF9, %dx                # PIIX3 reset control register (RC): hard reset
        movb $0x02, %al
        outb %al, %dx
        movb $0x06, %al
        outb %al, %dx
1:      hlt
        jmp 1b

table:  .word nothing - pcvm_bench_start
        .word port_out - pcvm_bench_start
        .word port_in - pcvm_bench_start
        .word dma_read - pcvm_bench_start
        .word write_multiple - pcvm_bench_start
        .word write_sectors - pcvm_bench_start
        .word read_multiple - pcvm_bench_start
        .word serial_polled - pcvm_bench_start
        .word serial_blind - pcvm_bench_start
        .word touch - pcvm_bench_start
        .word dma_read_ext - pcvm_bench_start
        .word dma_read_polled - pcvm_bench_start
        .word dma_sized - pcvm_bench_start
        .word cd_read - pcvm_bench_start
        .word floppy_read - pcvm_bench_start

nothing: ret

# Writes an unassigned port.
port_out:
        outb %al, $0xED
        decl %ebp
        jnz port_out
        ret

# Reads CMOS register D of the RTC.
port_in:
        movb $0x0D, %al
        outb %al, $0x70
1:      inb $0x71, %al
        decl %ebp
        jnz 1b
        ret

# Writes 16 pages, then halts without a reset.
touch:  movw $BUFFER >> 4, %ax
        movw %ax, %es
        xorw %di, %di
        movw $0x8000, %cx
        rep stosw
1:      hlt
        jmp 1b

# ---- COM1 ----

# 115200 8N1 with the FIFO on.
uart:   movw $0x3FB, %dx
        movb $0x83, %al
        outb %al, %dx
        movw $0x3F8, %dx
        movb $1, %al
        outb %al, %dx
        incw %dx
        xorb %al, %al
        outb %al, %dx
        incw %dx
        movb $7, %al
        outb %al, %dx
        incw %dx
        movb $3, %al
        outb %al, %dx
        ret

# Sends one byte per iteration when the transmitter is ready (LSR.THRE).
serial_polled:
        call uart
1:      movw $0x3FD, %dx
2:      inb %dx, %al
        testb $0x20, %al
        jz 2b
        movw $0x3F8, %dx
        movb $'.', %al
        outb %al, %dx
        decl %ebp
        jnz 1b
        ret

# Sends one byte per iteration without polling the LSR.
serial_blind:
        call uart
        movw $0x3F8, %dx
        movb $'.', %al
1:      outb %al, %dx
        decl %ebp
        jnz 1b
        ret

# ---- IDE: drive 0 of the primary channel ----

# Firmware's setup: enables I/O decoding and bus mastering (PCICMD), sets BMIBA, enables the primary channel (IDETIM).
ide_setup:
        movl $0x80000904, %eax
        movl $0x00000005, %ecx
        call config
        movl $0x80000920, %eax
        movl $MASTER | 1, %ecx
        call config
        movl $0x80000940, %eax
        movl $0x80008000, %ecx
        call config
        movw $CONTROL, %dx              # nIEN: no interrupts
        movb $0x02, %al
        outb %al, %dx
        jmp wait_ready
config: movw $0xCF8, %dx
        outl %eax, %dx
        movw $0xCFC, %dx
        movl %ecx, %eax
        outl %eax, %dx
        ret

# Waits for BSY=0; returns the status in AL. ERR or DF ends the run.
wait_ready:
        movw $COMMAND, %dx
1:      inb %dx, %al
        testb $0x80, %al
        jnz 1b
        testb $0x21, %al
        jnz failed
        ret

# Waits for DRQ.
wait_drq:
        call wait_ready
        testb $0x08, %al
        jz wait_drq
        ret

# Writes the task file: AL sectors from LBA ESI.
task_file:
        movw $0x1F2, %dx
        outb %al, %dx
        incw %dx
        movl %esi, %eax
        outb %al, %dx
        incw %dx
        shrl $8, %eax
        outb %al, %dx
        incw %dx
        shrl $8, %eax
        outb %al, %dx
        incw %dx
        movb $0xE0, %al
        outb %al, %dx
        ret

# READ DMA and READ DMA EXT: 4 KiB per iteration, sequentially from the first 64 MiB, waiting for IRQ 14 in HLT. The
# polled variant waits for the bus master's interrupt bit instead, as boot loaders do. The sized variant makes the transfers
# that TRANSFER names.
dma_read_polled:
        call dma_defaults
        movb $1, POLLED
        call ide_setup
        jmp dma_common
dma_read_ext:
        call dma_defaults
        movb $1, EXT
        movb $0x25, OPCODE
        jmp dma_interrupts
dma_sized:
        call dma_defaults
        movw %cs:TRANSFER, %ax
        movb %al, SECTORS
        testw $WRITE, %ax
        jz 1f
        movb $0xCA, OPCODE
        movb $0x00, TO_MEMORY
1:      testw $RANDOM, %ax
        jz dma_interrupts
        movb $1, AT_RANDOM
        jmp dma_interrupts
dma_defaults:
        movb $0, EXT
        movb $0, POLLED
        movb $8, SECTORS
        movb $0xC8, OPCODE
        movb $0x08, TO_MEMORY
        movb $0, AT_RANDOM
        movl $1, SEED
        ret
dma_read:
        call dma_defaults
dma_interrupts:
        call ide_setup
        movl $0x1B, %ecx                # disable the local APIC: the PIC's INTR reaches the CPU
        rdmsr
        andl $0xFFFFF7FF, %eax
        wrmsr
        movw $pic - pcvm_bench_start, %si
        movw $(pic_end - pic) / 2, %cx
        xorb %dh, %dh
1:      movb %cs:(%si), %dl
        movb %cs:1(%si), %al
        outb %al, %dx
        addw $2, %si
        loop 1b
        movw $irq - pcvm_bench_start, 0x76 * 4
        movw $0xF000, 0x76 * 4 + 2
dma_common:
        movl $BUFFER, PRD
        movzbl SECTORS, %eax            # 128 sectors are a count of 0
        shll $9, %eax
        movzwl %ax, %eax
        orl $0x80000000, %eax
        movl %eax, PRD + 4
        movw $CONTROL, %dx
        xorb %al, %al
        outb %al, %dx
        xorl %esi, %esi
1:      movb $0, DONE
        cmpb $0, EXT
        je 2f
        movw $0x1F1, %dx                # the high order bytes first
        xorb %al, %al
        outb %al, %dx
        outb %al, %dx
        incw %dx
        outb %al, %dx
        incw %dx
        movl %esi, %eax
        shrl $24, %eax
        outb %al, %dx
        incw %dx
        xorb %al, %al
        outb %al, %dx
        incw %dx
        outb %al, %dx
2:      movb SECTORS, %al
        call task_file
        movw $MASTER + 4, %dx
        movl $PRD, %eax
        outl %eax, %dx
        movw $MASTER + 2, %dx           # BMISX: clear error and interrupt, drive 0 DMA capable
        movb $0x26, %al
        outb %al, %dx
        movw $MASTER, %dx               # BMICX: the direction
        movb TO_MEMORY, %al
        outb %al, %dx
        movw $COMMAND, %dx
        movb OPCODE, %al
        outb %al, %dx
        movw $MASTER, %dx               # BMICX: start
        movb TO_MEMORY, %al
        orb $0x01, %al
        outb %al, %dx
        cmpb $0, POLLED
        je 2f
        movw $MASTER + 2, %dx
4:      inb %dx, %al
        testb $0x04, %al
        jz 4b
        jmp 5f
2:      cli
        cmpb $0, DONE
        jne 3f
        sti
        hlt
        jmp 2b
3:      movw $MASTER + 2, %dx           # BMISX: IRQ 14 must be from this channel
        inb %dx, %al
        testb $0x04, %al
        jz failed
5:      movw $MASTER, %dx               # BMICX: stop
        movb TO_MEMORY, %al
        outb %al, %dx
        movw $COMMAND, %dx
        inb %dx, %al
        testb $0xA9, %al
        jnz failed
        cmpb $0, AT_RANDOM
        jne 6f
        movzbl SECTORS, %eax
        addl %eax, %esi
        jmp 7f
6:      imull $1664525, SEED, %eax      # Numerical Recipes' generator
        addl $1013904223, %eax
        movl %eax, SEED
        shrl $8, %eax
        movzbl SECTORS, %ecx            # a multiple of the transfer's size, which is a power of two
        negl %ecx
        andl %ecx, %eax
        movl %eax, %esi
7:      andl $0x1FFFF, %esi
        decl %ebp
        jnz 1b
        ret

# READ (10) of 32 blocks of 2 KiB by DMA from the CD-ROM drive at the primary channel's drive 0, sequentially, polling the
# status of the bus master.
cd_read:
        call ide_setup
        movl $BUFFER, PRD
        movl $0x80000000, PRD + 4       # 64 KiB
        movw $CONTROL, %dx
        xorb %al, %al
        outb %al, %dx
        movw $PACKET, %di               # TEST UNIT READY until the unit attention is reported
        movw $6, %cx
        xorw %ax, %ax
        rep stosw
1:      call cd_packet
        jc 1b
        xorl %esi, %esi
2:      movl $0x28, PACKET
        movl %esi, %eax
        bswap %eax
        movl %eax, PACKET + 2
        movw $0x2000, PACKET + 7        # 32 blocks, big endian
        movw $MASTER + 4, %dx
        movl $PRD, %eax
        outl %eax, %dx
        movw $MASTER + 2, %dx
        movb $0x26, %al
        outb %al, %dx
        movw $MASTER, %dx
        movb $0x08, %al
        outb %al, %dx
        call cd_packet_dma
        movw $MASTER, %dx
        movb $0x09, %al
        outb %al, %dx
        movw $MASTER + 2, %dx
3:      inb %dx, %al
        testb $0x04, %al
        jz 3b
        movw $MASTER, %dx
        movb $0x08, %al
        outb %al, %dx
        movw $COMMAND, %dx
        inb %dx, %al
        testb $0x89, %al
        jnz failed
        addl $32, %esi
        cmpl $4096, %esi
        jb 4f
        xorl %esi, %esi
4:      decl %ebp
        jnz 2b
        ret

# PACKET with the 12 bytes at PACKET. Carry: an error.
        .set    PACKET, 0x0FC0
cd_packet_dma:
        movb $1, %al
        jmp 1f
cd_packet: xorb %al, %al
1:      movw $0x1F1, %dx                # features: DMA
        outb %al, %dx
        movw $0x1F4, %dx                # byte count limit
        movb $0xFE, %al
        outb %al, %dx
        incw %dx
        outb %al, %dx
        incw %dx
        movb $0xA0, %al
        outb %al, %dx
        incw %dx
        outb %al, %dx                   # PACKET
2:      inb %dx, %al
        testb $0x80, %al
        jnz 2b
        testb $0x08, %al
        jz 2b
        pushl %esi
        movw $PACKET, %si
        movw $6, %cx
        movw $0x1F0, %dx
        rep outsw
        popl %esi
        cmpb $0x28, PACKET
        je 4f                           # the caller waits for the DMA
        movw $COMMAND, %dx
3:      inb %dx, %al
        testb $0x80, %al
        jnz 3b
        testb $0x01, %al
        jz 4f
        stc
        ret
4:      clc
        ret

# ---- Floppy: drive A:, a whole disk of 1.44 MB per iteration ----

# READ DATA of one track after another by DMA, with both heads of a cylinder in one command (MT), as drivers copy disks. The
# IRQs end HLT.
floppy_read:
        movl $0x1B, %ecx                # disable the local APIC: the PIC's INTR reaches the CPU
        rdmsr
        andl $0xFFFFF7FF, %eax
        wrmsr
        movw $pic - pcvm_bench_start, %si
        movw $(pic_end - pic) / 2, %cx
        xorb %dh, %dh
1:      movb %cs:(%si), %dl
        movb %cs:1(%si), %al
        outb %al, %dx
        addw $2, %si
        loop 1b
        movb $0xBF, %al                 # IRQ 6
        outb %al, $0x21
        movw $irq - pcvm_bench_start, 0x0E * 4
        movw $0xF000, 0x0E * 4 + 2
        movb $0, DONE
        movw $0x3F2, %dx                # DOR: reset, then drive 0 with motor, DMA and IRQ
        xorb %al, %al
        outb %al, %dx
        movb $0x1C, %al
        outb %al, %dx
        call floppy_irq
        movb $4, %cl                    # SENSE INTERRUPT for each drive
1:      pushw %cx
        movw $floppy_sense - pcvm_bench_start, %si
        call floppy_command
        popw %cx
        decb %cl
        jnz 1b
        movw $0x3F7, %dx                # CCR: 500 kbit/s
        xorb %al, %al
        outb %al, %dx
        movw $floppy_specify - pcvm_bench_start, %si
        call floppy_command
        movw $floppy_recalibrate - pcvm_bench_start, %si
        call floppy_seek
2:      xorb %bl, %bl                   # cylinder
3:      movl $0x000F03, FLOPPY          # 3 bytes: SEEK, head 0, the cylinder
        movb %bl, FLOPPY + 3
        movw $FLOPPY, %si
        call floppy_seek_here
        movb $0x06, %al                 # 8237: mask channel 2, single mode to memory, address and count
        outb %al, $0x0A
        movb $0x46, %al
        outb %al, $0x0B
        outb %al, $0x0C
        xorb %al, %al
        outb %al, $0x04
        outb %al, $0x04
        movb $BUFFER >> 16, %al
        outb %al, $0x81
        movb $0xFF, %al                 # 36 sectors
        outb %al, $0x05
        movb $0x47, %al
        outb %al, $0x05
        movb $0x02, %al
        outb %al, $0x0A
        movb $0, DONE
        movl $0x00E609, FLOPPY          # READ DATA: MT, MFM, SK; drive 0
        movb %bl, FLOPPY + 3
        movl $0x12020100, FLOPPY + 4    # head 0, sector 1, 512 bytes, 18 sectors on a track
        movw $0xFF1B, FLOPPY + 8
        movw $FLOPPY, %si
        pushw %bx
        call floppy_send
        call floppy_irq
        call floppy_results
        popw %bx
        testb $0xC0, FLOPPY + 16        # ST0: normal termination
        jnz failed
        incb %bl
        cmpb $80, %bl
        jb 3b
        decl %ebp
        jnz 2b
        ret
        .set    FLOPPY, 0x0F80          # a command, and 16 bytes later its results
floppy_sense:
        .byte 1, 0x08
floppy_specify:
        .byte 3, 0x03, 0xDF, 0x02
floppy_recalibrate:
        .byte 2, 0x07, 0x00

# SEEK or RECALIBRATE at CS:SI or DS:SI, and SENSE INTERRUPT.
floppy_seek:
        call floppy_copy
floppy_seek_here:
        movb $0, DONE
        call floppy_send
        call floppy_irq
        movw $floppy_sense - pcvm_bench_start, %si
# The command at CS:SI, which raises no IRQ, and its results.
floppy_command:
        call floppy_copy
        call floppy_send
        jmp floppy_results
floppy_copy:
        movw $FLOPPY, %di
        movw $8, %cx
1:      movb %cs:(%si), %al
        movb %al, (%di)
        incw %si
        incw %di
        loop 1b
        movw $FLOPPY, %si
        ret
# Sends the command at DS:SI: its length, then its bytes.
floppy_send:
        movb (%si), %cl
1:      incw %si
        call floppy_ready
        testb $0x40, %al
        jnz failed
        movw $0x3F5, %dx
        movb (%si), %al
        outb %al, %dx
        decb %cl
        jnz 1b
        ret
# Reads results until there are none.
floppy_results:
        movw $FLOPPY + 16, %di
1:      call floppy_ready
        testb $0x40, %al
        jz 2f
        movw $0x3F5, %dx
        inb %dx, %al
        movb %al, (%di)
        incw %di
        jmp 1b
2:      ret
# Waits for RQM; returns the main status register.
floppy_ready:
        movw $0x3F4, %dx
1:      inb %dx, %al
        testb $0x80, %al
        jz 1b
        ret
floppy_irq:
        cli
        cmpb $0, DONE
        jne 1f
        sti
        hlt
        jmp floppy_irq
1:      ret

irq:    movb $1, DONE
        pushw %ax
        movb $0x20, %al
        outb %al, $0xA0
        outb %al, $0x20
        popw %ax
        iretw

# PIC setup, port and value: vectors 08h and 70h, all masked but IRQ 2 and 14.
pic:    .byte 0x20, 0x11, 0x21, 0x08, 0x21, 0x04, 0x21, 0x01
        .byte 0xA0, 0x11, 0xA1, 0x70, 0xA1, 0x02, 0xA1, 0x01
        .byte 0x21, 0xFB, 0xA1, 0xBF
pic_end:

# Polled PIO, 64 KiB per iteration. BL is the command, BH the DRQ data blocks per iteration, BLOCK the words per block.
write_multiple:
        call multiple
        movw $0x08C5, %bx
        jmp write_pio
write_sectors:
        call ide_setup
        movw $256, BLOCK
        movw $0x8030, %bx
write_pio:
        movw $BUFFER >> 4, %ax
        movw %ax, %ds
1:      call iteration
        jnz 1b
        ret
iteration:
        pushw %bx
        xorl %esi, %esi
        movb $128, %al
        call task_file
        movw $COMMAND, %dx
        movb %bl, %al
        outb %al, %dx
1:      call wait_drq
        movw %ss:BLOCK, %cx
        movw $0x1F0, %dx
        rep outsw
        decb %bh
        jnz 1b
        call wait_ready
        popw %bx
        decl %ebp
        ret

read_multiple:
        call multiple
        movw $BUFFER >> 4, %ax
        movw %ax, %es
1:      xorl %esi, %esi
        xorw %di, %di
        movb $128, %al
        call task_file
        movw $COMMAND, %dx
        movb $0xC4, %al
        outb %al, %dx
        movb $8, %bh
2:      call wait_drq
        movw BLOCK, %cx
        movw $0x1F0, %dx
        rep insw
        decb %bh
        jnz 2b
        decl %ebp
        jnz 1b
        ret

# SET MULTIPLE MODE: 16 sectors.
multiple:
        call ide_setup
        movw $4096, BLOCK
        xorl %esi, %esi
        movb $16, %al
        call task_file
        movw $COMMAND, %dx
        movb $0xC6, %al
        outb %al, %dx
        jmp wait_ready
pcvm_bench_end:
        .org 2048
        .code64
        .text
