//! A small Linux with fio, started by a kernel and an initrd; fio and its libraries are on a CD. It runs fio's verifying job on
//! each of its hard disks, or writes files until it is killed.

use std::fs;
use std::path::PathBuf;

use crate::debian::{Apt, Arch};
use crate::{Error, cache::cached, file_error, shell};

const INIT: &str = include_str!("storage-init.sh");

/// Packages of fio's libraries: it is built with all of its I/O engines.
const LIBRARIES: &str = "libc6 libssl3 librados2 libicu72 zlib1g libzstd1 libxml2 libuuid1 libunistring2 libudev1 libtirpc3 \
    libtasn1-6 libstdc++6 libselinux1 librdmacm1 librbd1 libpmemblk1 libpmem1 libpcre2-8-0 libp11-kit0 libnuma1 \
    libnl-route-3-200 libnl-3-200 libnettle8 libndctl6 libnbd0 liblzma5 libkrb5support0 libkrb5-3 libkmod2 libkeyutils1 \
    libk5crypto3 libjson-c5 libidn2-0 libibverbs1 libhogweed6 libgssapi-krb5-2 libgnutls30 libgmp10 libglusterfs0 libgfxdr0 \
    libgfrpc0 libgfapi0 libgcc-s1 libfmt9 libffi8 libdevmapper1.02.1 libdaxctl1 libcryptsetup12 libcom-err2 libbz2-1.0 \
    libboost-thread1.74.0 libboost-iostreams1.74.0 libblkid1 libargon2-1 libaio1 libacl1";

/// Builds the guest and returns the directory with `vmlinuz`, `initrd.gz` and `fio.iso`.
pub fn make() -> Result<PathBuf, Error> {
    let inputs = [INIT, include_str!("storage.rs")].map(str::as_bytes);
    cached("storage", &inputs, |dir| {
        let apt = Apt::new(Arch::Amd64)?;
        let kernel = apt.kernel()?;
        let packages: Vec<_> = [&*kernel, "busybox-static", "fio"].into_iter().chain(LIBRARIES.split(' ')).collect();
        apt.unpack(&packages, &dir.join("packages"))?;
        fs::write(dir.join("init"), INIT).map_err(file_error(dir))?;
        shell(
            dir,
            "version=$(basename packages/lib/modules/*)
             depmod -b packages $version
             mkdir -p initrd/{bin,proc,sys,dev,modules,cd,mnt,lib64,usr/bin} cd/lib
             for module in ata_piix sd_mod sr_mod isofs crc32c_generic ext4; do modprobe -d $PWD/packages -S $version --show-depends $module; done |
               sed -n 's/^insmod \\([^ ]*\\).*/\\1/p' | awk '!seen[$0]++' | while read -r module; do
                 cp $module initrd/modules/; basename $module >>initrd/modules/order
               done
             cp packages/bin/busybox initrd/bin/
             install -m 755 init initrd/init
             cp packages/usr/bin/fio cd/
             for dir in packages/lib/x86_64-linux-gnu packages/usr/lib/x86_64-linux-gnu packages/usr/lib/x86_64-linux-gnu/ceph; do
               cp -L $dir/*.so.[0-9]* cd/lib/ 2>/dev/null || true
             done
             cp -L packages/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 cd/ld.so
             # Only the libraries that fio needs.
             used=$(cd/ld.so --inhibit-cache --library-path cd/lib --list cd/fio | sed -n 's/.*=> \\(cd[^ ]*\\).*/\\1/p')
             for library in cd/lib/*; do case \" $used \" in *$library*) ;; *) rm $library ;; esac; done
             xorriso -as mkisofs -quiet -R -o fio.iso cd
             (cd initrd && find . | cpio --quiet -o -H newc | gzip -9) >initrd.gz
             cp packages/boot/vmlinuz-* vmlinuz
             rm -rf packages initrd init cd",
        )?;
        Ok(())
    })
}
