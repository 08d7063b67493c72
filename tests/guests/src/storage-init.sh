#!/bin/busybox sh
# With `job=sync` on the kernel's command line: writes files to the ext4 file system of the first hard disk, and reports each
# one that it has synced, until the machine is killed. Otherwise:
# runs a verifying fio job on each hard disk: random writes of 4 to 64 KiB with a TRIM before each and flushes mixed in, whose CRC32C is
# checked while it runs and again at the end.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /tmp
while read -r module; do insmod "/modules/$module"; done </modules/order
if grep -q job=sync /proc/cmdline; then
  waited=0
  until mount -t ext4 /dev/sda /mnt || [ $waited = 30 ]; do sleep 1; waited=$((waited + 1)); done
  n=0
  while [ $n -lt 5000 ]; do
    n=$((n + 1))
    mkdir -p /mnt/$((n % 7))
    # Its folder and name are remainders of its number: it replaces the file 420 before it.
    yes "file $n" | head -c $((n % 9 * 8000 + 100)) | dd of=/mnt/$((n % 7))/new conv=fsync 2>/dev/null &&
      mv /mnt/$((n % 7))/new /mnt/$((n % 7))/$((n % 60)) && sync && echo "==== synced $n"
  done
  poweroff -f
fi
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
