//! A CD with a Linux that has drivers for our network cards, asks for an address by DHCP, and is told what to do over TCP.

use std::fs;
use std::path::PathBuf;

use crate::debian::{Apt, Arch};
use crate::{Error, cache::cached, file_error, shell};

/// Debian's iPXE for an RTL8139 (package ipxe-qemu).
pub const IPXE: &str = "/usr/lib/ipxe/qemu/pxe-rtl8139.rom";

const INIT: &str = include_str!("net-init.sh");

/// Makes the CD and gives its path; its kernel and initial RAM disk, `vmlinuz` and `initrd.gz`, lie beside it.
pub fn iso() -> Result<PathBuf, Error> {
    let inputs = [INIT, include_str!("net.rs")].map(str::as_bytes);
    let dir = cached("net", &inputs, |dir| {
        let apt = Apt::new(Arch::Amd64)?;
        let kernel = apt.kernel()?;
        apt.unpack(&[&*kernel, "busybox-static", "isolinux", "syslinux-common"], &dir.join("packages"))?;
        let config = "default linux\nprompt 0\ntimeout 1\nlabel linux\n  kernel /vmlinuz\n  initrd /initrd.gz\n  \
                      append console=ttyS0,115200n8 loglevel=5 panic=-1\n";
        for (name, text) in [("init", INIT), ("isolinux.cfg", config)] {
            fs::write(dir.join(name), text).map_err(file_error(dir))?;
        }
        shell(
            dir,
            "version=$(basename packages/lib/modules/*)
             depmod -b packages $version
             mkdir -p initrd/{bin,proc,sys,dev,modules} iso/isolinux
             for module in 8139cp 8139too 8021q; do modprobe -d $PWD/packages -S $version --show-depends $module; done |
               sed -n 's/^insmod \\([^ ]*\\).*/\\1/p' | awk '!seen[$0]++' | while read -r module; do
                 cp $module initrd/modules/; basename $module >>initrd/modules/order
               done
             cp packages/bin/busybox initrd/bin/
             install -m 755 init initrd/init
             (cd initrd && find . | cpio --quiet -o -H newc | gzip -9) >iso/initrd.gz
             cp packages/boot/vmlinuz-* iso/vmlinuz
             cp packages/usr/lib/ISOLINUX/isolinux.bin packages/usr/lib/syslinux/modules/bios/ldlinux.c32 isolinux.cfg iso/isolinux/
             xorriso -as mkisofs -quiet -V NET -r -o net.iso -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot \\
               -boot-load-size 4 -boot-info-table iso
             mv iso/vmlinuz iso/initrd.gz .
             rm -rf packages initrd iso init isolinux.cfg",
        )?;
        Ok(())
    })?;
    Ok(dir.join("net.iso"))
}
