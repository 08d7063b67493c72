//! Network servers for a host without libraries: Debian's dnsmasq (DHCP, TFTP, DNS) and passt with their libraries, in
//! a tree for `/`, and PXELINUX for network boot ROMs.

use std::path::PathBuf;

use crate::debian::{Apt, Arch};
use crate::{Error, cache::cached, shell};

/// Packages of dnsmasq, passt and their libraries.
const PROGRAMS: &[&str] = &[
    "dnsmasq-base",
    "passt",
    "libc6",
    "libcap2",
    "libdbus-1-3",
    "libgcrypt20",
    "libgmp10",
    "libgpg-error0",
    "libhogweed6",
    "libidn2-0",
    "libjansson4",
    "liblz4-1",
    "liblzma5",
    "libmnl0",
    "libnetfilter-conntrack3",
    "libnettle8",
    "libnfnetlink0",
    "libnftables1",
    "libnftnl11",
    "libsystemd0",
    "libunistring2",
    "libxtables12",
    "libzstd1",
];

/// Builds and returns a directory with `root.tar` (the programs), `pxelinux.0` and `ldlinux.c32`.
pub fn make() -> Result<PathBuf, Error> {
    cached("servers", &[include_bytes!("servers.rs")], |dir| {
        let apt = Apt::new(Arch::Amd64)?;
        apt.unpack(PROGRAMS, &dir.join("packages"))?;
        apt.unpack(&["pxelinux", "syslinux-common"], &dir.join("boot"))?;
        shell(
            dir,
            "cp boot/usr/lib/PXELINUX/pxelinux.0 boot/usr/lib/syslinux/modules/bios/ldlinux.c32 .
             mkdir -p root/lib64 root/usr/{bin,sbin} root/lib/x86_64-linux-gnu
             cp packages/usr/sbin/dnsmasq root/usr/sbin/
             cp packages/usr/bin/passt root/usr/bin/
             cp -L packages/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 root/lib64/
             # Under their sonames.
             for name in {dbus-1.so.3,idn2.so.0,netfilter_conntrack.so.3,nettle.so.8,hogweed.so.6,gmp.so.10,nftables.so.1,c.so.6} \\
                 {systemd.so.0,unistring.so.2,nfnetlink.so.0,mnl.so.0,nftnl.so.11,xtables.so.12,jansson.so.4,cap.so.2} \\
                 {gcrypt.so.20,lzma.so.5,zstd.so.1,lz4.so.1,gpg-error.so.0,m.so.6}; do
               cp -L $(find packages/lib packages/usr/lib -name lib$name -path '*/x86_64-linux-gnu/lib*') root/lib/x86_64-linux-gnu/
             done
             # Check that every library is found, and inside of root.
             for program in root/usr/bin/passt root/usr/sbin/dnsmasq; do
               root/lib64/ld-linux-x86-64.so.2 --inhibit-cache --library-path root/lib/x86_64-linux-gnu --list $program
             done | awk '/not found/ || (/=>/ && $3 !~ /^root/) { print; wrong = 1 } END { exit wrong }'
             tar -cf root.tar -C root .
             rm -rf packages boot root",
        )?;
        Ok(())
    })
}
