#!/bin/busybox sh
# Init of the command line guest: reports how the kernel found the hardware, and powers off.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
section() { echo "==== $*"; }
section "command line $(cat /proc/cmdline)"
while read -r module; do insmod "/modules/$module"; done </modules/order
tries=0
while [ ! -b /dev/sr0 ] && [ $tries -lt 30 ]; do sleep 1; tries=$((tries + 1)); done
# Read the whole CD: checks that interrupts arrive.
mount -t iso9660 -o ro /dev/sr0 /cd && (cd /cd && md5sum -c sums)
if grep -q apm=on /proc/cmdline; then
  insmod /modules/apm.ko power_off=1 && sleep 1
  section apm
  cat /proc/apm
fi
section "up with $(nproc) processors"
section interrupts
cat /proc/interrupts
section pci
for device in /sys/bus/pci/devices/*; do
  echo "${device##*/} $(cat $device/vendor):$(cat $device/device) irq $(cat $device/irq)"
done
section resources
cat /proc/ioports /proc/iomem
section dmesg
dmesg -r
section end
poweroff -f
