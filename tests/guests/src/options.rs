//! CD with a small 32-bit Linux, started by GRUB with one of several command lines. Each exercises another interface by
//! which firmware describes the machine: ACPI, MP table, $PIR, PCI BIOS, APM.
//!
//! GRUB's `linux16` runs the kernel's real-mode code, which queries the BIOS for the memory map, the video mode and
//! APM. The menu waits for a digit on the keyboard. The guest reports on the serial port, prints `==== end` and then
//! powers the machine off, if the kernel found a way to.

use std::fs;
use std::path::PathBuf;

use crate::debian::{Apt, Arch};
use crate::{Error, cache::cached, file_error, grub_menu, shell};

const INIT: &str = include_str!("options-init.sh");

/// Kernel command lines, selected by their digits from 1 on.
pub const CHOICES: [&str; 6] =
    ["", "acpi=off", "acpi=off noapic", "acpi=off nolapic", "acpi=off pci=bios", "acpi=off pci=bios noapic apm=on"];

/// Builds the CD and returns its path.
pub fn iso() -> Result<PathBuf, Error> {
    let inputs = [INIT, include_str!("options.rs")].map(str::as_bytes);
    let dir = cached("options", &inputs, |dir| {
        let apt = Apt::new(Arch::I386)?;
        let kernel = apt.kernel()?;
        apt.unpack(&[&*kernel, "busybox-static", "grub-pc-bin"], &dir.join("packages"))?;
        let menu = grub_menu(&CHOICES, "console=ttyS0,115200n8 loglevel=4 panic=-1");
        for (name, text) in [("init", INIT), ("menu.cfg", &menu)] {
            fs::write(dir.join(name), text).map_err(file_error(dir))?;
        }
        shell(
            dir,
            "version=$(basename packages/lib/modules/*)
             depmod -b packages $version
             mkdir -p initrd/{bin,proc,sys,dev,modules,cd} iso/grub
             mv menu.cfg iso/grub/grub.cfg
             for module in ata_piix sd_mod sr_mod isofs apm; do
               modprobe -d $PWD/packages -S $version --show-depends $module || true
             done | sed -n 's/^insmod \\([^ ]*\\).*/\\1/p' | awk '!seen[$0]++' | while read -r module; do
               cp $module initrd/modules/
               name=$(basename $module)
               [ $name = apm.ko ] || echo $name >>initrd/modules/order
             done
             cp packages/bin/busybox initrd/bin/
             install -m 755 init initrd/init
             (cd initrd && find . | cpio --quiet -o -H newc | gzip -9) >iso/initrd.gz
             cp packages/boot/vmlinuz-* iso/vmlinuz
             (cd iso && md5sum vmlinuz initrd.gz >sums)
             grub=packages/usr/lib/grub/i386-pc
             grub-mkimage -d $grub -O i386-pc-eltorito -o iso/core.img -p /grub \\
               biosdisk iso9660 normal configfile linux16 boot test
             xorriso -as mkisofs -quiet -V OPTIONS -r -o options.iso -b core.img -c boot.cat -no-emul-boot \\
               -boot-load-size 4 -boot-info-table iso
             rm -rf packages initrd iso init",
        )?;
        Ok(())
    })?;
    Ok(dir.join("options.iso"))
}
