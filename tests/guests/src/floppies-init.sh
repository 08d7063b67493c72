#!/bin/busybox sh
# Init of the floppy guest: takes its orders from a file on the floppy in drive A, as an unattended installation does, and
# prints `==== end` when it has carried them out.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /tmp /mnt
section() { echo "==== $*"; }
# The seconds that a command takes.
seconds() {
  read -r before _ </proc/uptime
  "$@"
  read -r after _ </proc/uptime
  echo "$before $after" | awk '{ printf "took %.2f s\n", $2 - $1 }'
}
forget() { echo 3 >/proc/sys/vm/drop_caches; blockdev --flushbufs "$1"; }
section modules
while read -r module; do insmod "/modules/$module" || echo "insmod $module failed"; done </modules/order
tries=0
while [ ! -b /dev/fd0 ] && [ $tries -lt 20 ]; do sleep 1; tries=$((tries + 1)); done
[ -b /dev/fd1 ] || mknod /dev/fd1 b 2 1
[ -b /dev/fd1u1440 ] || mknod /dev/fd1u1440 b 2 29
grep floppy /proc/interrupts /proc/dma /proc/ioports
section answers
mount -t vfat -o ro /dev/fd0 /mnt && cp /mnt/answers.sh /tmp/ && umount /mnt
. /tmp/answers.sh
section dmesg
dmesg -r | grep -i -e floppy -e 'fd[01]' -e 'i/o error'
section end
poweroff -f
