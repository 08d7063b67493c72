#!/bin/busybox sh
# Init of the hard disk guest: the first boot writes data, later boots verify it and report; each ends with a power-off.
export PATH=/bin:/sbin HOME=/ LD_LIBRARY_PATH=/lib
/bin/busybox --install -s /bin 2>/dev/null
mount -o remount,rw / 2>/dev/null
mount -t tmpfs tmp /tmp
section() { echo "==== $*"; }
section "up with $(nproc) processors"
if [ ! -e /sums ]; then
  # 32 MiB through the file system, 32 MiB on the bare partition, one checksum per MiB.
  mkdir -p /data
  n=0
  while [ $n -lt 32 ]; do
    dd if=/dev/urandom of=/tmp/block bs=1M count=1 2>/dev/null
    cp /tmp/block /data/$n
    md5sum </tmp/block >>/tmp/sums
    dd if=/dev/urandom of=/tmp/block bs=1M count=1 2>/dev/null
    dd if=/tmp/block of=/dev/sda2 bs=1M seek=$((n * 2)) 2>/dev/null
    md5sum </tmp/block >>/tmp/sums
    n=$((n + 1))
  done
  cp /tmp/sums /sums
  sync
  section "written: $(wc -l </sums) MiB"
else
  n=0
  while [ $n -lt 32 ]; do
    md5sum </data/$n
    dd if=/dev/sda2 bs=1M skip=$((n * 2)) count=1 2>/dev/null | md5sum
    n=$((n + 1))
  done >/tmp/sums
  if cmp /tmp/sums /sums; then section "verified: $(wc -l </sums) MiB"; else section "DAMAGED"; fi
  # No report with four vCPUs: CPU 0 handles all serial interrupts, and on a shared, busy host a long report starves it
  # until the guest kernel reports a stall.
  if [ $(nproc) -lt 4 ]; then
    section lspci
    lspci -nn
    section dmidecode
    dmidecode
    section acpi
    cd /tmp && acpidump -b && ls *.dat
    iasl -d *.dat 2>&1
    section dsdt
    cat dsdt.dsl
  fi
fi
section ata
for device in /sys/class/ata_device/dev*; do
  echo "${device##*/}: $(cat $device/class), $(cat $device/xfer_mode)"
done
section interrupts
cat /proc/interrupts
section dmesg
dmesg -r
section end
mount -o remount,ro /
sync
poweroff -f
