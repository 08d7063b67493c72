//! Linux that mounts media which pcvm makes from a directory: a CD, and a floppy disk if there is one. It is started directly
//! as a kernel.

use crate::debian::{Apt, Arch};
use crate::{Error, cache::cached, file_error, shell};
use std::fs;
use std::path::PathBuf;

const INIT: &str = include_str!("folder-init.sh");

/// Builds the guest and returns the directory with `vmlinuz` and `initrd.gz`.
pub fn make() -> Result<PathBuf, Error> {
    let inputs = [INIT, include_str!("folder.rs")].map(str::as_bytes);
    cached("folder", &inputs, |dir| {
        let apt = Apt::new(Arch::Amd64)?;
        let kernel = apt.kernel()?;
        apt.unpack(&[&*kernel, "busybox-static"], &dir.join("packages"))?;
        fs::write(dir.join("init"), INIT).map_err(file_error(dir))?;
        shell(
            dir,
            "version=$(basename packages/lib/modules/*)
             depmod -b packages $version
             mkdir -p initrd/{bin,proc,sys,dev,modules,medium}
             for module in ata_piix sd_mod sr_mod isofs vfat nls_cp437 nls_utf8 nls_ascii nls_iso8859-1 floppy; do
               modprobe -d $PWD/packages -S $version --show-depends $module
             done | sed -n 's/^insmod \\([^ ]*\\).*/\\1/p' | awk '!seen[$0]++' | while read -r module; do
               cp $module initrd/modules/
               name=$(basename $module)
               [ $name = floppy.ko ] || echo $name >>initrd/modules/order
             done
             cp packages/bin/busybox initrd/bin/
             install -m 755 init initrd/init
             (cd initrd && find . | cpio --quiet -o -H newc | gzip -9) >initrd.gz
             cp packages/boot/vmlinuz-* vmlinuz
             rm -rf packages initrd init",
        )?;
        Ok(())
    })
}
