//! ROM header, entry stubs and hardware access by machine instructions.

use core::arch::{asm, global_asm};
use vgabios::tables::{ROM_SEGMENT, TABLES, TABLES_OFFSET};
use vgabios::{Far, Hw, Regs, bda, far, stack};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached: with `panic=immediate-abort` the compiler emits no call of it.
    loop {}
}

/// The adapter is a Cirrus Logic CL-GD5446.
const CIRRUS: bool = cfg!(feature = "cirrus");

#[used]
#[unsafe(link_section = ".romdata")]
static ROM_TABLES: [u8; TABLES.len()] = TABLES;

// Expansion ROM header and PCI data structure: PCI Firmware Specification 3.0, section 5.1. Programs look for the
// string "IBM" at 1Eh, where the IBM VGA's ROM has it. `asm16 finish` sets sizes and checksum after linking.
global_asm!(
    r#"
    .section .header, "ax"
    .code16
    .globl start
start:
    .byte 0x55, 0xaa
    .byte 0                     # size in units of 512 bytes
    jmp init_entry
    .org 0x07
rom_checksum:
    .byte 0
    .org 0x18
    .word pci_data
    .word 0                     # no Plug and Play header
    .org 0x1e
    .ascii "IBM VGA Compatible BIOS of pcvm"
    .byte 0
    .balign 4
pci_data:
    .ascii "PCIR"
    .word {vendor}, {device}
    .word 0                     # no device list
    .word 24
    .byte 0                     # revision of this structure
    .byte 0, 0, 3               # class: VGA
    .word 0                     # size in units of 512 bytes
    .word 1                     # revision of the code
    .byte 0                     # code type: PC-AT
    .byte 0x80                  # last image
    .word 0
    # PCI address that POST passed in AX, stored while the ROM's shadow RAM is still writable.
    .globl rom_location
rom_location:
    .word 0
    .org 0x60

    .section .text.entry, "ax"
    .code16
init_entry:
    pushfw
    cld
    pushl %eax
    pushl %ecx
    pushl %edx
    pushl %ebx
    pushl %ebp
    pushl %esi
    pushl %edi
    pushw %ds
    pushw %es
    # Store AX and adjust the checksum so that the sum of all bytes stays 0.
    movw %cs:rom_location, %bx
    addb %bl, %cs:rom_checksum
    addb %bh, %cs:rom_checksum
    movw %ax, %cs:rom_location
    movw %cs:rom_location, %bx
    subb %bl, %cs:rom_checksum
    subb %bh, %cs:rom_checksum
    movl %esp, %ebp
    movzwl %sp, %ecx
    movl %ecx, %esp
    movw %ss, %ax
    movw %ax, %ds
    movw %ax, %es
    movw $int10_entry, %cx
    callw rust_init
    movl %ebp, %esp
    popw %es
    popw %ds
    popl %edi
    popl %esi
    popl %ebp
    popl %ebx
    popl %edx
    popl %ecx
    popl %eax
    popfw
    lretw

    # INT 10h on a stack of its own (`vgabios::stack`). The caller's stack takes 10 bytes beside the interrupt's frame:
    # DS, EBX, EAX. Interrupts stay disabled but in `let_interrupts_in`.
    .globl int10_entry
int10_entry:
    cli                         # a program that hooked the vector may chain here with IF set
    cld
    pushl %eax
    pushl %ebx
    pushw %ds
    xorw %ax, %ax
    movw %ax, %ds
    movw {EBDA}, %ax
    movw %ax, %ds
    cmpl ${MARK}, {MARK_AT}
    jne on_callers_stack
    movw ${BUSY}, %bx
1:  movb $1, %al
    xchgb %al, (%bx)            # one instruction: a multitasking V86 monitor may switch tasks at any other
    testb %al, %al
    jz 2f
    incw %bx
    cmpw ${BUSY} + {COUNT}, %bx
    jb 1b
    jmp on_callers_stack
2:  cmpb $1, (%bx)
    jne on_callers_stack        # not RAM
    movw %bx, %ax
    subw ${BUSY}, %ax
    imulw ${SIZE}, %ax, %ax
    addw ${FRAME}, %ax
    xchgw %ax, %bx
    movw %ax, {FRAME_BUSY}(%bx)
    movw %ss, {FRAME_SS}(%bx)
    movl %esp, {FRAME_ESP}(%bx)
    movw %ds, %ax
    movw %ax, %ss
    movzwl %bx, %esp
    movw {FRAME_ESP}(%bx), %ax
    movw {FRAME_SS}(%bx), %ds
    movw %ax, %bx
    # DS:BX is the caller's stack: DS, EBX, EAX, IP, CS, flags.
    pushl 6(%bx)
    pushl %ecx
    pushl %edx
    pushl 2(%bx)
    pushl %ebp
    pushl %esi
    pushl %edi
    pushw (%bx)
    pushw %es
    movw 14(%bx), %ax
    movw %ss, %bx
    movw %bx, %ds
    movw %bx, %es
    movl %esp, %ecx
    movw %ax, 32 + {FRAME_FLAGS}(%ecx)
    callw rust_int10
    popw %es
    popw %bx
    popl %edi
    popl %esi
    popl %ebp
    movw %sp, %bx
    movw 16 + {FRAME_ESP}(%bx), %ax
    movw 16 + {FRAME_SS}(%bx), %ds
    movw %ax, %bx
    popl 2(%bx)
    popl %edx
    popl %ecx
    popl 6(%bx)
    movw %ss, %ax
    movw %ax, %ds
    popl %ebx                   # FRAME_BUSY, FRAME_SS
    popl %eax                   # FRAME_ESP
    rorl $16, %ebx
    movw %bx, %ss
    movl %eax, %esp
    rorl $16, %ebx
    movb $0, (%bx)
    popw %ds
    popl %ebx
    popl %eax
    iretw

on_callers_stack:
    popw %ds
    popl %ebx
    popl %eax
    sti
    pushl %eax
    pushl %ecx
    pushl %edx
    pushl %ebx
    pushl %ebp
    pushl %esi
    pushl %edi
    pushw %ds
    pushw %es
    # The upper half of ESP is undefined in real mode: clear it, because Rust code addresses the stack by ESP.
    movl %esp, %ebp
    movzwl %sp, %ecx
    movl %ecx, %esp
    movw %ss, %ax
    movw %ax, %ds
    movw %ax, %es
    callw rust_int10
    movl %ebp, %esp
    popw %es
    popw %ds
    popl %edi
    popl %esi
    popl %ebp
    popl %ebx
    popl %edx
    popl %ecx
    popl %eax
    iretw

    # Lets pending interrupts in, on the caller's stack, if the caller has them enabled. Keeps all registers. On the
    # caller's stack they are enabled all the time.
let_interrupts_in:
    pushl %eax
    pushl %ebx
    xorw %ax, %ax
    movw %ax, %ds
    movw {EBDA}, %ax
    movw %ss, %bx
    movw %bx, %ds
    cmpw %ax, %bx
    jne 2f
    cmpl ${MARK}, {MARK_AT}
    jne 2f
    movw ${FRAME}, %bx
1:  cmpw %bx, %sp
    jb 1f
    addw ${SIZE}, %bx
    jmp 1b
1:  testb $2, {FRAME_FLAGS} + 1(%bx)
    jz 2f
    movw %sp, {FRAME_SP}(%bx)
    movl {FRAME_ESP}(%bx), %eax
    movw {FRAME_SS}(%bx), %ss
    movl %eax, %esp
    sti
    nop
    nop
    cli
    movw %ds, %ax
    movw %ax, %ss
    movzwl {FRAME_SP}(%bx), %esp
2:  popl %ebx
    popl %eax
    retw
"#,
    vendor = const if CIRRUS { 0x1013 } else { 0x1234 },
    device = const if CIRRUS { 0x00b8 } else { 0x1111 },
    EBDA = const bda::LINEAR_EBDA,
    MARK = const stack::MARK,
    MARK_AT = const stack::MARK_AT,
    BUSY = const stack::BUSY,
    COUNT = const stack::COUNT,
    SIZE = const stack::SIZE,
    FRAME = const stack::FIRST + stack::SIZE - FRAME_SIZE,
    FRAME_BUSY = const 0,
    FRAME_SS = const 2,
    FRAME_ESP = const 4,
    FRAME_SP = const 8,
    FRAME_FLAGS = const 10,
    options(att_syntax)
);

