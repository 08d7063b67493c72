#!/bin/busybox sh
# Init of the guest that reads media made from a directory: it prints the checksums of all files by each kind of names.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
section() { echo "==== $*"; }
while read -r module; do insmod "/modules/$module"; done </modules/order
tries=0
while [ ! -b /dev/sr0 ] && [ $tries -lt 30 ]; do sleep 1; tries=$((tries + 1)); done
cd_with() {
  section "$1"
  if mount -t iso9660 -o "ro$2" /dev/sr0 /medium; then
    (cd /medium && find . ! -type d ! -type l -exec md5sum {} + && find . -type l -exec ls -ld {} \; && ls -ln)
    umount /medium
  fi
}
cd_with "Rock Ridge" ""
cd_with "Joliet" ",norock,iocharset=utf8"
cd_with "level 1" ",norock,nojoliet,map=off"
section "sequential read"
dd if=/dev/sr0 of=/dev/null bs=64k
if insmod /modules/floppy.ko 2>/dev/null && [ -b /dev/fd0 ]; then
  section "floppy"
  mount -t vfat -o utf8 /dev/fd0 /medium && {
    (cd /medium && find . -type f -exec md5sum {} +)
    echo "written by the guest" >"/medium/A new file.txt" && rm -f /medium/remove && sync
    umount /medium
  }
fi
section "errors"
dmesg | grep -iE 'I/O error|isofs:|fat-fs'
section end
poweroff -f
