//! Linux on an IDE hard disk, started by GRUB from the MBR.
//!
//! The disk has an MBR with GRUB's first stage, GRUB's core image behind it, a partition with an ext2 root file system
//! and a bare partition for data. The kernel is Debian's; the root has busybox, dmidecode, acpica-tools and pciutils.
//! The first boot writes 64 MiB with checksums and powers off; every later boot verifies them, reports on the hardware
//! and powers off.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::debian::{Apt, Arch};
use crate::{Error, cache::cached, file_error, shell};

/// Init of the initial RAM disk: loads the modules in order and switches to the root file system.
const EARLY_INIT: &str = include_str!("disk-early-init.sh");
/// Init of the root file system.
const INIT: &str = include_str!("disk-init.sh");

const GRUB_CFG: &str = "serial --unit=0 --speed=115200
terminal_output serial
set root=(hd0,msdos1)
linux /boot/vmlinuz console=ttyS0,115200n8 loglevel=5 panic=-1
initrd /boot/initrd.gz
boot
";
const GRUB_MODULES: &str = "biosdisk part_msdos ext2 normal configfile linux serial terminal boot";

/// Drivers of the disk and its file system.
const MODULES: &str = "ata_piix sd_mod ext4";

const SECTOR: u64 = 512;
/// Root partition: first sector and length.
const ROOT: (u32, u32) = (2048, 96 << 11);
/// Data partition: first sector and length.
const DATA: (u32, u32) = (ROOT.0 + ROOT.1, 72 << 11);

/// Offset of the partition table in the MBR.
const PARTITIONS: usize = 446;

/// Builds the disk image and returns its path; tests boot a copy.
pub fn image() -> Result<PathBuf, Error> {
    let inputs = [EARLY_INIT, INIT, GRUB_CFG, GRUB_MODULES, include_str!("disk.rs")].map(str::as_bytes);
    let dir = cached("disk", &inputs, |dir| {
        let apt = Apt::new(Arch::Amd64)?;
        let kernel = apt.kernel()?;
        let packages =
            [&*kernel, "busybox-static", "grub-pc-bin", "dmidecode", "acpica-tools", "pciutils", "pci.ids", "libc6"];
        let libraries = ["libpci3", "libkmod2", "libudev1", "zlib1g", "liblzma5", "libzstd1", "libssl3"];
        apt.unpack(&[&packages[..], &libraries[..]].concat(), &dir.join("packages"))?;
        for (name, text) in [("early-init", EARLY_INIT), ("init", INIT), ("grub.cfg", GRUB_CFG)] {
            fs::write(dir.join(name), text).map_err(file_error(dir))?;
        }
        shell(
            dir,
            &format!(
                "version=$(basename packages/lib/modules/*)
                 depmod -b packages $version
                 mkdir -p initrd/{{bin,proc,sys,dev,modules,root}}
                 for module in {MODULES}; do modprobe -d $PWD/packages -S $version --show-depends $module; done |
                   sed -n 's/^insmod \\([^ ]*\\).*/\\1/p' | awk '!seen[$0]++' | while read -r module; do
                     cp $module initrd/modules/; basename $module >>initrd/modules/order
                   done
                 cp packages/bin/busybox initrd/bin/
                 install -m 755 early-init initrd/init

                 mkdir -p root/{{bin,sbin,lib,lib64,boot/grub,proc,sys,dev,tmp,usr/share/misc,usr/lib}}
                 cp packages/bin/busybox root/bin/
                 cp packages/usr/sbin/dmidecode packages/usr/bin/{{acpidump,iasl,lspci}} root/bin/
                 cp -L packages/usr/share/misc/pci.ids root/usr/share/misc/
                 for dir in packages/lib/x86_64-linux-gnu packages/usr/lib/x86_64-linux-gnu; do
                   cp -L $dir/*.so.[0-9]* root/lib/ 2>/dev/null || true
                 done
                 cp -L packages/lib64/ld-linux-x86-64.so.2 root/lib64/ 2>/dev/null ||
                   cp -L packages/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 root/lib64/
                 install -m 755 init root/sbin/init
                 cp packages/boot/vmlinuz-* root/boot/vmlinuz
                 (cd initrd && find . | cpio --quiet -o -H newc | gzip -9) >root/boot/initrd.gz
                 cp grub.cfg root/boot/grub/

                 truncate -s {root_size} root.img
                 mke2fs -q -t ext2 -E root_owner=0:0 -d root root.img
                 grub=packages/usr/lib/grub/i386-pc
                 grub-mkimage -d $grub -O i386-pc -o core.img -p '(hd0,msdos1)/boot/grub' {GRUB_MODULES}
                 cp $grub/boot.img boot.img",
                root_size = u64::from(ROOT.1) * SECTOR,
            ),
        )?;
        assemble(dir)?;
        shell(dir, "rm -rf packages root initrd root.img core.img boot.img early-init init grub.cfg")?;
        Ok(())
    })?;
    Ok(dir.join("disk.img"))
}

/// A partition entry with LBA fields only; CHS fields are FE FF FF.
fn partition(active: bool, (start, length): (u32, u32)) -> [u8; 16] {
    let mut entry = [0; 16];
    entry[0] = if active { 0x80 } else { 0 };
    entry[1..4].copy_from_slice(&[0xFE, 0xFF, 0xFF]);
    entry[4] = 0x83;
    entry[5..8].copy_from_slice(&[0xFE, 0xFF, 0xFF]);
    entry[8..12].copy_from_slice(&start.to_le_bytes());
    entry[12..16].copy_from_slice(&length.to_le_bytes());
    entry
}

/// Assembles the disk: GRUB's first stage, as Debian ships it, loads the core image from sector 1.
fn assemble(dir: &Path) -> Result<(), Error> {
    let read = |name: &str| fs::read(dir.join(name)).map_err(file_error(dir.join(name)));
    let (mut mbr, core, root) = (read("boot.img")?, read("core.img")?, read("root.img")?);
    if mbr.len() != SECTOR as usize || core.len() as u64 > u64::from(ROOT.0 - 1) * SECTOR {
        return Err(Error::Unexpected("GRUB's images do not fit before the first partition".into()));
    }
    // In the first stage the partition table holds code for floppies: overwrite it.
    mbr[PARTITIONS..PARTITIONS + 64].fill(0);
    mbr[PARTITIONS..PARTITIONS + 16].copy_from_slice(&partition(true, ROOT));
    mbr[PARTITIONS + 16..PARTITIONS + 32].copy_from_slice(&partition(false, DATA));
    let path = dir.join("disk.img");
    let disk = File::create(&path).map_err(file_error(&path))?;
    disk.set_len(u64::from(DATA.0 + DATA.1) * SECTOR).map_err(file_error(&path))?;
    for (bytes, sector) in [(mbr, 0), (core, 1), (root, u64::from(ROOT.0))] {
        disk.write_all_at(&bytes, sector * SECTOR).map_err(file_error(&path))?;
    }
    Ok(())
}
