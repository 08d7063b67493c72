# Shell functions for network test jobs: a bridge, VMs on it, and commands sent to their guests over TCP.
# Files of a VM NAME in $scratch: NAME (control socket), NAME.log (COM1), NAME.pcvm.log (pcvm's messages).
scratch=$(mktemp -d /tmp/pcvm.XXXXXX)
trap 'kill $(jobs -p) 2>/dev/null; wait; ip link show br0; cp $scratch/*.log . 2>/dev/null' EXIT
brctl addbr br0
ip addr add 10.9.0.1/24 dev br0
ip link set br0 up
# A nested host has no user database; dnsmasq and passt need one.
[ -e /etc/passwd ] || {
  mkdir -p /etc
  printf '%s\n' root:x:0:0::/:/bin/sh user:x:1000:1000::/:/bin/sh nobody:x:65534:65534::/:/bin/sh >/etc/passwd
  printf '%s\n' root:x:0: user:x:1000: nogroup:x:65534: >/etc/group
}
# give_addresses: starts a DHCP server on the bridge.
give_addresses() {
  cat >$scratch/udhcpd.conf <<CONFIG
start 10.9.0.50
end 10.9.0.90
interface br0
lease_file $scratch/leases
option subnet 255.255.255.0
static_lease 00:16:3e:00:00:0a 10.9.0.10
static_lease 00:16:3e:00:00:0b 10.9.0.11
CONFIG
  touch $scratch/leases
  udhcpd -f $scratch/udhcpd.conf &
}
# dnsmasq OPTION...: runs dnsmasq in the foreground.
dnsmasq() {
  [ -d $scratch/root ] || { mkdir $scratch/root; tar -xf servers.tar -C $scratch/root; }
  $scratch/root/lib64/ld-linux-x86-64.so.2 --library-path $scratch/root/lib/x86_64-linux-gnu \
    $scratch/root/usr/sbin/dnsmasq --conf-file=/dev/null --no-daemon --user=root --group=root --no-hosts --no-resolv "$@"
}
# boot NAME OPTION...: starts a VM that boots the CD.
boot() {
  name=$1; shift
  ./pcvm run --control unix:$scratch/$name --memory 256M --cdrom net.iso --boot d --no-reboot \
    --serial file:$scratch/$name.log --display none "$@" 2>$scratch/$name.pcvm.log &
}
# start NAME OPTION...: starts a VM with its kernel, which is faster than a boot loader; initrd=initrd.gz adds iperf3.
start() {
  name=$1; shift
  ./pcvm run --control unix:$scratch/$name --memory 256M --kernel vmlinuz --initrd ${initrd:-small.gz} --no-reboot \
    --append 'console=ttyS0,115200n8 loglevel=5 panic=-1' --serial file:$scratch/$name.log --display none "$@" 2>$scratch/$name.pcvm.log &
}
fail() { echo "FAILED: $*"; dmesg | tail -n 5; tail -n 30 $scratch/*.log; exit 1; }
# wait_log NAME PATTERN: waits for a line of the VM's output on COM1; $limit is the time limit in seconds.
wait_log() { wait_for ${limit:-120} has $scratch/$1.log "$2" || fail "$1's log does not contain '$2'"; }
# in_guest ADDRESS COMMANDS: runs commands in the guest and prints their output.
in_guest() { address=$1; shift; printf '%s\nexit\n' "$*" | nc -w 60 $address 1; }
# with_frames: adds the program /net-frames to the VMs that are started afterwards.
with_frames() {
  { echo net-frames | cpio -o -H newc 2>/dev/null; cat ${initrd:-small.gz}; } >$scratch/initrd
  initrd=$scratch/initrd
}
# from_guest ADDRESS: prints the MD5 sum of $amount MiB that the guest's httpd sends. httpd passes large buffers to the
# kernel, so that it uses TSO.
from_guest() {
  in_guest $1 "dd if=/dev/zero of=/tmp/$amount bs=1M count=$amount 2>/dev/null; httpd -p 4 -h /tmp 2>/dev/null" >/dev/null
  printf 'GET /%s HTTP/1.0\r\n\r\n' $amount | nc -w 100 $1 4 | tail -c $((amount << 20)) | md5sum
}
# data MIB: prints this many MiB of zeros.
data() { dd if=/dev/zero bs=1M count=$1 2>/dev/null; }
