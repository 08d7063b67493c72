//! Bootable media from Debian packages (GRUB rescue disks, memtest86+, iPXE) and CDs that exercise El Torito.

use std::fs;
use std::path::PathBuf;

use crate::debian::{Apt, Arch};
use crate::{Error, cache::cached, file_error, shell};

/// Directory of bootable media.
pub struct Media {
    dir: PathBuf,
}

impl Media {
    /// Downloads the packages and builds the media.
    pub fn make() -> Result<Self, Error> {
        let dir = cached("media", &[include_bytes!("media.rs"), CODE.as_bytes()], |dir| {
            let apt = Apt::new(Arch::Amd64)?;
            apt.unpack(
                &["grub-rescue-pc", "grub-pc-bin", "memtest86+", "ipxe", "isolinux", "syslinux-common"],
                &dir.join("packages"),
            )?;
            for (name, text) in [("isolinux.cfg", ISOLINUX_CFG), ("gfx.cfg", GFX_CFG), ("code.s", CODE)] {
                fs::write(dir.join(name), text).map_err(file_error(dir))?;
            }
            shell(dir, MAKE)?;
            Ok(())
        })?;
        Ok(Self { dir })
    }

    /// Path of one of: `grub-rescue-cdrom.iso`, `grub-rescue-floppy.img`, `memtest.iso`, `ipxe.iso`, `menu.iso`
    /// (isolinux with a menu), `gfx.iso` (GRUB in a VBE mode), `hard-disk.iso` (hard disk emulation), `several.iso` (a
    /// boot catalogue with several entries), `grub-floppy.iso` (GRUB's rescue floppy, emulated).
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// isolinux menu without timeout. A test selects an entry on the keyboard; the second one powers the machine off.
const ISOLINUX_CFG: &str = "prompt 0
timeout 0
ui menu.c32
menu title pcvm test menu
label first
  menu label The first entry
  localboot -1
label second
  menu label The second entry
  com32 poweroff.c32
";

/// GRUB in a VBE graphics mode: fills the screen with a colour and a terminal.
const GFX_CFG: &str = "loadfont /unicode.pf2
set gfxmode=800x600x32
insmod vbe
insmod gfxterm
terminal_output gfxterm
echo graphics
";

/// Boot sector that prints on COM1 a message, the drive number, the start of the second sector (read with INT 13h) and
/// the drive parameters of AH=08h, then calls INT 18h.
const CODE: &str = "
.code16
.globl _start
_start:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %ss
    movw $0x7c00, %sp
    sti
    movb %dl, drive
    movw $message, %si
    call text
    movb drive, %al
    call hex
    movw $0x0201, %ax
    movw $0x0002, %cx
    movb $0, %dh
    movb drive, %dl
    xorw %bx, %bx
    movw %bx, %es
    movw $0x8000, %bx
    int $0x13
    jc 1f
    movw $0x8000, %si
    call text
1:  movb $0x08, %ah
    movb drive, %dl
    int $0x13
    movb %ch, %al
    call hex
    movb %cl, %al
    call hex
    movb %dh, %al
    call hex
    movw $newline, %si
    call text
    int $0x18
2:  hlt
    jmp 2b
text:
    lodsb
    testb %al, %al
    jz 3f
    call put
    jmp text
3:  ret
hex:
    pushw %cx
    movb %al, %ch
    movb $4, %cl
    shrb %cl, %al
    call digit
    movb %ch, %al
    andb $15, %al
    call digit
    movb $32, %al
    call put
    popw %cx
    ret
digit:
    addb $48, %al
    cmpb $58, %al
    jb put
    addb $39, %al
put:
    pushw %dx
    movw $0x3f8, %dx
    outb %al, %dx
    popw %dx
    ret
drive: .byte 0
message: .asciz \"pcvm boot code, drive \"
newline: .asciz \"\\r\\n\"
. = _start + 446
# One partition: starts at sector 16, ends at cylinder 3, head 3, sector 16.
    .byte 0x80, 1, 1, 0, 6, 3, 16, 3
    .long 16, 240
. = _start + 510
    .word 0xaa55
    .asciz \"second sector \"
. = _start + 131072
";

const MAKE: &str = r#"
cp packages/usr/lib/grub-rescue/grub-rescue-cdrom.iso packages/usr/lib/grub-rescue/grub-rescue-floppy.img .
cp packages/usr/lib/memtest86+/memtest86+x64.iso memtest.iso
cp packages/usr/lib/ipxe/ipxe.iso .

modules=packages/usr/lib/syslinux/modules/bios
mkdir -p menu/isolinux
cp packages/usr/lib/ISOLINUX/isolinux.bin isolinux.cfg menu/isolinux/
cp $modules/ldlinux.c32 $modules/menu.c32 $modules/libutil.c32 $modules/libcom32.c32 $modules/poweroff.c32 menu/isolinux/
xorriso -as mkisofs -quiet -V MENU -o menu.iso -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot \
  -boot-load-size 4 -boot-info-table menu

grub=packages/usr/lib/grub/i386-pc
mkdir gfx
font=$(find packages /usr/share/grub -name unicode.pf2 2>/dev/null | head -1)
[ -n "$font" ] || font=$(find packages -name '*.pf2' | head -1)
cp "$font" gfx/unicode.pf2
grub-mkimage -d $grub -O i386-pc-eltorito -o gfx/core.img -p / -c gfx.cfg biosdisk iso9660 normal font vbe gfxterm video echo terminal
xorriso -as mkisofs -quiet -V GFX -o gfx.iso -b core.img -c boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table gfx

cc -m32 -c -o code.o code.s
ld -m elf_i386 -N -Ttext 0x7c00 --oformat binary -o code.bin code.o
mkdir cd
cp code.bin cd/disk.img
cp code.bin cd/floppy.img && truncate -s 1474560 cd/floppy.img
xorriso -as mkisofs -quiet -V DISK -o hard-disk.iso -b disk.img -c boot.cat -hard-disk-boot cd
xorriso -as mkisofs -quiet -V SEVERAL -o several.iso -b floppy.img -c boot.cat \
  -eltorito-alt-boot -b disk.img -hard-disk-boot cd
mkdir floppy
cp grub-rescue-floppy.img floppy/floppy.img && truncate -s 1474560 floppy/floppy.img
xorriso -as mkisofs -quiet -V FLOPPY -o grub-floppy.iso -b floppy.img -c boot.cat floppy
rm -rf packages menu gfx cd floppy code.* isolinux.cfg gfx.cfg
"#;
