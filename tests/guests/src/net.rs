//! CD with a Linux for network tests: it has drivers for pcvm's NICs, gets an address by DHCP and accepts commands over
//! TCP.

use std::fs;
use std::path::PathBuf;

use crate::debian::{Apt, Arch};
use crate::{Error, cache::cached, file_error, shell};

/// Debian's iPXE ROM for the RTL8139 (package ipxe-qemu).
pub const IPXE: &str = "/usr/lib/ipxe/qemu/pxe-rtl8139.rom";

const INIT: &str = include_str!("net-init.sh");

/// Builds the CD and returns its path. Beside it are its kernel `vmlinuz`, its initial RAM disk `small.gz`, an initial
/// RAM disk with iperf3, `initrd.gz`, and `iperf.tar`: iperf3 with its libraries, to be started with
/// `iperf/ld-linux-x86-64.so.2 --library-path iperf iperf/iperf3`.
pub fn iso() -> Result<PathBuf, Error> {
    let inputs = [INIT, include_str!("net.rs")].map(str::as_bytes);
    let dir = cached("net", &inputs, |dir| {
        let apt = Apt::new(Arch::Amd64)?;
        let kernel = apt.kernel()?;
        apt.unpack(
            &[
                &*kernel,
                "busybox-static",
                "isolinux",
                "syslinux-common",
                "iperf3",
                "libiperf0",
                "libssl3",
                "libsctp1",
                "libc6",
            ],
            &dir.join("packages"),
        )?;
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
             take() { # LIST MODULE...: adds the modules and their dependencies
               list=$1; shift
               for module; do modprobe -d $PWD/packages -S $version --show-depends $module; done |
                 sed -n 's/^insmod \\([^ ]*\\).*/\\1/p' | awk '!seen[$0]++' | while read -r module; do
                   cp $module initrd/modules/; basename $module >>initrd/modules/$list
                 done
             }
             take order 8139cp 8139too 8021q
             take disk ata_piix sd_mod
             # Linux' 8139too ignores chips with revision 20h or later, which are 8139cp's. To run the same driver on
             # either chip, make a copy that accepts all: change its comparison with 1Fh to FFh. objcopy drops the
             # appended signature, which no longer matches.
             perl -0777 -pe '$n = s/\\x41\\x80\\xf8\\x1f/\\x41\\x80\\xf8\\xff/g; die \"8139too\" if $n != 1' initrd/modules/8139too.ko >any.ko
             objcopy any.ko initrd/modules/any8139too.ko
             cp packages/bin/busybox initrd/bin/
             install -m 755 init initrd/init
             (cd initrd && find . | cpio --quiet -o -H newc | gzip -9) >iso/initrd.gz
             # iperf3 with its libraries, for the guest and for a host without libraries.
             mkdir -p initrd/iperf iperf
             cp packages/usr/bin/iperf3 packages/lib/x86_64-linux-gnu/{ld-linux-x86-64.so.2,libc.so.6,libm.so.6} \\
               packages/usr/lib/x86_64-linux-gnu/{libcrypto.so.3,libiperf.so.0,libsctp.so.1} initrd/iperf/
             cp initrd/iperf/* iperf/
             tar -cf iperf.tar iperf
             (cd initrd && find . | cpio --quiet -o -H newc | gzip -9) >initrd.gz
             cp packages/boot/vmlinuz-* iso/vmlinuz
             cp packages/usr/lib/ISOLINUX/isolinux.bin packages/usr/lib/syslinux/modules/bios/ldlinux.c32 isolinux.cfg iso/isolinux/
             xorriso -as mkisofs -quiet -V NET -r -o net.iso -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot \\
               -boot-load-size 4 -boot-info-table iso
             mv iso/vmlinuz .
             mv iso/initrd.gz small.gz
             rm -rf packages initrd iso init isolinux.cfg iperf any.ko",
        )?;
        Ok(())
    })?;
    Ok(dir.join("net.iso"))
}
