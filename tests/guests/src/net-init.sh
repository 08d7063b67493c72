#!/bin/busybox sh
# Init of the network guest: gets an address by DHCP, then runs a shell for every connection to TCP port 1, and md5sum
# on port 2. Modules for the disk are in /modules/disk. Kernel command line options: driver=8139too uses that driver for
# an RTL8139C+ too; address=ADDRESS/BITS sets the address without DHCP; commands=URL fetches a script, runs it and
# powers off.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /tmp /etc
exec >/dev/ttyS0 2>&1
driver='' address='' commands=''
for word in $(cat /proc/cmdline); do
  case $word in
    driver=*) driver=${word#*=} ;; address=*) address=${word#*=} ;; commands=*) commands=${word#*=} ;;
  esac
done
[ "$driver" != 8139too ] || { insmod /modules/mii.ko; insmod /modules/any8139too.ko; }
while read -r module; do
  case $driver/$module in 8139too/8139*|8139too/mii.ko) ;; *) insmod "/modules/$module" ;; esac
done </modules/order
ip link set lo up
ip link set eth0 up
echo "==== driver $(basename "$(readlink /sys/class/net/eth0/device/driver)") $(cat /sys/class/net/eth0/address)"
cat >/bin/leased <<'SCRIPT'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
[ -z "$router" ] || ip route add default via "${router%% *}"
for server in $dns; do echo "nameserver $server"; done >/etc/resolv.conf
echo "==== address $ip"
SCRIPT
chmod +x /bin/leased
cat >/bin/iperf3 <<'SCRIPT'
#!/bin/sh
exec /iperf/ld-linux-x86-64.so.2 --library-path /iperf /iperf/iperf3 "$@"
SCRIPT
chmod +x /bin/iperf3
if [ -n "$address" ]; then
  ip addr add "$address" dev eth0
else
  udhcpc -q -n -t 20 -T 1 -i eth0 -s /bin/leased || echo "==== no address"
fi
if [ -n "$commands" ]; then
  wget -q -O /tmp/commands "$commands" && . /tmp/commands
  poweroff -f
fi
nc -ll -p 1 -e /bin/sh &
nc -ll -p 2 -e /bin/md5sum &
for port in 1 2; do
  until cat /proc/net/tcp* | grep -q ":000$port 0*:0000 0A"; do sleep 0.1; done
done
echo "==== ready"
while sleep 1000; do :; done
