//! A small Linux with the driver `floppy`, mtools and fdformat, started by a kernel and an initrd, that runs the script
//! `answers.sh` on the floppy in drive A.

use std::fs;
use std::path::PathBuf;

use crate::debian::{Apt, Arch};
use crate::{Error, cache::cached, file_error, shell};

const INIT: &str = include_str!("floppies-init.sh");
const FDFORMAT: &str = include_str!("fdformat.s");

/// Builds the guest and returns the directory with `vmlinuz` and `initrd.gz`.
pub fn make() -> Result<PathBuf, Error> {
    let inputs = [INIT, FDFORMAT, include_str!("floppies.rs")].map(str::as_bytes);
    cached("floppies", &inputs, |dir| {
        let apt = Apt::new(Arch::Amd64)?;
        let kernel = apt.kernel()?;
        let packages = [&*kernel, "busybox-static", "libc6", "mtools"];
        apt.unpack(&packages, &dir.join("packages"))?;
        for (name, text) in [("init", INIT), ("fdformat.s", FDFORMAT)] {
            fs::write(dir.join(name), text).map_err(file_error(dir))?;
        }
        shell(
            dir,
            "version=$(basename packages/lib/modules/*)
             depmod -b packages $version
             mkdir -p initrd/{bin,proc,sys,dev,modules,etc,lib64,usr/lib,lib/x86_64-linux-gnu,usr/lib/x86_64-linux-gnu/gconv}
             for module in floppy vfat nls_cp437 nls_ascii nls_iso8859-1; do
               modprobe -d $PWD/packages -S $version --show-depends $module || true
             done | sed -n 's/^insmod \\([^ ]*\\).*/\\1/p' | awk '!seen[$0]++' | while read -r module; do
               cp $module initrd/modules/
               basename $module >>initrd/modules/order
             done
             cp packages/bin/busybox packages/usr/bin/mtools initrd/bin/
             as -o fdformat.o fdformat.s && ld -o initrd/bin/fdformat fdformat.o
             for applet in mformat mcopy mdir mtype minfo mdel; do ln -s mtools initrd/bin/$applet; done
             cp packages/lib/x86_64-linux-gnu/{libc.so.6,ld-linux-x86-64.so.2} initrd/lib/x86_64-linux-gnu/
             cp packages/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 initrd/lib64/
             # mtools converts names from code page 850.
             (cd packages/usr/lib/x86_64-linux-gnu/gconv && cp -r gconv-modules* IBM850.so IBM437.so \\
               $OLDPWD/initrd/usr/lib/x86_64-linux-gnu/gconv/)
             echo 'drive b: file=\"/dev/fd1\"' >initrd/etc/mtools.conf
             install -m 755 init initrd/init
             (cd initrd && find . | cpio --quiet -o -H newc | gzip -9) >initrd.gz
             cp packages/boot/vmlinuz-* vmlinuz
             rm -rf packages initrd init fdformat.*",
        )?;
        Ok(())
    })
}
