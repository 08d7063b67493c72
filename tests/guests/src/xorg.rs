//! CD with a Linux that displays graphics: X.Org with VBE modes of the VGA BIOS (driver `vesa`) and with a kernel
//! driver (`modesetting` on bochs-drm, or on cirrus if that is the adapter, where X.Org's own driver `cirrus` draws too); the kernel's console in a VBE mode that `linux16` has set; X.Org with a USB
//! tablet and keyboard. GRUB's menu waits for a digit on the keyboard.

use std::fs;
use std::path::PathBuf;

use crate::debian::{Apt, Arch};
use crate::{Error, cache::cached, file_error, grub_menu, shell};

const INIT: &str = include_str!("xorg-init.sh");

/// Kernel command lines, selected by their digits from 1 on: X.Org from text mode; consoles of 1024x768 with 16 bpp and
/// 640x480 with 8 bpp; X.Org with USB.
pub const CHOICES: [&str; 4] = ["", "vga=791", "vga=769", "usb"];

const PACKAGES: [&str; 15] = [
    "busybox-static",
    "evtest",
    "grub-pc-bin",
    "xserver-xorg-core",
    "xserver-xorg-video-vesa",
    "xserver-xorg-video-cirrus",
    "xserver-xorg-input-evdev",
    "xkb-data",
    "x11-xkb-utils",
    "x11-xserver-utils",
    "x11-utils",
    "x11-apps",
    "xdotool",
    "read-edid",
    "libx86-1",
];

/// Libraries of the programs.
const LIBRARIES: &str = "libaudit1 libbrotli1 libbsd0 libbz2-1.0 libc6 libcap-ng0 libcap2 libdbus-1-3 libdrm2 libepoxy0 \
    libexpat1 libffi8 libfontenc1 libfreetype6 libgbm1 libgcrypt20 libgpg-error0 libice6 liblz4-1 liblzma5 libmd0 libmtdev1 \
    libevdev2 libpciaccess0 libpcre2-8-0 libpixman-1-0 libpng16-16 libselinux1 libsm6 libsystemd0 libudev1 libunwind8 \
    libuuid1 libwayland-server0 libx11-6 libx11-xcb1 libxau6 libxaw7 libxcb-damage0 libxcb-present0 libxcb-xfixes0 libxcb1 \
    libxcomposite1 libxcursor1 libxcvt0 libxdmcp6 libxext6 libxfixes3 libxfont2 libxi6 libxinerama1 libxkbfile1 libxmu6 \
    libxmuu1 libxpm4 libxrandr2 libxrender1 libxshmfence1 libxt6 libxtst6 libxxf86dga1 libxxf86vm1 libzstd1 zlib1g libnettle8 libxdo3 \
    libxkbcommon0";

/// Builds the CD and returns its path.
pub fn iso() -> Result<PathBuf, Error> {
    let inputs = [INIT, include_str!("xorg.rs")].map(str::as_bytes);
    let dir = cached("xorg", &inputs, |dir| {
        let apt = Apt::new(Arch::Amd64)?;
        let kernel = apt.kernel()?;
        let packages: Vec<&str> = [&*kernel].into_iter().chain(PACKAGES).chain(LIBRARIES.split_whitespace()).collect();
        apt.unpack(&packages, &dir.join("packages"))?;
        let menu = grub_menu(&CHOICES, "console=tty0 loglevel=4 panic=-1");
        for (name, text) in [("init", INIT), ("grub.cfg", &menu)] {
            fs::write(dir.join(name), text).map_err(file_error(dir))?;
        }
        shell(
            dir,
            "version=$(basename packages/lib/modules/*)
             depmod -b packages $version
             mkdir -p initrd/{bin,proc,sys,dev,etc,modules,lib,lib64,usr/bin,usr/lib/xorg,usr/share/X11,usr/lib/x86_64-linux-gnu} iso/grub
             order() {
               list=$1; shift
               for module in \"$@\"; do modprobe -d $PWD/packages -S $version --show-depends $module; done |
                 sed -n 's/^insmod \\([^ ]*\\).*/\\1/p' | awk '!seen[$0]++' | while read -r module; do
                   cp $module initrd/modules/; basename $module >>initrd/modules/$list.order
                 done
             }
             order input evdev psmouse atkbd
             order usb uhci-hcd usbhid hid-generic
             order bochs bochs
             order cirrus cirrus
             # Do not list modules again that the input list has loaded.
             for list in usb bochs cirrus; do
               grep -vxFf initrd/modules/input.order initrd/modules/$list.order >$list.order || true
               mv $list.order initrd/modules/$list.order
             done
             cp packages/bin/busybox initrd/bin/
             install -m 755 init initrd/init
             cp packages/usr/lib/xorg/Xorg initrd/usr/bin/Xorg
             cp -a packages/usr/lib/xorg/modules initrd/usr/lib/xorg/
             cp -a packages/usr/share/X11/xkb initrd/usr/share/X11/
             cp -L packages/usr/bin/{xdpyinfo,xsetroot,xeyes,xkbcomp} initrd/usr/bin/
             cp -L packages/usr/bin/{parse-edid,evtest,xdotool} initrd/usr/bin/
             cp -L $(find packages -name get-edid -type f | head -n 1) initrd/usr/bin/
             for from in packages/lib/x86_64-linux-gnu packages/usr/lib/x86_64-linux-gnu; do
               cp -L $from/*.so.[0-9]* initrd/lib/ 2>/dev/null || true
             done
             cp -L packages/lib64/ld-linux-x86-64.so.2 initrd/lib64/ 2>/dev/null ||
               cp -L packages/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 initrd/lib64/
             (cd initrd && find . | cpio --quiet -o -H newc | gzip -6) >iso/initrd.gz
             cp packages/boot/vmlinuz-* iso/vmlinuz
             cp grub.cfg iso/grub/
             grub=packages/usr/lib/grub/i386-pc
             grub-mkimage -d $grub -O i386-pc-eltorito -o iso/core.img -p /grub \\
               biosdisk iso9660 normal configfile linux16 boot test
             xorriso -as mkisofs -quiet -V XORG -r -o xorg.iso -b core.img -c boot.cat -no-emul-boot \\
               -boot-load-size 4 -boot-info-table iso
             rm -rf packages initrd iso init",
        )?;
        Ok(())
    })?;
    Ok(dir.join("xorg.iso"))
}
