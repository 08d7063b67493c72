#!/bin/busybox sh
# The guest with network cards: asks for an address, and then does what it is told by TCP port 1, a shell for every
# connection.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /tmp /etc
exec >/dev/ttyS0 2>&1
while read -r module; do insmod "/modules/$module"; done </modules/order
ip link set lo up
ip link set eth0 up
echo "==== driver $(basename "$(readlink /sys/class/net/eth0/device/driver)") $(cat /sys/class/net/eth0/address)"
cat >/bin/leased <<'SCRIPT'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
echo "==== address $ip"
SCRIPT
chmod +x /bin/leased
udhcpc -q -n -t 20 -T 1 -i eth0 -s /bin/leased || echo "==== no address"
nc -ll -p 1 -e /bin/sh &
nc -ll -p 2 -e /bin/md5sum &
echo "==== ready"
while sleep 1000; do :; done