#[cfg(not(feature = "cirrus"))]
global_asm!(
    r#"
    .section .text.entry, "ax"
    .code16
    # WinFuncPtr, 4F05h by far call: BH=0 sets the bank to DX, BH=1 returns it in DX. Clobbers AX and DX, as VBE allows.
    .globl vbe_window
vbe_window:
    cmpb $1, %bh
    ja 2f
    cmpb $0, %bl
    jne 2f
    pushw %dx
    movw $0x1ce, %dx
    movw $5, %ax
    outw %ax, %dx
    incw %dx
    cmpb $0, %bh
    jne 1f
    popw %ax
    outw %ax, %dx
    movw $0x004f, %ax
    lretw
1:
    inw %dx, %ax
    movw %ax, %dx
    popw %ax
    movw $0x004f, %ax
    lretw
2:
    movw $0x014f, %ax
    lretw
"#,
    options(att_syntax)
);

// The same for the CL-GD5446: GR9 is the offset in units of 16 KiB.
#[cfg(feature = "cirrus")]
global_asm!(
    r#"
    .section .text.entry, "ax"
    .code16
    .globl vbe_window
vbe_window:
    cmpb $1, %bh
    ja 2f
    cmpb $0, %bl
    jne 2f
    cmpb $0, %bh
    jne 1f
    movb %dl, %ah
    addb %ah, %ah
    addb %ah, %ah
    movb $9, %al
    movw $0x3ce, %dx
    outw %ax, %dx
    movw $0x004f, %ax
    lretw
1:
    movw $0x3ce, %dx
    movb $9, %al
    outb %al, %dx
    incw %dx
    inb %dx, %al
    shrb $2, %al
    movb $0, %ah
    movw %ax, %dx
    movw $0x004f, %ax
    lretw
2:
    movw $0x014f, %ax
    lretw
"#,
    options(att_syntax)
);

