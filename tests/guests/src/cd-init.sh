#!/bin/busybox sh
# Init of the guest whose discs are changed. It reports each step on the serial port as `==== step`; the test changes the
# disc when a step asks for it.
export PATH=/bin LD_LIBRARY_PATH=/lib
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
section() { echo "==== $*"; }
while read -r module; do insmod "/modules/$module"; done </modules/order
tries=0
while [ ! -b /dev/sr0 ] && [ $tries -lt 30 ]; do sleep 1; tries=$((tries + 1)); done

# Waits for the disc with this number, mounts and reads it.
disc() {
  tries=0
  until mount -t iso9660 -o ro /dev/sr0 /cd 2>/dev/null && [ "$(cat /cd/number)" = $1 ]; do
    umount /cd 2>/dev/null
    tries=$((tries + 1))
    [ $tries -lt 120 ] || { section "disc $1 does not come"; dmesg | tail -n 20; poweroff -f; }
    sleep 1
  done
  (cd /cd && md5sum -c sums) && section "disc $1 is right"
}

# An installer of two discs.
disc one
umount /cd
section "insert disc two"
disc two

# The kernel locks the tray of a mounted disc and, when it polls, learns that the user wants the disc out.
echo 300 >/sys/block/sr0/events_poll_msecs
uevent /bin/on-event &
section "disc two is locked"
tries=0
until [ -e /ejected ] || [ $tries -gt 60 ]; do sleep 1; tries=$((tries + 1)); done
section "ejected at the host's request: $(cat /ejected)"

section "insert disc three"
disc three
section "take disc three away"
tries=0
until [ -e /changed ] || [ $tries -gt 60 ]; do sleep 1; tries=$((tries + 1)); done
section "the disc has changed: $(cat /changed)"
umount -l /cd
disc one
umount /cd
eject /dev/sr0 && section "ejected by the guest"

section "insert the mixed disc"
disc track
umount /cd
cdparanoia -d /dev/sr0 -Q 2>&1
section "ripping"
for track in 2 3; do
  cdparanoia -d /dev/sr0 -q -r $track /track$track.raw 2>&1 | tail -n 3
  section "track $track $(md5sum </track$track.raw)"
done
section "dmesg"
dmesg | grep -iE 'sr0|cdrom|I/O error'
section end
poweroff -f
