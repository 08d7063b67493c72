#!/bin/busybox sh
# Runs a verifying fio job on each hard disk: random writes of 4 to 64 KiB with a TRIM before each and flushes mixed in, whose CRC32C is
# checked while it runs and again at the end.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /tmp
while read -r module; do insmod "/modules/$module"; done </modules/order
waited=0
until mount -t iso9660 -o ro /dev/sr0 /cd 2>/dev/null || [ $waited = 30 ]; do sleep 1; waited=$((waited + 1)); done
for disk in /sys/block/sd*; do
  name=${disk##*/}
  echo "==== $name: $(cat $disk/size) sectors, discards up to $(cat $disk/queue/discard_max_bytes) bytes"
  if /cd/ld.so --library-path /cd/lib /cd/fio --name=$name --filename=/dev/$name --direct=1 --ioengine=psync \
    --rw=randtrimwrite --bsrange=4k-64k --size=24M --fsync=8 \
    --verify=crc32c --verify_fatal=1 --verify_backlog=32 --do_verify=1 --randseed=7 --thread --output=/tmp/$name.log; then
    echo "==== $name: verified"
  else
    cat /tmp/$name.log
    echo "==== $name: failed"
  fi
done
sync
echo "==== end"
poweroff -f