/// Bytes at the top of an own stack: offset of its busy byte, the caller's SS and ESP, SP while interrupts run on the
/// caller's stack, the caller's flags.
const FRAME_SIZE: u16 = 12;

/// Hardware access by machine instructions in real or V86 mode.
struct RealModeHw;

// Each function leaves ES equal to SS, as compiled code expects.
impl Hw for RealModeHw {
    const CIRRUS: bool = CIRRUS;

    fn inb(&mut self, port: u16) -> u8 {
        let value: u8;
        // SAFETY: port I/O does not access Rust memory.
        unsafe { asm!("inb %dx, %al", in("dx") port, out("al") value, options(att_syntax, nostack, preserves_flags)) };
        value
    }

    fn outb(&mut self, port: u16, value: u8) {
        // SAFETY: as above.
        unsafe { asm!("outb %al, %dx", in("dx") port, in("al") value, options(att_syntax, nostack, preserves_flags)) };
    }

    fn inw(&mut self, port: u16) -> u16 {
        let value: u16;
        // SAFETY: as above.
        unsafe { asm!("inw %dx, %ax", in("dx") port, out("ax") value, options(att_syntax, nostack, preserves_flags)) };
        value
    }

    fn outw(&mut self, port: u16, value: u16) {
        // SAFETY: as above.
        unsafe { asm!("outw %ax, %dx", in("dx") port, in("ax") value, options(att_syntax, nostack, preserves_flags)) };
    }

