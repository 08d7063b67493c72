//! Debian 12 installer on a CD, started by isolinux, on the serial console.
//!
//! Kernel, initial RAM disk and boot loader are Debian's files, unchanged. A second RAM disk adds the modules for
//! pcvm's disk controller, which the network installer lacks, and a start-up script that reports on the hardware and
//! powers the machine off some seconds after the installer's first question.

use std::fs;
use std::path::PathBuf;

use crate::debian::{Apt, Arch};
use crate::{Error, cache::cached, file_error, shell};

/// Start-up script: reports on the hardware before the installer's screens, and powers the machine off.
const REPORT: &str = include_str!("installer-report.sh");

/// isolinux configuration: kernel messages from warnings up appear on the console.
const ISOLINUX_CFG: &str = "serial 0 115200
default installer
prompt 0
timeout 1
label installer
  kernel /linux
  initrd /initrd.gz,/report.gz
  append console=ttyS0,115200n8 loglevel=5 DEBIAN_FRONTEND=text TERM=dumb
";

/// Drivers for pcvm's disks and CD-ROMs and their dependencies, as far as the installer lacks them.
const MODULES: [&str; 6] = [
    "drivers/ata/libata",
    "drivers/ata/ata_piix",
    "drivers/cdrom/cdrom",
    "drivers/scsi/sr_mod",
    "drivers/scsi/scsi_mod",
    "fs/isofs/isofs",
];

/// Printed at the end of the report, before the installer starts.
pub const REPORT_END: &str = "==== end of report";
/// Text of the installer's first question on its text front end.
pub const FIRST_SCREEN: &str = "Select a language";

/// The CD, and its files for a boot without the CD.
pub struct Installer {
    /// The CD image.
    pub iso: PathBuf,
    /// The kernel.
    pub kernel: PathBuf,
    /// Both initial RAM disks, concatenated.
    pub initrd: PathBuf,
}

/// Kernel command line for a boot without boot loader.
pub const COMMAND_LINE: &str = "console=ttyS0,115200n8 loglevel=5 DEBIAN_FRONTEND=text TERM=dumb";

/// Builds the ISO and the files, and returns their paths.
pub fn make(arch: Arch) -> Result<Installer, Error> {
    let inputs = [REPORT, ISOLINUX_CFG, include_str!("installer.rs")].map(str::as_bytes);
    let dir = cached(&format!("installer-{}", arch.name()), &inputs, |dir| {
        let apt = Apt::new(arch)?;
        let package = format!("debian-installer-12-netboot-{}", arch.name());
        apt.unpack(&[&package, "isolinux", "syslinux-common"], &dir.join("packages"))?;
        let name = arch.name();
        shell(
            dir,
            &format!(
                "mkdir -p iso/isolinux report/lib/debian-installer-startup.d initrd
                 images=packages/usr/lib/debian-installer/images/12/{name}/text/debian-installer/{name}
                 cp $images/linux $images/initrd.gz iso/
                 cp packages/usr/lib/ISOLINUX/isolinux.bin packages/usr/lib/syslinux/modules/bios/ldlinux.c32 iso/isolinux/
                 gzip -dc iso/initrd.gz | (cd initrd && cpio --quiet -id 'lib/modules/*/modules.order' 'lib/modules/*/modules.dep')
                 ls initrd/lib/modules >version"
            ),
        )?;
        let version = fs::read_to_string(dir.join("version")).map_err(file_error(dir))?;
        let version = version.trim();
        // Take the modules from the kernel's package: the archive drops the installer's module packages at every new
        // kernel.
        apt.unpack(&[&format!("linux-image-{version}")], &dir.join("kernel"))?;
        for module in MODULES {
            shell(dir, &format!("cd kernel && cp --parents lib/modules/{version}/kernel/{module}.ko ../report/"))?;
        }

        let script = dir.join("report/lib/debian-installer-startup.d/S99report");
        fs::write(&script, REPORT).map_err(file_error(&script))?;
        let config = dir.join("iso/isolinux/isolinux.cfg");
        fs::write(&config, ISOLINUX_CFG).map_err(file_error(&config))?;
        shell(
            dir,
            "chmod +x report/lib/debian-installer-startup.d/S99report
             (cd report && find . | cpio --quiet -o -H newc | gzip -9) >iso/report.gz
             (cd iso && md5sum linux initrd.gz report.gz >sums)
             xorriso -as mkisofs -quiet -V PCVM -J -r -o installer.iso -b isolinux/isolinux.bin -c isolinux/boot.cat \\
               -no-emul-boot -boot-load-size 4 -boot-info-table iso
             mv iso/linux vmlinuz && cat iso/initrd.gz iso/report.gz >initrd.img
             rm -rf packages kernel report initrd iso version",
        )?;
        Ok(())
    })?;
    Ok(Installer { iso: dir.join("installer.iso"), kernel: dir.join("vmlinuz"), initrd: dir.join("initrd.img") })
}
