//! The Debian 12 installer on a CD, started by isolinux, talking on the serial port.
//!
//! Kernel, initial RAM disk and boot loader are Debian's own files, unchanged. A second RAM disk adds the modules of our
//! disk controller, which the network installer leaves out, and a start-up script that reports on the machine, then
//! switches it off a while after the installer has shown its first question.

use std::fs;
use std::path::PathBuf;

use crate::debian::{Apt, Arch};
use crate::{Error, cache::cached, file_error, shell};

/// Runs before the installer's own screens: looks at the hardware, and lets a watcher end the machine.
const REPORT: &str = include_str!("installer-report.sh");

/// What isolinux boots, with every kernel message from warnings up on the console as they come.
const ISOLINUX_CFG: &str = "serial 0 115200
default installer
prompt 0
timeout 1
label installer
  kernel /linux
  initrd /initrd.gz,/report.gz
  append console=ttyS0,115200n8 loglevel=5 DEBIAN_FRONTEND=text TERM=dumb
";

/// What drives our disks and CD-ROMs, with what it needs beyond the modules that the installer has.
const MODULES: [&str; 6] = [
    "drivers/ata/libata",
    "drivers/ata/ata_piix",
    "drivers/cdrom/cdrom",
    "drivers/scsi/sr_mod",
    "drivers/scsi/scsi_mod",
    "fs/isofs/isofs",
];

/// Printed by the report when it is done and the installer goes on.
pub const REPORT_END: &str = "==== end of report";
/// The installer's first question on its text front end.
pub const FIRST_SCREEN: &str = "Select a language";

/// What is on the CD, and the same without one.
pub struct Installer {
    /// The CD image.
    pub iso: PathBuf,
    /// The kernel.
    pub kernel: PathBuf,
    /// Both initial RAM disks in one.
    pub initrd: PathBuf,
}

/// The kernel's command line without a boot loader.
pub const COMMAND_LINE: &str = "console=ttyS0,115200n8 loglevel=5 DEBIAN_FRONTEND=text TERM=dumb";

/// Makes the ISO and the files, and gives their paths.
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
        // From the kernel's own package: the archive drops the installer's module packages at every new kernel.
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