    fn inl(&mut self, port: u16) -> u32 {
        let value: u32;
        // SAFETY: as above.
        unsafe {
            asm!("inl %dx, %eax", in("dx") port, out("eax") value, options(att_syntax, nostack, preserves_flags))
        };
        value
    }

    fn outl(&mut self, port: u16, value: u32) {
        // SAFETY: as above.
        unsafe {
            asm!("outl %eax, %dx", in("dx") port, in("eax") value, options(att_syntax, nostack, preserves_flags))
        };
    }

    #[inline(never)]
    fn read8(&mut self, at: Far) -> u8 {
        let value: u8;
        // SAFETY: reads memory outside of Rust's variables.
        unsafe {
            asm!("movw {seg:x}, %es", "movb %es:({off}), %al", "pushw %ss", "popw %es", seg = in(reg) at.seg,
                off = in(reg) u32::from(at.off), out("al") value, options(att_syntax, preserves_flags));
        }
        value
    }

    #[inline(never)]
    fn write8(&mut self, at: Far, value: u8) {
        // SAFETY: callers pass video memory, the BIOS data area, vectors or the caller's buffer; never this code's
        // stack.
        unsafe {
            asm!("movw {seg:x}, %es", "movb %al, %es:({off})", "pushw %ss", "popw %es", seg = in(reg) at.seg,
                off = in(reg) u32::from(at.off), in("al") value, options(att_syntax, preserves_flags));
        }
    }

    #[inline(never)]
    fn read16(&mut self, at: Far) -> u16 {
        let value: u16;
        // SAFETY: as `read8`.
        unsafe {
            asm!("movw {seg:x}, %es", "movw %es:({off}), %ax", "pushw %ss", "popw %es", seg = in(reg) at.seg,
                off = in(reg) u32::from(at.off), out("ax") value, options(att_syntax, preserves_flags));
        }
        value
    }

    #[inline(never)]
    fn write16(&mut self, at: Far, value: u16) {
        // SAFETY: as `write8`.
        unsafe {
            asm!("movw {seg:x}, %es", "movw %ax, %es:({off})", "pushw %ss", "popw %es", seg = in(reg) at.seg,
                off = in(reg) u32::from(at.off), in("ax") value, options(att_syntax, preserves_flags));
        }
    }

    #[inline(never)]
    fn copy(&mut self, to: Far, from: Far, len: u16) {
        // "rep" on a line of its own makes the assembler put F3h before the operand size prefix (see `tools/asm16.rs`).
        // SAFETY: as `write8`. ESI, which LLVM reserves, and DS are restored.
        unsafe {
            asm!("pushl %esi", "movw %dx, %es", "movw %ax, %ds", "movw %bx, %si", "movw %cx, %ax", "shrw $2, %cx",
                "rep", "movsl", "movw %ax, %cx", "andw $3, %cx", "rep movsb", "pushw %ss", "popw %ds", "pushw %ss",
                "popw %es", "popl %esi", inout("ax") from.seg => _, in("bx") from.off, inout("cx") len => _,
                in("dx") to.seg, inout("di") to.off => _, options(att_syntax));
        }
    }

    #[inline(never)]
    fn copy_bytes(&mut self, to: Far, from: Far, len: u16) {
        // SAFETY: as `copy`.
        unsafe {
            asm!("pushl %esi", "movw %dx, %es", "movw %ax, %ds", "movw %bx, %si", "rep movsb", "pushw %ss", "popw %ds",
                "pushw %ss", "popw %es", "popl %esi", in("ax") from.seg, in("bx") from.off, inout("cx") len => _,
                in("dx") to.seg, inout("di") to.off => _, options(att_syntax, preserves_flags));
        }
    }

