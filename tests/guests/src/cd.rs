//! Discs that a test changes while Linux runs: a CD that boots Linux and is the first disc of an installer, its further
//! discs, and a mixed disc of data and audio as a cue sheet.

use crate::debian::{Apt, Arch};
use crate::{Error, cache::cached, file_error, grub_menu, shell};
use std::fs;
use std::path::{Path, PathBuf};

const INIT: &str = include_str!("cd-init.sh");
const ON_EVENT: &str = include_str!("cd-event.sh");

/// Bytes of a raw sector.
const RAW: usize = 2352;
/// Sectors of each audio track: 8 s. cdparanoia rejects tracks shorter than 4 s.
const AUDIO: usize = 600;
/// Sectors of the pre-gap of the first audio track: 2 s.
const GAP: usize = 150;

/// The discs.
pub struct Discs {
    dir: PathBuf,
}

impl Discs {
    /// Downloads the packages and builds the discs.
    pub fn make() -> Result<Self, Error> {
        let inputs = [INIT, ON_EVENT, include_str!("cd.rs")].map(str::as_bytes);
        let dir = cached("cd", &inputs, |dir| {
            let apt = Apt::new(Arch::Amd64)?;
            let kernel = apt.kernel()?;
            let packages = [&*kernel, "busybox-static", "grub-pc-bin", "cdparanoia", "eject"];
            let libraries = ["libcdparanoia0", "libc6", "libmount1", "libblkid1", "libselinux1", "libpcre2-8-0"];
            apt.unpack(&[&packages[..], &libraries[..]].concat(), &dir.join("packages"))?;
            let menu =
                grub_menu(&[""], "console=ttyS0,115200n8 loglevel=4 panic=-1").replace("timeout=-1", "timeout=0");
            for (name, text) in [("init", INIT), ("on-event", ON_EVENT), ("menu.cfg", &menu)] {
                fs::write(dir.join(name), text).map_err(file_error(dir))?;
            }
            shell(dir, MAKE)?;
            mixed(dir)?;
            Ok(())
        })?;
        Ok(Self { dir })
    }

    /// Path of one of: `one.iso`, which boots Linux, `two.iso`, `three.iso`, `mixed.cue` and `mixed.bin`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The samples of the mixed disc's audio track 2 or 3.
    pub fn audio(&self, track: usize) -> Result<Vec<u8>, Error> {
        let path = self.path("mixed.bin");
        let bin = fs::read(&path).map_err(file_error(&path))?;
        let start = bin.len() - (4 - track) * AUDIO * RAW;
        Ok(bin[start..start + AUDIO * RAW].to_vec())
    }
}

const MAKE: &str = r#"
version=$(basename packages/lib/modules/*)
depmod -b packages $version
mkdir -p initrd/{bin,lib,lib64,proc,sys,dev,modules,cd} one/grub
mv menu.cfg one/grub/grub.cfg
for module in ata_piix sd_mod sr_mod isofs sg; do
  modprobe -d $PWD/packages -S $version --show-depends $module
done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' | while read -r module; do
  cp $module initrd/modules/
  basename $module >>initrd/modules/order
done
cp packages/bin/busybox packages/usr/bin/cdparanoia packages/usr/bin/eject initrd/bin/
for library in libcdda_interface.so.0 libcdda_paranoia.so.0 libmount.so.1 libblkid.so.1 libselinux.so.1 libpcre2-8.so.0 \
  libc.so.6 libm.so.6; do
  find packages -name "$library" -exec cp -L {} initrd/lib/ \;
done
find packages -name 'ld-linux-x86-64.so.2' -exec cp -L {} initrd/lib64/ \;
install -m 755 init initrd/init
install -m 755 on-event initrd/bin/on-event
(cd initrd && find . | cpio --quiet -o -H newc | gzip -9) >one/initrd.gz
cp packages/boot/vmlinuz-* one/vmlinuz
grub=packages/usr/lib/grub/i386-pc
grub-mkimage -d $grub -O i386-pc-eltorito -o one/core.img -p /grub biosdisk iso9660 normal configfile linux16 boot
size=1
for number in two three track; do
  mkdir $number
  head -c ${size}M </dev/urandom >$number/data
  size=$((size + 2))
done
for number in one two three track; do
  echo $number >$number/number
  (cd $number && find . -type f ! -name core.img ! -name sums | xargs md5sum >sums)
done
for number in two three track; do xorriso -as mkisofs -quiet -V $number -r -o $number.iso $number; done
xorriso -as mkisofs -quiet -V one -r -o one.iso -b core.img -c boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table one
rm -rf packages initrd one two three track init on-event
"#;

/// The mixed disc: the file system `track.iso` in raw sectors of mode 1, then two tracks of noise.
fn mixed(dir: &Path) -> Result<(), Error> {
    let iso = fs::read(dir.join("track.iso")).map_err(file_error(dir))?;
    let mut bin = Vec::new();
    for (user, lba) in iso.chunks(2048).zip(150_u32..) {
        let mut raw = [0_u8; RAW];
        raw[1..11].fill(0xff);
        let bcd = |n: u32| (n / 10 * 16 + n % 10) as u8;
        raw[12..16].copy_from_slice(&[bcd(lba / 4500), bcd(lba / 75 % 60), bcd(lba % 75), 1]);
        raw[16..16 + user.len()].copy_from_slice(user);
        bin.extend_from_slice(&raw);
    }
    let data = bin.len() / RAW;
    bin.resize(bin.len() + GAP * RAW, 0);
    let mut state = 0x2545_F491_u32;
    for _ in 0..2 * AUDIO * RAW / 2 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bin.extend_from_slice(&((state >> 20) as u16).to_le_bytes());
    }
    let msf = |sector: usize| format!("{:02}:{:02}:{:02}", sector / 4500, sector / 75 % 60, sector % 75);
    let (gap, second, third) = (msf(data), msf(data + GAP), msf(data + GAP + AUDIO));
    let cue = format!(
        "FILE \"mixed.bin\" BINARY\n  TRACK 01 MODE1/2352\n    INDEX 01 00:00:00\n  TRACK 02 AUDIO\n    INDEX 00 {gap}\n    \
         INDEX 01 {second}\n  TRACK 03 AUDIO\n    INDEX 01 {third}\n"
    );
    for (name, bytes) in [("mixed.bin", &bin[..]), ("mixed.cue", cue.as_bytes())] {
        fs::write(dir.join(name), bytes).map_err(file_error(dir))?;
    }
    Ok(())
}
