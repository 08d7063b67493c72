#!/bin/busybox sh
# Runs for each uevent, which is in the environment: ejects at the user's request, as udev's rules do, and notes a change.
export PATH=/bin
if [ "$DISK_EJECT_REQUEST" = 1 ]; then
  umount /cd
  eject /dev/sr0
  echo "DISK_EJECT_REQUEST, status $?" >/ejected
fi
if [ "$DISK_MEDIA_CHANGE" = 1 ]; then
  echo DISK_MEDIA_CHANGE >/changed
fi
