#!/bin/sh
# Runs in the Debian installer's initial RAM disk before its first screen: reports on the hardware.
section() { echo "==== $*"; }
{
  depmod -a
  for module in ata_piix sd_mod sr_mod isofs; do modprobe $module; done
  tries=0
  while [ ! -b /dev/sr0 ] && [ $tries -lt 30 ]; do sleep 1; tries=$((tries + 1)); done
  section cdrom
  mkdir -p /tmp/cd
  mount -t iso9660 -o ro /dev/sr0 /tmp/cd && (cd /tmp/cd && md5sum -c sums)
  umount /tmp/cd
  section disk
  if [ -b /dev/sda ]; then
    dd if=/dev/urandom of=/tmp/block bs=64k count=16 2>/dev/null
    dd if=/tmp/block of=/dev/sda bs=64k 2>/dev/null
    sync
    echo 3 >/proc/sys/vm/drop_caches
    dd if=/dev/sda bs=64k count=16 2>/dev/null | cmp - /tmp/block && echo "disk: OK"
  fi
  section pci
  for device in /sys/bus/pci/devices/*; do
    echo "${device##*/} $(cat $device/class) $(cat $device/vendor):$(cat $device/device)"
  done
  section ata
  for device in /sys/class/ata_device/dev*; do
    echo "${device##*/}: $(cat $device/class), $(cat $device/xfer_mode)"
  done
  section interrupts
  cat /proc/interrupts
  section dmesg
  dmesg -r 2>/dev/null || dmesg
  echo "==== end of report"
} >/dev/ttyS0 2>&1
# The installer's first question runs in a process of its own; its screen appears a few seconds after the process.
(
  while ! ps | grep -q '[l]ocalechooser'; do sleep 1; done
  sleep 8
  echo "==== power off"
  poweroff -f
) >/dev/ttyS0 2>&1 </dev/null &
