#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "/modules/$module"; done </modules/order
tries=0
while [ ! -b /dev/sda2 ] && [ $tries -lt 30 ]; do sleep 1; tries=$((tries + 1)); done
mount -t ext4 /dev/sda1 /root || { dmesg; poweroff -f; }
for dir in proc sys dev; do mount --move /$dir /root/$dir; done
exec switch_root /root /sbin/init