    #[inline(never)]
    fn load(&mut self, to: &mut [u8], from: Far) {
        // SAFETY: writes the slice's length only; ES is SS, and the slice is on the stack.
        unsafe {
            asm!("pushl %esi", "movw %ax, %ds", "movw %bx, %si", "rep movsb", "pushw %ss", "popw %ds", "popl %esi",
                in("ax") from.seg, in("bx") from.off, inout("cx") to.len() as u16 => _,
                inout("edi") to.as_mut_ptr() => _, options(att_syntax, preserves_flags));
        }
    }

    #[inline(never)]
    fn store(&mut self, to: Far, from: &[u8]) {
        // SAFETY: as `write8`; DS is SS, and the slice is on the stack.
        unsafe {
            asm!("pushl %esi", "movw %dx, %es", "movl %eax, %esi", "rep movsb", "pushw %ss", "popw %es", "popl %esi",
                in("eax") from.as_ptr(), inout("cx") from.len() as u16 => _, in("dx") to.seg,
                inout("di") to.off => _, options(att_syntax, preserves_flags));
        }
    }

    #[inline(never)]
    fn fill(&mut self, to: Far, value: u32, len: u16) {
        // SAFETY: as `write8`.
        unsafe {
            asm!("movw %dx, %es", "movw %cx, %bx", "shrw $2, %cx", "rep", "stosl", "movw %bx, %cx", "shrw %cx",
                "andw $1, %cx", "rep stosw", "movw %bx, %cx", "andw $1, %cx", "rep stosb", "pushw %ss", "popw %es", inout("eax") value => _, out("bx") _, in("dx") to.seg,
                inout("cx") len => _, inout("di") to.off => _, options(att_syntax));
        }
    }

    #[inline(never)]
    fn let_interrupts_in(&mut self) {
        // SAFETY: keeps all registers but the flags. Interrupt handlers do not write to this code's stack.
        unsafe { asm!("callw let_interrupts_in", options(att_syntax)) };
    }

    fn tables(&self) -> Far {
        far(ROM_SEGMENT, TABLES_OFFSET)
    }

    #[inline(never)]
    fn table8(&self, at: u16) -> u8 {
        let value: u8;
        // SAFETY: reads the ROM.
        unsafe {
            asm!("movb %cs:({off}), %al", off = in(reg) u32::from(at) + u32::from(TABLES_OFFSET), out("al") value,
                options(att_syntax, nostack, preserves_flags, pure, readonly));
        }
        value
    }

    fn pci_address(&self) -> u16 {
        let value: u16;
        // SAFETY: reads the ROM.
        unsafe {
            asm!("movw %cs:rom_location, {:x}", out(reg) value, options(att_syntax, nostack, preserves_flags, readonly));
        }
        value
    }

    fn window_function(&self) -> Far {
        let offset: u16;
        // SAFETY: loads a constant.
        unsafe {
            asm!("movw $vbe_window, {:x}", out(reg) offset, options(att_syntax, nostack, preserves_flags, pure, nomem));
        }
        far(ROM_SEGMENT, offset)
    }

    fn protected_mode_interface(&self) -> (Far, u16) {
        let (offset, len): (u16, u16);
        // SAFETY: loads constants.
        unsafe {
            asm!("movw $protected_mode, {:x}", "movw $protected_mode_size, {:x}", out(reg) offset, out(reg) len,
                options(att_syntax, nostack, preserves_flags, pure, nomem));
        }
        (far(ROM_SEGMENT, offset), len)
    }
}

/// Called by `int10_entry`; `regs` are the caller's registers on the stack.
#[unsafe(no_mangle)]
extern "fastcall" fn rust_int10(regs: &mut Regs) {
    vgabios::int10::int10(&mut RealModeHw, regs);
}

/// Called by `init_entry` with the offset of `int10_entry`.
#[unsafe(no_mangle)]
extern "fastcall" fn rust_init(entry: u16) {
    vgabios::init::init(&mut RealModeHw, far(ROM_SEGMENT, entry));
}
